//! The bugs of a fleet.

use std::sync::{Arc, Mutex};

use avvy_model::{BraneId, NodeId};

use super::{Broken, Bug, State};
use crate::error::StoreError;
use crate::fleet::{Fleet, Holder, Holding, Node, NodeStatus, Renewed, Wish, no_member};
use crate::memory::MemoryFleet;
use crate::record::BraneRecord;
use crate::report::{CompactPolicy, Compaction};
use crate::store::{BoxFuture, Store};
use crate::testing::fixture::{Failure, Verdict};
use crate::testing::fleet_fixture::{FleetFixture, LEASE_MS, Member, MemoryFleetFixture};

/// How a bug gets at the fleet that it spoils.
pub(super) struct Ways {
    member: Arc<dyn Fleet>,
    all: MemoryFleet,
}

/// A fleet whose nodes have a bug.
pub struct BrokenFleetFixture {
    inner: MemoryFleetFixture,
    bug: Bug,
    state: Arc<Mutex<State>>,
}

impl BrokenFleetFixture {
    /// A fleet in memory whose nodes have this bug.
    pub fn new(bug: Bug) -> Self {
        Self { inner: MemoryFleetFixture::new(), bug, state: Arc::default() }
    }
}

impl FleetFixture for BrokenFleetFixture {
    fn member(&mut self, nth: u8) -> BoxFuture<'_, Result<Member, Failure>> {
        Box::pin(async move {
            let inner = self.inner.member(nth).await?;
            let ways = Ways { member: inner.fleet, all: self.inner.fleet().clone() };
            let state = Arc::clone(&self.state);
            let broken = Broken { inner: inner.store, bug: self.bug, state, ways: Some(ways) };
            let broken = Arc::new(broken);
            Ok(Member { node: inner.node, store: broken.clone(), fleet: broken })
        })
    }

    fn lapse(&mut self, node: NodeId) -> BoxFuture<'_, Verdict> {
        self.inner.lapse(node)
    }

    fn forget(&mut self, node: NodeId) -> BoxFuture<'_, Verdict> {
        self.inner.forget(node)
    }
}

impl Broken {
    fn member(&self) -> Result<&dyn Fleet, StoreError> {
        self.ways.as_ref().map(|ways| &*ways.member).ok_or(no_member())
    }

    pub(super) fn own_address(&self) -> String {
        let node = self.ways.as_ref().and_then(|ways| ways.member.node());
        node.map_or_else(String::new, |node| node.address.clone())
    }

    /// What goes wrong before a brane is opened.
    pub(super) async fn take_wrongly(&self, brane: BraneId) -> Result<(), StoreError> {
        let Some(ways) = &self.ways else { return Ok(()) };
        let held = ways.member.holder(brane).await?;
        let me = ways.member.node().map(|node| node.id);
        let Some(other) = held.filter(|holder| Some(holder.node.id) != me) else { return Ok(()) };
        match self.bug {
            Bug::TakesFromTheLiving => ways.all.lapse(other.node.id),
            Bug::NeverTakes => {
                let remaining_ms = other.remaining_ms.max(1);
                return Err(StoreError::Held { address: other.node.address, remaining_ms });
            }
            _ => {}
        }
        Ok(())
    }

    /// Ends the lease of whoever holds a brane.
    pub(super) async fn lapse_holder(&self, brane: BraneId) -> Result<(), StoreError> {
        let Some(ways) = &self.ways else { return Ok(()) };
        if let Some(holder) = ways.member.holder(brane).await? {
            ways.all.lapse(holder.node.id);
        }
        Ok(())
    }

    /// Changes a record as if the holder, whose lease is over, did; whether
    /// there is such a one.
    pub(super) async fn changes_as_the_lapsed(
        &self,
        record: &BraneRecord,
        was: u64,
    ) -> Result<bool, StoreError> {
        let Some(ways) = &self.ways else { return Ok(false) };
        let holder = ways.member.holder(record.id).await?;
        let Some(lapsed) = holder.filter(|holder| holder.remaining_ms == 0) else {
            return Ok(false);
        };
        ways.all.store(lapsed.node).update_brane(record.clone(), was).await?;
        Ok(true)
    }

    /// Deletes what is each node's to delete.
    pub(super) async fn compact_for_all(
        &self,
        policy: CompactPolicy,
    ) -> Result<Compaction, StoreError> {
        let Some(ways) = &self.ways else { return self.inner.compact(policy).await };
        let mut all = Compaction::default();
        for status in ways.member.nodes().await? {
            let done = ways.all.store(status.node).compact(policy).await?;
            all.chunks += done.chunks;
        }
        Ok(all)
    }

