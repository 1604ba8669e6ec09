//! Parts of snapshots, encoded once for all sessions that start from the same
//! view with the same selection: after a restart thousands come back at once,
//! and stand at few positions.
//!
//! What is encoded is kept up to a bound in bytes, the newest. A crowd that
//! reads side by side moves along with it. For a session that is further
//! behind, parts are encoded again; where each begins is remembered. A view is
//! let go of when nobody reads it and nobody can start from it any more, or
//! nobody has for a while.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use avvy_model::{Handle, Object, ObjectAt, Seq};
use avvy_protocol::codec::encode_server;
use avvy_protocol::frame::Frame;
use avvy_protocol::{Channel, ServerMessage, SnapshotPart, ViewPart};

use crate::brane_core::{Parts, Selection};

/// How snapshots are cut, and what is kept of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartsConfig {
    /// Estimated bytes at which a part ends. Default 128 KiB.
    pub part_bytes: usize,
    /// Objects that are looked at for one part, where few may belong in it.
    /// Default 32,768.
    pub max_looked_at: u32,
    /// Encoded bytes that are kept for several sessions. Default 16 MiB. What
    /// is beyond is encoded again for each session that needs it.
    pub max_kept_bytes: usize,
}

impl Default for PartsConfig {
    fn default() -> Self {
        Self { part_bytes: 128 * 1024, max_looked_at: 32_768, max_kept_bytes: 16 * 1024 * 1024 }
    }
}

/// The parts of all views of one brane. Cloning shares them.
#[derive(Clone)]
pub struct SharedParts(Arc<Mutex<Shelf>>);

struct Shelf {
    channel: Channel,
    config: PartsConfig,
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
    /// When the first session started from it: what its parts are stamped with.
    begun_ms: u64,
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
pub struct PartFrames {
    shared: SharedParts,
    view: u64,
    index: u32,
}

impl SharedParts {
    /// Of a brane, with nothing in it.
    pub fn new(channel: Channel, config: PartsConfig) -> Self {
        Self(Arc::new(Mutex::new(Shelf {
            channel,
            config,
            views: BTreeMap::new(),
            next_view: 0,
            kept: VecDeque::new(),
            kept_bytes: 0,
            encoded: 0,
        })))
    }

    /// For a session that starts from this view, at a Unix time in
    /// milliseconds.
    pub fn start(&self, now_ms: u64, parts: Parts) -> PartFrames {
        let mut shelf = self.shelf();
        let known = shelf.views.iter().find(|(_, view)| view.is_of(&parts)).map(|(id, _)| *id);
        let view = known.unwrap_or_else(|| shelf.add(now_ms, parts));
        if let Some(started) = shelf.views.get_mut(&view) {
            started.readers += 1;
            started.is_fresh = true;
        }
        PartFrames { shared: self.clone(), view, index: 0 }
    }

    /// The log went on: nobody starts from a view of before any more.
    pub fn passed(&self, head: Seq) {
        self.shelf().retain(|view| view.readers > 0 || view.parts.at.seq >= head);
    }

    /// Lets go of views that nobody reads and nobody has started from since
    /// the last call.
    pub fn tidy(&self) {
        let mut shelf = self.shelf();
        shelf.retain(|view| view.readers > 0 || view.is_fresh);
        shelf.views.values_mut().for_each(|view| view.is_fresh = false);
    }

    /// Whether there is no view.
    pub fn is_empty(&self) -> bool {
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
    fn add(&mut self, begun_ms: u64, parts: Parts) -> u64 {
        let id = self.next_view;
        self.next_view += 1;
        let view = View {
            parts,
            begun_ms,
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
        let frame = view.encode(self.channel, &self.config, index)?;
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
        while self.kept_bytes > self.config.max_kept_bytes {
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

    fn encode(&mut self, channel: Channel, config: &PartsConfig, index: u32) -> Option<Frame> {
        let start = *self.starts.get(index as usize)?;
        let (objects, next) = self.objects(config, start);
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
        Some(Frame::binary(&encode_server(&message, self.begun_ms)))
    }

    /// The objects of the part that begins at `start`, and where the next one
    /// begins.
    fn objects(&self, config: &PartsConfig, start: u32) -> (Vec<ObjectAt>, Option<u32>) {
        let Parts { frozen, selection, .. } = &self.parts;
        let (mut objects, mut bytes) = (Vec::new(), 0);
        // Takes an object; whether the part is full with it.
        let mut take = |handle: Handle, object: &Object| {
            objects.push(ObjectAt { handle, object: object.clone() });
            bytes += 128 + object.props.as_bytes().len();
            bytes >= config.part_bytes
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
                    is_full || *looked_at == config.max_looked_at
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
