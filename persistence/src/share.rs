//! Which node of a fleet sees to which brane's upkeep.
//!
//! Any node may see to any brane, also several at once: what may be deleted is
//! judged from what is stored. But each looks through all of a brane for that,
//! so a fleet shares its branes out. Nobody has to agree on anything: a brane
//! is seen to by who holds it, and one that nobody who lives holds by the node
//! that a hash draws from those who live. While two nodes know of different
//! others, a brane has two caretakers or none for one turn.

use avvy_model::{BraneId, NodeId};
use xxhash_rust::xxh3::xxh3_64;

/// The part of a node.
pub(crate) struct Share {
    me: NodeId,
    living: Vec<NodeId>,
}

impl Share {
    /// The part of a node among those whose leases last. If its own does not,
    /// it has none.
    pub(crate) fn new(me: NodeId, living: impl IntoIterator<Item = NodeId>) -> Self {
        let mut living: Vec<NodeId> = living.into_iter().collect();
        living.sort_unstable();
        Self { me, living }
    }

    /// Whether the node sees to a brane.
    pub(crate) fn has(&self, brane: BraneId, holder: Option<NodeId>) -> bool {
        let holder = holder.filter(|holder| self.living.binary_search(holder).is_ok());
        holder.or_else(|| self.drawn(brane)) == Some(self.me)
    }

    /// Whether the node sees to what is a matter of all branes together.
    pub(crate) fn has_the_whole(&self) -> bool {
        self.living.first() == Some(&self.me)
    }

    /// One of those who live. When one comes or goes, only its branes change
    /// hands.
    fn drawn(&self, brane: BraneId) -> Option<NodeId> {
        let draw = |node: &NodeId| xxh3_64(&[node.to_bytes(), brane.to_bytes()].concat());
        self.living.iter().copied().max_by_key(draw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BRANES: u64 = 300;

    fn node(nth: u8) -> NodeId {
        NodeId::from_bytes([nth; 16])
    }

    fn brane(nth: u64) -> BraneId {
        BraneId::from_bytes(u128::from(nth).to_be_bytes())
    }

    /// Who sees to a brane, in the eyes of these nodes.
    fn caretakers(living: &[u8], nth: u64, holder: Option<u8>) -> Vec<u8> {
        let all = || living.iter().map(|nth| node(*nth));
        let has = |me: &&u8| Share::new(node(**me), all()).has(brane(nth), holder.map(node));
        living.iter().filter(has).copied().collect()
    }

    #[test]
    fn who_holds_a_brane_sees_to_it() {
        for nth in 0..BRANES {
            assert_eq!(caretakers(&[1, 2, 3], nth, Some(2)), [2]);
        }
    }

    #[test]
    fn what_nobody_who_lives_holds_is_shared_out() {
        let mut counts = [0; 4];
        for nth in 0..BRANES {
            let free = caretakers(&[1, 2, 3], nth, None);
            assert_eq!(free.len(), 1, "brane {nth}");
            assert_eq!(caretakers(&[3, 2, 1], nth, Some(9)), free, "the dead count for nothing");
            counts[usize::from(free[0])] += 1;
        }
        assert!(counts[1..].iter().all(|count| (60..=140).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_node_that_goes_changes_nothing_for_the_branes_of_others() {
        for nth in 0..BRANES {
            let before = caretakers(&[1, 2, 3], nth, None);
            if before != [3] {
                assert_eq!(caretakers(&[1, 2], nth, None), before);
            }
        }
    }

    #[test]
    fn one_sees_to_the_whole_and_who_does_not_live_to_nothing() {
        let whole = |me| Share::new(node(me), [node(2), node(1)]).has_the_whole();
        assert_eq!([1, 2, 3].map(whole), [true, false, false]);
        let dead = Share::new(node(3), [node(1), node(2)]);
        assert!((0..BRANES).all(|nth| !dead.has(brane(nth), Some(node(3)))));
    }
}
