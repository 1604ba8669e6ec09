//! Where a client's position stands on a brane's line of history.
//!
//! Every opening of a brane begins an epoch at the sequence number that was
//! durable then. What was given out beyond that point under an earlier epoch
//! is not on the line any more.

use avvy_model::{Epoch, Position, Seq};

/// The epochs of a brane, oldest first, each with the number at which it
/// began. Never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lineage(Vec<(Epoch, Seq)>);

/// The epochs do not rise, or there are none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a lineage holds at least one epoch, and they rise")]
pub struct InvalidLineage;

/// What a position is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// On the line: the copy lacks what came after, no more.
    OnLine,
    /// It was given out and then lost; this is the last position that its
    /// history and the brane's share.
    Past(Position),
    /// It was never given out, or so long ago that nobody knows.
    Unknown,
}

impl Lineage {
    /// Checks the order.
    ///
    /// # Errors
    /// [`InvalidLineage`].
    pub fn new(epochs: Vec<(Epoch, Seq)>) -> Result<Self, InvalidLineage> {
        let rising = epochs.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if epochs.is_empty() || !rising { Err(InvalidLineage) } else { Ok(Self(epochs)) }
    }

    /// The current epoch with its start.
    pub fn current(&self) -> (Epoch, Seq) {
        *self.0.last().expect("checked to hold one")
    }

    /// Every epoch with its start, oldest first.
    pub fn epochs(&self) -> &[(Epoch, Seq)] {
        &self.0
    }

    /// The epoch under which this number was given, as a position.
    pub fn position_of(&self, seq: Seq) -> Position {
        let later = self.0.partition_point(|(_, start)| *start < seq);
        Position { epoch: self.0[later.saturating_sub(1)].0, seq }
    }

    /// Judges a position that a client claims, when everything up to
    /// `published` has been shown.
    pub fn standing(&self, claimed: Position, published: Seq) -> Standing {
        let (oldest, current) = (self.0[0].0, self.current().0);
        let given_out = claimed.epoch < current || claimed.seq <= published;
        if claimed.epoch > current || claimed.epoch < oldest || !given_out {
            return Standing::Unknown;
        }
        let after = self.0.partition_point(|(epoch, _)| *epoch <= claimed.epoch);
        // Forks do not run backwards, unless a store lost what it had called
        // durable; the least of them is right even then.
        let fork = self.0[after..].iter().map(|(_, start)| *start).min();
        let known = self.0[after - 1].0 == claimed.epoch;
        match fork {
            None => Standing::OnLine,
            Some(fork) if known && claimed.seq <= fork => Standing::OnLine,
            Some(fork) => Standing::Past(self.position_of(claimed.seq.min(fork))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Standing::{OnLine, Past, Unknown};
    use super::*;

    fn at(epoch: u64, seq: u64) -> Position {
        Position { epoch: Epoch(epoch), seq: Seq(seq) }
    }

    /// Epoch 2 began at 0, 3 at 10, 5 at 10, 6 at 20; 25 are published.
    fn standing(epoch: u64, seq: u64) -> Standing {
        let epochs = [(2, 0), (3, 10), (5, 10), (6, 20)];
        let epochs = epochs.map(|(epoch, start)| (Epoch(epoch), Seq(start)));
        Lineage::new(epochs.to_vec()).expect("rising").standing(at(epoch, seq), Seq(25))
    }

    #[test]
    fn positions_on_the_line() {
        for (epoch, seq) in [(2, 0), (2, 10), (3, 10), (5, 11), (5, 20), (6, 20), (6, 25), (6, 3)] {
            assert_eq!(standing(epoch, seq), OnLine, "{epoch}.{seq}");
        }
    }

    #[test]
    fn positions_past_a_fork() {
        assert_eq!(standing(2, 11), Past(at(2, 10)));
        assert_eq!(standing(2, 9_999), Past(at(2, 10)), "several epochs back");
        assert_eq!(standing(3, 11), Past(at(2, 10)), "epoch 3 gave nothing that lasted");
        assert_eq!(standing(5, 21), Past(at(5, 20)));
    }

    #[test]
    fn an_epoch_that_left_no_mark() {
        assert_eq!(standing(4, 15), Past(at(2, 10)));
        assert_eq!(standing(4, 7), Past(at(2, 7)));
    }

    #[test]
    fn positions_never_given_out() {
        for (epoch, seq) in [(6, 26), (7, 1), (7, 0), (1, 0), (1, 5), (0, 0), (u64::MAX, u64::MAX)]
        {
            assert_eq!(standing(epoch, seq), Unknown, "{epoch}.{seq}");
        }
    }

    #[test]
    fn numbers_belong_to_the_epoch_that_gave_them() {
        let lineage = Lineage::new(vec![(Epoch(1), Seq(0)), (Epoch(2), Seq(5))]).expect("rising");
        for (seq, epoch) in [(0, 1), (1, 1), (5, 1), (6, 2)] {
            assert_eq!(lineage.position_of(Seq(seq)), at(epoch, seq));
        }
    }

    #[test]
    fn must_rise() {
        assert_eq!(Lineage::new(vec![]), Err(InvalidLineage));
        let twice = vec![(Epoch(1), Seq(0)), (Epoch(1), Seq(0))];
        assert_eq!(Lineage::new(twice), Err(InvalidLineage));
    }
}
