//! Opening a brane: reads from the store what the [`Loading`] machine asks for.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use avvy_flow::brane_core::Recovered;
use avvy_flow::group_commit::JournalChunk;
use avvy_flow::lineage::Lineage;
use avvy_flow::loading::{
    LoadConfig, LoadError, LoadWarning, Loading, Need, ReadFailure, SnapshotSource, Sources,
};
use avvy_flow::recovery::{Recovery, TailBounds};
use avvy_model::{BraneId, Code, Seq, WorldLimits};
use avvy_persistence::{
    BoxFuture, BraneRecord, Chunk, SnapshotId, SnapshotInfo, Store, StoreError,
};
use avvy_protocol::{Channel, Flush};
use bytes::Bytes;
use ractor::concurrency::oneshot;
use tokio::time::timeout;
use tracing::{error, info};

use crate::Denied;
use crate::brane::closed_to_all;
use crate::directory::DirectoryContext;
use crate::fleet::FleetLink;
use crate::metrics::count;
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

/// What was read of a brane before it could be opened, until whoever opens it
/// takes it.
#[derive(Clone)]
pub(crate) struct Preloaded(Arc<Mutex<Option<Box<Recovery>>>>);

impl Preloaded {
    pub(crate) fn new(recovery: Box<Recovery>) -> Self {
        Self(Arc::new(Mutex::new(Some(recovery))))
    }

