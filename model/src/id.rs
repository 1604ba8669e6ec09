//! Identities and positions in the log.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The text was not a UUID in its 8-4-4-4-12 form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a UUID of the form 8-4-4-4-12")]
pub struct InvalidId;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID that the caller drew or stored.
            pub const fn new(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The id in the 16 bytes of RFC 9562, in network order.
            pub const fn to_bytes(self) -> [u8; 16] {
                self.0.into_bytes()
            }

            /// The id whose 16 bytes of RFC 9562 these are.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The UUID inside.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0.as_hyphenated(), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0.as_hyphenated())
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            /// Accepts the hyphenated form only, as it is the only one written.
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if text.len() != 36 {
                    return Err(InvalidId);
                }
                Uuid::try_parse(text).map(Self).map_err(|_| InvalidId)
            }
        }
    };
}

uuid_id!(
    /// A brane: one shared world.
    BraneId
);
uuid_id!(
    /// An object, in every brane and inventory it will ever be in.
    ObjectId
);
uuid_id!(
    /// A user account.
    UserId
);
uuid_id!(
    /// One writer: a device or tab of a user. Edits are numbered per client and brane.
    ClientId
);
uuid_id!(
    /// A node of a fleet: one life of one process.
    NodeId
);
uuid_id!(
    /// A prototype: what objects are made from.
    PrototypeId
);
uuid_id!(
    /// A right that somebody was given in a brane.
    GrantId
);
uuid_id!(
    /// Correlates log lines, answers and journal entries of one request.
    TraceId
);

impl ClientId {
    /// Under which the server makes the transfers between branes and the
    /// inventory of this user: the user's id as a UUID of version 8, under which
    /// nobody else may write. The numbers are those of the user's transfers.
    pub const fn of_transfers(user: UserId) -> Self {
        let mut bytes = user.to_bytes();
        bytes[6] = 0x80 | bytes[6] & 0x0f;
        Self::from_bytes(bytes)
    }

    /// Whether it is one of [`Self::of_transfers`].
    pub const fn is_of_transfers(self) -> bool {
        self.to_bytes()[6] >> 4 == 8
    }
}

/// An object's durable creation ordinal in its brane.
///
/// Dense over creations, never used twice for durable objects. The brane's
/// root is [`Handle::ROOT`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Handle(pub u32);

impl Handle {
    /// The brane's root group.
    pub const ROOT: Self = Self(0);
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

macro_rules! ordinal {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The one after this.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

ordinal!(
    /// How often the brane was opened. The first opening is 1.
    Epoch
);
ordinal!(
    /// The place of an accepted edit in its brane's log: dense, the first is 1.
    Seq
);
ordinal!(
    /// A client's own number for one of its edits: rising, the first is 1.
    Counter
);

/// A place on a brane's line of history.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Position {
    /// The opening under which `seq` was given.
    pub epoch: Epoch,
    /// The last edit included.
    pub seq: Seq,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.seq)
    }
}

/// Names one edit for ever: who wrote it, and its number there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EditId {
    /// The writer.
    pub client: ClientId,
    /// The writer's number for it.
    pub counter: Counter,
}

/// The content address of an asset: the SHA3-256 of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AssetHash(pub [u8; 32]);
