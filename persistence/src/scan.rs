//! Judges a chain of chunks: whole, torn at its end, or damaged.
//!
//! Pure, so that every store tells a torn tail from damage by the same rule: a
//! bad or missing chunk is a torn tail if no good chunk comes after it, and
//! damage if one does or if a snapshot covers it.

use avvy_model::{BraneId, Epoch, Seq};

use crate::error::Place;
use crate::report::Damage;
use crate::store::TornTail;

/// One stored chunk, as far as it could be read.
pub(crate) enum Link {
    /// Its checksum is right.
    Good { epoch: Epoch, from: Seq, to: Seq },
    /// It is not what was written: its key says that it ends at `to`, and the
    /// rest of it that it begins after `from`.
    Bad { from: Seq, to: Seq, why: String },
}

impl Link {
    /// The last edit before it, by its own words.
    pub(crate) const fn from(&self) -> Seq {
        match self {
            Self::Good { from, .. } | Self::Bad { from, .. } => *from,
        }
    }
}

/// What a chain is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Every chunk up to the claimed head is there.
    Whole,
    /// Only the end is missing or bad.
    Torn(TornTail),
}

/// Walks along a chain of chunks in ascending order.
pub(crate) struct Scan {
    brane: BraneId,
    /// Edits up to here are in a snapshot.
    covered: Seq,
    /// The end of the last chunk seen that does not wait for a verdict.
    at: Seq,
    epoch: Epoch,
    joined: bool,
    /// Bad chunks behind `at` with no good one after them so far.
    waiting: Vec<Damage>,
    waiting_count: u64,
    last_bad: Seq,
}

/// Bad chunks that are spelled out while their verdict is open.
const MAX_WAITING: usize = 100;

impl Scan {
    /// A walk that begins with the chunk that holds the edit after `start`;
    /// edits up to `covered` are in a snapshot.
    pub(crate) const fn new(brane: BraneId, start: Seq, covered: Seq) -> Self {
        Self {
            brane,
            covered,
            at: start,
            epoch: Epoch(0),
            joined: false,
            waiting: Vec::new(),
            waiting_count: 0,
            last_bad: start,
        }
    }

    /// Takes the next chunk, and hands damages to `found` as they are certain.
    pub(crate) fn feed(&mut self, link: Link, found: &mut impl FnMut(Damage)) {
        match link {
            Link::Good { epoch, from, to } => self.good(epoch, from, to, found),
            Link::Bad { from, to, why } => self.bad(from, to, why, found),
        }
    }

    /// Ends the walk: `head` is the last edit that the store claims to have.
    pub(crate) fn finish(self, head: Seq, found: &mut impl FnMut(Damage)) -> Verdict {
        let end = self.at.max(self.last_bad);
        if self.at > head {
            let why = format!("the journal goes on to {}, past the head {head}", self.at);
            found(Damage { place: Place::Brane(self.brane), why });
            return Verdict::Whole;
        }
        if self.at < self.covered && self.joined {
            found(self.missing(self.at, self.covered));
        }
        if self.at.max(self.covered) >= head && self.waiting_count == 0 {
            return Verdict::Whole;
        }
        let why = self.waiting.into_iter().next().map_or_else(|| "missing".into(), |bad| bad.why);
        Verdict::Torn(TornTail {
            kept: self.at.max(self.covered),
            claimed: head.max(end),
            chunks: self.waiting_count,
            why,
        })
    }

    fn good(&mut self, epoch: Epoch, from: Seq, to: Seq, found: &mut impl FnMut(Damage)) {
        let bad_before = self.waiting_count > 0;
        self.waiting.drain(..).for_each(&mut *found);
        self.waiting_count = 0;
        let fits = if self.joined { from == self.at } else { from <= self.at };
        if !fits && !bad_before {
            found(match from > self.at {
                true => self.missing(self.at, from),
                false => {
                    self.damage(from, to, format!("overlaps the chunk before it, {}", self.at))
                }
            });
        }
        if epoch < self.epoch {
            found(self.damage(from, to, format!("its epoch {epoch} is below {}", self.epoch)));
        }
        self.epoch = self.epoch.max(epoch);
        self.at = self.at.max(to);
        self.joined = true;
    }

