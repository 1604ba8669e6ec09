//! The documents, a field per thing, each sealed with a checksum.
//!
//! Numbers are 64 bits long, times are dates, ids are UUIDs as text. What is
//! not of the type that it was written with is damage.

use avvy_model::{BraneId, Epoch, Grid, Seq, UserId, Visibility};
use bytes::Bytes;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Document, doc};

use crate::checksum::{self, Header};
use crate::chunk::Chunk;
use crate::error::{Place, StoreError};
use crate::hold::{Coming, Handed, Hold};
use crate::life::{Life, encode_later};
use crate::lineage::{self, Lineage};
use crate::record::{BraneKind, BraneRecord};
use crate::report::Cut;
use crate::snapshot::{SnapshotId, SnapshotInfo, SnapshotStart};
use crate::store::TornTail;

/// A brane's record and head.
pub(super) const BRANES: &str = "branes";
/// In it the newest chunks of its journal, see [`super::tail`].
pub(super) const TAIL: &str = "tail";
/// In a brane's document: when some of its journal was last deleted.
pub(super) const COMPACTED: &str = "compacted";
/// The nodes of the fleet.
pub(super) const NODES: &str = "nodes";
/// When each opening of a brane began.
pub(super) const LINEAGES: &str = "lineages";
/// The journal.
pub(super) const CHUNKS: &str = "chunks";
/// What of a chunk is more than one document holds.
pub(super) const CHUNK_RESTS: &str = "chunk_rests";
/// The tails that openings cut, and what was in them.
pub(super) const CUTS: &str = "cuts";
pub(super) const CUT_CHUNKS: &str = "cut_chunks";
pub(super) const SNAPSHOTS: &str = "snapshots";
pub(super) const PARTS: &str = "snapshot_parts";
/// The server's own values.
pub(super) const META: &str = "meta";
/// The read model: objects, and how far those of a brane have come.
pub(super) const OBJECTS: &str = "objects";
pub(super) const OBJECT_VIEWS: &str = "object_views";
/// What was given out last.
pub(super) const COUNTERS: &str = "counters";

/// The last edit that a number of MongoDB's can hold.
pub(super) const MAX_SEQ: Seq = Seq(i64::MAX.cast_unsigned());

/// The most bytes of a chunk in one document, which may have 16 MiB.
pub(super) const PIECE_BYTES: usize = 8 << 20;

/// A number as MongoDB holds it.
pub(super) const fn long(number: u64) -> i64 {
    number.cast_signed()
}

/// A time in Unix milliseconds as MongoDB holds it.
pub(super) fn date(ms: u64) -> DateTime {
    DateTime::from_millis(ms.cast_signed())
}

/// Bytes as MongoDB holds them.
pub(super) fn binary(bytes: &[u8]) -> Bson {
    Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() })
}

/// A field that has to be there, or what is wrong.
type Read<T> = Result<T, String>;

fn wrong(key: &str) -> String {
    format!("its field {key} is missing or of the wrong type")
}

pub(super) fn number(from: &Document, key: &str) -> Read<u64> {
    from.get_i64(key).map(i64::cast_unsigned).map_err(|_| wrong(key))
}

fn time(from: &Document, key: &str) -> Read<u64> {
    let time = from.get_datetime(key).map_err(|_| wrong(key))?;
    Ok(time.timestamp_millis().cast_unsigned())
}

pub(super) fn text<'a>(from: &'a Document, key: &str) -> Read<&'a str> {
    from.get_str(key).map_err(|_| wrong(key))
}

fn id<T: std::str::FromStr>(from: &Document, key: &str) -> Read<T> {
    text(from, key)?.parse().map_err(|_| wrong(key))
}

/// Takes bytes out of a document.
pub(super) fn bytes(from: &mut Document, key: &str) -> Read<Bytes> {
    match from.remove(key) {
        Some(Bson::Binary(binary)) => Ok(Bytes::from(binary.bytes)),
        _ => Err(wrong(key)),
    }
}

