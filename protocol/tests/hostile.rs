//! Bytes made to hurt: they end in a typed error, soon and in little memory.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::{Duration, Instant};

use avvy_model::{Code, Counter};
use avvy_protocol::codec::{FlushView, decode_client, decode_server};
use avvy_protocol::{Channel, ClientMessage, DecodeError, DecodeLimits, json};

#[expect(clippy::disallowed_methods, reason = "the point is how long it takes")]
fn client(bytes: &[u8]) -> Result<ClientMessage, DecodeError> {
    let start = Instant::now();
    let result = decode_client(bytes, &DecodeLimits::default());
    // Generous: a debug build on a busy machine.
    assert!(start.elapsed() < Duration::from_secs(2));
    result
}

fn refusal(bytes: &[u8]) -> Code {
    client(bytes).unwrap_err().code
}

/// A map with `op` and one more field, whose item is `value`.
fn with_field(op: &str, name: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xa2, 0x62, b'o', b'p', 0x60 | op.len() as u8];
    bytes.extend_from_slice(op.as_bytes());
    bytes.push(0x60 | name.len() as u8);
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(value);
    bytes
}

/// An `object.update` on channel 3 with one edit, given as CBOR.
fn with_edit(edit: &[u8]) -> Vec<u8> {
    let mut bytes = b"\xa3\x62ch\x03\x62op\x6dobject.update\x65edits\x81".to_vec();
    bytes.extend_from_slice(edit);
    bytes
}

#[test]
fn depth_is_bounded() {
    for opening in [0x81u8, 0x9f, 0xc0, 0xd8] {
        let mut nested: Vec<u8> = match opening {
            0xd8 => [0xd8, 0x29].repeat(10_000),
            byte => vec![byte; 10_000],
        };
        nested.push(0);
        assert_eq!(refusal(&with_field("ping", "x", &nested)), Code::Malformed);
        assert_eq!(refusal(&nested), Code::Malformed);
        assert!(decode_server(&nested).is_err());
        assert!(FlushView::parse(&nested).is_err());
    }
    let maps = [0xa1, 0x61, b'a'].repeat(10_000);
    assert_eq!(refusal(&with_field("hello", "x", &maps)), Code::Malformed);
}

#[test]
fn lengths_that_lie_reserve_nothing() {
    for head in [&[0x9b][..], &[0xbb], &[0x5b], &[0x7b]] {
        for length in [u64::MAX, u64::MAX / 2, 1 << 40, 1 << 32] {
            let item = [head, &length.to_be_bytes()].concat();
            assert_eq!(refusal(&item), Code::Malformed);
            for (op, field) in [
                ("hello", "token"),
                ("hello", "x"),
                ("brane.join", "touched"),
                ("object.update", "edits"),
                ("ping", "nonce"),
                ("people.list", "after"),
                ("presence.pose", "pose"),
                ("presence.pose", "state"),
                ("signal.send", "kind"),
                ("signal.send", "body"),
            ] {
                assert_eq!(refusal(&with_field(op, field, &item)), Code::Malformed);
            }
            let edit = [b"\xa3\x61n\x01\x62op\x65batch\x63ops", &item[..]].concat();
            assert_eq!(refusal(&with_edit(&edit)), Code::Malformed);
            let server = [b"\xa1\x65event".as_slice(), &item].concat();
            assert_eq!(decode_server(&server).unwrap_err().code, Code::Malformed);
        }
    }
}

#[test]
fn long_texts_in_short_fields_are_too_large() {
    let limits = DecodeLimits { max_message_bytes: 4 << 20, ..DecodeLimits::default() };
    let mut text = vec![0x7a, 0, 0x10, 0, 0];
    text.resize(5 + (1 << 20), b'a');
    for (op, field) in [("hello", "token"), ("hello", "agent"), ("auth.refresh", "token")] {
        let error = decode_client(&with_field(op, field, &text), &limits).unwrap_err();
        assert_eq!((error.code, error.operation.as_deref()), (Code::TooLarge, Some(op)));
    }
    let op = [b"\xa1\x62op".as_slice(), &text].concat();
    let error = decode_client(&op, &limits).unwrap_err();
    assert_eq!(error.code, Code::UnknownOperation);
    assert_eq!(error.operation.unwrap().len(), 64);
    for field in ["brane", "client"] {
        assert!(decode_client(&with_field("brane.join", field, &text), &limits).is_err());
    }
}

