//! What must hold in a fleet, whatever happens to it. Knows nothing of how
//! nodes decide: it compares what was told with what is stored.

use std::collections::BTreeMap;

use avvy_model::{BraneId, Seq};

use crate::Counts;

/// An edit: whose, and its number.
pub(super) type EditOf = (u32, u64);

#[derive(Default)]
pub(super) struct Judge {
    pub(super) counts: Counts,
    pub(super) failure: Option<String>,
    /// Edits that somebody was told to be durable, and where.
    durable: BTreeMap<(BraneId, EditOf), Seq>,
}

impl Judge {
    pub(super) fn count(&mut self, kind: &'static str) {
        *self.counts.entry(kind).or_default() += 1;
    }

    /// The first that breaks is told.
    pub(super) fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds && self.failure.is_none() {
            self.failure = Some(what());
        }
    }

    /// Somebody is told that an edit is durable there.
    pub(super) fn told_durable(&mut self, brane: BraneId, edit: EditOf, at: Seq) {
        let before = self.durable.insert((brane, edit), at).unwrap_or(at);
        self.check(before == at, || format!("{edit:?} is durable at {before} and at {at}"));
        self.count("edit durable");
    }

    /// What is stored of a brane at the end, in order, and how many edits each
    /// builder made.
    pub(super) fn judge_journal(
        &mut self,
        brane: BraneId,
        journal: &[EditOf],
        made: &BTreeMap<u32, u64>,
    ) {
        let mut last: BTreeMap<u32, u64> = BTreeMap::new();
        for (edit, seq) in journal.iter().zip(1..) {
            let (builder, number) = *edit;
            let before = last.insert(builder, number).unwrap_or(0);
            self.check(number == before + 1, || {
                format!(
                    "{edit:?} is at {seq}, after number {before}: missing, twice or out of order"
                )
            });
        }
        for (builder, made) in made {
            let stored = last.get(builder).copied().unwrap_or(0);
            self.check(stored == *made, || {
                format!("builder {builder} made {made} edits, {stored} are stored")
            });
        }
        let told = self.durable.iter().filter(|((of, _), _)| *of == brane);
        let told: Vec<_> = told.map(|((_, edit), at)| (*edit, *at)).collect();
        for (edit, at) in told {
            let there = journal.get((at.0 as usize).wrapping_sub(1)).copied();
            self.check(there == Some(edit), || {
                format!("{edit:?} was durable at {at}, where {there:?} is")
            });
        }
    }
}
