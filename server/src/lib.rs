//! The binary's parts: settings, command line, and the commands themselves,
//! which put the other crates together.

pub mod cli;
mod clock;
pub mod config;
mod data_dir;
pub mod demo;
mod demo_brane;
pub mod external_signatures;
mod fetch;
mod find_brane;
mod hints;
mod http;
pub mod inspect;
mod key_file;
mod logging;
pub mod migrate;
pub mod output;
mod place;
#[cfg(feature = "powercut")]
mod powercut;
#[cfg(feature = "mongodb")]
mod read_model;
pub mod revoke;
pub mod serve;
mod settings;
pub mod token;
mod upkeep;
pub mod watch;
mod whereabouts;
