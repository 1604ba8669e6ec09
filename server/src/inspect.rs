//! `avvyland inspect`: what a store holds, verified.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use avvy_actors::recover;
use avvy_flow::lineage::Lineage;
use avvy_flow::loading::LoadWarning;
use avvy_flow::recovery::TailBounds;
use avvy_model::{BraneId, Epoch, Seq, WorldLimits};
use avvy_persistence::spool::{Archived, archived, look};
use avvy_persistence::{
    BraneFilter, BraneRecord, BraneReport, Cut, Damage, MAX_PAGE, Store, StoreReport, TornTail,
};
use avvy_protocol::Channel;
use serde::Serialize;

use crate::config::Sources;
use crate::{cli, output, settings};

/// Where in the data directory edits wait for a store that is away.
const SPOOL: &str = "spool";

/// Nobody will be shown the windows.
const NO_TAIL: TailBounds = TailBounds { max_windows: 0, max_bytes: 0 };

#[derive(Serialize)]
struct Inspection {
    in_order: bool,
    schema: u32,
    bytes: u64,
    /// Pages of a commit that nobody was told of.
    dropped: u64,
    damages: Vec<String>,
    /// Records that are whole.
    records: u64,
    branes: Vec<Brane>,
    spool: Spooled,
}

/// What is on local disk of edits that the store has not taken.
#[derive(Serialize, Default)]
struct Spooled {
    /// What the next start will append to the store.
    waiting: Vec<String>,
    /// What the store refused for good.
    archived: Vec<String>,
}

#[derive(Serialize)]
struct Brane {
    id: String,
    name: String,
    owner: String,
    visibility: &'static str,
    /// What has become of it: `active`, `archived`, `deleted`, `purging`, `purged`.
    life: &'static str,
    epoch: u64,
    head: u64,
    oldest: u64,
    chunks: u64,
    chunk_bytes: u64,
    snapshots: Vec<u64>,
    /// What an opening would find; nothing if the brane does not open.
    objects: Option<u32>,
    state_hash: Option<String>,
    /// What the next opening will cut off.
    torn: Option<String>,
    /// What openings have cut off.
    cuts: Vec<String>,
    damages: Vec<String>,
}

