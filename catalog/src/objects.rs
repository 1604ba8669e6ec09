//! Objects outside of branes: what is in somebody's inventory.
//!
//! A group holds objects of the same owner, each of which is in one group at
//! most, so they are trees. What is published does not change any more, and
//! with it all that is in it: a change makes a copy of the whole tree, private
//! and next in the line of versions.

use std::collections::BTreeMap;

use avvy_model::{Code, Kind as Shape, Props, Transform, UserId, Visibility};
use uuid::Uuid;

use crate::label::{Label, LabelPatch};
use crate::scene::Scene;
use crate::thing::{Object, Thing, What};
use crate::work::{Stored, Work, expect, serially};
use crate::{Catalog, Refused};

/// What is asked of a new object.
#[derive(Clone, PartialEq, Debug)]
pub struct NewObject {
    /// Group or block.
    pub kind: Shape,
    /// What people call it.
    pub label: Label,
    /// Relative to the group that it will be in.
    pub transform: Transform,
    /// Its properties.
    pub props: Props,
    /// For a group: what is in it, from the user's inventory.
    pub children: Vec<Uuid>,
    /// For a group: the prototypes that it offers.
    pub gallery: Vec<Uuid>,
}

/// What is to change of an object; what is `None` stays.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ObjectPatch {
    /// What people call it.
    pub label: LabelPatch,
    /// Where it is.
    pub transform: Option<Transform>,
    /// All its properties from now on.
    pub props: Option<Props>,
    /// All that is in a group from now on: what is left out goes back to the
    /// inventory, what is new comes from there.
    pub children: Option<Vec<Uuid>>,
    /// All prototypes of a group's gallery from now on.
    pub gallery: Option<Vec<Uuid>>,
}

/// What came of a change.
#[derive(Clone, PartialEq, Debug)]
pub struct Changed {
    /// The object that was changed or, if it is published, the draft of its
    /// next version.
    pub stored: Stored,
    /// Whether it is such a draft.
    pub is_new: bool,
}

impl Catalog {
    /// Makes an object of this id, drawn by the caller, in a user's inventory;
    /// or gives the one that is there, if an earlier call has made it.
    ///
    /// # Errors
    /// `malformed` and what properties can be refused with; `parent_not_group`
    /// for a block with children or a gallery; `not_found` for what is not
    /// there to be taken into it; what [`Self::update_object`] says of children.
    pub async fn create_object(
        &self,
        owner: UserId,
        id: Uuid,
        asked: NewObject,
        now_s: u64,
    ) -> Result<Stored, Refused> {
        asked.label.check()?;
        self.check_props(&asked.props)?;
        let (thing, done) = serially!(self, owner, now_s, |work| {
            if let Some(made) = self.made(&work, id).await? {
                return Ok(made);
            }
            let NewObject { kind, label, transform, props, children, gallery } = asked.clone();
            let (none, gallery) = (Vec::new(), (!gallery.is_empty()).then_some(gallery));
            let object =
                Object { kind, parent: None, transform, props, children: none, gallery: vec![] };
            let mut scene = Scene::default();
            scene.make(Thing::new(id, owner, label, What::Object(object), now_s));
            let children = (!children.is_empty()).then_some(children);
            let patch = ObjectPatch { children, gallery, ..ObjectPatch::default() };
            self.patch_object(&work, &mut scene, id, patch).await?;
            let thing = scene.get(id)?.clone();
            scene.save(&mut work);
            thing
        });
        Ok(done.stored(thing))
    }

