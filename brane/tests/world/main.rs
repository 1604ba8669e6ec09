//! The world and its bytes, through the public API.

#![allow(clippy::unwrap_used)]

mod clients;
mod edges;
mod golden;
mod interest;
mod journal;
mod model;
mod naive;
mod prototypes;
mod script;
mod snapshot;
mod weight;