    fn take(&self) -> Option<Box<Recovery>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Reads a brane under a new epoch, or what is not `preloaded` of it.
pub(crate) async fn load(
    context: &DirectoryContext,
    brane: BraneId,
    channel: Channel,
    preloaded: Option<Preloaded>,
) -> Result<Loaded, Denied> {
    let patience = Duration::from_millis(context.config.open_timeout_ms);
    let opening = open(context, brane, channel, preloaded);
    timeout(patience, opening).await.unwrap_or(Err(Code::Timeout.into()))
}

/// Reads a brane without opening it, for when it comes to this node.
pub(crate) async fn preload(context: &DirectoryContext, brane: BraneId) -> Result<Recovery, Code> {
    let store = context.store.as_ref();
    let record = store.brane(brane).await.map_err(store_code)?;
    let outline = store.outline(brane).await.map_err(store_code)?;
    let limits = &context.config.brane.limits;
    let (snapshots, head) = (&outline.snapshots, outline.head);
    recover(store, &record, snapshots, head, limits, tail(context)).await.map(|(read, _)| read)
}

fn tail(context: &DirectoryContext) -> TailBounds {
    let fan_out = &context.config.fan_out;
    TailBounds { max_windows: fan_out.ring_max_windows, max_bytes: fan_out.ring_max_bytes }
}

async fn open(
    context: &DirectoryContext,
    brane: BraneId,
    channel: Channel,
    preloaded: Option<Preloaded>,
) -> Result<Loaded, Denied> {
    settle(context, brane).await?;
    let store = context.store.as_ref();
    let opened = match store.open(brane).await {
        Ok(opened) => opened,
        Err(StoreError::Inactive { .. }) => return Err(inactive(store, brane).await.into()),
        Err(error) => return Err(refused(context.fleet.as_ref(), brane, error)),
    };
    let record = Arc::new(opened.record);
    if let Some(torn) = &opened.torn {
        count(&context.metrics.journal_cuts, 1);
        error!(%brane, from = %torn.kept, to = %torn.claimed, chunks = torn.chunks,
            why = torn.why, "the end of a journal is not whole and has been cut off");
    }
    // Only now: who was refused has to be able to come again.
    let preloaded = preloaded.and_then(|preloaded| preloaded.take());
    let usable = preloaded.filter(|read| opened.torn.is_none() && read.head() <= opened.head);
    let recovery = match usable {
        Some(read) => catch_up(store, brane, *read, opened.head).await?,
        None => {
            let limits = &context.config.brane.limits;
            let (snapshots, head) = (&opened.snapshots, opened.head);
            let (recovery, warnings) =
                recover(store, &record, snapshots, head, limits, tail(context)).await?;
            count(&context.metrics.load_warnings, warnings.len() as u64);
            recovery
        }
    };
    let lineage = Lineage::new(opened.lineage).map_err(|error| damaged(brane, &error))?;
    info!(%brane, epoch = %opened.epoch, head = %opened.head, "opened a brane");
    let (recovered, windows) = recovery.finish(channel, lineage);
    Ok(Loaded { record, channel, recovered, windows })
}

/// Takes in what was stored since a brane was read.
async fn catch_up(
    store: &dyn Store,
    brane: BraneId,
    mut recovery: Recovery,
    head: Seq,
) -> Result<Recovery, Code> {
    while recovery.head() < head {
        let chunks = store.read_chunks(brane, recovery.head(), BITE_BYTES).await;
        for chunk in chunks.map_err(store_code)? {
            recovery.chunk(&journal_chunk(chunk)).map_err(|error| damaged(brane, &error))?;
        }
    }
    Ok(recovery)
}

/// Why a brane is not opened that is not active.
async fn inactive(store: &dyn Store, brane: BraneId) -> Code {
    match store.brane(brane).await {
        // A cache may know nothing of it yet.
        Ok(record) => closed_to_all(&record).unwrap_or(Code::NotFound),
        Err(error) => store_code(error),
    }
}

/// Why a brane cannot be opened or changed here.
pub(crate) fn refused(fleet: Option<&FleetLink>, brane: BraneId, error: StoreError) -> Denied {
    let StoreError::Held { address, remaining_ms } = error else {
        error!(%brane, %error, "a brane could not be opened or changed");
        return store_code(error).into();
    };
    let Some(link) = fleet else { return Code::Unavailable.into() };
    // A node that lives has renewed its lease a moment ago.
    let lease_ms = u64::from(link.config.lease.lease_ms);
    let may_be_dead = remaining_ms < lease_ms / 2;
    let retry_after_ms = may_be_dead.then_some(remaining_ms + 1);
    // An earlier life of this node holds it until its lease is over.
    if address.is_empty() || *address == *link.address {
        let retry_after_ms = Some(remaining_ms + 1);
        return Denied { retry_after_ms, ..Denied::from(Code::Unavailable) };
    }
    Denied { retry_after_ms, ..Denied::moved(&address) }
}

/// Puts a brane together from one of its snapshots, newest first, and the
/// journal's chunks up to `head`, without opening it. Also says what of them
/// was not as it should be, which is logged.
///
/// # Errors
/// `damaged` when what is stored does not fit together, which is logged, or
/// what the store's failure amounts to.
pub async fn recover(
    store: &dyn Store,
    record: &BraneRecord,
    snapshots: &[SnapshotInfo],
    head: Seq,
    limits: &WorldLimits,
    tail: TailBounds,
) -> Result<(Recovery, Vec<LoadWarning>), Code> {
    let brane = record.id;
    let snapshots = snapshots
        .iter()
        .map(|info| SnapshotSource { id: info.id.0, at: info.at, parts: info.parts })
        .collect();
    let (owner, grid) = (record.owner, record.grid);
    let sources = Sources { brane, owner, grid, snapshots, head };
    let config = LoadConfig { limits: *limits, tail, tail_edits: TAIL_EDITS };
    let mut loading = Loading::new(sources, config);
    let (mut warnings, mut seen) = (Vec::new(), 0);
    let mut ahead: Option<Ahead<'_>> = None;
    loop {
        let need = loading.need();
        let read = match need {
            Need::Nothing => break,
            Need::Part { snapshot, index } => {
                let begun = ahead.take().filter(|ahead| ahead.need == need);
                let part = begun.unwrap_or_else(|| Ahead::new(store, brane, snapshot, index));
                let part = part.end().await;
                if let Some(Need::Part { snapshot, index }) = loading.next_need() {
                    let next = ahead.insert(Ahead::new(store, brane, snapshot, index));
                    next.begin().await;
                }
                part.map(|part| loading.part(&part, &mut warnings))
            }
            Need::Chunks { after } => {
                let read = store.read_chunks(brane, after, BITE_BYTES).await;
                // A brane that is open elsewhere goes on meanwhile.
                let known = |chunk: &Chunk| chunk.to <= head;
                let chunks = read.map(|chunks| {
                    chunks.into_iter().take_while(known).map(journal_chunk).collect()
                });
                chunks.map(|chunks: Vec<_>| loading.chunks(&chunks, &mut warnings))
            }
        };
        let taken = match read {
            Ok(taken) => taken.map_err(|error| damaged(brane, &error)),
            Err(error) => loading
                .failed(read_failure(&error), &mut warnings)
                .map_err(|reason| unreadable(brane, error, &reason)),
        };
        for warning in &warnings[seen..] {
            error!(%brane, %warning, "what is stored of a brane is not as it should be");
        }
        seen = warnings.len();
        taken?;
        tokio::task::yield_now().await;
    }
    // Nothing is needed and nothing has failed.
    let recovery = loading.finish().ok_or(Code::Internal)?;
    Ok((recovery, warnings))
}

/// A part of a snapshot that the store reads while the one before it is taken
/// in.
struct Ahead<'a> {
    need: Need,
    reading: BoxFuture<'a, Result<Bytes, StoreError>>,
    read: Option<Result<Bytes, StoreError>>,
}

