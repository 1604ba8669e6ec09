//! What nodes share through Redis, on real servers.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod conformance;
mod early;
mod faults;
mod help;
mod history;
mod notices;
mod records;
mod sets;
mod tiers;
mod tls;
