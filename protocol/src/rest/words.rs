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

/// A whole number that may be left out.
pub(super) mod whole_option {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct There(#[serde(with = "crate::codec::whole")] u64);

    pub fn serialize<S: Serializer>(number: &Option<u64>, s: S) -> Result<S::Ok, S::Error> {
        number.map(There).serialize(s)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u64>, D::Error> {
        Ok(Option::<There>::deserialize(d)?.map(|There(number)| number))
    }
}

/// A visibility that may be left out.
pub(super) mod visibility_option {
    use avvy_model::Visibility;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct There(#[serde(with = "crate::codec::visibility")] Visibility);

    pub fn serialize<S: Serializer>(of: &Option<Visibility>, s: S) -> Result<S::Ok, S::Error> {
        of.map(There).serialize(s)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Visibility>, D::Error> {
        Ok(Option::<There>::deserialize(d)?.map(|There(visibility)| visibility))
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

/// The same, or nothing.
pub(super) mod matrix_option {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::matrix;

    pub fn serialize<S: Serializer>(matrix: &Option<[f64; 16]>, s: S) -> Result<S::Ok, S::Error> {
        matrix.serialize(s)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<[f64; 16]>, D::Error> {
        Ok(Option::<Matrix>::deserialize(d)?.map(|Matrix(numbers)| numbers))
    }

    #[derive(Deserialize)]
    struct Matrix(#[serde(with = "matrix")] [f64; 16]);
}

/// Properties, or nothing.
pub(super) mod props_option {
    use avvy_model::Props;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::props;

    pub fn serialize<S: Serializer>(value: &Option<Props>, s: S) -> Result<S::Ok, S::Error> {
        value.clone().map(Own).serialize(s)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Props>, D::Error> {
        Ok(Option::<Own>::deserialize(d)?.map(|Own(props)| props))
    }

    #[derive(Serialize, Deserialize)]
    struct Own(#[serde(with = "props")] Props);
}

/// Ids as a list of texts.
pub(super) mod ids {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::{Deserializer, Error};
    use serde::{Deserialize, Serializer};

    pub fn serialize<T: Display, S: Serializer>(ids: &[T], s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(ids.iter().map(ToString::to_string))
    }

    pub fn deserialize<'de, T: FromStr, D: Deserializer<'de>>(d: D) -> Result<Vec<T>, D::Error> {
        let texts = Vec::<String>::deserialize(d)?;
        let id = |text: String| text.parse().map_err(|_| D::Error::custom("not a UUID"));
        texts.into_iter().map(id).collect()
    }
}

/// The same, or nothing.
pub(super) mod ids_option {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::{Deserializer, Error};
    use serde::{Deserialize, Serialize, Serializer};

    pub fn serialize<T: Display, S: Serializer>(
        ids: &Option<Vec<T>>,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        let texts = ids.as_ref().map(|ids| ids.iter().map(T::to_string).collect::<Vec<_>>());
        texts.serialize(s)
    }

    pub fn deserialize<'de, T: FromStr, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Option<Vec<T>>, D::Error> {
        let texts = Option::<Vec<String>>::deserialize(d)?;
        let id = |text: String| text.parse().map_err(|_| D::Error::custom("not a UUID"));
        texts.map(|texts| texts.into_iter().map(id).collect()).transpose()
    }
}

/// Hashes as a list of texts in hexadecimal.
pub(super) mod hashes {
    use avvy_model::AssetHash;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub fn serialize<S: Serializer>(hashes: &[AssetHash], s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(hashes.iter().map(to_hex))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<AssetHash>, D::Error> {
        read::<D>(Vec::<String>::deserialize(d)?)
    }

    /// The same, or nothing.
    pub(in super::super) mod option {
        use super::{AssetHash, Deserialize, Deserializer, Serialize, Serializer, read, to_hex};

        pub fn serialize<S: Serializer>(
            hashes: &Option<Vec<AssetHash>>,
            s: S,
        ) -> Result<S::Ok, S::Error> {
            hashes.as_ref().map(|all| all.iter().map(to_hex).collect::<Vec<_>>()).serialize(s)
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(
            d: D,
        ) -> Result<Option<Vec<AssetHash>>, D::Error> {
            Option::<Vec<String>>::deserialize(d)?.map(read::<D>).transpose()
        }
    }

    fn to_hex(hash: &AssetHash) -> String {
        hash.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn read<'de, D: Deserializer<'de>>(texts: Vec<String>) -> Result<Vec<AssetHash>, D::Error> {
        let hash = |text: String| from_hex(&text).ok_or_else(|| D::Error::custom("no SHA3-256"));
        texts.into_iter().map(hash).collect()
    }

    fn from_hex(text: &str) -> Option<AssetHash> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() || !text.is_ascii() {
            return None;
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(pairs) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16);
            *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
        }
        Some(AssetHash(hash))
    }
}
