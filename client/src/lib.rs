//! The client of a server of shared 3D worlds.
//!
//! [`replica`] is a copy of a world, [`people`] who is there, [`machine`] one
//! connection's side of the protocol: all pure, without clock, randomness or socket. With the feature
//! `net` (default), [`net`] runs them over a WebSocket and [`demo`] runs a
//! crowd of simulated builders.

pub mod backoff;
#[cfg(feature = "net")]
pub mod demo;
mod interest;
pub mod machine;
#[cfg(feature = "net")]
pub mod net;
pub mod people;
pub mod replica;
mod touched;
