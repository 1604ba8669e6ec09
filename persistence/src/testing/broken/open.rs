//! The bugs of opening and reading.

use avvy_model::{BraneId, Epoch, Seq};
use bytes::Bytes;

use super::{Broken, Bug};
use crate::chunk::Chunk;
use crate::error::{Place, StoreError};
use crate::snapshot::{SnapshotId, SnapshotInfo};
use crate::store::{Opened, TornTail};

impl Broken {
    pub(super) async fn open_wrongly(&self, brane: BraneId) -> Result<Opened, StoreError> {
        self.let_go(brane).await?;
        self.take_wrongly(brane).await?;
        let mut opened = match self.inner.open(brane).await {
            Err(StoreError::Held { remaining_ms, .. }) if self.bug == Bug::NamesAnotherHolder => {
                return Err(StoreError::Held { address: self.own_address(), remaining_ms });
            }
            Err(StoreError::Inactive { .. }) if self.bug == Bug::OpensTheInactive => {
                self.inner.open_to_copy(brane).await?
            }
            Err(StoreError::Damaged { place, why }) => self.open_damaged(brane, place, why).await?,
            other => other?,
        };
        self.state().epochs.insert(brane, opened.epoch);
        match self.bug {
            Bug::NeverRaisesTheEpoch => {
                opened.epoch = Epoch(1);
                opened.lineage = vec![(Epoch(1), Seq(0))];
            }
            Bug::ForgetsTheLineage => {
                opened.lineage.drain(..opened.lineage.len().saturating_sub(1));
            }
            Bug::CutsSilently => opened.torn = None,
            Bug::CutsTooMuch => {
                if let Some(torn) = &opened.torn {
                    opened.head = Seq(torn.kept.0.saturating_sub(1));
                }
            }
            Bug::ShowsUnfinishedSnapshots => self.show_unfinished(brane, &mut opened),
            Bug::OpensFromAnOldSnapshot => {
                if let Some(info) = opened.snapshots.first().copied() {
                    let first = *self.state().first.entry(brane).or_insert(info);
                    opened.snapshots.insert(0, first);
                }
            }
            Bug::ShowsTheNewestSnapshotOnly => opened.snapshots.truncate(1),
            _ => {}
        }
        Ok(opened)
    }

    fn show_unfinished(&self, brane: BraneId, opened: &mut Opened) {
        if let Some((id, start)) = self.state().begun.get(&brane) {
            let unfinished = SnapshotInfo {
                id: *id,
                epoch: start.epoch,
                at: start.at,
                parts: 1,
                bytes: 0,
                taken_ms: start.taken_ms,
            };
            opened.snapshots.insert(0, unfinished);
        }
    }

    async fn open_damaged(
        &self,
        brane: BraneId,
        place: Place,
        why: String,
    ) -> Result<Opened, StoreError> {
        let (Bug::TakesDamageForATornTail, Place::Chunk { from, .. }) = (self.bug, &place) else {
            return Err(StoreError::Damaged { place, why });
        };
        let report = self.inner.verify_brane(brane).await?;
        Ok(Opened {
            record: self.inner.brane(brane).await?,
            epoch: report.epoch,
            lineage: vec![(report.epoch, *from)],
            head: *from,
            snapshots: Vec::new(),
            torn: Some(TornTail { kept: *from, claimed: report.head, chunks: 1, why }),
        })
    }

    pub(super) async fn read_wrongly(
        &self,
        brane: BraneId,
        after: Seq,
        max_bytes: usize,
    ) -> Result<Vec<Chunk>, StoreError> {
        if self.bug == Bug::LosesTheLastChunkInACrash {
            let held = self.state().held.get(&brane).cloned();
            let mut chunks = self.inner.read_chunks(brane, after, max_bytes).await?;
            let end = chunks.last().map_or(after, |last| last.to);
            if let Some(held) = held.filter(|held| held.from == end) {
                let crate::chunk::ChunkWrite { epoch, from, to, at_ms, body, .. } = held;
                chunks.push(Chunk { epoch, from, to, at_ms, body });
            }
            return Ok(chunks);
        }
        let gone = self.state().gone.get(&brane).copied().filter(|gone| after < *gone);
        if let Some(oldest) = gone {
            return Err(StoreError::Compacted { oldest });
        }
        let max_bytes = if self.bug == Bug::IgnoresBudgets { usize::MAX } else { max_bytes };
        match self.inner.read_chunks(brane, after, max_bytes).await {
            Err(StoreError::Damaged { .. }) if self.bug == Bug::SwallowsDamagedChunks => {
                Ok(Vec::new())
            }
            other => other,
        }
    }

    pub(super) async fn read_part_wrongly(
        &self,
        brane: BraneId,
        snapshot: SnapshotId,
        index: u32,
    ) -> Result<Bytes, StoreError> {
        match self.inner.read_snapshot_part(brane, snapshot, index).await {
            Err(StoreError::Damaged { .. }) if self.bug == Bug::SwallowsDamagedParts => {
                Ok(Bytes::from(vec![0; 3_000]))
            }
            other => other,
        }
    }
}
