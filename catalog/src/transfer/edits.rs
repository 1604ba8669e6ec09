//! What a transfer does in a brane, and what things are there.
//!
//! An object of a brane has no name, no tags and no gallery of its own: they go
//! with it as the properties `name`, `description`, `tags` and `gallery`, of
//! which the last two are lists with spaces between, and come back from there.

use std::collections::{BTreeMap, BTreeSet};

use avvy_model::{
    Attachment, Code, DeleteMode, Edit, Handle, Object as Placed, ObjectId, Operation, PropKey,
    Props, PropsPatch, Target, UserId, Value, ValueLimits,
};
use uuid::Uuid;

use super::record::{Transfer, Way};
use crate::Refused;
use crate::label::Label;
use crate::limits::CatalogLimits;
use crate::thing::{Moving, Object, Thing, What};
use crate::work::Stored;

/// The properties that carry what else there is of a thing.
const CARRIED: [&str; 4] = ["name", "description", "tags", "gallery"];

/// The edit of a transfer whose things are these.
pub(super) fn edit(
    transfer: &Transfer,
    things: &[Option<Stored>],
    limits: &ValueLimits,
) -> Result<Edit, Refused> {
    let operations = match &transfer.way {
        Way::Out { parent, transform } => {
            let mut to_come: BTreeSet<Uuid> = transfer.objects.iter().copied().collect();
            let (mut operations, mut attach) = (Vec::new(), Vec::new());
            for stored in things {
                let thing = &stored.as_ref().ok_or(Code::Damaged)?.thing;
                let (id, object) = (ObjectId::new(thing.id), thing.object()?);
                let (parent, transform) = match object.parent {
                    // It was checked that the first alone is in no group.
                    None => (*parent, transform.unwrap_or(object.transform)),
                    Some(parent) => (Some(ObjectId::new(parent)), object.transform),
                };
                let parent = parent.map_or(Target::Handle(Handle::ROOT), Target::Id);
                let mut props = carry(&thing.label, object, limits)?;
                to_come.remove(&thing.id);
                // What it is attached to has to be there first.
                if let Ok(Some(on)) = Attachment::of(&props)
                    && to_come.contains(&on.to.uuid())
                {
                    let (rest, patch) = props.patched(&Attachment::end(), limits)?;
                    let target = Target::Id(id);
                    attach.push(Operation::Update { target, patch });
                    props = rest;
                }
                operations.push(Operation::Create {
                    id,
                    parent,
                    kind: object.kind,
                    transform,
                    props,
                });
            }
            operations.extend(attach);
            operations
        }
        // What is deep first, and what was put in meanwhile stays behind.
        Way::In { from } => from
            .iter()
            .rev()
            .map(|(id, ..)| Operation::Delete {
                target: Target::Id(*id),
                mode: DeleteMode::KeepChildren,
            })
            .collect(),
    };
    Ok(Edit::Batch(operations))
}

/// The properties with what else there is.
fn carry(label: &Label, object: &Object, limits: &ValueLimits) -> Result<Props, Refused> {
    let gallery: Vec<String> = object.gallery.iter().map(Uuid::to_string).collect();
    let texts =
        [label.name.clone(), label.description.clone(), label.tags.join(" "), gallery.join(" ")];
    let is_said = |(key, text): &(&str, String)| {
        !text.is_empty() && (*key != "name" || text != object.kind.name())
    };
    let entry = |(key, text): (&str, String)| {
        let value = Value::text(&text);
        if value.as_bytes().len() > limits.max_value_bytes {
            return Err(Code::ValueTooLarge.into());
        }
        Ok((PropKey::new(key, &ValueLimits::NONE)?, Some(value)))
    };
    let entries = CARRIED.into_iter().zip(texts).filter(is_said).map(entry);
    let entries = entries.collect::<Result<Vec<_>, Refused>>()?;
    Ok(object.props.patched(&PropsPatch::new(entries)?, limits)?.0)
}

