//! `avvyland inspect`: what a data directory holds, verified.

use std::fmt::Write;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use avvy_actors::recover;
use avvy_flow::lineage::Lineage;
use avvy_flow::loading::LoadWarning;
use avvy_flow::recovery::TailBounds;
use avvy_model::{Epoch, WorldLimits};
use avvy_persistence::sqlite::{SqliteOptions, SqliteReader};
use avvy_persistence::{BraneFilter, BraneRecord, BraneReport, Cut, MAX_PAGE, Store, TornTail};
use avvy_protocol::Channel;
use serde::Serialize;

use crate::cli;

/// Nobody will be shown the windows.
const NO_TAIL: TailBounds = TailBounds { max_windows: 0, max_bytes: 0 };

#[derive(Serialize)]
struct Inspection {
    schema: u32,
    bytes: u64,
    damages: Vec<String>,
    branes: Vec<Brane>,
}

#[derive(Serialize)]
struct Brane {
    id: String,
    name: String,
    owner: String,
    visibility: &'static str,
    epoch: u64,
    head: u64,
    oldest: u64,
    chunks: u64,
    chunk_bytes: u64,
    snapshots: Vec<u64>,
    objects: Option<u32>,
    state_hash: Option<String>,
    torn: Option<String>,
    cuts: Vec<String>,
    damages: Vec<String>,
}

/// Prints what is there. Fails the process when something is not in order.
///
/// # Errors
/// When the directory cannot be opened.
pub fn run(arguments: &cli::Inspect) -> Result<ExitCode> {
    ensure!(arguments.data.is_dir(), "{} is not a directory", arguments.data.display());
    let options = SqliteOptions { directory: arguments.data.clone(), ..SqliteOptions::default() };
    let store = SqliteReader::open(&options).context("the data cannot be opened")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let inspection = runtime.block_on(inspect(Arc::new(store)))?;
    let is_sound = inspection.is_sound();
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&inspection)?);
    } else {
        print!("{}", inspection.text());
    }
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn inspect(store: Arc<dyn Store>) -> Result<Inspection> {
    let report = store.verify_store().await?;
    let mut branes = Vec::new();
    let mut after = None;
    loop {
        let page = store.branes(BraneFilter::All, after, MAX_PAGE).await?;
        for record in page.branes {
            branes.push(inspect_brane(store.as_ref(), record).await?);
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let damages = report.damages.iter().map(|d| format!("{}: {}", d.place, d.why)).collect();
    store.close().await?;
    Ok(Inspection { schema: report.schema, bytes: report.device_bytes, damages, branes })
}

async fn inspect_brane(store: &dyn Store, record: BraneRecord) -> Result<Brane> {
    let report = store.verify_brane(record.id).await?;
    let mut damages: Vec<String> =
        report.damages.iter().map(|d| format!("{}: {}", d.place, d.why)).collect();
    let mut objects = None;
    let mut state_hash = None;
    if report.damage_count == 0 {
        match open_pretended(store, &record, &report).await {
            Ok((count, hash, warnings)) => {
                (objects, state_hash) = (Some(count), Some(hash));
                damages.extend(warnings.iter().map(ToString::to_string));
            }
            Err(error) => damages.push(format!("{error:#}")),
        }
    }
    Ok(Brane {
        id: record.id.to_string(),
        name: record.name,
        owner: record.owner.to_string(),
        visibility: record.visibility.name(),
        epoch: report.epoch.0,
        head: report.head.0,
        oldest: report.oldest.0,
        chunks: report.chunks,
        chunk_bytes: report.chunk_bytes,
        snapshots: report.snapshots.iter().map(|snapshot| snapshot.at.0).collect(),
        objects,
        state_hash,
        torn: report.torn.map(|torn| {
            format!("edits after {} are not whole and will be cut: {}", torn.kept, torn.why)
        }),
        cuts: report.cuts.iter().map(cut).collect(),
        damages,
    })
}

fn cut(cut: &Cut) -> String {
    let Cut { epoch, torn: TornTail { kept, claimed, chunks, why } } = cut;
    format!(
        "edits after {kept} to {claimed} were cut off by opening {epoch}: {why}; \
         {chunks} chunks are put aside in the table cut_chunks"
    )
}

/// The number of objects and the state hash that an opening would find, and
/// what it would warn of.
async fn open_pretended(
    store: &dyn Store,
    record: &BraneRecord,
    report: &BraneReport,
) -> Result<(u32, String, Vec<LoadWarning>)> {
    let head = report.torn.as_ref().map_or(report.head, |torn| torn.kept);
    let limits = WorldLimits::default();
    let (recovery, warnings) = recover(store, record, &report.snapshots, head, &limits, NO_TAIL)
        .await
        .map_err(|code| anyhow::anyhow!("does not open: {code}"))?;
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
    fn is_sound(&self) -> bool {
        self.damages.is_empty() && self.branes.iter().all(|brane| brane.damages.is_empty())
    }

    fn text(&self) -> String {
        let mut text =
            format!("schema {}, {} bytes, {} branes\n", self.schema, self.bytes, self.branes.len());
        for brane in &self.branes {
            let unknown = || "?".to_owned();
            text += &format!(
                "\n{} {:?} ({})\n  objects {}, state hash {}\n  epoch {}, edits {}, kept after {}\n  \
                 journal {} chunks, {} bytes; snapshots at {:?}\n",
                brane.id,
                brane.name,
                brane.visibility,
                brane.objects.map_or_else(unknown, |n| n.to_string()),
                brane.state_hash.clone().unwrap_or_else(unknown),
                brane.epoch,
                brane.head,
                brane.oldest,
                brane.chunks,
                brane.chunk_bytes,
                brane.snapshots,
            );
            for line in brane.torn.iter().map(|torn| format!("torn: {torn}")) {
                text += &format!("  {line}\n");
            }
            for cut in &brane.cuts {
                text += &format!("  CUT {cut}\n");
            }
            for damage in &brane.damages {
                text += &format!("  DAMAGED {damage}\n");
            }
        }
        for damage in &self.damages {
            text += &format!("DAMAGED {damage}\n");
        }
        text += if self.is_sound() { "\nEverything is in order.\n" } else { "\nNot in order.\n" };
        text
    }
}
