//! Properties as others can read them: from CBOR to BSON.

use minicbor::Decoder;
use minicbor::data::Type;
use minicbor::decode::Error;
use mongodb::bson::{Bson, Document};

use avvy_model::{Props, Value};

use super::rows::binary;

/// The properties of an object. What BSON cannot say as it is becomes text.
pub(super) fn properties(props: &Props) -> Document {
    let mut document = Document::new();
    for (key, value) in props.iter() {
        // What was stored was checked; what cannot be read shows as nothing.
        let value = value_of(&mut Decoder::new(value), 0).unwrap_or(Bson::Null);
        document.insert(key, value);
    }
    document
}

fn value_of(decoder: &mut Decoder<'_>, depth: u32) -> Result<Bson, Error> {
    if depth > Value::MAX_NESTING {
        return Err(Error::message("nested too deep"));
    }
    match decoder.datatype()? {
        Type::Bool => decoder.bool().map(Bson::Boolean),
        Type::Null | Type::Undefined => decoder.skip().map(|()| Bson::Null),
        Type::F16 => decoder.f16().map(|float| Bson::Double(float.into())),
        Type::F32 => decoder.f32().map(|float| Bson::Double(float.into())),
        Type::F64 => decoder.f64().map(Bson::Double),
        Type::String => decoder.str().map(|text| Bson::String(text.to_owned())),
        Type::Bytes => decoder.bytes().map(binary),
        Type::Array => {
            let count = decoder.array()?.unwrap_or(0);
            let items = (0..count).map(|_| value_of(decoder, depth + 1));
            items.collect::<Result<Vec<_>, _>>().map(Bson::Array)
        }
        Type::Map => map(decoder, depth),
        Type::Tag => {
            decoder.tag()?;
            value_of(decoder, depth + 1)
        }
        Type::U8
        | Type::U16
        | Type::U32
        | Type::U64
        | Type::I8
        | Type::I16
        | Type::I32
        | Type::I64
        | Type::Int => {
            let number = i128::from(decoder.int()?);
            let long = i64::try_from(number).map(Bson::Int64);
            Ok(long.unwrap_or_else(|_| Bson::String(number.to_string())))
        }
        _ => {
            decoder.skip()?;
            Ok(Bson::Null)
        }
    }
}

/// Keys are text, of BSON's without zeros.
fn map(decoder: &mut Decoder<'_>, depth: u32) -> Result<Bson, Error> {
    let mut document = Document::new();
    for _ in 0..decoder.map()?.unwrap_or(0) {
        let key = decoder.str()?.replace('\0', "\u{fffd}");
        document.insert(key, value_of(decoder, depth + 1)?);
    }
    Ok(Bson::Document(document))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use avvy_model::{AssetHash, PropKey, ValueLimits};
    use mongodb::bson::doc;

    use super::*;

    fn parsed(bytes: &[u8]) -> Value {
        Value::parse(bytes, &ValueLimits::NONE).unwrap()
    }

    #[test]
    fn properties_become_fields() {
        let values = [
            ("a", Value::int(-7)),
            ("b", Value::text("wall")),
            ("c", Value::float(1.5)),
            ("d", Value::bool(true)),
            ("e", Value::null()),
            // [1, {"x": h'01', "y": []}] and 2^64 - 1.
            ("f", parsed(&[0x82, 0x01, 0xa2, 0x61, b'x', 0x41, 0x01, 0x61, b'y', 0x80])),
            ("g", parsed(&[0x1b, 255, 255, 255, 255, 255, 255, 255, 255])),
            ("m", Value::asset(AssetHash([9; 32]))),
        ];
        let key = |text| PropKey::new(text, &ValueLimits::NONE).unwrap();
        let entries = values.into_iter().map(|(name, value)| (key(name), value));
        let props = Props::from_entries(entries.collect(), &ValueLimits::NONE).unwrap();
        let expected = doc! {
            "a": -7_i64, "b": "wall", "c": 1.5, "d": true, "e": Bson::Null,
            "f": [1_i64, {"x": binary(&[1]), "y": []}],
            "g": "18446744073709551615", "m": binary(&[9; 32]),
        };
        assert_eq!(properties(&props), expected);
    }
}
