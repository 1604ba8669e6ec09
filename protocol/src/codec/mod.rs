//! Messages to and from CBOR (RFC 8949).
//!
//! A message is one map with text keys: `op` names what a client says, `event`
//! what the server says. Readers take fields in any order and ignore those
//! that they do not know; writers are deterministic.
//!
//! Two codecs share the work. Messages that carry the log or the world
//! (`object.update`, `entity.update`, `brane.snapshot`, `object.applied`,
//! `brane.durable`) or concern people are written by minicbor into bytes of their own layout and
//! read in place; all others go through serde and ciborium, where a new field
//! is one line. What decided it (release build, best of 300 runs on one core;
//! the ciborium side had typed structs and the same packed records):
//!
//! | | here | serde + ciborium |
//! |---|---|---|
//! | read `object.update`, one packed move as [`encode_client`] writes it | 45 ns | 643 ns |
//! | the same with keys in another order | 237 ns | 643 ns |
//! | read `object.update`, 16 packed moves | 1.2 us | 4.8 us |
//! | write `entity.update`, 1 move | 77 ns | 152 ns |
//! | write `entity.update`, 160 moves | 1.4 us | 1.4 us |
//! | read the header of `entity.update` in place ([`FlushView`]) | 32 ns | 757 ns |
//!
//! In place a move costs a reader 5 ns, with its values checked 11 ns. A
//! message through ciborium costs 0.3 us, which `ping` can afford.

mod area;
mod client;
mod edit;
mod envelope;
mod error;
mod fast;
mod log;
mod out;
mod people;
mod record;
mod rights;
mod scan;
mod server;
mod view;
mod words;
mod world;

use avvy_model::ValueLimits;

pub use area::{EncodedObjects, decode_cell, encode_area_flush, encode_cell, encode_objects};
pub use client::{decode_client, encode_client};
pub use error::{DecodeError, PartialUpdate};
pub use log::{FlushHeader, encode_flush};
pub use server::{decode_server, encode_server};
pub use view::{FlushView, ItemView, LogMoves, MoveView, Moves};

pub(crate) use area::scope;
pub(crate) use edit::decode_edits;
pub(crate) use envelope::{from_cbor, to_cbor_value, to_deterministic};
pub(crate) use scan::{Fault, check_whole, field};
pub(crate) use words::{
    bytes16, code, kind, position, role_name, text, text_option, visibility, whole,
};

/// What a decoder takes from a client. Beyond: [`DecodeError`] with
/// [`avvy_model::Code::TooLarge`], or a refusal of the one edit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DecodeLimits {
    /// Bytes of one message.
    pub max_message_bytes: usize,
    /// Edits in one `object.update`.
    pub max_edits: usize,
    /// Operations in one batch; more: the edit is refused with `batch_too_large`.
    pub max_batch: usize,
    /// Bytes of a token.
    pub max_token_bytes: usize,
    /// Bytes of the agent in `hello`.
    pub max_agent_bytes: usize,
    /// Handles in `touched`.
    pub max_touched: usize,
    /// Bytes of a signal's body.
    pub max_signal_body_bytes: usize,
    /// Bounds of property values; beyond: the edit is refused.
    pub values: ValueLimits,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            max_message_bytes: 1024 * 1024,
            max_edits: 1_024,
            max_batch: 1_000,
            max_token_bytes: 8_192,
            max_agent_bytes: 128,
            max_touched: 65_536,
            max_signal_body_bytes: 1_024,
            values: ValueLimits::default(),
        }
    }
}
