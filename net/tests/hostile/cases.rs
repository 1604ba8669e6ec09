//! What a case is, and what it is told by.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use avvy_actors::SystemConfig;
use avvy_model::{Code, Visibility};
use avvy_net::NetConfig;
use avvy_protocol::close::CloseCode;
use avvy_protocol::{Channel, ClientMessage, ErrorMessage, ServerMessage};
use tokio_rustls::TlsAcceptor;

use crate::common::ws::{FIN, Heard, PING, Ws};
use crate::common::{Answer, Client, TestServer};

/// The channel that asks whether a session goes on: nobody has joined it, and
/// its answer comes in its turn.
const STILL_THERE: Channel = Channel(u32::MAX);
/// How often the one who means well says something.
const SIGN_OF_LIFE: Duration = Duration::from_millis(100);
/// As whom the one who means well is there.
const BYSTANDER: u128 = 77;

type Attack =
    Box<dyn for<'a> Fn(&'a TestServer) -> Pin<Box<dyn Future<Output = String> + Send + 'a>> + Send>;

/// One attack.
pub struct Case {
    pub name: &'static str,
    net: NetConfig,
    system: SystemConfig,
    tls: Option<TlsAcceptor>,
    attack: Attack,
}

/// An attack on a server as it is by itself. It says what it got.
pub fn case(
    name: &'static str,
    attack: impl for<'a> Fn(&'a TestServer) -> Pin<Box<dyn Future<Output = String> + Send + 'a>>
    + Send
    + 'static,
) -> Case {
    let (net, system) = (NetConfig::default(), SystemConfig::default());
    Case { name, net, system, tls: None, attack: Box::new(attack) }
}

impl Case {
    /// On a server with these settings.
    pub fn tuned(mut self, tune: impl FnOnce(&mut NetConfig, &mut SystemConfig)) -> Self {
        tune(&mut self.net, &mut self.system);
        self
    }

    /// On a server with TLS.
    pub fn over(self, tls: TlsAcceptor) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// Attacks a new server, and looks whether others are still served.
    pub async fn run(self) -> String {
        let Self { net, system, tls, attack, .. } = self;
        let is_plain = tls.is_none();
        let server = TestServer::tuned(net, system, 0, tls).await;
        let brane = server.brane(Visibility::Public).await;
        let mut bystander = None;
        if is_plain {
            let mut ws = Ws::welcomed(&server, BYSTANDER).await;
            let channel = ws.join(brane, 1).await;
            bystander = Some((ws, channel));
        }
        let got = tokio::select! {
            got = attack(&server) => got,
            () = stay(bystander.as_mut().map(|(ws, _)| ws)) => unreachable!(),
        };
        if let Some((ws, channel)) = &mut bystander {
            ws.edit(*channel, 1).await;
            assert_eq!(ws.refused().await, Code::ObjectNotFound, "the others are served");
        }
        drop(bystander);
        server.end().await;
        got
    }
}

/// Says now and then that somebody is there.
async fn stay(mut bystander: Option<&mut Ws>) {
    loop {
        tokio::time::sleep(SIGN_OF_LIFE).await;
        if let Some(ws) = &mut bystander {
            ws.frame(FIN | PING, b"").await;
        }
    }
}

/// What a session has been told, and whether it goes on: every error and
/// refusal, each once, and the close.
pub async fn told(ws: &mut Ws) -> String {
    ws.say(&ClientMessage::Leave { channel: STILL_THERE }).await;
    told_by_itself(ws).await
}

/// The same without asking whether it goes on, for who may not ask, or
/// cannot any more.
pub async fn told_by_itself(ws: &mut Ws) -> String {
    let mut told: Vec<String> = Vec::new();
    loop {
        let next = match ws.hear().await {
            Heard::Message(ServerMessage::Error(ErrorMessage {
                channel: Some(STILL_THERE),
                ..
            })) => break,
            Heard::Message(ServerMessage::Error(error)) => told_error(&error),
            Heard::Message(ServerMessage::Refused { edits, .. }) => {
                format!("refused {}", edits[0].code.name())
            }
            Heard::Message(_) | Heard::Pong => continue,
            Heard::Closed(number) => {
                told.push(close(number));
                break;
            }
            Heard::End => "cut".to_owned(),
            Heard::Reset => "reset".to_owned(),
        };
        let is_end = matches!(next.as_str(), "cut" | "reset");
        if !told.contains(&next) {
            told.push(next);
        }
        if is_end {
            break;
        }
    }
    if told.is_empty() { "served".to_owned() } else { told.join(", ") }
}

/// The first answer, where others do not come in turn.
pub async fn first_told(ws: &mut Ws) -> String {
    let is_answer = |m: &ServerMessage| {
        matches!(
            m,
            ServerMessage::Error(_) | ServerMessage::Refused { .. } | ServerMessage::Applied { .. }
        )
    };
    match ws.until(is_answer).await {
        ServerMessage::Error(error) => told_error(&error),
        ServerMessage::Refused { edits, .. } => format!("refused {}", edits[0].code.name()),
        _ => "applied".to_owned(),
    }
}

fn told_error(error: &ErrorMessage) -> String {
    assert!(!is_for_now(error.code) || error.retry_after_ms.is_some(), "{error:?}");
    format!("error {}", error.code.name())
}

/// Whether the same may be served later; then it is said when to try again.
fn is_for_now(code: Code) -> bool {
    matches!(code, Code::RateLimited | Code::Unavailable | Code::BraneFull)
}

/// Only the close.
pub async fn closed(ws: &mut Ws) -> String {
    ws.closed().await.map_or_else(|| "cut".to_owned(), |code| close(code.number()))
}

fn close(number: u16) -> String {
    match CloseCode::from_number(number) {
        Some(code) => format!("close {number} {}", code.name()),
        None => format!("close {number}"),
    }
}

/// What was answered: the status, and the code of an error that has one.
pub fn answered(answer: &Answer) -> String {
    if answer.status < 400 || answer.body.is_empty() {
        return answer.status.to_string();
    }
    let code = answer.code();
    let is_told_when = answer.header("retry-after").is_some();
    assert!(is_told_when || !Code::from_name(&code).is_some_and(is_for_now), "{answer:?}");
    format!("{} {code}", answer.status)
}

/// What a connection is answered after these bytes.
pub async fn answer_to(server: &TestServer, bytes: &[u8]) -> String {
    let mut client = server.client().await;
    client.say(bytes).await;
    next_answer(&mut client).await
}

/// The next answer; `cut` when the connection ends instead.
pub async fn next_answer(client: &mut Client) -> String {
    client.answer("GET").await.map_or_else(|| "cut".to_owned(), |answer| answered(&answer))
}
