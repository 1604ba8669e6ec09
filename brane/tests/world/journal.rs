//! Journal chunks: what is written is read, by older and newer programs, too,
//! and nothing else is.

use avvy_brane::JournalError;
use avvy_brane::journal::{FIRST_NOTE, VERSION, decode, encode};
use avvy_model::{
    Change, ClientId, Counter, EditId, Event, Handle, Kind, MovePatch, Object, ObjectAt, ObjectId,
    Parts, Placement, Seq, TraceId, UserId,
};
use minicbor::Encoder;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::script::{patch, props, transform};

fn object() -> impl Strategy<Value = ObjectAt> {
    let kind = prop_oneof![Just(Kind::Group), Just(Kind::Block)];
    let ids = (any::<u32>(), any::<[u8; 16]>(), any::<u32>(), any::<[u8; 16]>());
    (ids, kind, transform(), props()).prop_map(
        |((handle, id, parent, owner), kind, transform, props)| ObjectAt {
            handle: Handle(handle),
            object: Object {
                id: ObjectId::from_bytes(id),
                parent: Handle(parent),
                kind,
                owner: UserId::from_bytes(owner),
                transform,
                props,
            },
        },
    )
}

fn change() -> impl Strategy<Value = Change> {
    let handle = || any::<u32>().prop_map(Handle);
    let placement =
        || (handle(), transform()).prop_map(|(parent, transform)| Placement { parent, transform });
    prop_oneof![
        object().prop_map(|object| Change::Created(Box::new(object))),
        (handle(), patch(), patch()).prop_map(|(handle, before, after)| Change::Updated {
            handle,
            before,
            after
        }),
        (handle(), 1..8u8, transform(), transform()).prop_map(|(handle, bits, before, to)| {
            let parts = Parts::from_bits(bits).unwrap();
            let after = MovePatch::new(parts, to).apply(&before);
            Change::Moved { handle, parts, before, after }
        }),
        (handle(), placement(), placement(), any::<bool>()).prop_map(
            |(handle, before, mut after, same)| {
                if same {
                    after.transform = before.transform;
                }
                Change::Reparented { handle, before, after }
            }
        ),
        vec(object(), 1..4).prop_map(|removed| Change::Deleted { removed }),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let number = || prop_oneof![3 => 1..100u64, 1 => any::<u64>()];
    let ids = (0..3u8, 0..3u8, number(), prop::option::of(any::<[u8; 16]>()));
    (number(), number(), ids, vec(change(), 1..4)).prop_map(
        |(seq, at_ms, (client, user, counter, trace), changes)| Event {
            seq: Seq(seq),
            at_ms,
            by: UserId::from_bytes([user; 16]),
            edit: EditId { client: ClientId::from_bytes([client; 16]), counter: Counter(counter) },
            trace: trace.map(TraceId::from_bytes),
            changes: changes.into(),
        },
    )
}

fn a_move(n: u64) -> Event {
    let before = avvy_model::Transform::IDENTITY;
    let to = avvy_model::Transform::new([n as i32; 3], before.rotation, [1.0; 3]).unwrap();
    let parts = Parts::POSITION;
    Event {
        seq: Seq(1_000_000 + n),
        at_ms: 1_700_000_000_000 + n / 3,
        by: UserId::from_bytes([1; 16]),
        edit: EditId {
            client: ClientId::from_bytes([n as u8 % 50; 16]),
            counter: Counter(70_000 + n),
        },
        trace: None,
        changes: vec![Change::Moved { handle: Handle(100_000), parts, before, after: to }].into(),
    }
}

#[test]
fn no_events_are_a_chunk_too() {
    assert_eq!(decode(&encode(&[])), Ok(vec![]));
}

#[test]
fn a_move_takes_at_most_80_bytes() {
    let events: Vec<_> = (0..320).map(a_move).collect();
    let bytes = encode(&events).len() - 50 * 36;
    assert!(bytes / events.len() <= 80, "{}", bytes / events.len());
}

/// A chunk of one event, put together by hand: what `more` writes is unknown
/// to this version.
fn by_hand(needed: u64, change: impl FnOnce(&mut Encoder<&mut Vec<u8>>), more: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut e = Encoder::new(&mut out);
    let extra = u64::from(more);
    let unknown = |e: &mut Encoder<&mut Vec<u8>>, key: u64| {
        if more {
            e.u64(key).unwrap().begin_array().unwrap().begin_map().unwrap().end().unwrap();
            e.map(1).unwrap().str("x").unwrap().f64(0.5).unwrap().end().unwrap();
        }
    };
    e.map(6 + extra).unwrap();
    e.u8(0).unwrap().u64(VERSION + extra).unwrap().u8(1).unwrap().u64(needed).unwrap();
    e.u8(2).unwrap().u64(5).unwrap().u8(3).unwrap().u64(1_000).unwrap();
    e.u8(4).unwrap().array(1).unwrap().array(2 + extra).unwrap();
    e.bytes(&[1; 16]).unwrap().bytes(&[2; 16]).unwrap();
    if more {
        e.str("unknown").unwrap();
    }
    e.u8(5).unwrap().array(1).unwrap().map(2 + extra).unwrap();
    e.u8(1).unwrap().u64(7).unwrap().u8(4).unwrap().array(1).unwrap();
    change(&mut e);
    unknown(&mut e, 77);
    unknown(&mut e, 99);
    out
}

fn a_reparenting(e: &mut Encoder<&mut Vec<u8>>, more: u64) {
    let transform = avvy_model::Transform::IDENTITY.to_packed();
    e.map(5 + more).unwrap().u8(0).unwrap().u8(3).unwrap().u8(1).unwrap().u8(10).unwrap();
    e.u8(2).unwrap().u8(11).unwrap().u8(3).unwrap().bytes(&transform).unwrap();
    e.u8(4).unwrap().u8(12).unwrap();
    for n in 0..more {
        e.u64(40 + n).unwrap().null().unwrap();
    }
}

#[test]
fn unknown_fields_are_passed_over() {
    let plain = decode(&by_hand(1, |e| a_reparenting(e, 0), false)).unwrap();
    assert_eq!((plain[0].seq, plain[0].at_ms), (Seq(5), 1_000));
    assert_eq!(plain[0].edit.client, ClientId::from_bytes([1; 16]));
    assert!(matches!(plain[0].changes[0], Change::Reparented { handle: Handle(10), .. }));
    let later = by_hand(1, |e| a_reparenting(e, 3), true);
    assert_eq!(decode(&later), Ok(plain));
}

#[test]
fn what_would_be_misread_is_refused() {
    let too_new = by_hand(VERSION + 1, |e| a_reparenting(e, 0), true);
    assert_eq!(decode(&too_new), Err(JournalError::TooNew(VERSION + 1)));
    let of_kind = |kind: u64| {
        by_hand(
            1,
            |e| drop(e.map(2).unwrap().u8(0).unwrap().u64(kind).unwrap().u8(1).unwrap().null()),
            false,
        )
    };
    assert_eq!(decode(&of_kind(6)), Err(JournalError::UnknownChange(6)));
    assert_eq!(decode(&of_kind(FIRST_NOTE - 1)), Err(JournalError::UnknownChange(FIRST_NOTE - 1)));
    // A note changes nothing.
    for kind in [FIRST_NOTE, u64::MAX] {
        assert!(decode(&of_kind(kind)).unwrap()[0].changes.is_empty());
    }
}

#[test]
fn hostile_bytes_are_malformed() {
    let chunk = encode(&(0..5).map(a_move).collect::<Vec<_>>());
    for end in 0..chunk.len() {
        assert_eq!(decode(&chunk[..end]), Err(JournalError::Malformed), "{end}");
    }
    assert_eq!(decode(&[&*chunk, &[0]].concat()), Err(JournalError::Malformed));
    for lie in [
        &[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x01][..],
        &[0xa2, 0x00, 0x01, 0x05, 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0xa2, 0x00, 0x01, 0x04, 0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x82],
        &[0xbf, 0xff],
        &[0xa0],
        &[0xa1, 0x05, 0x80],
        &[0xf6],
        &[],
    ] {
        assert_eq!(decode(lie), Err(JournalError::Malformed), "{lie:x?}");
    }
    // Deep under an unknown field.
    for opening in [0x81, 0x9f, 0xa1, 0xc1] {
        let deep = [&[0xa2, 0x00, 0x01, 0x18, 0x63][..], &vec![opening; 1 << 20]].concat();
        assert_eq!(decode(&deep), Err(JournalError::Malformed));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(events in vec(event(), 0..8)) {
        prop_assert_eq!(decode(&encode(&events)), Ok(events));
    }

    /// Whatever is damaged: events or an error, and what is read can be written.
    #[test]
    fn damage_is_survived(
        events in vec(event(), 1..4), damage in vec((any::<usize>(), any::<u8>()), 1..4), cut in any::<usize>(),
    ) {
        let mut chunk = encode(&events);
        for (at, byte) in damage {
            let len = chunk.len();
            chunk[at % len] = byte;
        }
        let _ = decode(&chunk[..cut % chunk.len()]);
        if let Ok(events) = decode(&chunk) {
            prop_assert_eq!(decode(&encode(&events)), Ok(events));
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..100)) {
        let _ = decode(&bytes);
    }
}
