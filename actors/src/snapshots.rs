//! Stores a snapshot, beside everything else: the brane goes on meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use avvy_brane::snapshot;
use avvy_flow::brane_core::SnapshotJob;
use avvy_model::BraneId;
use avvy_persistence::{SnapshotId, SnapshotStart, Store, StoreError};
use bytes::Bytes;

use crate::clock;

/// The longest rest after a part.
const MAX_REST: Duration = Duration::from_millis(50);

/// How fast snapshots are written: while somebody edits they take a share of
/// the time only, so that nobody waits for them; when the brane closes, all.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    share_percent: u32,
    hurried: Arc<AtomicBool>,
}

impl Pace {
    pub(crate) fn new(share_percent: u32) -> Self {
        Self { share_percent, hurried: Arc::default() }
    }

    /// From here on there are no rests.
    pub(crate) fn hurry(&self) {
        self.hurried.store(true, Ordering::Relaxed);
    }

    /// How long others have the time, after work that took so long.
    pub(crate) fn rest(&self, took: Duration) -> Duration {
        let share = self.share_percent.clamp(1, 100);
        match self.hurried.load(Ordering::Relaxed) {
            true => Duration::ZERO,
            false => (took * (100 - share) / share).min(MAX_REST),
        }
    }
}

/// Encodes and stores the parts one by one. What fails is given up, so that
/// its parts take no room until the brane's next snapshot.
pub(crate) async fn store(
    store: &dyn Store,
    brane: BraneId,
    job: SnapshotJob,
    pace: &Pace,
) -> Result<(), StoreError> {
    let SnapshotJob { frozen, clients, at, state_hash } = job;
    let mut encoder = snapshot::Encoder::new(frozen, clients, at, state_hash);
    let start = SnapshotStart { brane, epoch: at.epoch, at: at.seq, taken_ms: clock::unix_ms() };
    let id = store.begin_snapshot(start).await?;
    let stored = finish(store, brane, id, &mut encoder, pace).await;
    if stored.is_err() {
        // A snapshot that is visible after all stays so.
        let _ = store.abort_snapshot(brane, id).await;
    }
    stored
}

async fn finish(
    store: &dyn Store,
    brane: BraneId,
    id: SnapshotId,
    encoder: &mut snapshot::Encoder,
    pace: &Pace,
) -> Result<(), StoreError> {
    let mut index = 0;
    let mut began = Instant::now();
    while let Some(part) = encoder.next_part() {
        store.put_snapshot_part(brane, id, index, Bytes::from(part)).await?;
        index += 1;
        match pace.rest(began.elapsed()) {
            Duration::ZERO => tokio::task::yield_now().await,
            rest => tokio::time::sleep(rest).await,
        }
        began = Instant::now();
    }
    store.finish_snapshot(brane, id, index).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_takes_its_share_of_the_time_until_it_is_in_a_hurry() {
        let ms = Duration::from_millis;
        let pace = Pace::new(20);
        assert_eq!(pace.rest(ms(3)), ms(12));
        assert_eq!(pace.rest(ms(1_000)), MAX_REST, "a slow store does not make it last for ever");
        assert_eq!(Pace::new(100).rest(ms(3)), ms(0));
        pace.clone().hurry();
        assert_eq!(pace.rest(ms(3)), ms(0));
    }
}
