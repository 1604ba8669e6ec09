//! Opening a brane: its newest snapshot, then the journal's tail, and of that
//! tail the windows that clients may still lack.

use std::sync::Arc;
use std::time::Duration;

use avvy_brane::{Clients, World, snapshot};
use avvy_flow::brane_core::Recovered;
use avvy_flow::group_commit::JournalChunk;
use avvy_flow::lineage::Lineage;
use avvy_flow::recovery::{Recovery, TailBounds};
use avvy_model::{BraneId, Code, Seq, WorldLimits};
use avvy_persistence::{BraneRecord, Chunk, SnapshotInfo, Store, StoreError};
use avvy_protocol::{Channel, Flush};
use ractor::concurrency::oneshot;
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::directory::DirectoryContext;
use crate::persistence::PersistenceMsg;
use crate::system::store_code;

/// Bytes of journal read at a time.
const BITE_BYTES: usize = 1 << 20;

/// Edits before the snapshot whose windows are read, too, for clients that
/// were cut off shortly before the brane was closed.
const TAIL_EDITS: u64 = 10_000;

/// A brane as it comes from the store.
pub(crate) struct Loaded {
    pub(crate) record: Arc<BraneRecord>,
    pub(crate) channel: Channel,
    pub(crate) recovered: Recovered,
    /// The newest windows of the journal, for the fan-out's ring.
    pub(crate) windows: Vec<Flush>,
}

/// Reads a brane under a new epoch.
pub(crate) async fn load(
    context: &DirectoryContext,
    brane: BraneId,
    channel: Channel,
) -> Result<Loaded, Code> {
    let patience = Duration::from_millis(context.config.open_timeout_ms);
    timeout(patience, open(context, brane, channel)).await.unwrap_or(Err(Code::Timeout))
}

async fn open(
    context: &DirectoryContext,
    brane: BraneId,
    channel: Channel,
) -> Result<Loaded, Code> {
    settle(context, brane).await?;
    let store = context.store.as_ref();
    let record = Arc::new(store.brane(brane).await.map_err(store_code)?);
    let opened = store.open(brane).await.map_err(|error| {
        error!(%brane, %error, "a brane could not be opened");
        store_code(error)
    })?;
    if let Some(torn) = &opened.torn {
        warn!(%brane, kept = %torn.kept, claimed = %torn.claimed, chunks = torn.chunks,
            why = torn.why, "the journal's end was torn and has been cut");
    }
    let limits = &context.config.brane.limits;
    let fan_out = &context.config.fan_out;
    let bounds =
        TailBounds { max_windows: fan_out.ring_max_windows, max_bytes: fan_out.ring_max_bytes };
    let recovery = recover(store, &record, opened.snapshot, opened.head, limits, bounds).await?;
    let lineage = Lineage::new(opened.lineage).map_err(|error| damaged(brane, &error))?;
    info!(%brane, epoch = %opened.epoch, head = %opened.head, "opened a brane");
    let (recovered, windows) = recovery.finish(channel, lineage);
    Ok(Loaded { record, channel, recovered, windows })
}

/// Puts a brane together from its newest snapshot and the journal's chunks up
/// to `head`, without opening it.
///
/// # Errors
/// `damaged` when what is stored does not fit together, which is logged, or
/// what the store's failure amounts to.
pub async fn recover(
    store: &dyn Store,
    record: &BraneRecord,
    snapshot: Option<SnapshotInfo>,
    head: Seq,
    limits: &WorldLimits,
    bounds: TailBounds,
) -> Result<Recovery, Code> {
    let (world, clients, at) = match snapshot {
        Some(info) => read_snapshot(store, record.id, info, limits).await?,
        None => (World::new(record.id, record.owner), Clients::new(limits), Seq(0)),
    };
    read_journal(store, record.id, Recovery::new(world, clients, at, bounds), head).await
}

/// A brane that was open until now may still have chunks on their way; they
/// belong before the new epoch.
async fn settle(context: &DirectoryContext, brane: BraneId) -> Result<(), Code> {
    let (reply, settled) = oneshot();
    context
        .persistence
        .send_message(PersistenceMsg::Settle { brane, reply })
        .map_err(|_| Code::Unavailable)?;
    settled.await.map_err(|_| Code::Unavailable)
}

async fn read_snapshot(
    store: &dyn Store,
    brane: BraneId,
    info: SnapshotInfo,
    limits: &WorldLimits,
) -> Result<(World, Clients, Seq), Code> {
    let mut decoder = snapshot::Decoder::new(limits);
    for index in 0..info.parts {
        let part = store.read_snapshot_part(brane, info.id, index).await.map_err(store_code)?;
        decoder.feed(&part).map_err(|error| damaged(brane, &error))?;
        tokio::task::yield_now().await;
    }
    let restored = decoder.finish().map_err(|error| damaged(brane, &error))?;
    Ok((restored.world, restored.clients, restored.position.seq))
}

/// Reads the chunks up to the head, from somewhat before the snapshot on.
async fn read_journal(
    store: &dyn Store,
    brane: BraneId,
    mut recovery: Recovery,
    head: Seq,
) -> Result<Recovery, Code> {
    let mut at = Seq(recovery.head().0.saturating_sub(TAIL_EDITS));
    while at < head {
        let chunks = match store.read_chunks(brane, at, BITE_BYTES).await {
            // What lies before the snapshot is not needed, only welcome.
            Err(StoreError::Compacted { oldest }) if at < recovery.head() => {
                at = oldest.min(recovery.head());
                store.read_chunks(brane, at, BITE_BYTES).await
            }
            read => read,
        };
        let chunks = chunks.map_err(store_code)?;
        let Some(last) = chunks.last() else {
            error!(%brane, %at, %head, "the journal ends before its head");
            return Err(Code::Damaged);
        };
        at = last.to;
        for chunk in chunks {
            recovery.chunk(&journal_chunk(chunk)).map_err(|error| damaged(brane, &error))?;
        }
        tokio::task::yield_now().await;
    }
    Ok(recovery)
}

fn journal_chunk(chunk: Chunk) -> JournalChunk {
    let Chunk { epoch, from, to, at_ms, body } = chunk;
    JournalChunk { epoch, from, to, at_ms, body }
}

fn damaged(brane: BraneId, error: &dyn std::error::Error) -> Code {
    error!(%brane, %error, "a brane is damaged");
    Code::Damaged
}
