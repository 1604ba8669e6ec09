//! What is asked of a brane, and changes nothing in it.

use avvy_brane::Admission;
use avvy_model::{Code, EditId, Handle, Object, ObjectId, Principal, Seq, object_digest};
use ractor::concurrency::OneshotSender;

use super::{Brane, now};

/// Asks for an object and what is under it.
pub(crate) struct Tree {
    pub(crate) principal: Principal,
    pub(crate) root: ObjectId,
    /// So many objects at most.
    pub(crate) max: usize,
    pub(crate) reply: OneshotSender<Result<Vec<(Handle, Object)>, Code>>,
}

impl Brane {
    /// Gives the objects, a group before what is in it.
    pub(super) fn on_tree(&self, tree: Tree) {
        let Tree { principal, root, max, reply } = tree;
        // Whoever asked may have stopped waiting.
        let _ = reply.send(self.tree(&principal, root, max));
    }

    fn tree(
        &self,
        principal: &Principal,
        root: ObjectId,
        max: usize,
    ) -> Result<Vec<(Handle, Object)>, Code> {
        let world = self.core.world();
        world.rights().may_enter(principal, now().unix_ms)?;
        let root = world.find(root).ok_or(Code::ObjectNotFound)?;
        if root == Handle::ROOT {
            return Err(Code::RootProtected);
        }
        let mut handles = vec![root];
        let mut at = 0;
        while let Some(handle) = handles.get(at).copied() {
            handles.extend(world.children(handle).take(max + 1 - handles.len()));
            if handles.len() > max {
                return Err(Code::TreeTooLarge);
            }
            at += 1;
        }
        let object = |handle: Handle| Some((handle, world.get(handle)?.clone()));
        Ok(handles.into_iter().filter_map(object).collect())
    }

    /// Says what became of an edit, and how far the journal is durable.
    pub(super) fn on_outcome(&self, of: EditId, reply: OneshotSender<(Admission, Seq)>) {
        let _ = reply.send((self.core.clients().check(of), self.core.status().durable));
    }

    /// Whether all these objects still have these digests.
    pub(super) fn are_there(&self, objects: &[(Handle, [u8; 16])]) -> bool {
        let world = self.core.world();
        let is_there = |(handle, digest): &(Handle, [u8; 16])| {
            world.get(*handle).is_some_and(|object| object_digest(*handle, object) == *digest)
        };
        objects.iter().all(is_there)
    }
}
