//! What a viewer of the whole brane may be left out of what happened.

use std::collections::BTreeMap;

use avvy_model::{Change, Epoch, Handle, Parts, Position, Seq};
use avvy_protocol::{Flush, FlushItem};

use super::Reference;

impl Reference {
    /// Whether this is one window, as it went to the journal.
    pub(crate) fn is_window(&self, epoch: Epoch, from: Seq, to: Seq) -> bool {
        self.windows.get(&(epoch, from)) == Some(&to)
    }

    /// Whether a window shows all of its range but moves that a later one in it
    /// makes up for, with nothing else on that object in between. What the log
    /// has lost by now is not judged.
    pub(crate) fn judge_log(&self, flush: &Flush) -> Result<(), String> {
        let Flush { epoch, from, to, ref items, .. } = *flush;
        if self.fork_behind(Position { epoch, seq: to }, self.epoch()).is_some() {
            return Ok(());
        }
        let shown = items.iter().flat_map(|item| match item {
            FlushItem::Moves(moves) => {
                moves.iter().map(|one| Shown::Move(one.handle, one.patch.parts())).collect()
            }
            FlushItem::Event(event) => vec![Shown::Event(event.changes.len())],
            FlushItem::Skip(edits) => vec![Shown::Nothing; *edits as usize],
        });
        let shown: Vec<Shown> = shown.collect();
        if shown.len() as u64 != to.0 - from.0 {
            return Err(format!("({from}..{to}] shows {} edits", shown.len()));
        }
        // From the last to the first: the parts that later moves set.
        let mut later: BTreeMap<Handle, u8> = BTreeMap::new();
        for (index, shown) in shown.into_iter().enumerate().rev() {
            let seq = Seq(from.0 + 1 + index as u64);
            let Some(event) = self.event(seq) else { return Err(format!("there is no {seq}")) };
            let fits = match (event.changes.as_slice(), shown) {
                ([Change::Moved { handle, parts, .. }], Shown::Move(moved, set)) => {
                    *later.entry(*handle).or_default() |= parts.bits();
                    moved == *handle && set == *parts
                }
                ([Change::Moved { handle, parts, .. }], Shown::Nothing) => {
                    parts.bits() & !later.get(handle).copied().unwrap_or(0) == 0
                }
                ([Change::Moved { .. }], Shown::Event(_)) => false,
                ([Change::Ruled(_)], shown) => shown == Shown::Nothing,
                (changes, shown) => {
                    changes.iter().flat_map(handles).for_each(|handle| {
                        later.remove(&handle);
                    });
                    shown == Shown::Event(changes.len())
                }
            };
            if !fits {
                return Err(format!("edit {seq} is shown as {shown:?}: {:?}", event.changes));
            }
        }
        Ok(())
    }
}

/// An edit of a window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shown {
    Move(Handle, Parts),
    /// So many changes.
    Event(usize),
    Nothing,
}

/// Whom a change is about.
fn handles(change: &Change) -> Vec<Handle> {
    match change {
        Change::Created(new) => vec![new.handle],
        Change::Updated { handle, .. }
        | Change::Moved { handle, .. }
        | Change::Reparented { handle, .. } => vec![*handle],
        Change::Deleted { removed } => removed.iter().map(|at| at.handle).collect(),
        Change::Ruled(_) => Vec::new(),
    }
}
