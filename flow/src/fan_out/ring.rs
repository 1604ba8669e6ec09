//! The recent windows, for those who missed some.

use std::collections::VecDeque;

use avvy_model::{Epoch, Position, Seq};

/// A window of the log, with what it shows to whom.
#[derive(Clone, Debug)]
pub struct Published<T> {
    /// The epoch of the whole range.
    pub epoch: Epoch,
    /// The range is `(from, to]`.
    pub from: Seq,
    /// Its end.
    pub to: Seq,
    /// What the payload weighs in memory.
    pub bytes: usize,
    /// When it was published; set by the fan-out.
    pub at_us: u64,
    /// The encoded window; see [`super::Content`].
    pub payload: T,
}

impl<T> Published<T> {
    /// Where a copy stands after this window.
    pub fn end(&self) -> Position {
        Position { epoch: self.epoch, seq: self.to }
    }
}

/// Windows whose ranges join, oldest first, bounded by number and bytes.
#[derive(Debug)]
pub(super) struct Ring<T> {
    windows: VecDeque<Published<T>>,
    /// Of all windows there are, and of all there ever were.
    bytes: usize,
    total_bytes: u64,
    /// Of each window: the total with it.
    totals: VecDeque<u64>,
    max_windows: usize,
    max_bytes: usize,
}

impl<T> Ring<T> {
    pub(super) fn new(max_windows: usize, max_bytes: usize) -> Self {
        Self {
            windows: VecDeque::new(),
            bytes: 0,
            total_bytes: 0,
            totals: VecDeque::new(),
            max_windows: max_windows.max(1),
            max_bytes,
        }
    }

    /// Adds a window and forgets the oldest beyond the bounds; the newest
    /// stays, however large it is.
    pub(super) fn push(&mut self, window: Published<T>) {
        self.bytes += window.bytes;
        self.total_bytes += window.bytes as u64;
        self.totals.push_back(self.total_bytes);
        self.windows.push_back(window);
        while self.windows.len() > 1
            && (self.bytes > self.max_bytes || self.windows.len() > self.max_windows)
        {
            if let Some(oldest) = self.windows.pop_front() {
                self.bytes -= oldest.bytes;
                self.totals.pop_front();
            }
        }
    }

    /// The windows from the one that begins at `seq` on; `None` when there is
    /// no such window.
    pub(super) fn since(&self, seq: Seq) -> Option<impl Iterator<Item = &Published<T>>> {
        let first = self.windows.partition_point(|window| window.from < seq);
        let joins = self.windows.get(first).is_some_and(|window| window.from == seq);
        joins.then(|| self.windows.range(first..))
    }

    /// The bytes of the windows after `seq`, and when the first of them was
    /// published: of those that are there.
    pub(super) fn debt(&self, seq: Seq) -> Option<(usize, u64)> {
        let first = self.windows.partition_point(|window| window.from < seq);
        let window = self.windows.get(first)?;
        let before = self.totals.get(first)? - window.bytes as u64;
        // They are in memory, so they fit.
        Some(((self.total_bytes - before) as usize, window.at_us))
    }

    /// The newest window.
    pub(super) fn last(&self) -> Option<&Published<T>> {
        self.windows.back()
    }

    /// Where the oldest window begins.
    pub(super) fn floor(&self) -> Option<Seq> {
        self.windows.front().map(|window| window.from)
    }

    pub(super) fn len(&self) -> usize {
        self.windows.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(from: u64, to: u64, bytes: usize) -> Published<u64> {
        let (from, to) = (Seq(from), Seq(to));
        Published { epoch: Epoch(1), from, to, bytes, at_us: 10 * to.0, payload: to.0 }
    }

    fn payloads(ring: &Ring<u64>, seq: u64) -> Option<Vec<u64>> {
        ring.since(Seq(seq)).map(|windows| windows.map(|window| window.payload).collect())
    }

    #[test]
    fn finds_only_boundaries() {
        let mut ring = Ring::new(10, 1_000);
        for (from, to) in [(5, 7), (7, 8), (8, 20)] {
            ring.push(window(from, to, 1));
        }
        assert_eq!(payloads(&ring, 5), Some(vec![7, 8, 20]));
        assert_eq!(payloads(&ring, 8), Some(vec![20]));
        assert_eq!(payloads(&ring, 6), None, "in the middle of a window");
        assert_eq!(payloads(&ring, 4), None, "before the first");
        assert_eq!(payloads(&ring, 20), None, "the head has no window yet");
    }

    #[test]
    fn knows_what_is_owed() {
        let mut ring = Ring::new(2, 1_000);
        assert_eq!(ring.debt(Seq(0)), None);
        for (from, bytes) in [(0, 1), (1, 10), (2, 100)] {
            ring.push(window(from, from + 1, bytes));
        }
        assert_eq!(ring.debt(Seq(2)), Some((100, 30)));
        assert_eq!(ring.debt(Seq(1)), Some((110, 20)));
        assert_eq!(ring.debt(Seq(0)), Some((110, 20)), "one is there no more");
        assert_eq!(ring.debt(Seq(3)), None);
    }

    #[test]
    fn is_bounded_by_number_and_bytes() {
        let mut ring = Ring::new(2, 100);
        for from in 0..5 {
            ring.push(window(from, from + 1, 10));
        }
        assert_eq!((ring.len(), ring.bytes(), ring.floor()), (2, 20, Some(Seq(3))));
        ring.push(window(5, 6, 95));
        assert_eq!((ring.len(), ring.bytes()), (1, 95));
        ring.push(window(6, 7, 500));
        assert_eq!((ring.len(), ring.bytes(), ring.floor()), (1, 500, Some(Seq(6))));
    }
}
