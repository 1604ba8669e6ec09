//! The collections, their indexes, and the version of all that.

use mongodb::IndexModel;
use mongodb::bson::{Document, doc};
use mongodb::error::{Error, ErrorKind};
use mongodb::options::IndexOptions;

use super::fault::{self, Failure};
use super::link::{Link, Query};
use super::rows::{
    BRANES, CHUNK_RESTS, CHUNKS, COUNTERS, CUT_CHUNKS, CUTS, LINEAGES, META, OBJECT_VIEWS, OBJECTS,
    PARTS, SNAPSHOTS, damaged, number,
};
use crate::error::{Place, StoreError};

/// The version of the documents that this program writes.
pub(super) const VERSION: u32 = 1;

/// The collection of one document that says the version.
const SCHEMA: &str = "schema";

/// Every collection. Keys are in `_id`, whose index is unique everywhere.
const COLLECTIONS: [&str; 12] = [
    BRANES,
    LINEAGES,
    CHUNKS,
    CHUNK_RESTS,
    CUTS,
    CUT_CHUNKS,
    SNAPSHOTS,
    PARTS,
    OBJECTS,
    OBJECT_VIEWS,
    META,
    COUNTERS,
];

/// `NamespaceExists`: another start made it at the same time.
const EXISTS: i32 = 48;

/// Makes what is missing, while it is empty, and refuses what is newer.
pub(super) async fn prepare(link: &Link) -> Result<(), StoreError> {
    link.step(expect_transactions(link)).await?;
    if is_current(link).await? {
        return Ok(());
    }
    for name in COLLECTIONS {
        link.step(create(link, name)).await?;
    }
    for (collection, name, keys) in indexes() {
        link.step(index(link, collection, name, keys)).await?;
    }
    // Last: whoever finds the version finds everything else.
    link.step(async {
        let document = doc! {"_id": "avvyland", "version": i64::from(VERSION)};
        match link.collection(SCHEMA).insert_one(document).await {
            Err(error) if fault::is_duplicate(&error) => Ok(()),
            other => Ok(other.map(drop)?),
        }
    })
    .await
}

/// Refuses a database in which there is no store.
pub(super) async fn expect(link: &Link) -> Result<(), StoreError> {
    match is_current(link).await? {
        true => Ok(()),
        false => Err(StoreError::Invalid("there is no store in this database")),
    }
}

/// Indexes besides those of the keys: collection, name, fields.
fn indexes() -> [(&'static str, &'static str, Document); 4] {
    [
        (BRANES, "by_age", doc! {"created": 1, "_id": 1}),
        (BRANES, "by_owner", doc! {"owner": 1, "created": 1, "_id": 1}),
        (SNAPSHOTS, "by_brane", doc! {"brane": 1, "at": 1}),
        (OBJECTS, "by_parent", doc! {"brane": 1, "parent": 1}),
    ]
}

/// Only a replica set, or a cluster of them, knows transactions.
async fn expect_transactions(link: &Link) -> Result<(), Failure> {
    let hello = link.db().run_command(doc! {"hello": 1}).await?;
    let is_set = hello.contains_key("setName");
    if is_set || hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid") {
        return Ok(());
    }
    Err(StoreError::Invalid("MongoDB has to be a replica set, of one member at least").into())
}

async fn is_current(link: &Link) -> Result<bool, StoreError> {
    let query = Query { filter: doc! {"_id": "avvyland"}, ..Query::default() };
    let Some(found) = link.one(SCHEMA, query).await? else { return Ok(false) };
    let place = || Place::File(SCHEMA.into());
    let version = number(&found, "version").map_err(|why| damaged(place(), why))?;
    match u32::try_from(version).unwrap_or(u32::MAX) {
        VERSION => Ok(true),
        newer if newer > VERSION => Err(StoreError::NewerSchema { found: newer, known: VERSION }),
        _ => Err(damaged(place(), "there was never such a version")),
    }
}

async fn create(link: &Link, name: &str) -> Result<(), Failure> {
    match link.db().create_collection(name).await {
        Err(error) if is_there(&error) => Ok(()),
        other => Ok(other?),
    }
}

fn is_there(error: &Error) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::Command(error) if error.code == EXISTS)
}

async fn index(link: &Link, on: &str, name: &str, keys: Document) -> Result<(), Failure> {
    let options = IndexOptions::builder().name(name.to_owned()).build();
    let model = IndexModel::builder().keys(keys).options(options).build();
    link.collection(on).create_index(model).await?;
    Ok(())
}
