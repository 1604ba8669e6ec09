//! Where the nodes of a fleet are: by the store, which counts, and not by what
//! they say of themselves.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use avvy_model::NodeId;
use avvy_persistence::cache::Moved;

/// Moves to nodes that are looked for, at most; beyond, the oldest are
/// forgotten, and the lease finds them out.
const MAX_WAITING: usize = 1_024;

/// What is known of other nodes, and what waits to be known.
#[derive(Default)]
pub(super) struct Places {
    known: HashMap<NodeId, Arc<str>>,
    waiting: VecDeque<Moved>,
    look: Look,
}

/// Whether the store is asked.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Look {
    #[default]
    Rests,
    UnderWay,
    /// What it answers may be of before the question.
    ToRepeat,
}

impl Places {
    /// Whether it is known where a node is.
    pub(super) fn knows(&self, node: NodeId) -> bool {
        self.known.contains_key(&node)
    }

    /// Where a brane has gone. If that is not known the move waits until it is.
    pub(super) fn of(&mut self, moved: Moved) -> Option<Arc<str>> {
        let place = self.known.get(&moved.by).cloned();
        if place.is_none() {
            if self.waiting.len() >= MAX_WAITING {
                self.waiting.pop_front();
            }
            self.waiting.push_back(moved);
        }
        place
    }

    /// Whether the store is to be asked now; if it is being asked, it is once more.
    pub(super) fn look(&mut self) -> bool {
        let rests = self.look == Look::Rests;
        self.look = if rests { Look::UnderWay } else { Look::ToRepeat };
        rests
    }

    /// The store answered, or did not. The moves whose places are known now.
    pub(super) fn found(
        &mut self,
        nodes: Option<HashMap<NodeId, Arc<str>>>,
    ) -> Vec<(Moved, Arc<str>)> {
        if let Some(nodes) = nodes {
            self.known = nodes;
        }
        let known = &self.known;
        let place = |moved: &Moved| Some((*moved, known.get(&moved.by)?.clone()));
        let found = self.waiting.iter().filter_map(place).collect();
        match self.look {
            // It is asked again, and may know the others then.
            Look::ToRepeat => self.waiting.retain(|moved| !known.contains_key(&moved.by)),
            Look::Rests | Look::UnderWay => self.waiting.clear(),
        }
        found
    }

    /// Whether the store is to be asked once more: asked after its answer.
    pub(super) fn is_to_repeat(&mut self) -> bool {
        let is_to_repeat = self.look == Look::ToRepeat;
        self.look = if is_to_repeat { Look::UnderWay } else { Look::Rests };
        is_to_repeat
    }
}

#[cfg(test)]
mod tests {
    use avvy_model::{BraneId, Epoch};

    use super::*;

    fn node(nth: u8) -> NodeId {
        NodeId::from_bytes([nth; 16])
    }

    fn moved(by: u8) -> Moved {
        Moved { brane: BraneId::from_bytes([9; 16]), epoch: Epoch(1), by: node(by) }
    }

    fn places(nths: &[u8]) -> Option<HashMap<NodeId, Arc<str>>> {
        Some(nths.iter().map(|nth| (node(*nth), format!("at {nth}").into())).collect())
    }

    #[test]
    fn a_move_waits_until_its_place_is_known() {
        let mut all = Places::default();
        assert_eq!(all.of(moved(1)), None);
        assert!(all.look(), "nobody asks yet");
        assert_eq!(all.found(places(&[1])), [(moved(1), "at 1".into())]);
        assert!(!all.is_to_repeat());
        assert_eq!(all.of(moved(1)), Some("at 1".into()));
        assert_eq!(all.found(None), [], "each move goes on once");
    }

    #[test]
    fn what_is_heard_while_the_store_is_asked_waits_for_its_next_answer() {
        let mut all = Places::default();
        assert!(all.look());
        assert_eq!(all.of(moved(1)), None);
        assert!(!all.look(), "it is being asked");
        assert_eq!(all.found(places(&[])), [], "it was asked before the node came");
        assert!(all.is_to_repeat());
        assert_eq!(all.found(places(&[1])), [(moved(1), "at 1".into())]);
        assert!(!all.is_to_repeat());
        assert!(all.look(), "it rests again");
    }

    #[test]
    fn a_node_that_nobody_knows_is_forgotten() {
        let mut all = Places::default();
        (0..2_000).for_each(|_| assert_eq!(all.of(moved(1)), None));
        assert_eq!(all.waiting.len(), MAX_WAITING);
        assert!(all.look());
        assert_eq!(all.found(places(&[2])), []);
        assert!(!all.is_to_repeat());
        assert!(all.waiting.is_empty() && !all.knows(node(1)) && all.knows(node(2)));
    }
}
