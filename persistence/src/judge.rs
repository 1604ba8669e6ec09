//! Judges a chunk that is to be stored.
//!
//! Pure, so that every store takes and refuses the same chunks.

use avvy_model::{Epoch, Seq};

use crate::chunk::{AppendRefusal, ChunkWrite};

/// What becomes of a chunk that is not refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Judgement {
    /// It is stored, and the brane's head is its end from then on.
    New,
    /// This very chunk is there already.
    Stored,
}

/// Judges a chunk of a brane whose newest epoch and head are these. Asks
/// whether the very chunk is stored only if it does not continue the journal.
///
/// The outer error is that of the question.
pub(crate) fn judge<E>(
    chunk: &ChunkWrite,
    epoch: Epoch,
    head: Seq,
    is_stored: impl FnOnce() -> Result<bool, E>,
) -> Result<Result<Judgement, AppendRefusal>, E> {
    if chunk.epoch == epoch && chunk.from == head {
        return Ok(Ok(Judgement::New));
    }
    if is_stored()? {
        return Ok(Ok(Judgement::Stored));
    }
    Ok(Err(match chunk.epoch == epoch {
        true => AppendRefusal::Gap { head },
        false => AppendRefusal::StaleEpoch { current: epoch },
    }))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use avvy_model::BraneId;
    use bytes::Bytes;

    use super::*;

    fn judged(epoch: u64, from: u64, is_stored: bool) -> Result<Judgement, AppendRefusal> {
        let chunk = ChunkWrite {
            brane: BraneId::from_bytes([1; 16]),
            epoch: Epoch(epoch),
            from: Seq(from),
            to: Seq(from + 1),
            at_ms: 0,
            body: Bytes::new(),
        };
        let answer: Result<_, Infallible> = judge(&chunk, Epoch(3), Seq(7), || Ok(is_stored));
        answer.unwrap_or_else(|never| match never {})
    }

    #[test]
    fn only_the_next_chunk_of_the_newest_epoch_is_new() {
        let stale = Err(AppendRefusal::StaleEpoch { current: Epoch(3) });
        let gap = Err(AppendRefusal::Gap { head: Seq(7) });
        let cases = [
            ((3, 7, false), Ok(Judgement::New)),
            ((3, 6, false), gap),
            ((3, 8, false), gap),
            ((3, 6, true), Ok(Judgement::Stored)),
            ((2, 7, false), stale),
            ((4, 7, false), stale),
            ((2, 6, true), Ok(Judgement::Stored)),
        ];
        for ((epoch, from, is_stored), expected) in cases {
            assert_eq!(judged(epoch, from, is_stored), expected, "{epoch} {from} {is_stored}");
        }
    }

    #[test]
    fn a_question_that_fails_is_no_refusal() {
        let chunk = ChunkWrite {
            brane: BraneId::from_bytes([1; 16]),
            epoch: Epoch(1),
            from: Seq(0),
            to: Seq(1),
            at_ms: 0,
            body: Bytes::new(),
        };
        assert_eq!(judge(&chunk, Epoch(1), Seq(5), || Err("away")), Err("away"));
    }
}
