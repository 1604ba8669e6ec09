//! Which node takes which brane.

/// Nodes that take branes, each with how many it has.
#[derive(Clone, Debug, Default)]
pub struct Spread<N> {
    loads: Vec<(N, u64)>,
}

impl<N: Copy + Ord> Spread<N> {
    /// Of these nodes, with the branes that they hold.
    pub fn new(nodes: impl IntoIterator<Item = (N, u64)>) -> Self {
        Self { loads: nodes.into_iter().collect() }
    }

    /// The node with the fewest branes, those that it was given here included.
    pub fn next_node(&mut self) -> Option<N> {
        let least = self.loads.iter_mut().min_by_key(|(node, branes)| (*branes, *node))?;
        least.1 += 1;
        Some(least.0)
    }
}
