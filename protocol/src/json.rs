//! CBOR to JSON and back, by one rule for every body and value.
//!
//! | CBOR | JSON |
//! |---|---|
//! | text, array, map, `true`, `false`, `null` | the same |
//! | integer | a number without fraction or exponent; below -2^63 `{"$int": "<decimal>"}` |
//! | float | a number with a fraction or exponent; not finite: `{"$float": "nan"}`, `"inf"`, `"-inf"` |
//! | byte string | `{"$bytes": "<hex>"}` |
//! | asset reference | `{"$asset": "<64 hex digits>"}` |
//! | map whose one key starts with `$` | `{"$map": {...}}` around it |

use std::fmt;

use crate::codec::to_cbor_value;
use avvy_model::{Props, Value as PropValue};
use ciborium::Value as Cbor;
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value as Json};

/// JSON that stands for no CBOR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("JSON that has no meaning here: {0}")]
pub struct InvalidJson(&'static str);

/// Reads JSON in which no object has a key twice: of such an object two
/// readers need not mean the same.
///
/// # Errors
/// When it is not JSON, or has a key twice.
pub fn parse(bytes: &[u8]) -> serde_json::Result<Json> {
    serde_json::from_slice::<Once>(bytes).map(|Once(json)| json)
}

/// JSON whose objects have each key once.
struct Once(Json);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OnceVisitor)
    }
}

struct OnceVisitor;

