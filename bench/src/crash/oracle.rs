//! What was promised, and whether it was kept.
//!
//! Every edit that was submitted has to end at exactly one place of the log,
//! and every place of the log has to hold exactly one of them: then none was
//! lost, none was applied twice and there is no gap. Applied in the order of
//! their places to a naive world they have to give what the server shows.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Result, bail, ensure};
use avvy_model::{Position, Seq};

use super::content::{Content, NaiveWorld};

/// Names an edit that was submitted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Key(u64);

/// See the module.
#[derive(Default)]
pub(super) struct Oracle {
    /// Edits not known to be durable.
    open: HashMap<Key, Content>,
    next: u64,
    /// Durable ones since the last verification, by their places.
    settled: BTreeMap<Seq, Content>,
    /// What all edits up to `verified` make.
    world: NaiveWorld,
    verified: Seq,
    /// The highest place that a client was told to be durable.
    told: Seq,
    /// What must not happen and did.
    wrong: Vec<String>,
    /// Edits that became durable.
    pub(super) durable: u64,
}

impl Oracle {
    /// An edit is on its way.
    pub(super) fn submit(&mut self, content: Content) -> Key {
        self.next += 1;
        self.open.insert(Key(self.next), content);
        Key(self.next)
    }

    /// Its client was told that it is durable, and where.
    pub(super) fn durable(&mut self, key: Key, at: Position) {
        let Some(content) = self.open.remove(&key) else {
            return self.wrong.push(format!("{key:?} was told to be durable twice"));
        };
        self.durable += 1;
        self.told = self.told.max(at.seq);
        if at.seq <= self.verified || self.settled.insert(at.seq, content).is_some() {
            self.wrong.push(format!("two edits at the place {at}"));
        }
    }

    /// A client was told that everything up to here is durable.
    pub(super) fn told(&mut self, seq: Seq) {
        self.told = self.told.max(seq);
    }

    /// It ended otherwise, which none of these edits may.
    pub(super) fn failed(&mut self, key: Key, why: &str) {
        let content = self.open.remove(&key);
        self.wrong.push(format!("an edit was not applied: {why}: {content:?}"));
    }

    /// Edits that are not known to be durable.
    pub(super) fn outstanding(&self) -> usize {
        self.open.len()
    }

    /// The highest place that any client was told to be durable.
    pub(super) const fn highest_told(&self) -> Seq {
        self.told
    }

    /// Fails if something was wrong already.
    pub(super) fn check(&self) -> Result<()> {
        match self.wrong.first() {
            Some(first) => bail!("{} violations; the first: {first}", self.wrong.len()),
            None => Ok(()),
        }
    }

    /// With no edit open and the server's log ending at `head`: checks that
    /// the places are exactly those that edits have, and gives the world that
    /// they make.
    pub(super) fn verify(&mut self, head: Seq) -> Result<&NaiveWorld> {
        self.check()?;
        ensure!(self.open.is_empty(), "{} edits have no outcome", self.open.len());
        let mut last = self.verified;
        for (seq, content) in std::mem::take(&mut self.settled) {
            ensure!(seq == last.next(), "no edit was told to be at {}", last.next());
            self.world.apply(&content)?;
            last = seq;
        }
        ensure!(last == head, "the log ends at {head}, the edits at {last}");
        self.verified = head;
        Ok(&self.world)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use avvy_model::{Epoch, ObjectId};
    use uuid::Uuid;

    use super::super::content::Step;
    use super::*;

    fn with_edits(places: &[u64]) -> Oracle {
        let mut oracle = Oracle::default();
        for &seq in places {
            let key = oracle.submit(vec![Step::Create(ObjectId::new(Uuid::from_u128(seq.into())))]);
            oracle.durable(key, Position { epoch: Epoch(1), seq: Seq(seq) });
        }
        oracle
    }

    #[test]
    fn one_edit_at_each_place_is_right() {
        let mut oracle = with_edits(&[2, 1, 3]);
        assert_eq!(oracle.verify(Seq(3)).unwrap().len(), 3);
        assert_eq!(oracle.highest_told(), Seq(3));
    }

    #[test]
    fn gaps_doubles_losses_and_open_edits_are_found() {
        assert!(with_edits(&[1, 3]).verify(Seq(3)).is_err());
        assert!(with_edits(&[1, 2, 2]).verify(Seq(2)).is_err());
        assert!(with_edits(&[1, 2]).verify(Seq(3)).is_err());
        assert!(with_edits(&[1, 2]).verify(Seq(1)).is_err());
        let mut oracle = with_edits(&[1]);
        oracle.submit(Vec::new());
        assert!(oracle.verify(Seq(1)).is_err());
        let mut oracle = with_edits(&[1]);
        oracle.verify(Seq(1)).unwrap();
        let key = oracle.submit(Vec::new());
        oracle.durable(key, Position { epoch: Epoch(2), seq: Seq(1) });
        assert!(oracle.verify(Seq(1)).is_err());
    }
}
