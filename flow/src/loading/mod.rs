//! What is read to open a brane, in which order, and what is done when
//! something of it is not there or not whole.
//!
//! A brane opens from its newest snapshot and the journal after it. If that
//! snapshot is damaged, the one before it serves with more of the journal,
//! and at last the journal alone. Somewhat more of the journal than needed is
//! read, for clients that were cut off shortly before the brane was closed;
//! whatever is wrong with that part, the brane opens without it.
//!
//! The driver does what [`Loading::need`] says until there is nothing left to
//! do. Each answer takes the machine further: it never asks for the same
//! thing twice.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use avvy_brane::{Clients, World, snapshot};
use avvy_model::{BraneId, Grid, Seq, UserId, WorldLimits};

use crate::group_commit::JournalChunk;
use crate::recovery::{Recovery, TailBounds};

/// A finished snapshot of the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotSource {
    /// Its name in the store.
    pub id: u64,
    /// The last edit that it includes.
    pub at: Seq,
    /// How many parts it has, numbered from 0.
    pub parts: u32,
}

/// What the store holds of a brane.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sources {
    /// The brane.
    pub brane: BraneId,
    /// Its owner, to whom a world without edits belongs.
    pub owner: UserId,
    /// What the root of a world without edits asks for.
    pub grid: Grid,
    /// Its snapshots, newest first.
    pub snapshots: Vec<SnapshotSource>,
    /// The last edit of its journal.
    pub head: Seq,
}

/// How a brane is loaded.
#[derive(Clone, Copy, Debug)]
pub struct LoadConfig {
    /// Those of the brane.
    pub limits: WorldLimits,
    /// How many windows are kept for the fan-out.
    pub tail: TailBounds,
    /// Edits before the snapshot whose windows are read, too.
    pub tail_edits: u64,
}

/// What is to be read next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// A part of a snapshot: answered by [`Loading::part`] or [`Loading::failed`].
    Part {
        /// The snapshot's name in the store.
        snapshot: u64,
        /// Which part.
        index: u32,
    },
    /// The next chunks after an edit, one or more: answered by
    /// [`Loading::chunks`] or [`Loading::failed`].
    Chunks {
        /// The edit.
        after: Seq,
    },
    /// Nothing: the brane is loaded.
    Nothing,
}

/// Why something could not be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReadFailure {
    /// The journal is not kept so far back.
    Compacted {
        /// The last edit before the oldest chunk kept.
        oldest: Seq,
    },
    /// It is not what was written.
    Damaged(String),
    /// The store did not answer; it may later.
    Away(String),
}

/// What somebody should look at, although the brane may open all the same.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LoadWarning {
    /// A snapshot, or the journal after it, cannot be used; an older one is tried.
    #[error("the snapshot at {at} does not open the brane, an older one is tried: {why}")]
    FallingBack {
        /// The last edit that the snapshot includes.
        at: Seq,
        /// What is wrong.
        why: String,
    },
    /// Journal that is not needed cannot be read.
    #[error("journal from {from} to {to}, which a snapshot includes, cannot be read: {why}")]
    EarlierJournal {
        /// The last edit before it.
        from: Seq,
        /// The last edit of it.
        to: Seq,
        /// What is wrong.
        why: String,
    },
}

/// The brane does not open.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LoadError {
    /// What is stored is not what was written, and nothing is left to try.
    #[error("{0}")]
    Damaged(String),
    /// The store did not answer.
    #[error("{0}")]
    Away(String),
}

/// A brane that is being loaded.
pub struct Loading {
    brane: BraneId,
    owner: UserId,
    grid: Grid,
    head: Seq,
    config: LoadConfig,
    /// Snapshots that are not tried yet, newest first.
    untried: VecDeque<SnapshotSource>,
    /// The snapshot that is being tried; `None` when it is the journal alone.
    trying: Option<SnapshotSource>,
    stage: Stage,
    /// Why the first attempt failed.
    first_damage: Option<String>,
}

