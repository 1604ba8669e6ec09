#![allow(clippy::unwrap_used)]
use avvy_model::{PropKey, Value as PropValue, ValueLimits};
use avvy_persistence::records::{Record, RecordKey};

use super::*;

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn things() -> [Thing; 3] {
    let limits = ValueLimits::default();
    let entry = (PropKey::new("color", &limits).unwrap(), PropValue::text("red"));
    let props = Props::from_entries(vec![entry], &limits).unwrap();
    let label = Label {
        name: "Table".into(),
        description: "of oak".into(),
        tags: vec!["wood".into(), "home".into()],
    };
    let transform = Transform::new([1, -2, 3], avvy_model::Rotation::IDENTITY, [2.0; 3]).unwrap();
    let object = |kind, children, gallery| {
        let parent = Some(id(9));
        What::Object(Object { kind, parent, transform, props: props.clone(), children, gallery })
    };
    let group = object(avvy_model::Kind::Group, vec![id(2), id(3)], vec![id(4)]);
    let block = object(avvy_model::Kind::Block, vec![], vec![]);
    let (handlers, models) = (vec![id(5)], vec![AssetHash([7; 32])]);
    let prototype = What::Prototype(Prototype { defaults: props.clone(), handlers, models });
    let thing = |what| Thing::new(id(1), UserId::new(id(8)), label.clone(), what, 100);
    let deleted = Thing {
        visibility: Visibility::Public,
        is_deleted: true,
        is_deprecated: true,
        is_outdated: true,
        chain: Chain {
            number: 2,
            issued: 4,
            previous: Some(id(6)),
            next: Some(id(7)),
            ..thing(group.clone()).chain
        },
        moving: Some(Moving::Out(id(10))),
        ..thing(group)
    };
    [deleted, Thing { moving: Some(Moving::In(id(11))), ..thing(block) }, thing(prototype)]
}

#[test]
fn comes_back_from_its_record() {
    for thing in things() {
        let key = RecordKey::from(thing.id);
        let record = Record { key, version: 1, expires_s: None, body: thing.draft().body };
        assert_eq!(read(&record).unwrap(), thing);
    }
}

#[test]
fn a_record_that_is_none_is_damage() {
    let thing = &things()[0];
    for field in ["kind", "owner", "name", "visibility", "origin", "version", "transform", "props"]
    {
        let mut body = thing.draft().body;
        body.remove(field).unwrap();
        let record = Record { key: RecordKey::from(thing.id), version: 1, expires_s: None, body };
        assert_eq!(read(&record).unwrap_err().code, Code::Damaged, "without {field}");
    }
}
