//! What is asked of a brane, and changes nothing in it.

use std::sync::Arc;

use avvy_model::{Code, Handle, Object, ObjectId, Position, Principal, object_digest};
use ractor::concurrency::OneshotSender;

use super::{Brane, now};
use crate::system::{Located, View};

/// What is asked of a brane's objects.
pub(crate) enum Question {
    Tree(Branch),
    Portals(Portals),
    Locate(Locate),
}

/// Asks for an object and what is under it.
pub(crate) struct Branch {
    pub(crate) principal: Principal,
    pub(crate) root: ObjectId,
    /// So many objects at most.
    pub(crate) max: usize,
    pub(crate) reply: OneshotSender<Result<Vec<(Handle, Object)>, Code>>,
}

/// Asks for portals, ascending by handle.
pub(crate) struct Portals {
    pub(crate) principal: Principal,
    pub(crate) after: Option<Handle>,
    /// So many at most.
    pub(crate) max: usize,
    pub(crate) reply: OneshotSender<Result<Vec<Located>, Code>>,
}

/// Asks for one object.
pub(crate) struct Locate {
    pub(crate) principal: Principal,
    pub(crate) object: ObjectId,
    pub(crate) reply: OneshotSender<Result<Located, Code>>,
}

impl Brane {
    pub(super) fn on_view(&self, reply: OneshotSender<View>) {
        let status = self.core.status();
        let view = View {
            record: Arc::clone(&self.record),
            world: self.core.world().freeze(),
            at: Position { epoch: status.epoch, seq: status.head },
            durable: status.durable,
        };
        // Whoever asked may have stopped waiting.
        let _ = reply.send(view);
    }

    /// Answers; whoever asked may have stopped waiting.
    pub(super) fn on_question(&self, question: Question) {
        match question {
            Question::Tree(Branch { principal, root, max, reply }) => {
                let _ = reply.send(self.tree(&principal, root, max));
            }
            Question::Portals(Portals { principal, after, max, reply }) => {
                let _ = reply.send(self.portals(&principal, after, max));
            }
            Question::Locate(Locate { principal, object, reply }) => {
                let _ = reply.send(self.locate(&principal, object));
            }
        }
    }

    fn portals(
        &self,
        principal: &Principal,
        after: Option<Handle>,
        max: usize,
    ) -> Result<Vec<Located>, Code> {
        let world = self.core.world();
        world.rights().may_enter(principal, now().unix_ms)?;
        Ok(world.portals(after).take(max).filter_map(|portal| self.located(portal)).collect())
    }

    fn locate(&self, principal: &Principal, object: ObjectId) -> Result<Located, Code> {
        let world = self.core.world();
        world.rights().may_enter(principal, now().unix_ms)?;
        let handle = world.find(object).ok_or(Code::ObjectNotFound)?;
        self.located(handle).ok_or(Code::ObjectNotFound)
    }

    fn located(&self, handle: Handle) -> Option<Located> {
        let world = self.core.world();
        let object = world.get(handle)?.clone();
        let place = world.transform_in(object.parent, object.transform);
        Some(Located { handle, object, place })
    }

    /// The objects, a group before what is in it, and that as it was made.
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
            let mut children: Vec<_> =
                world.children(handle).take(max + 1 - handles.len()).collect();
            children.sort_unstable();
            handles.extend(children);
            if handles.len() > max {
                return Err(Code::TreeTooLarge);
            }
            at += 1;
        }
        let object = |handle: Handle| Some((handle, world.get(handle)?.clone()));
        Ok(handles.into_iter().filter_map(object).collect())
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
