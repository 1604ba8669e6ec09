//! WebSockets that are used wrongly: each ends with its number, which arrives
//! although the server does not read what else was sent.

#![allow(clippy::unwrap_used)]

mod common;

use avvy_model::Code;
use avvy_protocol::close::CloseCode;
use avvy_protocol::{ClientMessage, ServerMessage, codec};
use common::TestServer;
use common::ws::{BINARY, CLOSE, CONTINUE, FIN, PING, TEXT, Ws, frame, head_of};

/// More than the server reads once it has found the fault.
static FLOOD: [u8; 256 * 1024] = [0xa5; 256 * 1024];

async fn ends(server: &TestServer, bytes: &[u8], code: CloseCode) {
    let mut ws = Ws::welcomed(server, 1).await;
    ws.raw(bytes).await;
    ws.raw(&FLOOD).await;
    let begin = &bytes[..bytes.len().min(16)];
    assert_eq!(ws.closed().await, Some(code), "{begin:02x?}");
    // Nor does it find its connection reset.
    assert!(ws.raw(&FLOOD).await, "{begin:02x?}");
}

#[tokio::test]
async fn what_is_no_frame_of_a_client_ends_with_a_number() {
    let server = TestServer::start().await;
    let mut unmasked = frame(FIN | BINARY, b"hello");
    unmasked[1] &= 0x7f;
    let wrong = [
        frame(FIN | TEXT, b"{\"op\": \"ping\"}"),
        frame(FIN | TEXT, &[0xff, 0xfe]),
        unmasked,
        frame(FIN | 3, b"a data opcode that does not exist"),
        frame(FIN | 11, b"a control opcode that does not"),
        frame(FIN | 0x40 | BINARY, b"a reserved bit"),
        frame(PING, b"a control frame in pieces"),
        frame(FIN | PING, &[0; 126]),
        frame(FIN | CONTINUE, b"the end of nothing"),
        [frame(BINARY, b"a beginning"), frame(BINARY, b"another one")].concat(),
        [frame(TEXT, b"a text in pieces"), frame(FIN | CONTINUE, b"is a text, too")].concat(),
        frame(FIN | CLOSE, &[3]),
        frame(FIN | CLOSE, &0_u16.to_be_bytes()),
        frame(FIN | CLOSE, &1_005_u16.to_be_bytes()),
    ];
    for bytes in &wrong {
        ends(&server, bytes, CloseCode::ProtocolError).await;
    }
    let counted = server.system.metrics().closes();
    assert_eq!(counted.get("protocol_error"), Some(&(wrong.len() as u64)), "{counted:?}");
    server.end().await;
}

#[tokio::test]
async fn lengths_that_are_too_large_are_not_waited_for() {
    let server = TestServer::start().await;
    let lengths = [256 * 1024 + 1, u64::from(u32::MAX) + 8, i64::MAX as u64, u64::MAX];
    for length in lengths {
        ends(&server, &head_of(FIN | BINARY, length), CloseCode::TooLarge).await;
    }
    let piece = frame(BINARY, &[0; 200 * 1024]);
    let pieces = [piece, frame(CONTINUE, &[0; 100 * 1024])].concat();
    ends(&server, &pieces, CloseCode::TooLarge).await;
    let counted = server.system.metrics().closes();
    assert_eq!(counted.get("too_large"), Some(&(lengths.len() as u64 + 1)), "{counted:?}");
    server.end().await;
}

#[tokio::test]
async fn messages_may_come_in_pieces() {
    let server = TestServer::start().await;
    let mut ws = Ws::welcomed(&server, 1).await;
    let ping = codec::encode_client(&ClientMessage::Ping { nonce: 7 });
    let (first, rest) = ping.split_at(5);
    ws.frame(BINARY, first).await;
    ws.frame(FIN | PING, b"in between").await;
    ws.frame(CONTINUE, b"").await;
    ws.frame(FIN | CONTINUE, rest).await;
    ws.until(|m| matches!(m, ServerMessage::Pong { nonce: 7, .. })).await;
    drop(ws);
    server.end().await;
}

#[tokio::test]
async fn pieces_with_little_in_them_count_as_messages() {
    let server = TestServer::with_sessions(|system| {
        system.session.messages_burst = 50;
        system.session.messages_per_second = 1;
    })
    .await;
    let endless = [frame(BINARY, b""), frame(CONTINUE, b"").repeat(100)].concat();
    ends(&server, &endless, CloseCode::RateLimited).await;
    // Neither does a hello hide them.
    let mut stranger = Ws::open(&server).await;
    stranger.raw(&endless).await;
    assert_eq!(stranger.closed().await, Some(CloseCode::RateLimited));

    let mut ws = Ws::welcomed(&server, 1).await;
    let large = [frame(BINARY, &[0; 1_024]), frame(CONTINUE, &[0; 1_024]).repeat(100)].concat();
    ws.raw(&[large, frame(FIN | CONTINUE, b"")].concat()).await;
    assert_eq!(ws.error().await.code, Code::Malformed);
    drop((stranger, ws));
    server.end().await;
}

#[tokio::test]
async fn bytes_that_are_no_message_are_answered_until_there_are_too_many() {
    let server =
        TestServer::with_sessions(|system| system.session.max_malformed_messages = 3).await;
    let mut ws = Ws::welcomed(&server, 1).await;
    for _ in 0..3 {
        ws.frame(FIN | BINARY, b"\xff\x00").await;
        assert_eq!(ws.error().await.code, Code::Malformed);
    }
    assert_eq!(ws.closed().await, Some(CloseCode::ProtocolError));
    drop(ws);
    server.end().await;
}
