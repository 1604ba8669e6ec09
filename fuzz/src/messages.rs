//! What comes over the wire.

use avvy_client::machine::{ClientMachine, Input, MachineOptions};
use avvy_model::{BraneId, ClientId};
use avvy_protocol::codec::{
    DecodeLimits, FlushView, ItemView, decode_client, decode_server, encode_client, encode_server,
};
use avvy_protocol::{ClientMessage, FlushItem, ServerMessage, json};

use crate::pieces;

/// A message from a client: read, and if it is one, written and read again.
pub fn client_message(bytes: &[u8]) {
    let limits = DecodeLimits::default();
    let message = match decode_client(bytes, &limits) {
        Ok(message) => message,
        Err(error) => {
            assert!(error.operation.is_none_or(|name| name.len() <= 64));
            let Some(partial) = error.partial else { return };
            assert!(!partial.refused.is_empty(), "a partial update has faulty edits");
            ClientMessage::Update(partial.update)
        }
    };
    let again = decode_client(&encode_client(&message), &limits);
    assert_eq!(again.as_ref(), Ok(&message));
}

/// A message from the server, read as a whole and, if it is a flush, in place.
pub fn server_message(bytes: &[u8]) {
    let view = FlushView::parse(bytes);
    let items = view.as_ref().is_ok_and(|flush| {
        flush.items().flatten().for_each(|item| {
            if let ItemView::Moves(moves) = item {
                moves.flatten().for_each(|one| drop(one.patch()));
            }
        });
        true
    });
    let Ok(message) = decode_server(bytes) else { return };
    if let ServerMessage::Flush(flush) = &message {
        assert!(items, "a flush is one in place, too");
        let skipped = |item: &FlushItem| matches!(item, FlushItem::Skip(_));
        assert!(flush.items.len() < bytes.len() || flush.items.iter().any(skipped));
    }
    let written = encode_server(&message, 0);
    let again = decode_server(&written).expect("what is written can be read");
    assert_eq!(encode_server(&again, 0), written);
}

/// A server that says anything, in any order, to a client that takes part.
pub fn server_says(bytes: &[u8]) {
    let mut drawn = 0;
    let draw = Box::new(move || {
        drawn += 1;
        ClientId::from_bytes([drawn; 16])
    });
    let mut machine = ClientMachine::new(MachineOptions::default(), "token".to_owned(), draw);
    let mut out = Vec::new();
    let brane = BraneId::from_bytes([1; 16]);
    machine.join(0, brane, &mut out);
    machine.follow(brane, &mut out);
    machine.handle(0, Input::Connected { is_secure: false }, &mut out);
    for (now_ms, piece) in (1..).zip(pieces(bytes)) {
        match piece {
            [] => machine.handle(now_ms, Input::Disconnected, &mut out),
            [0] => machine.handle(now_ms, Input::Connected { is_secure: false }, &mut out),
            [1] => machine.handle(now_ms * 60_000, Input::Tick, &mut out),
            message => {
                let Ok(message) = decode_server(message) else { continue };
                machine.handle(now_ms, Input::Message(message), &mut out);
            }
        }
        out.clear();
    }
}

/// JSON that stands for CBOR, and back.
pub fn json(bytes: &[u8]) {
    let Ok(read) = json::parse(bytes) else { return };
    let Ok(cbor) = json::to_cbor(&read) else { return };
    let written = json::from_cbor(&cbor);
    let again = json::to_cbor(&written).expect("what is written can be read");
    // Not the values themselves: NaN is not equal to itself.
    assert_eq!(json::from_cbor(&again), written);
}
