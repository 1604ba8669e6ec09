//! Which objects went away lately, so that an old copy can be mended without
//! sending it the whole world.

use std::collections::VecDeque;

use avvy_model::{Handle, Seq};

/// How many are remembered.
const MAX_GRAVES: usize = 65_536;

#[derive(Default)]
pub(crate) struct Graves {
    /// In order of their deletion.
    dug: VecDeque<(Seq, Handle)>,
    /// Deletions up to here may be forgotten.
    forgotten: Seq,
}

impl Graves {
    /// Nothing is known of deletions up to `seq`.
    pub(crate) const fn beginning_at(seq: Seq) -> Self {
        Self { dug: VecDeque::new(), forgotten: seq }
    }

    pub(crate) fn dig(&mut self, at: Seq, handle: Handle) {
        if self.dug.len() == MAX_GRAVES
            && let Some((forgotten, _)) = self.dug.pop_front()
        {
            self.forgotten = forgotten;
        }
        self.dug.push_back((at, handle));
    }

    /// What went away after `since`; `None` when that is not known any more.
    pub(crate) fn since(&self, since: Seq) -> Option<impl Iterator<Item = Handle>> {
        let start = self.dug.partition_point(|(at, _)| *at <= since);
        (since >= self.forgotten).then(|| self.dug.range(start..).map(|(_, handle)| *handle))
    }
}
