//! Bodies and values come back from JSON as from CBOR.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::collections::BTreeMap;

use avvy_model::{AssetHash, Kind, Object, Position, Value, ValueLimits};
use avvy_protocol::json;
use avvy_protocol::rest::{
    Format, ObjectBody, ObjectPage, PatchObject, PatchPrototype, decode, encode,
};
use proptest::prelude::*;

/// The bytes after the way through JSON text.
fn through_json(value: &Value) -> Vec<u8> {
    let cbor: ciborium::Value = ciborium::from_reader(value.as_bytes()).unwrap();
    let text = json::from_cbor(&cbor).to_string();
    let back = json::to_cbor(&serde_json::from_str(&text).unwrap()).unwrap();
    let mut bytes = Vec::new();
    ciborium::into_writer(&back, &mut bytes).unwrap();
    Value::parse(&bytes, &ValueLimits::NONE).unwrap().as_bytes().to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn values_come_back_from_json(value in common::value()) {
        prop_assert_eq!(through_json(&value), value.as_bytes());
    }

    #[test]
    fn objects_come_back_in_both_forms(
        handle in common::handle(),
        id in common::object_id(),
        parent in common::object_id(),
        owner in common::user_id(),
        transform in common::transform(),
        props in common::props(),
        defaults in proptest::option::of(common::props()),
    ) {
        let object =
            Object { id, parent: handle, kind: Kind::Block, owner, transform, props };
        let mut body = ObjectBody::new(handle, &object, parent, &BTreeMap::new());
        body.in_effect = defaults;
        let objects = vec![body];
        let page = ObjectPage { at: Position::default(), objects, next: Some(handle) };
        for format in [Format::Cbor, Format::Json] {
            let bytes = encode(&page, format);
            prop_assert_eq!(&decode::<ObjectPage>(&bytes, format, 1 << 20).unwrap(), &page);
        }
    }
}

#[test]
fn maps_that_look_special_are_wrapped() {
    let map = |key: &str| ciborium::Value::Map(vec![(key.into(), ciborium::Value::from("00"))]);
    for key in ["$bytes", "$map", "$", "$other"] {
        let text = json::from_cbor(&map(key)).to_string();
        assert!(text.starts_with("{\"$map\":{"), "{text}");
        assert_eq!(json::to_cbor(&serde_json::from_str(&text).unwrap()).unwrap(), map(key));
    }
    assert_eq!(json::from_cbor(&map("bytes")).to_string(), "{\"bytes\":\"00\"}");
}

#[test]
fn json_without_a_meaning_is_refused() {
    for text in [
        r#"{"$other": 1}"#,
        r#"{"$bytes": "0"}"#,
        r#"{"$bytes": "0g"}"#,
        r#"{"$bytes": "ää"}"#,
        r#"{"$bytes": 1}"#,
        r#"{"$float": "1"}"#,
        r#"{"$int": "1e3"}"#,
        r#"{"$int": "340282366920938463463374607431768211456"}"#,
        r#"{"$map": []}"#,
        r#"[{"$asset": ""}, {"$": 1}]"#,
    ] {
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        assert!(json::to_cbor(&value).is_err(), "{text}");
    }
    let deep = [vec![b'['; 10_000], vec![b']'; 10_000]].concat();
    assert!(decode::<ObjectPage>(&deep, Format::Json, 1 << 20).is_err());
    assert!(decode::<ObjectPage>(b"{}", Format::Json, 1).is_err());
}

proptest! {
    #[test]
    fn changes_of_things_come_back_in_both_forms(
        hashes in proptest::option::of(prop::collection::vec(any::<[u8; 32]>(), 0..3)),
        children in proptest::option::of(prop::collection::vec(common::object_id(), 0..3)),
        props in proptest::option::of(common::props()),
        transform in proptest::option::of(common::transform()),
    ) {
        let models = hashes.map(|hashes| hashes.into_iter().map(AssetHash).collect());
        let prototype = PatchPrototype { models, defaults: props.clone(), ..Default::default() };
        let transform = transform.map(|transform| transform.to_matrix());
        let object = PatchObject { child_ids: children, props, transform, ..Default::default() };
        for format in [Format::Cbor, Format::Json] {
            let bytes = encode(&prototype, format);
            prop_assert_eq!(&decode::<PatchPrototype>(&bytes, format, 1 << 20).unwrap(), &prototype);
            let bytes = encode(&object, format);
            prop_assert_eq!(&decode::<PatchObject>(&bytes, format, 1 << 20).unwrap(), &object);
        }
    }
}

#[test]
fn what_is_no_hash_and_no_id_is_refused() {
    for text in ["", "5a", &"5g".repeat(32), &"5a".repeat(33), &"ä".repeat(32)] {
        let body = format!("{{\"models\": [\"{text}\"]}}");
        assert!(decode::<PatchPrototype>(body.as_bytes(), Format::Json, 1_000).is_err(), "{text}");
        let body = format!("{{\"child_ids\": [\"{text}\"]}}");
        assert!(decode::<PatchObject>(body.as_bytes(), Format::Json, 1_000).is_err(), "{text}");
    }
}
