//! How the suite gets at the nodes of a fleet.

use std::collections::BTreeMap;
use std::sync::Arc;

use avvy_model::NodeId;

use super::fixture::{Failure, Verdict};
use crate::fleet::{Fleet, Node};
use crate::memory::{MemoryDisk, MemoryFleet, MemoryStore};
use crate::store::{BoxFuture, Store};

/// How long a lease lasts in the suite: longer than any case takes.
pub const LEASE_MS: u64 = 600_000;

/// A node, with its way to the store.
#[derive(Clone)]
pub struct Member {
    /// Which node.
    pub node: Node,
    /// Its store.
    pub store: Arc<dyn Store>,
    /// The same, as a part of the fleet.
    pub fleet: Arc<dyn Fleet>,
}

/// A fleet under test, on a store that is empty at first, whose leases last
/// for [`LEASE_MS`].
pub trait FleetFixture: Send + Sync {
    /// The nth node, always the same. It has not entered by itself.
    fn member(&mut self, nth: u8) -> BoxFuture<'_, Result<Member, Failure>>;

    /// Has a node's lease be over now, by the store's time.
    fn lapse(&mut self, node: NodeId) -> BoxFuture<'_, Verdict>;

    /// Has the store know nothing of a node any more, but what it holds.
    fn forget(&mut self, node: NodeId) -> BoxFuture<'_, Verdict>;
}

/// The id and address of the nth node.
pub fn nth_node(nth: u8) -> Node {
    Node { id: NodeId::from_bytes([nth; 16]), address: format!("wss://node-{nth}.example/ws") }
}

/// The memory fleet as a fixture.
pub struct MemoryFleetFixture {
    fleet: MemoryFleet,
    stores: BTreeMap<u8, Arc<MemoryStore>>,
}

impl MemoryFleetFixture {
    /// An empty fleet.
    pub fn new() -> Self {
        let fleet = MemoryFleet::new(MemoryDisk::new(), LEASE_MS);
        Self { fleet, stores: BTreeMap::new() }
    }

    /// The fleet.
    pub const fn fleet(&self) -> &MemoryFleet {
        &self.fleet
    }
}

impl Default for MemoryFleetFixture {
    fn default() -> Self {
        Self::new()
    }
}

impl FleetFixture for MemoryFleetFixture {
    fn member(&mut self, nth: u8) -> BoxFuture<'_, Result<Member, Failure>> {
        let node = nth_node(nth);
        let made = || Arc::new(self.fleet.store(node.clone()));
        let store = Arc::clone(self.stores.entry(nth).or_insert_with(made));
        let (fleet, store): (Arc<dyn Fleet>, Arc<dyn Store>) = (store.clone(), store);
        Box::pin(async { Ok(Member { node, store, fleet }) })
    }

    fn lapse(&mut self, node: NodeId) -> BoxFuture<'_, Verdict> {
        self.fleet.lapse(node);
        Box::pin(async { Ok(()) })
    }

    fn forget(&mut self, node: NodeId) -> BoxFuture<'_, Verdict> {
        self.fleet.forget(node);
        Box::pin(async { Ok(()) })
    }
}
