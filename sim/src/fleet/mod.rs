//! A fleet on a virtual clock: several nodes on one database, each with the
//! [`Lease`](avvy_flow::Lease), hand-overs and group commit that ship, and
//! builders who follow their branes.
//!
//! A brane is played as a list of who made which edit: what is tried here is
//! who may write it, and where it is. Clocks of nodes run fast or slow; the
//! database answers late, or does what it was asked and loses the answer, or is
//! gone, for all nodes or for one; nodes sleep over their leases, die, end and
//! come back. The judge says what must hold.

mod builder;
mod judge;
mod node;
mod world;

use world::World;

use crate::{Counts, Failure, Scene, caught};

/// Runs a seed for so many steps and to its quiet end.
///
/// # Errors
/// When a promise is broken. Code that panics is caught and counts as such.
pub fn run(seed: u64, steps: u64, trace: bool) -> Result<Counts, Failure> {
    let mut at = 0;
    let ran = caught(|| {
        let mut world = World::new(seed, trace);
        while at < steps && world.judge.failure.is_none() {
            world.step();
            at += 1;
        }
        world.finish();
        match world.judge.failure.take() {
            None => Ok(world.judge.counts),
            Some(what) => Err(what),
        }
    });
    ran.map_err(|what| Failure { scene: Scene::Fleet, seed, steps, step: at, what })
}
