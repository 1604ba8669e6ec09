//! Those who take their time, for ever. What they do once a second they do
//! here every few milliseconds, to a server that waits as much less.

use std::time::Duration;

use avvy_actors::SystemConfig;
use avvy_model::Visibility;
use avvy_net::{NetConfig, OutboxLimits};
use avvy_protocol::{Channel, ClientMessage, codec};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::cases::{Case, case, closed, next_answer};
use crate::common::ws::{BINARY, FIN, Ws, frame};
use crate::common::{PATIENCE, TestServer};

/// Between two bytes.
const PAUSE: Duration = Duration::from_millis(20);

pub fn cases() -> Vec<Case> {
    vec![
        case("silent-connection", |server| {
            Box::pin(async move { next_answer(&mut server.client().await).await })
        })
        .tuned(soon),
        case("byte-by-byte-head", |server| {
            let long = "GET /livez HTTP/1.1\r\nhost: test\r\nx: ".to_owned() + &"y".repeat(4_000);
            Box::pin(drip(server, long.into_bytes()))
        })
        .tuned(soon),
        case("byte-by-byte-body", |server| {
            let head = format!(
                "POST /api/v1/brane HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\n\
                 content-length: 4000\r\n\r\n",
                server.token()
            );
            Box::pin(async move {
                let mut client = server.client().await;
                client.say(head.as_bytes()).await;
                dripped(&mut client).await
            })
        })
        .tuned(soon),
        case("half-a-body", |server| {
            let head = format!(
                "POST /api/v1/brane HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\n\
                 content-length: 100\r\n\r\nonly this",
                server.token()
            );
            Box::pin(drip(server, head.into_bytes()))
        })
        .tuned(soon),
        case("chunk-size-64-bits", |server| {
            let head = format!(
                "POST /api/v1/brane HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\n\
                 transfer-encoding: chunked\r\n\r\nffffffffffffffff\r\nonly this",
                server.token()
            );
            Box::pin(drip(server, head.into_bytes()))
        })
        .tuned(soon),
        case("never-says-hello", |server| {
            Box::pin(async move { closed(&mut Ws::open(server).await).await })
        })
        .tuned(soon),
        case("byte-by-byte-hello", |server| {
            Box::pin(async move { byte_by_byte(server, &mut Ws::open(server).await).await })
        })
        .tuned(soon),
        case("byte-by-byte-message", |server| {
            Box::pin(async move { byte_by_byte(server, &mut Ws::welcomed(server, 1).await).await })
        })
        .tuned(soon),
        case("silent-session", |server| {
            Box::pin(async move { closed(&mut Ws::welcomed(server, 1).await).await })
        })
        .tuned(soon),
        case("never-reads-answers", |server| Box::pin(never_reads_answers(server)))
            .tuned(|net, _| net.write_timeout = Duration::from_millis(100)),
        case("asks-and-never-reads", |server| Box::pin(asks_and_never_reads(server))).tuned(narrow),
        case("never-reads-a-brane", |server| Box::pin(never_reads_a_brane(server))).tuned(
            |net, system| {
                narrow(net, system);
                system.fan_out.slow_session_timeout_ms = 300;
                system.session.slow_session_timeout_ms = 60_000;
            },
        ),
    ]
}

/// A server that does not wait long; long enough for those who mean well, on
/// a busy machine, too.
fn soon(net: &mut NetConfig, system: &mut SystemConfig) {
    net.header_read_timeout = Duration::from_secs(2);
    net.request_timeout = Duration::from_secs(3);
    system.session.hello_timeout_ms = 3_000;
    system.session.heartbeat_ms = 2_000;
}

/// A server that finds sessions slow soon.
fn narrow(net: &mut NetConfig, system: &mut SystemConfig) {
    net.outbox = OutboxLimits {
        high_water_bytes: 16 * 1024,
        low_water_bytes: 4 * 1024,
        max_bytes: 1024 * 1024,
    };
    system.session.messages_burst = 10_000_000;
    system.session.slow_session_timeout_ms = 300;
    system.session.heartbeat_ms = 60_000;
}

async fn drip(server: &TestServer, bytes: Vec<u8>) -> String {
    let mut client = server.client().await;
    let (head, rest) = bytes.split_at(bytes.len().min(60));
    client.say(head).await;
    if rest.is_empty() || rest.ends_with(b"only this") {
        client.say(rest).await;
        return next_answer(&mut client).await;
    }
    dripped(&mut client).await
}

/// Says a byte now and then until it is answered or cut.
async fn dripped(client: &mut crate::common::Client) -> String {
    let dripping = async {
        loop {
            if client.stream.get_mut().write_all(b"y").await.is_err() {
                return;
            }
            let said = timeout(PAUSE, client.stream.get_ref().readable()).await;
            if said.is_ok() {
                return;
            }
        }
    };
    timeout(PATIENCE, dripping).await.expect("the server waits for ever");
    next_answer(client).await
}

/// A byte of a message now and then until the session is closed.
async fn byte_by_byte(server: &TestServer, ws: &mut Ws) -> String {
    let message = frame(FIN | BINARY, &[0; 10_000]);
    for byte in message {
        if !server.system.metrics().closes().is_empty() {
            return closed(ws).await;
        }
        ws.raw(&[byte]).await;
        sleep(PAUSE).await;
    }
    "served".to_owned()
}

async fn never_reads_answers(server: &TestServer) -> String {
    let mut greedy = TcpStream::connect(server.address).await.unwrap();
    let requests = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n".repeat(100);
    let ask = async { while greedy.write_all(&requests).await.is_ok() {} };
    timeout(PATIENCE, ask).await.expect("the server waits for ever");
    "cut".to_owned()
}

async fn asks_and_never_reads(server: &TestServer) -> String {
    let mut ws = Ws::narrow(server).await;
    ws.greet(&server.token()).await;
    ask_without_reading(&mut ws, server, None).await
}

async fn never_reads_a_brane(server: &TestServer) -> String {
    let brane = server.brane(Visibility::Public).await;
    let mut ws = Ws::narrow(server).await;
    ws.greet(&server.token()).await;
    ws.join(brane, 7).await;
    let mut editor = Ws::welcomed(server, 2).await;
    let channel = editor.join(brane, 8).await;
    ask_without_reading(&mut ws, server, Some((&mut editor, channel))).await
}

/// Asks and asks, and reads no answer, until the server has closed the session.
/// Whenever it has to wait, an editor edits: a brane finds out that a session
/// is slow when it has something to say.
async fn ask_without_reading(
    ws: &mut Ws,
    server: &TestServer,
    mut editor: Option<(&mut Ws, Channel)>,
) -> String {
    let ping = frame(FIN | BINARY, &codec::encode_client(&ClientMessage::Ping { nonce: 7 }));
    let pings = ping.repeat(4_096);
    let (mut at, mut counter) = (0, 0);
    let closing = async {
        while server.system.metrics().closes().is_empty() {
            match ws.try_raw(&pings[at..]) {
                0 => {
                    if let Some((editor, channel)) = &mut editor {
                        counter += 1;
                        editor.group(*channel, counter).await;
                    }
                    sleep(Duration::from_millis(5)).await;
                }
                written => at = (at + written) % pings.len(),
            }
        }
    };
    timeout(PATIENCE, closing).await.expect("it is closed");
    closed(ws).await
}
