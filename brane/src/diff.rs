//! What an older copy of the world lacks.

use avvy_model::{Handle, Seq};

use crate::World;

/// What mends an older copy: replace the objects of `changed`, drop those of
/// `gone`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Diff {
    /// Objects that are in the world and may differ in the copy; ascending.
    pub changed: Vec<Handle>,
    /// Handles that may be in the copy and are not in the world; ascending.
    pub gone: Vec<Handle>,
}

impl World {
    /// What a copy of the state at `since` lacks, if the copy also changed the
    /// objects `touched` in a way that is no part of this world's past (edits
    /// after a fork). Handles in `touched` may be any.
    ///
    /// `None` when too much is forgotten: deletions are remembered 65,536 back
    /// and not across a restart. Then only a whole snapshot helps.
    pub fn diff(&self, since: Seq, touched: &[Handle]) -> Option<Diff> {
        let (there, not): (Vec<_>, Vec<_>) =
            touched.iter().copied().partition(|handle| self.get(*handle).is_some());
        let mut gone: Vec<_> = self.graves.since(since)?.chain(not).collect();
        let marked = self.side.marked_since(since).filter(|handle| self.get(*handle).is_some());
        let mut changed: Vec<_> = marked.chain(there).collect();
        for handles in [&mut changed, &mut gone] {
            handles.sort_unstable();
            handles.dedup();
        }
        Some(Diff { changed, gone })
    }
}