fn sealed(from: &Document, key: &str, sum: u64, what: &str) -> Read<()> {
    if number(from, key)? == sum { Ok(()) } else { Err(format!("{what} checksum is wrong")) }
}

/// The error of something that is not what was written.
pub(super) fn damaged(place: Place, why: impl Into<String>) -> StoreError {
    StoreError::Damaged { place, why: why.into() }
}

// --- branes ---

/// Where a brane's journal stands. Rewritten with every commit, so that a tail
/// that vanished whole is noticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Head {
    pub(super) epoch: Epoch,
    pub(super) seq: Seq,
    /// Chunks kept.
    pub(super) chunks: u64,
    /// The length of their bodies.
    pub(super) bytes: u64,
}

impl Head {
    /// The fields of a brane's document that [`Head::read`] reads.
    pub(super) fn fields() -> Document {
        doc! {"epoch": 1, "head": 1, "chunks": 1, "bytes": 1, "head_checksum": 1}
    }

    /// Reads it from a brane's document.
    pub(super) fn read(from: &Document, brane: BraneId) -> Result<Self, StoreError> {
        let read = || {
            let head = Self {
                epoch: Epoch(number(from, "epoch")?),
                seq: Seq(number(from, "head")?),
                chunks: number(from, "chunks")?,
                bytes: number(from, "bytes")?,
            };
            sealed(from, "head_checksum", head.checksum(brane), "its head's")?;
            Ok(head)
        };
        read().map_err(|why: String| damaged(Place::Brane(brane), why))
    }

    /// The fields of a brane's document.
    pub(super) fn document(&self, brane: BraneId) -> Document {
        doc! {
            "epoch": long(self.epoch.0),
            "head": long(self.seq.0),
            "chunks": long(self.chunks),
            "bytes": long(self.bytes),
            "head_checksum": long(self.checksum(brane)),
        }
    }

    /// A filter that finds the brane's document while its head is this one:
    /// the checksum is over all of it.
    pub(super) fn filter(&self, brane: BraneId) -> Document {
        let (epoch, head) = (long(self.epoch.0), long(self.seq.0));
        let sum = long(self.checksum(brane));
        doc! {"_id": brane.to_string(), "epoch": epoch, "head": head, "head_checksum": sum}
    }

    fn checksum(&self, brane: BraneId) -> u64 {
        Header::new(b"AVVYhead")
            .bytes(&brane.to_bytes())
            .number(self.epoch.0)
            .number(self.seq.0)
            .number(self.chunks)
            .number(self.bytes)
            .seal(&[])
    }
}

/// A brane's document may say who holds it.
pub(super) const HOLDER: &str = "holder";
/// It may also say to whom it is offered.
pub(super) const TARGET: &str = "coming.to";

/// Reads from a brane's document who holds it.
pub(super) fn hold(from: &Document, brane: BraneId) -> Result<Hold, StoreError> {
    let part = |key: &'static str| match from.get(key) {
        None => Ok(None),
        Some(part) => part.as_document().map(Some).ok_or_else(|| wrong(key)),
    };
    let read = || {
        let holder = from.contains_key(HOLDER).then(|| id(from, HOLDER)).transpose()?;
        let coming = part("coming")?.map(|coming| {
            let is_ready = coming.get_bool("ready").map_err(|_| wrong("coming"))?;
            Ok::<_, String>(Coming { to: id(coming, "to")?, is_ready })
        });
        let handed = part("handed")?.map(|handed| {
            let epoch = Epoch(number(handed, "epoch")?);
            Ok::<_, String>(Handed { from: id(handed, "from")?, epoch, to: id(handed, "to")? })
        });
        Ok(Hold { holder, coming: coming.transpose()?, handed: handed.transpose()? })
    };
    read().map_err(|why: String| damaged(Place::Brane(brane), why))
}

