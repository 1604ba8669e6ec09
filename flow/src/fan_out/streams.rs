//! Live sessions, by what they see. Those who see the same are one *stream*:
//! they stand at the same position and are handed the same frames.

use avvy_model::{Seq, View};
use rustc_hash::FxHashMap;

use crate::SessionKey;

/// A session that has everything up to the head that its stream shows.
pub(super) struct Live<W> {
    pub(super) wire: W,
    pub(super) key: SessionKey,
}

/// Sessions with one view.
pub(super) struct Stream<W> {
    /// `None`: the whole brane.
    pub(super) view: Option<View>,
    /// Where its sessions stand. Behind `seen` when nothing that happened
    /// since shows in the view.
    pub(super) since: Seq,
    /// Up to where windows were looked at for it. Behind the head while the
    /// stream waits for its turn.
    pub(super) seen: Seq,
    /// When it was last handed something.
    pub(super) sent_us: u64,
    /// Whether something is held for one of its sessions.
    pub(super) holds: bool,
    pub(super) live: Vec<Live<W>>,
}

impl<W> Stream<W> {
    fn new(view: Option<View>, head: Seq, now_us: u64) -> Self {
        let live = Vec::new();
        Self { view, since: head, seen: head, sent_us: now_us, holds: false, live }
    }
}

/// A live session's place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LivePlace {
    pub(super) stream: usize,
    pub(super) index: usize,
}

/// All streams. The first, of the whole brane, is always there; the others
/// while they have sessions.
pub(super) struct Streams<W> {
    streams: Vec<Stream<W>>,
    by_view: FxHashMap<View, usize>,
    count: usize,
}

impl<W> Streams<W> {
    pub(super) fn new(head: Seq) -> Self {
        Self { streams: vec![Stream::new(None, head, 0)], by_view: FxHashMap::default(), count: 0 }
    }

    /// How many sessions are live.
    pub(super) fn live(&self) -> usize {
        self.count
    }

    /// How many views of parts there are.
    pub(super) fn views(&self) -> usize {
        self.by_view.len()
    }

    pub(super) fn len(&self) -> usize {
        self.streams.len()
    }

    pub(super) fn get(&self, stream: usize) -> &Stream<W> {
        &self.streams[stream]
    }

    pub(super) fn get_mut(&mut self, stream: usize) -> &mut Stream<W> {
        &mut self.streams[stream]
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream<W>> {
        self.streams.iter_mut()
    }

    pub(super) fn wire_mut(&mut self, place: LivePlace) -> &mut W {
        &mut self.streams[place.stream].live[place.index].wire
    }

    /// The streams that wait for their turn, those that wait longest first.
    pub(super) fn waiting(&self, head: Seq) -> Vec<usize> {
        let behind = |(index, stream): (usize, &Stream<W>)| {
            (stream.view.is_some() && stream.seen < head).then_some((stream.seen, index))
        };
        let mut waiting: Vec<_> = self.streams.iter().enumerate().filter_map(behind).collect();
        waiting.sort_unstable();
        waiting.into_iter().map(|(_, index)| index).collect()
    }

    /// The stream of a view, if there is one.
    pub(super) fn find(&self, view: Option<View>) -> Option<usize> {
        view.map_or(Some(0), |view| self.by_view.get(&view).copied())
    }

    /// The stream of a view, made if there is none; such a one stands at `head`.
    pub(super) fn of(&mut self, view: Option<View>, head: Seq, now_us: u64) -> usize {
        let Some(view) = view else { return 0 };
        *self.by_view.entry(view).or_insert_with(|| {
            self.streams.push(Stream::new(Some(view), head, now_us));
            self.streams.len() - 1
        })
    }

    pub(super) fn add(&mut self, stream: usize, live: Live<W>) -> LivePlace {
        self.count += 1;
        let sessions = &mut self.streams[stream].live;
        sessions.push(live);
        LivePlace { stream, index: sessions.len() - 1 }
    }

    /// Takes a session out. `moved` is told of each that has another place now.
    pub(super) fn take(
        &mut self,
        place: LivePlace,
        mut moved: impl FnMut(SessionKey, LivePlace),
    ) -> Live<W> {
        let LivePlace { stream, index } = place;
        self.count -= 1;
        let sessions = &mut self.streams[stream].live;
        let taken = sessions.swap_remove(index);
        if let Some(live) = sessions.get(index) {
            moved(live.key, place);
        }
        if sessions.is_empty() {
            self.close(stream, moved);
        }
        taken
    }

    /// Lets go of a stream without sessions.
    fn close(&mut self, stream: usize, mut moved: impl FnMut(SessionKey, LivePlace)) {
        let Some(view) = self.streams[stream].view else { return };
        self.by_view.remove(&view);
        self.streams.swap_remove(stream);
        let Some(last) = self.streams.get(stream) else { return };
        if let Some(view) = last.view {
            self.by_view.insert(view, stream);
        }
        for (index, live) in last.live.iter().enumerate() {
            moved(live.key, LivePlace { stream, index });
        }
    }
}
