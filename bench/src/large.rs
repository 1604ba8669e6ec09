//! Large branes, written into a data directory as a server writes them: a
//! journal of batches, and a snapshot at its end.
//!
//! Every hundredth object is a group under the root, the others are blocks in
//! the group before them. The groups stand on a square with ten metres
//! between neighbours, their blocks within five metres about them.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use avvy_brane::{Clients, World, journal, snapshot};
use avvy_model::{
    BraneId, ClientId, Counter, Edit, EditId, Event, Handle, Kind, ObjectId, Operation, Position,
    Principal, PropKey, Props, Role, StateHash, Target, Transform, UserId, Value, ValueLimits,
    Visibility, WorldLimits,
};
use avvy_persistence::sqlite::{SqliteOptions, SqliteStore};
use avvy_persistence::{BraneKind, BraneRecord, ChunkWrite, SnapshotStart, Store};
use uuid::Uuid;

/// Operations of one edit.
const BATCH: usize = 500;
/// Objects from one group to the next.
const GROUP_EVERY: u32 = 100;
/// Positions are in units of 0.1 mm.
const METRE: i32 = 10_000;
const PITCH_M: i32 = 10;

/// A brane that was written.
#[derive(Clone, Copy, Debug)]
pub struct Large {
    /// Its id.
    pub brane: BraneId,
    /// Its objects, the root included.
    pub objects: u32,
    /// The hash of its state.
    pub hash: StateHash,
}

/// Writes a public brane of so many objects, the root included, each with
/// about `props_bytes` of properties. Nobody else may have the directory.
///
/// # Errors
/// When the store does not take it.
pub fn write(directory: &Path, objects: u32, props_bytes: usize) -> Result<Large> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = SqliteStore::open(&SqliteOptions::at(directory))?;
        let large = fill(&store, objects, props_bytes).await?;
        store.close().await?;
        Ok(large)
    })
}

async fn fill(store: &SqliteStore, objects: u32, props_bytes: usize) -> Result<Large> {
    let brane = BraneId::from_bytes([0xb1; 16]);
    let who =
        Principal { user: UserId::from_bytes([0xb2; 16]), ceiling: Role::Owner, invited: true };
    let record = BraneRecord {
        name: "Large".to_owned(),
        kind: BraneKind::Public,
        visibility: Visibility::Public,
        ..BraneRecord::new(brane, who.user, now_ms()?)
    };
    store.create_brane(record).await?;
    let epoch = store.open(brane).await?.epoch;
    let mut world = World::new(brane, who.user);
    let plan = Plan::new(objects, props_bytes);
    let limits = WorldLimits { max_objects: objects, ..WorldLimits::default() };
    let handles: Vec<u32> = (1..objects).collect();
    for batch in handles.chunks(BATCH) {
        let edit = Edit::Batch(batch.iter().map(|n| plan.create(*n)).collect::<Result<_>>()?);
        let (from, seq, at_ms) = (world.seq(), world.seq().next(), now_ms()?);
        let changes = world.apply(seq, 0, &who, &edit, &limits);
        let changes = changes.map_err(|refusal| anyhow!("refused: {}", refusal.code))?;
        let id = EditId { client: ClientId::from_bytes([0xb3; 16]), counter: Counter(seq.0) };
        let event = Event { seq, at_ms, by: who.user, edit: id, trace: None, changes };
        let body = journal::encode(&[event]).into();
        let chunk = ChunkWrite { brane, epoch, from, to: seq, at_ms, body };
        for taken in store.append(vec![chunk]).await? {
            taken.map_err(|refusal| anyhow!("a chunk was refused: {refusal:?}"))?;
        }
    }
    let at = Position { epoch, seq: world.seq() };
    let hash = world.state_hash();
    let mut encoder = snapshot::Encoder::new(world.freeze(), Clients::new(&limits), at, hash);
    let start = SnapshotStart { brane, epoch, at: at.seq, taken_ms: now_ms()? };
    let id = store.begin_snapshot(start).await?;
    let mut parts = 0;
    while let Some(part) = encoder.next_part() {
        store.put_snapshot_part(brane, id, parts, part.into()).await?;
        parts += 1;
    }
    store.finish_snapshot(brane, id, parts).await?;
    Ok(Large { brane, objects: world.len(), hash })
}

/// What goes where.
struct Plan {
    /// Groups in a row of the square.
    row: i32,
    keys: [PropKey; 2],
    text: Value,
}

impl Plan {
    fn new(objects: u32, props_bytes: usize) -> Self {
        let groups = f64::from(objects / GROUP_EVERY + 1);
        let key = |name| PropKey::new(name, &ValueLimits::default());
        let keys = [key("n"), key("text")].map(|key| key.expect("short names are keys"));
        // The number, the keys and the heads take the rest.
        let text = Value::text(&"x".repeat(props_bytes.saturating_sub(15)));
        Self { row: groups.sqrt().ceil() as i32, keys, text }
    }

    fn create(&self, n: u32) -> Result<Operation> {
        let place = n % GROUP_EVERY;
        let group = n - place;
        let is_group = place == 0 || n < GROUP_EVERY;
        let parent = if is_group { Handle::ROOT } else { Handle(group) };
        let position = if is_group {
            let at = (n / GROUP_EVERY) as i32;
            [at % self.row, 0, at / self.row].map(|step| step * PITCH_M * METRE)
        } else {
            let at = place as i32;
            [at % 10 - 5, at / 50, at / 10 % 5 - 2].map(|step| step * METRE)
        };
        let mut transform = Transform::IDENTITY;
        transform.position = position;
        let [number, text] = self.keys.clone();
        let entries = vec![(number, Value::int(n.into())), (text, self.text.clone())];
        // Looks drawn, and is another one for each.
        let id = u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        Ok(Operation::Create {
            id: ObjectId::new(Uuid::from_u128(id)),
            parent: Target::Handle(parent),
            kind: if is_group { Kind::Group } else { Kind::Block },
            transform,
            props: Props::from_entries(entries, &ValueLimits::default())
                .context("properties of a benchmark are small")?,
        })
    }
}

fn now_ms() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_written_is_there() {
        let directory = std::env::temp_dir().join(format!("avvy-large-{}", std::process::id()));
        let large = write(&directory, 1_234, 200).unwrap();
        assert_eq!(large.objects, 1_234);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let opened = runtime.block_on(async {
            let store = SqliteStore::open(&SqliteOptions::at(&directory)).unwrap();
            store.open(large.brane).await.unwrap()
        });
        assert_eq!((opened.head.0, opened.snapshots.len()), (3, 1));
        assert!(opened.snapshots[0].bytes > 1_234 * 200);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
