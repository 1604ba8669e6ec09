//! `apply`: what is done once for an edit, however many see it: a move
//! applied to a world of 100,000 objects, its share of a journal chunk and of
//! a window of 250.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Result, anyhow};
use avvy_brane::{World, journal};
use avvy_model::{
    BraneId, Edit, Event, Handle, Kind, MovePatch, ObjectId, Operation, Parts, Principal, Props,
    Role, Seq, Target, Transform, UserId, WorldLimits,
};
use avvy_protocol::Channel;
use avvy_protocol::codec::encode_flush;

use super::codec::moves;
use super::report::round;
use super::room::median;
use super::{Figure, Report, Setup};
use crate::draw::Draw;

/// Events in a chunk and a window.
const WINDOW: usize = 250;

/// Takes the figures.
pub(super) fn run(setup: &Setup) -> Result<Report> {
    let mut report = Report::new("apply", setup);
    let objects = setup.size(100_000, 10_000) as u32;
    let apply = apply_ns(objects)?;
    let events = moves(WINDOW as u64);
    let journal = per_event_ns(&events, journal::encode);
    let flush = per_event_ns(&events, |events| {
        let epoch = avvy_model::Epoch(1);
        encode_flush(Channel(1), epoch, Seq(1_000_000), Seq(1), 1_760_000_000_000, events)
    });
    for (what, key, ns) in [
        ("applying a move, ns", "apply_ns", apply),
        ("its share of a journal chunk, ns", "journal_ns", journal),
        ("its share of a window, ns", "flush_ns", flush),
    ] {
        report.show(Figure::new(what, ns));
        report.raw(key, round(ns));
    }
    let bytes = journal::encode(&events).len() as f64 / WINDOW as f64;
    report.show(Figure::new("journal bytes of a move", bytes));
    report.raw("journal_bytes", round(bytes));
    report.raw("objects", objects);
    Ok(report)
}

/// Nanoseconds of applying a move of any of so many objects.
fn apply_ns(objects: u32) -> Result<f64> {
    let mut draw = Draw::new(2);
    let user = UserId::new(draw.uuid());
    let principal = Principal { user, ceiling: Role::Owner, invited: true };
    let limits = WorldLimits::default();
    let mut world = World::new(BraneId::new(draw.uuid()), user);
    let mut seq = Seq(0);
    let mut apply = |world: &mut World, operation: Operation| {
        seq = seq.next();
        let edit = Edit::One(operation);
        world
            .apply(seq, 0, &principal, &edit, &limits)
            .map_err(|refusal| anyhow!("refused: {}", refusal.code))
    };
    for _ in 0..objects {
        let create = Operation::Create {
            id: ObjectId::new(draw.uuid()),
            parent: Target::Handle(Handle::ROOT),
            kind: Kind::Block,
            transform: Transform::IDENTITY,
            props: Props::default(),
        };
        apply(&mut world, create)?;
    }
    let mut batches = Vec::new();
    for batch in 0..20 {
        let operations: Vec<_> = (0..10_000)
            .map(|n| {
                let mut to = Transform::IDENTITY;
                to.position = [batch, n, 7];
                let target = Target::Handle(Handle(1 + draw.below(u64::from(objects)) as u32));
                let patch = MovePatch::new(Parts::POSITION.with(Parts::ROTATION), to);
                Operation::Move { target, patch }
            })
            .collect();
        let count = operations.len() as f64;
        let started = Instant::now();
        for operation in operations {
            black_box(apply(&mut world, operation)?);
        }
        batches.push(started.elapsed().as_nanos() as f64 / count);
    }
    Ok(median(batches))
}

fn per_event_ns(events: &[Event], encode: impl Fn(&[Event]) -> Vec<u8>) -> f64 {
    let batch = |_| {
        let started = Instant::now();
        for _ in 0..100 {
            drop(black_box(encode(black_box(events))));
        }
        started.elapsed().as_nanos() as f64 / (100.0 * events.len() as f64)
    };
    median((0..20).map(batch).collect())
}
