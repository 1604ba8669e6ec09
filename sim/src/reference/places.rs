//! What has to hold of a brane's objects after every event: no cell is taken
//! twice where cells are exclusive, and every slot that is used is there and
//! holds one object; and which of them are portals. By the words of the
//! protocol, looking at all objects.

use std::collections::{BTreeMap, BTreeSet};

use avvy_model::{BraneId, Handle, Kind, Object, ObjectId, Props, Value};

use super::part::Objects;

/// Checks both; says of what there was something.
pub(super) fn check(objects: &Objects) -> Result<Vec<&'static str>, String> {
    let mut seen = Vec::new();
    if check_cells(objects)? > 1 {
        seen.push("cells compared");
    }
    if check_slots(objects)? > 0 {
        seen.push("slots compared");
    }
    if !portals(objects).is_empty() {
        seen.push("portals there");
    }
    Ok(seen)
}

/// All but the root that name a brane.
pub(super) fn portals(objects: &Objects) -> Vec<Handle> {
    let leads = |to: Value| id(&to).is_some_and(|id| id.parse::<BraneId>().is_ok());
    let portals = objects.iter().filter(|(handle, object)| {
        **handle != Handle::ROOT && object.props.get("portal").is_some_and(leads)
    });
    portals.map(|(handle, _)| *handle).collect()
}

/// Says how many blocks were compared.
fn check_cells(objects: &Objects) -> Result<usize, String> {
    let root = objects.get(&Handle::ROOT).ok_or("no root")?;
    if root.props.get("exclusive_cells") != Some(Value::bool(true)) {
        return Ok(0);
    }
    let mut taken = BTreeMap::new();
    let blocks = objects.iter().filter(|(_, object)| object.kind == Kind::Block);
    for (handle, block) in blocks.clone() {
        for cell in cells(objects, block).ok_or_else(|| format!("{handle} has no cells"))? {
            if let Some(other) = taken.insert(cell, *handle) {
                return Err(format!("{handle} and {other} take {cell:?}"));
            }
        }
    }
    Ok(blocks.count())
}

/// Where nothing is turned, as nobody here turns anything.
fn cells(objects: &Objects, block: &Object) -> Option<Vec<[i32; 3]>> {
    let mut at = block.transform.position.map(i64::from);
    let mut parent = block.parent;
    while parent != Handle::ROOT {
        let group = objects.get(&parent)?;
        at.iter_mut().zip(group.transform.position).for_each(|(sum, own)| *sum += i64::from(own));
        parent = group.parent;
    }
    let anchor = at.map(|units| units.div_euclid(1_000) as i32);
    let edges = match block.props.get("cells") {
        None => [1; 3],
        Some(value) => <[u8; 3]>::try_from(value.as_bytes().strip_prefix(&[0x83])?).ok()?,
    };
    let mut cells = Vec::new();
    for x in 0..i32::from(edges[0]) {
        for y in 0..i32::from(edges[1]) {
            for z in 0..i32::from(edges[2]) {
                cells.push([anchor[0] + x, anchor[1] + y, anchor[2] + z]);
            }
        }
    }
    Some(cells)
}

/// Says how many objects are attached.
fn check_slots(objects: &Objects) -> Result<usize, String> {
    let on: BTreeMap<ObjectId, (ObjectId, u8)> =
        objects.values().filter_map(|object| Some((object.id, attached(&object.props)?))).collect();
    let by_id: BTreeMap<ObjectId, &Object> =
        objects.values().map(|object| (object.id, &**object)).collect();
    let mut used = BTreeSet::new();
    for (id, (to, slot)) in &on {
        let carrier = by_id.get(to).ok_or_else(|| format!("{id} is attached to {to}, gone"))?;
        // A list of small numbers is their bytes.
        let offered = carrier.props.get("slots");
        if !offered.is_some_and(|slots| slots.as_bytes()[1..].contains(slot)) {
            return Err(format!("{id} is attached to slot {slot}, which {to} does not offer"));
        }
        if !used.insert((to, slot)) {
            return Err(format!("slot {slot} of {to} holds two"));
        }
        let (mut at, mut steps) = (to, 0);
        while let Some((next, _)) = on.get(at) {
            steps += 1;
            if at == id || steps > on.len() {
                return Err(format!("{id} is attached to itself"));
            }
            at = next;
        }
    }
    Ok(on.len())
}

fn attached(props: &Props) -> Option<(ObjectId, u8)> {
    let fields = Props::from_canonical(props.get("attached")?.as_bytes()).ok()?;
    let to = fields.get("to")?;
    Some((id(&to)?.parse().ok()?, *fields.get("slot")?.as_bytes().first()?))
}

/// A text as long as an id.
fn id(value: &Value) -> Option<&str> {
    std::str::from_utf8(value.as_bytes().strip_prefix(&[0x78, 36])?).ok()
}
