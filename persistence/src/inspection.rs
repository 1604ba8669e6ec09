//! Writes the report of a brane's journal, chunk by chunk.
//!
//! Pure, so that every store reports alike.

use avvy_model::{BraneId, Seq};

use crate::error::{Place, StoreError};
use crate::report::{BraneReport, Damage};
use crate::scan::{Link, Scan, Verdict};

/// A walk along a journal whose head was read before.
pub(crate) struct Walk<'a> {
    brane: BraneId,
    head: Seq,
    /// Edits up to here are in a snapshot.
    covered: Seq,
    scan: Option<Scan>,
    count: u64,
    report: &'a mut BraneReport,
}

impl<'a> Walk<'a> {
    /// A walk from the oldest chunk on.
    pub(crate) const fn new(
        brane: BraneId,
        head: Seq,
        covered: Seq,
        report: &'a mut BraneReport,
    ) -> Self {
        Self { brane, head, covered, scan: None, count: 0, report }
    }

    /// Takes the next chunk, whose body has this length; false at the end.
    pub(crate) fn feed(&mut self, link: Link, length: usize) -> bool {
        // Chunks stored after the head was read are not its matter.
        if link.from() >= self.head {
            return false;
        }
        let Self { brane, covered, report, .. } = self;
        let scan = self.scan.get_or_insert_with(|| {
            report.oldest = link.from();
            Scan::new(*brane, link.from().min(*covered), *covered)
        });
        self.count += 1;
        if let Link::Good { .. } = link {
            report.chunks += 1;
            report.chunk_bytes += length as u64;
        }
        scan.feed(link, &mut |Damage { place, why }| report.add(place, why));
        true
    }

    /// Ends the walk. The answer says, unless the end is torn, what is wrong
    /// if the head counts so many chunks and is still the same.
    pub(crate) fn finish(self, counted: u64) -> Option<Damage> {
        let Self { brane, head, covered, scan, count, report } = self;
        let scan = scan.unwrap_or_else(|| Scan::new(brane, covered, covered));
        match scan.finish(head, &mut |Damage { place, why }| report.add(place, why)) {
            Verdict::Torn(torn) => {
                report.torn = Some(torn);
                None
            }
            Verdict::Whole if count == counted => None,
            Verdict::Whole => {
                let why = format!("its head counts {counted} chunks, and {count} are there");
                Some(Damage { place: Place::Brane(brane), why })
            }
        }
    }
}

/// Puts damage into the report; other errors end the inspection.
pub(crate) fn note_damage(
    result: Result<(), StoreError>,
    report: &mut BraneReport,
) -> Result<(), StoreError> {
    match result {
        Err(StoreError::Damaged { place, why }) => {
            report.add(place, why);
            Ok(())
        }
        // Compacted away since the inspection began.
        Err(StoreError::UnknownSnapshot { .. }) => Ok(()),
        other => other,
    }
}
