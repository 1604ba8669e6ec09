//! Copies of branes.
//!
//! A copy is a brane whose journal begins with all objects of one moment
//! ([`Copying`]). While that is written the copy is doomed, with a time by
//! which it is purged, and nobody can open it; at the end one change of its
//! record makes it a brane like others. So a crash in between leaves nothing
//! but what is purged anyway; what fails is purged at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use avvy_auth::Claims;
use avvy_brane::{CopyOf, Copying, journal};
use avvy_model::{BraneId, ClientId, Code, Epoch, Renaming, Seq, TraceId, Verb};
use avvy_persistence::{BraneRecord, ChunkWrite, Life, Store, StoreError};
use bytes::Bytes;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::change::Room;
use super::{System, View, principal, store_code};
use crate::Denied;
use crate::clock;
use crate::snapshots::Pace;

/// How long after its time-out what was written of a copy is purged.
const UNFINISHED_MS: u64 = 3_600_000;

/// Bytes of journal that are stored at a time.
const BITE_BYTES: usize = 1 << 20;

/// A copy that is asked for.
#[derive(Clone, Debug)]
pub struct Duplicate {
    /// The record of the copy, active and of version 1; its grid is that of
    /// the brane that is copied.
    pub record: BraneRecord,
    /// Drawn for this copy: its objects' ids are computed from it.
    pub key: [u8; 16],
    /// Under which the copy's log is written; drawn for this copy.
    pub client: ClientId,
    /// Kept in the journal.
    pub trace: TraceId,
}

impl System {
    /// Makes a copy of a brane as it is now, objects and all that belongs to
    /// the root, but no rights, for whoever has the verb `configure` in it.
    /// Gives the copy's record. One copy at a time is made; it goes on when
    /// this is dropped, until [`crate::SystemConfig::duplicate_timeout_ms`].
    ///
    /// # Errors
    /// As [`Self::view`] and [`Self::create_brane`]; `not_permitted`;
    /// `unavailable` while another copy is made; `timeout`.
    pub async fn duplicate(
        &self,
        source: BraneId,
        claims: &Claims,
        duplicate: Duplicate,
    ) -> Result<BraneRecord, Denied> {
        let view = self.view(source, claims).await?;
        let verbs = view.world.rights().verbs(&principal(&view.record, claims));
        if !verbs.contains(Verb::Configure) {
            return Err(Code::NotPermitted.into());
        }
        let turn = Arc::clone(&self.inner.duplicating).try_acquire_owned();
        let turn = turn.map_err(|_| Code::Unavailable)?;
        let (system, to) = (self.clone(), duplicate.record.id);
        let task = tokio::spawn(async move {
            let _turn = turn;
            let made = system.copy(view, duplicate).await;
            match &made {
                Ok(_) => info!(%source, copy = %to, "copied a brane"),
                Err(code) => warn!(%source, copy = %to, code = code.name(), "a copy was not made"),
            }
            made
        });
        Ok(task.await.map_err(|_| Code::Internal)??)
    }

    async fn copy(&self, view: View, duplicate: Duplicate) -> Result<BraneRecord, Code> {
        let Duplicate { record, key, client, trace } = duplicate;
        let Self { inner } = self;
        let (brane, now_ms) = (record.id, clock::unix_ms());
        let renaming = Renaming { key, from: view.record.id, to: brane };
        let (owner, trace) = (record.owner, Some(trace));
        let of = CopyOf { renaming, owner, client, at_ms: now_ms, trace };
        let copying = spawn_blocking(move || Copying::new(view.world, of));
        let copying = copying.await.map_err(|_| Code::Internal)?;
        let purge_ms = now_ms + inner.config.duplicate_timeout_ms + UNFINISHED_MS;
        let life = Life::Doomed { since_ms: now_ms, purge_ms };
        let record = BraneRecord { grid: copying.grid(), version: 2, ..record };
        self.create_brane(BraneRecord { life, version: 1, ..record.clone() }).await?;
        let made = self.fill(&record, copying).await;
        if made.is_err() {
            // Nobody else has it, so nothing has to wait until it is due.
            match inner.store.purge_brane(brane, purge_ms).await {
                // Or it is made all the same, and the answer was lost.
                Ok(()) | Err(StoreError::NotDue(_)) => {}
                Err(error) => warn!(%brane, %error, "what was written of a copy is left for now"),
            }
        }
        made.map(|()| record)
    }

    /// Writes all that is to be in a copy, and makes it a brane like others.
    async fn fill(&self, record: &BraneRecord, copying: Copying) -> Result<(), Code> {
        let (Self { inner }, brane) = (self, record.id);
        let epoch = inner.store.open_to_copy(brane).await.map_err(store_code)?.epoch;
        let pace = Pace::new(inner.config.snapshot_share_percent);
        let patience = Duration::from_millis(inner.config.duplicate_timeout_ms);
        let written = write(inner.store.as_ref(), brane, epoch, copying, &pace);
        let made = match timeout(patience, written).await {
            Ok(Ok(())) => self.activate(record).await,
            Ok(Err(code)) => Err(code),
            Err(_) => Err(Code::Timeout),
        };
        if let Some(link) = &inner.fleet {
            // Whoever is asked for it first has it.
            link.release(brane, epoch).await;
        }
        made
    }

    /// Makes it a brane like others, if its owner may have one more.
    async fn activate(&self, record: &BraneRecord) -> Result<(), Code> {
        let _creating = self.inner.creating.lock().await;
        self.expect_room(record.owner, Room::Kept).await?;
        self.inner.store.update_brane(record.clone(), 1).await.map_err(store_code)
    }
}

/// Writes the journal of a copy.
async fn write(
    store: &dyn Store,
    brane: BraneId,
    epoch: Epoch,
    mut copying: Copying,
    pace: &Pace,
) -> Result<(), Code> {
    loop {
        let began = Instant::now();
        let bitten = spawn_blocking(move || {
            let chunks = bite(&mut copying, brane, epoch);
            (copying, chunks)
        });
        let (rest, chunks) = bitten.await.map_err(|_| Code::Internal)?;
        if chunks.is_empty() {
            return Ok(());
        }
        copying = rest;
        for answer in store.append(chunks).await.map_err(store_code)? {
            answer.map_err(|refusal| {
                warn!(%brane, %refusal, "the journal of a copy was refused");
                Code::Unavailable
            })?;
        }
        sleep(pace.rest(began.elapsed())).await;
    }
}

/// The next chunks, of an event each.
fn bite(copying: &mut Copying, brane: BraneId, epoch: Epoch) -> Vec<ChunkWrite> {
    let (mut chunks, mut bytes) = (Vec::new(), 0);
    while bytes < BITE_BYTES
        && let Some(event) = copying.next_event()
    {
        let (from, to, at_ms) = (Seq(event.seq.0 - 1), event.seq, event.at_ms);
        let body = Bytes::from(journal::encode(&[event]));
        bytes += body.len();
        chunks.push(ChunkWrite { brane, epoch, from, to, at_ms, body });
    }
    chunks
}
