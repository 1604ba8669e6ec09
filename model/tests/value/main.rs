//! Values: any CBOR in, one encoding out, and nothing else gets through.

#![allow(clippy::unwrap_used)]

mod forms;
mod props;
mod standard;
mod trees;

use avvy_model::{InvalidValue, Value, ValueLimits};

const LIMITS: ValueLimits =
    ValueLimits { max_value_bytes: 256, max_nesting: 4, max_key_bytes: 16, max_props_bytes: 512 };

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn parse(text: &str) -> Result<String, InvalidValue> {
    let value = Value::parse(&hex(text), &LIMITS)?;
    Ok(value.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect())
}
