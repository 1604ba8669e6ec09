//! The MongoDB store as a fixture.

use std::collections::BTreeMap;
use std::sync::Arc;

use avvy_model::NodeId;
use mongodb::bson::{Document, doc};
use mongodb::{Client, Collection, Database};

use super::fixture::{Failure, Fixture, Verdict};
use super::fleet_fixture::{FleetFixture, LEASE_MS, Member, nth_node};
use super::records::RecordsFixture;
use crate::error::Place;
use crate::mongo::{MongoOptions, MongoStore};
use crate::records::Records;
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
                let in_tail = doc! {"_id": &brane, "tail.to": to};
                if self.flip("branes", in_tail, "tail.$.checksum").await? == 1 {
                    return Ok(1);
                }
                let in_pack = doc! {"_id.brane": &brane, "pack.to": to};
                if self.flip("chunks", in_pack, "pack.$.checksum").await? == 1 {
                    return Ok(1);
                }
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
            Place::Record { of, key } => {
                let filter = doc! {"_id": key};
                return self.flip(&format!("records.{of}"), filter, "checksum").await;
            }
            Place::Brane(brane) => ("branes", doc! {"_id": brane.to_string()}, "head_checksum"),
            _ => return Ok(0),
        };
        self.flip(collection, filter, field).await
    }

    async fn flip(
        &self,
        collection: &str,
        filter: Document,
        field: &str,
    ) -> mongodb::error::Result<u64> {
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

impl RecordsFixture for MongoFixture {
    fn records(&self) -> Arc<dyn Records> {
        self.store.clone()
    }
}

/// A fleet on a MongoDB database, as a fixture. Each node has a store of its
/// own, as another process would.
pub struct MongoFleetFixture {
    options: MongoOptions,
    stores: BTreeMap<u8, Arc<MongoStore>>,
    nodes: Collection<Document>,
}

impl MongoFleetFixture {
    /// An empty fleet in a database that does not exist yet.
    ///
    /// # Errors
    /// Those of [`MongoStore::open`].
    pub async fn new(options: MongoOptions) -> Result<Self, Failure> {
        let client = Client::with_uri_str(&options.uri).await?;
        let nodes = client.database(&options.database).collection("nodes");
        let options = MongoOptions { lease_ms: LEASE_MS, ..options };
        Ok(Self { options, stores: BTreeMap::new(), nodes })
    }
}

impl FleetFixture for MongoFleetFixture {
    fn member(&mut self, nth: u8) -> BoxFuture<'_, Result<Member, Failure>> {
        Box::pin(async move {
            let node = nth_node(nth);
            if !self.stores.contains_key(&nth) {
                let options = MongoOptions { node: Some(node.clone()), ..self.options.clone() };
                self.stores.insert(nth, Arc::new(MongoStore::open(&options).await?));
            }
            let store = self.stores.get(&nth).cloned();
            let store = store.ok_or_else(|| Failure("there is no such store".into()))?;
            Ok(Member { node, fleet: store.clone(), store })
        })
    }

    fn lapse(&mut self, node: NodeId) -> BoxFuture<'_, Verdict> {
        Box::pin(async move {
            let over = vec![doc! {"$set": {"expires": "$$NOW"}}];
            self.nodes.update_one(doc! {"_id": node.to_string()}, over).await?;
            Ok(())
        })
    }

    fn forget(&mut self, node: NodeId) -> BoxFuture<'_, Verdict> {
        Box::pin(async move {
            self.nodes.delete_one(doc! {"_id": node.to_string()}).await?;
            Ok(())
        })
    }
}

impl From<mongodb::error::Error> for Failure {
    fn from(error: mongodb::error::Error) -> Self {
        Self(format!("unexpected error: {error}"))
    }
}
