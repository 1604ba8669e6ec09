//! The benchmarks, by name. What each figure means is in `README.md`.

mod bytes;
mod cache;
mod codec;
mod crowd;
mod durable_ack;
mod edit_path;
mod fan_out;
mod full_brane;
mod hostile;
mod idle;
mod join;
#[cfg(feature = "fleet")]
mod moves;
#[cfg(feature = "fleet")]
mod on_mongodb;
mod open;
mod report;
mod rest_read;
mod rights;
mod room;
mod search;
mod small_room;
mod stadium;
mod stalled;
mod storm;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;

use crate::draw::Draw;
use crate::machine::Cores;

pub use report::{Figure, Report};
pub use room::median;

/// A benchmark.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Benchmark {
    /// 200 sessions, every edit published alone: processor time per delivery.
    FanOut,
    /// 200 sessions, 200 edits/s: delay.
    SmallRoom,
    /// 1,000 sessions, 200 edits/s: processor time per delivery, and delay.
    Crowd,
    /// 1,000 sessions x 10 edits/s, all seeing all: delay, and share of a core.
    FullBrane,
    /// 2,000 sessions x 10 edits/s, all seeing all.
    TwiceFull,
    /// 5,000 sessions x 5 edits/s, walking, each seeing about 200.
    Stadium,
    /// 200 sessions, 200 edits/s: delay until an edit is durable.
    DurableAck,
    /// 100 sessions, of which one does not read: delay of the others.
    Stalled,
    /// The small room without and with clients that mean no good: delay.
    Hostile,
    /// Sessions that do nothing: memory.
    Idle,
    /// 1,000 sessions x 10 edits/s: bytes per delivered move.
    Bytes,
    /// A brane of a million objects: a cold start until it is joined.
    Open,
    /// A brane of 100,000 objects: until the first of them are there, and all.
    Join,
    /// 5,000 sessions come back within a second after the server was killed.
    Storm,
    /// Reading an edit and writing a window, by different codecs.
    Codec,
    /// Applying an edit, and what else happens to it once.
    Apply,
    /// Deciding whether somebody may make an edit.
    Rights,
    /// A record from the cache, from Redis and from the store.
    Cache,
    /// A question of what is public, with 100,000 things.
    Search,
    /// A cached object over HTTP: reads a second, beside a bare handler.
    RestRead,
    /// The small room, durable acknowledgements and the full brane on MongoDB,
    /// beside SQLite.
    #[cfg(feature = "fleet")]
    Mongodb,
    /// A brane of 100,000 objects goes to another node: how long it is away.
    #[cfg(feature = "fleet")]
    Moves,
}

impl Benchmark {
    /// All that need no MongoDB, in the order in which they are run.
    pub const ALL: [Self; 20] = [
        Self::FanOut,
        Self::SmallRoom,
        Self::Crowd,
        Self::FullBrane,
        Self::TwiceFull,
        Self::Stadium,
        Self::DurableAck,
        Self::Stalled,
        Self::Hostile,
        Self::Idle,
        Self::Bytes,
        Self::Open,
        Self::Join,
        Self::Storm,
        Self::Codec,
        Self::Apply,
        Self::Rights,
        Self::Cache,
        Self::Search,
        Self::RestRead,
    ];

    /// The name, on the command line and of the file of results.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Takes the figures.
    ///
    /// # Errors
    /// When the server does not do what a server does.
    pub fn run(self, setup: &Setup) -> Result<Report> {
        match self {
            Self::FanOut => fan_out::run(setup),
            Self::SmallRoom => small_room::run(setup),
            Self::Crowd => crowd::run(setup),
            Self::FullBrane => full_brane::run(setup, full_brane::FULL),
            Self::TwiceFull => full_brane::run(setup, full_brane::TWICE),
            Self::Stadium => stadium::run(setup),
            Self::DurableAck => durable_ack::run(setup),
            Self::Stalled => stalled::run(setup),
            Self::Hostile => hostile::run(setup),
            Self::Idle => idle::run(setup),
            Self::Bytes => bytes::run(setup),
            Self::Open => open::run(setup),
            Self::Join => join::run(setup),
            Self::Storm => storm::run(setup),
            Self::Codec => codec::run(setup),
            Self::Apply => edit_path::run(setup),
            Self::Rights => rights::run(setup),
            Self::Cache => cache::run(setup),
            Self::Search => search::run(setup),
            Self::RestRead => rest_read::run(setup),
            #[cfg(feature = "fleet")]
            Self::Mongodb => on_mongodb::run(setup),
            #[cfg(feature = "fleet")]
            Self::Moves => moves::run(setup),
        }
    }
}

/// How the figures are taken.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The server's program.
    pub binary: PathBuf,
    /// A directory on a real disk for data directories.
    pub scratch: PathBuf,
    /// Who runs where.
    pub cores: Cores,
    /// Rounds in which server and baseline take turns.
    pub rounds: usize,
    /// How long each measurement takes.
    pub time: Duration,
    /// A smoke test: small, and its figures say nothing.
    pub quick: bool,
    /// Settings of the server beyond those of the benchmark.
    pub settings: Vec<(String, String)>,
}

impl Setup {
    /// `full`, or in a smoke test `quick`.
    pub const fn size(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }

    /// How long to work before a measurement.
    pub const fn warm_up(&self) -> Duration {
        if self.quick { Duration::from_millis(500) } else { Duration::from_secs(2) }
    }

    /// Ids and phases of a run. Never the same twice, as the server remembers
    /// clients.
    pub fn draw(&self) -> Draw {
        Draw::of_now()
    }
}
