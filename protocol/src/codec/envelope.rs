//! Messages through serde and ciborium: one struct a message, put into an
//! envelope that names it.

use ciborium::Value;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::scan::{Fault, MAX_NESTING};

/// The fields of a message as CBOR.
pub(crate) fn to_cbor_value(fields: &impl Serialize) -> Value {
    // Our own types have text keys and no failing serialiser.
    Value::serialized(fields).unwrap_or(Value::Null)
}

/// The message of these fields and those of its envelope.
pub(super) fn to_envelope(fields: &impl Serialize, envelope: Vec<(&str, Value)>) -> Vec<u8> {
    let mut entries = match to_cbor_value(fields) {
        Value::Map(entries) => entries,
        _ => Vec::new(),
    };
    entries.extend(envelope.into_iter().map(|(key, value)| (Value::from(key), value)));
    to_deterministic(Value::Map(entries))
}

/// Encodes with sorted keys; ciborium itself writes the shortest forms and
/// definite lengths.
pub(crate) fn to_deterministic(mut value: Value) -> Vec<u8> {
    sort(&mut value);
    let mut out = Vec::new();
    // Writing to a vector cannot fail.
    let _ = ciborium::into_writer(&value, &mut out);
    out
}

/// Reads fields; those it does not know are ignored.
pub(crate) fn from_cbor<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Fault> {
    let limit = MAX_NESTING as usize + 1;
    ciborium::de::from_reader_with_recursion_limit(bytes, limit)
        .map_err(|_| Fault::malformed("a field is missing or of another kind than stated"))
}

fn sort(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(sort),
        Value::Tag(_, inner) => sort(inner),
        Value::Map(entries) => {
            entries.iter_mut().for_each(|(_, value)| sort(value));
            entries.sort_by(|(a, _), (b, _)| match (a.as_text(), b.as_text()) {
                (Some(a), Some(b)) => a.len().cmp(&b.len()).then_with(|| a.cmp(b)),
                (a, b) => a.is_some().cmp(&b.is_some()),
            });
        }
        _ => {}
    }
}
