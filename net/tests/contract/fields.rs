//! Fields that a body does not have: whoever adds them has set nothing by them.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};

use super::operation::Operation;
use super::others::{outcome, start};
use super::people::{Person, Things};

/// What no body can set, besides all that an answer shows and its request does
/// not have.
const INTERNAL: [&str; 16] = [
    "user",
    "role",
    "roles",
    "karma",
    "is_admin",
    "admin",
    "is_deleted",
    "is_deprecated",
    "by_operator",
    "archived",
    "created_s",
    "changed_s",
    "created_ms",
    "chain",
    "origin",
    "__proto__",
];

/// What needs more than its example: a ticket, or a wallet's signature.
const PROVEN: [&str; 3] = [
    "POST /api/v1/auth/accounts",
    "POST /api/v1/auth/wallets",
    "DELETE /api/v1/auth/wallets/{address}",
];

/// A value of this schema that is not the one that is there.
fn foreign(schema: &Json, there: &Json) -> Json {
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().find(|value| *value != there).unwrap().clone();
    }
    let kind = schema["type"].as_str().or(schema["type"][0].as_str()).unwrap_or("object");
    match (kind, schema["format"].as_str()) {
        ("string", Some("uuid")) => json!("0f0e0d0c-0b0a-4908-8706-050403020100"),
        ("string", _) => json!("foreign"),
        ("boolean", _) => json!(there != &json!(true)),
        ("integer" | "number", _) => json!(4_242_424),
        ("array", _) => json!([foreign(&schema["items"], &Json::Null)]),
        ("object", _) => json!({"foreign": true}),
        other => panic!("there is no foreign value for {other:?}"),
    }
}

/// What this answers shows and its request cannot say, with other values than
/// those of an honest answer; and more.
fn foreign_fields(operation: &Operation, honest: &Json) -> Map<String, Json> {
    let takes = operation.takes();
    let shown = operation.answers();
    let mut fields: Map<String, Json> = shown
        .iter()
        .filter(|(name, _)| !takes.contains_key(*name))
        .map(|(name, schema)| (name.clone(), foreign(schema, &honest[name])))
        .collect();
    for name in INTERNAL.into_iter().filter(|name| !takes.contains_key(*name)) {
        fields.entry(name).or_insert(json!(true));
    }
    fields
}

/// What a `GET` of the same path shows, if there is one.
async fn seen(person: &mut Person, operation: &Operation, things: &Things) -> Option<Json> {
    let of_path = |it: &Operation| it.method == "GET" && it.path == operation.path;
    let get = Operation::all().into_iter().find(of_path)?;
    let answer = person.ask(&get, &things.path(&get, things), None).await;
    assert_eq!(answer.status, 200, "{}", get.name());
    Some(answer.as_json())
}

#[tokio::test]
async fn no_field_is_set_by_who_may_not() {
    let server = start().await;
    let mut ada = Person::new(&server, 1).await;
    let mut done = BTreeSet::new();
    for operation in Operation::all() {
        let name = operation.name();
        if !operation.needs("token") || operation.takes().is_empty() || PROVEN.contains(&&*name) {
            continue;
        }
        let things = ada.fit(&operation).await;
        let body = things.body(&operation).unwrap();
        let honest = ada.ask(&operation, &things.path(&operation, &things), Some(&body)).await;
        assert!(honest.status < 300, "{name} answers {:?}", outcome(&honest));
        let fields = foreign_fields(&operation, &honest.as_json());

        let things = ada.fit(&operation).await;
        let mut body = things.body(&operation).unwrap();
        body.as_object_mut().unwrap().extend(fields.clone());
        let before = seen(&mut ada, &operation, &things).await;
        let answer = ada.ask(&operation, &things.path(&operation, &things), Some(&body)).await;
        // To know none of them is also an answer.
        if outcome(&answer) == (400, "malformed".to_owned()) {
            continue;
        }
        assert!(answer.status < 300, "{name} answers {:?}", outcome(&answer));
        let after = seen(&mut ada, &operation, &things).await;
        for (field, value) in &fields {
            for told in [Some(&answer.as_json()), after.as_ref()].into_iter().flatten() {
                assert_ne!(told.get(field), Some(value), "{name} sets {field}");
            }
        }
        if let (Some(before), Some(after), "PATCH") = (before, after, &*operation.method) {
            let kept = |shown: Json| {
                let mut shown = shown.as_object().unwrap().clone();
                // What was asked for has changed, and that counts as one.
                let changes = ["version", "timestamp"].into_iter();
                let asked = operation.takes();
                changes.chain(asked.keys().map(String::as_str)).for_each(|it| {
                    shown.remove(it);
                });
                shown
            };
            assert_eq!(kept(before), kept(after), "{name}");
        }
        done.insert(name);
    }
    let patches: Vec<String> =
        Operation::all().iter().map(Operation::name).filter(|it| it.starts_with("PATCH")).collect();
    assert!(!patches.is_empty() && patches.iter().all(|it| done.contains(it)), "{done:?}");
    server.end().await;
}
