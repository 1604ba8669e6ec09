//! The world and its bytes, through the public API.

#![allow(clippy::unwrap_used)]

mod cells;
mod clients;
mod copying;
mod edges;
mod golden;
mod interest;
mod journal;
mod model;
mod naive;
mod portals;
mod prototypes;
mod script;
mod slots;
mod snapshot;
mod weight;
