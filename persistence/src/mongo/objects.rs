//! Objects as documents: a read model, for other programs.
//!
//! The truth is the journal. These documents follow it, lazily and in bulk,
//! over connections of their own, and take half of the time at most, so that
//! no commit waits for them. Each says `as_of` which edit it shows; that is
//! never one that is not durable, and never goes back.

use std::time::Duration;

use avvy_model::{BraneId, Handle, Object, ObjectId, Position, Seq};
use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, doc};
use tokio::time::Instant;

use super::fault::Failure;
use super::link::{Link, Query};
use super::options::MongoOptions;
use super::rows::{self, OBJECT_VIEWS, OBJECTS, long};
use super::{reader, schema, values};
use crate::error::StoreError;

/// The most objects and bytes of properties of one command. A commit that comes
/// meanwhile waits for some milliseconds at most.
const MAX_OBJECTS: usize = 32;
const MAX_BYTES: usize = 4 << 20;
/// Keys that are read at once of what is to be deleted. The server forgets a
/// search that asks for no more for ten minutes.
const LATE_OBJECTS: u32 = 1_024;
/// Enough to write while something is read.
const CONNECTIONS: u32 = 2;
/// The longest rest after a command.
const LONGEST_REST: Duration = Duration::from_secs(5);
/// The property that shows as a field of its own.
const MODEL: &str = "model";

/// An object with its names.
#[derive(Clone, PartialEq, Debug)]
pub struct ObjectState {
    /// Its number in the brane.
    pub handle: Handle,
    /// The group it is in; `None` for the root.
    pub parent: Option<ObjectId>,
    /// Its state.
    pub object: Object,
}

/// How far the documents of a brane have come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// They show it.
    Written,
    /// What they would show is not durable yet: nothing was written.
    NotDurable,
    /// The brane was opened again since: nothing was written.
    Stale,
}

/// Writes the documents of objects.
pub struct MongoObjects {
    link: Link,
}

impl MongoObjects {
    /// Opens the documents beside the store of these options, which has to be
    /// there.
    ///
    /// # Errors
    /// Those of [`super::MongoStore::open_existing`].
    pub async fn open(options: &MongoOptions) -> Result<Self, StoreError> {
        let own = MongoOptions { max_connections: CONNECTIONS, ..options.clone() };
        let link = Link::new(&own).await?;
        schema::expect(&link).await?;
        Ok(Self { link })
    }

    /// Which edit all documents of a brane together show; `None` if there may
    /// be none.
    ///
    /// # Errors
    /// As the database says.
    pub async fn as_of(&self, brane: BraneId) -> Result<Option<Seq>, StoreError> {
        let query = Query { filter: doc! {"_id": brane.to_string()}, ..Query::default() };
        let found = self.link.one(OBJECT_VIEWS, query).await?;
        Ok(found.and_then(|found| rows::number(&found, "as_of").ok()).map(Seq))
    }

    /// Brings documents to what the brane was `at` a position: deletes those of
    /// `gone`, then writes those of `put`. A document that shows a later edit
    /// stays. The same again is no error.
    ///
    /// # Errors
    /// `UnknownBrane`, or as the database says: then some are written.
    pub async fn write(
        &self,
        brane: BraneId,
        at: Position,
        put: impl IntoIterator<Item = ObjectState>,
        gone: &[ObjectId],
    ) -> Result<Progress, StoreError> {
        let head = reader::current_head(&self.link, brane).await?;
        if head.epoch != at.epoch {
            return Ok(Progress::Stale);
        }
        if head.seq < at.seq {
            return Ok(Progress::NotDurable);
        }
        let as_of = long(at.seq.0);
        let gone: Vec<Bson> = gone.iter().map(|id| id.to_string().into()).collect();
        self.delete(&gone, &doc! {"$lte": as_of}).await?;
        let (mut updates, mut bytes) = (Vec::new(), 0);
        for state in put {
            bytes += state.object.props.as_bytes().len();
            let id = state.object.id.to_string();
            let earlier = doc! {"_id": id, "as_of": {"$lt": as_of}};
            updates.push(doc! {"q": earlier, "u": document(brane, at.seq, &state), "upsert": true});
            if updates.len() >= MAX_OBJECTS || bytes >= MAX_BYTES {
                self.put(std::mem::take(&mut updates)).await?;
                bytes = 0;
            }
        }
        if !updates.is_empty() {
            self.put(updates).await?;
        }
        Ok(Progress::Written)
    }