enum Stage {
    Snapshot { decoder: Box<snapshot::Decoder>, index: u32 },
    Journal { recovery: Box<Recovery>, at: Seq },
    Failed,
}

impl Loading {
    /// Begins with the newest snapshot.
    pub fn new(sources: Sources, config: LoadConfig) -> Self {
        let Sources { brane, owner, grid, snapshots, head } = sources;
        let mut loading = Self {
            brane,
            owner,
            grid,
            head,
            config,
            untried: snapshots.into(),
            trying: None,
            stage: Stage::Failed,
            first_damage: None,
        };
        loading.begin_attempt();
        loading
    }

    /// What is to be read next.
    pub fn need(&self) -> Need {
        match (&self.stage, self.trying) {
            (Stage::Snapshot { index, .. }, Some(source)) => {
                Need::Part { snapshot: source.id, index: *index }
            }
            (Stage::Journal { at, .. }, _) if *at < self.head => Need::Chunks { after: *at },
            _ => Need::Nothing,
        }
    }

    /// What is needed after that if nothing is wrong, where that can be told:
    /// it may be read already while this is taken in.
    pub fn next_need(&self) -> Option<Need> {
        match self.need() {
            Need::Part { snapshot, index } => {
                let next = Need::Part { snapshot, index: index + 1 };
                self.trying.filter(|source| index + 1 < source.parts).map(|_| next)
            }
            Need::Chunks { .. } | Need::Nothing => None,
        }
    }

    /// The part that was needed.
    ///
    /// # Errors
    /// A [`LoadError`], after which this must be given up.
    pub fn part(&mut self, part: &[u8], warnings: &mut Vec<LoadWarning>) -> Result<(), LoadError> {
        let (Stage::Snapshot { decoder, index }, Some(source)) = (&mut self.stage, self.trying)
        else {
            return Ok(());
        };
        if let Err(error) = decoder.feed(part) {
            return self.fall_back(error.to_string(), warnings);
        }
        *index += 1;
        if *index < source.parts {
            return Ok(());
        }
        match self.finish_snapshot(source) {
            Ok(recovery) => {
                self.begin_journal(recovery);
                Ok(())
            }
            Err(why) => self.fall_back(why, warnings),
        }
    }

    /// The chunks that were needed.
    ///
    /// # Errors
    /// A [`LoadError`], after which this must be given up.
    pub fn chunks(
        &mut self,
        chunks: &[JournalChunk],
        warnings: &mut Vec<LoadWarning>,
    ) -> Result<(), LoadError> {
        let Stage::Journal { recovery, at } = &mut self.stage else { return Ok(()) };
        let before = *at;
        for chunk in chunks {
            if chunk.to > self.head {
                let why = format!("the journal goes on to {}, past its head", chunk.to);
                return self.damaged(why, warnings);
            }
            if let Err(error) = recovery.chunk(chunk) {
                return self.damaged(error.to_string(), warnings);
            }
            *at = chunk.to.max(*at);
        }
        if *at == before {
            let why = format!("the journal ends at {before}, before its head {}", self.head);
            return self.damaged(why, warnings);
        }
        let (edits, bytes) = (at.0 - before.0, chunks.iter().map(|chunk| chunk.body.len()).sum());
        self.pass_over(edits, bytes);
        Ok(())
    }

    /// What was needed could not be read.
    ///
    /// # Errors
    /// A [`LoadError`], after which this must be given up.
    pub fn failed(
        &mut self,
        failure: ReadFailure,
        warnings: &mut Vec<LoadWarning>,
    ) -> Result<(), LoadError> {
        match failure {
            ReadFailure::Compacted { oldest } => self.compacted(oldest, warnings),
            ReadFailure::Damaged(why) => self.damaged(why, warnings),
            ReadFailure::Away(why) if self.dispensable().is_some() => self.damaged(why, warnings),
            ReadFailure::Away(why) => {
                self.stage = Stage::Failed;
                Err(LoadError::Away(why))
            }
        }
    }

