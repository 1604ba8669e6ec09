//! What is encoded decodes to the same; whatever bytes come, decoding ends.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use avvy_model::ValueLimits;
use avvy_protocol::codec::{FlushView, decode_client, decode_server, encode_client, encode_server};
use avvy_protocol::{DecodeLimits, ServerMessage};
use common::{client_message, flush, server_message};
use proptest::prelude::*;

/// Bounds that let the properties' generator through.
const WIDE: ValueLimits = ValueLimits {
    max_value_bytes: 1 << 20,
    max_nesting: 16,
    max_key_bytes: 256,
    max_props_bytes: 1 << 20,
};

/// The message in deterministic encoding, made by the values' canonicaliser,
/// which sorts by its own means.
fn canonical(bytes: &[u8]) -> Vec<u8> {
    avvy_model::Value::parse(bytes, &WIDE).unwrap().as_bytes().to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn client_messages_come_back(message in client_message()) {
        let bytes = encode_client(&message);
        prop_assert_eq!(&canonical(&bytes), &bytes);
        prop_assert_eq!(decode_client(&bytes, &DecodeLimits::default()).unwrap(), message);
    }

    #[test]
    fn server_messages_come_back(message in server_message()) {
        let bytes = encode_server(&message, 1_700_000_000_123);
        prop_assert_eq!(&canonical(&bytes), &bytes);
        prop_assert_eq!(decode_server(&bytes).unwrap(), message);
    }

    #[test]
    fn a_view_sees_what_decoding_sees(flush in flush()) {
        use avvy_protocol::FlushItem;
        let bytes = encode_server(&ServerMessage::Flush(flush.clone().into()), 0);
        let view = FlushView::parse(&bytes).unwrap();
        prop_assert_eq!((view.from(), view.to()), (flush.from, flush.to));
        prop_assert_eq!((view.durable(), view.ms()), (flush.durable, flush.ms));
        prop_assert_eq!((view.channel(), view.epoch()), (flush.channel, flush.epoch));
        let mut seq = flush.from;
        let mut expected = Vec::new();
        for item in &flush.items {
            match item {
                FlushItem::Moves(moves) => for record in moves {
                    seq = seq.next();
                    expected.push((seq, record.handle, record.patch));
                },
                FlushItem::Event(_) => seq = seq.next(),
                FlushItem::Skip(n) => seq.0 += n,
            }
        }
        let seen: Vec<_> = view.moves()
            .map(|m| m.and_then(|(seq, m)| Ok((seq, m.handle, m.patch()?))).unwrap())
            .collect();
        prop_assert_eq!(seen, expected);
        prop_assert_eq!(view.items().count(), flush.items.len());
    }

    #[test]
    fn arbitrary_bytes_end_in_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        decode_everything(&bytes);
    }

    #[test]
    fn damaged_client_messages_end_in_an_answer(
        message in client_message(),
        hits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encode_client(&message);
        for (at, byte) in hits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        decode_everything(&bytes);
        decode_everything(&bytes[..cut.index(bytes.len())]);
    }

    #[test]
    fn damaged_server_messages_end_in_an_answer(
        message in server_message(),
        hits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encode_server(&message, 0);
        for (at, byte) in hits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        decode_everything(&bytes);
        decode_everything(&bytes[..cut.index(bytes.len())]);
    }

    #[test]
    fn a_cut_message_is_an_error(message in client_message(), cut in any::<prop::sample::Index>()) {
        let bytes = encode_client(&message);
        let cut = cut.index(bytes.len());
        prop_assert!(decode_client(&bytes[..cut], &DecodeLimits::default()).is_err());
    }
}

fn decode_everything(bytes: &[u8]) {
    let _ = decode_client(bytes, &DecodeLimits::default());
    let _ = decode_server(bytes);
    if let Ok(view) = FlushView::parse(bytes) {
        for (_, record) in view.moves().take(10_000).flatten() {
            let _ = record.patch();
        }
        view.items().for_each(drop);
    }
    for format in [avvy_protocol::rest::Format::Cbor, avvy_protocol::rest::Format::Json] {
        let _ = avvy_protocol::rest::decode_submit(bytes, format, &DecodeLimits::default());
        let _ = avvy_protocol::rest::decode::<avvy_protocol::rest::ObjectPage>(bytes, format, 1000);
    }
}
