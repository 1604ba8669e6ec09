//! `PROTOCOL.md` says what the code says.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use avvy_model::Code;
use avvy_protocol::close::CloseCode;
use serde_json::Value as Json;

#[test]
fn tables_are_those_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("PROTOCOL.md");
    let found = std::fs::read_to_string(&path).unwrap();
    let mut expected = found.clone();
    for (name, lines) in [
        ("close codes", close_codes()),
        ("error codes", error_codes()),
        ("state hash", state_hash()),
    ] {
        expected = with_section(&expected, name, &lines);
    }
    if std::env::var_os("AVVY_BLESS").is_some() {
        std::fs::write(&path, expected).unwrap();
    } else {
        assert!(found == expected, "AVVY_BLESS=1 cargo test -p avvy-protocol writes the tables");
    }
}

/// What the vectors hold stands in the document: each message, edit and change
/// by its name, and its fields in the sections that name it.
#[test]
fn what_the_vectors_hold_has_its_form_in_the_document() {
    let document = read("PROTOCOL.md");
    let sections: Vec<BTreeSet<&str>> = document.split("\n#").map(quoted).collect();
    for (name, fields) in words() {
        let there: BTreeSet<&str> =
            sections.iter().filter(|words| words.contains(&*name)).flatten().copied().collect();
        assert!(!there.is_empty(), "PROTOCOL.md does not know `{name}`");
        for field in fields {
            assert!(
                there.contains(&*field),
                "PROTOCOL.md does not say what `{field}` of `{name}` is"
            );
        }
    }
}

/// The words that a text has in backquotes, be they quoted in them or not.
fn quoted(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).map(|word| word.trim_matches('"')).collect()
}

/// What the messages of the vectors, the edits in them and the changes are
/// called, each with the names of its fields.
fn words() -> BTreeMap<String, BTreeSet<String>> {
    let mut words = BTreeMap::new();
    for file in ["client.json", "server.json"] {
        let file: Json = serde_json::from_str(&read(&format!("vectors/{file}"))).unwrap();
        for vector in file["vectors"].as_array().unwrap() {
            collect(&vector["content"], &mut words);
        }
    }
    words
}

/// Those of a message and of what is nested in it.
fn collect(content: &Json, words: &mut BTreeMap<String, BTreeSet<String>>) {
    const NAMES: [&str; 3] = ["op", "event", "change"];
    // What every message has, and every edit.
    const OF_ALL: [&str; 2] = ["timestamp", "n"];
    let Some(map) = content.as_object() else {
        return content.as_array().into_iter().flatten().for_each(|item| collect(item, words));
    };
    if let Some(name) = NAMES.iter().find_map(|key| map.get(*key)?.as_str()) {
        words.entry(name.to_owned()).or_default();
        // A creation has the fields of an object, which stand with the snapshot.
        let home = if name == "created" { "brane.snapshot" } else { name };
        let of_all = |key: &str| NAMES.contains(&key) || OF_ALL.contains(&key);
        let fields = map.keys().filter(|key| !of_all(key)).cloned();
        words.entry(home.to_owned()).or_default().extend(fields);
    }
    map.values().for_each(|value| collect(value, words));
}

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// The document with these lines between the markers of a section.
fn with_section(document: &str, name: &str, lines: &[String]) -> String {
    let begin = document.find(&format!("<!-- {name}: begin")).unwrap();
    let begin = begin + document[begin..].find('\n').unwrap() + 1;
    let end = document.find(&format!("<!-- {name}: end")).unwrap();
    format!("{}\n{}\n\n{}", &document[..begin], lines.join("\n"), &document[end..])
}

fn close_codes() -> Vec<String> {
    let rows = CloseCode::ALL.iter().map(|code| {
        let (number, name) = (code.number(), code.name());
        format!("| {number} | `{name}` | {} | {} |", code.reconnect().name(), code.meaning())
    });
    ["| number | name | reconnect | meaning |", "|---|---|---|---|"]
        .map(str::to_owned)
        .into_iter()
        .chain(rows)
        .collect()
}

fn error_codes() -> Vec<String> {
    let rows = Code::ALL
        .iter()
        .map(|code| format!("| {} | `{}` | {} |", code.number(), code.name(), code.meaning()));
    ["| number | name | meaning |", "|---|---|---|"]
        .map(str::to_owned)
        .into_iter()
        .chain(rows)
        .collect()
}

/// The worked example, from the vectors.
fn state_hash() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/state_hash.json");
    let file: Json = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let world = &file["vectors"][0];
    let mut lines = vec!["```text".to_owned()];
    for object in world["objects"].as_array().unwrap() {
        let hashed = object["hashed"].as_str().unwrap();
        let cut = [0, 8, 40, 48, 50, 82, 142, hashed.len()];
        let parts: Vec<&str> = cut.windows(2).map(|pair| &hashed[pair[0]..pair[1]]).collect();
        lines.push(format!("object {}", object["handle"]));
        for (name, part) in
            ["handle", "id", "parent", "kind", "owner", "transform", "props"].iter().zip(parts)
        {
            lines.push(format!("  {name:<10}{part}"));
        }
        lines.push(format!("  {:<10}{}", "digest", object["digest"].as_str().unwrap()));
    }
    lines.push(format!("state hash  {}", world["hash"].as_str().unwrap()));
    lines.push("```".to_owned());
    lines
}
