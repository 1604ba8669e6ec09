//! Which openings a brane had, and where each began.

use avvy_model::{Epoch, Seq};

/// How many of the newest openings are kept even if nothing was stored in them.
const RECENT: usize = 256;

/// A brane's openings: every epoch with the seq at which it began, ascending.
pub type Lineage = Vec<(Epoch, Seq)>;

/// Adds an opening, and drops old ones in which nothing was stored.
///
/// An opening whose start was cut off with a torn tail begins where the cut
/// is: so positions of the lost stretch rewind to the cut.
///
/// A dropped epoch began where the next one did, so a position of it rewinds
/// to the place where it already is, and nothing is lost by forgetting it. The
/// first is always kept: what is before it was never given.
pub(crate) fn push(lineage: &mut Lineage, epoch: Epoch, start: Seq) {
    lineage.iter_mut().for_each(|entry| entry.1 = entry.1.min(start));
    lineage.push((epoch, start));
    let old = lineage.len().saturating_sub(RECENT);
    let mut index = 0;
    let starts: Vec<Seq> = lineage.iter().map(|(_, start)| *start).collect();
    lineage.retain(|(_, start)| {
        let keep = index == 0 || index >= old || starts.get(index + 1) != Some(start);
        index += 1;
        keep
    });
}

/// The bytes of a lineage: epoch and start, u64 little-endian each.
pub(crate) fn encode(lineage: &[(Epoch, Seq)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(lineage.len() * 16);
    for (epoch, start) in lineage {
        bytes.extend_from_slice(&epoch.0.to_le_bytes());
        bytes.extend_from_slice(&start.0.to_le_bytes());
    }
    bytes
}

/// The lineage of these bytes; `None` if there is none.
pub(crate) fn decode(bytes: &[u8]) -> Option<Lineage> {
    let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_le_bytes);
    let lineage = bytes
        .chunks(16)
        .map(|pair| Some((Epoch(number(pair.get(..8)?)?), Seq(number(pair.get(8..)?)?))))
        .collect::<Option<Lineage>>()?;
    let ascends = lineage.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
    ascends.then_some(lineage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_openings_are_forgotten_and_others_never() {
        let mut lineage = Vec::new();
        for epoch in 1..=1_000 {
            push(&mut lineage, Epoch(epoch), Seq(epoch / 100));
        }
        assert_eq!(lineage.len(), RECENT + 8);
        assert_eq!(lineage[0], (Epoch(1), Seq(0)));
        assert_eq!(lineage[1], (Epoch(99), Seq(0)));
        assert_eq!(lineage[2], (Epoch(199), Seq(1)));
        assert_eq!(lineage.last(), Some(&(Epoch(1_000), Seq(10))));
        assert_eq!(decode(&encode(&lineage)), Some(lineage));
    }

    #[test]
    fn a_cut_lowers_the_starts_above_it() {
        let mut lineage = vec![(Epoch(1), Seq(0)), (Epoch(2), Seq(100))];
        push(&mut lineage, Epoch(3), Seq(90));
        assert_eq!(lineage, [(Epoch(1), Seq(0)), (Epoch(2), Seq(90)), (Epoch(3), Seq(90))]);
    }

    #[test]
    fn broken_bytes_are_no_lineage() {
        assert_eq!(decode(&[1; 17]), None);
        assert_eq!(decode(&encode(&[(Epoch(2), Seq(1)), (Epoch(1), Seq(1))])), None);
        assert_eq!(decode(&encode(&[(Epoch(1), Seq(2)), (Epoch(2), Seq(1))])), None);
    }
}
