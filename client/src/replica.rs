//! A copy of a brane's world, kept up to date by what the server says.
//!
//! The copy stands at one [`Position`]. A [`Flush`] moves it on, and only one
//! that starts where the copy stands; a [`Snapshot`] replaces or mends it.
//! Whatever does not fit is a typed error, after which the copy is good for
//! nothing and has to be replaced: it is never guessed what the server meant.

use std::collections::hash_map::Entry as MapEntry;

use avvy_model::{
    Epoch, Handle, Kind, MovePatch, Object, ObjectAt, ObjectId, Position, Props, PropsPatch, Scope,
    Seq, StateHash, ValueLimits, object_digest,
};
use avvy_protocol::{AreaFlush, Flush, FlushItem, SnapshotPart, WireChange, WireEvent};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::touched::Touched;

/// Handles that a copy counts between two durable watermarks, by default.
pub const MAX_TOUCHED: usize = 65_536;

/// Values come from the server, which has checked them against its own limits.
const ANY_VALUE: ValueLimits = ValueLimits {
    max_value_bytes: usize::MAX,
    max_nesting: u32::MAX,
    max_key_bytes: usize::MAX,
    max_props_bytes: usize::MAX,
};

/// What does not fit the copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplicaError {
    /// The window does not start where the copy stands.
    #[error("a window from {epoch}.{from} does not join a copy at {at}")]
    Gap {
        /// Where the copy stands.
        at: Position,
        /// The window's epoch.
        epoch: Epoch,
        /// The window's start.
        from: Seq,
    },
    /// The window's items are not as many edits as its range.
    #[error("a window of {range} edits holds {items}")]
    Range {
        /// Edits by its range.
        range: u64,
        /// Edits by its items.
        items: u64,
    },
    /// A window of an area for a copy of the whole brane, or the other way
    /// round.
    #[error("a window of something else than the copy is of")]
    Scope,
    /// An edit changes an object that the copy does not have.
    #[error("{0} is not in the copy")]
    Missing(Handle),
    /// An edit creates an object that the copy has.
    #[error("{0} is in the copy already")]
    Exists(Handle),
    /// An object would hang under something that is not a group.
    #[error("{0} is not a group")]
    NotGroup(Handle),
    /// Parts of a snapshot do not follow each other.
    #[error("snapshot part {got} where {expected} was due")]
    Part {
        /// The part that was due.
        expected: u32,
        /// The part that came.
        got: u32,
    },
    /// A part of a snapshot is of another position than the first one.
    #[error("snapshot part of another position")]
    MixedSnapshot,
    /// A whole snapshot without a root, or one that says what is gone.
    #[error("not a whole snapshot")]
    NotWhole,
}

/// One object of the copy.
#[derive(Clone, Debug)]
struct Entry {
    object: Object,
    /// What it adds to the hash, unless `changed`.
    digest: [u8; 16],
    changed: bool,
}

/// A copy of one brane, or of a part of it.
#[derive(Clone, Debug)]
pub struct Replica {
    /// What it is of; `None`: the whole brane.
    scope: Option<Scope>,
    objects: FxHashMap<Handle, Entry>,
    at: Position,
    /// The latest epoch that is known to continue the line that the copy is on.
    line: Epoch,
    durable: Seq,
    touched: Touched,
    hash: StateHash,
    /// Handles that became `changed` since the hash was last asked for.
    unhashed: Vec<Handle>,
}

impl Replica {
    /// A copy of `scope` from the parts of a snapshot; `None` is the whole
    /// brane. At most `max_touched` changes are counted between two durable
    /// watermarks.
    ///
    /// # Errors
    /// When the snapshot is not whole.
    pub fn new(
        snapshot: Snapshot,
        scope: Option<Scope>,
        max_touched: usize,
    ) -> Result<Self, ReplicaError> {
        let (at, parts) = snapshot.finish()?;
        let mut replica = Self {
            scope,
            objects: FxHashMap::default(),
            at,
            line: at.epoch,
            durable: Seq(0),
            touched: Touched::new(max_touched, at.seq),
            hash: StateHash::default(),
            unhashed: Vec::new(),
        };
        for part in parts {
            if !part.gone.is_empty() {
                return Err(ReplicaError::NotWhole);
            }
            for ObjectAt { handle, object } in part.objects {
                replica.put(handle, object);
            }
        }
        if replica.get(Handle::ROOT).is_none() {
            return Err(ReplicaError::NotWhole);
        }
        Ok(replica)
    }

