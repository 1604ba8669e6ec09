//! A thing as the fields of a record. Names are on disk: they never change
//! their meaning, and what lacks a field that came later is read all the same.

use avvy_model::{AssetHash, Code, Kind as Shape, Props, Transform, UserId, Visibility};
use avvy_persistence::records::{Fields, Record, Value};
use bytes::Bytes;
use uuid::Uuid;

use super::{Kind, Moving, Object, Outline, Prototype, Thing, What};
use crate::Refused;
use crate::chain::Chain;
use crate::label::Label;

/// The fields of a thing.
pub(super) fn write(thing: &Thing) -> Fields {
    let Thing { label, chain, .. } = thing;
    let mut fields = Fields::new()
        .with("kind", thing.kind().name())
        .with("owner", thing.owner.uuid())
        .with("name", label.name.as_str())
        .with("description", label.description.as_str())
        .with("tags", label.tags.iter().map(|tag| tag.as_str().into()).collect::<Vec<Value>>())
        .with("visibility", thing.visibility.name())
        .with("origin", chain.origin)
        .with("version", chain.number)
        .with("issued", chain.issued)
        .with("created", Value::time(thing.created_s))
        .with("changed", Value::time(thing.changed_s));
    let moving = match thing.moving {
        None => [("moving_out", None), ("moving_in", None)],
        Some(Moving::Out(id)) => [("moving_out", Some(id)), ("moving_in", None)],
        Some(Moving::In(id)) => [("moving_out", None), ("moving_in", Some(id))],
    };
    let links = [("previous", chain.previous), ("next", chain.next), ("parent", thing.parent())];
    for (name, id) in moving.into_iter().chain(links) {
        if let Some(id) = id {
            fields.set(name, id);
        }
    }
    let flags = [
        ("is_deprecated", thing.is_deprecated),
        ("is_outdated", thing.is_outdated),
        ("is_deleted", thing.is_deleted),
    ];
    for (name, _) in flags.into_iter().filter(|(_, is_set)| *is_set) {
        fields.set(name, true);
    }
    match &thing.what {
        What::Object(object) => fields
            .with("transform", Bytes::copy_from_slice(&object.transform.to_packed()))
            .with("props", props(&object.props))
            .with("children", ids(&object.children))
            .with("gallery", ids(&object.gallery)),
        What::Prototype(Prototype { defaults, handlers, models }) => {
            let model = |hash: &AssetHash| Bytes::copy_from_slice(&hash.0).into();
            fields
                .with("props", props(defaults))
                .with("handlers", ids(handlers))
                .with("models", models.iter().map(model).collect::<Vec<Value>>())
        }
    }
}

fn props(props: &Props) -> Bytes {
    Bytes::copy_from_slice(props.as_bytes())
}

fn ids(ids: &[Uuid]) -> Vec<Value> {
    ids.iter().map(|id| (*id).into()).collect()
}

/// The thing of a record.
///
/// # Errors
/// `damaged` if it is none.
pub(crate) fn read(record: &Record) -> Result<Thing, Refused> {
    parse(record).ok_or_else(|| damaged(record))
}

/// What decides who sees the thing of a record.
///
/// # Errors
/// `damaged` if it is none.
pub(crate) fn outline(record: &Record) -> Result<Outline, Refused> {
    parse_outline(&record.body).ok_or_else(|| damaged(record))
}

fn damaged(record: &Record) -> Refused {
    tracing::error!(key = %record.key, "the record of a thing is none");
    Code::Damaged.into()
}

fn id(body: &Fields, name: &str) -> Option<Uuid> {
    Uuid::try_parse(body.text(name)?).ok()
}

fn parse_outline(body: &Fields) -> Option<Outline> {
    Some(Outline {
        kind: Kind::from_name(body.text("kind")?)?,
        owner: UserId::new(id(body, "owner")?),
        visibility: Visibility::from_name(body.text("visibility")?)?,
        is_deleted: body.bool("is_deleted").unwrap_or(false),
        moving: id(body, "moving_out").map(Moving::Out).or(id(body, "moving_in").map(Moving::In)),
    })
}

fn parse(record: &Record) -> Option<Thing> {
    let body = &record.body;
    let Outline { kind, owner, visibility, is_deleted, moving } = parse_outline(body)?;
    let id = |name: &str| id(body, name);
    let number = |name: &str| body.int(name).and_then(|number| u32::try_from(number).ok());
    let own_id = Uuid::try_parse(record.key.as_str()).ok()?;
    let text = |value: &Value| match value {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    };
    let label = Label {
        name: body.text("name")?.to_owned(),
        description: body.text("description").unwrap_or_default().to_owned(),
        tags: list(body, "tags", text)?,
    };
    let chain = Chain {
        origin: id("origin")?,
        number: number("version")?,
        issued: number("issued")?,
        previous: id("previous"),
        next: id("next"),
    };
    let what = match kind {
        Kind::Prototype => What::Prototype(prototype(body)?),
        Kind::Group => What::Object(object(body, Shape::Group, id("parent"))?),
        Kind::Block => What::Object(object(body, Shape::Block, id("parent"))?),
    };
    Some(Thing {
        id: own_id,
        owner,
        label,
        visibility,
        is_deprecated: body.bool("is_deprecated").unwrap_or(false),
        is_outdated: body.bool("is_outdated").unwrap_or(false),
        is_deleted,
        chain,
        created_s: body.time("created")?,
        changed_s: body.time("changed")?,
        moving,
        what,
    })
}

fn object(body: &Fields, kind: Shape, parent: Option<Uuid>) -> Option<Object> {
    let transform = body.bytes("transform")?.as_ref().try_into().ok()?;
    Some(Object {
        kind,
        parent,
        transform: Transform::from_packed(transform).ok()?,
        props: read_props(body)?,
        children: list(body, "children", read_id)?,
        gallery: list(body, "gallery", read_id)?,
    })
}

fn prototype(body: &Fields) -> Option<Prototype> {
    let model = |value: &Value| match value {
        Value::Bytes(bytes) => bytes.as_ref().try_into().ok().map(AssetHash),
        _ => None,
    };
    Some(Prototype {
        defaults: read_props(body)?,
        handlers: list(body, "handlers", read_id)?,
        models: list(body, "models", model)?,
    })
}

fn read_props(body: &Fields) -> Option<Props> {
    Props::from_canonical(body.bytes("props")?).ok()
}

fn read_id(value: &Value) -> Option<Uuid> {
    match value {
        Value::Text(text) => Uuid::try_parse(text).ok(),
        _ => None,
    }
}

fn list<T>(body: &Fields, name: &str, item: impl Fn(&Value) -> Option<T>) -> Option<Vec<T>> {
    body.array(name).unwrap_or_default().iter().map(item).collect()
}
