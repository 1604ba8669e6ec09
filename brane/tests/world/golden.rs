//! Bytes from the past, which must be readable for ever. The files are never
//! written again; a new version of a format gets files of its own.

use avvy_brane::{Admission, Outcome, World, journal, snapshot};
use avvy_model::{
    BraneId, Change, ClientId, Code, Counter, DeleteMode, Edit, EditId, Event, Handle, Kind,
    MovePatch, ObjectId, Operation, Parts, Principal, PropKey, Props, PropsPatch, Role, Seq,
    Target, TraceId, Transform, UserId, Value, ValueLimits, WorldLimits,
};

const JOURNAL_V1: &[u8] = include_bytes!("../golden/journal-v1.cbor");
const SNAPSHOT_V1: [&[u8]; 4] = [
    include_bytes!("../golden/snapshot-v1-0.cbor"),
    include_bytes!("../golden/snapshot-v1-1.cbor"),
    include_bytes!("../golden/snapshot-v1-2.cbor"),
    include_bytes!("../golden/snapshot-v1-3.cbor"),
];
const HASH: &str = "0bcc6c527b5f1d2806d3401f7e697b1d";

fn key(text: &str) -> PropKey {
    PropKey::new(text, &ValueLimits::default()).unwrap()
}

fn create(id: u8, parent: u32, kind: Kind) -> Operation {
    let entries = vec![
        (key("name"), Value::text("Tür")),
        (key("model"), Value::asset(avvy_model::AssetHash([id; 32]))),
        (key("mass"), Value::float(1.5)),
    ];
    Operation::Create {
        id: ObjectId::from_bytes([id; 16]),
        parent: Target::Handle(Handle(parent)),
        kind,
        transform: Transform::from_parts(
            [f64::from(id), -0.5, 1e-4],
            [0.1, 0.2, 0.3, 0.9],
            [1.0, 2.0, -0.5],
        )
        .unwrap(),
        props: Props::from_entries(entries, &ValueLimits::default()).unwrap(),
    }
}

/// The history in the files: every kind of change, a batch, two writers, a
/// trace, a clock that stepped back.
fn history() -> (World, Vec<Event>) {
    let mut world = World::new(BraneId::from_bytes([0xb0; 16]), UserId::from_bytes([1; 16]));
    let patch = PropsPatch::new(vec![
        (key("name"), Some(Value::text("door"))),
        (key("mass"), None),
        (key("open"), Some(Value::bool(true))),
    ]);
    let to = Transform::from_parts([7.0, 8.0, 9.0], [0.0, 1.0, 0.0, 0.0], [3.0; 3]).unwrap();
    let target = |n| Target::Handle(Handle(n));
    let parts = Parts::POSITION.with(Parts::SCALE);
    let edits = [
        Edit::One(create(1, 0, Kind::Group)),
        Edit::Batch(vec![create(2, 1, Kind::Group), create(3, 2, Kind::Block)]),
        Edit::One(Operation::Update { target: target(3), patch: patch.unwrap() }),
        Edit::One(Operation::Move { target: target(3), patch: MovePatch::new(parts, to) }),
        Edit::One(Operation::Reparent { target: target(3), parent: target(1), transform: None }),
        Edit::One(Operation::Reparent {
            target: target(3),
            parent: target(2),
            transform: Some(to),
        }),
        Edit::One(Operation::Delete { target: target(1), mode: DeleteMode::KeepChildren }),
        Edit::One(create(4, 2, Kind::Block)),
        Edit::One(Operation::Delete { target: target(4), mode: DeleteMode::Subtree }),
    ];
    let mut events = Vec::new();
    for (edit, n) in edits.iter().zip(1u64..) {
        let user = UserId::from_bytes([1 + n as u8 % 2; 16]);
        let who = Principal { user, ceiling: Role::Owner, invited: true };
        let limits = WorldLimits::default();
        let changes = world.apply(Seq(n), 0, &who, edit, &limits).unwrap();
        events.push(Event {
            seq: Seq(n),
            at_ms: 1_760_000_000_000 + n * 7 % 5,
            by: user,
            edit: EditId {
                client: ClientId::from_bytes([9 + n as u8 % 2; 16]),
                counter: Counter(n * 3),
            },
            trace: (n == 4).then(|| TraceId::from_bytes([0x77; 16])),
            changes,
        });
    }
    (world, events)
}

#[test]
fn the_first_journal_is_still_read() {
    let (mut world, events) = history();
    let read = journal::decode(JOURNAL_V1).unwrap();
    assert_eq!(read, events);
    let kinds = |kind: fn(&Change) -> bool| read.iter().flat_map(|e| &e.changes).any(kind);
    assert!(kinds(|c| matches!(c, Change::Created(_))));
    assert!(kinds(|c| matches!(c, Change::Updated { .. })));
    assert!(kinds(|c| matches!(c, Change::Moved { .. })));
    assert!(kinds(|c| matches!(c, Change::Reparented { .. })));
    assert!(kinds(|c| matches!(c, Change::Deleted { .. })));
    assert_eq!(world.state_hash().to_string(), HASH);
}

#[test]
fn the_first_snapshot_is_still_read() {
    let mut decoder = snapshot::Decoder::new(&WorldLimits::default());
    SNAPSHOT_V1.iter().for_each(|part| decoder.feed(part).unwrap());
    let mut restored = decoder.finish().unwrap();
    assert_eq!(restored.position.to_string(), "2.9");
    assert_eq!(restored.world.state_hash().to_string(), HASH);
    assert!(restored.world.iter().eq(history().0.iter()));
    let edit =
        |counter| EditId { client: ClientId::from_bytes([10; 16]), counter: Counter(counter) };
    let known = |outcome| Admission::Known(outcome);
    assert_eq!(restored.clients.check(edit(21)), known(Outcome::Applied(Seq(7))));
    assert_eq!(restored.clients.check(edit(30)), known(Outcome::Refused(Code::Cycle.into())));
    assert_eq!(restored.clients.check(edit(31)), Admission::New);
}

/// What this version writes is what it wrote when the files were made.
#[test]
fn the_formats_are_as_they_were() {
    let (mut world, events) = history();
    let mut clients = avvy_brane::Clients::new(&WorldLimits::default());
    for event in &events {
        clients.record(event.edit, event.by, Outcome::Applied(event.seq), event.at_ms);
    }
    let refused = EditId { client: ClientId::from_bytes([10; 16]), counter: Counter(30) };
    clients.record(refused, UserId::from_bytes([2; 16]), Outcome::Refused(Code::Cycle.into()), 0);
    let at = avvy_model::Position { epoch: avvy_model::Epoch(2), seq: Seq(9) };
    let hash = world.state_hash();
    let mut encoder = snapshot::Encoder::new(world.freeze(), clients, at, hash);
    let parts: Vec<_> = std::iter::from_fn(|| encoder.next_part()).collect();
    // For the files of a new version.
    if let Some(folder) = std::env::var_os("WRITE_GOLDEN") {
        let folder = std::path::PathBuf::from(folder);
        std::fs::write(folder.join("journal-v1.cbor"), journal::encode(&events)).unwrap();
        for (n, part) in parts.iter().enumerate() {
            std::fs::write(folder.join(format!("snapshot-v1-{n}.cbor")), part).unwrap();
        }
        panic!("wrote the files; the hash is {hash}");
    }
    assert_eq!(journal::encode(&events), JOURNAL_V1);
    assert_eq!(parts, SNAPSHOT_V1);
}
