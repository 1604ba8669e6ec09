//! The store on MongoDB, on real servers.
#![allow(clippy::unwrap_used)]

mod busy;
#[path = "../common/mod.rs"]
mod common;
mod conformance;
mod documents;
mod faults;
mod fleet;
mod help;
mod kit;
mod network;
mod objects;
mod own_writes;
mod records;
mod tail;
mod writers;