/// Prints what is there. Fails the process when something is not in order.
///
/// # Errors
/// When the settings are wrong, or the directory cannot be opened.
pub fn run(arguments: &cli::Inspect) -> Result<ExitCode> {
    let config = Sources::gather(arguments.config.as_deref(), arguments.arguments())
        .and_then(|sources| sources.load())
        .map_err(|problems| anyhow!("{problems}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let inspection = runtime.block_on(async {
        let store = settings::open_for_reading(&config).await?;
        let spool = spooled(&config.server.data_dir.join(SPOOL))?;
        Ok::<_, anyhow::Error>(Inspection {
            spool,
            ..inspect(store, &config.world_limits()).await?
        })
    })?;
    if arguments.json {
        output::say(serde_json::to_string_pretty(&inspection)?)?;
    } else {
        output::say(inspection.text().trim_end())?;
    }
    Ok(if inspection.in_order { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn inspect(store: Arc<dyn Store>, limits: &WorldLimits) -> Result<Inspection> {
    let report = store.verify_store().await?;
    let mut branes = Vec::new();
    let mut after = None;
    loop {
        let page = store.branes(BraneFilter::All, after, MAX_PAGE).await?;
        for record in page.branes {
            branes.push(inspect_brane(store.as_ref(), record, limits).await);
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    store.close().await?;
    let StoreReport { schema, device_bytes: bytes, dropped, records, .. } = report;
    let damages: Vec<String> = report.damages.iter().map(damage).collect();
    let in_order = damages.is_empty() && branes.iter().all(Brane::is_in_order);
    let spool = Spooled::default();
    Ok(Inspection { in_order, schema, bytes, dropped, damages, records, branes, spool })
}

/// Looks into a spool, whether a process has it or not.
fn spooled(directory: &Path) -> Result<Spooled> {
    let range = |chunks: u64, from: Seq, to: Seq| format!("({from}..{to}], {chunks} chunks");
    let mut tails: BTreeMap<(BraneId, Epoch), (u64, Seq, Seq)> = BTreeMap::new();
    for chunk in look(directory)?.into_iter().flat_map(|segment| segment.chunks) {
        let tail = tails.entry((chunk.brane, chunk.epoch)).or_insert((0, chunk.from, chunk.to));
        (tail.0, tail.2) = (tail.0 + 1, chunk.to);
    }
    let waiting = tails.into_iter().map(|((brane, epoch), (chunks, from, to))| {
        format!("brane {brane}, epoch {epoch}: {}", range(chunks, from, to))
    });
    let archived = archived(directory)?.into_iter().map(|found| {
        let Archived { file, of, from, to, chunks, torn, .. } = found;
        let of = of.map_or_else(
            || "what cannot be read".to_owned(),
            |(brane, epoch)| format!("brane {brane}, epoch {epoch}: {}", range(chunks, from, to)),
        );
        let torn = torn.map_or_else(String::new, |why| format!(", then what is not whole: {why}"));
        format!("{of}{torn}, in {}", file.display())
    });
    Ok(Spooled { waiting: waiting.collect(), archived: archived.collect() })
}

/// Whatever is wrong with the brane is said in its report and ends no other's.
async fn inspect_brane(store: &dyn Store, record: BraneRecord, limits: &WorldLimits) -> Brane {
    let mut damages = Vec::new();
    let report = store.verify_brane(record.id).await.unwrap_or_else(|error| {
        damages.push(format!("cannot be verified: {error}"));
        BraneReport::default()
    });
    damages.extend(report.damages.iter().map(damage));
    let unsaid = report.damage_count.saturating_sub(report.damages.len() as u64);
    if unsaid > 0 {
        damages.push(format!("and {unsaid} more"));
    }
    // Also where something is damaged: it may open from what is whole.
    let (objects, state_hash) = match open_pretended(store, &record, &report, limits).await {
        Ok((count, hash, warnings)) => {
            damages.extend(warnings.iter().map(ToString::to_string));
            (Some(count), Some(hash))
        }
        Err(error) => {
            damages.push(format!("{error:#}"));
            (None, None)
        }
    };
    Brane {
        id: record.id.to_string(),
        name: record.name,
        owner: record.owner.to_string(),
        visibility: record.visibility.name(),
        life: record.life.name(),
        epoch: report.epoch.0,
        head: report.head.0,
        oldest: report.oldest.0,
        chunks: report.chunks,
        chunk_bytes: report.chunk_bytes,
        snapshots: report.snapshots.iter().map(|snapshot| snapshot.at.0).collect(),
        objects,
        state_hash,
        torn: report.torn.map(|torn| {
            let TornTail { kept, claimed, why, .. } = torn;
            format!("edits after {kept} to {claimed} are not whole and will be cut off: {why}")
        }),
        cuts: report.cuts.iter().map(cut).collect(),
        damages,
    }
}

/// What of a brane a copy has to have, too.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Content {
    epoch: u64,
    head: u64,
    oldest: u64,
    chunks: u64,
    chunk_bytes: u64,
    snapshots: Vec<u64>,
    objects: u32,
    state_hash: String,
}

/// What is in a brane.
///
/// # Errors
/// When something of it is damaged.
pub(crate) async fn content(
    store: &dyn Store,
    record: &BraneRecord,
    limits: &WorldLimits,
) -> Result<Content> {
    let brane = inspect_brane(store, record.clone(), limits).await;
    ensure!(brane.is_in_order(), "it is not in order: {:?} {:?}", brane.damages, brane.torn);
    Ok(Content {
        epoch: brane.epoch,
        head: brane.head,
        oldest: brane.oldest,
        chunks: brane.chunks,
        chunk_bytes: brane.chunk_bytes,
        snapshots: brane.snapshots,
        objects: brane.objects.context("it does not open")?,
        state_hash: brane.state_hash.context("it does not open")?,
    })
}

fn damage(damage: &Damage) -> String {
    format!("{}: {}", damage.place, damage.why)
}

fn cut(cut: &Cut) -> String {
    let Cut { epoch, torn: TornTail { kept, claimed, chunks, why } } = cut;
    format!(
        "edits after {kept} to {claimed} were cut off by opening {epoch}: {why}; \
         {chunks} chunks are put aside in cut_chunks"
    )
}

/// The number of objects and the state hash that an opening would find, and
/// what it would warn of.
async fn open_pretended(
    store: &dyn Store,
    record: &BraneRecord,
    report: &BraneReport,
    limits: &WorldLimits,
) -> Result<(u32, String, Vec<LoadWarning>)> {
    let head = report.torn.as_ref().map_or(report.head, |torn| torn.kept);
    let (recovery, warnings) = recover(store, record, &report.snapshots, head, limits, NO_TAIL)
        .await
        .map_err(|code| anyhow!("does not open: {code}"))?;
    let lineage = Lineage::new(vec![(Epoch(1), head)])?;
    let (mut recovered, _) = recovery.finish(Channel(0), lineage);
    let hash = recovered.world.state_hash().to_bytes();
    let hash = hash.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    Ok((recovered.world.len(), hash, warnings))
}

impl Inspection {
    fn text(&self) -> String {
        let Self { schema, bytes, records, .. } = self;
        let branes = self.branes.len();
        let mut text =
            format!("schema {schema}, {bytes} bytes, {branes} branes, {records} records\n");
        if self.dropped > 0 {
            text += &format!(
                "{} pages of a commit that was never acknowledged were dropped: nothing is missing\n",
                self.dropped
            );
        }
        self.branes.iter().for_each(|brane| brane.write(&mut text));
        for damage in &self.damages {
            text += &format!("DAMAGED {damage}\n");
        }
        if !self.spool.waiting.is_empty() || !self.spool.archived.is_empty() {
            text += "\nOn local disk:\n";
        }
        for line in &self.spool.waiting {
            text += &format!("  WAITING {line}\n");
        }
        for line in &self.spool.archived {
            text += &format!("  NEVER STORED {line}\n");
        }
        let cuts: usize = self.branes.iter().map(|brane| brane.cuts.len()).sum();
        text += match (self.in_order, cuts) {
            (true, 0) => "\nEverything is in order.\n",
            (true, _) => "\nWhat is there is in order; something was cut off earlier, see above.\n",
            (false, _) => "\nNot in order.\n",
        };
        text
    }
}

impl Brane {
    fn is_in_order(&self) -> bool {
        self.damages.is_empty() && self.torn.is_none()
    }

    fn write(&self, text: &mut String) {
        let unknown = || "?".to_owned();
        *text += &format!(
            "\n{} {:?} ({}, {})\n  objects {}, state hash {}\n  epoch {}, edits {}, kept after {}\n  \
             journal {} chunks, {} bytes; snapshots at {:?}\n",
            self.id,
            self.name,
            self.visibility,
            self.life,
            self.objects.map_or_else(unknown, |n| n.to_string()),
            self.state_hash.clone().unwrap_or_else(unknown),
            self.epoch,
            self.head,
            self.oldest,
            self.chunks,
            self.chunk_bytes,
            self.snapshots,
        );
        let torn = self.torn.iter().map(|line| ("TORN", line));
        let cuts = self.cuts.iter().map(|line| ("CUT", line));
        let damages = self.damages.iter().map(|line| ("DAMAGED", line));
        for (what, line) in torn.chain(cuts).chain(damages) {
            *text += &format!("  {what} {line}\n");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use avvy_persistence::spool::{Spool, SpoolOptions};
    use avvy_persistence::{AppendRefusal, ChunkWrite};

    use super::*;

    fn chunk(nth: u8, from: u64) -> ChunkWrite {
        ChunkWrite {
            brane: BraneId::from_bytes([nth; 16]),
            epoch: Epoch(2),
            from: Seq(from),
            to: Seq(from + 3),
            at_ms: 1,
            body: vec![nth; 10].into(),
        }
    }

    #[tokio::test]
    async fn what_is_on_local_disk_is_told() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join(SPOOL);
        assert!(spooled(&directory).unwrap().waiting.is_empty());
        let spool = Spool::open(&SpoolOptions::at(&directory)).unwrap();
        let all = vec![chunk(1, 4), chunk(1, 7), chunk(2, 0), chunk(1, 10)];
        spool.append(all).await.unwrap();
        let stale = Err(AppendRefusal::StaleEpoch { current: Epoch(3) });
        spool.settle(vec![stale, stale]).await.unwrap();
        let Spooled { waiting, archived } = spooled(&directory).unwrap();
        // What is settled goes with its file.
        assert_eq!(waiting.len(), 2);
        assert!(waiting[0].ends_with("epoch 2: (4..13], 3 chunks"), "{waiting:?}");
        assert!(waiting[1].ends_with("epoch 2: (0..3], 1 chunks"), "{waiting:?}");
        let [archived] = &archived[..] else { panic!("{archived:?}") };
        assert!(archived.contains("epoch 2: (4..10], 2 chunks, in "), "{archived}");
    }
}
