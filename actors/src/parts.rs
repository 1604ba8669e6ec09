//! Parts of snapshots, encoded once for all sessions that start from the same
//! view with the same selection: after a restart thousands come back at once,
//! and stand at few positions.
//!
//! What is encoded is kept up to a bound in bytes, the newest. A crowd that
//! reads side by side moves along with it. For a session that is further
//! behind, parts are encoded again; where each begins is remembered. A view is
//! let go of when nobody reads it and nobody can start from it any more, or
//! nobody has for a while.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use avvy_flow::brane_core::{Parts, Selection};
use avvy_model::{Handle, Object, ObjectAt, Seq};
use avvy_protocol::codec::encode_server;
use avvy_protocol::frame::Frame;
use avvy_protocol::{Channel, ServerMessage, SnapshotPart, ViewPart};

use crate::clock;

/// Estimated bytes at which a part ends.
const PART_BYTES: usize = 128 * 1024;

/// Objects that are looked at for one part, where few may belong in it.
const MAX_LOOKED_AT: u32 = 32_768;

/// The parts of all views of one brane. Cloning shares them.
#[derive(Clone)]
pub(crate) struct SharedParts(Arc<Mutex<Shelf>>);

struct Shelf {
    channel: Channel,
    max_bytes: usize,
    views: BTreeMap<u64, View>,
    next_view: u64,
    /// Encoded parts that are at hand, the oldest first.
    kept: VecDeque<(u64, u32)>,
    kept_bytes: usize,
    /// How often a part was encoded.
    encoded: u64,
}

/// What sessions start from.
struct View {
    parts: Parts,
    /// Where each part begins, as far as that is known: the next handle of the
    /// world, or the place in the list of handles. The last one is where the
    /// next part begins that was never encoded.
    starts: Vec<u32>,
    /// How many parts there are, once the last one was encoded.
    count: Option<u32>,
    /// By number; `None`: encoded once and not kept.
    frames: Vec<Option<Frame>>,
    readers: usize,
    /// Whether somebody has started from it since it was last looked at.
    is_fresh: bool,
}

/// The parts of one view for one session, one after the other.
pub(crate) struct PartFrames {
    shared: SharedParts,
    view: u64,
    index: u32,
}

impl SharedParts {
    /// Keeps at most so many bytes at hand.
    pub(crate) fn new(channel: Channel, max_bytes: usize) -> Self {
        Self(Arc::new(Mutex::new(Shelf {
            channel,
            max_bytes,
            views: BTreeMap::new(),
            next_view: 0,
            kept: VecDeque::new(),
            kept_bytes: 0,
            encoded: 0,
        })))
    }

    /// For a session that starts from this view.
    pub(crate) fn start(&self, parts: Parts) -> PartFrames {
        let mut shelf = self.shelf();
        let known = shelf.views.iter().find(|(_, view)| view.is_of(&parts)).map(|(id, _)| *id);
        let view = known.unwrap_or_else(|| shelf.add(parts));
        if let Some(started) = shelf.views.get_mut(&view) {
            started.readers += 1;
            started.is_fresh = true;
        }
        PartFrames { shared: self.clone(), view, index: 0 }
    }

    /// The log went on: nobody starts from a view of before any more.
    pub(crate) fn passed(&self, head: Seq) {
        self.shelf().retain(|view| view.readers > 0 || view.parts.at.seq >= head);
    }

    /// Lets go of views that nobody reads and nobody has started from since
    /// the last call.
    pub(crate) fn tidy(&self) {
        let mut shelf = self.shelf();
        shelf.retain(|view| view.readers > 0 || view.is_fresh);
        shelf.views.values_mut().for_each(|view| view.is_fresh = false);
    }

    /// Whether there is no view.
    pub(crate) fn is_empty(&self) -> bool {
        self.shelf().views.is_empty()
    }

    /// Nothing under this lock can panic halfway through a change.
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Iterator for PartFrames {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        let frame = self.shared.shelf().part(self.view, self.index)?;
        self.index += 1;
        Some(frame)
    }
}

impl Drop for PartFrames {
    fn drop(&mut self) {
        if let Some(view) = self.shared.shelf().views.get_mut(&self.view) {
            view.readers -= 1;
        }
    }
}

impl Shelf {
    fn add(&mut self, parts: Parts) -> u64 {
        let id = self.next_view;
        self.next_view += 1;
        let view = View {
            parts,
            starts: vec![0],
            count: None,
            frames: Vec::new(),
            readers: 0,
            is_fresh: true,
        };
        self.views.insert(id, view);
        id
    }

    /// A part; `None` after the last one.
    fn part(&mut self, id: u64, index: u32) -> Option<Frame> {
        let view = self.views.get_mut(&id)?;
        if view.count == Some(index) {
            return None;
        }
        if let Some(Some(frame)) = view.frames.get(index as usize) {
            return Some(frame.clone());
        }
        let frame = view.encode(self.channel, index)?;
        self.encoded += 1;
        self.keep(id, index, frame.clone());
        Some(frame)
    }

