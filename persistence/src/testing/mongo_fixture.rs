//! The MongoDB store as a fixture.

use std::sync::Arc;

use mongodb::bson::{Document, doc};
use mongodb::{Client, Database};

use super::fixture::{Failure, Fixture, Verdict};
use crate::error::Place;
use crate::mongo::{MongoOptions, MongoStore};
use crate::store::{BoxFuture, Store};

/// The MongoDB store, in a database of its own.
pub struct MongoFixture {
    options: MongoOptions,
    store: Arc<MongoStore>,
    /// Another way to the same database, to spoil it.
    db: Database,
}

impl MongoFixture {
    /// An empty store in a database that does not exist yet.
    ///
    /// # Errors
    /// Those of [`MongoStore::open`].
    pub async fn new(options: MongoOptions) -> Result<Self, Failure> {
        let store = Arc::new(MongoStore::open(&options).await?);
        let client = Client::with_uri_str(&options.uri).await?;
        let db = client.database(&options.database);
        Ok(Self { options, store, db })
    }

    async fn spoil(&self, place: &Place) -> mongodb::error::Result<u64> {
        let (collection, filter, field) = match place {
            Place::Chunk { brane, to, .. } => {
                let (brane, to) = (brane.to_string(), to.0.cast_signed());
                ("chunks", doc! {"_id.brane": brane, "to": to}, "checksum")
            }
            Place::Part { snapshot, index, .. } => {
                let (snapshot, index) = (snapshot.0.cast_signed(), i64::from(*index));
                let filter = doc! {"_id.snapshot": snapshot, "_id.index": index};
                ("snapshot_parts", filter, "checksum")
            }
            Place::Snapshot { snapshot, .. } => {
                ("snapshots", doc! {"_id": snapshot.0.cast_signed()}, "bytes")
            }
            Place::Brane(brane) => ("branes", doc! {"_id": brane.to_string()}, "head_checksum"),
            _ => return Ok(0),
        };
        let collection = self.db.collection::<Document>(collection);
        let changed = collection.update_one(filter, doc! {"$bit": bits(field)}).await?;
        Ok(changed.modified_count)
    }

    async fn open(&mut self) -> Verdict {
        self.store = Arc::new(MongoStore::open(&self.options).await?);
        Ok(())
    }
}

/// Flips the lowest bit of a number, as an addition could overflow.
fn bits(field: &str) -> Document {
    let mut bits = Document::new();
    bits.insert(field, doc! {"xor": 1_i64});
    bits
}

impl Fixture for MongoFixture {
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    fn reopen(&mut self) -> BoxFuture<'_, Verdict> {
        Box::pin(async move {
            self.store.close().await?;
            self.open().await
        })
    }

    /// The store of a process that was killed is not closed, and the next
    /// begins while it is still there.
    fn crash(&mut self) -> BoxFuture<'_, Verdict> {
        Box::pin(self.open())
    }

    fn damage(&mut self, place: Place) -> BoxFuture<'_, Verdict> {
        Box::pin(async move {
            match self.spoil(&place).await? {
                1 => self.open().await,
                _ => Err(Failure(format!("nothing is stored at {place}"))),
            }
        })
    }
}

impl From<mongodb::error::Error> for Failure {
    fn from(error: mongodb::error::Error) -> Self {
        Self(format!("unexpected error: {error}"))
    }
}
