//! `codec`: the hot path, an edit in and an event out, by ciborium with
//! serde, by minicbor written out by hand, and as it ships. All three read
//! and write the same bytes.

mod by_ciborium;
mod by_minicbor;

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use avvy_model::{
    Change, ClientId, Counter, EditId, Epoch, Event, Handle, NumberedEdit, Parts, Seq, Transform,
    UserId,
};
use avvy_protocol::codec::{DecodeLimits, decode_client, encode_flush};
use avvy_protocol::{Channel, ClientMessage};
use serde_json::json;

use super::report::round;
use super::room::median;
use super::{Figure, Report, Setup};
use crate::draw::Draw;
use crate::load::stamp::Stamp;

/// Where a window stands.
#[derive(Clone, Copy)]
struct Head {
    channel: Channel,
    epoch: Epoch,
    from: Seq,
    durable: Seq,
    ms: u64,
}

type Read = fn(&[u8]) -> Option<Vec<NumberedEdit>>;
type Write = fn(Head, &[Event]) -> Vec<u8>;

/// The codecs, with what reads an edit and what writes a window.
const CODECS: [(&str, Read, Write); 3] = [
    ("ciborium", by_ciborium::read, by_ciborium::write),
    ("minicbor", by_minicbor::read, by_minicbor::write),
    ("shipped", read_shipped, write_shipped),
];

/// Takes the figures.
pub(super) fn run(setup: &Setup) -> Result<Report> {
    let mut report = Report::new("codec", setup);
    let update = Stamp { sent_us: 1 << 30, sender: 7, number: 9 };
    let update = update.update(Channel(3), Handle(70_000), Counter(40_000));
    let events = moves(250);
    let head = Head {
        channel: Channel(3),
        epoch: Epoch(2),
        from: Seq(1_000_000),
        durable: Seq(999_990),
        ms: 1_760_000_000_000,
    };
    agree(&update, head, &events)?;
    let (one, all) = (&events[..1], &events[..]);
    let mut found = Vec::new();
    for (name, read, write) in CODECS {
        let read = ns(setup, || drop(black_box(read(black_box(&update)))));
        let write_one = ns(setup, || drop(black_box(write(head, black_box(one)))));
        let write_all = ns(setup, || drop(black_box(write(head, black_box(all)))));
        found.push((name, [read, write_one, write_all / all.len() as f64]));
    }
    let baseline = found[0].1;
    let whats = ["edit in", "event out, alone", "event out, of 250"];
    for (name, figures) in &found[1..] {
        for ((what, figure), base) in whats.iter().zip(figures).zip(baseline) {
            let what = format!("{what}, {name} beside ciborium, ns");
            report.show(Figure::new(&what, *figure).beside(base));
        }
    }
    for (name, [read, one, many]) in found {
        let raw = json!({
            "edit_in_ns": round(read),
            "event_out_alone_ns": round(one),
            "event_out_of_250_ns": round(many),
        });
        report.raw(name, raw);
    }
    Ok(report)
}

/// Fails unless all codecs read and write the same.
fn agree(update: &[u8], head: Head, events: &[Event]) -> Result<()> {
    let edits = read_shipped(update).context("the shipped codec reads an update")?;
    let bytes = write_shipped(head, events);
    for (name, read, write) in CODECS {
        ensure!(read(update).as_ref() == Some(&edits), "{name} reads something else");
        ensure!(write(head, events) == bytes, "{name} writes something else");
    }
    Ok(())
}

/// Nanoseconds of one call: the median of some batches.
fn ns(setup: &Setup, mut call: impl FnMut()) -> f64 {
    let slice = if setup.quick { Duration::from_millis(5) } else { Duration::from_millis(50) };
    let batch = |_| {
        let started = Instant::now();
        let mut calls = 0u32;
        while started.elapsed() < slice {
            (0..100).for_each(|_| call());
            calls += 100;
        }
        started.elapsed().as_nanos() as f64 / f64::from(calls)
    };
    median((0..9).map(batch).collect())
}

fn read_shipped(message: &[u8]) -> Option<Vec<NumberedEdit>> {
    match decode_client(message, &DecodeLimits::default()) {
        Ok(ClientMessage::Update(update)) => Some(update.edits),
        _ => None,
    }
}

fn write_shipped(head: Head, events: &[Event]) -> Vec<u8> {
    let Head { channel, epoch, from, durable, ms } = head;
    encode_flush(channel, epoch, from, durable, ms, events)
}

/// Moves of position and rotation.
pub(super) fn moves(count: u64) -> Vec<Event> {
    let mut draw = Draw::new(1);
    let (user, client) = (UserId::new(draw.uuid()), ClientId::new(draw.uuid()));
    let one = |n: u64| {
        let mut after = Transform::IDENTITY;
        after.position = [n as i32 * 100, 5, -(n as i32)];
        Event {
            seq: Seq(1_000_000 + n),
            at_ms: 1_760_000_000_000,
            by: user,
            edit: EditId { client, counter: Counter(n) },
            trace: None,
            changes: [Change::Moved {
                handle: Handle(70_000 + n as u32),
                parts: Parts::POSITION.with(Parts::ROTATION),
                before: Transform::IDENTITY,
                after,
            }]
            .into(),
        }
    };
    (1..=count).map(one).collect()
}

/// The packed record of a move, as all codecs write it into a byte string.
fn write_record(event: &Event, out: &mut Vec<u8>) {
    let [Change::Moved { handle, parts, after, .. }] = &event.changes[..] else { return };
    out.extend_from_slice(&handle.0.to_le_bytes());
    out.push(parts.bits());
    avvy_model::MovePatch::new(*parts, *after).write(out);
}

/// The edit of a packed record.
fn read_record(counter: u64, record: &[u8]) -> Option<NumberedEdit> {
    let (handle, rest) = record.split_first_chunk::<4>()?;
    let (&bits, rest) = rest.split_first()?;
    let (patch, _) = avvy_model::MovePatch::read(Parts::from_bits(bits)?, rest)?.ok()?;
    let target = avvy_model::Target::Handle(Handle(u32::from_le_bytes(*handle)));
    let edit = avvy_model::Edit::One(avvy_model::Operation::Move { target, patch });
    Some(NumberedEdit { counter: Counter(counter), edit })
}
