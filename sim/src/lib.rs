//! Seeded simulation of a whole system on a virtual clock: clients, the
//! network between, and a server with its store, all of them the machines
//! that ship; only sockets, threads and the disk are played.
//!
//! A seed draws the sizes, the faults and every moment; the same seed gives
//! the same run. After every step the run is held against a simple model that
//! is written apart from the code that it judges (see `reference`), and at
//! its end, when all faults are taken away, all copies of the world, the
//! server's, the disk's and the model's have to be the same.
//!
//! [`fleet`] is another scene: several servers on one database.

mod client;
mod crowd;
mod disk;
mod driver;
mod env;
pub mod fleet;
mod net;
mod reference;
mod rng;
mod server;
mod setup;
mod sim;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use avvy_persistence::StoreError;

use env::Story;

/// How often each kind of thing occurred.
pub type Counts = BTreeMap<&'static str, u64>;

/// What is simulated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scene {
    /// One server, with everything.
    Server,
    /// Several servers on one database.
    Fleet,
}

/// A promise that was broken.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Where.
    pub scene: Scene,
    /// The seed.
    pub seed: u64,
    /// The steps that were asked for.
    pub steps: u64,
    /// At which of them it broke; `steps` means at the end.
    pub step: u64,
    /// How.
    pub what: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { scene, seed, steps, step, what } = self;
        let scene = if *scene == Scene::Fleet { " --fleet" } else { "" };
        writeln!(f, "seed {seed}, step {step}: {what}")?;
        write!(
            f,
            "repeat: cargo run --release -p avvy-sim -- --seed {seed} --steps {steps} --trace{scene}"
        )
    }
}

/// Runs a seed for so many steps and to its quiet end.
///
/// # Errors
/// When a promise is broken. Code that panics is caught and counts as such.
pub fn run(seed: u64, steps: u64, trace: bool) -> Result<Counts, Failure> {
    let story = if trace { Story::Printed } else { Story::Untold };
    tell(seed, steps, story).map(|(counts, _)| counts)
}

/// Runs a seed and gives a hash of everything that happens in it: each event
/// with its time, each byte on the network, and each line of the story.
///
/// # Errors
/// As [`run`].
pub fn witness(seed: u64, steps: u64) -> Result<u64, Failure> {
    tell(seed, steps, Story::Hashed).map(|(_, witness)| witness)
}

fn tell(seed: u64, steps: u64, story: Story) -> Result<(Counts, u64), Failure> {
    let mut at = 0;
    let ran = caught(|| {
        let mut sim = sim::Sim::new(seed, story);
        while at < steps && sim.env.failure().is_none() {
            sim.step();
            at += 1;
        }
        if sim.env.failure().is_none() {
            sim.finish();
        }
        match sim.env.failure() {
            None => Ok((sim.env.counts().clone(), sim.env.witness())),
            Some(what) => Err(what.to_owned()),
        }
    });
    ran.map_err(|what| Failure { scene: Scene::Server, seed, steps, step: at, what })
}

/// Runs this; a panic counts as a failure.
fn caught<T>(run: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    ran.unwrap_or_else(|panic| Err(panic_text(panic.as_ref())))
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panic: {}", text.unwrap_or("without a text"))
}

/// The answer of a memory store, which is there at once.
fn now<T>(answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    match pin!(answer).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => Err(StoreError::Closed),
    }
}