#[test]
fn large_messages_and_long_lists_are_too_large() {
    assert_eq!(refusal(&vec![0xa0; 1_100_000]), Code::TooLarge);
    let limits = DecodeLimits { max_edits: 2, max_touched: 2, ..DecodeLimits::default() };
    let update = b"\xa3\x62ch\x03\x62op\x6dobject.update\x65edits\x83\xa1\x61n\x01\xa1\x61n\x02\xa1\x61n\x03";
    let error = decode_client(update, &limits).unwrap_err();
    assert_eq!((error.code, error.channel), (Code::TooLarge, Some(Channel(3))));
    let join = with_field("brane.join", "touched", &[0x83, 1, 2, 3]);
    assert_eq!(decode_client(&join, &limits).unwrap_err().code, Code::TooLarge);
}

#[test]
fn unknown_operations_name_their_channel() {
    let error = client(b"\xa2\x62op\x66object\x62ch\x05").unwrap_err();
    assert_eq!(error.code, Code::UnknownOperation);
    assert_eq!(error.operation.as_deref(), Some("object"));
    assert_eq!(error.channel, Some(Channel(5)));
    assert_eq!(refusal(b"\xa1\x62ch\x05"), Code::Malformed);
    assert_eq!(refusal(b"\xa0"), Code::Malformed);
    assert_eq!(refusal(b""), Code::Malformed);
    assert_eq!(refusal(b"\x80"), Code::Malformed);
    assert_eq!(decode_server(b"\xa1\x65event\x61x").unwrap_err().code, Code::UnknownOperation);
}

#[test]
fn unknown_fields_and_other_orders_are_fine() {
    let ping = b"\xbf\x65extra\xbf\x01\x9f\xc1\xf9\x00\x00\xff\xff\x65nonce\x07\x62op\x64ping\xff";
    assert_eq!(client(ping).unwrap(), ClientMessage::Ping { nonce: 7 });
    // A number as encoders for JavaScript write it above 2^32.
    let ping = with_field("ping", "nonce", b"\xfb\x42\x00\x00\x00\x00\x00\x00\x00");
    assert_eq!(client(&ping).unwrap(), ClientMessage::Ping { nonce: 1 << 33 });
    assert_eq!(refusal(&with_field("ping", "nonce", b"\xf9\x3e\x00")), Code::Malformed);
    assert_eq!(refusal(&with_field("ping", "nonce", b"\x20")), Code::Malformed);
}

#[test]
fn bytes_after_the_message_are_malformed() {
    let mut ping = with_field("ping", "nonce", &[7]);
    assert!(client(&ping).is_ok());
    ping.push(0);
    assert_eq!(refusal(&ping), Code::Malformed);
}

#[test]
fn a_faulty_edit_leaves_the_others() {
    let mut bytes = b"\xa3\x62ch\x03\x62op\x6dobject.update\x65edits\x85".to_vec();
    // 1: good; 2: no such operation; 3: a mode that is none; 4: a record that
    // is cut; 5: a batch whose second operation is a batch.
    bytes.extend_from_slice(b"\xa4\x61n\x01\x62op\x66delete\x61t\x09\x64mode\x67subtree");
    bytes.extend_from_slice(b"\xa2\x61n\x02\x62op\x63fly");
    bytes.extend_from_slice(b"\xa4\x61n\x03\x62op\x66delete\x61t\x09\x64mode\x63all");
    bytes.extend_from_slice(b"\xa3\x61n\x04\x62op\x64move\x61m\x43abc");
    bytes.extend_from_slice(b"\xa3\x61n\x05\x62op\x65batch\x63ops\x82");
    bytes.extend_from_slice(b"\xa3\x62op\x66delete\x61t\x09\x64mode\x67subtree");
    bytes.extend_from_slice(b"\xa2\x62op\x65batch\x63ops\x80");
    let error = client(&bytes).unwrap_err();
    let partial = error.partial.unwrap();
    assert_eq!(partial.update.channel, Channel(3));
    let good: Vec<_> = partial.update.edits.iter().map(|edit| edit.counter).collect();
    assert_eq!(good, [Counter(1)]);
    let refused: Vec<_> =
        partial.refused.iter().map(|r| (r.counter.0, r.code, r.operation)).collect();
    let expected = [
        (2, Code::UnknownOperation, None),
        (3, Code::Malformed, None),
        (4, Code::Malformed, None),
        (5, Code::UnknownOperation, Some(1)),
    ];
    assert_eq!(refused, expected);
}

