//! Transforms, values and the state hash.

use avvy_model::*;
use serde_json::{Value as Json, json};

use super::samples::*;
use super::{check, content, hex, vector};

/// A name with a position, a rotation and a scale.
type Case = (&'static str, [f64; 3], [f64; 4], [f64; 3]);

#[test]
fn transforms() {
    let mut vectors = Vec::new();
    let cases: [Case; 8] = [
        ("identity", [0.0; 3], [0.0, 0.0, 0.0, 1.0], [1.0; 3]),
        ("rounded to 0.1 mm", [0.12344, -0.12344, 1e-5], [0.0, 0.0, 0.0, 2.0], [1.0; 3]),
        ("half a turn about x", [1.0, 2.0, 3.0], [1.0, 0.0, 0.0, 0.0], [1.0; 3]),
        ("a quarter turn about y", [0.0; 3], [0.0, 1.0, 0.0, 1.0], [1.0; 3]),
        ("a tie goes to the first", [0.0; 3], [1.0, 1.0, 1.0, 1.0], [1.0; 3]),
        ("a negative largest component", [0.0; 3], [0.1, 0.2, 0.3, -0.9], [1.0; 3]),
        ("far away", [214_000.0, -214_000.0, 0.05], [0.3, -0.4, 0.5, 0.1], [1.0; 3]),
        ("stretched and mirrored", [0.0; 3], [0.0, 0.6, 0.0, 0.8], [0.1, 1e4, -1e-4]),
    ];
    for (name, position, rotation, scale) in cases {
        let transform = Transform::from_parts(position, rotation, scale).unwrap();
        let packed = transform.to_packed();
        assert_eq!(Transform::from_packed(&packed).unwrap(), transform);
        vectors.push(json!({
            "name": name,
            "position": position,
            "rotation": rotation,
            "scale": scale,
            "packed": hex(&packed),
            "quaternion": transform.rotation.to_quaternion(),
            "matrix": transform.to_matrix(),
        }));
    }
    let about = "`position` in metres, `rotation` as quaternion x, y, z, w of any length and \
                 `scale` are quantised to `packed`; `quaternion` and `matrix` (row-major) are \
                 what `packed` stands for, to be compared with a tolerance of 1e-9.";
    check("transforms.json", about, vectors);
}

#[test]
fn values() {
    let mut vectors = Vec::new();
    for (name, input) in CASES {
        let mut vector = json!({ "name": name, "hex": hex(input) });
        match Value::parse(input, &ValueLimits::default()) {
            Ok(value) => {
                vector["canonical"] = hex(value.as_bytes()).into();
                vector["content"] = content(value.as_bytes());
            }
            Err(error) => vector["refused"] = Code::from(error).name().into(),
        }
        vectors.push(vector);
    }
    let about = "Property values: `hex` as a client may send them, `canonical` as every copy of \
                 the world keeps them, or the code by which they are `refused`.";
    check("values.json", about, vectors);
}

const CASES: &[(&str, &[u8])] = &[
    ("null", b"\xf6"),
    ("true", b"\xf5"),
    ("zero", b"\x00"),
    ("an integer in a long form", b"\x1b\x00\x00\x00\x00\x00\x00\x00\x17"),
    ("a negative integer in a long form", b"\x3a\x00\x00\x01\xf3"),
    ("the largest integer", b"\x1b\xff\xff\xff\xff\xff\xff\xff\xff"),
    ("the smallest integer", b"\x3b\xff\xff\xff\xff\xff\xff\xff\xff"),
    ("a float that fits in half", b"\xfb\x3f\xf8\x00\x00\x00\x00\x00\x00"),
    ("a whole float stays a float", b"\xfa\x3f\x80\x00\x00"),
    ("a float that fits in single", b"\xfb\x3f\xf0\x00\x02\x00\x00\x00\x00"),
    ("a float that needs double", b"\xfb\x3f\xb9\x99\x99\x99\x99\x99\x9a"),
    ("negative zero", b"\xfb\x80\x00\x00\x00\x00\x00\x00\x00"),
    ("infinity", b"\xfb\x7f\xf0\x00\x00\x00\x00\x00\x00"),
    ("not a number, of any kind", b"\xfb\xff\xf8\x00\x00\x00\x00\x00\x01"),
    ("a subnormal half", b"\xfa\x33\x80\x00\x00"),
    ("a text", b"\x62\xc3\xa4"),
    ("a text in pieces", b"\x7f\x61a\x61b\xff"),
    ("bytes in pieces", b"\x5f\x41\x01\x42\x02\x03\xff"),
    ("an array of indefinite length", b"\x9f\x01\x82\x02\x03\xff"),
    ("a map's keys are sorted, shorter first", b"\xa3\x62bb\x01\x63aaa\x02\x61c\x03"),
    ("a map of indefinite length", b"\xbf\x61b\x01\x61a\xf4\xff"),
    ("an asset reference", b"\xda\x00\x3f\x6a\x61\x58\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
    ("undefined", b"\xf7"),
    ("a simple value", b"\xe0"),
    ("another tag", b"\xc1\x00"),
    ("an asset reference that is too short", b"\xda\x00\x3f\x6a\x61\x41a"),
    ("a key twice", b"\xa2\x61a\x01\x61a\x02"),
    ("a key that is no text", b"\xa1\x01\x02"),
    ("a text that is no UTF-8", b"\x61\xff"),
    (
        "17 arrays in each other",
        b"\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x00",
    ),
    ("cut short", b"\x82\x01"),
    ("more than one item", b"\x01\x02"),
];

#[test]
fn state_hash() {
    let world = [
        ObjectAt {
            handle: Handle(0),
            object: Object {
                id: ObjectId::from_bytes(brane_id(0xb0).to_bytes()),
                transform: Transform::IDENTITY,
                props: Props::default(),
                ..object(0, 0, Kind::Group).object
            },
        },
        object(1, 0, Kind::Group),
        ObjectAt {
            object: Object {
                owner: user_id(0xb2),
                transform: stretched(),
                props: Props::default(),
                ..object(2, 1, Kind::Block).object
            },
            ..object(2, 1, Kind::Block)
        },
    ];
    let mut hash = StateHash::default();
    let objects: Vec<Json> = world.iter().map(|at| describe(at, &mut hash)).collect();
    let about = "A small world. Each object's `digest` is the BLAKE2b of `hashed` with 16 bytes \
                 of output; `hash` is their sum.";
    let world = json!({ "objects": objects, "hash": hex(&hash.to_bytes()) });
    check("state_hash.json", about, vec![world]);
}

fn describe(at: &ObjectAt, hash: &mut StateHash) -> Json {
    let ObjectAt { handle, object } = at;
    let digest = object_digest(*handle, object);
    hash.add(digest);
    let mut hashed = handle.0.to_le_bytes().to_vec();
    hashed.extend_from_slice(&object.id.to_bytes());
    hashed.extend_from_slice(&object.parent.0.to_le_bytes());
    hashed.push(object.kind.number());
    hashed.extend_from_slice(&object.owner.to_bytes());
    hashed.extend_from_slice(&object.transform.to_packed());
    hashed.extend_from_slice(object.props.as_bytes());
    let own = blake2b_simd::Params::new().hash_length(16).hash(&hashed);
    assert_eq!(own.as_bytes(), digest);
    json!({
        "handle": handle.0,
        "id": object.id.to_string(),
        "parent": object.parent.0,
        "kind": object.kind.name(),
        "owner": object.owner.to_string(),
        "transform": hex(&object.transform.to_packed()),
        "props": vector("", object.props.as_bytes()),
        "hashed": hex(&hashed),
        "digest": hex(&digest),
    })
}