    /// The brane; `None` while something is needed, or after an error.
    pub fn finish(self) -> Option<Recovery> {
        match self.stage {
            Stage::Journal { recovery, at } if at >= self.head => Some(*recovery),
            Stage::Journal { .. } | Stage::Snapshot { .. } | Stage::Failed => None,
        }
    }

    /// Begins with the next snapshot, or without one.
    fn begin_attempt(&mut self) {
        let limits = &self.config.limits;
        self.trying = self.untried.pop_front();
        if self.trying.is_some() {
            let decoder = Box::new(snapshot::Decoder::new(limits));
            self.stage = Stage::Snapshot { decoder, index: 0 };
        } else {
            let world = World::with_grid(self.brane, self.owner, self.grid);
            let clients = Clients::new(limits);
            self.begin_journal(Recovery::new(world, clients, Seq(0), self.config.tail));
        }
    }

    fn begin_journal(&mut self, recovery: Recovery) {
        let at = Seq(recovery.head().0.saturating_sub(self.config.tail_edits));
        self.stage = Stage::Journal { recovery: Box::new(recovery), at };
    }

    fn finish_snapshot(&mut self, source: SnapshotSource) -> Result<Recovery, String> {
        let Stage::Snapshot { decoder, .. } = std::mem::replace(&mut self.stage, Stage::Failed)
        else {
            return Err("it is not being read".to_owned());
        };
        let restored = decoder.finish().map_err(|error| error.to_string())?;
        let found = restored.position.seq;
        if found != source.at || found > self.head {
            return Err(format!("it is of {found}, and by its entry of {}", source.at));
        }
        Ok(Recovery::new(restored.world, restored.clients, found, self.config.tail))
    }

    /// The stretch of the journal that is read next and only welcome, as the
    /// snapshot includes it.
    fn dispensable(&self) -> Option<(Seq, Seq)> {
        match &self.stage {
            Stage::Journal { recovery, at } if *at < recovery.head() => {
                Some((*at, recovery.head()))
            }
            _ => None,
        }
    }

    /// Where edits are large, the fan-out keeps few of them: passes over those
    /// that it would drop again, judging by `edits` that took `bytes`.
    fn pass_over(&mut self, edits: u64, bytes: usize) {
        let Some((from, to)) = self.dispensable() else { return };
        let kept = self.config.tail.max_bytes as u128 * u128::from(edits) / bytes.max(1) as u128;
        let begin = to.0.saturating_sub(u64::try_from(kept).unwrap_or(u64::MAX));
        if begin > from.0 {
            self.go_on_after(Seq(begin));
        }
    }

    fn go_on_after(&mut self, seq: Seq) {
        if let Stage::Journal { at, .. } = &mut self.stage {
            *at = seq;
        }
    }

    fn compacted(&mut self, oldest: Seq, warnings: &mut Vec<LoadWarning>) -> Result<(), LoadError> {
        let Some((from, to)) = self.dispensable() else {
            return self.damaged(format!("the journal is only kept after {oldest}"), warnings);
        };
        self.go_on_after(if oldest > from { oldest.min(to) } else { to });
        Ok(())
    }

    /// Goes on behind what is damaged if it is not needed, and falls back if it is.
    fn damaged(&mut self, why: String, warnings: &mut Vec<LoadWarning>) -> Result<(), LoadError> {
        let Some((from, to)) = self.dispensable() else {
            return self.fall_back(why, warnings);
        };
        warnings.push(LoadWarning::EarlierJournal { from, to, why });
        self.go_on_after(to);
        Ok(())
    }

    fn fall_back(&mut self, why: String, warnings: &mut Vec<LoadWarning>) -> Result<(), LoadError> {
        let Some(source) = self.trying else {
            self.stage = Stage::Failed;
            return Err(LoadError::Damaged(self.first_damage.take().unwrap_or(why)));
        };
        self.first_damage.get_or_insert_with(|| why.clone());
        warnings.push(LoadWarning::FallingBack { at: source.at, why });
        self.begin_attempt();
        Ok(())
    }
}
