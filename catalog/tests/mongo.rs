//! The catalog on MongoDB.
#![allow(clippy::unwrap_used)]

mod suite;

use std::sync::Arc;

use avvy_persistence::mongo::{MongoOptions, MongoStore};
use avvy_persistence::testing::mongod::{fresh_database, shared};

#[tokio::test]
async fn mongodb_has_a_catalog() {
    suite::run_all(async || {
        let options =
            MongoOptions { timeout_ms: 120_000, ..MongoOptions::at(shared(), fresh_database()) };
        (Arc::new(MongoStore::open(&options).await.unwrap()) as _, ())
    })
    .await;
}