/// The change of a brane's document that has it say who holds it, and sets
/// other fields.
pub(super) fn hold_change(hold: &Hold, others: Document) -> Document {
    let coming = |coming: Coming| doc! {"to": coming.to.to_string(), "ready": coming.is_ready};
    let handed = |Handed { from, epoch, to }: Handed| {
        doc! {"from": from.to_string(), "epoch": long(epoch.0), "to": to.to_string()}
    };
    let fields = [
        (HOLDER, hold.holder.map(|holder| Bson::from(holder.to_string()))),
        ("coming", hold.coming.map(coming).map(Bson::from)),
        ("handed", hold.handed.map(handed).map(Bson::from)),
    ];
    let (mut set, mut unset) = (others, Document::new());
    for (key, value) in fields {
        match value {
            Some(value) => set.insert(key, value),
            None => unset.insert(key, ""),
        };
    }
    // Old servers take no change that is empty.
    let changes = [("$set", set), ("$unset", unset)].into_iter();
    changes
        .filter(|(_, fields)| !fields.is_empty())
        .map(|(key, fields)| (key.to_owned(), fields.into()))
        .collect()
}

/// The document of a new brane.
pub(super) fn new_brane(record: &BraneRecord) -> Document {
    let mut document = doc! {
        "_id": record.id.to_string(),
        "owner": record.owner.to_string(),
        "created": date(record.created_ms),
        "cell_size": long(record.grid.size().into()),
    };
    let (changing, life) = changing(record);
    document.extend(changing);
    document.extend(life.map(|life| ("life".to_owned(), life.into())));
    document.extend(Head::default().document(record.id));
    document
}

/// The change of a brane's document that makes its record this one, and sets
/// other fields.
pub(super) fn record_change(record: &BraneRecord, others: Document) -> Document {
    let (mut set, life) = changing(record);
    set.extend(others);
    match life {
        Some(life) => {
            set.insert("life", life);
            doc! {"$set": set}
        }
        None => doc! {"$set": set, "$unset": {"life": ""}},
    }
}

/// What of a record may change, and what has become of the brane, which an
/// active one does not say.
fn changing(record: &BraneRecord) -> (Document, Option<Document>) {
    let fields = doc! {
        "name": record.name.clone(),
        "kind": record.kind.name(),
        "visibility": record.visibility.name(),
        "description": record.description.clone(),
        "tags": record.tags.clone(),
        "version": long(record.version),
        "record_checksum": long(record_checksum(record)),
    };
    let state = record.life.name();
    let mut life = match record.life {
        Life::Active => None,
        Life::Archived { since_ms, successor: Some(successor) } => Some(doc! {
            "state": state, "since": date(since_ms), "successor": successor.to_string(),
        }),
        Life::Doomed { since_ms, purge_ms } => {
            Some(doc! {"state": state, "since": date(since_ms), "purge": date(purge_ms)})
        }
        Life::Purging { since_ms } => {
            Some(doc! {"state": state, "since": date(since_ms), "purge": date(0)})
        }
        Life::Archived { since_ms, successor: None } | Life::Purged { since_ms } => {
            Some(doc! {"state": state, "since": date(since_ms)})
        }
    };
    if record.by_operator
        && let Some(life) = &mut life
    {
        life.insert(BY_OPERATOR, true);
    }
    (fields, life)
}

/// What has become of a brane. Documents of before have nothing of it.
fn life(from: &Document) -> Read<Life> {
    let Some(life) = from.get("life") else { return Ok(Life::Active) };
    let life = life.as_document().ok_or_else(|| wrong("life"))?;
    let since_ms = time(life, "since")?;
    match text(life, "state")? {
        "archived" => {
            let successor = life.contains_key("successor").then(|| id(life, "successor"));
            Ok(Life::Archived { since_ms, successor: successor.transpose()? })
        }
        "deleted" => Ok(Life::Doomed { since_ms, purge_ms: time(life, "purge")? }),
        "purging" => Ok(Life::Purging { since_ms }),
        "purged" => Ok(Life::Purged { since_ms }),
        _ => Err(wrong("life")),
    }
}

