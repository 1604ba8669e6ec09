//! Writing snapshots: across two files, and giving them up.
//!
//! The parts are in one file, the entry that makes them visible in another,
//! and any step may end without an answer although it is done later. So the
//! journal's writer has the last word about what is visible: parts are deleted
//! only after it has seen that there is no entry, and from then on it makes
//! none of that snapshot.

use avvy_model::BraneId;

use super::parts::Parts;
use super::reader::Reader;
use super::start::SqliteStore;
use super::worker::Lane;
use crate::error::StoreError;
use crate::snapshot::{SnapshotId, SnapshotStart};

impl SqliteStore {
    pub(super) async fn begin(&self, start: SnapshotStart) -> Result<SnapshotId, StoreError> {
        let current =
            self.readers.call(Lane::Urgent, move |reader| reader.epoch(start.brane)).await?;
        if start.epoch != current {
            return Err(StoreError::StaleEpoch { current });
        }
        let (id, given_up) =
            self.parts.call(Lane::Urgent, 0, move |parts| parts.begin(start)).await?;
        if let Some(old) = given_up {
            self.give_up(old).await;
        }
        Ok(id)
    }

    pub(super) async fn finish(
        &self,
        brane: BraneId,
        snapshot: SnapshotId,
        count: u32,
    ) -> Result<(), StoreError> {
        let sealed = self
            .parts
            .call(Lane::Urgent, 0, move |parts| parts.seal(brane, snapshot, count))
            .await?;
        let Some(info) = sealed else {
            let outline = move |reader: &mut Reader| reader.outline(brane);
            let outline = self.readers.call(Lane::Urgent, outline).await?;
            let is_there = outline.snapshots.whole.iter().any(|info| info.id == snapshot);
            let unknown = StoreError::UnknownSnapshot { brane, snapshot };
            return if is_there { Ok(()) } else { Err(unknown) };
        };
        self.journal
            .call(Lane::Urgent, 0, move |journal| journal.finish_snapshot(brane, info))
            .await?;
        // It is visible, whether the parts' writer hears of it or not.
        let forgets = move |parts: &mut Parts| {
            parts.forget(brane, snapshot);
        };
        self.parts.poster().post(forgets);
        Ok(())
    }

    pub(super) async fn abort(
        &self,
        brane: BraneId,
        snapshot: SnapshotId,
    ) -> Result<(), StoreError> {
        let was = self
            .parts
            .call(Lane::Urgent, 0, move |parts| Ok(parts.forget(brane, snapshot)))
            .await?;
        if was {
            self.give_up(snapshot).await;
        }
        Ok(())
    }

    /// Deletes the parts of a snapshot that is not wanted any more, unless it
    /// has become visible. What cannot be deleted now is garbage until the
    /// store is opened again.
    async fn give_up(&self, snapshot: SnapshotId) {
        let result = match self
            .journal
            .call(Lane::Urgent, 0, move |journal| journal.give_up(snapshot))
            .await
        {
            Ok(true) => self.delete_parts(snapshot).await,
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            tracing::warn!(%snapshot, %error, "parts of a snapshot that was given up are left");
        }
    }

