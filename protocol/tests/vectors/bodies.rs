//! Bodies of HTTP, as CBOR and as JSON.

use std::collections::BTreeMap;

use avvy_model::*;
use avvy_protocol::rest::*;
use avvy_protocol::{DecodeLimits, ErrorMessage};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use super::samples::*;
use super::{check, hex};

#[test]
fn bodies() {
    let error = ErrorMessage {
        code: Code::RateLimited,
        message: Code::RateLimited.meaning().to_owned(),
        details: Some("10 requests a second".to_owned()),
        trace: trace_id(0x7e),
        retry_after_ms: Some(800),
        operation: None,
        channel: None,
        address: None,
    };
    let brane = BraneBody {
        id: brane_id(0xb0),
        name: "Show room".to_owned(),
        owner: user_id(0xb1),
        kind: "showcase".to_owned(),
        visibility: Visibility::Unlisted,
        timestamp: NOW_MS / 1_000,
        description: "Chairs,\nand more chairs.".to_owned(),
        tags: vec!["chairs".to_owned()],
        life: "active".to_owned(),
        since: None,
        purge_from: None,
        successor: None,
        by_operator: false,
        version: 3,
    };
    let archived = BraneBody {
        life: "archived".to_owned(),
        since: Some(NOW_MS / 1_000),
        successor: Some(brane_id(0xb2)),
        ..brane.clone()
    };
    let deleted = BraneBody {
        life: "deleted".to_owned(),
        since: Some(NOW_MS / 1_000),
        purge_from: Some(NOW_MS / 1_000 + 2_592_000),
        ..brane.clone()
    };
    let patch = PatchBrane {
        name: Some("Show room".to_owned()),
        visibility: Some(Visibility::Public),
        ..PatchBrane::default()
    };
    let create = CreateBrane {
        id: None,
        name: "Show room".to_owned(),
        kind: "personal".to_owned(),
        visibility: Visibility::Private,
        cell_size: None,
    };
    let block = object(17, 0, Kind::Block);
    let objects = ObjectPage {
        at: at(3, 70_000),
        objects: vec![ObjectBody::new(block.handle, &block.object, object_id(0), &BTreeMap::new())],
        next: Some(Handle(17)),
    };
    let instances = ObjectPage { objects: vec![instance()], next: None, ..objects.clone() };
    let outcome = |n, result| EditOutcome { counter: Counter(n), result };
    let refusal = Refusal { code: Code::NotPermitted, operation: Some(1) };
    let submitted = SubmitResponse {
        epoch: Epoch(3),
        durable: true,
        outcomes: vec![
            outcome(5, EditResult::Applied(Seq(70_001))),
            outcome(6, EditResult::Refused(refusal)),
            outcome(7, EditResult::Refused(Code::Cycle.into())),
        ],
    };
    let vectors = vec![
        body("ErrorMessageResponse", &ErrorMessageResponse::new(&error, NOW_MS)),
        body("a brane", &brane),
        body("an archived brane", &archived),
        body("a deleted brane", &deleted),
        body("change a brane", &patch),
        body("archive a brane", &ArchiveBrane { successor: Some(brane_id(0xb2)) }),
        body("the last page of branes", &BranePage { branes: vec![brane.clone()], next: None }),
        body("a page of branes", &BranePage { branes: vec![brane], next: Some("MjA".to_owned()) }),
        body("create a brane", &create),
        body("create a brane by id", &CreateBrane { id: Some(brane_id(0xb0)), ..create.clone() }),
        body(
            "create a brane with cells of 50 m",
            &CreateBrane { cell_size: Some(50.0), ..create.clone() },
        ),
        body("a page of objects", &objects),
        body("a page with an instance", &instances),
        body("what became of edits", &submitted),
        submit(),
    ];
    let about = "Bodies of HTTP: `hex` is the CBOR, `json` the same as JSON.";
    check("rest.json", about, vectors);
}

fn body<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
    name: &str,
    body: &T,
) -> Json {
    let cbor = encode(body, Format::Cbor);
    let text = encode(body, Format::Json);
    assert_eq!(&decode::<T>(&cbor, Format::Cbor, 10_000).unwrap(), body);
    assert_eq!(&decode::<T>(&text, Format::Json, 10_000).unwrap(), body);
    let json: Json = serde_json::from_slice(&text).unwrap();
    json!({ "name": name, "hex": hex(&cbor), "json": json })
}

/// The one body with edits; in JSON as a person would write it.
fn submit() -> Json {
    let json = json!({
        "client": client_id(0xc1),
        "trace": trace_id(0x7e),
        "edits": [
            { "n": 1, "op": "create", "id": object_id(7), "parent": 0, "kind": "block",
              "transform": [1, 0, 0, 1.5, 0, 1, 0, 0, 0, 0, 1, -20.25, 0, 0, 0, 1],
              "props": { "name": "door", "raw": { "$bytes": "00ff" } } },
            { "n": 2, "op": "move", "t": object_id(7), "position": [0, 2, 0] },
            { "n": 3, "op": "delete", "t": 17, "mode": "sideways" },
        ],
    });
    let text = json.to_string();
    let limits = DecodeLimits::default();
    let read = decode_submit(text.as_bytes(), Format::Json, &limits).unwrap();
    assert_eq!((read.edits.len(), read.refused.len()), (2, 1));
    let mut cbor = Vec::new();
    ciborium::into_writer(&avvy_protocol::json::to_cbor(&json).unwrap(), &mut cbor).unwrap();
    let canonical = Value::parse(&cbor, &ValueLimits::NONE).unwrap();
    assert_eq!(decode_submit(canonical.as_bytes(), Format::Cbor, &limits).unwrap(), read);
    json!({ "name": "submit edits", "hex": hex(canonical.as_bytes()), "json": json })
}

/// An object with defaults of its prototype.
fn instance() -> ObjectBody {
    let prototype = PrototypeId::from_bytes([0xc0; 16]);
    let props = |entries: Vec<(&str, Value)>| {
        let key = |text| PropKey::new(text, &ValueLimits::NONE).unwrap();
        let entries = entries.into_iter().map(|(text, value)| (key(text), value)).collect();
        Props::from_entries(entries, &ValueLimits::NONE).unwrap()
    };
    let version = PrototypeId::from_bytes([0xc1; 16]);
    let defaults = props(vec![("lit", Value::bool(true)), ("colour", Value::text("amber"))]);
    let followed = BTreeMap::from([(prototype, Followed { version, number: 1, defaults })]);
    let mut at = object(18, 0, Kind::Block);
    let named = Value::text(&prototype.to_string());
    at.object.props = props(vec![(Object::PROTOTYPE_KEY, named), ("lit", Value::bool(false))]);
    ObjectBody::new(at.handle, &at.object, object_id(0), &followed)
}
