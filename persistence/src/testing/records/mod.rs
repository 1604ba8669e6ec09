//! The conformance suite of records, and stores of them that do not conform.
//!
//! A store takes part by a [`RecordsFixture`], and [`run_records`] says what is
//! wrong with it.

mod broken;
mod bug;
mod cases;
mod samples;

use std::sync::Arc;

pub use broken::BrokenRecordsFixture;
pub use bug::RecordsBug;
pub use cases::{RecordsCase, records_cases};

use super::fixture::{Failure, Fixture, MemoryFixture, SqliteFixture, closed};
use crate::records::Records;

/// A store that keeps records under test.
pub trait RecordsFixture: Fixture {
    /// The records of the store as it is now.
    fn records(&self) -> Arc<dyn Records>;
}

impl RecordsFixture for MemoryFixture {
    fn records(&self) -> Arc<dyn Records> {
        self.memory()
    }
}

impl RecordsFixture for SqliteFixture {
    fn records(&self) -> Arc<dyn Records> {
        match self.sqlite() {
            Some(store) => store,
            None => Arc::new(closed()),
        }
    }
}

/// Runs every case, each on a fixture of its own; returns those that failed
/// with what was wrong.
pub async fn run_records(
    fresh: impl Fn() -> Box<dyn RecordsFixture>,
) -> Vec<(&'static str, Failure)> {
    let mut failures = Vec::new();
    for case in records_cases() {
        let mut fixture = fresh();
        if let Err(failure) = case.run(&mut *fixture).await {
            failures.push((case.name, failure));
        }
    }
    failures
}