    fn keep(&mut self, id: u64, index: u32, frame: Frame) {
        let Some(view) = self.views.get_mut(&id) else { return };
        self.kept_bytes += frame.as_wire().len();
        self.kept.push_back((id, index));
        let index = index as usize;
        if view.frames.len() <= index {
            view.frames.resize(index + 1, None);
        }
        view.frames[index] = Some(frame);
        while self.kept_bytes > self.max_bytes {
            let Some((id, index)) = self.kept.pop_front() else { break };
            let frames = self.views.get_mut(&id).map(|view| &mut view.frames);
            let dropped = frames.and_then(|frames| frames.get_mut(index as usize)?.take());
            self.kept_bytes -= dropped.map_or(0, |frame| frame.as_wire().len());
        }
    }

    fn retain(&mut self, stays: impl Fn(&View) -> bool) {
        let Self { views, kept, kept_bytes, .. } = self;
        if views.is_empty() {
            return;
        }
        views.retain(|_, view| {
            let stays = stays(view);
            if !stays {
                let frames = view.frames.iter().flatten();
                *kept_bytes -= frames.map(|frame| frame.as_wire().len()).sum::<usize>();
            }
            stays
        });
        kept.retain(|(id, _)| views.contains_key(id));
    }
}

impl View {
    /// Whether a session that needs this starts from here. A position has one
    /// state.
    fn is_of(&self, parts: &Parts) -> bool {
        let Parts { at, selection, gone, scope, .. } = &self.parts;
        (at, scope, selection, gone) == (&parts.at, &parts.scope, &parts.selection, &parts.gone)
    }

    fn encode(&mut self, channel: Channel, index: u32) -> Option<Frame> {
        let start = *self.starts.get(index as usize)?;
        let (objects, next) = self.objects(start);
        match next {
            None => self.count = Some(index + 1),
            Some(next) if self.starts.len() == index as usize + 1 => self.starts.push(next),
            Some(_) => {}
        }
        let gone = if index == 0 { self.parts.gone.to_vec() } else { Vec::new() };
        let (at, last) = (self.parts.at, next.is_none());
        let part = SnapshotPart { channel, at, index, last, objects, gone };
        let message = match self.parts.scope {
            Some(scope) => ServerMessage::View(ViewPart { scope, part }),
            None => ServerMessage::Snapshot(part),
        };
        Some(Frame::binary(&encode_server(&message, clock::unix_ms())))
    }

