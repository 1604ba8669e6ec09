//! What is left in the database.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use avvy_brane::journal;
use avvy_model::{BraneId, Change, Event, Handle, ObjectId, Position, Seq};
use avvy_persistence::Store;
use avvy_persistence::mongo::{MongoOptions, MongoStore};

use super::writers::{tag_in, tag_of};
use crate::history::Place;

/// Reads a brane's journal, which must be whole.
pub(super) async fn read(uri: &str, database: &str, brane: BraneId) -> Result<Vec<Place>> {
    let store = MongoStore::open(&MongoOptions::at(uri, database)).await?;
    let report = store.verify_brane(brane).await?;
    ensure!(report.damage_count == 0 && report.torn.is_none(), "brane {brane}: {report:?}");
    let (mut places, mut ids, mut after) = (Vec::new(), HashMap::new(), Seq(0));
    loop {
        let chunks = store.read_chunks(brane, after, 4 << 20).await?;
        let Some(last) = chunks.last() else { break };
        after = last.to;
        for chunk in &chunks {
            for event in journal::decode(&chunk.body)? {
                let at = Position { epoch: chunk.epoch, seq: event.seq };
                places.push(place(at, &event, &mut ids)?);
            }
        }
    }
    store.close().await?;
    Ok(places)
}

fn place(at: Position, event: &Event, ids: &mut HashMap<Handle, ObjectId>) -> Result<Place> {
    let change = event.changes.iter().next().context("an edit changes something")?;
    let (object, props) = match change {
        Change::Created(object) => {
            ids.insert(object.handle, object.object.id);
            (object.object.id, tag_of(&object.object.props))
        }
        Change::Updated { handle, after, .. } => {
            (*ids.get(handle).context("an object that was created")?, tag_in(after))
        }
        other => anyhow::bail!("nobody asked for {other:?}"),
    };
    Ok(Place { at, tag: props.context("every edit has a tag")?, object })
}
