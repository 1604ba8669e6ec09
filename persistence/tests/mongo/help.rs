//! What the tests share: stores, chunks, and planned faults of the server.

use std::sync::Arc;

use avvy_model::{Epoch, Seq};
use avvy_persistence::mongo::{MongoOptions, MongoStore};
use avvy_persistence::testing::mongod::{command, fresh_database, shared};
use avvy_persistence::{Chunk, ChunkWrite, Opened, Store};
use mongodb::bson::{Document, doc};
use mongodb::options::ClientOptions;
use mongodb::{Client, Database};
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinHandle;

use crate::common::{brane, chunk, record};

/// Options for a database of its own. A busy machine is no reason to fail.
pub fn options() -> MongoOptions {
    MongoOptions { timeout_ms: 120_000, ..MongoOptions::at(shared(), fresh_database()) }
}

/// A store with these options.
pub async fn store(options: &MongoOptions) -> Arc<MongoStore> {
    Arc::new(MongoStore::open(options).await.unwrap())
}

/// The database under a store.
pub async fn database(options: &MongoOptions) -> Database {
    let mut client = ClientOptions::parse(&options.uri).await.unwrap();
    client.app_name = Some(options.app_name.clone());
    Client::with_options(client).unwrap().database(&options.database)
}

/// Creates and opens the nth brane.
pub async fn opened(store: &MongoStore, nth: u8) -> Opened {
    store.create_brane(record(nth)).await.unwrap();
    store.open(brane(nth)).await.unwrap()
}

/// Chunks of one edit each.
pub fn chunks(nth: u8, epoch: Epoch, range: std::ops::Range<u64>) -> Vec<ChunkWrite> {
    range.map(|from| chunk(nth, epoch, from, from + 1)).collect()
}

/// Holds the journal to exactly these chunks, and everything to its checksum.
pub async fn expect_journal(store: &MongoStore, nth: u8, expected: &[ChunkWrite]) {
    let mut found: Vec<Chunk> = Vec::new();
    loop {
        let after = found.last().map_or(Seq(0), |chunk| chunk.to);
        let next = store.read_chunks(brane(nth), after, 1 << 20).await.unwrap();
        if next.is_empty() {
            break;
        }
        found.extend(next);
    }
    let key = |from: Seq, to: Seq, epoch: Epoch| (from.0, to.0, epoch.0);
    let found: Vec<_> = found.iter().map(|c| (key(c.from, c.to, c.epoch), &c.body)).collect();
    let expected: Vec<_> = expected.iter().map(|c| (key(c.from, c.to, c.epoch), &c.body)).collect();
    assert!(found == expected, "{found:?}, not {expected:?}");
    let report = store.verify_brane(brane(nth)).await.unwrap();
    assert_eq!((report.damage_count, report.torn), (0, None), "{:?}", report.damages);
    assert_eq!(report.chunks, expected.len() as u64);
}

/// Planned faults of the shared server, which has one plan at a time.
pub struct Faults(#[allow(dead_code)] MutexGuard<'static, ()>);

impl Faults {
    /// Waits until no other test has a plan.
    pub async fn own() -> Self {
        static ONE: Mutex<()> = Mutex::const_new(());
        Self(ONE.lock().await)
    }

    /// Has the next `times` of these commands, of the stores of this name,
    /// meet a fault.
    pub fn plan(&self, app: &str, commands: &[&str], times: i32, fault: Document) {
        self.set(app, commands, doc! {"times": times}, fault);
    }

    /// Has these commands meet a fault from the nth on, counted from 0.
    pub fn plan_from(&self, app: &str, commands: &[&str], nth: i32, fault: Document) {
        self.set(app, commands, doc! {"skip": nth}, fault);
    }

    fn set(&self, app: &str, commands: &[&str], mode: Document, fault: Document) {
        let mut data = doc! {"failCommands": commands, "appName": app};
        data.extend(fault);
        let plan = doc! {"configureFailPoint": "failCommand", "mode": mode, "data": data};
        command(shared(), plan);
    }

    /// Has no more faults be met; done when those have ended that are.
    pub fn lift(&self) -> JoinHandle<Document> {
        let off = || command(shared(), doc! {"configureFailPoint": "failCommand", "mode": "off"});
        tokio::task::spawn_blocking(off)
    }

    /// Waits until so many faults have been met, the last of which may be
    /// going on.
    pub async fn wait(&self, count: i64) {
        let wait = doc! {
            "waitForFailPoint": "failCommand", "timesEntered": count, "maxTimeMS": 60_000_i64,
        };
        let wait = move || command(shared(), wait);
        tokio::task::spawn_blocking(wait).await.unwrap();
    }

    /// How many faults have been met since the server started.
    pub fn met(&self) -> i64 {
        let off = doc! {"configureFailPoint": "failCommand", "mode": "off"};
        let answer = command(shared(), off);
        let count = answer.get("count").unwrap();
        count.as_i64().or_else(|| count.as_i32().map(i64::from)).unwrap()
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        self.met();
    }
}