/// The levels of a tree of a brane, a group before what is in it.
pub(super) fn depth(found: &[(Handle, Placed)]) -> usize {
    let mut levels = BTreeMap::new();
    for (handle, object) in found {
        let above = levels.get(&object.parent).copied().unwrap_or(0);
        levels.insert(*handle, above + 1);
    }
    levels.into_values().max().unwrap_or(0)
}

/// The things that objects of a brane become, under these ids.
pub(super) fn things(
    found: &[(Handle, Placed)],
    ids: &[Uuid],
    owner: UserId,
    moving: Moving,
    limits: &CatalogLimits,
    now_s: u64,
) -> Result<Vec<Thing>, Refused> {
    let by_handle: BTreeMap<Handle, Uuid> =
        found.iter().map(|(handle, _)| *handle).zip(ids.iter().copied()).collect();
    let mut things = Vec::with_capacity(found.len());
    for ((handle, object), id) in found.iter().zip(ids) {
        let children = found.iter().filter(|(_, child)| child.parent == *handle);
        let (label, gallery, props) = uncarry(object, limits.max_gallery)?;
        let own = Object {
            kind: object.kind,
            parent: by_handle.get(&object.parent).copied(),
            transform: object.transform,
            props,
            children: children.filter_map(|(child, _)| by_handle.get(child).copied()).collect(),
            gallery,
        };
        let new = Thing::new(*id, owner, label, What::Object(own), now_s);
        things.push(Thing { moving: Some(moving), ..new });
    }
    Ok(things)
}

/// What else there is, out of the properties. What cannot be any of it was
/// written by somebody else, and stays a property.
fn uncarry(object: &Placed, max_gallery: usize) -> Result<(Label, Vec<Uuid>, Props), Refused> {
    let text = |key: &str| object.props.get(key).and_then(|value| read_text(&value));
    let mut label = Label { name: object.kind.name().to_owned(), ..Label::default() };
    let mut taken = Vec::new();
    let list = |text: String| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    for key in ["name", "description", "tags"] {
        // An empty one overrides that of a prototype, and stays as well.
        let Some(text) = text(key).filter(|text| !text.is_empty()) else { continue };
        let with = match key {
            "name" => Label { name: text, ..label.clone() },
            "description" => Label { description: text, ..label.clone() },
            _ => Label { tags: list(text), ..label.clone() },
        };
        // A name that says no more than the kind does stays as well.
        if with.check().is_ok() && (key != "name" || with.name != object.kind.name()) {
            label = with;
            taken.push(key);
        }
    }
    let ids = text("gallery")
        .map(|text| text.split(' ').map(|id| Uuid::try_parse(id).ok()).collect::<Option<Vec<_>>>());
    let gallery = match (object.kind, ids.flatten()) {
        (avvy_model::Kind::Group, Some(ids)) if is_gallery(&ids, max_gallery) => {
            taken.push("gallery");
            ids
        }
        _ => Vec::new(),
    };
    let entry = |key: &str| Ok((PropKey::new(key, &ValueLimits::NONE)?, None));
    let entries = taken.into_iter().map(entry).collect::<Result<Vec<_>, Refused>>()?;
    let (props, _) = object.props.patched(&PropsPatch::new(entries)?, &ValueLimits::NONE)?;
    Ok((label, gallery, props))
}

/// Whether a gallery can be this: none twice.
fn is_gallery(ids: &[Uuid], max: usize) -> bool {
    ids.len() <= max && ids.iter().collect::<BTreeSet<_>>().len() == ids.len()
}

/// The text that a value is.
fn read_text(value: &Value) -> Option<String> {
    let bytes = value.as_bytes();
    // CBOR: major type 3, then the length.
    let (first, rest) = bytes.split_first()?;
    let head = match first {
        0x60..=0x77 => 0,
        0x78 => 1,
        0x79 => 2,
        _ => return None,
    };
    String::from_utf8(rest.get(head..)?.to_vec()).ok()
}
