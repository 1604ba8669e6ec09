//! Figures of the cache over the store.

use avvy_actors::{CacheStatus, SharedStatus, TierStatus};

use super::Exposition;

/// A figure of one kind of value: name, kind, help, value.
type Figure = (&'static str, &'static str, &'static str, fn(&TierStatus) -> u64);

const FIGURES: &[Figure] = &[
    ("avvy_cache_entries", "gauge", "Values in the process.", |t| t.entries),
    ("avvy_cache_bytes", "gauge", "Their bytes, roughly.", |t| t.bytes),
    ("avvy_cache_hits_total", "counter", "Served from the process.", |t| t.hits),
    ("avvy_cache_missing_hits_total", "counter", "Of these, that there is none.", |t| {
        t.missing_hits
    }),
    ("avvy_cache_waits_total", "counter", "Waited for a load of somebody else.", |t| t.waits),
    ("avvy_cache_loads_total", "counter", "Loads, from Redis or the store.", |t| t.loads),
    ("avvy_cache_renewals_total", "counter", "Of these, of values that were to end soon.", |t| {
        t.renewals
    }),
    ("avvy_cache_shared_hits_total", "counter", "Of these, found in Redis.", |t| t.shared_hits),
    ("avvy_cache_store_reads_total", "counter", "Of these, asked of the store.", |t| t.store_reads),
    ("avvy_cache_evicted_total", "counter", "Given up for want of room.", |t| t.evicted),
    ("avvy_cache_invalidated_total", "counter", "Let go as they were written.", |t| t.invalidated),
    ("avvy_cache_spoiled_total", "counter", "Loads that a write came in between of.", |t| {
        t.spoiled
    }),
    ("avvy_cache_flushes_total", "counter", "All let go as notices may be lost.", |t| t.flushes),
    ("avvy_cache_damaged_total", "counter", "Values of Redis that are none.", |t| t.damaged),
];

pub(super) fn write(status: &CacheStatus, out: &mut Exposition) {
    for (name, kind, help, value) in FIGURES {
        let samples = status.tiers.iter().map(|tier| (Some(("kind", tier.kind)), value(tier)));
        out.many(name, kind, help, samples);
    }
    if let Some(shared) = &status.shared {
        redis(shared, out);
    }
}

fn redis(shared: &SharedStatus, out: &mut Exposition) {
    let SharedStatus { is_up, is_listening, calls, failures, bypassed, connects, notices } = shared;
    out.gauge("avvy_redis_up", "Whether Redis is asked.", u8::from(*is_up));
    let help = "Whether notices of other nodes come in.";
    out.gauge("avvy_redis_listening", help, u8::from(*is_listening));
    out.counter("avvy_redis_calls_total", "Calls made.", calls);
    out.counter("avvy_redis_failures_total", "Calls that failed or took too long.", failures);
    let help = "Calls not made, as Redis is down or too many are under way.";
    out.counter("avvy_redis_bypassed_total", help, bypassed);
    out.counter("avvy_redis_connects_total", "How often notices began to come in.", connects);
    out.counter("avvy_redis_notices_total", "Notices that came in.", notices);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_sample_and_redis_only_where_it_is() {
        let tier = TierStatus { kind: "brane", hits: 3, ..TierStatus::default() };
        let status = CacheStatus { tiers: vec![tier], shared: None };
        let mut out = Exposition::default();
        write(&status, &mut out);
        assert!(out.0.contains("avvy_cache_hits_total{kind=\"brane\"} 3\n"), "{}", out.0);
        assert!(!out.0.contains("avvy_redis"));
        let shared = SharedStatus { is_up: true, calls: 7, ..SharedStatus::default() };
        write(&CacheStatus { shared: Some(shared), ..status }, &mut out);
        assert!(out.0.contains("\navvy_redis_up 1\n") && out.0.contains("_calls_total 7\n"));
    }
}
