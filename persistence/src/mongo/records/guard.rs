//! Has what a commit only checks stay so until it is committed.
//!
//! A record that is there is written: a field that nothing else reads takes the
//! commit's id. So whoever changes or removes it at the same time conflicts. Of
//! one that is absent a document is put under its key and taken away again in
//! the same transaction: whoever makes that record at the same time meets the
//! key, and one of the two is done again.

use mongodb::ClientSession;
use mongodb::bson::doc;

use super::super::fault::{self, Failure};
use super::super::link::Link;
use super::rows;
use crate::records::{CommitId, Planned};

/// Writes what is checked.
pub(super) async fn write(
    link: &Link,
    session: &mut ClientSession,
    planned: &Planned,
    id: CommitId,
) -> Result<(), Failure> {
    let (of, key) = &planned.id;
    let collection = link.collection(&rows::collection(of));
    let (key, id) = (doc! {"_id": key.as_str()}, rows::marker_key(id));
    link.writes().command(1, 0);
    if planned.old.is_some() {
        let checked = collection.update_one(key, doc! {"$set": {"checked": id}});
        return match checked.session(session).await?.matched_count {
            1 => Ok(()),
            _ => Err(Failure::Again),
        };
    }
    let mut place = key.clone();
    place.insert("checked", id);
    match collection.insert_one(place).session(&mut *session).await {
        Err(error) if fault::is_duplicate(&error) => return Err(Failure::Again),
        other => other.map(drop)?,
    }
    collection.delete_one(key).session(session).await.map(drop)?;
    Ok(())
}
