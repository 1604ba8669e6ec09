//! The cases, by what they are about.

mod damage;
mod fencing;
mod fleet;
mod journal;
mod lives;
mod random;
mod records;
mod retention;
mod snapshots;

pub use fleet::{FLEET_CASES, FleetCase};

use super::fixture::{Fixture, Verdict};
use crate::store::BoxFuture;

/// One demand on a store.
#[derive(Clone, Copy)]
pub struct Case {
    /// What a store that passes does.
    pub name: &'static str,
    run: for<'a> fn(&'a mut dyn Fixture) -> BoxFuture<'a, Verdict>,
}

impl Case {
    /// Tries it on an empty store.
    pub fn run<'a>(&self, fixture: &'a mut dyn Fixture) -> BoxFuture<'a, Verdict> {
        (self.run)(fixture)
    }
}

/// Lists cases: functions whose names say what a store does.
macro_rules! list {
    ($($name:ident),+ $(,)?) => {
        &[$($crate::testing::cases::Case {
            name: stringify!($name),
            run: |fixture| Box::pin($name(fixture)),
        }),+]
    };
}
use list;

/// Every case.
pub fn all() -> impl Iterator<Item = &'static Case> {
    let groups = [
        records::CASES,
        lives::CASES,
        journal::CASES,
        fencing::CASES,
        damage::CASES,
        snapshots::CASES,
        retention::CASES,
        random::CASES,
    ];
    groups.into_iter().flatten()
}
