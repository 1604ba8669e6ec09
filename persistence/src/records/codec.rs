//! What a record holds, as bytes: CBOR (RFC 8949), deterministic (section
//! 4.2.1), but for floats, which always have 64 bits (4.2.2).
//!
//! `[[[index, unique, key], ...], {name: value, ...}]`. Entries are in the order
//! of index and key. A time is tag 1 and the seconds.

use bytes::Bytes;
use minicbor::Decoder;
use minicbor::data::Type;
use minicbor::decode::Error;

use super::entry::IndexKey;
use super::record::Entry;
use super::value::{Fields, MAX_DEPTH, Value};

/// The tag of a time in Unix seconds (RFC 8949, 3.4.2).
const TIME_TAG: u64 = 1;

/// Encodes entries, which are sorted, and a body.
pub(crate) fn encode(entries: &[Entry], body: &Fields) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    head(4, 2, &mut out);
    head(4, entries.len() as u64, &mut out);
    for Entry { index, unique, key } in entries {
        head(4, 3, &mut out);
        text(index, &mut out);
        out.push(0xf4 | u8::from(*unique));
        bytes(key.as_bytes(), &mut out);
    }
    fields(body, &mut out);
    out
}

/// Decodes what [`encode`] wrote.
pub(crate) fn decode(content: &[u8]) -> Result<(Vec<Entry>, Fields), Error> {
    let mut entries = Vec::new();
    let body = decode_body(content, |index, unique, key| {
        entries.push(Entry { index: index.to_owned(), unique, key: IndexKey::raw(key) });
    })?;
    Ok((entries, body))
}

/// Decodes the body alone, and shows each entry before it: its index, whether
/// that is unique, and the key.
pub(crate) fn decode_body(
    content: &[u8],
    mut entry: impl FnMut(&str, bool, &[u8]),
) -> Result<Fields, Error> {
    let mut decoder = Decoder::new(content);
    count(&mut decoder, Some(2))?;
    for _ in 0..count(&mut decoder, None)? {
        count(&mut decoder, Some(3))?;
        entry(decoder.str()?, decoder.bool()?, decoder.bytes()?);
    }
    let body = read_fields(&mut decoder, 1)?;
    match decoder.position() == content.len() {
        true => Ok(body),
        false => Err(Error::message("there is more behind it")),
    }
}

/// The head of an item: its major type and its argument, as short as can be.
pub(crate) fn head(major: u8, argument: u64, out: &mut Vec<u8>) {
    let major = major << 5;
    let bytes = argument.to_be_bytes();
    match argument {
        0..=23 => out.push(major | bytes[7]),
        24..=0xff => out.extend([major | 24, bytes[7]]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend(&bytes[6..]);
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend(&bytes[4..]);
        }
        _ => {
            out.push(major | 27);
            out.extend(&bytes);
        }
    }
}

