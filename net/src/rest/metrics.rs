//! `GET /metrics`: figures for Prometheus, text format 0.0.4.
//!
//! The page needs no token, so it tells nothing that one would be needed for.

mod branes;
mod cache;

use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use avvy_actors::{
    ByCode, LeaseStatus, Limit, Metrics, OpenBrane, RevocationStatus, SystemStatus, WriteCounts,
};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use self::branes::BraneFigures;
use super::cached::Cached;
use super::route::Route;
use super::{App, Failure};

/// So long a page stands: collecting asks every open brane.
const MAX_AGE: Duration = Duration::from_secs(1);

/// Figures of HTTP, and the last page.
#[derive(Default)]
pub(super) struct HttpMetrics {
    /// Answers from 1xx to 5xx.
    by_class: [AtomicU64; 5],
    pub(super) errors: ByCode,
    branes: Mutex<BraneFigures>,
    page: Cached<String>,
}

impl HttpMetrics {
    pub(super) fn count(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100);
        if let Some(counter) = self.by_class.get(class.wrapping_sub(1)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn write(&self, out: &mut Exposition) {
        let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(&self.by_class);
        let samples = classes.map(|(class, count)| (Some(("class", class)), load(count)));
        out.many("avvy_http_responses_total", "counter", "HTTP answers by class.", samples);
        by_code("avvy_http_errors_total", "HTTP errors by code.", &self.errors, out);
    }
}

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::probe("/metrics", page, "Figures for Prometheus.")
            .shows("text/plain; version=0.0.4; charset=utf-8", "All begin with `avvy_`."),
    ]
}

/// The page; made at most once a second.
pub(super) async fn page(State(app): State<App>) -> Result<impl IntoResponse, Failure> {
    let (system, metrics) = (app.system.clone(), Arc::clone(&app.metrics));
    let make = || async move {
        let status = system.status().await?;
        let mut out = Exposition::default();
        process(system.metrics(), &mut out);
        metrics.write(&mut out);
        overall(&status, &mut out);
        if let Some(counts) = &status.writes {
            writes(counts, &mut out);
        }
        revocations(&status.revocations, &mut out);
        if let Some(status) = &status.cache {
            cache::write(status, &mut out);
        }
        let mut branes = metrics.branes.lock().unwrap_or_else(PoisonError::into_inner);
        branes.write(&status.branes, &mut out);
        Ok(out.0)
    };
    let text = app.metrics.page.get(MAX_AGE, make).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text))
}

fn process(metrics: &Metrics, out: &mut Exposition) {
    let counters = [
        (
            "avvy_sessions_opened_total",
            "Connections that became sessions.",
            &metrics.sessions_opened,
        ),
        (
            "avvy_sessions_refused_total",
            "Connections refused because there were too many.",
            &metrics.sessions_refused,
        ),
        ("avvy_deliveries_total", "Messages handed to sockets by fan-out.", &metrics.deliveries),
        ("avvy_delivered_bytes_total", "Bytes of these messages.", &metrics.delivered_bytes),
        ("avvy_commits_total", "Group commits done.", &metrics.commits),
        (
            "avvy_commit_failures_total",
            "Group commits that failed and were tried again.",
            &metrics.commit_failures,
        ),
        ("avvy_journal_chunks_total", "Journal chunks made durable.", &metrics.chunks),
        ("avvy_journal_bytes_total", "Bytes of these chunks.", &metrics.chunk_bytes),
        ("avvy_snapshots_total", "Snapshots stored.", &metrics.snapshots),
        (
            "avvy_snapshot_failures_total",
            "Snapshots that could not be stored.",
            &metrics.snapshot_failures,
        ),
        (
            "avvy_brane_restarts_total",
            "Brane actors that failed and were restarted.",
            &metrics.brane_restarts,
        ),
        (
            "avvy_journal_cuts_total",
            "Damaged ends of journals that were cut off.",
            &metrics.journal_cuts,
        ),
        (
            "avvy_load_warnings_total",
            "Snapshots and stretches of journal that branes were opened without.",
            &metrics.load_warnings,
        ),
        (
            "avvy_branes_moved_total",
            "Branes that were handed over to other nodes.",
            &metrics.branes_moved,
        ),
        (
            "avvy_branes_not_moved_total",
            "Branes that were to be handed over and were not.",
            &metrics.branes_not_moved,
        ),
        ("avvy_branes_taken_total", "Branes that other nodes have taken.", &metrics.branes_taken),
        (
            "avvy_branes_unkept_total",
            "Branes of which something that waited could not be kept on local disk.",
            &metrics.branes_unkept,
        ),
    ];
    for (name, help, counter) in counters {
        out.counter(name, help, load(counter));
    }
    let limits = &metrics.limits;
    let samples = Limit::ALL.iter().map(|&of| (Some(("limit", of.setting())), limits.of(of)));
    let help = "How often a bound was met that clients can meet, by its setting.";
    out.many("avvy_limit_hits_total", "counter", help, samples);
    by_code("avvy_session_errors_total", "Typed errors sent to sessions.", &metrics.errors, out);
    by_code("avvy_edit_refusals_total", "Edits refused by branes.", &metrics.refused_edits, out);
    let closes = metrics.closes();
    let samples = closes.iter().map(|(code, count)| (Some(("code", *code)), *count));
    let help = "Connections closed by the server, by close code.";
    out.many("avvy_session_closes_total", "counter", help, samples);
}