    fn bad(&mut self, from: Seq, to: Seq, why: String, found: &mut impl FnMut(Damage)) {
        let damage = self.damage(from.min(to), to, why);
        if to <= self.covered {
            found(damage);
            self.at = self.at.max(to);
            self.joined = true;
            return;
        }
        self.waiting_count += 1;
        self.last_bad = self.last_bad.max(to);
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push(damage);
        }
    }

    fn missing(&self, from: Seq, to: Seq) -> Damage {
        self.damage(from, to, "missing".into())
    }

    const fn damage(&self, from: Seq, to: Seq, why: String) -> Damage {
        Damage { place: Place::Chunk { brane: self.brane, from, to }, why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(from: u64, to: u64) -> Link {
        Link::Good { epoch: Epoch(1), from: Seq(from), to: Seq(to) }
    }

    fn bad(from: u64, to: u64) -> Link {
        Link::Bad { from: Seq(from), to: Seq(to), why: "bad".into() }
    }

    fn judge(start: u64, head: u64, links: Vec<Link>) -> (Verdict, Vec<(u64, u64)>) {
        let mut places = Vec::new();
        let mut found = |damage: Damage| match damage.place {
            Place::Chunk { from, to, .. } => places.push((from.0, to.0)),
            _ => places.push((0, 0)),
        };
        let mut scan = Scan::new(BraneId::from_bytes([1; 16]), Seq(start), Seq(start));
        for link in links {
            scan.feed(link, &mut found);
        }
        let verdict = scan.finish(Seq(head), &mut found);
        (verdict, places)
    }

    fn torn(kept: u64, claimed: u64, chunks: u64) -> Verdict {
        let why = if chunks > 0 { "bad" } else { "missing" };
        Verdict::Torn(TornTail { kept: Seq(kept), claimed: Seq(claimed), chunks, why: why.into() })
    }

    #[test]
    fn verdicts() {
        let cases = [
            (0, 0, vec![], Verdict::Whole, vec![]),
            (0, 5, vec![good(0, 2), good(2, 5)], Verdict::Whole, vec![]),
            (3, 5, vec![good(2, 5)], Verdict::Whole, vec![]),
            (3, 3, vec![], Verdict::Whole, vec![]),
            (0, 5, vec![good(0, 2), bad(2, 5)], torn(2, 5, 1), vec![]),
            (0, 9, vec![good(0, 2), bad(2, 5), bad(5, 9)], torn(2, 9, 2), vec![]),
            (0, 5, vec![good(0, 2)], torn(2, 5, 0), vec![]),
            (0, 5, vec![bad(0, 5)], torn(0, 5, 1), vec![]),
            (0, 5, vec![], torn(0, 5, 0), vec![]),
            (0, 9, vec![good(0, 2), bad(2, 5), good(5, 9)], Verdict::Whole, vec![(2, 5)]),
            (0, 9, vec![good(0, 2), good(5, 9)], Verdict::Whole, vec![(2, 5)]),
            (0, 9, vec![good(2, 9)], Verdict::Whole, vec![(0, 2)]),
            (0, 9, vec![good(0, 5), good(3, 9)], Verdict::Whole, vec![(3, 9)]),
            (0, 5, vec![good(0, 9)], Verdict::Whole, vec![(0, 0)]),
            (0, 9, vec![bad(0, 2), good(2, 5), bad(5, 9)], torn(5, 9, 1), vec![(0, 2)]),
        ];
        for (index, (start, head, links, verdict, places)) in cases.into_iter().enumerate() {
            assert_eq!(judge(start, head, links), (verdict, places), "case {index}");
        }
    }

    #[test]
    fn what_a_snapshot_covers_is_damaged_and_not_torn() {
        let mut places = 0;
        let mut found = |_| places += 1;
        let mut scan = Scan::new(BraneId::from_bytes([1; 16]), Seq(0), Seq(5));
        scan.feed(good(0, 3), &mut found);
        scan.feed(bad(3, 5), &mut found);
        assert_eq!(scan.finish(Seq(5), &mut found), Verdict::Whole);
        assert_eq!(places, 1);
    }
}