/// In what has become of a brane: that an operator archived it.
const BY_OPERATOR: &str = "by_operator";

/// Whether an operator archived a brane; what says nothing of it: no.
fn by_operator(from: &Document) -> Read<bool> {
    let life = from.get("life").and_then(Bson::as_document);
    match life.and_then(|life| life.get(BY_OPERATOR)) {
        None => Ok(false),
        Some(Bson::Boolean(true)) => Ok(true),
        Some(_) => Err(wrong(BY_OPERATOR)),
    }
}

/// The tags of a brane. Documents of before have none.
fn tags(from: &Document) -> Read<Vec<String>> {
    let Some(tags) = from.get("tags") else { return Ok(Vec::new()) };
    let tags = tags.as_array().ok_or_else(|| wrong("tags"))?;
    tags.iter().map(|tag| tag.as_str().map(str::to_owned).ok_or_else(|| wrong("tags"))).collect()
}

/// A brane's record.
pub(super) fn record(from: &Document) -> Result<BraneRecord, StoreError> {
    let place = match id(from, "_id") {
        Ok(brane) => Place::Brane(brane),
        Err(_) => Place::File(format!("{BRANES}, {:?}", from.get("_id"))),
    };
    let read = || {
        let later = |key: &str| from.contains_key(key);
        let (id, owner) = (id(from, "_id")?, id::<UserId>(from, "owner")?);
        let record = BraneRecord {
            name: text(from, "name")?.to_owned(),
            kind: BraneKind::from_name(text(from, "kind")?).ok_or_else(|| wrong("kind"))?,
            visibility: Visibility::from_name(text(from, "visibility")?)
                .ok_or_else(|| wrong("visibility"))?,
            description: match later("description") {
                true => text(from, "description")?.to_owned(),
                false => String::new(),
            },
            tags: tags(from)?,
            life: life(from)?,
            by_operator: by_operator(from)?,
            version: if later("version") { number(from, "version")? } else { 1 },
            grid: u32::try_from(number(from, "cell_size")?)
                .ok()
                .and_then(Grid::new)
                .ok_or_else(|| wrong("cell_size"))?,
            ..BraneRecord::new(id, owner, time(from, "created")?)
        };
        sealed(from, "record_checksum", record_checksum(&record), "its record's")?;
        Ok(record)
    };
    read().map_err(|why: String| damaged(place, why))
}

fn record_checksum(record: &BraneRecord) -> u64 {
    // Names of kinds and visibilities hold no line breaks.
    let body = format!("{}\n{}\n{}", record.kind.name(), record.visibility.name(), record.name);
    Header::new(b"AVVYbran")
        .bytes(&record.id.to_bytes())
        .bytes(&record.owner.to_bytes())
        .number(record.created_ms)
        .number(record.grid.size().into())
        .bytes(&encode_later(record))
        .seal(body.as_bytes())
}

/// The document of a brane's openings.
pub(super) fn lineage_document(brane: BraneId, lineage: &Lineage) -> Document {
    let openings = lineage
        .iter()
        .map(|(epoch, start)| Bson::from(doc! {"epoch": long(epoch.0), "start": long(start.0)}));
    doc! {
        "_id": brane.to_string(),
        "openings": openings.collect::<Vec<Bson>>(),
        "checksum": long(lineage_checksum(brane, lineage)),
    }
}

/// A brane's openings.
pub(super) fn lineage(from: &Document, brane: BraneId) -> Result<Lineage, StoreError> {
    let opening = |opening: &Bson| {
        let opening = opening.as_document().ok_or_else(|| wrong("openings"))?;
        Ok((Epoch(number(opening, "epoch")?), Seq(number(opening, "start")?)))
    };
    let read = || {
        let openings = from.get_array("openings").map_err(|_| wrong("openings"))?;
        let lineage = openings.iter().map(opening).collect::<Read<Lineage>>()?;
        sealed(from, "checksum", lineage_checksum(brane, &lineage), "its lineage's")?;
        Ok(lineage)
    };
    read().map_err(|why: String| damaged(Place::Brane(brane), why))
}