/// A text string.
pub(crate) fn text(text: &str, out: &mut Vec<u8>) {
    head(3, text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

/// A byte string.
pub(crate) fn bytes(bytes: &[u8], out: &mut Vec<u8>) {
    head(2, bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Keys are in the order of their encodings: the shorter first.
fn fields(fields: &Fields, out: &mut Vec<u8>) {
    let mut sorted: Vec<_> = fields.iter().collect();
    sorted.sort_unstable_by_key(|(name, _)| (name.len(), *name));
    head(5, sorted.len() as u64, out);
    for (name, field) in sorted {
        text(name, out);
        value(field, out);
    }
}

fn value(of: &Value, out: &mut Vec<u8>) {
    match of {
        Value::Null => out.push(0xf6),
        Value::Bool(truth) => out.push(0xf4 | u8::from(*truth)),
        Value::Int(number) if *number < 0 => head(1, !number.cast_unsigned(), out),
        Value::Int(number) => head(0, number.cast_unsigned(), out),
        Value::Float(float) => {
            out.push(0xfb);
            out.extend(&float.to_be_bytes());
        }
        Value::Text(string) => text(string, out),
        Value::Bytes(string) => bytes(string, out),
        Value::Time(seconds) => {
            head(6, TIME_TAG, out);
            head(0, *seconds, out);
        }
        Value::Array(items) => {
            head(4, items.len() as u64, out);
            items.iter().for_each(|item| value(item, out));
        }
        Value::Map(map) => fields(map, out),
    }
}

fn count(decoder: &mut Decoder<'_>, expected: Option<u64>) -> Result<u64, Error> {
    let count = decoder.array()?.ok_or_else(|| Error::message("an array without a length"))?;
    match expected.is_none_or(|expected| count == expected) {
        true => Ok(count),
        false => Err(Error::message("an array of another length")),
    }
}

fn read_fields(decoder: &mut Decoder<'_>, depth: usize) -> Result<Fields, Error> {
    let count = decoder.map()?.ok_or_else(|| Error::message("a map without a length"))?;
    let field = |_| Ok((decoder.str()?.to_owned(), read_value(decoder, depth)?));
    (0..count).map(field).collect()
}

fn read_value(decoder: &mut Decoder<'_>, depth: usize) -> Result<Value, Error> {
    if depth > MAX_DEPTH {
        return Err(Error::message("nested too deep"));
    }
    match decoder.datatype()? {
        Type::Null => decoder.null().map(|()| Value::Null),
        Type::Bool => decoder.bool().map(Value::Bool),
        Type::F64 => decoder.f64().map(Value::Float),
        Type::String => decoder.str().map(|text| Value::Text(text.to_owned())),
        Type::Bytes => decoder.bytes().map(|bytes| Value::Bytes(Bytes::copy_from_slice(bytes))),
        Type::Tag if decoder.tag()?.as_u64() == TIME_TAG => decoder.u64().map(Value::Time),
        Type::Array => {
            let items = (0..count(decoder, None)?).map(|_| read_value(decoder, depth + 1));
            items.collect::<Result<_, _>>().map(Value::Array)
        }
        Type::Map => read_fields(decoder, depth + 1).map(Value::Map),
        Type::U8
        | Type::U16
        | Type::U32
        | Type::U64
        | Type::I8
        | Type::I16
        | Type::I32
        | Type::I64 => decoder.i64().map(Value::Int),
        _ => Err(Error::message("no value of a record")),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::records::MAX_TIME_S;

    pub(crate) fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            prop::num::f64::NORMAL.prop_map(Value::Float),
            "\\PC{0,9}".prop_map(Value::Text),
            prop::collection::vec(any::<u8>(), 0..9).prop_map(|bytes| Value::Bytes(bytes.into())),
            (0..=MAX_TIME_S).prop_map(Value::Time),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::vec(("[a-z]{1,3}", inner), 0..4)
                    .prop_map(|fields| Value::Map(fields.into_iter().collect())),
            ]
        })
    }

    pub(crate) fn body() -> impl Strategy<Value = Fields> {
        prop::collection::vec(("[a-zä]{1,4}", value()), 0..6)
            .prop_map(|fields| fields.into_iter().collect())
    }

    proptest! {
        #[test]
        fn a_body_comes_back_as_it_was(body in body(), key in any::<[u8; 5]>()) {
            prop_assert_eq!(body.check(), Ok(()));
            let entries = [Entry { index: "by".into(), unique: true, key: IndexKey::raw(key) }];
            let content = encode(&entries, &body);
            let (found, again) = decode(&content).unwrap();
            prop_assert_eq!(&encode(&found, &again), &content);
            prop_assert_eq!((found.as_slice(), again), (&entries[..], body));
        }

        #[test]
        fn bytes_of_others_are_no_panic(content in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&content);
        }
    }

    /// By hand, from RFC 8949.
    #[test]
    fn is_deterministic_cbor() {
        let body = Fields::new()
            .with("bb", true)
            .with("c", -1_i64)
            .with("a", Value::Time(1_700_000_000))
            .with("d", vec![Value::Null, 0.5.into(), 500_i64.into()]);
        let expected = [
            &[0x82, 0x80, 0xa4, 0x61, b'a', 0xc1, 0x1a, 0x65, 0x53, 0xf1, 0x00, 0x61, b'c', 0x20][..],
            &[0x61, b'd', 0x83, 0xf6, 0xfb, 0x3f, 0xe0, 0, 0, 0, 0, 0, 0, 0x19, 0x01, 0xf4],
            &[0x62, b'b', b'b', 0xf5],
        ];
        assert_eq!(encode(&[], &body), expected.concat());
    }

    #[test]
    fn what_is_nested_without_end_is_refused() {
        let deep = [&[0x82, 0x80, 0xa1, 0x61, b'a'][..], &[0x81; 5_000]].concat();
        assert!(decode(&deep).is_err());
        let mut value = Value::Null;
        for _ in 0..MAX_DEPTH {
            value = Value::Array(vec![value]);
        }
        assert_eq!(Fields::new().with("a", value).check(), Err(crate::records::Malformed::Depth));
    }
}
