//! People in MongoDB, on a real server.
#![allow(clippy::unwrap_used)]

mod suite;

use std::sync::Arc;

use avvy_persistence::mongo::{MongoOptions, MongoStore};
use avvy_persistence::records::Records;
use avvy_persistence::testing::mongod::{fresh_database, shared};

#[tokio::test]
async fn people_in_mongo() {
    suite::run(async || {
        // A busy machine is no reason to fail.
        let options =
            MongoOptions { timeout_ms: 120_000, ..MongoOptions::at(shared(), fresh_database()) };
        Arc::new(MongoStore::open(&options).await.unwrap()) as Arc<dyn Records>
    })
    .await;
}
