//! Opening a brane for a new writer.
//!
//! [`Take`] is the place where one writer follows another: the change of the
//! brane's document that it makes refuses all that was read before it. Whether
//! the holder before may be followed is judged there, too.
//! Then the journal is judged, and [`Settle`] writes down what came of it.

use avvy_model::{BraneId, Epoch, NodeId, Seq};
use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, doc};

use super::fault::Failure;
use super::fleet;
use super::link::{Link, Query, Work};
use super::pack;
use super::reader::{self, Bite, Outline, Snapshots};
use super::rows::{
    self, BRANES, CHUNK_RESTS, CHUNKS, CUT_CHUNKS, CUTS, Head, LINEAGES, chunks_from, long,
};
use super::tail;
use crate::error::StoreError;
use crate::lineage::{self, Lineage};
use crate::report::{Cut, Damage};
use crate::scan::{Scan, Verdict};
use crate::store::{Opened, TornTail};

/// Chunks put aside in one step, and about how many bytes of them.
const BITE_CHUNKS: u32 = 64;
const BITE_BYTES: usize = 16 << 20;

/// Opens a brane.
pub(super) async fn open(
    link: &Link,
    brane: BraneId,
    node: Option<NodeId>,
    opening: Opening,
) -> Result<Opened, StoreError> {
    let head = link.transact(&Take { brane, node, opening }).await?;
    let outline = reader::outline(link, brane).await?;
    for Damage { place, why } in &outline.snapshots.damages {
        tracing::error!(%place, why, "a snapshot's entry is damaged: it is passed over");
    }
    let verdict = judge(link, brane, &outline).await?;
    if let Verdict::Torn(torn) = &verdict {
        put_aside(link, brane, head.epoch, torn).await?;
    }
    let torn = match verdict {
        Verdict::Whole => None,
        Verdict::Torn(torn) => Some(torn),
    };
    link.transact(&Settle { brane, epoch: head.epoch, torn }).await
}

/// For what a brane is opened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// To write: only an active one.
    ToWrite,
    /// To copy it.
    ToCopy,
}

/// Takes the next epoch of a brane for a node. From then on no earlier writer
/// can store anything.
struct Take {
    brane: BraneId,
    /// `None`: a store that is part of no fleet. It holds nothing, and waits
    /// for nodes like a node.
    node: Option<NodeId>,
    opening: Opening,
}

impl Work for Take {
    type Answer = Head;

    async fn run(&self, link: &Link, session: &mut ClientSession) -> Result<Head, Failure> {
        let Self { brane, node, opening } = self;
        let (old, mut hold) = fleet::head_and_hold(link, session, *brane).await?;
        if *opening == Opening::ToWrite {
            reader::expect_active(link, session, *brane).await?;
        }
        if let Some(holder) = hold.in_the_way_of(*node) {
            fleet::outlive(link, session, holder).await?;
        }
        tail::settle(link, session, *brane, old.filter(*brane)).await?;
        hold.take(*node);
        let new = Head { epoch: old.epoch.next(), ..old };
        let change = rows::hold_change(&hold, new.document(*brane));
        let statement = (old.filter(*brane), change);
        if !link.update(session, BRANES, vec![statement]).await? {
            return Err(Failure::Again);
        }
        Ok(new)
    }
}

/// Judges the journal after the newest snapshot.
async fn judge(link: &Link, brane: BraneId, outline: &Outline) -> Result<Verdict, StoreError> {
    let covered = outline.covered();
    let mut damage = None;
    let mut found = |found: Damage| {
        damage.get_or_insert(found);
    };
    let mut scan = Scan::new(brane, covered, covered);
    let mut at = Some(reader::begin(link, brane, covered).await?);
    while let Some(from) = at {
        let Bite { links, next } = reader::bite(link, brane, from, covered).await?;
        links.into_iter().for_each(|(link, _)| scan.feed(link, &mut found));
        at = next;
    }
    let verdict = scan.finish(outline.head.seq, &mut found);
    if matches!(verdict, Verdict::Torn(_)) {
        // What is missing may be in the snapshot whose entry cannot be read.
        outline.snapshots.damages.iter().cloned().for_each(&mut found);
    }
    match damage {
        None => Ok(verdict),
        Some(Damage { place, why }) => Err(StoreError::Damaged { place, why }),
    }
}

