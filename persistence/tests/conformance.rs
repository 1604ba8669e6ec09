//! Every store passes the suite.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use avvy_persistence::testing::{
    self, BrokenFixture, BrokenFleetFixture, BrokenRecordsFixture, Bug, Fixture, MemoryFixture,
    MemoryFleetFixture, RecordsBug, RecordsFixture, SqliteFixture,
};
use common::failing::FailingFixture;

#[tokio::test]
async fn memory_conforms() {
    let failures = testing::run_all(|| Box::new(MemoryFixture::new())).await;
    assert!(failures.is_empty(), "{failures:#?}");
}

#[tokio::test]
async fn sqlite_conforms() {
    let root = tempfile::tempdir().unwrap();
    let next = AtomicU32::new(0);
    let fresh = || -> Box<dyn Fixture> {
        let nth = next.fetch_add(1, Ordering::Relaxed);
        Box::new(SqliteFixture::new(root.path().join(nth.to_string())).unwrap())
    };
    let failures = testing::run_all(fresh).await;
    assert!(failures.is_empty(), "{failures:#?}");
}

/// A device that fails now and then costs time and nothing else: a call that
/// is repeated as it was ends as if nothing had been.
#[tokio::test]
async fn sqlite_conforms_on_a_failing_device() {
    let root = tempfile::tempdir().unwrap();
    let next = AtomicU32::new(0);
    let met = Arc::new(AtomicU64::new(0));
    let fresh = || -> Box<dyn Fixture> {
        let nth = next.fetch_add(1, Ordering::Relaxed);
        let directory = root.path().join(nth.to_string());
        Box::new(FailingFixture::new(directory, u64::from(nth), Arc::clone(&met)))
    };
    let failures = testing::run_all(fresh).await;
    assert!(failures.is_empty(), "{failures:#?}");
    let met = met.load(Ordering::Relaxed);
    assert!(met > 200, "only {met} calls met a failure");
}

#[tokio::test]
async fn a_fleet_in_memory_conforms() {
    let failures = testing::run_fleet(|| Box::new(MemoryFleetFixture::new())).await;
    assert!(failures.is_empty(), "{failures:#?}");
}

/// The suite of fleets can fail, too.
#[tokio::test]
async fn every_bug_of_a_fleet_is_found() {
    let mut missed = Vec::new();
    for bug in Bug::FLEET {
        let failures = testing::run_fleet(|| Box::new(BrokenFleetFixture::new(bug))).await;
        let names: Vec<&str> = failures.iter().map(|(name, _)| *name).collect();
        println!("{bug:?}: found by {}", names.join(", "));
        if names.is_empty() {
            missed.push(bug);
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

/// The suite can fail: it finds every deliberate bug, each by other cases.
#[tokio::test]
async fn every_bug_is_found() {
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        let fresh = || -> Box<dyn Fixture> {
            Box::new(BrokenFixture::new(Box::new(MemoryFixture::new()), bug))
        };
        let failures = testing::run_all(fresh).await;
        let names: Vec<&str> = failures.iter().map(|(name, _)| *name).collect();
        println!("{bug:?}: found by {}", names.join(", "));
        if names.is_empty() {
            missed.push(bug);
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

#[tokio::test]
async fn records_in_memory_conform() {
    let failures = testing::run_records(|| Box::new(MemoryFixture::new())).await;
    assert!(failures.is_empty(), "{failures:#?}");
}

/// The suite of records can fail, too.
#[tokio::test]
async fn every_bug_of_records_is_found() {
    let mut missed = Vec::new();
    for bug in RecordsBug::ALL {
        let fresh = || -> Box<dyn RecordsFixture> {
            Box::new(BrokenRecordsFixture::new(Box::new(MemoryFixture::new()), bug))
        };
        let failures = testing::run_records(fresh).await;
        let names: Vec<&str> = failures.iter().map(|(name, _)| *name).collect();
        println!("{bug:?}: found by {}", names.join(", "));
        if names.is_empty() {
            missed.push(bug);
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

#[tokio::test]
async fn records_in_sqlite_conform() {
    let root = tempfile::tempdir().unwrap();
    let next = AtomicU32::new(0);
    let fresh = || -> Box<dyn RecordsFixture> {
        let nth = next.fetch_add(1, Ordering::Relaxed);
        Box::new(SqliteFixture::new(root.path().join(nth.to_string())).unwrap())
    };
    let failures = testing::run_records(fresh).await;
    assert!(failures.is_empty(), "{failures:#?}");
}

/// A commit whose outcome is unknown is repeated as it was, and is done once.
#[tokio::test]
async fn records_in_sqlite_conform_on_a_failing_device() {
    let root = tempfile::tempdir().unwrap();
    let next = AtomicU32::new(0);
    let met = Arc::new(AtomicU64::new(0));
    let fresh = || -> Box<dyn RecordsFixture> {
        let nth = next.fetch_add(1, Ordering::Relaxed);
        let directory = root.path().join(nth.to_string());
        Box::new(FailingFixture::new(directory, u64::from(nth), Arc::clone(&met)))
    };
    let failures = testing::run_records(fresh).await;
    assert!(failures.is_empty(), "{failures:#?}");
    let met = met.load(Ordering::Relaxed);
    assert!(met > 50, "only {met} calls met a failure");
}
