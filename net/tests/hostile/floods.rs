//! Too much: of connections, of sessions, of messages, of branes.

use avvy_model::{BraneId, ClientId, Edit, GrantId, Reach, Ruling, Verb, Verbs, Visibility};
use avvy_protocol::{Channel, ClientMessage, Join, Update, codec};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use uuid::Uuid;

use crate::cases::{Case, answered, case, closed, first_told, next_answer, told, told_by_itself};
use crate::common::ws::{BINARY, FIN, PING, Ws, frame, user, version_4};
use crate::common::{PATIENCE, TestServer};

const PONG: u8 = 10;

pub fn cases() -> Vec<Case> {
    let ping = codec::encode_client(&ClientMessage::Ping { nonce: 7 });
    let nothing = Update { channel: Channel(1), trace: None, edits: Vec::new() };
    let nothing = codec::encode_client(&ClientMessage::Update(nothing));
    vec![
        storm("storm-of-pings", frame(FIN | PING, b"are you there?")),
        storm("storm-of-pongs", frame(FIN | PONG, b"")),
        storm("storm-of-messages", frame(FIN | BINARY, &ping)),
        storm("storm-of-updates-of-nothing", frame(FIN | BINARY, &nothing)),
        case("joins-10000", |server| Box::pin(joins_10_000(server))).tuned(|_, system| {
            system.session.messages_burst = 200;
        }),
        case("joins-10000-slowly", |server| Box::pin(joins_too_many(server, 10_000))).tuned(
            |_, system| {
                system.session.messages_burst = 1_000_000;
                system.user.joins.burst = 1_000_000;
            },
        ),
        case("join-twice", |server| Box::pin(joins_twice(server))),
        case("edits-faster-than-read", |server| Box::pin(edits_too_fast(server))),
        case("rulings-faster-than-read", |server| Box::pin(rules_too_fast(server))),
        case("connections-1000", |server| Box::pin(opens_and_closes(server, 1_000))),
        case("upgrades-1000", |server| Box::pin(upgrades_and_goes(server, 1_000))),
        case("sessions-of-a-user-full", |server| Box::pin(fills_a_user(server)))
            .tuned(|_, system| system.user.max_sessions = 3),
        case("connections-of-an-address-full", |server| Box::pin(fills_connections(server)))
            .tuned(|net, _| net.max_connections_per_address = 20),
        case("connections-full", |server| Box::pin(fills_connections(server)))
            .tuned(|net, _| net.max_connections = 20),
        case("sessions-full", |server| Box::pin(fills_sessions(server)))
            .tuned(|_, system| system.max_sessions = 20),
        case("messages-that-do-not-end", |server| Box::pin(holds_too_much(server)))
            .tuned(|_, system| system.max_sessions_bytes = 300_000),
        case("requests-too-many", |server| Box::pin(asks_too_often(server)))
            .tuned(|net, _| (net.requests_per_second, net.requests_burst) = (1, 20)),
        case("bodies-full", |server| Box::pin(fills_bodies(server)))
            .tuned(|net, _| net.max_bodies_bytes = 10_000),
        case("body-in-chunks-of-a-byte", |server| Box::pin(sends_bytes_in_chunks(server))),
        case("requests-in-a-row", |server| Box::pin(asks_in_a_row(server))),
    ]
}

/// The same frame again and again.
fn storm(name: &'static str, bytes: Vec<u8>) -> Case {
    let bytes = bytes.repeat(1_000);
    let case = case(name, move |server| {
        let bytes = bytes.clone();
        Box::pin(async move {
            let mut ws = Ws::welcomed(server, 1).await;
            ws.raw(&bytes).await;
            closed(&mut ws).await
        })
    });
    case.tuned(|_, system| system.session.messages_burst = 200)
}

fn join(brane: BraneId) -> Vec<u8> {
    let client = ClientId::new(version_4(7));
    let join = Join { brane, client, known: false, resume: None, area: None };
    frame(FIN | BINARY, &codec::encode_client(&ClientMessage::Join(join)))
}

/// Ids that name nothing, all at once.
async fn joins_10_000(server: &TestServer) -> String {
    let mut ws = Ws::welcomed(server, 1).await;
    let ids = (1..=10_000).map(|n| BraneId::new(Uuid::from_u128(n)));
    let joins: Vec<u8> = ids.flat_map(join).collect();
    ws.raw(&joins).await;
    closed(&mut ws).await
}

/// Branes that are there, as fast as they are answered.
async fn joins_too_many(server: &TestServer, count: usize) -> String {
    let mut ws = Ws::welcomed(server, 1).await;
    let mut branes = Vec::new();
    for _ in 0..17 {
        branes.push(server.brane(Visibility::Public).await);
    }
    for brane in &branes[..16] {
        ws.join(*brane, 7).await;
    }
    let joins = join(branes[16]).repeat(count);
    ws.raw(&joins).await;
    told(&mut ws).await
}

async fn joins_twice(server: &TestServer) -> String {
    let brane = server.brane(Visibility::Public).await;
    let mut ws = Ws::welcomed(server, 1).await;
    ws.join(brane, 7).await;
    ws.ask_to_join(brane, 7).await;
    told(&mut ws).await
}

