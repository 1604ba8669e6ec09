//! Retention, as far as it is the same for all stores with a device.

use std::collections::BTreeSet;
use std::future::Future;

use avvy_model::BraneId;

use crate::error::StoreError;
use crate::report::Compaction;

/// What is deleted in one step: chunks from the front of a journal that each
/// of the `keep` newest snapshots covers and that were written before
/// `before_ms`, about `wanted` bytes at most. What the oldest of those
/// snapshots lacks is what the brane opens from if the newer ones are damaged.
#[derive(Clone, Copy)]
pub(crate) struct Bite {
    pub(crate) brane: BraneId,
    pub(crate) keep: u32,
    pub(crate) before_ms: u64,
    pub(crate) wanted: u64,
}

/// What a bite deleted.
#[derive(Clone, Copy, Default)]
pub(crate) struct Bitten {
    pub(crate) chunks: u64,
    pub(crate) bytes: u64,
    /// Whether there may be more to delete.
    pub(crate) more: bool,
}

/// A store that deletes bite by bite.
pub(crate) trait Bites: Sync {
    /// Deletes a bite.
    fn bite(&self, bite: Bite) -> impl Future<Output = Result<Bitten, StoreError>> + Send;

    /// The length of all journals, and the branes with the longest.
    fn longest(&self) -> impl Future<Output = Result<(u64, Vec<BraneId>), StoreError>> + Send;
}

/// Deletes all that is due of a brane.
pub(crate) async fn bite_off(
    store: &impl Bites,
    bite: Bite,
    done: &mut Compaction,
) -> Result<(), StoreError> {
    while swallow(store, bite, done).await?.more {}
    Ok(())
}

/// Branes of which one takes too long before the whole is given up: then it is
/// the store that does.
const MAX_HELD_UP: usize = 4;

/// The branes that a compaction has left for the next one.
#[derive(Default)]
pub(crate) struct HeldUp(BTreeSet<BraneId>);

impl HeldUp {
    /// Lets a brane that is too busy now not hold up the others.
    pub(crate) fn skip(
        &mut self,
        brane: BraneId,
        result: Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        match result {
            Err(error @ StoreError::Timeout { .. }) if self.0.len() < MAX_HELD_UP => {
                tracing::warn!(%brane, %error, "a brane is not compacted now");
                self.0.insert(brane);
                Ok(())
            }
            other => other,
        }
    }
}

/// Deletes covered chunks of the longest journals while all together are
/// longer than `cap`; none of those that are left for the next time.
pub(crate) async fn cut_to(
    store: &impl Bites,
    cap: u64,
    keep: u32,
    held_up: &mut HeldUp,
    done: &mut Compaction,
) -> Result<(), StoreError> {
    let (mut total, branes) = store.longest().await?;
    for brane in branes {
        let mut more = total > cap && !held_up.0.contains(&brane);
        while more {
            let bite = Bite { brane, keep, before_ms: u64::MAX, wanted: total - cap };
            let bitten = match swallow(store, bite, done).await {
                Ok(bitten) => bitten,
                Err(error) => {
                    skip_damaged(held_up.skip(brane, Err(error)), done)?;
                    Bitten::default()
                }
            };
            total = total.saturating_sub(bitten.bytes);
            more = bitten.more && total > cap;
        }
    }
    Ok(())
}

async fn swallow(
    store: &impl Bites,
    bite: Bite,
    done: &mut Compaction,
) -> Result<Bitten, StoreError> {
    let bitten = store.bite(bite).await?;
    done.chunks += bitten.chunks;
    done.chunk_bytes += bitten.bytes;
    Ok(bitten)
}

/// Lets a damaged brane not hold up the others.
pub(crate) fn skip_damaged(
    result: Result<(), StoreError>,
    done: &mut Compaction,
) -> Result<(), StoreError> {
    match result {
        Err(StoreError::Damaged { place, why }) => {
            tracing::error!(%place, %why, "compaction skips a damaged brane");
            done.skipped += 1;
            Ok(())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Journals of one byte each, of which some take too long.
    struct Busy {
        branes: Vec<BraneId>,
        busy: Vec<BraneId>,
    }

    impl Bites for Busy {
        async fn bite(&self, bite: Bite) -> Result<Bitten, StoreError> {
            if self.busy.contains(&bite.brane) {
                return Err(StoreError::Timeout { after_ms: 1 });
            }
            Ok(Bitten { chunks: 1, bytes: 1, more: false })
        }

        async fn longest(&self) -> Result<(u64, Vec<BraneId>), StoreError> {
            Ok((self.branes.len() as u64, self.branes.clone()))
        }
    }

    /// Compacts so many branes, of which the first take too long in whatever
    /// is done with them.
    async fn compact(branes: u8, busy: u8) -> Result<Compaction, StoreError> {
        let some = |range: std::ops::Range<u8>| {
            range.map(|nth| BraneId::from_bytes([nth; 16])).collect::<Vec<_>>()
        };
        let store = Busy { branes: some(0..branes), busy: some(0..busy) };
        let (mut held_up, mut done) = (HeldUp::default(), Compaction::default());
        for &brane in &store.busy {
            let bite = Bite { brane, keep: 1, before_ms: 1, wanted: 1 };
            held_up.skip(brane, bite_off(&store, bite, &mut done).await)?;
        }
        cut_to(&store, 0, 1, &mut held_up, &mut done).await?;
        Ok(done)
    }

    #[tokio::test]
    async fn a_busy_brane_counts_once_however_often_it_is_due() {
        assert_eq!(compact(10, 4).await.map(|done| done.chunks), Ok(6));
        assert_eq!(compact(10, 5).await, Err(StoreError::Timeout { after_ms: 1 }));
    }
}