    /// Deletes the parts of a snapshot that nobody can see or ever will.
    pub(super) async fn delete_parts(&self, snapshot: SnapshotId) -> Result<(), StoreError> {
        loop {
            let bite = move |parts: &mut Parts| parts.delete_bite(snapshot);
            if !self.parts.call(Lane::Patient, 0, bite).await? {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use avvy_model::{Epoch, Seq, UserId};
    use bytes::Bytes;

    use super::*;
    use crate::record::BraneRecord;
    use crate::report::CompactPolicy;
    use crate::snapshot::SnapshotInfo;
    use crate::sqlite::SqliteOptions;
    use crate::store::Store;

    const BRANE: BraneId = BraneId::from_bytes([1; 16]);

    async fn store(root: &std::path::Path) -> (SqliteStore, SnapshotStart) {
        let store = SqliteStore::open(&SqliteOptions::at(root)).unwrap();
        let record = BraneRecord {
            name: "brane".to_owned(),
            ..BraneRecord::new(BRANE, UserId::from_bytes([2; 16]), 1)
        };
        store.create_brane(record).await.unwrap();
        let epoch = store.open(BRANE).await.unwrap().epoch;
        (store, SnapshotStart { brane: BRANE, epoch, at: Seq(0), taken_ms: 1 })
    }

    /// Begins a snapshot and puts its two parts.
    async fn begun(store: &SqliteStore, start: SnapshotStart) -> SnapshotId {
        let id = store.begin(start).await.unwrap();
        for index in 0..2 {
            let body = Bytes::from(format!("part {index} of {id}"));
            store.put_snapshot_part(BRANE, id, index, body).await.unwrap();
        }
        id
    }

    async fn sealed(store: &SqliteStore, id: SnapshotId) -> SnapshotInfo {
        let seal = move |parts: &mut Parts| parts.seal(BRANE, id, 2);
        store.parts.call(Lane::Urgent, 0, seal).await.unwrap().unwrap()
    }

    async fn entered(store: &SqliteStore, info: SnapshotInfo) -> Result<(), StoreError> {
        let enter = move |journal: &mut crate::sqlite::journal::Journal| {
            journal.finish_snapshot(BRANE, info)
        };
        store.journal.call(Lane::Urgent, 0, enter).await
    }

    /// What a call leaves that ended without an answer and was done later: the
    /// entry is there, and the parts' writer knows nothing of it.
    async fn finished_unheard(store: &SqliteStore, start: SnapshotStart) -> SnapshotId {
        let id = begun(store, start).await;
        let info = sealed(store, id).await;
        entered(store, info).await.unwrap();
        id
    }

    async fn expect_whole(store: &SqliteStore, id: SnapshotId) {
        for index in 0..2 {
            let part = store.read_snapshot_part(BRANE, id, index).await.unwrap();
            assert_eq!(part, format!("part {index} of {id}"));
        }
        assert_eq!(store.verify_brane(BRANE).await.unwrap().damage_count, 0);
    }

    #[tokio::test]
    async fn a_visible_snapshot_keeps_its_parts_when_the_next_begins() {
        let root = tempfile::tempdir().unwrap();
        let (store, start) = store(root.path()).await;
        let first = finished_unheard(&store, start).await;
        let second = begun(&store, start).await;
        expect_whole(&store, first).await;
        store.finish(BRANE, second, 2).await.unwrap();
        expect_whole(&store, second).await;
    }

    #[tokio::test]
    async fn a_visible_snapshot_keeps_its_parts_when_it_is_given_up() {
        let root = tempfile::tempdir().unwrap();
        let (store, start) = store(root.path()).await;
        let id = finished_unheard(&store, start).await;
        store.abort_snapshot(BRANE, id).await.unwrap();
        expect_whole(&store, id).await;
        assert_eq!(store.finish(BRANE, id, 2).await, Ok(()));
    }

    #[tokio::test]
    async fn finishing_again_is_no_error() {
        let root = tempfile::tempdir().unwrap();
        let (store, start) = store(root.path()).await;
        let id = finished_unheard(&store, start).await;
        store.open(BRANE).await.unwrap();
        for _ in 0..3 {
            assert_eq!(store.finish(BRANE, id, 2).await, Ok(()));
        }
        expect_whole(&store, id).await;
    }

    #[tokio::test]
    async fn another_snapshot_of_the_same_name_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let (store, start) = store(root.path()).await;
        let id = begun(&store, start).await;
        let info = sealed(&store, id).await;
        entered(&store, info).await.unwrap();
        let other = SnapshotInfo { bytes: 1, ..info };
        assert!(matches!(entered(&store, other).await, Err(StoreError::Damaged { .. })));
        expect_whole(&store, id).await;
    }

    #[tokio::test]
    async fn what_was_given_up_does_not_become_visible() {
        let root = tempfile::tempdir().unwrap();
        let (store, start) = store(root.path()).await;
        let id = begun(&store, start).await;
        // Another call of the same brane comes between the two steps of finishing.
        let info = sealed(&store, id).await;
        begun(&store, start).await;
        let unknown = StoreError::UnknownSnapshot { brane: BRANE, snapshot: id };
        assert_eq!(entered(&store, info).await, Err(unknown));
        assert_eq!(store.open(BRANE).await.unwrap().snapshots, []);
    }

    #[tokio::test]
    async fn what_was_compacted_away_does_not_come_back() {
        let root = tempfile::tempdir().unwrap();
        let (store, start) = store(root.path()).await;
        let first = finished_unheard(&store, start).await;
        let info = sealed(&store, first).await;
        // An entry of a later one, without telling the parts' writer.
        let later = SnapshotInfo { id: SnapshotId(first.0 + 1), ..info };
        entered(&store, later).await.unwrap();
        let policy = CompactPolicy {
            now_ms: 1,
            retention_ms: 0,
            max_journal_bytes: None,
            keep_snapshots: 1,
        };
        assert_eq!(store.compact(policy).await.unwrap().snapshots, 1);
        let unknown = StoreError::UnknownSnapshot { brane: BRANE, snapshot: first };
        assert_eq!(store.finish(BRANE, first, 2).await, Err(unknown));
    }

    #[tokio::test]
    async fn a_sealed_snapshot_takes_no_more_parts() {
        let root = tempfile::tempdir().unwrap();
        let (store, start) = store(root.path()).await;
        let id = finished_unheard(&store, start).await;
        let put = store.put_snapshot_part(BRANE, id, 0, Bytes::from_static(b"other")).await;
        assert_eq!(put, Err(StoreError::UnknownSnapshot { brane: BRANE, snapshot: id }));
        expect_whole(&store, id).await;
    }

    #[tokio::test]
    async fn a_stale_snapshot_is_not_finished() {
        let root = tempfile::tempdir().unwrap();
        let (store, start) = store(root.path()).await;
        let id = begun(&store, start).await;
        let current = store.open(BRANE).await.unwrap().epoch;
        assert_eq!(store.finish(BRANE, id, 2).await, Err(StoreError::StaleEpoch { current }));
        assert!(current > Epoch(1));
    }
}
