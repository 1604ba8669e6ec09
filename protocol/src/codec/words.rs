//! How single words look in the messages that serde writes, whatever the
//! format: ids and names as text, positions as `[epoch, seq]`.

/// Ids as UUID text.
pub(crate) mod text {
    use std::fmt::{self, Display};
    use std::marker::PhantomData;
    use std::str::FromStr;

    use serde::de::{self, Deserializer, Visitor};
    use serde::ser::Serializer;

    pub fn serialize<T: Display, S: Serializer>(id: &T, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(id)
    }

    pub fn deserialize<'de, T: FromStr, D: Deserializer<'de>>(d: D) -> Result<T, D::Error> {
        d.deserialize_str(TextVisitor(PhantomData))
    }

    struct TextVisitor<T>(PhantomData<T>);

    impl<T: FromStr> Visitor<'_> for TextVisitor<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a UUID of the form 8-4-4-4-12")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(|_| E::custom("not a UUID of the form 8-4-4-4-12"))
        }
    }
}

/// Ids as UUID text, or nothing.
pub(crate) mod text_option {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<T: Display, S: Serializer>(id: &Option<T>, s: S) -> Result<S::Ok, S::Error> {
        match id {
            Some(id) => s.collect_str(id),
            None => s.serialize_none(),
        }
    }

    pub fn deserialize<'de, T: FromStr, D: Deserializer<'de>>(d: D) -> Result<Option<T>, D::Error> {
        let text: Option<String> = Option::deserialize(d)?;
        text.map(|t| t.parse().map_err(|_| D::Error::custom("not a UUID"))).transpose()
    }
}

/// `[epoch, seq]`.
pub(crate) mod position {
    use avvy_model::{Epoch, Position, Seq};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Whole;

    pub fn serialize<S: Serializer>(at: &Position, s: S) -> Result<S::Ok, S::Error> {
        (at.epoch.0, at.seq.0).serialize(s)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Position, D::Error> {
        let (epoch, seq) = <(Whole, Whole)>::deserialize(d)?;
        Ok(Position { epoch: Epoch(epoch.0), seq: Seq(seq.0) })
    }
}

/// An error code by its name. A name that this version does not know reads as
/// [`avvy_model::Code::Internal`], so that a newer server can have more codes.
pub(crate) mod code {
    use avvy_model::Code;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(code: &Code, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(code.name())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Code, D::Error> {
        let name = String::deserialize(d)?;
        Ok(Code::from_name(&name).unwrap_or(Code::Internal))
    }
}

macro_rules! named {
    ($(#[$doc:meta])* $module:ident, $type:ty) => {
        $(#[$doc])*
        pub(crate) mod $module {
            use serde::{Deserialize, Deserializer, Serializer, de::Error};

            pub fn serialize<S: Serializer>(it: &$type, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(it.name())
            }

            pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<$type, D::Error> {
                let name = String::deserialize(d)?;
                <$type>::from_name(&name).ok_or_else(|| D::Error::custom("unknown name"))
            }
        }
    };
}

/// A role by its name.
pub(crate) mod role_name {
    use avvy_model::RoleName;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(role: &RoleName, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(role.as_str())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<RoleName, D::Error> {
        String::deserialize(d)?.parse().map_err(D::Error::custom)
    }
}

named!(
    /// A kind of object by its name.
    kind, avvy_model::Kind
);
named!(
    /// A visibility by its name.
    visibility, avvy_model::Visibility
);

/// An unsigned integer; also read from a float of the same whole value, since
/// common encoders for JavaScript write numbers above 2^32 so.
#[derive(Clone, Copy)]
pub(crate) struct Whole(pub u64);

impl<'de> serde::Deserialize<'de> for Whole {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(WholeVisitor).map(Self)
    }
}

/// [`Whole`] for fields of type `u64`.
pub(crate) mod whole {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(n: &u64, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u64(*n)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
        super::Whole::deserialize(d).map(|n| n.0)
    }
}

struct WholeVisitor;

impl serde::de::Visitor<'_> for WholeVisitor {
    type Value = u64;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an unsigned integer")
    }

    fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<u64, E> {
        Ok(n)
    }

    fn visit_f64<E: serde::de::Error>(self, n: f64) -> Result<u64, E> {
        const EXACT: f64 = (1u64 << 53) as f64;
        if n.fract() == 0.0 && (0.0..=EXACT).contains(&n) {
            Ok(n as u64)
        } else {
            Err(E::custom("not an unsigned integer"))
        }
    }
}

/// 16 bytes as a byte string.
pub(crate) mod bytes16 {
    use std::fmt;

    use serde::de::{self, Deserializer, Visitor};
    use serde::ser::Serializer;

    pub fn serialize<S: Serializer>(bytes: &[u8; 16], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(bytes)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<[u8; 16], D::Error> {
        d.deserialize_bytes(Bytes16)
    }

    struct Bytes16;

    impl Visitor<'_> for Bytes16 {
        type Value = [u8; 16];

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("16 bytes")
        }

        fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<[u8; 16], E> {
            bytes.try_into().map_err(|_| E::custom("not 16 bytes"))
        }
    }
}