    /// The objects of the part that begins at `start`, and where the next one
    /// begins.
    fn objects(&self, start: u32) -> (Vec<ObjectAt>, Option<u32>) {
        let Parts { frozen, selection, .. } = &self.parts;
        let (mut objects, mut bytes) = (Vec::new(), 0);
        // Takes an object; whether the part is full with it.
        let mut take = |handle: Handle, object: &Object| {
            objects.push(ObjectAt { handle, object: object.clone() });
            bytes += 128 + object.props.as_bytes().len();
            bytes >= PART_BYTES
        };
        let next = match selection {
            Selection::All => {
                let mut full = frozen.iter_from(Handle(start)).filter(|(h, o)| take(*h, o));
                full.next().map(|(handle, _)| handle.0 + 1)
            }
            Selection::Region(grid, region) => {
                let all = frozen.iter_from(Handle(start)).zip(1..);
                let mut full = all.filter(|((handle, object), looked_at)| {
                    let is_full = frozen.is_in(*grid, *handle, region) && take(*handle, object);
                    is_full || *looked_at == MAX_LOOKED_AT
                });
                full.next().map(|((handle, _), _)| handle.0 + 1)
            }
            Selection::Listed(handles) => {
                let found = handles.iter().zip(1..).skip(start as usize);
                let mut full = found.filter(|(h, _)| frozen.get(**h).is_some_and(|o| take(**h, o)));
                full.next().map(|(_, next)| next)
            }
        };
        (objects, next)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use avvy_brane::{RoleRights, World};
    use avvy_model::{
        BraneId, Edit, Epoch, Kind, ObjectId, Operation, Position, Principal, PropKey, Props, Role,
        Target, Transform, UserId, Value, ValueLimits, WorldLimits,
    };
    use avvy_protocol::codec::decode_server;

    use super::*;

    /// A world of so many blocks, each with more than 8 KB.
    fn world(blocks: u64) -> World {
        let who = Principal { user: UserId::from_bytes([1; 16]), role: Role::Owner };
        let mut world = World::new(BraneId::from_bytes([2; 16]), who.user);
        let limits = ValueLimits::default();
        let text = (PropKey::new("text", &limits).unwrap(), Value::text(&"x".repeat(8_100)));
        let props = Props::from_entries(vec![text], &limits).unwrap();
        for n in 1..=blocks {
            let create = Operation::Create {
                id: ObjectId::from_bytes(u128::from(n).to_be_bytes()),
                parent: Target::Handle(Handle::ROOT),
                kind: Kind::Block,
                transform: Transform::IDENTITY,
                props: props.clone(),
            };
            let edit = Edit::One(create);
            world.apply(Seq(n), &who, &edit, &RoleRights, &WorldLimits::default()).unwrap();
        }
        world
    }

    fn whole(world: &World) -> Parts {
        let at = Position { epoch: Epoch(1), seq: world.seq() };
        let (frozen, selection) = (world.freeze(), Selection::All);
        Parts { frozen, selection, gone: Arc::from([]), at, scope: None }
    }

    fn some(world: &World, handles: &[u32]) -> Parts {
        let handles = handles.iter().map(|handle| Handle(*handle)).collect();
        let selection = Selection::Listed(handles);
        Parts { selection, gone: Arc::from([Handle(999)]), ..whole(world) }
    }

    fn part(frame: &Frame) -> SnapshotPart {
        match decode_server(frame.payload()).unwrap() {
            ServerMessage::Snapshot(part) => part,
            other => panic!("{other:?}"),
        }
    }

    /// Checks that the parts are those of one snapshot; the handles in them.
    fn handles(frames: &[Frame]) -> Vec<u32> {
        let parts: Vec<_> = frames.iter().map(part).collect();
        for (index, part) in parts.iter().enumerate() {
            let last = index + 1 == parts.len();
            assert_eq!((part.index as usize, part.last), (index, last));
            assert!(index == 0 || part.gone.is_empty());
        }
        parts.iter().flat_map(|part| part.objects.iter().map(|object| object.handle.0)).collect()
    }

    #[test]
    fn sessions_that_start_from_one_view_get_the_same_bytes() {
        let world = world(60);
        let shared = SharedParts::new(Channel(7), 1 << 20);
        let mut first = shared.start(whole(&world));
        let begun = first.next().unwrap();
        let rest: Vec<_> = first.collect();
        let frames: Vec<_> = [begun].into_iter().chain(rest).collect();
        assert_eq!(handles(&frames), (0..=60).collect::<Vec<_>>());
        for _ in 0..3 {
            let again: Vec<_> = shared.start(whole(&world)).collect();
            let same = |(a, b): (&Frame, &Frame)| a.as_wire().as_ptr() == b.as_wire().as_ptr();
            assert!(again.len() == frames.len() && again.iter().zip(&frames).all(same));
        }
        assert_eq!(shared.shelf().encoded, frames.len() as u64);
    }

    #[test]
    fn another_selection_or_position_is_another_view() {
        let (small, large) = (world(2), world(3));
        let shared = SharedParts::new(Channel(7), 1 << 20);
        let selections = [whole(&small), some(&small, &[1]), some(&small, &[2]), whole(&large)];
        let expected = [vec![0, 1, 2], vec![1], vec![2], vec![0, 1, 2, 3]];
        for (parts, expected) in selections.into_iter().zip(expected) {
            let gone = parts.gone.clone();
            let frames: Vec<_> = shared.start(parts).collect();
            assert_eq!(handles(&frames), expected);
            assert_eq!(part(&frames[0]).gone[..], gone[..]);
        }
        assert_eq!(shared.shelf().views.len(), 4);
    }

    #[test]
    fn who_is_far_behind_has_parts_encoded_alone_and_memory_is_bounded() {
        let world = world(200);
        let bound = 500_000;
        let shared = SharedParts::new(Channel(7), bound);
        let mut slow = shared.start(whole(&world));
        let mut slow_frames = vec![slow.next().unwrap()];
        let quick: Vec<_> = shared.start(whole(&world)).collect();
        let twin: Vec<_> = shared.start(some(&world, &[5, 6, 7])).collect();
        assert!(shared.shelf().kept_bytes <= bound);
        let encoded = shared.shelf().encoded;
        assert_eq!(encoded, quick.len() as u64 + twin.len() as u64);
        slow_frames.extend(slow);
        assert!(shared.shelf().encoded > encoded);
        assert_eq!(handles(&slow_frames), handles(&quick));
        let Shelf { kept, kept_bytes, views, .. } = &*shared.shelf();
        let held = views.values().flat_map(|view| view.frames.iter().flatten());
        let sizes: Vec<_> = held.map(|frame| frame.as_wire().len()).collect();
        assert_eq!((sizes.iter().sum::<usize>(), sizes.len()), (*kept_bytes, kept.len()));
        assert!(*kept_bytes <= bound);
    }

    #[test]
    fn views_are_let_go_of() {
        let world = world(40);
        let shared = SharedParts::new(Channel(7), 1 << 20);
        let reader = shared.start(whole(&world));
        drop(shared.start(some(&world, &[1])));
        shared.passed(Seq(40));
        assert_eq!(shared.shelf().views.len(), 2, "one may still start there");
        shared.passed(Seq(41));
        assert_eq!(shared.shelf().views.len(), 1, "somebody reads it");
        assert_eq!(handles(&reader.collect::<Vec<_>>()).len(), 41);
        assert!(shared.shelf().kept_bytes > 0);
        shared.tidy();
        assert!(!shared.is_empty(), "it was started from lately");
        shared.tidy();
        assert!(shared.is_empty());
        let shelf = shared.shelf();
        assert_eq!((shelf.kept.len(), shelf.kept_bytes), (0, 0));
    }
}
