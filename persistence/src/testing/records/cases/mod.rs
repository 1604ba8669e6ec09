//! The cases, by what they are about.

mod commits;
mod damage;
mod ends;
mod listings;
mod random;
mod values;

use super::RecordsFixture;
use crate::store::BoxFuture;
use crate::testing::fixture::Verdict;

/// One demand on a store of records.
#[derive(Clone, Copy)]
pub struct RecordsCase {
    /// What a store that passes does.
    pub name: &'static str,
    run: for<'a> fn(&'a mut dyn RecordsFixture) -> BoxFuture<'a, Verdict>,
}

impl RecordsCase {
    /// Tries it on an empty store.
    pub fn run<'a>(&self, fixture: &'a mut dyn RecordsFixture) -> BoxFuture<'a, Verdict> {
        (self.run)(fixture)
    }
}

/// Lists cases: functions whose names say what a store does.
macro_rules! list {
    ($($name:ident),+ $(,)?) => {
        &[$($crate::testing::records::RecordsCase {
            name: stringify!($name),
            run: |fixture| Box::pin($name(fixture)),
        }),+]
    };
}
use list;

/// Every case.
pub fn records_cases() -> impl Iterator<Item = &'static RecordsCase> {
    let groups =
        [values::CASES, commits::CASES, ends::CASES, listings::CASES, damage::CASES, random::CASES];
    groups.into_iter().flatten()
}
