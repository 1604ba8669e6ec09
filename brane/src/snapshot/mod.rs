//! A brane's whole state as bytes, in parts of about 256 KiB.
//!
//! CBOR as in [`crate::journal`]: definite lengths, maps with integer keys in
//! ascending order, unknown keys and further elements of lists passed over.
//!
//! ```text
//! part     {0: version, 1: oldest version whose readers understand it,
//!           2: index (from 0), 3: kind, ..}
//!  kind 0  head     {4: epoch, 5: seq, 6: next handle, 7: count of objects,
//!                    8: state hash: 16 bytes, 9: count of clients}
//!  kind 1  objects  {4: [owner: 16 bytes, ..], 5: [object, ..]}
//!  kind 2  clients  {4: [client, ..]}
//!  kind 3  end      {}
//!  kind 4  rights   {4: [entry, ..]}   (none: those of a new brane)
//! object   [handle, id: 16 bytes, parent, kind (0 group, 1 block),
//!           index of the owner, transform: 30 bytes, {key: value}]
//! client   [id: 16 bytes, user: 16 bytes, seen at (ms), highest counter, [outcome, ..]]
//! entry    a piece of the rights: `brane/src/rights/bytes.rs`
//! outcome  [counter less that of the one before, seq]  applied
//!          [.., null, code]                            refused
//!          [.., null, code, operation]                 refused, in a batch
//! ```
//!
//! The head comes first, the end last; objects ascend by handle. A part of
//! another kind is passed over, if its field 1 allows it. The decoder checks the order, the counts, the
//! shape of the tree and the state hash; it does not check who wrote the bytes.

mod decode;
mod encode;
mod objects;

pub use decode::{Decoder, Restored};
pub use encode::Encoder;

use avvy_model::StateHash;

/// The latest version that this code reads.
pub const VERSION: u64 = 2;
/// The version of all parts but those with rights, and the oldest whose
/// readers understand them.
const FIRST: u64 = 1;
/// The same of parts with rights: who does not know them must not open a brane
/// without those that it has.
const WITH_RIGHTS: u64 = 2;

/// Why a snapshot cannot be read. Parts are counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Not a part.
    #[error("part {0} of the snapshot is malformed")]
    Malformed(u64),
    /// Written by a later program, in a way that this one would misread.
    #[error("the snapshot needs a program that reads version {0}")]
    TooNew(u64),
    /// A part is missing, or came twice.
    #[error("part {found} of the snapshot where part {expected} should be")]
    OutOfOrder {
        /// The one after the last part.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// The last part is missing, or a count is not the head's.
    #[error("the snapshot is incomplete")]
    Incomplete,
    /// The objects are not a tree under one root, or two are the same.
    #[error("the snapshot's objects are not a tree")]
    NotATree,
    /// The objects are not those that were written.
    #[error("the snapshot's state hash is {expected}, its objects' is {found}")]
    HashMismatch {
        /// The head's.
        expected: StateHash,
        /// That of the objects.
        found: StateHash,
    },
}

mod kind {
    pub(super) const HEAD: u64 = 0;
    pub(super) const OBJECTS: u64 = 1;
    pub(super) const CLIENTS: u64 = 2;
    pub(super) const END: u64 = 3;
    pub(super) const RIGHTS: u64 = 4;
}
