//! `rest-read`: an object outside of branes, read over connections that stay,
//! beside a bare handler of axum that answers with the same bytes.

use anyhow::{Context, Result, ensure};
use avvy_model::{Kind, ObjectId, PropKey, Props, Role, Value, ValueLimits};
use avvy_protocol::rest::{self, CreateObject, Format, OwnObjectBody};
use serde_json::json;
use uuid::Uuid;

use super::report::round;
use super::room::{Watch, options};
use super::{Figure, Report, Setup};
use crate::bare::{BareProgram, Role as Bare};
use crate::http;
use crate::load::reads::Reads;
use crate::process::Server;

/// Connections, each of which asks again when it is answered.
const CONNECTIONS: usize = 32;

/// Bytes of properties.
const PROPS_BYTES: usize = 200;

/// Takes the figures.
pub(super) fn run(setup: &Setup) -> Result<Report> {
    let mut report = Report::new("rest-read", setup);
    let server = Server::start(&options(setup, "rest-read", &[]))?;
    let mut draw = setup.draw();
    let token = server.tokens(&mut draw, 1, Role::Builder)?.pop().context("one token")?;
    let id = create(&server, &token, draw.uuid())?;
    let (mut reads, body) = Reads::connect(
        server.address(),
        &request(&format!("/api/v1/object/{id}"), &token),
        CONNECTIONS,
    )?;
    let mut bare = BareProgram::start(Bare::Http, setup.cores.server)?;
    bare.answer(&body)?;
    let (mut bare_reads, bare_body) =
        Reads::connect(bare.address(), &request(&format!("/object/{id}"), &token), CONNECTIONS)?;
    ensure!(body == bare_body, "both answer with the same bytes");
    let mut rounds = Vec::new();
    for _ in 0..setup.rounds {
        let ours = measure(&mut reads, server.pid(), setup)?;
        let baseline = measure(&mut bare_reads, bare.pid(), setup)?;
        rounds.push((ours, baseline));
    }
    rounds.sort_by(|a, b| ratio(a).total_cmp(&ratio(b)));
    let (ours, baseline) = &rounds[rounds.len() / 2];
    let figure = Figure::new("reads of an object, per second", ours.per_second);
    report.show(figure.beside(baseline.per_second).at_least(0.7));
    report.show(Figure::new("processor time of one, us", ours.us).beside(baseline.us));
    report.raw("per_second", round(ours.per_second));
    report.raw("baseline_per_second", round(baseline.per_second));
    report.raw("ratio", round(ratio(&rounds[rounds.len() / 2])));
    report.raw("body_bytes", body.len());
    report.raw("connections", CONNECTIONS);
    let raw = |round_of: &(Rate, Rate)| json!({"ratio": round(ratio(round_of)), "server": round_of.0.raw(), "bare": round_of.1.raw()});
    report.raw("rounds_by_ratio", rounds.iter().map(raw).collect::<Vec<_>>());
    server.stop()?;
    Ok(report)
}

/// Makes a block in the inventory of the token's user.
fn create(server: &Server, token: &str, key: Uuid) -> Result<ObjectId> {
    let name = PropKey::new("text", &ValueLimits::NONE)?;
    let text = Value::text(&"x".repeat(PROPS_BYTES - 8));
    let object = CreateObject {
        kind: Kind::Block,
        name: "Bench".to_owned(),
        description: "Something to sit on".to_owned(),
        tags: vec!["wood".to_owned()],
        transform: None,
        props: Props::from_entries(vec![(name, text)], &ValueLimits::NONE)?,
        child_ids: Vec::new(),
        gallery_ids: Vec::new(),
    };
    let head = format!(
        "POST /api/v1/object\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/cbor\r\nIdempotency-Key: {key}"
    );
    let answer = http::ask(server.address(), &head, &rest::encode(&object, Format::Cbor))?;
    let text = String::from_utf8_lossy(&answer.body);
    ensure!(answer.status == 201, "making an object: {} {text}", answer.status);
    let made: OwnObjectBody = rest::decode(&answer.body, Format::Cbor, answer.body.len())
        .map_err(|error| anyhow::anyhow!("the object cannot be read: {error:?}"))?;
    Ok(made.id)
}

fn request(path: &str, token: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\r\n").into()
}

/// How fast somebody answers.
struct Rate {
    per_second: f64,
    /// Processor time of one answer, in microseconds.
    us: f64,
    core_share: f64,
    load_core_share: f64,
}

impl Rate {
    fn raw(&self) -> serde_json::Value {
        json!({
            "per_second": round(self.per_second),
            "us": round(self.us),
            "core_share": round(self.core_share),
            "load_core_share": round(self.load_core_share),
        })
    }
}

fn ratio((ours, baseline): &(Rate, Rate)) -> f64 {
    ours.per_second / baseline.per_second
}

fn measure(reads: &mut Reads, pid: u32, setup: &Setup) -> Result<Rate> {
    reads.work(setup.warm_up() / 2)?;
    let before = reads.answered;
    let (watch, load) = (Watch::start(pid)?, Watch::start(std::process::id())?);
    reads.work(setup.time)?;
    let ((cpu, wall), (load, _)) = (watch.stop()?, load.stop()?);
    let (answered, seconds) = ((reads.answered - before) as f64, wall.as_secs_f64());
    Ok(Rate {
        per_second: answered / seconds,
        us: cpu.as_secs_f64() * 1e6 / answered,
        core_share: cpu.as_secs_f64() / seconds,
        load_core_share: load.as_secs_f64() / seconds,
    })
}