fn lineage_checksum(brane: BraneId, lineage: &Lineage) -> u64 {
    Header::new(b"AVVYline").bytes(&brane.to_bytes()).seal(&lineage::encode(lineage))
}

// --- the journal ---

/// The key of the chunk that follows this edit. Chunks of a brane lie side by
/// side, in order; two that follow the same edit cannot both be stored.
pub(super) fn chunk_key(brane: BraneId, from: Seq) -> Document {
    doc! {"brane": brane.to_string(), "from": long(from.0.min(MAX_SEQ.0))}
}

/// A filter for the chunks of a brane that begin at `from` or later.
pub(super) fn chunks_from(brane: BraneId, from: Seq) -> Document {
    doc! {"_id": {"$gte": chunk_key(brane, from), "$lte": chunk_key(brane, MAX_SEQ)}}
}

/// The edit before a chunk, by its key.
pub(super) fn from_of(chunk: &Document) -> Read<Seq> {
    let key = chunk.get_document("_id").map_err(|_| wrong("_id"))?;
    let from = Seq(number(key, "from")?);
    if from <= MAX_SEQ { Ok(from) } else { Err(wrong("from")) }
}

/// Whether a document is a chunk of this brane, by its key.
pub(super) fn is_chunk_of(chunk: &Document, brane: BraneId) -> bool {
    let owner = chunk.get_document("_id").and_then(|key| key.get_str("brane"));
    owner.is_ok_and(|owner| owner == brane.to_string()) && from_of(chunk).is_ok()
}

/// A chunk as it was found.
pub(super) struct Found {
    /// The edit before it, by its key.
    pub(super) from: Seq,
    /// The last edit in it, by its own words.
    pub(super) to: Seq,
    /// The chunk, or what is wrong with it.
    pub(super) chunk: Result<Chunk, String>,
}

impl Found {
    /// Reads a document of the journal; `rest` is what further documents hold.
    pub(super) fn read(mut from: Document, rest: &[Bytes], brane: BraneId) -> Read<Self> {
        let begin = from_of(&from)?;
        let to = number(&from, "to").map_or(begin.next(), Seq);
        let mut read = || {
            let mut body = bytes(&mut from, "body")?;
            if !rest.is_empty() {
                let pieces = std::iter::once(&body).chain(rest).map(Bytes::as_ref);
                body = Bytes::from(pieces.collect::<Vec<_>>().concat());
            }
            let (epoch, at_ms) = (Epoch(number(&from, "epoch")?), time(&from, "at")?);
            let sum = checksum::chunk(brane, epoch, begin, to, at_ms, &body);
            sealed(&from, "checksum", sum, "its")?;
            Ok(Chunk { epoch, from: begin, to, at_ms, body })
        };
        Ok(Self { from: begin, to, chunk: read() })
    }
}

// --- cuts ---

/// The key of the cut that an opening made.
pub(super) fn cut_key(brane: BraneId, epoch: Epoch) -> Document {
    doc! {"brane": brane.to_string(), "epoch": long(epoch.0)}
}

/// The document of a cut.
pub(super) fn cut_document(brane: BraneId, cut: &Cut) -> Document {
    let TornTail { kept, claimed, chunks, why } = &cut.torn;
    doc! {
        "_id": cut_key(brane, cut.epoch),
        "kept": long(kept.0),
        "claimed": long(claimed.0),
        "chunks": long(*chunks),
        "why": why.clone(),
        "checksum": long(cut_checksum(brane, cut)),
    }
}

