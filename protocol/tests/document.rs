//! `PROTOCOL.md` says what the code says.
#![allow(clippy::unwrap_used, missing_docs)]

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