    /// Mends the copy with the parts of a difference: afterwards it stands
    /// where they say, on the line of that epoch.
    ///
    /// # Errors
    /// When parts are missing.
    pub fn mend(&mut self, snapshot: Snapshot) -> Result<(), ReplicaError> {
        let (at, parts) = snapshot.finish()?;
        // Which edit changed what is not known, but all that was changed since
        // the last edit of the old copy is named: counted under the last one.
        for part in parts {
            for handle in part.gone {
                self.touched.push(at.seq, handle);
                self.remove(handle);
            }
            for ObjectAt { handle, object } in part.objects {
                self.touched.push(at.seq, handle);
                self.put(handle, object);
            }
        }
        self.at = at;
        self.line = at.epoch;
        Ok(())
    }

    /// The server says that the copy is on the line that leads to `epoch`, of
    /// which edits up to `durable` are durable.
    pub fn joins(&mut self, epoch: Epoch, durable: Seq) {
        self.line = epoch;
        self.durable(durable);
    }

    /// The server says that edits of the copy's line up to `seq` are durable.
    pub fn durable(&mut self, seq: Seq) {
        self.durable = self.durable.max(seq.min(self.at.seq));
        self.touched.durable(self.durable);
    }

    /// Takes the copy of a part of the brane to another part: afterwards it is
    /// of `scope` and stands where the parts say.
    ///
    /// # Errors
    /// When parts are missing, or are of a position before the copy's.
    pub fn show(&mut self, snapshot: Snapshot, scope: Scope) -> Result<(), ReplicaError> {
        let (at, parts) = snapshot.finish()?;
        if self.scope.is_none() {
            return Err(ReplicaError::Scope);
        }
        self.check_joins(at.epoch, self.at.seq, at.seq)?;
        let gone = parts.iter().flat_map(|part| part.gone.iter().copied()).collect();
        self.remove_under(&gone);
        for ObjectAt { handle, object } in parts.into_iter().flat_map(|part| part.objects) {
            self.put(handle, object);
        }
        self.scope = Some(scope);
        self.at = at;
        Ok(())
    }

