//! What is kept of rulings beside the brane in which they were made: who
//! changed which right, beyond what the world has at hand, and who is at home
//! in which branes.
//!
//! The journal is the truth, and the world has the last rulings at hand. The
//! chronicle follows them: what is durable is told to it, one call at a time
//! for each brane, again and again until it has it. So nothing waits in a
//! queue. After a restart it is told once more what the world still has.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use avvy_brane::RulingRecord;
use avvy_model::{BraneId, Code, Seq, UserId};
use avvy_persistence::{BoxFuture, BraneRecord};
use ractor::ActorRef;
use tokio::time::timeout;
use tracing::warn;

use crate::brane::BraneMsg;

/// The pause after a failure.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// Rulings of one brane.
#[derive(Clone, Debug)]
pub struct Rulings {
    /// The brane.
    pub record: Arc<BraneRecord>,
    /// Durable ones in the order of the log, at most
    /// [`avvy_brane::KEPT_RULINGS`]. Between
    /// two calls none is missing, unless more than so many were made meanwhile.
    pub made: Vec<RulingRecord>,
}

/// Keeps rulings, and knows from them who is at home in which branes.
pub trait Chronicle: Send + Sync + 'static {
    /// Keeps these. Those that it has are no error, in whatever order calls of
    /// one brane end.
    ///
    /// # Errors
    /// What the failure of where it keeps them amounts to; then it has some of
    /// them or none.
    fn keep(&self, rulings: Rulings) -> BoxFuture<'_, Result<(), Code>>;

    /// Whether a user has a role in a brane and is not banned from it at this
    /// time, in Unix milliseconds, as far as it was told: a moment ago.
    ///
    /// # Errors
    /// What the failure of where it keeps that amounts to.
    fn is_member(
        &self,
        user: UserId,
        brane: BraneId,
        now_ms: u64,
    ) -> BoxFuture<'_, Result<bool, Code>>;
}

/// The chronicle of a system, once it has one.
pub(crate) type TheChronicle = Arc<OnceLock<Arc<dyn Chronicle>>>;

/// How far the chronicle has a brane's rulings.
#[derive(Default)]
pub(crate) struct Chronicled {
    /// It has all up to here.
    kept: Seq,
    /// It is being told some.
    is_telling: bool,
}

impl Chronicled {
    /// The rulings that it has to be told now: the durable ones that it does
    /// not have, unless it is being told some.
    pub(crate) fn due<'a>(
        &self,
        last: impl DoubleEndedIterator<Item = &'a RulingRecord>,
        durable: Seq,
    ) -> Vec<RulingRecord> {
        if self.is_telling {
            return Vec::new();
        }
        let lacks = |ruling: &&RulingRecord| ruling.seq > self.kept;
        let is_durable = |ruling: &&RulingRecord| ruling.seq <= durable;
        let mut due: Vec<_> = last.rev().take_while(lacks).filter(is_durable).cloned().collect();
        due.reverse();
        due
    }

    /// Tells it some. The brane is told the end by [`BraneMsg::Chronicled`].
    pub(crate) fn tell(
        &mut self,
        chronicle: &Arc<dyn Chronicle>,
        rulings: Rulings,
        patience: Duration,
        brane: &ActorRef<BraneMsg>,
    ) {
        let up_to = rulings.made.last().map(|ruling| ruling.seq);
        self.is_telling = true;
        let (chronicle, brane) = (Arc::clone(chronicle), brane.clone());
        tokio::spawn(async move {
            let id = rulings.record.id;
            let kept = timeout(patience, chronicle.keep(rulings)).await;
            let kept = match kept.unwrap_or(Err(Code::Timeout)) {
                Ok(()) => up_to,
                Err(code) => {
                    warn!(brane = %id, %code, "rulings are not in the chronicle yet");
                    tokio::time::sleep(AGAIN_AFTER).await;
                    None
                }
            };
            // A brane that has ended tells them again when it is opened.
            let _ = brane.send_message(BraneMsg::Chronicled { kept });
        });
    }

    /// It has all up to there, or failed.
    pub(crate) fn told(&mut self, kept: Option<Seq>) {
        self.is_telling = false;
        self.kept = self.kept.max(kept.unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use avvy_model::Ruled;
    use uuid::Uuid;

    use super::*;

    fn rulings(seqs: &[u64]) -> Vec<RulingRecord> {
        let by = UserId::new(Uuid::from_u128(1));
        let owner = avvy_model::RoleName::Known(avvy_model::Role::Owner);
        let ruled = Ruled::Everybody { before: owner.clone(), after: owner };
        let record =
            |seq: &u64| RulingRecord { seq: Seq(*seq), at_ms: 0, by, ruled: ruled.clone() };
        seqs.iter().map(record).collect()
    }

    fn due(chronicled: &Chronicled, seqs: &[u64], durable: u64) -> Vec<u64> {
        let due = chronicled.due(rulings(seqs).iter(), Seq(durable));
        due.iter().map(|ruling| ruling.seq.0).collect()
    }

    #[test]
    fn only_what_is_durable_and_not_kept_is_due() {
        let mut chronicled = Chronicled::default();
        assert_eq!(due(&chronicled, &[3, 5, 9], 8), [3, 5]);
        chronicled.told(Some(Seq(5)));
        assert_eq!(due(&chronicled, &[3, 5, 9], 8), [0; 0]);
        assert_eq!(due(&chronicled, &[3, 5, 9], 9), [9]);
        // What failed is due again, and an older end takes nothing back.
        chronicled.told(None);
        chronicled.told(Some(Seq(3)));
        assert_eq!(due(&chronicled, &[3, 5, 9], 9), [9]);
    }

    #[test]
    fn nothing_is_due_while_some_are_told() {
        let mut chronicled = Chronicled { is_telling: true, ..Chronicled::default() };
        assert_eq!(due(&chronicled, &[3], 3), [0; 0]);
        chronicled.told(None);
        assert_eq!(due(&chronicled, &[3], 3), [3]);
    }
}
