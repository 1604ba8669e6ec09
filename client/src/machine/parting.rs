//! A brane goes from one machine to another, for clients that have one for each
//! node.

use avvy_model::BraneId;

use super::membership::Membership;
use super::{ClientMachine, Output};
use crate::people::Roster;

/// A brane with its copy and its edits, on its way from one machine to another.
#[derive(Debug)]
pub(crate) struct Parting {
    membership: Membership,
    roster: Option<Roster>,
}

impl ClientMachine {
    /// Numbers what is submitted from here on, so that no two machines have a
    /// ticket in common.
    pub(crate) fn tickets_from(mut self, first: u64) -> Self {
        self.next_ticket = first;
        self
    }

    /// The token that it greets with.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// The branes that it has, also those that are not joined any more.
    pub(crate) fn branes(&self) -> impl Iterator<Item = BraneId> {
        self.branes.iter().map(|m| m.brane)
    }

    /// Whether it has nothing to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.branes.iter().all(Membership::is_closed)
    }

    /// Gives a brane away that is not joined here, and not about to be.
    pub(crate) fn take_out(&mut self, brane: BraneId) -> Option<Parting> {
        let may_go = |m: &Membership| m.is_closed() || m.wants_join_at().is_some();
        let at = self.branes.iter().position(|m| m.brane == brane && may_go(m))?;
        let membership = self.branes.remove(at);
        let at = self.rosters.iter().position(|(of, _)| *of == brane);
        Some(Parting { membership, roster: at.map(|at| self.rosters.remove(at).1) })
    }

    /// Takes a brane that another machine had, to be joined from then on.
    pub(crate) fn put_in(
        &mut self,
        now_ms: u64,
        not_before_ms: u64,
        parting: Parting,
        out: &mut Vec<Output>,
    ) {
        let Parting { mut membership, roster } = parting;
        let brane = membership.brane;
        membership.wait_until(not_before_ms);
        self.rosters.extend(roster.map(|roster| (brane, roster)));
        self.branes.push(membership);
        self.go_on(now_ms, out);
    }
}
