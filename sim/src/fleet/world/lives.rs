//! The lives of nodes: how they start, and how they end.

use std::sync::Arc;

use avvy_flow::lease::{LeaseConfig, LeaseInput};
use avvy_model::NodeId;

use super::{Event, HAND_OVER, LEASE_MS, LEASE_US, World};
use crate::fleet::node::{Does, Node, Op};

impl World {
    pub(super) fn boot(&mut self, nth: usize) {
        let id = NodeId::from_bytes(self.rng.brane_id().to_bytes());
        let node = avvy_persistence::Node { id, address: nth.to_string() };
        let store = Arc::new(self.fleet.store(node));
        if self.slots[nth].node.is_some() {
            return;
        }
        if !self.settle_at_boot(nth, &store) {
            return self.boot_later(nth);
        }
        let slot = &mut self.slots[nth];
        slot.life += 1;
        (slot.booted_us, slot.provisional) = (self.now_us, true);
        let mut node = Node::new(id, store, LeaseConfig { lease_ms: LEASE_MS as u32 });
        if let Some(before) = self.slots[nth].predecessor.take() {
            node.does.push_back(Does::Ask(Op::Succeed(before)));
        }
        node.feed(self.clock(nth), LeaseInput::Tick);
        self.slots[nth].node = Some(node);
        self.judge.count("node started");
        self.perform(nth);
    }

    pub(super) fn kill(&mut self, slot: usize) {
        if let Some(node) = self.slots[slot].node.take() {
            self.judge.count("node killed");
            self.tell(|| format!("node {slot} is killed"));
            // The next one knows of it, or is reached by another address.
            self.slots[slot].predecessor = (self.rng.below(2) == 0).then_some(node.id);
            self.boot_later(slot);
        }
    }

    fn boot_later(&mut self, slot: usize) {
        let pause_us = self.rng.range(1_000, 2 * LEASE_US);
        self.plan(self.now_us + pause_us, slot, 0, Event::Boot);
    }

    /// A node is told to end.
    pub(super) fn end(&mut self, nth: usize) {
        let takers = self.slots.iter().enumerate().filter_map(|(slot, other)| {
            let node = other.node.as_ref().filter(|node| slot != nth && node.ends.is_none())?;
            Some((slot, node.id))
        });
        let takers: Vec<_> = takers.collect();
        let Some((to, id)) = self.rng.pick(&takers).copied() else { return };
        let (now_us, slot) = (self.clock(nth), &mut self.slots[nth]);
        if slot.asleep_until_us > self.now_us {
            return;
        }
        if let Some(node) = slot.node.as_mut().filter(|node| node.ends.is_none()) {
            node.end(now_us, id, to, HAND_OVER);
            self.judge.count("node ends");
            self.tell(|| format!("node {nth} ends, {to} takes its branes"));
            self.perform(nth);
        }
    }

    /// A node that ends is gone when it has given everything away.
    pub(super) fn end_what_ends(&mut self, nth: usize) {
        let slot = &mut self.slots[nth];
        if slot.asleep_until_us > self.now_us {
            return;
        }
        let Some(node) = slot.node.as_mut().filter(|node| node.ends.is_some()) else { return };
        if node.close_rest() {
            self.perform(nth);
            self.slots[nth].node = None;
            self.judge.count("node ended");
            self.boot_later(nth);
        }
    }
}