    /// An object, if this user may see it.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn object(&self, id: Uuid, user: UserId, now_s: u64) -> Result<Stored, Refused> {
        self.sight(id, user, now_s).await?.object()?.stored()
    }

    /// Changes an object of a user's own, or makes the draft of the version
    /// after it if it is published, under the id `draft`. `version`: the only one
    /// to be changed.
    ///
    /// # Errors
    /// `not_found`, `forbidden`, `in_transfer`, `precondition_failed`, what
    /// properties can be refused with; `superseded` if it is published and has a
    /// next version already. Of children: `parent_not_group`, `in_group` for
    /// what is in a group already, `published` for what is published, `cycle`,
    /// `too_deep`, `tree_too_large`.
    pub async fn update_object(
        &self,
        owner: UserId,
        id: Uuid,
        version: Option<u64>,
        patch: ObjectPatch,
        draft: Uuid,
        now_s: u64,
    ) -> Result<Changed, Refused> {
        if let Some(props) = &patch.props {
            self.check_props(props)?;
        }
        let ((thing, is_new), done) = serially!(self, owner, now_s, |work| {
            let stored = self.own(&work, id).await?;
            stored.thing.object()?;
            if stored.thing.chain.next == Some(draft) {
                let stored = self.load_one(draft, now_s).await?;
                return Ok(Changed { stored, is_new: true });
            }
            expect(&stored, version)?;
            let (mut scene, mut patch) = (Scene::default(), patch.clone());
            let is_new = stored.thing.is_published();
            let target = if is_new {
                let copies = self.draft_object(&work, &mut scene, stored, draft).await?;
                // They are named as whoever asks knows them.
                for child in patch.children.iter_mut().flatten() {
                    *child = copies.get(child).copied().unwrap_or(*child);
                }
                draft
            } else {
                self.read_whole(&mut scene, stored, now_s).await?;
                id
            };
            self.patch_object(&work, &mut scene, target, patch).await?;
            let thing = Thing { changed_s: now_s, ..scene.get(target)?.clone() };
            scene.save(&mut work);
            (thing, is_new)
        });
        let stored = self.stored_or_read(done.stored(thing), now_s).await?;
        Ok(Changed { stored, is_new })
    }

    /// Publishes an object with all that is in it, or has more people see what
    /// is published.
    ///
    /// # Errors
    /// As [`Self::update_object`]; `in_group` for what is in a group;
    /// `malformed` for private; `published` for less than it is.
    pub async fn publish_object(
        &self,
        owner: UserId,
        id: Uuid,
        version: Option<u64>,
        visibility: Visibility,
        now_s: u64,
    ) -> Result<Stored, Refused> {
        let (thing, done) = serially!(self, owner, now_s, |work| {
            let stored = self.own(&work, id).await?;
            if stored.thing.object()?.parent.is_some() {
                return Err(Code::InGroup.into());
            }
            expect(&stored, version)?;
            let mut scene = Scene::default();
            let tree = self.read_tree(&mut scene, stored, now_s).await?;
            self.read_neighbours(&mut scene, &tree, now_s).await?;
            for id in tree {
                publish(&mut scene, id, visibility)?;
            }
            let thing = Thing { changed_s: now_s, ..scene.get(id)?.clone() };
            scene.save(&mut work);
            thing
        });
        // Nothing was written if nothing has changed.
        self.stored_or_read(done.stored(thing), now_s).await
    }

    /// Deletes an object with all that is in it.
    ///
    /// # Errors
    /// `not_found`, `forbidden`, `in_transfer`, `precondition_failed`;
    /// `published` for what is in a published group.
    pub async fn delete_object(
        &self,
        owner: UserId,
        id: Uuid,
        version: Option<u64>,
        now_s: u64,
    ) -> Result<(), Refused> {
        serially!(self, owner, now_s, |work| {
            let stored = self.own(&work, id).await?;
            stored.thing.object()?;
            expect(&stored, version)?;
            let mut scene = Scene::default();
            self.take_out(&work, &mut scene, stored).await?;
            scene.save(&mut work);
        });
        Ok(())
    }

    /// Removes a tree, within a scene.
    pub(crate) async fn take_out(
        &self,
        work: &Work,
        scene: &mut Scene,
        root: Stored,
    ) -> Result<Vec<Uuid>, Refused> {
        let (id, parent) = (root.thing.id, root.thing.parent());
        if let Some(parent) = parent {
            if root.thing.is_published() {
                return Err(Code::Published.into());
            }
            scene.read(self.load_one(parent, work.now_s).await?);
            let parent = scene.get_mut(parent)?.object_mut()?;
            parent.children.retain(|child| *child != id);
        }
        let tree = self.read_tree(scene, root, work.now_s).await?;
        self.read_neighbours(scene, &tree, work.now_s).await?;
        for id in &tree {
            scene.unlink(*id)?;
        }
        tree.iter().for_each(|id| scene.remove(*id));
        Ok(tree)
    }

    /// Reads the whole tree in which something is.
    async fn read_whole(
        &self,
        scene: &mut Scene,
        stored: Stored,
        now_s: u64,
    ) -> Result<Uuid, Refused> {
        let mut root = stored;
        // No tree is deeper than it can have objects.
        for _ in 0..crate::limits::MAX_TREE_OBJECTS {
            match root.thing.parent() {
                Some(parent) => root = self.load_one(parent, now_s).await?,
                None => break,
            }
        }
        let id = root.thing.id;
        self.read_tree(scene, root, now_s).await?;
        Ok(id)
    }

    /// Copies a published tree, next in the line of versions; gives the copies
    /// by what they were made from.
    async fn draft_object(
        &self,
        work: &Work,
        scene: &mut Scene,
        published: Stored,
        draft: Uuid,
    ) -> Result<BTreeMap<Uuid, Uuid>, Refused> {
        if published.thing.chain.next.is_some() {
            return Err(Code::Superseded.into());
        }
        if self.made(work, draft).await?.is_some() {
            return Err(Code::Exists.into());
        }
        let root = published.thing.id;
        let tree = self.read_tree(scene, published, work.now_s).await?;
        let copy = |id: &Uuid| (*id, if *id == root { draft } else { Uuid::new_v4() });
        let copies: BTreeMap<Uuid, Uuid> = tree.iter().map(copy).collect();
        for id in &tree {
            let old = scene.get(*id)?;
            let mut object = old.object()?.clone();
            object.parent = object.parent.and_then(|parent| copies.get(&parent).copied());
            for child in &mut object.children {
                *child = copies.get(child).copied().ok_or(Code::NotFound)?;
            }
            let (label, what) = (old.label.clone(), What::Object(object));
            let chain = old.chain;
            let mut new = Thing::new(copies[id], work.owner, label, what, work.now_s);
            if *id == root {
                new.chain = chain.after(root);
            }
            scene.make(new);
        }
        scene.get_mut(root)?.chain.next = Some(draft);
        Ok(copies)
    }

    /// Changes an object of a scene that holds its whole tree.
    async fn patch_object(
        &self,
        work: &Work,
        scene: &mut Scene,
        id: Uuid,
        patch: ObjectPatch,
    ) -> Result<(), Refused> {
        let ObjectPatch { label, transform, props, children, gallery } = patch;
        let thing = scene.get_mut(id)?;
        thing.label = thing.label.patched(label)?;
        let object = thing.object_mut()?;
        object.transform = transform.unwrap_or(object.transform);
        object.props = props.unwrap_or_else(|| object.props.clone());
        if object.kind == Shape::Block && (children.is_some() || gallery.is_some()) {
            return Err(Code::ParentNotGroup.into());
        }
        if let Some(gallery) = gallery {
            let before = std::mem::take(&mut object.gallery);
            self.check_gallery(work, &before, &gallery).await?;
            scene.get_mut(id)?.object_mut()?.gallery = gallery;
        }
        match children {
            Some(children) => self.set_children(work, scene, id, children).await,
            None => Ok(()),
        }
    }

    /// Has a group of a scene hold these and no others.
    async fn set_children(
        &self,
        work: &Work,
        scene: &mut Scene,
        id: Uuid,
        children: Vec<Uuid>,
    ) -> Result<(), Refused> {
        if children.len() > self.limits.max_tree_objects {
            return Err(Code::TreeTooLarge.into());
        }
        if (1..children.len()).any(|nth| children[..nth].contains(&children[nth])) {
            return Err(Refused::because(Code::Malformed, "child_ids: none twice"));
        }
        let before =
            std::mem::replace(&mut scene.get_mut(id)?.object_mut()?.children, children.clone());
        for gone in before.iter().filter(|child| !children.contains(child)) {
            scene.get_mut(*gone)?.object_mut()?.parent = None;
        }
        for new in children.iter().filter(|child| !before.contains(child)) {
            let stored = self.own(work, *new).await?;
            let object = stored.thing.object()?;
            if object.parent.is_some() {
                return Err(Code::InGroup.into());
            }
            if stored.thing.is_published() {
                return Err(Code::Published.into());
            }
            self.read_tree(scene, stored, work.now_s).await?;
            scene.get_mut(*new)?.object_mut()?.parent = Some(id);
        }
        let mut root = id;
        // A group that is in itself has no root.
        for _ in 0..=self.limits.max_tree_depth {
            match scene.get(root)?.parent() {
                Some(parent) if parent == id => return Err(Code::Cycle.into()),
                Some(parent) => root = parent,
                None => return scene.check_tree(root, &self.limits),
            }
        }
        Err(Code::TooDeep.into())
    }

    pub(crate) fn check_props(&self, props: &Props) -> Result<(), Refused> {
        Props::parse(props.as_bytes(), &self.limits.values)?;
        Ok(())
    }
}

/// Shows one of a scene to these, and has the version before it not be found by
/// searches any more if it is.
pub(crate) fn publish(scene: &mut Scene, id: Uuid, visibility: Visibility) -> Result<(), Refused> {
    if visibility == Visibility::Private {
        return Err(Refused::because(Code::Malformed, "visibility: unlisted or public"));
    }
    let thing = scene.get_mut(id)?;
    if visibility < thing.visibility {
        return Err(Code::Published.into());
    }
    thing.visibility = visibility;
    let previous = thing.chain.previous;
    let previous = previous.filter(|_| visibility == Visibility::Public);
    if let Some(Ok(previous)) = previous.map(|previous| scene.get_mut(previous)) {
        previous.is_outdated = true;
    }
    Ok(())
}
