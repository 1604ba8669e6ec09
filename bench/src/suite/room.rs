//! A server with a crowd in one brane, and one measurement of it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use avvy_model::{BraneId, Role};
use serde_json::{Value, json};

use super::Setup;
use super::report::round;
use crate::http;
use crate::load::{Crowd, Tally, Work};
use crate::machine::{self, CpuTime};
use crate::process::{Server, ServerOptions};

/// See the module.
pub(super) struct Room {
    pub(super) server: Server,
    pub(super) crowd: Crowd,
}

impl Room {
    /// Starts a server on an empty data directory, makes a brane and lets so
    /// many users in; the first `senders` get an object each.
    pub(super) fn open(
        setup: &Setup,
        name: &str,
        settings: &[(&str, &str)],
        sessions: usize,
        senders: usize,
    ) -> Result<Self> {
        let (server, brane, owner) = start(setup, name, settings)?;
        let mut draw = setup.draw();
        http::create_brane(server.address(), &owner, brane)?;
        let mut crowd = Crowd::new(brane, draw.clone())?;
        let tokens = server.tokens(&mut draw, sessions, Role::Builder)?;
        crowd.join(server.address(), &tokens)?;
        crowd.create_objects(senders)?;
        Ok(Self { server, crowd })
    }

    /// Bytes of journal that the server has stored so far.
    pub(super) fn journal_bytes(&self) -> Result<f64> {
        let (server, name) = (self.server.address(), "avvy_journal_bytes_total");
        http::metric(server, name)?.with_context(|| format!("/metrics has no {name}"))
    }

    /// Works, and measures after the warm-up.
    pub(super) fn measure(
        &mut self,
        work: &Work,
        warm_up: Duration,
        time: Duration,
    ) -> Result<Sample> {
        let Self { server, crowd } = self;
        crowd.work(work, warm_up)?;
        crowd.tally().restart();
        let watch = Watch::start(server.pid())?;
        let load = Watch::start(std::process::id())?;
        crowd.work(work, time)?;
        let (cpu, wall) = watch.stop()?;
        let (load_cpu, _) = load.stop()?;
        Ok(Sample { cpu, wall, load_cpu, tally: crowd.tally().clone() })
    }
}

/// Starts a server with room for everybody; gives an id for a brane and a
/// token for its owner, too.
pub(super) fn start(
    setup: &Setup,
    name: &str,
    settings: &[(&str, &str)],
) -> Result<(Server, BraneId, String)> {
    let server = Server::start(&options(setup, name, settings))?;
    let mut draw = setup.draw();
    let owner = server.tokens(&mut draw, 1, Role::Owner)?.pop().unwrap_or_default();
    Ok((server, BraneId::new(draw.uuid()), owner))
}

/// How a server with room for everybody is started. Its data directory is not
/// there yet.
pub(super) fn options(setup: &Setup, name: &str, settings: &[(&str, &str)]) -> ServerOptions {
    let data = setup.scratch.join(name);
    // What an earlier run left, if it was killed.
    let _ = std::fs::remove_dir_all(&data);
    let mut options = ServerOptions::new(&setup.binary, &data)
        .set("AVVY_SERVER_DEMO_OBJECTS", 0)
        .set("AVVY_LIMITS_REQUESTS_PER_SECOND", 100_000)
        .set("AVVY_LIMITS_REQUESTS_BURST", 200_000)
        .set("AVVY_LIMITS_MAX_CONNECTIONS", 30_000)
        .set("AVVY_LIMITS_MAX_CONNECTIONS_PER_ADDRESS", 30_000)
        .set("AVVY_LIMITS_CONNECTIONS_PER_SECOND", 100_000)
        .set("AVVY_LIMITS_CONNECTIONS_BURST", 100_000)
        .set("AVVY_LIMITS_CREATES_PER_SECOND", 1_000)
        .set("AVVY_LIMITS_MAX_SESSIONS", 25_000)
        .set("AVVY_LIMITS_MAX_SESSIONS_PER_BRANE", 20_000);
    options.core = Some(setup.cores.server);
    for (key, value) in settings {
        options = options.set(key, value);
    }
    options.settings.extend(setup.settings.iter().cloned());
    options
}

