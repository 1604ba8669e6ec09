//! The log's bytes: a chunk holds the events of one flush window.
//!
//! CBOR (RFC 8949), definite lengths. Maps have integer keys, in ascending
//! order. What is not listed here is passed over by readers: map keys, and
//! further elements at the end of a list of fields. An absent key means the
//! default in brackets.
//!
//! ```text
//! chunk    {0: version, 1: oldest version whose readers understand it,
//!           2: seq of the first event, 3: at_ms of the first event,
//!           4: [writer, ..], 5: [event, ..]}
//! writer   [client: 16 bytes, user: 16 bytes]
//! event    {0: index of the writer (0), 1: counter, 2: at_ms less that of the event before (0),
//!           3: trace id: 16 bytes (none), 4: [change, ..],
//!           5: seq less that of the event before, less 1 (0)}
//! change   {0: kind, ..}
//!  kind 0  created     {2: object}
//!  kind 1  updated     {1: handle, 2: {key: value} before, 3: [key, ..] absent before,
//!                       4: {key: value} now, 5: [key, ..] absent now}   (each: none)
//!  kind 2  moved       {1: handle, 2: parts, 3: transform before,
//!                       4: the parts now, packed}
//!  kind 3  reparented  {1: handle, 2: parent before, 3: transform before,
//!                       4: parent now, 5: transform now (as before)}
//!  kind 4  deleted     {2: [object, ..]}
//!  kind 5  ruled       {2: ruled}   (the only change of its event)
//! object   [handle, id: 16 bytes, parent, kind (0 group, 1 block),
//!           owner: 16 bytes, transform, {key: value}]
//! ```
//!
//! What `ruled` is says `brane/src/rights/bytes.rs`. A transform is 30 bytes ([`Transform::to_packed`]), parts are the bits of
//! [`Parts`], packed parts are written by [`MovePatch::write`]; differences
//! are modulo 2^64 and written as the signed number nearest to zero.
//!
//! **For ever readable.** A version that adds what older readers may pass over
//! keeps field 1; one that they must not misread raises it, and they refuse
//! the chunk. A kind of change that they do not know and that does not change
//! the state (a note for undo or history) has a number of
//! [`FIRST_NOTE`] or above and is passed over; below, it is refused.
//!
//! Reading takes memory in proportion to the bytes, whatever they are.
//!
//! [`Transform::to_packed`]: avvy_model::Transform::to_packed
//! [`Parts`]: avvy_model::Parts
//! [`MovePatch::write`]: avvy_model::MovePatch::write

mod decode;
mod encode;

pub use decode::decode;
pub use encode::encode;

/// The version that this code writes.
pub const VERSION: u64 = 1;
/// The oldest version whose readers understand what this code writes.
const READABLE_SINCE: u64 = 1;
/// Kinds of changes from this number on do not change the state.
pub const FIRST_NOTE: u64 = 128;

/// Why a chunk cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// Not a chunk.
    #[error("malformed journal chunk")]
    Malformed,
    /// Written by a later program, in a way that this one would misread.
    #[error("journal chunk needs a program that reads version {0}")]
    TooNew(u64),
    /// A kind of change that only a later program knows.
    #[error("journal chunk holds a change of the unknown kind {0}")]
    UnknownChange(u64),
}

mod kind {
    pub(super) const CREATED: u64 = 0;
    pub(super) const UPDATED: u64 = 1;
    pub(super) const MOVED: u64 = 2;
    pub(super) const REPARENTED: u64 = 3;
    pub(super) const DELETED: u64 = 4;
    pub(super) const RULED: u64 = 5;
}
