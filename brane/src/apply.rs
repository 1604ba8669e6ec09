//! From an edit to its outcome.

use std::sync::Arc;

use avvy_model::{
    Attachment, Change, Changes, Code, DeleteMode, Edit, Followed, Handle, Kind, Object, ObjectAt,
    ObjectId, Operation, Placement, Principal, PropKey, Props, PropsPatch, Refusal, Ruling, Seq,
    Slots, Target, Transform, ValueLimits, Verb, WorldLimits, weight,
};

use crate::World;
use crate::occupancy::Taken;
use crate::prototypes;
use crate::rights::RulingRecord;
use crate::side::NONE;

impl World {
    /// Applies an edit, whole or not at all. `at`, the one after
    /// [`Self::seq`], is the number that the edit gets when it is accepted;
    /// `now_ms` is the server's Unix time in milliseconds.
    ///
    /// Operations apply in order; each sees the ones before it. Each is first
    /// put to the brane's [`crate::Rights`], then its target is looked up, then the rest is
    /// checked in the order of the code. Every object that an operation
    /// writes, removes, or has to walk (the subtree of an object that goes
    /// deeper) counts against [`WorldLimits::max_touched`], and what its
    /// outcome takes in the journal against [`WorldLimits::max_event_bytes`].
    ///
    /// # Errors
    /// A [`Refusal`], upon which the state is as if nothing had been asked.
    pub fn apply(
        &mut self,
        at: Seq,
        now_ms: u64,
        principal: &Principal,
        edit: &Edit,
        limits: &WorldLimits,
    ) -> Result<Changes, Refusal> {
        debug_assert_eq!(at, self.seq.next(), "edits are numbered densely");
        if let Edit::Rule(ruling) = edit {
            return self.rule(at, now_ms, principal, ruling, limits).map_err(Refusal::from);
        }
        let operations = edit.operations();
        if operations.is_empty() {
            return Err(Code::Empty.into());
        }
        if let Edit::Follow(follow) = edit {
            self.judge_follow(principal, follow)?;
        }
        if operations.len() > limits.max_batch {
            return Err(Code::BatchTooLarge.into());
        }
        let next_handle = self.next_handle;
        self.adopt_cells();
        self.begin_tracking();
        let mut attempt = Attempt {
            world: self,
            now_ms,
            principal,
            limits,
            touches_left: limits.max_touched,
            bytes_left: limits.max_event_bytes.saturating_sub(weight::EVENT),
            changes: Changes::new(),
            ends: Vec::new(),
        };
        let ran = attempt.run_all(edit);
        let changes = attempt.changes;
        if let Err((n, code)) = ran {
            self.take_back(&changes);
            self.untrack();
            self.next_handle = next_handle;
            let operation = matches!(edit, Edit::Batch(_) | Edit::Follow(_)).then_some(n);
            return Err(Refusal { code, operation });
        }
        self.note(at, &changes);
        Ok(changes)
    }

    fn rule(
        &mut self,
        seq: Seq,
        at_ms: u64,
        principal: &Principal,
        ruling: &Ruling,
        limits: &WorldLimits,
    ) -> Result<Changes, Code> {
        // Before the table is copied, as it is while somebody has a view of it.
        if !self.rights.verbs(principal).contains(Verb::Govern) {
            return Err(Code::NotPermitted);
        }
        let rights = Arc::make_mut(&mut self.rights);
        let ruled = rights.judge(principal, at_ms, ruling, limits)?;
        rights.follow(RulingRecord { seq, at_ms, by: principal.user, ruled: ruled.clone() });
        self.begin_tracking();
        let changes = Changes::from([Change::Ruled(Box::new(ruled))]);
        self.note(seq, &changes);
        Ok(changes)
    }
}

impl World {
    /// Takes back the last accepted edit, of which these are the changes.
    /// Applied again, it has the same outcome.
    pub fn retract(&mut self, changes: &Changes) {
        self.take_back(changes);
        self.resettle_cells(changes);
        self.untrack();
        let is_creation = |change: &&Change| matches!(change, Change::Created(_));
        let created = changes.iter().filter(is_creation).count();
        // A batch creates no more than there are handles.
        self.next_handle.0 -= created as u32;
        self.seq.0 -= 1;
    }
}