    async fn renew_wrongly(&self, held: Vec<Holding>) -> Result<Renewed, StoreError> {
        let member = self.member()?;
        let mut renewed = member.renew(held.clone()).await?;
        match self.bug {
            Bug::HidesLapses => renewed.lapsed = false,
            Bug::AlwaysLapsed => renewed.lapsed = true,
            Bug::HidesLosses => renewed.lost.clear(),
            Bug::TellsLossesOnce => {
                renewed.lost.retain(|brane| self.state().lost.insert(*brane));
            }
            Bug::GivesUpWhenLapsed if renewed.lapsed => {
                renewed.lost = held.iter().map(|held| held.brane).collect();
            }
            Bug::TakesLossesByHolder => {
                let me = member.node().map(|node| node.id);
                let mut lost = Vec::new();
                for brane in renewed.lost {
                    let holder = member.holder(brane).await.ok().flatten();
                    if holder.map(|holder| holder.node.id) != me {
                        lost.push(brane);
                    }
                }
                renewed.lost = lost;
            }
            Bug::HidesOffers => renewed.offered.clear(),
            Bug::HidesAcceptedOffers => {
                renewed.offered.retain(|brane| !self.state().ready.contains(brane));
            }
            _ => {}
        }
        Ok(renewed)
    }

    async fn wish_wrongly(&self, brane: BraneId, wish: Wish) -> Result<bool, StoreError> {
        let member = self.member()?;
        match (self.bug, wish) {
            (Bug::KeepsOffers, Wish::Withdraw { .. })
            | (Bug::HandsNothingOver, Wish::HandOver { .. })
            | (Bug::ReleasesNothing, Wish::Release { .. }) => return Ok(false),
            (Bug::ForgetsReadiness, Wish::Offer { epoch, .. }) => {
                member.withdraw(brane, epoch).await?;
            }
            (_, Wish::Ready) => drop(self.state().ready.insert(brane)),
            (Bug::HandsOverToAnybody, Wish::HandOver { epoch, .. }) => {
                return member.wish(brane, Wish::Release { epoch }).await;
            }
            (Bug::RefusesHandOversAgain, Wish::HandOver { to, .. }) => {
                let holder = member.holder(brane).await?;
                if let Some(holder) = holder.filter(|holder| holder.node.id == to) {
                    return Err(StoreError::StaleEpoch { current: holder.epoch });
                }
            }
            _ => {}
        }
        let answer = member.wish(brane, wish).await;
        match (self.bug, wish, answer) {
            (Bug::ReadyAtOnce, Wish::IsReady { .. }, Ok(_)) => Ok(true),
            (Bug::NeverReady, Wish::IsReady { .. }, Ok(_)) => Ok(false),
            (Bug::KeepsReadiness, Wish::IsReady { .. }, Ok(is_ready)) => {
                Ok(is_ready || self.state().ready.contains(&brane))
            }
            (
                Bug::ReleasesWhatIsNotHeld,
                Wish::Release { .. },
                Err(StoreError::StaleEpoch { .. }),
            ) => Ok(false),
            (_, _, answer) => answer,
        }
    }
}

impl Fleet for Broken {
    fn node(&self) -> Option<&Node> {
        self.ways.as_ref().and_then(|ways| ways.member.node())
    }

    fn enter(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async { self.member()?.enter().await })
    }

    fn renew(&self, held: Vec<Holding>) -> BoxFuture<'_, Result<Renewed, StoreError>> {
        Box::pin(self.renew_wrongly(held))
    }

    fn leave(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async {
            match self.bug {
                Bug::NeverLeaves => Ok(()),
                _ => self.member()?.leave().await,
            }
        })
    }

    fn succeed(&self, before: NodeId) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            if self.bug == Bug::SucceedsAll
                && let Some(ways) = &self.ways
            {
                for status in ways.member.nodes().await? {
                    ways.all.lapse(status.node.id);
                }
            }
            match self.bug {
                Bug::SucceedsNobody => Ok(()),
                _ => self.member()?.succeed(before).await,
            }
        })
    }

    fn set_draining(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async {
            match self.bug {
                Bug::HidesDraining => Ok(()),
                _ => self.member()?.set_draining().await,
            }
        })
    }

    fn nodes(&self) -> BoxFuture<'_, Result<Vec<NodeStatus>, StoreError>> {
        Box::pin(async {
            let mut nodes = self.member()?.nodes().await?;
            if self.bug == Bug::ListsTheDeadAsLiving {
                nodes.iter_mut().for_each(|node| node.remaining_ms = LEASE_MS);
            }
            Ok(nodes)
        })
    }

    fn holder(&self, brane: BraneId) -> BoxFuture<'_, Result<Option<Holder>, StoreError>> {
        Box::pin(async move { self.member()?.holder(brane).await })
    }

    fn wish(&self, brane: BraneId, wish: Wish) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.wish_wrongly(brane, wish))
    }
}
