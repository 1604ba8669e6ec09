//! As one writes it with serde: a struct for each map.

use std::fmt;

use avvy_model::{Event, NumberedEdit};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Head, read_record, write_record};

#[derive(Deserialize)]
struct Update {
    op: String,
    edits: Vec<Edit>,
}

#[derive(Deserialize)]
struct Edit {
    m: Blob,
    n: u64,
    op: String,
}

#[derive(Serialize)]
struct Flush {
    ch: u32,
    ms: u64,
    to: u64,
    log: Vec<Blob>,
    from: u64,
    epoch: u64,
    event: &'static str,
    durable: u64,
    timestamp: u64,
}

/// A byte string.
struct Blob(Vec<u8>);

pub(super) fn read(message: &[u8]) -> Option<Vec<NumberedEdit>> {
    let update: Update = ciborium::from_reader(message).ok()?;
    if update.op != "object.update" {
        return None;
    }
    let edit = |edit: &Edit| match edit.op.as_str() {
        "move" => read_record(edit.n, &edit.m.0),
        _ => None,
    };
    update.edits.iter().map(edit).collect()
}

pub(super) fn write(head: Head, events: &[Event]) -> Vec<u8> {
    let mut records = Vec::with_capacity(23 * events.len());
    events.iter().for_each(|event| write_record(event, &mut records));
    let flush = Flush {
        ch: head.channel.0,
        ms: head.ms,
        to: head.from.0 + events.len() as u64,
        log: vec![Blob(records)],
        from: head.from.0,
        epoch: head.epoch.0,
        event: "entity.update",
        durable: head.durable.0,
        timestamp: head.ms / 1_000,
    };
    let mut out = Vec::with_capacity(128 + 24 * events.len());
    // Writing to a vector cannot fail.
    let _ = ciborium::into_writer(&flush, &mut out);
    out
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Blob;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a byte string")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(bytes.to_vec()))
            }

            fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Blob, E> {
                Ok(Blob(bytes))
            }
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}
