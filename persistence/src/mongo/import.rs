//! Branes and records that come from another store.

use avvy_model::BraneId;
use mongodb::ClientSession;
use mongodb::bson::doc;

use super::MongoStore;
use super::fault::Failure;
use super::journal::documents;
use super::link::{Link, Work};
use super::reader;
use super::rows::{self, BRANES, CHUNK_RESTS, CHUNKS, Head, LINEAGES};
use crate::chunk::ChunkWrite;
use crate::error::StoreError;
use crate::import::{self, Import, Inheritance, WAS_OPENED};
use crate::records::StoredRecord;
use crate::store::BoxFuture;

impl MongoStore {
    async fn put_chunks(&self, brane: BraneId, chunks: &[ChunkWrite]) -> Result<(), StoreError> {
        import::check(chunks, brane)?;
        if reader::current_head(&self.link, brane).await? != Head::default() {
            return Err(WAS_OPENED);
        }
        let pairs = chunks.iter().map(|chunk| documents(chunk, chunk.checksum()));
        let (chunks, rests): (Vec<_>, Vec<_>) = pairs.unzip();
        let rests: Vec<_> = rests.into_iter().flatten().collect();
        self.link
            .in_session(async |session| {
                if !rests.is_empty() {
                    let collection = self.link.collection(CHUNK_RESTS);
                    collection.insert_many(rests).session(&mut *session).await?;
                }
                let collection = self.link.collection(CHUNKS);
                Ok(collection.insert_many(chunks).session(session).await.map(drop)?)
            })
            .await
    }
}

impl Import for MongoStore {
    fn import_chunks(
        &self,
        brane: BraneId,
        chunks: Vec<ChunkWrite>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move { self.put_chunks(brane, &chunks).await })
    }

    fn inherit(
        &self,
        brane: BraneId,
        inheritance: Inheritance,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move { self.link.transact(&Inherit { brane, inheritance }).await })
    }

    fn import_records(&self, records: Vec<StoredRecord>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move { self.put_records(&records).await })
    }
}

/// Makes a brane what it was elsewhere.
struct Inherit {
    brane: BraneId,
    inheritance: Inheritance,
}

impl Work for Inherit {
    type Answer = ();

    async fn run(&self, link: &Link, session: &mut ClientSession) -> Result<(), Failure> {
        let Self { brane, inheritance: Inheritance { epoch, head, lineage } } = self;
        let old = reader::head(link, session, *brane).await?;
        let (chunks, bytes) = reader::measure(link, session, *brane).await?;
        let new = Head { epoch: *epoch, seq: *head, chunks, bytes };
        if old == new {
            // By an earlier attempt.
            return Ok(());
        }
        if old != Head::default() {
            return Err(WAS_OPENED.into());
        }
        let document = rows::lineage_document(*brane, lineage);
        let filter = doc! {"_id": brane.to_string()};
        let lineages = link.collection(LINEAGES);
        lineages.replace_one(filter, document).upsert(true).session(&mut *session).await?;
        let statement = (old.filter(*brane), doc! {"$set": new.document(*brane)});
        let is_done = link.update(session, BRANES, vec![statement]).await?;
        if is_done { Ok(()) } else { Err(Failure::Again) }
    }
}