    /// Says that all documents of a brane show this edit. `is_whole`: all of
    /// its objects were written, and what shows an earlier edit is gone.
    ///
    /// # Errors
    /// As the database says.
    pub async fn complete(
        &self,
        brane: BraneId,
        as_of: Seq,
        is_whole: bool,
    ) -> Result<(), StoreError> {
        let (brane, as_of) = (brane.to_string(), long(as_of.0));
        if is_whole {
            self.delete_before(&brane, as_of).await?;
        }
        let change = doc! {"$max": {"as_of": as_of}};
        self.paced(doc! {
            "update": OBJECT_VIEWS, "updates": [{"q": {"_id": brane}, "u": change, "upsert": true}],
        })
        .await
    }

    /// Lets go of the database.
    pub async fn close(&self) {
        self.link.close().await;
    }

    async fn put(&self, updates: Vec<Document>) -> Result<(), StoreError> {
        let command = doc! {"update": OBJECTS, "updates": updates, "ordered": false};
        self.paced(command).await
    }

    /// Deletes the documents of a brane that show an edit before this one. They
    /// are searched for once: no index knows what a document shows.
    async fn delete_before(&self, brane: &str, as_of: i64) -> Result<(), StoreError> {
        let earlier = doc! {"$lt": as_of};
        let (filter, batch) = (doc! {"brane": brane, "as_of": &earlier}, LATE_OBJECTS);
        let query = Query { filter, fields: doc! {"_id": 1}, batch, ..Query::default() };
        let mut batches = self.link.batches(OBJECTS, query).await?;
        loop {
            let found = batches.next().await?;
            let keys: Vec<Bson> =
                found.into_iter().filter_map(|mut one| one.remove("_id")).collect();
            if keys.is_empty() {
                return Ok(());
            }
            self.delete(&keys, &earlier).await?;
        }
    }

    /// Deletes those of these documents that show such an edit.
    async fn delete(&self, keys: &[Bson], as_of: &Document) -> Result<(), StoreError> {
        for some in keys.chunks(MAX_OBJECTS) {
            let late = doc! {"_id": {"$in": some}, "as_of": as_of};
            let deletes = doc! {"q": late, "limit": 0};
            self.paced(doc! {"delete": OBJECTS, "deletes": [deletes], "ordered": false}).await?;
        }
        Ok(())
    }

    /// Runs a command that writes, and rests as long as it took.
    async fn paced(&self, command: Document) -> Result<(), StoreError> {
        let began = Instant::now();
        let db = self.link.db();
        let run = async |session: &mut ClientSession| {
            db.run_command(command).session(session).await.map_err(Failure::from)
        };
        let answer = self.link.in_session(run).await?;
        tokio::time::sleep(began.elapsed().min(LONGEST_REST)).await;
        let errors = answer.get_array("writeErrors").into_iter().flatten();
        let codes =
            errors.map(|error| error.as_document().and_then(|error| error.get_i32("code").ok()));
        // Where a later one is there already, its key is taken.
        match codes.flatten().find(|code| *code != DUPLICATE) {
            None => Ok(()),
            Some(code) => Err(StoreError::Io(format!("mongodb: the server answered {code}"))),
        }
    }
}

/// `DuplicateKey`.
const DUPLICATE: i32 = 11_000;

fn document(brane: BraneId, as_of: Seq, state: &ObjectState) -> Document {
    let ObjectState { handle, parent, object } = state;
    let floats = |of: &[f64]| of.iter().copied().map(Bson::Double).collect::<Vec<_>>();
    let transform = &object.transform;
    let scale = transform.scale().map(f64::from);
    let mut props = values::properties(&object.props);
    let model = props.remove(MODEL).unwrap_or(Bson::Null);
    doc! {
        "_id": object.id.to_string(),
        "brane": brane.to_string(),
        "handle": i64::from(handle.0),
        "parent": parent.map_or(Bson::Null, |parent| Bson::String(parent.to_string())),
        "kind": object.kind.name(),
        "owner": object.owner.to_string(),
        "prototype": model,
        "position": floats(&transform.position_m()),
        "rotation": floats(&transform.rotation.to_quaternion()),
        "scale": floats(&scale),
        "properties": props,
        "as_of": long(as_of.0),
    }
}
