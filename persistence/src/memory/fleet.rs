//! A fleet without a database.

use std::collections::BTreeMap;
use std::future::ready;

use avvy_model::{BraneId, NodeId};

use super::fault::{Fault, Operation};
use super::state::{Brane, State};
use super::{MemoryDisk, MemoryStore};
use crate::error::StoreError;
use crate::fleet::{
    Fleet, Holder, Holding, MAX_ADDRESS_BYTES, Node, NodeStatus, Renewed, Wish, no_member,
};
use crate::hold::Hold;
use crate::share::Share;
use crate::store::BoxFuture;

/// Several stores at once on one disk, each a node of a fleet. Their time is
/// the disk's, and goes on only as it is told.
#[derive(Clone)]
pub struct MemoryFleet {
    disk: MemoryDisk,
    lease_ms: u64,
}

/// What a store is in a fleet.
pub(super) struct Member {
    node: Node,
    lease_ms: u64,
}

impl Member {
    pub(super) const fn id(&self) -> NodeId {
        self.node.id
    }
}

/// The nodes that are known, and the time.
#[derive(Default)]
pub(super) struct Nodes {
    now_ms: u64,
    known: BTreeMap<NodeId, Known>,
}

struct Known {
    address: String,
    expires_ms: u64,
    is_draining: bool,
    /// Its lease was over before it was renewed, which it was not told.
    lapsed: bool,
}

impl MemoryFleet {
    /// A fleet on a disk, whose leases last for `lease_ms`.
    pub const fn new(disk: MemoryDisk, lease_ms: u64) -> Self {
        Self { disk, lease_ms }
    }

    /// The disk.
    pub const fn disk(&self) -> &MemoryDisk {
        &self.disk
    }

    /// A store on the disk that is this node's; those of others stay. When the
    /// node dies, its store is closed.
    pub fn store(&self, node: Node) -> MemoryStore {
        let member = Some(Member { node, lease_ms: self.lease_ms });
        let access = self.disk.lock().access();
        MemoryStore { disk: self.disk.clone(), access, member }
    }

    /// The time on the disk, in milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.disk.lock().state.fleet.now_ms
    }

    /// Lets time pass.
    pub fn advance(&self, ms: u64) {
        self.disk.lock().state.fleet.now_ms += ms;
    }

    /// Forgets a node, but not what it holds.
    pub fn forget(&self, node: NodeId) {
        self.disk.lock().state.fleet.known.remove(&node);
    }

    /// Has a node's lease be over now.
    pub fn lapse(&self, node: NodeId) {
        let fleet = &mut self.disk.lock().state.fleet;
        let now_ms = fleet.now_ms;
        if let Some(known) = fleet.known.get_mut(&node) {
            known.expires_ms = now_ms;
        }
    }
}

impl Nodes {
    /// How long a node's lease lasts; 0: it is over, or the node unknown.
    fn remaining_ms(&self, node: NodeId) -> u64 {
        let expires_ms = self.known.get(&node).map_or(0, |known| known.expires_ms);
        expires_ms.saturating_sub(self.now_ms)
    }

    fn node(&self, id: NodeId) -> Node {
        let address = self.known.get(&id).map(|known| known.address.clone());
        Node { id, address: address.unwrap_or_default() }
    }

    /// Renews a lease; says whether it had lapsed.
    fn renew(&mut self, member: &Member) -> &mut Known {
        let expires_ms = self.now_ms + member.lease_ms;
        let lapsed = self.remaining_ms(member.node.id) == 0;
        let known = self.known.entry(member.node.id).or_insert_with(|| Known {
            address: member.node.address.clone(),
            expires_ms,
            is_draining: false,
            lapsed,
        });
        known.expires_ms = expires_ms;
        known.lapsed |= lapsed;
        known
    }
}

impl State {
    /// Takes a brane for a store that opens it.
    pub(super) fn take(&mut self, id: BraneId, to: Option<&Member>) -> Result<(), StoreError> {
        self.expect_free(id, to)?;
        self.brane_mut(id)?.hold.take(to.map(Member::id));
        Ok(())
    }

    /// Refuses what another holds whose lease lasts.
    pub(super) fn expect_free(&self, id: BraneId, to: Option<&Member>) -> Result<(), StoreError> {
        let to = to.map(|member| member.node.id);
        if let Some(holder) = self.brane(id)?.hold.in_the_way_of(to) {
            let remaining_ms = self.fleet.remaining_ms(holder);
            if remaining_ms > 0 {
                let address = self.fleet.node(holder).address;
                return Err(StoreError::Held { address, remaining_ms });
            }
        }
        Ok(())
    }