/// Copies the chunks after the last good one as they were found. A tail that
/// a head claims and that is not whole was stored and acknowledged once: it is
/// cut, because a brane that opens without its last edits is of more use than
/// one that stays closed, but never silently.
async fn put_aside(
    link: &Link,
    brane: BraneId,
    epoch: Epoch,
    torn: &TornTail,
) -> Result<(), StoreError> {
    let TornTail { kept, claimed, chunks, why } = torn;
    tracing::error!(%brane, from = %kept, to = %claimed, chunks, why,
        "edits that had been stored are not whole: they are cut off and put aside");
    let begin = reader::begin(link, brane, *kept).await?;
    let aside = link.collection(CUT_CHUNKS);
    for collection in [CHUNKS, CHUNK_RESTS] {
        let mut filter = chunks_from(brane, begin);
        loop {
            let (sort, max_bytes) = (doc! {"_id": 1}, BITE_BYTES);
            let query = Query { filter, sort, limit: BITE_CHUNKS, max_bytes, ..Query::default() };
            let found = link.many(collection, query).await?;
            let Some(last) = found.last().and_then(|last| last.get("_id")).cloned() else { break };
            filter = chunks_from(brane, begin);
            if let Ok(range) = filter.get_document_mut("_id") {
                range.insert("$gt", last);
            }
            for mut document in found {
                let key = document.remove("_id").unwrap_or(Bson::Null);
                let id = doc! {"cut": long(epoch.0), "chunk": key};
                document.insert("_id", id.clone());
                link.in_session(async |session| {
                    let replace = aside.replace_one(doc! {"_id": id}, document).upsert(true);
                    Ok(replace.session(session).await.map(drop)?)
                })
                .await?;
            }
        }
    }
    Ok(())
}

/// Ends an opening: cuts a torn tail, and writes the lineage.
struct Settle {
    brane: BraneId,
    epoch: Epoch,
    torn: Option<TornTail>,
}

impl Work for Settle {
    type Answer = Opened;

    async fn run(&self, link: &Link, session: &mut ClientSession) -> Result<Opened, Failure> {
        let Self { brane, epoch, torn } = self;
        let old = reader::head(link, session, *brane).await?;
        if old.epoch != *epoch {
            return Err(StoreError::StaleEpoch { current: old.epoch }.into());
        }
        let mut new = old;
        if let Some(torn) = torn
            && !self.is_cut(link, session).await?
        {
            new = self.cut(link, session, old, torn).await?;
        }
        let mut lineage = read_lineage(link, session, *brane, &old).await?;
        if lineage.last().is_none_or(|(last, _)| last < epoch) {
            lineage::push(&mut lineage, *epoch, new.seq);
        }
        let document = rows::lineage_document(*brane, &lineage);
        let filter = doc! {"_id": brane.to_string()};
        let lineages = link.collection(LINEAGES);
        lineages.replace_one(filter, document).upsert(true).session(&mut *session).await?;
        let mut fields = new.document(*brane);
        // Changes with every opening, so that the document is written.
        fields.insert("opened", long(epoch.0));
        let statement = (old.filter(*brane), doc! {"$set": fields});
        if !link.update(session, BRANES, vec![statement]).await? {
            return Err(Failure::Again);
        }
        let snapshots = Snapshots::read(link, session, *brane).await?.whole;
        let torn = torn.clone();
        let record = reader::record_in(link, session, *brane).await?;
        Ok(Opened { record, epoch: *epoch, lineage, head: new.seq, snapshots, torn })
    }
}

impl Settle {
    /// Whether an earlier attempt has cut, and was not answered.
    async fn is_cut(&self, link: &Link, session: &mut ClientSession) -> Result<bool, Failure> {
        let filter = doc! {"_id": rows::cut_key(self.brane, self.epoch)};
        let query = Query { filter, fields: doc! {"_id": 1}, limit: 1, ..Query::default() };
        Ok(!link.find(session, CUTS, query).await?.is_empty())
    }

    /// Deletes what was put aside, and counts what is left.
    async fn cut(
        &self,
        link: &Link,
        session: &mut ClientSession,
        head: Head,
        torn: &TornTail,
    ) -> Result<Head, Failure> {
        pack::split(link, session, self.brane, torn.kept).await?;
        let begin = reader::begin_in(link, session, self.brane, torn.kept).await?;
        for collection in [CHUNK_RESTS, CHUNKS] {
            let tail = chunks_from(self.brane, begin);
            link.collection(collection).delete_many(tail).session(&mut *session).await?;
        }
        let cut = Cut { epoch: self.epoch, torn: torn.clone() };
        let document = rows::cut_document(self.brane, &cut);
        link.collection(CUTS).insert_one(document).session(&mut *session).await?;
        let (chunks, bytes) = reader::measure(link, session, self.brane).await?;
        Ok(Head { seq: torn.kept, chunks, bytes, ..head })
    }
}

/// A brane's openings. There are none before the first has ended well, and
/// nothing is stored before that.
pub(super) async fn read_lineage(
    link: &Link,
    session: &mut ClientSession,
    brane: BraneId,
    head: &Head,
) -> Result<Lineage, Failure> {
    let query = Query { filter: doc! {"_id": brane.to_string()}, limit: 1, ..Query::default() };
    let found: Option<Document> = link.find(session, LINEAGES, query).await?.into_iter().next();
    match found {
        Some(found) => Ok(rows::lineage(&found, brane)?),
        None if head.seq == Seq(0) => Ok(Lineage::new()),
        None => {
            let place = crate::error::Place::Brane(brane);
            Err(rows::damaged(place, "its lineage is missing").into())
        }
    }
}