    /// Moves the copy of a part of the brane on by a window.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub fn apply_area(&mut self, flush: &AreaFlush) -> Result<(), ReplicaError> {
        if self.scope.is_none() {
            return Err(ReplicaError::Scope);
        }
        self.check_joins(flush.epoch, flush.from, flush.to)?;
        for item in flush.cells.iter().flatten() {
            self.apply_item(flush.from, item)?;
        }
        self.remove_under(&flush.left.iter().copied().collect());
        for ObjectAt { handle, object } in &flush.entered {
            self.put(*handle, object.clone());
        }
        self.at = Position { epoch: flush.epoch, seq: flush.to };
        self.durable(flush.durable);
        Ok(())
    }

    /// Moves the copy on by a window.
    ///
    /// # Errors
    /// When the window does not start where the copy stands or does not fit
    /// it. Then the copy is good for nothing.
    pub fn apply(&mut self, flush: &Flush) -> Result<(), ReplicaError> {
        if self.scope.is_some() {
            return Err(ReplicaError::Scope);
        }
        self.check_joins(flush.epoch, flush.from, flush.to)?;
        let mut seq = flush.from;
        for item in &flush.items {
            seq = self.apply_item(seq, item)?;
        }
        if seq != flush.to {
            return Err(ReplicaError::Range {
                range: flush.to.0 - flush.from.0,
                items: seq.0.saturating_sub(flush.from.0),
            });
        }
        self.at = Position { epoch: flush.epoch, seq };
        self.durable(flush.durable);
        Ok(())
    }

    /// What the copy is of; `None`: the whole brane.
    pub fn scope(&self) -> Option<Scope> {
        self.scope
    }

    /// Where the copy stands.
    pub fn position(&self) -> Position {
        self.at
    }

    /// Handles changed after the last durable edit known, ascending; `None`
    /// when there were too many to count, and for a copy of a part, which is
    /// not mended.
    pub fn touched(&self) -> Option<Vec<Handle>> {
        if self.scope.is_some() { None } else { self.touched.since(self.durable) }
    }

    /// An object by its handle.
    pub fn get(&self, handle: Handle) -> Option<&Object> {
        self.objects.get(&handle).map(|entry| &entry.object)
    }

    /// The properties that an object has: its own and, where the brane follows
    /// its prototype, the defaults.
    pub fn in_effect(&self, handle: Handle) -> Option<Props> {
        let object = self.get(handle)?;
        let with_defaults = self.get(Handle::ROOT).and_then(|root| object.in_effect(&root.props));
        Some(with_defaults.unwrap_or_else(|| object.props.clone()))
    }

    /// The handle of an object. Looks at all of them.
    pub fn find(&self, id: ObjectId) -> Option<Handle> {
        self.objects.iter().find(|(_, entry)| entry.object.id == id).map(|(handle, _)| *handle)
    }

    /// How many objects there are, the root included.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Never: a copy has a root.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// All handles, ascending.
    pub fn handles(&self) -> Vec<Handle> {
        let mut handles: Vec<Handle> = self.objects.keys().copied().collect();
        handles.sort_unstable();
        handles
    }

    /// The state hash, of what the copy holds. Costs as much as was changed since it was last asked for.
    pub fn state_hash(&mut self) -> StateHash {
        for handle in std::mem::take(&mut self.unhashed) {
            if let Some(entry) = self.objects.get_mut(&handle).filter(|entry| entry.changed) {
                entry.digest = object_digest(handle, &entry.object);
                entry.changed = false;
                self.hash.add(entry.digest);
            }
        }
        self.hash
    }

    fn check_joins(&self, epoch: Epoch, from: Seq, to: Seq) -> Result<(), ReplicaError> {
        let on_line = epoch == self.at.epoch || (epoch > self.at.epoch && epoch <= self.line);
        if on_line && from == self.at.seq && to >= from {
            Ok(())
        } else {
            Err(ReplicaError::Gap { at: self.at, epoch, from })
        }
    }

    /// Applies an item whose first edit is the one after `seq`; gives the last.
    fn apply_item(&mut self, mut seq: Seq, item: &FlushItem) -> Result<Seq, ReplicaError> {
        match item {
            FlushItem::Moves(moves) => {
                for one in moves {
                    seq = seq.next();
                    self.move_to(seq, one.handle, &one.patch)?;
                }
                Ok(seq)
            }
            FlushItem::Event(WireEvent { changes, .. }) => {
                for change in changes {
                    self.apply_change(seq.next(), change)?;
                }
                Ok(seq.next())
            }
            FlushItem::Skip(count) => Ok(Seq(seq.0.saturating_add(*count))),
        }
    }

    fn apply_change(&mut self, seq: Seq, change: &WireChange) -> Result<(), ReplicaError> {
        match change {
            WireChange::Created(new) => {
                if self.objects.contains_key(&new.handle) {
                    return Err(ReplicaError::Exists(new.handle));
                }
                self.check_group(new.object.parent)?;
                self.put(new.handle, new.object.clone());
                self.touched.push(seq, new.handle);
                Ok(())
            }
            WireChange::Updated { handle, patch } => self.update(seq, *handle, patch),
            WireChange::Moved(one) => self.move_to(seq, one.handle, &one.patch),
            WireChange::Reparented { handle, to } => {
                self.check_group(to.parent)?;
                let object = self.change(seq, *handle)?;
                object.parent = to.parent;
                object.transform = to.transform;
                Ok(())
            }
            WireChange::Deleted { handles } => handles.iter().try_for_each(|handle| {
                self.touched.push(seq, *handle);
                // Something in what is deleted may not have been shown here.
                let is_part = self.scope.is_some();
                let was_there = self.remove(*handle) || is_part;
                was_there.then_some(()).ok_or(ReplicaError::Missing(*handle))
            }),
        }
    }

    fn update(&mut self, seq: Seq, handle: Handle, patch: &PropsPatch) -> Result<(), ReplicaError> {
        let object = self.change(seq, handle)?;
        // Without limits a patch always fits.
        if let Ok((props, _)) = object.props.patched(patch, &ANY_VALUE) {
            object.props = props;
        }
        Ok(())
    }

    fn move_to(&mut self, seq: Seq, handle: Handle, patch: &MovePatch) -> Result<(), ReplicaError> {
        let object = self.change(seq, handle)?;
        object.transform = patch.apply(&object.transform);
        Ok(())
    }

    fn check_group(&self, handle: Handle) -> Result<(), ReplicaError> {
        match self.get(handle).map(|object| object.kind) {
            Some(Kind::Group) => Ok(()),
            Some(Kind::Block) => Err(ReplicaError::NotGroup(handle)),
            None => Err(ReplicaError::Missing(handle)),
        }
    }

    /// An object that the edit at `seq` changes.
    fn change(&mut self, seq: Seq, handle: Handle) -> Result<&mut Object, ReplicaError> {
        let entry = self.objects.get_mut(&handle).ok_or(ReplicaError::Missing(handle))?;
        self.touched.push(seq, handle);
        if !entry.changed {
            entry.changed = true;
            self.hash.remove(entry.digest);
            self.unhashed.push(handle);
        }
        Ok(&mut entry.object)
    }

    fn put(&mut self, handle: Handle, object: Object) {
        match self.objects.entry(handle) {
            MapEntry::Occupied(mut occupied) => {
                let entry = occupied.get_mut();
                entry.object = object;
                if !entry.changed {
                    entry.changed = true;
                    self.hash.remove(entry.digest);
                    self.unhashed.push(handle);
                }
            }
            MapEntry::Vacant(vacant) => {
                vacant.insert(Entry { object, digest: [0; 16], changed: true });
                self.unhashed.push(handle);
            }
        }
        self.trim_unhashed();
    }

    fn remove(&mut self, handle: Handle) -> bool {
        let Some(entry) = self.objects.remove(&handle) else { return false };
        if !entry.changed {
            self.hash.remove(entry.digest);
        }
        true
    }

    /// Drops these objects and all that hangs under them.
    fn remove_under(&mut self, tops: &FxHashSet<Handle>) {
        if tops.is_empty() {
            return;
        }
        let objects = &self.objects;
        let is_under = |handle: Handle| {
            let mut at = handle;
            loop {
                match objects.get(&at) {
                    _ if tops.contains(&at) => return true,
                    Some(entry) if at != Handle::ROOT => at = entry.object.parent,
                    _ => return false,
                }
            }
        };
        let gone: Vec<_> = objects.keys().copied().filter(|handle| is_under(*handle)).collect();
        for handle in gone {
            self.remove(handle);
        }
    }

    /// Objects that come and go between two hashes must not pile up here.
    fn trim_unhashed(&mut self) {
        if self.unhashed.len() > 2 * self.objects.len() + 1024 {
            let objects = &self.objects;
            self.unhashed.retain(|handle| objects.get(handle).is_some_and(|entry| entry.changed));
        }
    }
}

/// The parts of a snapshot, collected until the last one is there: a copy is
/// never left half mended.
#[derive(Debug, Default)]
pub struct Snapshot {
    parts: Vec<SnapshotPart>,
}

impl Snapshot {
    /// Takes the next part; says whether it was the last.
    ///
    /// # Errors
    /// When it is not the part that was due.
    pub fn add(&mut self, part: SnapshotPart) -> Result<bool, ReplicaError> {
        let expected = u32::try_from(self.parts.len()).unwrap_or(u32::MAX);
        if part.index != expected {
            return Err(ReplicaError::Part { expected, got: part.index });
        }
        if self.parts.first().is_some_and(|first| first.at != part.at) {
            return Err(ReplicaError::MixedSnapshot);
        }
        let last = part.last;
        self.parts.push(part);
        Ok(last)
    }

    fn finish(self) -> Result<(Position, Vec<SnapshotPart>), ReplicaError> {
        let count = u32::try_from(self.parts.len()).unwrap_or(u32::MAX);
        match self.parts.last() {
            Some(part) if part.last => Ok((part.at, self.parts)),
            _ => Err(ReplicaError::Part { expected: count, got: count }),
        }
    }
}
