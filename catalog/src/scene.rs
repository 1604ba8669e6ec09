//! The things that one change is about, as they were read and as they are to
//! be.

use std::collections::BTreeMap;

use avvy_model::{Code, Visibility};
use uuid::Uuid;

use crate::limits::CatalogLimits;
use crate::thing::{Moving, Thing};
use crate::work::{Stored, Work};
use crate::{Catalog, Refused};

/// Things by their ids.
#[derive(Default)]
pub(crate) struct Scene {
    nodes: BTreeMap<Uuid, Node>,
}

struct Node {
    /// `None`: it is new.
    old: Option<Stored>,
    /// `None`: it goes.
    new: Option<Thing>,
}

impl Scene {
    /// Adds what was read, unless it is there.
    pub(crate) fn read(&mut self, stored: Stored) {
        let new = Some(stored.thing.clone());
        let id = stored.thing.id;
        self.nodes.entry(id).or_insert(Node { old: Some(stored), new });
    }

    /// Adds what is new.
    pub(crate) fn make(&mut self, thing: Thing) {
        self.nodes.insert(thing.id, Node { old: None, new: Some(thing) });
    }

    /// Takes something away.
    pub(crate) fn remove(&mut self, id: Uuid) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.new = None;
        }
    }

    /// Something as it is to be.
    ///
    /// # Errors
    /// `not_found` if it is not there.
    pub(crate) fn get(&self, id: Uuid) -> Result<&Thing, Refused> {
        let found = self.nodes.get(&id).and_then(|node| node.new.as_ref());
        found.ok_or(Code::NotFound.into())
    }

    /// The same, to be changed.
    pub(crate) fn get_mut(&mut self, id: Uuid) -> Result<&mut Thing, Refused> {
        let found = self.nodes.get_mut(&id).and_then(|node| node.new.as_mut());
        found.ok_or(Code::NotFound.into())
    }

    /// Holds a tree that is here as a whole to its bounds.
    ///
    /// # Errors
    /// `cycle`, `too_deep`, `tree_too_large`.
    pub(crate) fn check_tree(&self, root: Uuid, limits: &CatalogLimits) -> Result<(), Refused> {
        let mut seen = std::collections::BTreeSet::new();
        let mut levels = vec![(root, 1)];
        while let Some((id, level)) = levels.pop() {
            if !seen.insert(id) {
                return Err(Code::Cycle.into());
            }
            if level > limits.max_tree_depth {
                return Err(Code::TooDeep.into());
            }
            if seen.len() > limits.max_tree_objects {
                return Err(Code::TreeTooLarge.into());
            }
            let children = self.get(id)?.children();
            levels.extend(children.iter().map(|child| (*child, level + 1)));
        }
        Ok(())
    }

    /// Takes something out of the line of its versions, whose neighbours are
    /// here.
    pub(crate) fn unlink(&mut self, id: Uuid) -> Result<(), Refused> {
        let chain = self.get(id)?.chain;
        let mut is_outdated = false;
        if let Some(Ok(next)) = chain.next.map(|next| self.get_mut(next)) {
            next.chain.previous = chain.previous;
            is_outdated = next.is_outdated || next.visibility == Visibility::Public;
        }
        if let Some(Ok(previous)) = chain.previous.map(|previous| self.get_mut(previous)) {
            previous.chain.next = chain.next;
            previous.chain.issued = previous.chain.issued.max(chain.issued);
            previous.is_outdated = is_outdated;
        }
        Ok(())
    }

    /// Hands over what has changed.
    pub(crate) fn save(self, work: &mut Work) {
        for Node { old, new } in self.nodes.into_values() {
            match (old, new) {
                (Some(old), None) => work.remove(&old),
                (Some(old), Some(new)) if old.thing == new => {}
                (old, Some(new)) => {
                    let new = Thing { changed_s: work.now_s, ..new };
                    work.put(old.as_ref(), &new);
                }
                (None, None) => {}
            }
        }
    }
}

impl Catalog {
    /// Reads a tree into a scene, and gives the ids, a group before what is in
    /// it.
    ///
    /// # Errors
    /// `tree_too_large` if it is larger than any can be.
    pub(crate) async fn read_tree(
        &self,
        scene: &mut Scene,
        root: Stored,
        now_s: u64,
    ) -> Result<Vec<Uuid>, Refused> {
        let id = root.thing.id;
        let mut all = vec![id];
        let mut level = root.thing.children().to_vec();
        scene.read(root);
        while !level.is_empty() {
            all.extend_from_slice(&level);
            if all.len() > crate::limits::MAX_TREE_OBJECTS {
                return Err(Code::TreeTooLarge.into());
            }
            let mut next = Vec::new();
            for found in self.load(&level, now_s).await?.into_iter().flatten() {
                next.extend_from_slice(found.thing.children());
                scene.read(found);
            }
            level = next;
        }
        Ok(all)
    }

    /// Reads the versions beside something into a scene, so that it can be
    /// unlinked there.
    pub(crate) async fn read_neighbours(
        &self,
        scene: &mut Scene,
        ids: &[Uuid],
        now_s: u64,
    ) -> Result<(), Refused> {
        let mut wanted = Vec::new();
        for id in ids {
            let chain = scene.get(*id)?.chain;
            wanted.extend(chain.previous.into_iter().chain(chain.next));
        }
        for found in self.load(&wanted, now_s).await?.into_iter().flatten() {
            scene.read(found);
        }
        Ok(())
    }

    /// Something of a user's own that is not on its way.
    ///
    /// # Errors
    /// `not_found` if the user does not see it, `forbidden` if it is another's,
    /// `in_transfer`.
    pub(crate) async fn own(&self, work: &Work, id: Uuid) -> Result<Stored, Refused> {
        let stored = self.load_one(id, work.now_s).await?;
        let thing = &stored.thing;
        if !thing.is_seen_by(work.owner) || thing.is_deleted {
            return Err(Code::NotFound.into());
        }
        if thing.owner != work.owner {
            return Err(Code::Forbidden.into());
        }
        match thing.moving {
            None => Ok(stored),
            Some(Moving::Out(_) | Moving::In(_)) => Err(Code::InTransfer.into()),
        }
    }
}
