//! Golden vectors: the files under `protocol/vectors/` are made from the
//! samples here, and every byte of them is checked.
//!
//! With `AVVY_BLESS=1` the files are written anew. A change of a file is a
//! change of the wire: see `PROTOCOL.md`, "Versions".
#![allow(clippy::unwrap_used, missing_docs)]

mod bodies;
mod client;
mod every;
mod invalid;
mod model;
mod people;
mod prototypes;
mod samples;
mod server;

use std::path::PathBuf;

use avvy_protocol::json;
use serde_json::{Value as Json, json};

/// Compares a file with what it should hold, or writes it.
fn check(file: &str, about: &str, vectors: Vec<Json>) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors").join(file);
    if std::env::var_os("AVVY_BLESS").is_some() {
        std::fs::write(&path, render(about, &vectors)).unwrap();
        return;
    }
    let found: Json = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let found = found["vectors"].as_array().unwrap();
    for (found, expected) in found.iter().zip(&vectors) {
        assert_eq!(found, expected, "{file}; AVVY_BLESS=1 writes it anew");
    }
    assert_eq!(found.len(), vectors.len(), "{file}; AVVY_BLESS=1 writes it anew");
}

/// One vector a line, so that a difference shows which.
fn render(about: &str, vectors: &[Json]) -> String {
    let lines: Vec<String> = vectors.iter().map(|v| format!("    {v}")).collect();
    let about = Json::from(about);
    format!("{{\n  \"about\": {about},\n  \"vectors\": [\n{}\n  ]\n}}\n", lines.join(",\n"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// What some CBOR says, by the JSON form of `PROTOCOL.md`.
fn content(cbor: &[u8]) -> Json {
    json::from_cbor(&ciborium::from_reader(cbor).unwrap())
}

fn vector(name: &str, cbor: &[u8]) -> Json {
    json!({ "name": name, "hex": hex(cbor), "content": content(cbor) })
}