impl<'de> Visitor<'de> for OnceVisitor {
    type Value = Once;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Once, E> {
        Ok(Once(Json::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Once, E> {
        Ok(Once(Json::Bool(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Once, E> {
        Ok(Once(Json::from(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Once, E> {
        Ok(Once(Json::from(value)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Once, E> {
        Ok(Once(Json::from(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Once, E> {
        Ok(Once(Json::from(value)))
    }

    fn visit_string<E>(self, value: String) -> Result<Once, E> {
        Ok(Once(Json::String(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Once, A::Error> {
        let mut array = Vec::new();
        while let Some(Once(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(Once(Json::Array(array)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Once, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let Once(value) = entries.next_value()?;
            if object.insert(key, value).is_some() {
                return Err(A::Error::custom("an object has a key twice"));
            }
        }
        Ok(Once(Json::Object(object)))
    }
}

/// The JSON of a CBOR item. Tags other than asset references, and keys other
/// than text, have none and become `null`, or are left out: nothing that this
/// crate writes has them.
pub fn from_cbor(value: &Cbor) -> Json {
    match value {
        Cbor::Bool(b) => Json::Bool(*b),
        Cbor::Text(text) => Json::String(text.clone()),
        Cbor::Integer(n) => integer(i128::from(*n)),
        Cbor::Float(f) => float(*f),
        Cbor::Bytes(bytes) => special("$bytes", to_hex(bytes)),
        Cbor::Array(items) => Json::Array(items.iter().map(from_cbor).collect()),
        Cbor::Map(entries) => object(entries),
        Cbor::Tag(PropValue::ASSET_TAG, inner) => match &**inner {
            Cbor::Bytes(hash) => special("$asset", to_hex(hash)),
            _ => Json::Null,
        },
        _ => Json::Null,
    }
}

/// The JSON of a body.
pub fn of_body<T: Serialize>(body: &T) -> Json {
    from_cbor(&to_cbor_value(body))
}

/// The JSON of a value of a property or a signal.
pub fn of_value(value: &PropValue) -> Json {
    of_item(value.as_bytes())
}

/// The JSON of properties.
pub fn of_props(props: &Props) -> Json {
    of_item(props.as_bytes())
}

/// Values are CBOR by their type.
fn of_item(bytes: &[u8]) -> Json {
    ciborium::from_reader(bytes).map_or(Json::Null, |item| from_cbor(&item))
}

/// The CBOR item that a JSON value stands for.
///
/// # Errors
/// When an object has one key that starts with `$` and is none of those of
/// the module's table.
pub fn to_cbor(value: &Json) -> Result<Cbor, InvalidJson> {
    Ok(match value {
        Json::Null => Cbor::Null,
        Json::Bool(b) => Cbor::Bool(*b),
        Json::String(text) => Cbor::Text(text.clone()),
        Json::Number(n) => number(n),
        Json::Array(items) => Cbor::Array(items.iter().map(to_cbor).collect::<Result<_, _>>()?),
        Json::Object(map) => match single_special(map) {
            Some((key, inner)) => unwrap_special(key, inner)?,
            None => plain_map(map)?,
        },
    })
}

fn integer(n: i128) -> Json {
    match (u64::try_from(n), i64::try_from(n)) {
        (Ok(n), _) => Json::from(n),
        (_, Ok(n)) => Json::from(n),
        _ => special("$int", n.to_string()),
    }
}

fn float(f: f64) -> Json {
    match Number::from_f64(f) {
        Some(n) => Json::Number(n),
        None if f.is_nan() => special("$float", "nan".to_owned()),
        None => special("$float", if f > 0.0 { "inf" } else { "-inf" }.to_owned()),
    }
}

fn number(n: &Number) -> Cbor {
    match (n.as_u64(), n.as_i64(), n.as_f64()) {
        (Some(n), ..) => Cbor::from(n),
        (_, Some(n), _) => Cbor::from(n),
        (.., f) => Cbor::from(f.unwrap_or(f64::NAN)),
    }
}

fn object(entries: &[(Cbor, Cbor)]) -> Json {
    let entries = entries.iter().filter_map(|(k, v)| Some((k.as_text()?.to_owned(), from_cbor(v))));
    let map: Map<String, Json> = entries.collect();
    if single_special(&map).is_some() {
        return Json::Object(Map::from_iter([("$map".to_owned(), Json::Object(map))]));
    }
    Json::Object(map)
}

fn special(key: &str, text: String) -> Json {
    Json::Object(Map::from_iter([(key.to_owned(), Json::String(text))]))
}

/// The entry of a map that has but one, whose key starts with `$`.
fn single_special(map: &Map<String, Json>) -> Option<(&str, &Json)> {
    let (key, value) = map.iter().next()?;
    (map.len() == 1 && key.starts_with('$')).then_some((key, value))
}

fn unwrap_special(key: &str, inner: &Json) -> Result<Cbor, InvalidJson> {
    match (key, inner) {
        ("$bytes", Json::String(hex)) => from_hex(hex).map(Cbor::Bytes),
        ("$asset", Json::String(hex)) => {
            let hash = from_hex(hex)?;
            Ok(Cbor::Tag(PropValue::ASSET_TAG, Box::new(Cbor::Bytes(hash))))
        }
        ("$int", Json::String(text)) => {
            let n: i128 = text.parse().map_err(|_| InvalidJson("$int"))?;
            ciborium::value::Integer::try_from(n)
                .map(Cbor::Integer)
                .map_err(|_| InvalidJson("$int"))
        }
        ("$float", Json::String(text)) => match text.as_str() {
            "nan" => Ok(Cbor::Float(f64::NAN)),
            "inf" => Ok(Cbor::Float(f64::INFINITY)),
            "-inf" => Ok(Cbor::Float(f64::NEG_INFINITY)),
            _ => Err(InvalidJson("$float")),
        },
        ("$map", Json::Object(map)) => plain_map(map),
        _ => Err(InvalidJson("a single key that starts with $")),
    }
}

fn plain_map(map: &Map<String, Json>) -> Result<Cbor, InvalidJson> {
    let entries = map.iter().map(|(k, v)| Ok((Cbor::Text(k.clone()), to_cbor(v)?)));
    Ok(Cbor::Map(entries.collect::<Result<_, InvalidJson>>()?))
}

/// Lower-case hex digits, two a byte.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|b| [b >> 4, b & 15]);
    digits.map(|d| char::from(DIGITS[usize::from(d)])).collect()
}

fn from_hex(text: &str) -> Result<Vec<u8>, InvalidJson> {
    let wrong = InvalidJson("hex digits expected");
    if !text.len().is_multiple_of(2) {
        return Err(wrong);
    }
    let digit = |c: u8| char::from(c).to_digit(16).ok_or(wrong);
    let pairs = text.as_bytes().chunks_exact(2);
    pairs.map(|pair| Ok((digit(pair[0])? << 4 | digit(pair[1])?) as u8)).collect()
}
