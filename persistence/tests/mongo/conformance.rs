//! The store passes the suite that every store passes.

use avvy_persistence::mongo::MongoOptions;
use avvy_persistence::testing::mongod::{fresh_database, shared};
use avvy_persistence::testing::{MongoFixture, all};
use futures_util::{StreamExt, stream};

/// A busy machine is no reason to fail.
fn patient(options: MongoOptions) -> MongoOptions {
    MongoOptions { timeout_ms: 120_000, ..options }
}

/// Cases that run side by side: each spends most of its time waiting for the
/// server's disk.
const SIDE_BY_SIDE: usize = 6;

#[tokio::test]
async fn mongo_conforms() {
    let cases = stream::iter(all()).map(|case| async {
        let options = patient(MongoOptions::at(shared(), fresh_database()));
        let mut fixture = MongoFixture::new(options).await.unwrap();
        let verdict = case.run(&mut fixture).await;
        verdict.err().map(|failure| (case.name, failure))
    });
    let failures: Vec<_> =
        cases.buffer_unordered(SIDE_BY_SIDE).filter_map(std::future::ready).collect().await;
    assert!(failures.is_empty(), "{failures:#?}");
}
