//! Things that the vectors are about.

use avvy_model::*;

/// Server's Unix time in milliseconds in every vector.
pub const NOW_MS: u64 = 1_767_225_600_123;

macro_rules! ids {
    ($($name:ident: $type:ty;)*) => {
        $(pub fn $name(n: u8) -> $type {
            let mut bytes = [n; 16];
            // Version 4, variant 1: as RFC 9562 wants a random one.
            bytes[6] = 0x40 | n & 0x0f;
            bytes[8] = 0x80 | n & 0x3f;
            <$type>::from_bytes(bytes)
        })*
    };
}

ids! {
    object_id: ObjectId;
    user_id: UserId;
    client_id: ClientId;
    brane_id: BraneId;
    trace_id: TraceId;
    grant_id: GrantId;
    prototype_id: PrototypeId;
}

/// A reach that is narrowed in every way.
pub fn reach() -> Reach {
    Reach {
        keys: Some([key("colour"), key("size")].into()),
        prototype: Some(prototype_id(0xd0)),
        region: Some(Cuboid { min: [-100_000, 0, -5], max: [100_000, 30_000, 5] }),
        within: Some(Handle(17)),
    }
}

pub fn at(epoch: u64, seq: u64) -> Position {
    Position { epoch: Epoch(epoch), seq: Seq(seq) }
}

/// Two cells of 16 m around the one that holds (-12.5, 0, 3.25).
pub fn scope() -> Scope {
    Scope { grid: Grid::default(), view: View { center: Cell([-1, 0, 0]), reach: 3 } }
}

pub fn transform() -> Transform {
    Transform::from_parts([1.5, 0.0, -20.25], [0.0, 0.5f64.sqrt(), 0.0, 0.5f64.sqrt()], [1.0; 3])
        .unwrap()
}

pub fn stretched() -> Transform {
    Transform::from_parts([0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 1.0], [2.0, 0.5, -1.0]).unwrap()
}

pub fn key(name: &str) -> PropKey {
    PropKey::new(name, &ValueLimits::default()).unwrap()
}

pub fn props() -> Props {
    let entries = vec![
        (key("model"), Value::asset(AssetHash([0xa5; 32]))),
        (key("name"), Value::text("Straße 1")),
        (key("locked"), Value::bool(false)),
        (key("mass"), Value::float(0.1)),
        (key("on"), Value::null()),
        (key("count"), Value::int(-500)),
    ];
    Props::from_entries(entries, &ValueLimits::default()).unwrap()
}

pub fn patch() -> PropsPatch {
    let entries = vec![
        (key("name"), Some(Value::text("door"))),
        (key("open"), Some(Value::bool(true))),
        (key("old"), None),
    ];
    PropsPatch::new(entries).unwrap()
}

pub fn object(handle: u32, parent: u32, kind: Kind) -> ObjectAt {
    ObjectAt {
        handle: Handle(handle),
        object: Object {
            id: object_id(handle as u8),
            parent: Handle(parent),
            kind,
            owner: user_id(0xb1),
            transform: transform(),
            props: props(),
        },
    }
}

pub fn parts(bits: u8) -> Parts {
    Parts::from_bits(bits).unwrap()
}

/// A move; what it does not set is as in the identity.
pub fn moved(bits: u8, to: Transform) -> MovePatch {
    let parts = parts(bits);
    MovePatch::new(parts, MovePatch::new(parts, to).apply(&Transform::IDENTITY))
}