/// More edits than the rate lets through: TCP holds them back, and all of
/// them get their outcome.
async fn edits_too_fast(server: &TestServer) -> String {
    let brane = server.brane(Visibility::Public).await;
    let mut ws = Ws::welcomed(server, 1).await;
    let channel = ws.join(brane, 7).await;
    for counter in 1..=2_200 {
        ws.edit(channel, counter).await;
    }
    told(&mut ws).await
}

/// Each is a grant to the same user, of whom there is an end.
async fn rules_too_fast(server: &TestServer) -> String {
    let brane = server.brane(Visibility::Public).await;
    let mut ws = Ws::welcomed(server, 1).await;
    let channel = ws.join(brane, 7).await;
    for counter in 1..=200 {
        let grant = Ruling::Grant {
            id: GrantId::new(version_4(counter.into())),
            to: user(2),
            verbs: Verbs::of(&[Verb::Create]),
            reach: Reach::default(),
            until_ms: None,
        };
        ws.submit(channel, counter, Edit::Rule(Box::new(grant))).await;
    }
    told(&mut ws).await
}

/// Half of them in order, half of them with a reset.
async fn opens_and_closes(server: &TestServer, count: usize) -> String {
    for n in 0..count {
        let stream = TcpStream::connect(server.address).await.unwrap();
        if n % 2 == 0 {
            stream.set_zero_linger().unwrap();
        }
    }
    answered(&server.client().await.ask("GET", "/livez", &[], b"").await)
}

/// Sessions that end before they have begun.
async fn upgrades_and_goes(server: &TestServer, count: usize) -> String {
    for _ in 0..count {
        drop(Ws::open(server).await);
    }
    told(&mut Ws::welcomed(server, 1).await).await
}

/// The one who means well has a place; the others find none.
async fn fills_connections(server: &TestServer) -> String {
    let mut held = Vec::new();
    for _ in 0..19 {
        let socket = TcpSocket::new_v4().unwrap();
        held.push(socket.connect(server.address).await.unwrap());
    }
    let mut late = server.client().await;
    late.say(b"GET /livez HTTP/1.1\r\nhost: test\r\n\r\n").await;
    next_answer(&mut late).await
}

async fn fills_sessions(server: &TestServer) -> String {
    let mut held = Vec::new();
    for _ in 0..19 {
        held.push(Ws::welcomed(server, 1).await);
    }
    told_by_itself(&mut Ws::open(server).await).await
}

async fn fills_a_user(server: &TestServer) -> String {
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(Ws::welcomed(server, 1).await);
    }
    let mut late = Ws::open(server).await;
    late.hello(&server.token()).await;
    told_by_itself(&mut late).await
}

async fn asks_too_often(server: &TestServer) -> String {
    let mut client = server.client().await;
    for _ in 0..30 {
        client.ask("GET", "/livez", &[], b"").await;
    }
    answered(&client.ask("GET", "/livez", &[], b"").await)
}

/// A thousand requests in one write are answered one after the other.
async fn asks_in_a_row(server: &TestServer) -> String {
    let mut client = server.client().await;
    client.say(&b"GET /livez HTTP/1.1\r\nhost: test\r\n\r\n".repeat(1_000)).await;
    let mut last = String::new();
    for _ in 0..1_000 {
        last = next_answer(&mut client).await;
    }
    last
}

fn post(server: &TestServer, rest: &str) -> String {
    let token = server.token();
    let head = "POST /api/v1/brane HTTP/1.1\r\nhost: test\r\nauthorization: Bearer";
    format!("{head} {token}\r\n{rest}")
}

/// A body that does not end has all the memory of bodies.
async fn fills_bodies(server: &TestServer) -> String {
    let mut holder = server.client().await;
    let body = "content-length: 10000\r\n\r\n".to_owned() + &"x".repeat(9_999);
    holder.say(post(server, &body).as_bytes()).await;
    let mut client = server.client().await;
    let asking = async {
        loop {
            let answer = client.ask("POST", "/api/v1/brane", &[], b"\xa1\x64name\x61x").await;
            // Until then the server has not read what is held.
            if answer.status != 201 {
                return answered(&answer);
            }
        }
    };
    timeout(PATIENCE, asking).await.expect("bodies have no bound")
}

async fn sends_bytes_in_chunks(server: &TestServer) -> String {
    let chunks: String = "{\"name\": \"Hall\"}".chars().map(|c| format!("1\r\n{c}\r\n")).collect();
    let head = "content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut client = server.client().await;
    client.say(post(server, &format!("{head}{chunks}0\r\n\r\n")).as_bytes()).await;
    next_answer(&mut client).await
}

/// Two hold more than all may. The one with more of it goes.
async fn holds_too_much(server: &TestServer) -> String {
    let begun = |bytes: usize| {
        let mut message = frame(FIN | BINARY, &vec![0; bytes + 1]);
        message.pop();
        message
    };
    let mut most = Ws::welcomed(server, 1).await;
    most.raw(&begun(200_000)).await;
    let mut second = Ws::welcomed(server, 2).await;
    second.raw(&begun(150_000)).await;
    let told = told_by_itself(&mut most).await;
    // What it has begun ends, and is answered.
    second.raw(&[0]).await;
    assert_eq!(first_told(&mut second).await, "error malformed");
    told
}
