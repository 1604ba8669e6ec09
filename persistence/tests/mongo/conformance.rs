//! The store passes the suite that every store passes.

use avvy_persistence::testing::{FLEET_CASES, MongoFixture, MongoFleetFixture, all, records_cases};
use futures_util::{StreamExt, stream};

use crate::help::options;

/// Cases that run side by side: each spends most of its time waiting for the
/// server's disk.
const SIDE_BY_SIDE: usize = 6;

#[tokio::test]
async fn mongo_conforms() {
    // The longest are the last.
    let cases: Vec<_> = all().collect();
    let cases = stream::iter(cases.into_iter().rev()).map(|case| async {
        let mut fixture = MongoFixture::new(options()).await.unwrap();
        let verdict = case.run(&mut fixture).await;
        verdict.err().map(|failure| (case.name, failure))
    });
    let failures: Vec<_> =
        cases.buffer_unordered(SIDE_BY_SIDE).filter_map(std::future::ready).collect().await;
    assert!(failures.is_empty(), "{failures:#?}");
}

#[tokio::test]
async fn records_in_mongo_conform() {
    let cases: Vec<_> = records_cases().collect();
    let cases = stream::iter(cases.into_iter().rev()).map(|case| async {
        let mut fixture = MongoFixture::new(options()).await.unwrap();
        let verdict = case.run(&mut fixture).await;
        verdict.err().map(|failure| (case.name, failure))
    });
    let failures: Vec<_> =
        cases.buffer_unordered(SIDE_BY_SIDE).filter_map(std::future::ready).collect().await;
    assert!(failures.is_empty(), "{failures:#?}");
}

#[tokio::test]
async fn a_mongo_fleet_conforms() {
    let cases = stream::iter(FLEET_CASES).map(|case| async {
        let mut fixture = MongoFleetFixture::new(options()).await.unwrap();
        let verdict = case.run(&mut fixture).await;
        verdict.err().map(|failure| (case.name, failure))
    });
    let failures: Vec<_> =
        cases.buffer_unordered(SIDE_BY_SIDE).filter_map(std::future::ready).collect().await;
    assert!(failures.is_empty(), "{failures:#?}");
}