/// A cut.
pub(super) fn cut(from: &Document, brane: BraneId) -> Result<Cut, StoreError> {
    let read = || {
        let key = from.get_document("_id").map_err(|_| wrong("_id"))?;
        let torn = TornTail {
            kept: Seq(number(from, "kept")?),
            claimed: Seq(number(from, "claimed")?),
            chunks: number(from, "chunks")?,
            why: text(from, "why")?.to_owned(),
        };
        let cut = Cut { epoch: Epoch(number(key, "epoch")?), torn };
        sealed(from, "checksum", cut_checksum(brane, &cut), "one of its cuts'")?;
        Ok(cut)
    };
    read().map_err(|why: String| damaged(Place::Brane(brane), why))
}

fn cut_checksum(brane: BraneId, cut: &Cut) -> u64 {
    Header::new(b"AVVYcut ")
        .bytes(&brane.to_bytes())
        .number(cut.epoch.0)
        .number(cut.torn.kept.0)
        .number(cut.torn.claimed.0)
        .number(cut.torn.chunks)
        .seal(cut.torn.why.as_bytes())
}

// --- snapshots ---

/// The key of a part.
pub(super) fn part_key(snapshot: SnapshotId, index: u32) -> Document {
    doc! {"snapshot": long(snapshot.0), "index": i64::from(index)}
}

/// A filter for all parts of a snapshot.
pub(super) fn parts_of(snapshot: SnapshotId) -> Document {
    doc! {"_id": {"$gte": part_key(snapshot, 0), "$lte": part_key(snapshot, u32::MAX)}}
}

/// The document of a snapshot that is being written.
pub(super) fn begun(snapshot: SnapshotId, start: &SnapshotStart) -> Document {
    doc! {
        "_id": long(snapshot.0),
        "brane": start.brane.to_string(),
        "epoch": long(start.epoch.0),
        "at": long(start.at.0),
        "taken": date(start.taken_ms),
        "state": "writing",
    }
}

/// The fields that a snapshot has once it is finished.
pub(super) fn finished(brane: BraneId, info: &SnapshotInfo) -> Document {
    doc! {
        "state": "finished",
        "parts": i64::from(info.parts),
        "bytes": long(info.bytes),
        "checksum": long(snapshot_checksum(brane, info)),
    }
}

/// A finished snapshot.
pub(super) fn snapshot(from: &Document, brane: BraneId) -> Result<SnapshotInfo, StoreError> {
    let name = SnapshotId(number(from, "_id").unwrap_or_default());
    let read = || {
        let parts = number(from, "parts")?;
        let info = SnapshotInfo {
            id: name,
            epoch: Epoch(number(from, "epoch")?),
            at: Seq(number(from, "at")?),
            parts: u32::try_from(parts).map_err(|_| wrong("parts"))?,
            bytes: number(from, "bytes")?,
            taken_ms: time(from, "taken")?,
        };
        sealed(from, "checksum", snapshot_checksum(brane, &info), "its")?;
        Ok(info)
    };
    let place = Place::Snapshot { brane, snapshot: name };
    read().map_err(|why: String| damaged(place, why))
}

fn snapshot_checksum(brane: BraneId, info: &SnapshotInfo) -> u64 {
    Header::new(b"AVVYsnap")
        .bytes(&brane.to_bytes())
        .number(info.id.0)
        .number(info.epoch.0)
        .number(info.at.0)
        .number(u64::from(info.parts))
        .number(info.bytes)
        .number(info.taken_ms)
        .seal(&[])
}

/// The document of a value of the server's own.
pub(super) fn meta(key: &str, value: &[u8]) -> Document {
    doc! {"_id": key, "value": binary(value), "checksum": long(meta_checksum(key, value))}
}

/// The checksum of a value of the server's own.
pub(super) fn meta_checksum(key: &str, value: &[u8]) -> u64 {
    Header::new(b"AVVYmeta").bytes(key.as_bytes()).seal(value)
}
