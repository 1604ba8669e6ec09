//! How long the snapshot of a large world takes to be read, and what the world
//! then takes of memory: `cargo run --release -p avvy-brane --example open`,
//! with the number of objects and the bytes of each one's properties as
//! arguments. For looking at with a profiler; the figure that counts is the
//! benchmark `open`, with a store and a server around this.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout)]

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use avvy_brane::{Clients, World, snapshot};
use avvy_model::{
    BraneId, Edit, Epoch, Handle, Kind, ObjectId, Operation, Position, Principal, PropKey, Props,
    Role, Target, Transform, UserId, Value, ValueLimits, WorldLimits,
};

const OBJECTS: usize = 1_000_000;
const PROPS_BYTES: usize = 200;
const WHO: Principal =
    Principal { user: UserId::from_bytes([1; 16]), ceiling: Role::Owner, invited: true };

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |at: usize| arguments.get(at).map(|text| text.parse::<usize>().unwrap());
    if arguments.get(1).is_some_and(|first| first == "read") {
        return read(number(2).unwrap());
    }
    let objects = number(1).unwrap_or(OBJECTS);
    let parts = parts(objects as u32, number(2).unwrap_or(PROPS_BYTES));
    println!("{} parts, {} MiB", parts.len(), parts.iter().map(Vec::len).sum::<usize>() >> 20);
    for _ in 0..3 {
        // In a process of its own, so that the memory is the world's alone.
        let mut reader = Command::new(&arguments[0])
            .args(["read", &objects.to_string()])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pipe = reader.stdin.take().unwrap();
        for part in &parts {
            pipe.write_all(&(part.len() as u32).to_le_bytes()).unwrap();
            pipe.write_all(part).unwrap();
        }
        drop(pipe);
        assert!(reader.wait().unwrap().success());
    }
}

/// Reads parts from a pipe. The time of the pipe does not count.
fn read(objects: usize) {
    let before = resident_kib();
    let mut decoder = snapshot::Decoder::new(&WorldLimits::default());
    let (mut fed, mut longest) = (Duration::ZERO, Duration::ZERO);
    let (mut input, mut length, mut part) = (std::io::stdin().lock(), [0; 4], Vec::new());
    while input.read_exact(&mut length).is_ok() {
        part.resize(u32::from_le_bytes(length) as usize, 0);
        input.read_exact(&mut part).unwrap();
        let started = Instant::now();
        decoder.feed(&part).unwrap();
        let took = started.elapsed();
        (fed, longest) = (fed + took, longest.max(took));
    }
    let started = Instant::now();
    let restored = decoder.finish().unwrap();
    let finished = started.elapsed();
    let each = ((resident_kib() - before) << 10) / objects;
    println!(
        "{:.3} s: {:.3} s to feed, at most {:.4} s for a part, {:.3} s to finish; {each} B an object",
        (fed + finished).as_secs_f64(),
        fed.as_secs_f64(),
        longest.as_secs_f64(),
        finished.as_secs_f64()
    );
    drop(restored);
}

/// A snapshot of a world: groups under the root, each with a hundred blocks.
fn parts(objects: u32, props_bytes: usize) -> Vec<Vec<u8>> {
    let limits = WorldLimits { max_objects: objects, ..WorldLimits::default() };
    let mut world = World::new(BraneId::from_bytes([0xbb; 16]), WHO.user);
    let handles: Vec<u32> = (1..objects).collect();
    for batch in handles.chunks(limits.max_batch) {
        let operations = batch.iter().map(|n| create(*n, props_bytes)).collect();
        let seq = world.seq().next();
        world.apply(seq, 0, &WHO, &Edit::Batch(operations), &limits).unwrap();
    }
    let position = Position { epoch: Epoch(1), seq: world.seq() };
    let hash = world.state_hash();
    let clients = Clients::new(&limits);
    let mut encoder = snapshot::Encoder::new(world.freeze(), clients, position, hash);
    std::iter::from_fn(|| encoder.next_part()).collect()
}

fn create(n: u32, props_bytes: usize) -> Operation {
    let limits = ValueLimits::default();
    let group = n - n % 101;
    let is_group = n.is_multiple_of(101) || n == 1;
    let parent = if is_group || group == 0 { Handle::ROOT } else { Handle(group) };
    let entry = |key, value: Value| (PropKey::new(key, &limits).unwrap(), value);
    let entries = vec![
        entry("n", Value::int(n.into())),
        entry("name", Value::text(&format!("object {n}"))),
        entry("note", Value::text(&"x".repeat(props_bytes.saturating_sub(40)))),
    ];
    Operation::Create {
        id: ObjectId::from_bytes(
            (u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)).to_be_bytes(),
        ),
        parent: Target::Handle(parent),
        kind: if is_group { Kind::Group } else { Kind::Block },
        transform: Transform::IDENTITY,
        props: Props::from_entries(entries, &limits).unwrap(),
    }
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}
