//! The conformance suite: what every store must do, and stores that do not.
//!
//! A store takes part by a [`Fixture`]: something that has the store and can
//! close, crash and spoil it. Then [`run_all`] says which cases fail:
//!
//! ```
//! use avvy_persistence::testing::{self, MemoryFixture};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! let failures = testing::run_all(|| Box::new(MemoryFixture::new())).await;
//! assert!(failures.is_empty(), "{failures:?}");
//! # });
//! ```
//!
//! The nodes of a fleet take part by a [`FleetFixture`], and [`run_fleet`] says
//! what is wrong with them.
//!
//! Records are a contract of their own: [`RecordsFixture`], [`run_records`].
//!
//! [`Broken`] wraps any store and adds one deliberate bug; a test asserts that
//! the suite finds each of them.

mod broken;
mod cases;
#[cfg(feature = "mongodb")]
pub mod faketime;
mod fixture;
mod fleet_fixture;
#[cfg(feature = "mongodb")]
mod mongo_fixture;
#[cfg(feature = "mongodb")]
pub mod mongod;
mod numbers;
#[cfg(any(feature = "mongodb", feature = "redis"))]
mod program;
pub mod proxy;
mod records;
#[cfg(feature = "redis")]
pub mod redis_server;
mod samples;

pub use broken::{Broken, BrokenFixture, BrokenFleetFixture, Bug};
pub use cases::{Case, FLEET_CASES, FleetCase, all};
pub use fixture::{Failure, Fixture, MemoryFixture, SqliteFixture, Verdict};
pub use fleet_fixture::{FleetFixture, LEASE_MS, Member, MemoryFleetFixture, nth_node};
#[cfg(feature = "mongodb")]
pub use mongo_fixture::{MongoFixture, MongoFleetFixture};
pub use numbers::{Numbers, Truth};
pub use records::{
    BrokenRecordsFixture, RecordsBug, RecordsCase, RecordsFixture, records_cases, run_records,
};

/// Runs every case of a fleet, each on a fixture of its own; returns those that
/// failed with what was wrong.
pub async fn run_fleet(fresh: impl Fn() -> Box<dyn FleetFixture>) -> Vec<(&'static str, Failure)> {
    let mut failures = Vec::new();
    for case in FLEET_CASES {
        let mut fixture = fresh();
        if let Err(failure) = case.run(&mut *fixture).await {
            failures.push((case.name, failure));
        }
    }
    failures
}

/// Runs every case, each on a fixture of its own; returns those that failed
/// with what was wrong.
pub async fn run_all(fresh: impl Fn() -> Box<dyn Fixture>) -> Vec<(&'static str, Failure)> {
    let mut failures = Vec::new();
    for case in all() {
        let mut fixture = fresh();
        if let Err(failure) = case.run(&mut *fixture).await {
            failures.push((case.name, failure));
        }
    }
    failures
}
