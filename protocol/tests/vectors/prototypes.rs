//! Instances with what is in effect.

use avvy_model::*;
use serde_json::json;

use super::{check, content};

fn props(entries: Vec<(&str, Value)>) -> Props {
    let key = |text| PropKey::new(text, &ValueLimits::NONE).unwrap();
    let entries = entries.into_iter().map(|(text, value)| (key(text), value)).collect();
    Props::from_entries(entries, &ValueLimits::NONE).unwrap()
}

#[test]
fn instances() {
    let [lamp, chair] = [[1; 16], [2; 16]].map(PrototypeId::from_bytes);
    let nested = |entries| Value::from_canonical(props(entries).as_bytes()).unwrap();
    let lamp_2 = Followed {
        version: PrototypeId::from_bytes([9; 16]),
        number: 2,
        defaults: props(vec![
            ("lit", Value::bool(true)),
            ("colour", Value::text("amber")),
            ("power", nested(vec![("watts", Value::int(8)), ("volts", Value::int(12))])),
        ]),
    };
    let root = props(vec![
        ("name", Value::text("hall")),
        (Followed::key(lamp).as_str(), lamp_2.to_value().unwrap()),
    ]);
    let of = |prototype: &str| (Object::PROTOTYPE_KEY, Value::text(prototype));
    let cases = [
        ("nothing overridden", vec![of(&lamp.to_string())]),
        ("one default overridden", vec![of(&lamp.to_string()), ("lit", Value::bool(false))]),
        ("overridden by null", vec![of(&lamp.to_string()), ("colour", Value::null())]),
        (
            "a map is not looked into",
            vec![of(&lamp.to_string()), ("power", nested(vec![("watts", Value::int(4))]))],
        ),
        ("properties of its own besides", vec![of(&lamp.to_string()), ("note", Value::int(1))]),
        ("a prototype that is not followed", vec![of(&chair.to_string())]),
        ("no id", vec![of("lamp")]),
        ("an id in upper case", vec![of("0A0A0A0A-0A0A-0A0A-0A0A-0A0A0A0A0A0A")]),
        ("no prototype", vec![("lit", Value::bool(false))]),
    ];
    let mut vectors = Vec::new();
    for (name, entries) in cases {
        let object = Object {
            id: ObjectId::from_bytes([7; 16]),
            parent: Handle::ROOT,
            kind: Kind::Block,
            owner: UserId::from_bytes([8; 16]),
            transform: Transform::IDENTITY,
            props: props(entries),
        };
        let in_effect = object.in_effect(&root).unwrap_or_else(|| object.props.clone());
        vectors.push(json!({
            "name": name,
            "root": content(root.as_bytes()),
            "own": content(object.props.as_bytes()),
            "in_effect": content(in_effect.as_bytes()),
        }));
    }
    let about = "What an object with the properties `own` has in a brane whose root has the \
                 properties `root`; all by the JSON form of PROTOCOL.md.";
    check("prototypes.json", about, vectors);
}
