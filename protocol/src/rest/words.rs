//! How transforms and properties look in bodies.

/// A number that may be left out; a whole one may come as an integer.
pub(super) mod real_option {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::matrix::Real;

    pub fn serialize<S: Serializer>(real: &Option<f64>, s: S) -> Result<S::Ok, S::Error> {
        real.serialize(s)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<f64>, D::Error> {
        Ok(Option::<Real>::deserialize(d)?.map(|Real(number)| number))
    }
}

/// 16 numbers; whole ones may come as integers.
pub(super) mod matrix {
    use std::fmt;

    use serde::de::{Deserializer, Error, SeqAccess, Visitor};
    use serde::{Deserialize, Serialize, Serializer};

    pub fn serialize<S: Serializer>(matrix: &[f64; 16], s: S) -> Result<S::Ok, S::Error> {
        matrix.serialize(s)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<[f64; 16], D::Error> {
        d.deserialize_seq(Matrix)
    }

    struct Matrix;

    impl<'de> Visitor<'de> for Matrix {
        type Value = [f64; 16];

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("16 numbers")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<[f64; 16], A::Error> {
            let mut matrix = [0.0; 16];
            for slot in &mut matrix {
                let Real(number) =
                    items.next_element()?.ok_or_else(|| A::Error::custom("16 numbers expected"))?;
                *slot = number;
            }
            match items.next_element::<Real>()? {
                None => Ok(matrix),
                Some(_) => Err(A::Error::custom("16 numbers expected")),
            }
        }
    }

    pub(super) struct Real(pub(super) f64);

    impl<'de> Deserialize<'de> for Real {
        fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
            d.deserialize_any(RealVisitor).map(Self)
        }
    }

    struct RealVisitor;

    impl Visitor<'_> for RealVisitor {
        type Value = f64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number")
        }

        fn visit_u64<E: Error>(self, n: u64) -> Result<f64, E> {
            Ok(n as f64)
        }

        fn visit_i64<E: Error>(self, n: i64) -> Result<f64, E> {
            Ok(n as f64)
        }

        fn visit_f64<E: Error>(self, n: f64) -> Result<f64, E> {
            Ok(n)
        }
    }
}

/// Properties as a map in place.
pub(super) mod props {
    use avvy_model::{Props, ValueLimits};
    use ciborium::Value;
    use serde::de::{Deserializer, Error};
    use serde::{Deserialize, Serialize, Serializer, ser};

    pub fn serialize<S: Serializer>(props: &Props, s: S) -> Result<S::Ok, S::Error> {
        let value: Value = ciborium::from_reader(props.as_bytes()).map_err(ser::Error::custom)?;
        value.serialize(s)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Props, D::Error> {
        let value = Value::deserialize(d)?;
        let mut bytes = Vec::new();
        ciborium::into_writer(&value, &mut bytes).map_err(D::Error::custom)?;
        Props::parse(&bytes, &ValueLimits::NONE).map_err(D::Error::custom)
    }
}

/// As [`props`], where there need not be any.
pub(super) mod optional_props {
    use avvy_model::Props;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct There(#[serde(with = "super::props")] Props);

    pub fn serialize<S: Serializer>(props: &Option<Props>, s: S) -> Result<S::Ok, S::Error> {
        props.clone().map(There).serialize(s)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Props>, D::Error> {
        Ok(Option::<There>::deserialize(d)?.map(|There(props)| props))
    }
}
