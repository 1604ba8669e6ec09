//! The state hash is what its documentation says, byte by byte.

#![allow(clippy::unwrap_used)]

use avvy_model::{
    Handle, Kind, Object, ObjectId, Props, Rotation, StateHash, Transform, UserId, ValueLimits,
    object_digest,
};

fn at(position: [i32; 3]) -> Transform {
    Transform::new(position, Rotation::IDENTITY, [1.0; 3]).unwrap()
}

fn object(n: u32) -> Object {
    let props = format!("{:0>1$}", "", n as usize * 40);
    let bytes =
        [&[0xa1, 0x61, b'k', 0x79], &(props.len() as u16).to_be_bytes()[..], props.as_bytes()];
    Object {
        id: ObjectId::from_bytes([n as u8; 16]),
        parent: Handle(n / 2),
        kind: if n.is_multiple_of(2) { Kind::Group } else { Kind::Block },
        owner: UserId::from_bytes([0xee; 16]),
        transform: at([n as i32, -1, 70_000]),
        props: Props::parse(&bytes.concat(), &ValueLimits::default()).unwrap(),
    }
}

/// Computed by Python's `hashlib.blake2b(.., digest_size=16)` over bytes put
/// together by hand.
#[test]
fn the_digest_is_blake2b_over_the_documented_bytes() {
    let root = Object {
        id: ObjectId::from_bytes(std::array::from_fn(|i| i as u8)),
        parent: Handle::ROOT,
        kind: Kind::Group,
        owner: UserId::from_bytes([0x11; 16]),
        transform: Transform::IDENTITY,
        props: Props::default(),
    };
    let mut hash = StateHash::default();
    hash.add(object_digest(Handle::ROOT, &root));
    assert_eq!(hash.to_string(), "10931c7453dea9d6d39dee74513f852a");
    let block = Object {
        id: ObjectId::from_bytes([0x22; 16]),
        kind: Kind::Block,
        transform: at([1, -2, 3]),
        props: Props::parse(&[0xa1, 0x61, 0x61, 0x01], &ValueLimits::default()).unwrap(),
        ..root
    };
    hash.add(object_digest(Handle(258), &block));
    assert_eq!(hash.to_string(), "f736cfb34e53bf22396fb36468ccfccc");
}

#[test]
fn a_sum_is_the_same_in_any_order_and_at_once() {
    let objects: Vec<_> = (0..100).map(|n| (Handle(n), object(n))).collect();
    let mut one_by_one = StateHash::default();
    objects.iter().rev().for_each(|(h, o)| one_by_one.add(object_digest(*h, o)));
    let at_once = StateHash::sum(objects.iter().map(|(h, o)| (*h, o)));
    assert_eq!(one_by_one, at_once);
    assert_eq!(StateHash::from_bytes(at_once.to_bytes()), at_once);

    let (some, rest) = objects.split_at(37);
    let mut two = StateHash::sum(some.iter().map(|(h, o)| (*h, o)));
    two.add_hash(StateHash::sum(rest.iter().map(|(h, o)| (*h, o))));
    assert_eq!(two, at_once);
    two.remove_hash(StateHash::sum(some.iter().map(|(h, o)| (*h, o))));
    rest.iter().for_each(|(h, o)| two.remove(object_digest(*h, o)));
    assert_eq!(two, StateHash::default());
}

#[test]
fn every_part_of_an_object_counts() {
    let was = object(3);
    let mut digests = vec![object_digest(Handle(3), &was), object_digest(Handle(4), &was)];
    let mut with = |change: fn(&mut Object)| {
        let mut object = was.clone();
        change(&mut object);
        digests.push(object_digest(Handle(3), &object));
    };
    with(|o| o.id = ObjectId::from_bytes([4; 16]));
    with(|o| o.parent = Handle(9));
    with(|o| o.kind = Kind::Group);
    with(|o| o.owner = UserId::from_bytes([0xef; 16]));
    with(|o| o.transform.position[2] += 1);
    with(|o| o.props = Props::default());
    let count = digests.len();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), count);
}
