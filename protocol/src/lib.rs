//! The wire.
pub mod message;
pub use message::*;
