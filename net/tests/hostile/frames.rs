//! WebSockets that are used wrongly: each ends with its number, which arrives
//! although the server does not read what else was sent.

use avvy_protocol::{ClientMessage, ServerMessage, codec};

use crate::cases::{Case, case, closed, told};
use crate::common::ws::{BINARY, CLOSE, CONTINUE, FIN, PING, TEXT, Ws, frame, head_of};

/// More than the server reads once it has found the fault.
static FLOOD: [u8; 256 * 1024] = [0xa5; 256 * 1024];

pub fn cases() -> Vec<Case> {
    let mut unmasked = frame(FIN | BINARY, b"hello");
    unmasked[1] &= 0x7f;
    let wrong: [(&str, Vec<u8>); 22] = [
        ("frame-text", frame(FIN | TEXT, b"{\"op\": \"ping\"}")),
        ("frame-text-not-utf8", frame(FIN | TEXT, &[0xff, 0xfe])),
        ("frame-unmasked", unmasked),
        ("frame-data-opcode", frame(FIN | 3, b"a data opcode that does not exist")),
        ("frame-control-opcode", frame(FIN | 11, b"a control opcode that does not")),
        ("frame-compressed", frame(FIN | 0x40 | BINARY, b"a reserved bit")),
        ("frame-reserved-bits", frame(FIN | 0x30 | BINARY, b"the others")),
        ("frame-control-in-pieces", frame(PING, b"a control frame in pieces")),
        ("frame-control-too-long", frame(FIN | PING, &[0; 126])),
        ("frame-close-too-long", frame(FIN | CLOSE, &[3; 126])),
        ("frame-continuation-of-nothing", frame(FIN | CONTINUE, b"the end of nothing")),
        (
            "frame-message-in-a-message",
            [frame(BINARY, b"a beginning"), frame(BINARY, b"another one")].concat(),
        ),
        (
            "frame-text-in-pieces",
            [frame(TEXT, b"a text in pieces"), frame(FIN | CONTINUE, b"is a text, too")].concat(),
        ),
        ("frame-close-of-one-byte", frame(FIN | CLOSE, &[3])),
        ("frame-close-not-utf8", frame(FIN | CLOSE, &[3, 0xe8, 0xff, 0xfe])),
        ("frame-length-over", head_of(FIN | BINARY, 256 * 1024 + 1)),
        ("frame-length-32-bits", head_of(FIN | BINARY, u64::from(u32::MAX) + 8)),
        ("frame-length-63-bits", head_of(FIN | BINARY, i64::MAX as u64)),
        ("frame-length-64-bits", head_of(FIN | BINARY, u64::MAX)),
        (
            "frame-pieces-too-large",
            [frame(BINARY, &[0; 200 * 1024]), frame(CONTINUE, &[0; 100 * 1024])].concat(),
        ),
        (
            "frame-many-pieces-too-large",
            [frame(BINARY, &[]), frame(CONTINUE, &[0; 1024]).repeat(257)].concat(),
        ),
        ("frame-opcode-after-pieces", [frame(BINARY, b"a"), frame(FIN | 5, b"b")].concat()),
    ];
    let mut cases: Vec<Case> = wrong.into_iter().map(|(name, bytes)| ending(name, bytes)).collect();
    cases.extend(goodbyes());
    cases.extend(endless_pieces());
    cases.extend([pieces(), large_pieces(), half_a_message()]);
    cases
}

/// Bytes after which the session ends.
fn ending(name: &'static str, bytes: Vec<u8>) -> Case {
    case(name, move |server| {
        let bytes = bytes.clone();
        Box::pin(async move {
            let mut ws = Ws::welcomed(server, 1).await;
            ws.raw(&bytes).await;
            ws.raw(&FLOOD).await;
            let told = closed(&mut ws).await;
            // Nor does it find its connection reset.
            assert!(ws.raw(&FLOOD).await, "{told}");
            told
        })
    })
}

/// Closes, and with which number they are answered.
fn goodbyes() -> impl Iterator<Item = Case> {
    let numbers = [
        ("close-normal", 1_000_u16.to_be_bytes().to_vec()),
        ("close-without-number", vec![]),
        ("close-of-an-application", 4_999_u16.to_be_bytes().to_vec()),
        ("close-number-of-nobody", 5_u16.to_be_bytes().to_vec()),
        ("close-number-not-for-the-wire", 1_005_u16.to_be_bytes().to_vec()),
    ];
    numbers.into_iter().map(|(name, payload)| {
        case(name, move |server| {
            let payload = payload.clone();
            Box::pin(async move {
                let mut ws = Ws::welcomed(server, 1).await;
                ws.frame(FIN | CLOSE, &payload).await;
                told(&mut ws).await
            })
        })
    })
}

fn pieces() -> Case {
    case("pieces-with-a-ping-between", |server| {
        Box::pin(async move {
            let mut ws = Ws::welcomed(server, 1).await;
            let ping = codec::encode_client(&ClientMessage::Ping { nonce: 7 });
            let (first, rest) = ping.split_at(5);
            ws.frame(BINARY, first).await;
            ws.frame(FIN | PING, b"in between").await;
            ws.frame(CONTINUE, b"").await;
            ws.frame(FIN | CONTINUE, rest).await;
            ws.until(|m| matches!(m, ServerMessage::Pong { nonce: 7, .. })).await;
            told(&mut ws).await
        })
    })
}

/// Small pieces of a message that never ends, before and after the hello.
fn endless_pieces() -> [Case; 2] {
    let endless = || [frame(BINARY, b""), frame(CONTINUE, b"").repeat(1_000)].concat();
    let few = |case: Case| case.tuned(|_, system| system.session.messages_burst = 200);
    let stranger = case("stranger-pieces-without-end", move |server| {
        Box::pin(async move {
            let mut ws = Ws::open(server).await;
            ws.raw(&endless()).await;
            closed(&mut ws).await
        })
    });
    [few(ending("pieces-without-end", endless())), few(stranger)]
}

/// Pieces that are not small do not count.
fn large_pieces() -> Case {
    let case = case("pieces-of-some-size", |server| {
        Box::pin(async move {
            let mut ws = Ws::welcomed(server, 1).await;
            let many = frame(CONTINUE, &[0; 1_024]).repeat(100);
            ws.raw(&[frame(BINARY, &[0; 1_024]), many, frame(FIN | CONTINUE, b"")].concat()).await;
            told(&mut ws).await
        })
    });
    case.tuned(|_, system| system.session.messages_burst = 50)
}

/// A length that is allowed, and not what comes.
fn half_a_message() -> Case {
    let case = case("frame-length-that-lies", |server| {
        Box::pin(async move {
            let mut ws = Ws::welcomed(server, 1).await;
            ws.raw(&head_of(FIN | BINARY, 200 * 1024)).await;
            closed(&mut ws).await
        })
    });
    case.tuned(|_, system| system.session.heartbeat_ms = 2_000)
}
