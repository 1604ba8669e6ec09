//! Clients that do not read what they are sent.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use avvy_actors::SystemConfig;
use avvy_model::Visibility;
use avvy_net::{NetConfig, OutboxLimits};
use avvy_protocol::close::CloseCode;
use avvy_protocol::{ClientMessage, codec};
use common::ws::{BINARY, FIN, Ws, frame};
use common::{PATIENCE, TestServer};
use tokio::time::{sleep, timeout};

/// A server that finds sessions slow soon, and silent ones sooner.
async fn server(tune: impl FnOnce(&mut SystemConfig)) -> TestServer {
    let limits = OutboxLimits {
        high_water_bytes: 16 * 1024,
        low_water_bytes: 4 * 1024,
        max_bytes: 1024 * 1024,
    };
    let net = NetConfig { outbox: limits, ..NetConfig::default() };
    let mut system = SystemConfig::default();
    system.session.heartbeat_ms = 50;
    system.session.messages_burst = 10_000_000;
    tune(&mut system);
    TestServer::tuned(net, system, 0, None).await
}

/// Asks and asks, and reads no answer, until the server has closed the session.
/// Whenever it has to wait, somebody else does something.
async fn ask_without_reading(ws: &mut Ws, server: &TestServer, mut meanwhile: impl AsyncFnMut()) {
    let ping = frame(FIN | BINARY, &codec::encode_client(&ClientMessage::Ping { nonce: 7 }));
    let pings = ping.repeat(4_096);
    let mut at = 0;
    let closed = async {
        while server.system.metrics().closes().is_empty() {
            match ws.try_raw(&pings[at..]) {
                0 => {
                    meanwhile().await;
                    sleep(Duration::from_millis(5)).await;
                }
                written => at = (at + written) % pings.len(),
            }
        }
    };
    timeout(PATIENCE, closed).await.expect("it is closed");
    let closes = server.system.metrics().closes();
    let slow = (CloseCode::SlowConsumer.name(), 1);
    assert_eq!(closes.into_iter().collect::<Vec<_>>(), [slow]);
    assert_eq!(ws.closed().await, Some(CloseCode::SlowConsumer));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_in_no_brane_is_slow_and_not_silent() {
    let server = server(|system| system.session.slow_session_timeout_ms = 300).await;
    let mut ws = Ws::narrow(&server).await;
    ws.greet(&server.token()).await;
    ask_without_reading(&mut ws, &server, async || {}).await;
    drop(ws);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_in_a_brane_is_closed_once() {
    let server = server(|system| {
        system.fan_out.slow_session_timeout_ms = 300;
        system.session.heartbeat_ms = 60_000;
    })
    .await;
    let brane = server.brane(Visibility::Public).await;
    let mut ws = Ws::narrow(&server).await;
    ws.greet(&server.token()).await;
    ws.join(brane, 7).await;
    let mut editor = Ws::welcomed(&server, 1).await;
    let channel = editor.join(brane, 8).await;
    let mut counter = 0;
    // The brane finds out when it has something to say.
    let edit = async || {
        counter += 1;
        editor.group(channel, counter).await;
    };
    ask_without_reading(&mut ws, &server, edit).await;
    drop((ws, editor));
    server.end().await;
}
