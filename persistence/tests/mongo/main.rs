//! The store on MongoDB, on real servers.
#![allow(clippy::unwrap_used)]

mod conformance;
mod kit;
