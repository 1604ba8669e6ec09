//! Inspection: a long walk in short steps that changes nothing.

use avvy_model::{BraneId, Seq};
use mongodb::bson::{Bson, Document, doc};

use super::compact::some_branes;
use super::link::{Link, Query};
use super::reader::{self, Outline};
use super::rows::{BRANES, CHUNKS};
use super::schema::VERSION;
use crate::error::{Place, StoreError};
use crate::report::{BraneReport, Damage, MAX_DAMAGES, StoreReport};
use crate::scan::{Link as Chained, Scan, Verdict};

/// Reads everything of a brane.
pub(super) async fn brane(link: &Link, brane: BraneId) -> Result<BraneReport, StoreError> {
    let mut report = BraneReport::default();
    let outline = match reader::outline(link, brane).await {
        Ok(outline) => outline,
        Err(StoreError::Damaged { place, why }) => {
            report.add(place, why);
            return Ok(report);
        }
        Err(error) => return Err(error),
    };
    report.epoch = outline.head.epoch;
    report.head = outline.head.seq;
    report.oldest = outline.head.seq;
    report.epochs = outline.epochs;
    report.snapshots.clone_from(&outline.snapshots.whole);
    for damage in &outline.snapshots.damages {
        report.add(damage.place.clone(), damage.why.clone());
    }
    let cuts = reader::cuts(link, brane).await.map(|cuts| report.cuts = cuts);
    note_damage(cuts, &mut report)?;
    let chunks = chunks(link, brane, &outline, &mut report).await;
    note_damage(chunks, &mut report)?;
    for info in outline.snapshots.whole {
        for index in 0..info.parts {
            let part = reader::part(link, brane, info.id, index).await.map(drop);
            note_damage(part, &mut report)?;
        }
    }
    Ok(report)
}

async fn chunks(
    link: &Link,
    brane: BraneId,
    outline: &Outline,
    report: &mut BraneReport,
) -> Result<(), StoreError> {
    let (head, covered) = (outline.head.seq, outline.covered());
    let mut scan: Option<Scan> = None;
    let mut count = 0;
    let mut at = Some(Seq(0));
    while let Some(from) = at {
        let bite = reader::bite(link, brane, from).await?;
        at = bite.next;
        for (chained, length) in bite.links {
            // Chunks stored after the outline was read are not its matter.
            if chained.from() >= head {
                at = None;
                break;
            }
            let scan = scan.get_or_insert_with(|| {
                report.oldest = chained.from();
                Scan::new(brane, chained.from().min(covered), covered)
            });
            count += 1;
            if let Chained::Good { .. } = chained {
                report.chunks += 1;
                report.chunk_bytes += length as u64;
            }
            scan.feed(chained, &mut |damage| report.add(damage.place, damage.why));
        }
    }
    let scan = scan.unwrap_or_else(|| Scan::new(brane, covered, covered));
    let verdict = scan.finish(head, &mut |damage| report.add(damage.place, damage.why));
    if let Verdict::Torn(torn) = verdict {
        report.torn = Some(torn);
    } else if count != outline.head.chunks
        && reader::current_head(link, brane).await? == outline.head
    {
        let why = format!("its head counts {} chunks, and {count} are there", outline.head.chunks);
        report.add(Place::Brane(brane), why);
    }
    Ok(())
}

/// Checks what belongs to no brane alone.
pub(super) async fn store(link: &Link) -> Result<StoreReport, StoreError> {
    let device_bytes = size(link).await?;
    let mut report = StoreReport { schema: VERSION, device_bytes, ..StoreReport::default() };
    let mut after = String::new();
    loop {
        let (ids, last) = some_branes(link, &after).await?;
        for brane in ids.into_iter().flatten() {
            match reader::brane(link, brane).await {
                Ok(_) => report.branes += 1,
                Err(StoreError::Damaged { place, why }) => add(&mut report, place, why),
                // Nobody deletes branes; a later reading finds it or does not.
                Err(StoreError::UnknownBrane(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let Some(last) = last else { break };
        after = last;
    }
    let mut journal = Bson::MinKey;
    while let Some(next) = next_journal(link, journal).await? {
        let filter = doc! {"_id": next.clone()};
        let fields = doc! {"_id": 1};
        let query = Query { filter, fields, ..Query::default() };
        if link.one(BRANES, query).await?.is_none() {
            let place = Place::File(format!("{CHUNKS} of {next}"));
            add(&mut report, place, "there is no such brane".into());
        }
        journal = next;
    }
    Ok(report)
}

fn add(report: &mut StoreReport, place: Place, why: String) {
    if report.damages.len() < MAX_DAMAGES {
        report.damages.push(Damage { place, why });
    }
}

/// The next brane, by the keys of the chunks, after one.
async fn next_journal(link: &Link, after: Bson) -> Result<Option<Bson>, StoreError> {
    let last = doc! {"brane": after, "from": Bson::MaxKey};
    let (filter, sort) = (doc! {"_id": {"$gt": last}}, doc! {"_id": 1});
    let query = Query { filter, sort, fields: doc! {"_id": 1}, ..Query::default() };
    let found = link.one(CHUNKS, query).await?;
    let brane = |found: Document| found.get_document("_id").ok()?.get("brane").cloned();
    Ok(found.and_then(brane))
}

async fn size(link: &Link) -> Result<u64, StoreError> {
    link.step(async {
        let stats = link.db().run_command(doc! {"dbStats": 1}).await?;
        let part = |key: &str| match stats.get(key) {
            Some(Bson::Double(bytes)) => *bytes as u64,
            Some(Bson::Int32(bytes)) => u64::try_from(*bytes).unwrap_or(0),
            Some(Bson::Int64(bytes)) => u64::try_from(*bytes).unwrap_or(0),
            _ => 0,
        };
        Ok(part("storageSize") + part("indexSize"))
    })
    .await
}

/// Puts damage into the report; other errors end the inspection.
fn note_damage(result: Result<(), StoreError>, report: &mut BraneReport) -> Result<(), StoreError> {
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