/// Watches what a process uses.
pub(super) struct Watch {
    pid: u32,
    started: Instant,
    before: CpuTime,
}

impl Watch {
    pub(super) fn start(pid: u32) -> Result<Self> {
        Ok(Self { pid, before: machine::cpu_time(pid)?, started: Instant::now() })
    }

    /// Processor time and time since the start.
    pub(super) fn stop(self) -> Result<(Duration, Duration)> {
        let wall = self.started.elapsed();
        Ok((machine::cpu_time(self.pid)?.since(&self.before), wall))
    }
}

/// What was measured.
pub(super) struct Sample {
    /// The server's processor time.
    pub(super) cpu: Duration,
    pub(super) wall: Duration,
    load_cpu: Duration,
    pub(super) tally: Tally,
}

impl Sample {
    /// The server's processor time per delivery of a move to a session.
    pub(super) fn us_per_delivery(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.tally.deliveries.max(1) as f64
    }

    pub(super) fn core_share(&self) -> f64 {
        self.cpu.as_secs_f64() / self.wall.as_secs_f64()
    }

    pub(super) fn deliveries_per_s(&self) -> f64 {
        self.tally.deliveries as f64 / self.wall.as_secs_f64()
    }

    /// Everything, for the file of results. The load's own figures say
    /// whether it kept up: `load_core_share` near 1 or a large `send_lag`
    /// means that the delay measured is partly the load's.
    pub(super) fn raw(&self) -> Value {
        let Tally { latency, durable, send_lag, .. } = &self.tally;
        json!({
            "seconds": round(self.wall.as_secs_f64()),
            "server_cpu_seconds": round(self.cpu.as_secs_f64()),
            "core_share": round(self.core_share()),
            "us_per_delivery": round(self.us_per_delivery()),
            "deliveries": self.tally.deliveries,
            "windows": self.tally.windows,
            "bytes": self.tally.bytes,
            "edits_sent": self.tally.sent,
            "edits_durable": self.tally.durable_edits,
            "p50_ms": latency.percentile_ms(50.0),
            "p99_ms": latency.percentile_ms(99.0),
            "p999_ms": latency.percentile_ms(99.9),
            "max_ms": f64::from(latency.max_us()) / 1_000.0,
            "durable_p50_ms": durable.percentile_ms(50.0),
            "durable_p99_ms": durable.percentile_ms(99.0),
            "replayed_windows": self.tally.replayed,
            "load_core_share": round(self.load_cpu.as_secs_f64() / self.wall.as_secs_f64()),
            "send_lag_p99_ms": send_lag.percentile_ms(99.0),
        })
    }
}

/// The p99s of samples that were taken in turns, without something and with it:
/// those of the pair in the middle by their ratio, and all ratios, ascending.
pub(super) fn in_turns(without: &[Sample], with: &[Sample]) -> ([f64; 2], Vec<f64>) {
    let p99_ms = |sample: &Sample| sample.tally.latency.percentile_ms(99.0);
    let pairs = without.iter().zip(with).map(|(without, with)| [p99_ms(without), p99_ms(with)]);
    let ratio = |[without, with]: &[f64; 2]| with / without;
    let mut pairs: Vec<_> = pairs.collect();
    pairs.sort_by(|a, b| ratio(a).total_cmp(&ratio(b)));
    let middle = pairs.get(pairs.len() / 2).copied().unwrap_or_default();
    (middle, pairs.iter().map(ratio).collect())
}

/// The median of some figures.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match (values.get(values.len() / 2), values.len() % 2) {
        (Some(&upper), 0) => f64::midpoint(values[values.len() / 2 - 1], upper),
        (Some(&middle), _) => middle,
        (None, _) => 0.0,
    }
}
