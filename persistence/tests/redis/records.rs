//! Records that several nodes read and write.

use std::sync::Arc;

use avvy_persistence::cache::redis::Redis;
use avvy_persistence::cache::{CachedRecords, Caches};
use avvy_persistence::memory::MemoryStore;
use avvy_persistence::records::{
    Collection, Commit, CommitId, Draft, Fields, RecordKey, RecordWrite, Records,
};
use avvy_persistence::testing::redis_server;
use uuid::Uuid;

use crate::help::{calm, patient, until};

static USERS: Collection = Collection { name: "users", indexes: &[] };

const NOW_S: u64 = 1_700_000_000;

struct Node {
    caches: Caches,
    records: CachedRecords,
}

impl Node {
    async fn says(&self) -> Option<i64> {
        let key = RecordKey::new("ada").unwrap();
        let found = self.records.get(&USERS, key, NOW_S).await.unwrap();
        found.and_then(|found| found.body.int("says"))
    }

    async fn say(&self, says: i64) {
        let draft = Draft::new(Fields::new().with("says", says));
        let write = RecordWrite::put(&USERS, RecordKey::new("ada").unwrap(), draft);
        let id = CommitId(Uuid::from_u128(says.cast_unsigned().into()));
        self.records.commit(Commit { id, writes: vec![write] }, NOW_S).await.unwrap().unwrap();
    }

    /// How often it asked the store.
    fn reads(&self) -> u64 {
        self.caches.status().tiers[0].store_reads
    }
}

#[tokio::test]
async fn what_one_node_commits_the_other_reads() {
    let store = Arc::new(MemoryStore::new());
    let options = patient(&redis_server::shared());
    let node = || {
        let caches = Caches::shared(calm(), Redis::new(options.clone()).unwrap());
        let records = CachedRecords::new(store.clone(), &caches);
        Node { caches, records }
    };
    let (a, b) = (node(), node());
    for node in [&a, &b] {
        until(|| node.caches.status().shared.unwrap().is_listening).await;
    }
    a.say(1).await;
    assert_eq!(a.says().await, Some(1));
    // What one has loaded the other finds, once it is there.
    until(|| a.caches.status().tiers[0].store_reads == 1).await;
    let (before, mut last) = (a.reads(), 1);
    for says in 2..20 {
        let (writer, reader) = if says % 2 == 0 { (&a, &b) } else { (&b, &a) };
        assert_eq!(writer.says().await, Some(last), "{says}");
        writer.say(says).await;
        assert_eq!(writer.says().await, Some(says), "its own write");
        let patience = tokio::time::timeout(std::time::Duration::from_secs(60), async {
            // Until the notice has come, it may be what was before.
            loop {
                match reader.says().await {
                    Some(found) if found == says => break,
                    found => assert_eq!(found, Some(last)),
                }
                tokio::task::yield_now().await;
            }
        });
        patience.await.unwrap();
        last = says;
    }
    assert!(a.reads() > before);
}