impl<'a> Ahead<'a> {
    fn new(store: &'a dyn Store, brane: BraneId, snapshot: u64, index: u32) -> Self {
        let reading = store.read_snapshot_part(brane, SnapshotId(snapshot), index);
        Self { need: Need::Part { snapshot, index }, reading, read: None }
    }

    /// Has the store begin, and does not wait for it.
    async fn begin(&mut self) {
        poll_fn(|context| {
            if let Poll::Ready(read) = self.reading.as_mut().poll(context) {
                self.read = Some(read);
            }
            Poll::Ready(())
        })
        .await;
    }

    async fn end(self) -> Result<Bytes, StoreError> {
        match self.read {
            Some(read) => read,
            None => self.reading.await,
        }
    }
}

/// A brane that was open until now may still have chunks on their way; they
/// belong before the new epoch.
pub(crate) async fn settle(context: &DirectoryContext, brane: BraneId) -> Result<(), Code> {
    let (reply, settled) = oneshot();
    context
        .persistence
        .send_message(PersistenceMsg::Settle { brane, reply })
        .map_err(|_| Code::Unavailable)?;
    settled.await.map_err(|_| Code::Unavailable)
}

fn read_failure(error: &StoreError) -> ReadFailure {
    match error {
        StoreError::Compacted { oldest } => ReadFailure::Compacted { oldest: *oldest },
        StoreError::Damaged { .. } | StoreError::UnknownSnapshot { .. } => {
            ReadFailure::Damaged(error.to_string())
        }
        _ => ReadFailure::Away(error.to_string()),
    }
}

/// What it amounts to that a brane cannot be read.
fn unreadable(brane: BraneId, error: StoreError, reason: &LoadError) -> Code {
    match reason {
        LoadError::Damaged(_) => damaged(brane, reason),
        LoadError::Away(_) => store_code(error),
    }
}

fn journal_chunk(chunk: Chunk) -> JournalChunk {
    let Chunk { epoch, from, to, at_ms, body } = chunk;
    JournalChunk { epoch, from, to, at_ms, body }
}

fn damaged(brane: BraneId, error: &dyn std::error::Error) -> Code {
    error!(%brane, %error, "a brane is damaged");
    Code::Damaged
}
