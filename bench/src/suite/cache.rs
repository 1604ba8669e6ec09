//! `cache`: what a brane's record costs from the process, from Redis, and from
//! the store with and without a cache before it. One asks at a time.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use avvy_model::{BraneId, UserId, Visibility};
use avvy_persistence::cache::{CacheOptions, CachedStore, Caches};
use avvy_persistence::sqlite::{SqliteOptions, SqliteStore};
use avvy_persistence::{BraneKind, BraneRecord, Store};
use serde_json::{Value, json};
use tokio::runtime::Builder;

use super::report::round;
use super::{Figure, Report, Setup};

/// Records that are asked for in turns.
const RECORDS: u64 = 1_000;

/// Takes the figures.
pub(super) fn run(setup: &Setup) -> Result<Report> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(measure(setup))
}

async fn measure(setup: &Setup) -> Result<Report> {
    let mut report = Report::new("cache", setup);
    let directory = setup.scratch.join("cache");
    let options = SqliteOptions { directory, ..SqliteOptions::default() };
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&options)?);
    over(setup, &mut report, &store, "").await?;
    store.close().await?;
    Ok(report)
}

/// What a record costs over this store, whose figures are named so.
pub(super) async fn over(
    setup: &Setup,
    report: &mut Report,
    store: &Arc<dyn Store>,
    name: &str,
) -> Result<()> {
    for nth in 0..RECORDS {
        store.create_brane(record(nth)).await?;
    }
    let bare = timed(setup, |nth| read(store, nth)).await?;
    report.raw(&format!("{name}store_us"), bare.json());

    let long = Duration::from_secs(3_600);
    let all = CacheOptions { ttl: long, max_stale: long, ..CacheOptions::default() };
    // Every read is a miss of this tier.
    let none = CacheOptions { max_entries: 0, ..all };
    let cached = |caches: &Caches| -> Arc<dyn Store> {
        Arc::new(CachedStore::new(Arc::clone(store), caches))
    };
    let local = cached(&Caches::local(all));
    for nth in 0..RECORDS {
        read(&local, nth).await?;
    }
    let hit = timed(setup, |nth| read(&local, nth)).await?;
    report.show(
        Figure::new("hit in the process beside the store, median, us", hit.p50).beside(bare.p50),
    );
    report.raw(&format!("{name}hit_us"), hit.json());
    let local = cached(&Caches::local(none));
    let miss = timed(setup, |nth| read(&local, nth)).await?;
    report.show(Figure::new("miss beside the store, median, us", miss.p50).beside(bare.p50));
    report.raw(&format!("{name}miss_us"), miss.json());
    shared(setup, report, none, (name, bare.p50), cached).await
}

/// The same through Redis.
#[cfg(feature = "redis")]
async fn shared(
    setup: &Setup,
    report: &mut Report,
    options: CacheOptions,
    (name, bare): (&str, f64),
    cached: impl Fn(&Caches) -> Arc<dyn Store>,
) -> Result<()> {
    use avvy_persistence::cache::redis::{Redis, RedisOptions};
    use avvy_persistence::testing::redis_server::RedisServer;

    let server = RedisServer::start();
    let redis = RedisOptions { timeout: Duration::from_secs(10), ..RedisOptions::at(server.url()) };
    let caches = Caches::shared(options, Redis::new(redis)?);
    let store = cached(&caches);
    let reads = || caches.status().tiers[0].store_reads;
    for nth in 0..RECORDS {
        read(&store, nth).await?;
    }
    // The last value is put when its read has been answered.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let before = reads();
    let hit = timed(setup, |nth| read(&store, nth)).await?;
    ensure!(reads() == before, "not all was in Redis");
    report.show(Figure::new("hit in Redis beside the store, median, us", hit.p50).beside(bare));
    report.raw(&format!("{name}redis_hit_us"), hit.json());
    let written = timed(setup, |nth| write(&store, nth)).await?;
    report.raw(&format!("{name}redis_write_us"), written.json());
    let miss = timed_after(setup, |nth| write(&store, nth), |nth| read(&store, nth));
    let miss = miss.await?;
    report.show(Figure::new("miss of both beside the store, median, us", miss.p50).beside(bare));
    report.raw(&format!("{name}redis_miss_us"), miss.json());
    Ok(())
}

/// Writes the nth record; the same again is no error, and a write.
#[cfg(feature = "redis")]
fn write(store: &Arc<dyn Store>, nth: u64) -> impl Future<Output = Result<()>> + use<> {
    let store = Arc::clone(store);
    async move { Ok(store.create_brane(record(nth % RECORDS)).await?) }
}

/// Built without Redis there is nothing to tell of it.
#[cfg(not(feature = "redis"))]
async fn shared(
    _: &Setup,
    _: &mut Report,
    _: CacheOptions,
    _: (&str, f64),
    _: impl Fn(&Caches) -> Arc<dyn Store>,
) -> Result<()> {
    ensure!(RECORDS > 0);
    Ok(())
}

/// Reads the nth record.
fn read(store: &Arc<dyn Store>, nth: u64) -> impl Future<Output = Result<()>> + use<> {
    let store = Arc::clone(store);
    async move {
        store.brane(id(nth % RECORDS)).await?;
        Ok(())
    }
}

fn id(nth: u64) -> BraneId {
    BraneId::from_bytes(
        (u128::from(nth) << 64 | 0x4000 << 48 | 0x8000_0000_0000_0000).to_be_bytes(),
    )
}

fn record(nth: u64) -> BraneRecord {
    BraneRecord {
        name: format!("Brane {nth}"),
        kind: BraneKind::Public,
        visibility: Visibility::Public,
        ..BraneRecord::new(id(nth), UserId::from_bytes([7; 16]), 1_760_000_000_000 + nth)
    }
}

/// How long calls took, in microseconds.
struct Times {
    calls: usize,
    mean: f64,
    p50: f64,
    p99: f64,
}

impl Times {
    fn of(mut ns: Vec<u64>) -> Self {
        ns.sort_unstable();
        let us = |ns: u64| ns as f64 / 1_000.0;
        let at = |share: f64| {
            let at = (ns.len() as f64 * share) as usize;
            ns.get(at).copied().map_or(0.0, us)
        };
        let mean = us(ns.iter().sum::<u64>()) / ns.len().max(1) as f64;
        Self { calls: ns.len(), mean, p50: at(0.5), p99: at(0.99) }
    }

    fn json(&self) -> Value {
        let Self { calls, mean, p50, p99 } = *self;
        json!({"calls": calls, "mean": round(mean), "p50": round(p50), "p99": round(p99)})
    }
}

async fn timed<F>(setup: &Setup, call: impl Fn(u64) -> F) -> Result<Times>
where
    F: Future<Output = Result<()>>,
{
    timed_after(setup, |_| std::future::ready(Ok(())), call).await
}

/// Times calls, each after another one that is not.
async fn timed_after<B, F>(
    setup: &Setup,
    before: impl Fn(u64) -> B,
    call: impl Fn(u64) -> F,
) -> Result<Times>
where
    B: Future<Output = Result<()>>,
    F: Future<Output = Result<()>>,
{
    let (began, mut ns) = (Instant::now(), Vec::new());
    for nth in 0.. {
        before(nth).await?;
        let started = Instant::now();
        call(nth).await?;
        ns.push(started.elapsed().as_nanos() as u64);
        if began.elapsed() >= setup.time {
            break;
        }
    }
    Ok(Times::of(ns))
}