    /// The part of the branes that is this node's to see to.
    pub(super) fn share(&self, member: &Member) -> Share {
        let known = self.fleet.known.keys().copied();
        Share::new(member.node.id, known.filter(|node| self.fleet.remaining_ms(*node) > 0))
    }

    fn renewed(&mut self, member: &Member, held: &[Holding]) -> Renewed {
        let me = Some(member.node.id);
        let lapsed = self.fleet.renew(member).lapsed;
        let is_mine = |holding: &Holding| {
            let brane = self.branes.get(&holding.brane);
            brane.is_some_and(|brane| brane.hold.holder == me && brane.epoch == holding.epoch)
        };
        let mut lost: Vec<BraneId> =
            held.iter().filter(|holding| !is_mine(holding)).map(|holding| holding.brane).collect();
        lost.sort_unstable();
        lost.dedup();
        let is_offered = |brane: &Brane| brane.hold.coming.map(|coming| coming.to) == me;
        let offered = self.branes.iter().filter(|(_, brane)| is_offered(brane));
        Renewed { lapsed, lost, offered: offered.map(|(id, _)| *id).collect() }
    }

    fn status(&self, id: NodeId, known: &Known) -> NodeStatus {
        let held = self.branes.values().filter(|brane| brane.hold.holder == Some(id));
        NodeStatus {
            node: self.fleet.node(id),
            remaining_ms: self.fleet.remaining_ms(id),
            draining: known.is_draining,
            branes: held.count() as u64,
        }
    }
}

impl MemoryStore {
    /// Does something of a fleet's.
    fn as_member<T: Send + 'static>(
        &self,
        operation: Operation,
        work: impl FnOnce(&mut State, &Member) -> Result<T, StoreError>,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        match &self.member {
            Some(member) => self.run(operation, |state, _| work(state, member)),
            None => Box::pin(ready(Err(no_member()))),
        }
    }
}

impl Fleet for MemoryStore {
    fn node(&self) -> Option<&Node> {
        self.member.as_ref().map(|member| &member.node)
    }

    fn enter(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.as_member(Operation::Renew, |state, member| {
            if member.node.address.len() > MAX_ADDRESS_BYTES {
                return Err(StoreError::Invalid("the address is too long"));
            }
            let known = state.fleet.renew(member);
            (known.lapsed, known.is_draining) = (false, false);
            Ok(())
        })
    }

    fn renew(&self, held: Vec<Holding>) -> BoxFuture<'_, Result<Renewed, StoreError>> {
        let Some(member) = &self.member else { return Box::pin(ready(Err(no_member()))) };
        self.run(Operation::Renew, |state, fate| {
            let renewed = state.renewed(member, &held);
            if fate == Fault::None {
                // It is told now, and not again.
                state.fleet.renew(member).lapsed = false;
            }
            Ok(renewed)
        })
    }

    fn leave(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.as_member(Operation::Fleet, |state, member| {
            let me = Some(member.node.id);
            let mine = state.branes.values_mut().filter(|brane| brane.hold.holder == me);
            mine.for_each(|brane| brane.hold = Hold::default());
            state.fleet.known.remove(&member.node.id);
            Ok(())
        })
    }

    fn succeed(&self, before: NodeId) -> BoxFuture<'_, Result<(), StoreError>> {
        self.as_member(Operation::Fleet, move |state, _| {
            let now_ms = state.fleet.now_ms;
            if let Some(known) = state.fleet.known.get_mut(&before) {
                known.expires_ms = known.expires_ms.min(now_ms);
            }
            Ok(())
        })
    }

    fn set_draining(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.as_member(Operation::Fleet, |state, member| {
            if let Some(known) = state.fleet.known.get_mut(&member.node.id) {
                known.is_draining = true;
            }
            Ok(())
        })
    }

    fn nodes(&self) -> BoxFuture<'_, Result<Vec<NodeStatus>, StoreError>> {
        self.as_member(Operation::Fleet, |state, _| {
            let known = state.fleet.known.iter();
            Ok(known.map(|(id, known)| state.status(*id, known)).collect())
        })
    }

    fn holder(&self, brane: BraneId) -> BoxFuture<'_, Result<Option<Holder>, StoreError>> {
        self.as_member(Operation::Fleet, move |state, _| {
            let found = state.brane(brane)?;
            Ok(found.hold.holder.map(|id| Holder {
                node: state.fleet.node(id),
                remaining_ms: state.fleet.remaining_ms(id),
                epoch: found.epoch,
            }))
        })
    }

    fn wish(&self, brane: BraneId, wish: Wish) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.as_member(Operation::Fleet, move |state, member| {
            let brane = state.brane_mut(brane)?;
            brane.hold.fulfil(member.node.id, brane.epoch, wish)
        })
    }
}