/// This node's place in its fleet.
fn fleet(lease: &LeaseStatus, out: &mut Exposition) {
    let provisional = u64::from(lease.provisional);
    out.gauge("avvy_lease_provisional", "1: other nodes may take the branes.", provisional);
    out.gauge("avvy_lease_sure_milliseconds", "For how long no other may.", lease.sure_ms);
    out.gauge("avvy_lease_branes", "Branes that this node holds.", lease.held);
    out.gauge("avvy_lease_branes_offered", "Branes that others offer.", lease.offered);
    out.counter("avvy_lease_renewals_total", "Renewals of the lease.", lease.renewals);
    out.counter("avvy_lease_failures_total", "Renewals that failed.", lease.failures);
    out.counter("avvy_lease_lapses_total", "Times that the lease was over.", lease.lapses);
}

/// What the store has written.
fn writes(counts: &WriteCounts, out: &mut Exposition) {
    let WriteCounts { operations, commits, documents, bytes, .. } = counts;
    out.counter(
        "avvy_store_write_operations_total",
        "Commands that write, besides those that commit.",
        operations,
    );
    out.counter("avvy_store_commits_total", "Transactions committed.", commits);
    out.counter("avvy_store_documents_total", "Documents that these commands wrote.", documents);
    out.counter("avvy_store_written_bytes_total", "Bytes of these documents.", bytes);
}

fn by_code(name: &str, help: &str, counts: &ByCode, out: &mut Exposition) {
    let samples = counts.counted().map(|(code, count)| (Some(("code", code.name())), count));
    out.many(name, "counter", help, samples);
}

fn overall(status: &SystemStatus, out: &mut Exposition) {
    let commit = &status.group_commit;
    let branes = || status.branes.iter();
    let sum = |value: fn(&OpenBrane) -> usize| branes().map(value).sum::<usize>();
    out.gauge("avvy_sessions", "Open sessions.", status.sessions);
    out.gauge("avvy_branes", "Open branes.", status.branes.len());
    let objects = branes().map(|brane| u64::from(brane.core.objects)).sum::<u64>();
    out.gauge("avvy_objects", "Objects in open branes.", objects);
    if let Some(lease) = &status.lease {
        fleet(lease, out);
    }
    if let Some(spool) = &status.spool {
        let help = "Chunks on local disk that wait for the store.";
        out.gauge("avvy_spool_chunks", help, spool.chunks);
        out.gauge("avvy_spool_bytes", "Bytes of them.", spool.bytes);
        let help = "Chunks that waited and that the store refused for good.";
        out.counter("avvy_spool_archived_total", help, spool.archived);
    }
    out.gauge(
        "avvy_lagging_sessions",
        "Joined sessions that are behind.",
        sum(|b| b.fan_out.lagging),
    );
    out.gauge("avvy_ring_bytes", "Bytes of recent windows at hand.", sum(|b| b.fan_out.ring_bytes));
    let unavailable = branes().filter(|brane| brane.core.unavailable).count();
    out.gauge("avvy_branes_unavailable", "Open branes that refuse edits for now.", unavailable);
    let lag = branes().map(|brane| brane.core.durable_lag_edits).sum::<u64>();
    out.gauge("avvy_durable_lag_edits", "Edits accepted and not yet durable.", lag);
    out.gauge("avvy_commit_queue_chunks", "Journal chunks that wait for the store.", commit.chunks);
    out.gauge("avvy_commit_queue_bytes", "Bytes of these chunks.", commit.bytes);
    let in_a_row = commit.failures_in_a_row;
    out.gauge("avvy_commit_failures_in_a_row", "Failed commits since the last good one.", in_a_row);
}

fn revocations(status: &RevocationStatus, out: &mut Exposition) {
    let RevocationStatus { revoked, age_ms, failures } = status;
    out.gauge("avvy_revocations", "Revocations of tokens that are in force.", revoked);
    let help = "Since the place was read that was not read for the longest.";
    out.gauge("avvy_revocations_age_milliseconds", help, age_ms);
    let help = "How often a place could not be read.";
    out.counter("avvy_revocations_failures_total", help, failures);
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// The text, as it is written.
#[derive(Default)]
struct Exposition(String);

impl Exposition {
    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.many(name, "counter", help, [(None, value)]);
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.many(name, "gauge", help, [(None, value)]);
    }

    /// A family: values with at most one label each. Neither help nor values
    /// of labels may hold what would need escaping; ours are our own words.
    fn many<'a, V: Display>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Option<(&'static str, &'a str)>, V)>,
    ) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (label, value) in samples {
            let _ = match label {
                Some((label, of)) => writeln!(self.0, "{name}{{{label}=\"{of}\"}} {value}"),
                None => writeln!(self.0, "{name} {value}"),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_families_as_prometheus_reads_them() {
        let mut out = Exposition::default();
        out.gauge("avvy_a", "How many.", 3);
        out.many("avvy_b_total", "counter", "Each.", [(Some(("code", "x")), 1), (None, 2)]);
        assert_eq!(
            out.0,
            "# HELP avvy_a How many.\n# TYPE avvy_a gauge\navvy_a 3\n\
             # HELP avvy_b_total Each.\n# TYPE avvy_b_total counter\n\
             avvy_b_total{code=\"x\"} 1\navvy_b_total 2\n"
        );
    }

    #[test]
    fn counts_answers_by_class() {
        let http = HttpMetrics::default();
        for status in [200, 201, 404, 429, 503, 999] {
            http.count(StatusCode::from_u16(status).unwrap_or_default());
        }
        let counts = http.by_class.each_ref().map(load);
        assert_eq!(counts, [0, 2, 0, 2, 1]);
    }
}
