//! A copy of a world, as a log from which another brane begins.
//!
//! The copy has all objects of one moment, under new ids and handles, in its
//! journal: chunks are the truth there as in every brane. What refers to an
//! object by its id follows ([`Renaming`]). Rights, rulings and what became of
//! whose edits stay behind.

use avvy_model::{
    Change, Changes, ClientId, Counter, EditId, Event, Grid, Handle, Object, ObjectAt, PropKey,
    Props, PropsPatch, Renaming, Seq, TraceId, UserId, Value, ValueLimits, weight,
};

use crate::pages::Frozen;

/// Bytes of an event, as [`weight`] counts them, from which it takes no more
/// objects: about those of a window.
const EVENT_BYTES: usize = 240 * 1024;

/// Whose copy it is, and how it is told in its log.
#[derive(Clone, Debug)]
pub struct CopyOf {
    /// The ids.
    pub renaming: Renaming,
    /// To whom the copy belongs; the objects stay whose they were.
    pub owner: UserId,
    /// Under which the events are written; drawn for the copy.
    pub client: ClientId,
    /// When, in Unix milliseconds.
    pub at_ms: u64,
    /// The request's.
    pub trace: Option<TraceId>,
}

/// A world that is being copied.
pub struct Copying {
    from: Frozen,
    of: CopyOf,
    grid: Grid,
    /// The objects, parents before children, each with its parent's handle in
    /// the copy; the root is not among them.
    order: Vec<(Handle, Handle)>,
    /// How many of them are done.
    done: usize,
    seq: Seq,
    /// What the root's properties become.
    root: Option<Change>,
}

impl Copying {
    /// Begins. Takes time and 16 bytes of memory for each object.
    pub fn new(from: Frozen, of: CopyOf) -> Self {
        let root = from.get(Handle::ROOT);
        let grid = root.map(Grid::of_root).unwrap_or_default();
        let root =
            root.and_then(|root| becomes(&grid.root_props(), &of.renaming.props(&root.props)));
        let order = parents_first(&from);
        Self { from, of, grid, order, done: 0, seq: Seq(0), root }
    }

    /// The grid of the copy's record.
    pub const fn grid(&self) -> Grid {
        self.grid
    }

    /// The next event of the copy's log; `None` when all is in it.
    pub fn next_event(&mut self) -> Option<Event> {
        let mut changes = Changes::new();
        let mut bytes = weight::EVENT;
        if let Some(root) = self.root.take() {
            bytes += weight::change(&root);
            changes.push(root);
        }
        while bytes < EVENT_BYTES
            && let Some((old, parent)) = self.order.get(self.done).copied()
            && let Some(object) = self.from.get(old)
        {
            self.done += 1;
            let created = Change::Created(Box::new(self.created(object, parent)));
            bytes += weight::change(&created);
            changes.push(created);
        }
        if changes.is_empty() {
            return None;
        }
        self.seq = self.seq.next();
        let CopyOf { owner, client, at_ms, trace, .. } = self.of;
        let edit = EditId { client, counter: Counter(self.seq.0) };
        Some(Event { seq: self.seq, at_ms, by: owner, edit, trace, changes })
    }

    /// The copy of the object that is the last one done.
    fn created(&self, object: &Object, parent: Handle) -> ObjectAt {
        let object = Object {
            id: self.of.renaming.object(object.id),
            parent,
            props: self.of.renaming.props(&object.props),
            ..object.clone()
        };
        // There are no more than there are handles.
        ObjectAt { handle: Handle(self.done as u32), object }
    }
}

/// The change of a root with the properties `before` that gives it these; `None`
/// if it has them.
fn becomes(before: &Props, after: &Props) -> Option<Change> {
    let entry = |(key, value)| {
        let key = PropKey::new(key, &ValueLimits::NONE).ok()?;
        Some((key, Some(Value::from_canonical(value).ok()?)))
    };
    let after = PropsPatch::new(after.iter().filter_map(entry).collect()).ok()?;
    let (now, before_patch) = before.patched(&after, &ValueLimits::NONE).ok()?;
    let change = Change::Updated { handle: Handle::ROOT, before: before_patch, after };
    (now != *before).then_some(change)
}

/// All objects but the root, parents before children, with the handle that the
/// parent has when they are given out in this order.
fn parents_first(from: &Frozen) -> Vec<(Handle, Handle)> {
    let objects = from.iter().filter(|(handle, _)| *handle != Handle::ROOT);
    let mut by_parent: Vec<(Handle, Handle)> =
        objects.map(|(handle, object)| (object.parent, handle)).collect();
    by_parent.sort_unstable();
    let mut order = Vec::with_capacity(by_parent.len());
    let mut open = 0;
    let mut parent = (Handle::ROOT, Handle::ROOT);
    loop {
        let (old, new) = parent;
        let first = by_parent.partition_point(|(parent, _)| *parent < old);
        let children = by_parent[first..].iter().take_while(|(parent, _)| *parent == old);
        order.extend(children.map(|(_, child)| (*child, new)));
        let Some((next, _)) = order.get(open).copied() else { return order };
        open += 1;
        // There are no more than there are handles.
        parent = (next, Handle(open as u32));
    }
}