/// An edit under way.
struct Attempt<'a> {
    world: &'a mut World,
    now_ms: u64,
    principal: &'a Principal,
    limits: &'a WorldLimits,
    touches_left: usize,
    bytes_left: usize,
    changes: Changes,
    /// How many changes there were after each operation.
    ends: Vec<usize>,
}

impl Attempt<'_> {
    /// The operations up to the first that is refused, and then what is judged
    /// of the edit as a whole.
    fn run_all(&mut self, edit: &Edit) -> Result<(), (u32, Code)> {
        for (operation, n) in edit.operations().iter().zip(0..) {
            let is_step = n == 0 && matches!(edit, Edit::Follow(_));
            let ran = if is_step { self.step(operation) } else { self.run(operation) };
            ran.map_err(|code| (n, code))?;
            self.ends.push(self.changes.len());
        }
        let settled = self.world.settle_cells(&self.changes, self.limits);
        // Batches are not longer than that.
        let nth = |change| self.ends.partition_point(|end| *end <= change) as u32;
        settled.map_err(|Taken { code, change }| (nth(change), code))
    }

    fn run(&mut self, operation: &Operation) -> Result<(), Code> {
        let named = match operation {
            Operation::Create { parent, .. } => *parent,
            Operation::Update { target, .. }
            | Operation::Move { target, .. }
            | Operation::Reparent { target, .. }
            | Operation::Delete { target, .. } => *target,
        };
        let handle = self.world.resolve(named);
        let target = handle.and_then(|handle| Some((handle, self.world.get(handle)?)));
        let Self { world, principal, now_ms, .. } = &*self;
        if !world.rights.allows(world, principal, *now_ms, operation, target) {
            return Err(Code::NotPermitted);
        }
        let missing = match operation {
            Operation::Create { .. } => Code::ParentNotFound,
            _ => Code::ObjectNotFound,
        };
        let (handle, object) = target.ok_or(missing)?;
        match operation {
            Operation::Create { id, kind, transform, props, .. } => {
                let parent_kind = object.kind;
                self.create(handle, parent_kind, *id, *kind, *transform, props)
            }
            Operation::Update { patch, .. } if handle == Handle::ROOT => {
                let names_followed = |(key, _): &(PropKey, _)| Followed::is_key(key.as_str());
                if patch.entries().iter().any(names_followed) {
                    return Err(Code::PropertyReserved);
                }
                let limits = prototypes::limits_beside(&object.props, &self.limits.values);
                self.update(handle, patch, &limits)
            }
            Operation::Update { patch, .. } => self.update(handle, patch, &self.limits.values),
            Operation::Move { patch, .. } => {
                let before = object.transform;
                self.not_root(handle)?;
                self.touch(1)?;
                self.weigh(weight::CHANGE)?;
                let after = patch.apply(&before);
                self.world.set_transform(handle, after);
                self.changed(Change::Moved { handle, parts: patch.parts(), before, after });
                Ok(())
            }
            Operation::Reparent { parent, transform, .. } => {
                self.reparent(handle, *parent, *transform)
            }
            Operation::Delete { mode: DeleteMode::Subtree, .. } => self.delete_subtree(handle),
            Operation::Delete { mode: DeleteMode::KeepChildren, .. } => self.dissolve(handle),
        }
    }

    /// The step of a [`avvy_model::Follow`], which was judged: an update of the root.
    fn step(&mut self, operation: &Operation) -> Result<(), Code> {
        let Operation::Update { patch, .. } = operation else { return Err(Code::Empty) };
        let root = self.object(Handle::ROOT)?;
        let (after, _) = root.props.patched(patch, &ValueLimits::NONE)?;
        prototypes::check_room(&root.props, &after, self.limits)?;
        self.update(Handle::ROOT, patch, &ValueLimits::NONE)
    }

    fn create(
        &mut self,
        parent: Handle,
        parent_kind: Kind,
        id: ObjectId,
        kind: Kind,
        transform: Transform,
        props: &Props,
    ) -> Result<(), Code> {
        if parent_kind != Kind::Group {
            return Err(Code::ParentNotGroup);
        }
        if self.world.find(id).is_some() {
            return Err(Code::ObjectExists);
        }
        if self.world.len() >= self.limits.max_objects {
            return Err(Code::TooManyObjects);
        }
        if self.world.depth(parent) >= self.limits.max_depth {
            return Err(Code::TooDeep);
        }
        if props.as_bytes().len() > self.limits.values.max_props_bytes {
            return Err(Code::PropsTooLarge);
        }
        self.check_interface(self.world.next_handle, props, |key| props.get(key).is_some())?;
        self.grow(weight::held(props))?;
        let handle = self.world.next_handle;
        if handle.0 == NONE {
            return Err(Code::HandlesExhausted);
        }
        self.touch(1)?;
        self.weigh(weight::CHANGE + weight::object_with(props))?;
        let owner = self.principal.user;
        let object = Object { id, parent, kind, owner, transform, props: props.clone() };
        self.world.next_handle = Handle(handle.0 + 1);
        self.world.insert(handle, object.clone());
        self.changed(Change::Created(Box::new(ObjectAt { handle, object })));
        Ok(())
    }

    fn update(
        &mut self,
        handle: Handle,
        patch: &PropsPatch,
        limits: &ValueLimits,
    ) -> Result<(), Code> {
        if patch.is_empty() {
            return Err(Code::Empty);
        }
        self.touch(1)?;
        let object = self.world.get(handle).ok_or(Code::ObjectNotFound)?;
        let carrier = object.id;
        let (props, before) = object.props.patched(patch, limits)?;
        self.grow(weight::held(&props).saturating_sub(weight::held(&object.props)))?;
        self.weigh(weight::CHANGE + weight::patch(&before) + weight::patch(patch))?;
        let names = |key: &str| patch.entries().iter().any(|(name, _)| name.as_str() == key);
        self.check_interface(handle, &props, names)?;
        let let_go = names(Object::SLOTS_KEY).then(|| Slots::of(&props).unwrap_or_default());
        self.world.set_props(handle, props);
        self.changed(Change::Updated { handle, before, after: patch.clone() });
        match let_go {
            Some(offered) => self.detach(carrier, offered),
            None => Ok(()),
        }
    }

    /// Whether what these properties say of interfaces can be, as far as
    /// `names` says that it is new.
    fn check_interface(
        &self,
        handle: Handle,
        props: &Props,
        names: impl Fn(&str) -> bool,
    ) -> Result<(), Code> {
        if names(Object::SLOTS_KEY) && Slots::of(props).is_none() {
            return Err(Code::InterfaceInvalid);
        }
        if !names(Object::ATTACHED_KEY) {
            return Ok(());
        }
        match Attachment::of(props) {
            Ok(None) => Ok(()),
            Ok(Some(to)) if handle != Handle::ROOT => {
                self.world.judge_attachment(handle, to, self.limits)
            }
            Ok(Some(_)) | Err(_) => Err(Code::InterfaceInvalid),
        }
    }

    /// What is attached to slots that a carrier does not offer any more is
    /// attached no longer.
    fn detach(&mut self, carrier: ObjectId, offered: Slots) -> Result<(), Code> {
        for (slot, handle) in self.world.attached_to(carrier) {
            if !offered.has(slot) {
                self.update(handle, &Attachment::end(), &ValueLimits::NONE)?;
            }
        }
        Ok(())
    }

    fn reparent(
        &mut self,
        handle: Handle,
        parent: Target,
        transform: Option<Transform>,
    ) -> Result<(), Code> {
        self.not_root(handle)?;
        let parent = self.world.resolve(parent).ok_or(Code::ParentNotFound)?;
        if self.object(parent)?.kind != Kind::Group {
            return Err(Code::ParentNotGroup);
        }
        if self.world.is_within(parent, handle) {
            return Err(Code::Cycle);
        }
        self.check_depth(handle, self.world.depth(parent).saturating_add(1))?;
        self.weigh(weight::CHANGE)?;
        let object = self.object(handle)?;
        let before = Placement { parent: object.parent, transform: object.transform };
        let after = Placement { parent, transform: transform.unwrap_or(before.transform) };
        self.world.place(handle, after);
        self.changed(Change::Reparented { handle, before, after });
        Ok(())
    }

    /// Whether a subtree may stand with its top at `depth`. What goes no
    /// deeper than it is now may, without a look at the subtree.
    fn check_depth(&mut self, top: Handle, depth: u32) -> Result<(), Code> {
        if depth <= self.world.depth(top) {
            return self.touch(1);
        }
        if depth > self.limits.max_depth {
            return Err(Code::TooDeep);
        }
        let (mut count, mut height) = (0, 0);
        let mut open = vec![(top, 0)];
        while let Some((handle, steps)) = open.pop() {
            count += 1;
            height = height.max(steps);
            let room = (self.touches_left + 1).saturating_sub(count + open.len());
            open.extend(self.world.children(handle).take(room).map(|child| (child, steps + 1)));
        }
        self.touch(count)?;
        if depth.saturating_add(height) > self.limits.max_depth {
            Err(Code::TooDeep)
        } else {
            Ok(())
        }
    }

    fn delete_subtree(&mut self, top: Handle) -> Result<(), Code> {
        self.not_root(top)?;
        self.weigh(weight::CHANGE)?;
        let mut removed = Vec::new();
        let mut open = vec![top];
        while let Some(handle) = open.pop() {
            self.touch(1)?;
            self.weigh(weight::object(self.object(handle)?))?;
            removed.push(ObjectAt { handle, object: self.object(handle)?.clone() });
            open.extend(self.children_descending(handle));
        }
        for object in removed.iter().rev() {
            self.world.take(object.handle);
        }
        let gone: Vec<_> = removed.iter().map(|at| at.object.id).collect();
        self.changed(Change::Deleted { removed });
        gone.into_iter().try_for_each(|carrier| self.detach(carrier, Slots::default()))
    }

    /// Hands the children to the parent, then deletes.
    fn dissolve(&mut self, handle: Handle) -> Result<(), Code> {
        self.not_root(handle)?;
        self.touch(1)?;
        self.weigh(weight::CHANGE + weight::object(self.object(handle)?))?;
        let top = self.object(handle)?.clone();
        let children = self.children_descending(handle);
        self.touch(children.len())?;
        self.weigh(children.len() * weight::CHANGE)?;
        for child in children.into_iter().rev() {
            let own = self.object(child)?.transform;
            let before = Placement { parent: handle, transform: own };
            let transform = own.within(&top.transform).map_err(|_| Code::OutOfRange)?;
            let after = Placement { parent: top.parent, transform };
            self.world.place(child, after);
            self.changed(Change::Reparented { handle: child, before, after });
        }
        self.world.take(handle);
        let carrier = top.id;
        let removed = vec![ObjectAt { handle, object: top }];
        self.changed(Change::Deleted { removed });
        self.detach(carrier, Slots::default())
    }

    /// The children by handle, so that outcomes do not depend on the order in
    /// which they were linked. One more than may be touched is enough to find
    /// out that there are too many.
    fn children_descending(&self, handle: Handle) -> Vec<Handle> {
        let mut children: Vec<_> =
            self.world.children(handle).take(self.touches_left.saturating_add(1)).collect();
        children.sort_unstable_by(|a, b| b.cmp(a));
        children
    }

    fn changed(&mut self, change: Change) {
        self.world.track_change(&change);
        self.changes.push(change);
    }

    fn touch(&mut self, count: usize) -> Result<(), Code> {
        self.touches_left = self.touches_left.checked_sub(count).ok_or(Code::TouchesTooMany)?;
        Ok(())
    }

    /// Whether the objects may take so many bytes more.
    fn grow(&self, bytes: u64) -> Result<(), Code> {
        let is_too_large = bytes > 0 && self.world.bytes() + bytes > self.limits.max_bytes;
        if is_too_large { Err(Code::BraneTooLarge) } else { Ok(()) }
    }

    /// Before what is weighed is copied, so that a refused edit costs little.
    fn weigh(&mut self, bytes: usize) -> Result<(), Code> {
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or(Code::EditTooLarge)?;
        Ok(())
    }

    fn object(&self, handle: Handle) -> Result<&Object, Code> {
        self.world.get(handle).ok_or(Code::ObjectNotFound)
    }

    fn not_root(&self, handle: Handle) -> Result<(), Code> {
        if handle == Handle::ROOT { Err(Code::RootProtected) } else { Ok(()) }
    }
}
