//! Inspection: a long walk in short steps that changes nothing.

use avvy_model::{BraneId, Seq};
use mongodb::bson::{Bson, Document, doc};

use super::compact::some_branes;
use super::fleet;
use super::link::{Link, Query};
use super::reader::{self, Outline};
use super::records;
use super::rows::{BRANES, CHUNKS, COMPACTED};
use super::schema::VERSION;
use crate::error::{Place, StoreError};
use crate::inspection::{Walk, note_damage};
use crate::report::{BraneReport, Damage, StoreReport};

/// How often a brane is read, at most, that is compacted meanwhile: a pack that
/// is split then may be found whole and in part, and all that was there gone.
const LOOKS: u32 = 4;

/// Reads everything of a brane.
pub(super) async fn brane(link: &Link, brane: BraneId) -> Result<BraneReport, StoreError> {
    for _ in 1..LOOKS {
        let before = compacted(link, brane).await?;
        let report = look(link, brane).await?;
        let is_whole = report.damage_count == 0 && report.torn.is_none();
        if is_whole || compacted(link, brane).await? == before {
            return Ok(report);
        }
    }
    look(link, brane).await
}

/// When some of a brane's journal was last deleted.
async fn compacted(link: &Link, brane: BraneId) -> Result<Option<Bson>, StoreError> {
    let (filter, fields) = (doc! {"_id": brane.to_string()}, doc! {COMPACTED: 1});
    let found = link.one(BRANES, Query { filter, fields, ..Query::default() }).await?;
    Ok(found.and_then(|found| found.get(COMPACTED).cloned()))
}

async fn look(link: &Link, brane: BraneId) -> Result<BraneReport, StoreError> {
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
    let hold = fleet::hold(link, brane).await.map(drop);
    note_damage(hold, &mut report)?;
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
    let head = outline.head;
    let mut walk = Walk::new(brane, head.seq, outline.covered(), report);
    let mut at = Some(Seq(0));
    while let Some(from) = at {
        let bite = reader::bite(link, brane, from, Seq(0)).await?;
        let is_on = bite.links.into_iter().all(|(link, length)| walk.feed(link, length));
        at = bite.next.filter(|_| is_on);
    }
    if let Some(Damage { place, why }) = walk.finish(head.chunks)
        && reader::current_head(link, brane).await? == head
    {
        report.add(place, why);
    }
    Ok(())
}

/// Checks what belongs to no brane alone.
pub(super) async fn store(link: &Link) -> Result<StoreReport, StoreError> {
    let device_bytes = size(link).await?;
    let mut report = StoreReport { schema: VERSION, device_bytes, ..StoreReport::default() };
    let mut after = String::new();
    loop {
        let (some, last) = some_branes(link, &after).await?;
        for brane in some.into_iter().filter_map(|listed| listed.brane) {
            match reader::brane(link, brane).await {
                Ok(_) => report.branes += 1,
                Err(StoreError::Damaged { place, why }) => report.add(place, why),
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
            report.add(place, "there is no such brane".into());
        }
        journal = next;
    }
    match records::verify(link, &mut report).await {
        Err(StoreError::Damaged { place, why }) => report.add(place, why),
        other => other?,
    }
    Ok(report)
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
