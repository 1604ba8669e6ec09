//! Which handles a copy changed after the last edit known to be durable.
//!
//! A copy that is past a fork is mended with these: the server sends what is
//! at each of them on the new line. Bounded: beyond it the answer is "did not
//! keep count" until the watermark has passed everything that was dropped.

use std::collections::VecDeque;

use avvy_model::{Handle, Seq};

/// The handles with the edit that changed each, in order of the log.
#[derive(Clone, Debug)]
pub(crate) struct Touched {
    changes: VecDeque<(Seq, Handle)>,
    capacity: usize,
    /// The last edit whose handles were dropped.
    dropped: Seq,
}

impl Touched {
    /// Nothing is known of what changed up to `since`.
    pub(crate) fn new(capacity: usize, since: Seq) -> Self {
        Self { changes: VecDeque::new(), capacity, dropped: since }
    }

    /// Notes that the edit at `seq` changed `handle`.
    pub(crate) fn push(&mut self, seq: Seq, handle: Handle) {
        if self.changes.len() >= self.capacity {
            self.changes.clear();
            self.dropped = seq;
        }
        if self.dropped < seq {
            self.changes.push_back((seq, handle));
        }
    }

    /// Forgets what is durable.
    pub(crate) fn durable(&mut self, seq: Seq) {
        while self.changes.front().is_some_and(|(at, _)| *at <= seq) {
            self.changes.pop_front();
        }
        // A burst must not keep its memory for ever.
        if self.changes.is_empty() && self.changes.capacity() > 1024 {
            self.changes = VecDeque::new();
        }
    }

    /// The handles changed after `durable`, ascending, each once; `None` when
    /// some of them were dropped.
    pub(crate) fn since(&self, durable: Seq) -> Option<Vec<Handle>> {
        if self.dropped > durable {
            return None;
        }
        let later = self.changes.iter().filter(|(at, _)| *at > durable);
        let mut handles: Vec<Handle> = later.map(|(_, handle)| *handle).collect();
        handles.sort_unstable();
        handles.dedup();
        Some(handles)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn forgets_what_is_durable() {
        let mut touched = Touched::new(8, Seq(0));
        for (seq, handle) in [(1, 5), (2, 4), (2, 5), (3, 4)] {
            touched.push(Seq(seq), Handle(handle));
        }
        assert_eq!(touched.since(Seq(0)), Some(vec![Handle(4), Handle(5)]));
        touched.durable(Seq(2));
        assert_eq!(touched.since(Seq(2)), Some(vec![Handle(4)]));
        touched.durable(Seq(3));
        assert_eq!(touched.since(Seq(3)), Some(vec![]));
    }

    #[test]
    fn says_so_when_it_lost_count() {
        let mut touched = Touched::new(2, Seq(0));
        for seq in 1..=3 {
            touched.push(Seq(seq), Handle(7));
        }
        assert_eq!(touched.since(Seq(1)), None);
        assert_eq!(touched.since(Seq(3)), Some(vec![]));
        touched.push(Seq(4), Handle(8));
        assert_eq!(touched.since(Seq(3)), Some(vec![Handle(8)]));
    }
}
