//! The collections, their indexes, and the version of all that.

use mongodb::IndexModel;
use mongodb::bson::{Document, doc};
use mongodb::error::{Error, ErrorKind};
use mongodb::options::IndexOptions;

use super::fault::{self, Failure};
use super::link::{Link, Query};
use super::records::{COMMITS, ENTRIES};
use super::rows::{
    BRANES, CHUNK_RESTS, CHUNKS, COUNTERS, CUT_CHUNKS, CUTS, HOLDER, LINEAGES, META, NODES,
    OBJECT_VIEWS, OBJECTS, PARTS, SNAPSHOTS, TARGET, damaged, number,
};
use crate::error::{Place, StoreError};

/// The version of the documents that this program writes.
pub(super) const VERSION: u32 = 7;

/// The collection of one document that says the version.
const SCHEMA: &str = "schema";

/// Every collection. Keys are in `_id`, whose index is unique everywhere.
const COLLECTIONS: [&str; 15] = [
    NODES,
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
    ENTRIES,
    COMMITS,
];

/// `NamespaceExists`: another start made it at the same time.
const EXISTS: i32 = 48;

/// The first version knew no fleet, the second no records, the third nothing of
/// what becomes of a brane, the fourth not whether an operator archived it, the
/// fifth no tails in branes' documents, the sixth no packs of chunks. What is of
/// them can be read as it is, and lacks collections and indexes.
const FIRST: u32 = 1;

/// Makes what is missing, and refuses what is newer.
pub(super) async fn prepare(link: &Link) -> Result<(), StoreError> {
    link.step(expect_transactions(link)).await?;
    if version(link).await? == Some(VERSION) {
        return Ok(());
    }
    for name in COLLECTIONS {
        link.step(create(link, name)).await?;
    }
    for Index { on, name, keys, is_sparse } in indexes() {
        link.step(create_index(link, on, name, keys, is_sparse)).await?;
    }
    // Last: whoever finds the version finds everything else.
    link.in_session(async |session| {
        let (key, version) = (doc! {"_id": "avvyland"}, i64::from(VERSION));
        let raised = doc! {"$max": {"version": version}};
        let schema = link.collection(SCHEMA);
        match schema.update_one(key, raised).upsert(true).session(session).await {
            Err(error) if fault::is_duplicate(&error) => Ok(()),
            other => Ok(other.map(drop)?),
        }
    })
    .await
}

/// Makes a collection of records, where it is missing.
pub(super) async fn make_records(link: &Link, name: &str) -> Result<(), StoreError> {
    link.step(async {
        create(link, name).await?;
        create_index(link, name, "by_end", doc! {"expires": 1}, true).await
    })
    .await
}

async fn create_index(
    link: &Link,
    on: &str,
    name: &str,
    keys: Document,
    is_sparse: bool,
) -> Result<(), Failure> {
    let options = IndexOptions::builder().name(name.to_owned()).sparse(is_sparse).build();
    let model = IndexModel::builder().keys(keys).options(options).build();
    Ok(link.collection(on).create_index(model).await.map(drop)?)
}

/// Refuses a database in which there is no store.
pub(super) async fn expect(link: &Link) -> Result<(), StoreError> {
    match version(link).await? {
        Some(_) => Ok(()),
        None => Err(StoreError::Invalid("there is no store in this database")),
    }
}

/// An index besides those of the keys.
struct Index {
    on: &'static str,
    name: &'static str,
    keys: Document,
    /// Holds only documents that have the field.
    is_sparse: bool,
}

fn indexes() -> [Index; 8] {
    let index = |on, name, keys| Index { on, name, keys, is_sparse: false };
    let sparse = |on, name, keys| Index { on, name, keys, is_sparse: true };
    [
        index(BRANES, "by_age", doc! {"created": 1, "_id": 1}),
        index(BRANES, "by_owner", doc! {"owner": 1, "created": 1, "_id": 1}),
        sparse(BRANES, "by_holder", doc! {HOLDER: 1}),
        sparse(BRANES, "by_target", doc! {TARGET: 1}),
        sparse(BRANES, "by_purge", doc! {"life.purge": 1}),
        index(SNAPSHOTS, "by_brane", doc! {"brane": 1, "at": 1}),
        index(OBJECTS, "by_parent", doc! {"brane": 1, "parent": 1}),
        index(COMMITS, "by_age", doc! {"at": 1}),
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

/// The version found, which is one that is known here.
async fn version(link: &Link) -> Result<Option<u32>, StoreError> {
    let query = Query { filter: doc! {"_id": "avvyland"}, ..Query::default() };
    let Some(found) = link.one(SCHEMA, query).await? else { return Ok(None) };
    let place = || Place::File(SCHEMA.into());
    let version = number(&found, "version").map_err(|why| damaged(place(), why))?;
    match u32::try_from(version).unwrap_or(u32::MAX) {
        version @ FIRST..=VERSION => Ok(Some(version)),
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