#[test]
fn an_edit_without_a_number_fails_the_message() {
    let error = client(&with_edit(b"\xa1\x62op\x64move")).unwrap_err();
    assert_eq!((error.code, error.partial), (Code::Malformed, None));
    assert_eq!(error.operation.as_deref(), Some("object.update"));
}

#[test]
fn edits_beyond_their_limits_are_refused_by_code() {
    let code = |edit: &[u8]| client(&with_edit(edit)).unwrap_err().partial.unwrap().refused[0].code;
    let value =
        |value: &[u8]| [b"\xa4\x61n\x01\x62op\x66update\x61t\x09\x63set\xa1\x61k", value].concat();
    let mut long = vec![0x79, 0x30, 0x00];
    long.resize(3 + 0x3000, b'a');
    assert_eq!(code(&value(&long)), Code::ValueTooLarge);
    assert_eq!(code(&value(&[[0x81; 17].as_slice(), &[0]].concat())), Code::ValueTooLarge);
    assert_eq!(code(&value(b"\xc1\x00")), Code::ValueMalformed);
    assert_eq!(code(&value(b"\xf7")), Code::ValueMalformed);
    let limits = DecodeLimits { max_batch: 1, ..DecodeLimits::default() };
    let batch = with_edit(
        b"\xa3\x61n\x01\x62op\x65batch\x63ops\x82\xa3\x62op\x66delete\x61t\x09\x64mode\x67subtree\xa0",
    );
    let partial = decode_client(&batch, &limits).unwrap_err().partial.unwrap();
    assert_eq!(partial.refused[0].code, Code::BatchTooLarge);
    // Rotation bits that are none, and a scale of zero.
    let mut rotation = b"\xa3\x61n\x01\x62op\x64move\x61m\x4b\x01\x00\x00\x00\x02".to_vec();
    rotation.extend_from_slice(&[0xff; 6]);
    assert_eq!(code(&rotation), Code::OutOfRange);
    let mut scale = b"\xa3\x61n\x01\x62op\x64move\x61m\x51\x01\x00\x00\x00\x04".to_vec();
    scale.extend_from_slice(&[0; 12]);
    assert_eq!(code(&scale), Code::OutOfRange);
}

#[test]
fn a_log_that_does_not_cover_its_range_is_malformed() {
    let flush = |to: u8| {
        let mut bytes = b"\xa9\x62ch\x01\x62ms\x00\x62to".to_vec();
        bytes.push(to);
        bytes.extend_from_slice(b"\x63log\x81\x05\x64from\x01\x65epoch\x01");
        bytes.extend_from_slice(b"\x65event\x6dentity.update\x67durable\x00\x69timestamp\x00");
        bytes
    };
    assert!(decode_server(&flush(6)).is_ok());
    assert_eq!(decode_server(&flush(7)).unwrap_err().code, Code::Malformed);
    assert_eq!(decode_server(&flush(0)).unwrap_err().code, Code::Malformed);
}

#[test]
fn nothing_comes_twice() {
    for message in [
        b"\xa3\x62op\x64ping\x62op\x64ping\x65nonce\x07".as_slice(),
        b"\xa3\x62op\x64ping\x65nonce\x07\x65nonce\x07",
        b"\xa3\x62op\x6bbrane.leave\x62ch\x03\x62ch\x04",
        b"\xa4\x62ch\x03\x62op\x6dobject.update\x65edits\x80\x65edits\x80",
    ] {
        assert_eq!(refusal(message), Code::Malformed);
    }
    assert!(json::parse(b"{\"a\": {\"b\": 1, \"c\": 1}, \"b\": 1}").is_ok());
    for text in ["{\"a\": 1, \"a\": 1}", "[{\"a\": {\"b\": 1, \"\\u0062\": 1}}]"] {
        assert!(json::parse(text.as_bytes()).is_err(), "{text}");
    }
}
