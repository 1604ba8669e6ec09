//! `avvyland migrate`: from one store to another.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use avvy_actors::REVOKED;
use avvy_persistence::cache::{MetaSet, SharedSet};
use avvy_persistence::import::{self, Import};
use avvy_persistence::records;
use avvy_persistence::sqlite::SqliteStore;
use avvy_persistence::{BraneFilter, BraneRecord, MAX_PAGE, Store};
use bytes::Bytes;

use crate::cli::{self, Place};
use crate::config::{Config, Sources};
use crate::{clock, data_dir, demo_brane, inspect, output, settings};

/// Where a store says that something was to come into it and is not all there.
const MARK: &str = "migration";
const UNFINISHED: &[u8] = b"unfinished";

/// Copies everything, and verifies the copy.
///
/// # Errors
/// When the settings are wrong, a store cannot be opened, the target holds
/// something, or the copy is not what it was made from.
pub fn run(arguments: &cli::Migrate) -> Result<()> {
    let config = Sources::gather(arguments.config.as_deref(), Vec::new())
        .and_then(|sources| sources.load())
        .map_err(|problems| anyhow!("{problems}"))?;
    ensure!(arguments.from != arguments.to, "--from and --to are the same");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let from = open(&config, &arguments.from, Side::Source).await?;
        let to = open(&config, &arguments.to, Side::Target).await?;
        let (branes, records) = migrate(&from, &to, &config).await?;
        from.close().await?;
        to.close().await?;
        let count =
            |count: u64, what| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let (branes, records) = (count(branes, "brane"), count(records, "record"));
        output::say(format_args!("\nMoved and verified: {branes} and {records}."))
    })
}

/// Refuses a store into which something was only copied in part.
///
/// # Errors
/// When it is one, or does not answer.
pub async fn refuse_unfinished(store: &dyn Store) -> Result<()> {
    let mark = store.meta(MARK).await?;
    ensure!(
        mark.is_none_or(|mark| mark != UNFINISHED),
        "a migration into this store was not finished: empty it, and migrate again"
    );
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Source,
    Target,
}

async fn open(config: &Config, place: &Place, side: Side) -> Result<Arc<dyn Import>> {
    match place {
        Place::Directory(directory) => open_directory(config, directory, side).await,
        Place::Mongodb => open_mongodb(config, side).await,
    }
}

async fn open_directory(config: &Config, directory: &Path, side: Side) -> Result<Arc<dyn Import>> {
    let is_there = directory.join(settings::DATABASE).is_file();
    match side {
        Side::Source => ensure!(is_there, "there is no store in {}", directory.display()),
        Side::Target => data_dir::prepare(directory)?,
    }
    let mut options = settings::sqlite(config);
    options.directory = directory.to_owned();
    let store = SqliteStore::open(&options);
    Ok(Arc::new(store.with_context(|| format!("cannot open {}", directory.display()))?))
}

#[cfg(feature = "mongodb")]
async fn open_mongodb(config: &Config, side: Side) -> Result<Arc<dyn Import>> {
    use avvy_persistence::mongo::MongoStore;
    ensure!(!config.store.uri.0.is_empty(), "store.uri must be set: it says where MongoDB is");
    let options = settings::mongodb(config);
    let store = match side {
        Side::Source => MongoStore::open_existing(&options).await,
        Side::Target => MongoStore::open(&options).await,
    };
    Ok(Arc::new(store.context("cannot open the store on MongoDB")?))
}

#[cfg(not(feature = "mongodb"))]
async fn open_mongodb(_: &Config, _: Side) -> Result<Arc<dyn Import>> {
    bail!("this program was built without MongoDB: build it with `--features mongodb`")
}

async fn migrate(
    source: &Arc<dyn Import>,
    target: &Arc<dyn Import>,
    config: &Config,
) -> Result<(u64, u64)> {
    let (from, to) = (source.as_ref(), target.as_ref());
    refuse_unfinished(from).await.context("--from")?;
    let there = to.branes(BraneFilter::All, None, 1).await?;
    ensure!(there.branes.is_empty(), "the target holds branes already; it has to be empty");
    let there = to.scan(None).await?;
    ensure!(there.is_empty(), "the target holds records already; it has to be empty");
    to.put_meta(MARK, Bytes::from_static(UNFINISHED)).await?;
    let records = all_branes(from).await?;
    for record in &records {
        let name = format!("{} {:?}", record.id, record.name);
        import::copy(from, to, record.id).await.with_context(|| format!("copying {name}"))?;
        if record.life.is_over() {
            output::say(format_args!("{}: purged, its id stays taken", record.id))?;
            continue;
        }
        verify(from, to, record, config).await.with_context(|| format!("verifying {name}"))?;
        output::say(format_args!("{name}: moved, its state hash is the same"))?;
    }
    let moved = copy_records(from, to).await.context("copying the records")?;
    if let Some(brane) = from.meta(demo_brane::META_KEY).await? {
        to.put_meta(demo_brane::META_KEY, brane).await?;
    }
    copy_revoked(source, target).await.context("copying which tokens are revoked")?;
    to.put_meta(MARK, Bytes::new()).await?;
    Ok((records.len() as u64, moved))
}

/// Copies all records and verifies the copy; how many there are.
async fn copy_records(from: &dyn Import, to: &dyn Import) -> Result<u64> {
    let was = import::copy_records(from, to).await?;
    let is = records::digest(to).await.context("verifying the records")?;
    ensure!(was == is, "the copy of the records is another: {was:?} became {is:?}");
    Ok(was.count)
}

/// The key that signs stays the same, so a token that was revoked would be good
/// again.
async fn copy_revoked(from: &Arc<dyn Import>, to: &Arc<dyn Import>) -> Result<()> {
    let set = |store: &Arc<dyn Import>| MetaSet::new(Arc::<dyn Import>::clone(store), REVOKED);
    let revoked = set(from).all().await?;
    if !revoked.is_empty() {
        set(to).add(revoked, clock::unix_s()).await?;
    }
    Ok(())
}

async fn all_branes(store: &dyn Store) -> Result<Vec<BraneRecord>> {
    let report = store.verify_store().await?;
    if let Some(damage) = report.damages.first() {
        bail!("the source is damaged at {}: {}", damage.place, damage.why);
    }
    let (mut records, mut after) = (Vec::new(), None);
    loop {
        let page = store.branes(BraneFilter::All, after, MAX_PAGE).await?;
        records.extend(page.branes);
        after = page.next;
        if after.is_none() {
            return Ok(records);
        }
    }
}

/// Holds the copy of a brane to what it was made from.
async fn verify(
    from: &dyn Store,
    to: &dyn Store,
    record: &BraneRecord,
    config: &Config,
) -> Result<()> {
    ensure!(to.brane(record.id).await? == *record, "the record is another");
    let limits = config.world_limits();
    let was = inspect::content(from, record, &limits).await?;
    let is = inspect::content(to, record, &limits).await?;
    ensure!(was == is, "the copy is another: {was:?} became {is:?}");
    Ok(())
}
