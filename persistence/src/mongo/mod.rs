//! The store on MongoDB: for a fleet, whose nodes share one replica set.
//!
//! Its documents can be read by others: a field per thing, ids and times as
//! such (see `rows`); chunks and parts of snapshots are bytes here as in every
//! store. What must agree is written in one document (see `tail`) or in one
//! transaction, with `majority`; one change of the brane's document is in each,
//! so that of two writers the one with the older epoch is refused (see `journal`
//! and `opening`).
//!
//! Nothing is kept in this process but which snapshots it is writing, and
//! guesses at what the database holds, which it is asked to confirm; so any
//! number of processes may have one database open: as nodes of a fleet (see
//! `fleet`), or the second takes branes from the first.

mod change;
mod compact;
mod ends;
mod fault;
mod fleet;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod fuzzing;
mod import;
mod inspection;
mod journal;
mod link;
mod objects;
mod opening;
mod options;
mod pack;
mod reader;
mod records;
mod rows;
mod schema;
mod snapshots;
mod store;
mod tail;
mod thread;
mod values;
mod writes;

pub use objects::{MongoObjects, ObjectState, Progress};
pub use options::MongoOptions;

use std::sync::Arc;

use crate::error::StoreError;
use ends::Ends;
use fleet::Member;
use link::Link;
use records::Made;
use snapshots::Writing;
use thread::Thread;

/// A store in a MongoDB database. To be closed before it is dropped, if the process
/// goes on: what is under way then ends with the store's thread, and what it has
/// locked is free only when somebody finds it in the way.
pub struct MongoStore {
    link: Arc<Link>,
    /// Where connections are, and appends are made.
    thread: Thread,
    writing: Writing,
    /// Where journals are likely to end.
    ends: Ends,
    /// Collections of records that are there.
    made: Made,
    /// What it is in a fleet.
    member: Option<Member>,
}

impl MongoStore {
    /// Opens the store, and makes its collections and indexes where they are
    /// missing.
    ///
    /// # Errors
    /// `Invalid` if the address cannot be read, or the server is no replica
    /// set; `Io` if it cannot be reached; `NewerSchema`.
    pub async fn open(options: &MongoOptions) -> Result<Self, StoreError> {
        let store = Self::through(options).await?;
        schema::prepare(&store.link).await?;
        Ok(store)
    }

    /// Opens a store that is there already, and makes nothing.
    ///
    /// # Errors
    /// Those of [`MongoStore::open`]; `Invalid` if there is none.
    pub async fn open_existing(options: &MongoOptions) -> Result<Self, StoreError> {
        let store = Self::through(options).await?;
        schema::expect(&store.link).await?;
        Ok(store)
    }

    async fn through(options: &MongoOptions) -> Result<Self, StoreError> {
        let (thread, own) = (Thread::start()?, options.clone());
        let link = thread.run(async move { Link::new(&own).await }).await?;
        let MongoOptions { node, lease_ms, .. } = options;
        let member = node.clone().map(|node| Member::new(node, *lease_ms));
        let (writing, ends) = (Writing::default(), Ends::default());
        Ok(Self { link: Arc::new(link), thread, writing, ends, made: Made::default(), member })
    }
}
