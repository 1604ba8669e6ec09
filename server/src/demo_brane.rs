//! The brane that a newcomer finds: a few hundred blocks in the shape of a
//! small town.

use anyhow::{Context, Result, anyhow};
use avvy_actors::{System, WriteRequest};
use avvy_auth::Claims;
use avvy_model::{
    BraneId, ClientId, Counter, Edit, Handle, Kind, NumberedEdit, ObjectId, Operation, PropKey,
    Props, Target, TraceId, Transform, Value, ValueLimits, Visibility,
};
use avvy_persistence::{BraneKind, BraneRecord, Store};
use bytes::Bytes;
use uuid::Uuid;

/// Where the store remembers which brane it is.
pub(crate) const META_KEY: &str = "demo_brane";
/// Blocks on one plot.
const PLOT: u32 = 10;
/// Edits submitted at once.
const BATCH: usize = 200;

/// Finds the demo brane, or makes one with so many objects (0: makes none).
///
/// # Errors
/// When the store or the brane's actor does not answer.
pub async fn ensure(
    store: &dyn Store,
    system: &System,
    owner: &Claims,
    objects: u32,
    now_ms: u64,
) -> Result<Option<BraneId>> {
    let there = found(store).await?;
    if there.is_some() || objects == 0 {
        return Ok(there);
    }
    let brane = BraneId::new(Uuid::new_v4());
    let record = BraneRecord {
        name: "Demo town".to_owned(),
        kind: BraneKind::Showcase,
        visibility: Visibility::Public,
        ..BraneRecord::new(brane, owner.user, now_ms)
    };
    system.create_brane(record).await.map_err(|code| anyhow!("creating the demo brane: {code}"))?;
    build(system, brane, owner, objects).await?;
    let bytes = Bytes::copy_from_slice(&brane.to_bytes());
    if store.replace_meta(META_KEY, None, bytes).await? {
        return Ok(Some(brane));
    }
    // Another server has made one at the same time: that is it.
    found(store).await
}

async fn found(store: &dyn Store) -> Result<Option<BraneId>> {
    let Some(bytes) = store.meta(META_KEY).await? else { return Ok(None) };
    let bytes = <[u8; 16]>::try_from(bytes.as_ref()).context("the demo brane's id is damaged")?;
    Ok(Some(BraneId::from_bytes(bytes)))
}

async fn build(system: &System, brane: BraneId, owner: &Claims, objects: u32) -> Result<()> {
    let client = ClientId::new(Uuid::new_v4());
    let edits = town(objects)?
        .into_iter()
        .zip(1..)
        .map(|(operation, n)| NumberedEdit { counter: Counter(n), edit: Edit::One(operation) });
    for batch in edits.collect::<Vec<_>>().chunks(BATCH) {
        let trace = TraceId::new(Uuid::new_v4());
        let request = WriteRequest { client, known: false, edits: batch.to_vec(), trace };
        let written = system
            .write(brane, owner, request)
            .await
            .map_err(|denied| anyhow!("building the demo brane: {}", denied.code))?;
        for (counter, outcome) in written.outcomes {
            outcome.map_err(|refusal| anyhow!("object {counter}: {}", refusal.code))?;
        }
    }
    Ok(())
}

/// Plots in a square grid, each a group with towers of different heights.
fn town(objects: u32) -> Result<Vec<Operation>> {
    let side = f64::from(objects.div_ceil(PLOT)).sqrt().ceil().max(1.0) as u32;
    let mut operations = Vec::new();
    let mut group = None;
    for n in 0..objects {
        let plot = n / PLOT;
        let place = n % PLOT;
        if place == 0 {
            let at = [f64::from(plot % side) * 8.0, 0.0, f64::from(plot / side) * 8.0];
            let id = ObjectId::new(Uuid::new_v4());
            group = Some(id);
            let name = format!("Plot {}", plot + 1);
            operations.push(create(id, Target::Handle(Handle::ROOT), Kind::Group, at, 1.0, &name)?);
            continue;
        }
        let parent = group.map_or(Target::Handle(Handle::ROOT), Target::Id);
        let height = f64::from(1 + (plot * 7 + place * 5) % 6);
        let at = [f64::from(place % 3) * 2.0, height / 2.0, f64::from(place / 3) * 2.0];
        let id = ObjectId::new(Uuid::new_v4());
        operations.push(create(id, parent, Kind::Block, at, height, "Tower")?);
    }
    Ok(operations)
}

fn create(
    id: ObjectId,
    parent: Target,
    kind: Kind,
    at: [f64; 3],
    height: f64,
    name: &str,
) -> Result<Operation> {
    let limits = ValueLimits::default();
    let entries = vec![(PropKey::new("name", &limits)?, Value::text(name))];
    Ok(Operation::Create {
        id,
        parent,
        kind,
        transform: Transform::from_parts(at, [0.0, 0.0, 0.0, 1.0], [1.0, height, 1.0])?,
        props: Props::from_entries(entries, &limits)?,
    })
}
