//! Somebody who does not read, in a brane that goes to another node.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use avvy_client::net::{Brane, draw_client_id, draw_object_id};
use avvy_model::{
    BraneId, Code, Edit, Handle, Kind, Operation, PropKey, Props, Target, Transform, Value,
    ValueLimits,
};
use avvy_persistence::testing::mongod::fresh_database;
use avvy_protocol::{ClientMessage, Hello, Join, ServerMessage, codec};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::common::Server;
use crate::load::count;
use crate::{PATIENCE, all_durable, build, join, node_with};

/// A session that takes few bytes which it does not read.
struct Slow(TcpStream);

/// What it was told last.
#[derive(Debug, PartialEq)]
enum LastWord {
    Moved(String),
    Closed(u16),
    Nothing,
}

impl Slow {
    /// Joins, and reads nothing.
    async fn join(node: &Server, brane: BraneId) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let address: SocketAddr = node.address().parse().unwrap();
        let mut slow = Self(socket.connect(address).await.unwrap());
        let upgrade = "GET /ws HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\n\
            upgrade: websocket\r\nsec-websocket-version: 13\r\n\
            sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        slow.0.write_all(upgrade.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(slow.0.read_u8().await.unwrap());
        }
        let (token, agent) = (Some(node.token.clone()), None);
        let hello = Hello { min_version: 1, max_version: 1, token, agent };
        slow.say(&ClientMessage::Hello(hello)).await;
        let client = draw_client_id();
        let join = Join { brane, client, known: false, resume: None, area: None };
        slow.say(&ClientMessage::Join(join)).await;
        slow
    }

    async fn say(&mut self, message: &ClientMessage) {
        let payload = codec::encode_client(message);
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        // A binary message under a mask of zeros, which changes nothing.
        let head = [0x82, 0x80 | 126, length[0], length[1], 0, 0, 0, 0];
        self.0.write_all(&[&head[..], &payload].concat()).await.unwrap();
    }

    /// Reads to the end, or to where it says that the brane is elsewhere.
    async fn last_word(mut self) -> LastWord {
        while let Ok((code, payload)) = timeout(PATIENCE, self.frame()).await.expect("no end") {
            if code == 8 {
                return LastWord::Closed(u16::from_be_bytes([payload[0], payload[1]]));
            }
            if let Ok(ServerMessage::Left { code, address, .. }) = codec::decode_server(&payload) {
                assert_eq!(code, Some(Code::Moved));
                return LastWord::Moved(address.unwrap());
            }
        }
        LastWord::Nothing
    }

    async fn frame(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        let first = self.0.read_u8().await?;
        let length = match self.0.read_u8().await? {
            126 => u64::from(self.0.read_u16().await?),
            127 => self.0.read_u64().await?,
            length => u64::from(length),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.0.read_exact(&mut payload).await?;
        Ok((first & 0x0f, payload))
    }
}

/// An edit that is long to read.
fn long() -> Edit {
    let limits = ValueLimits::default();
    let text = (PropKey::new("text", &limits).unwrap(), Value::text(&"x".repeat(1_000)));
    Edit::One(Operation::Create {
        id: draw_object_id(),
        parent: Target::Handle(Handle::ROOT),
        kind: Kind::Block,
        transform: Transform::IDENTITY,
        props: Props::from_entries(vec![text], &limits).unwrap(),
    })
}

/// Has somebody build until the other one is behind.
async fn until_behind(node: &Server, brane: &Brane) {
    let behind = async {
        while !node.text("/metrics").contains("\navvy_lagging_sessions 1\n") {
            let mut edits = Vec::new();
            for _ in 0..100 {
                edits.push(brane.submit(long()).await.unwrap());
            }
            for edit in edits {
                edit.durable().await.unwrap();
            }
        }
    };
    timeout(PATIENCE, behind).await.unwrap();
}

/// A builder and somebody who is behind at the first of two nodes, which gives
/// its brane to the other; what the slow one hears at last, when it reads.
async fn hear_of_a_move(reads_at_once: bool, close_timeout_ms: &str) -> (LastWord, String) {
    let directory = tempfile::tempdir().unwrap();
    let database = fresh_database();
    let settings = [
        ("AVVY_FLEET_HAND_OVER_TIMEOUT_MS", "20000"),
        ("AVVY_SERVER_DRAIN_TIMEOUT_MS", "60000"),
        ("AVVY_SESSION_CLOSE_TIMEOUT_MS", close_timeout_ms),
        // Nobody is closed for being slow meanwhile.
        ("AVVY_SESSION_SLOW_SESSION_TIMEOUT_MS", "600000"),
        ("AVVY_SESSION_HEARTBEAT_MS", "600000"),
    ];
    let start = |name: &str| node_with(directory.path(), name, &database, 100, &settings);
    let (one, two) = (start("one"), start("two"));
    let brane = one.demo_brane.parse().unwrap();
    let mut slow = Some(Slow::join(&one, brane).await);
    let world = join(brane, &one, &two).await;
    until_behind(&one, &world).await;
    let before = count(&one, brane).unwrap();
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let builder = tokio::spawn(build(world, stopping));
    let ended = tokio::task::spawn_blocking(move || one.drain());
    let moved = async {
        while count(&two, brane).is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, moved).await.unwrap();
    // Who has heard it goes away; else the server has ended before.
    let early = if reads_at_once { Some(slow.take().unwrap().last_word().await) } else { None };
    assert_eq!(timeout(2 * PATIENCE, ended).await.unwrap().unwrap().code(), Some(0));
    let heard = match (early, slow) {
        (Some(heard), _) => heard,
        (None, slow) => slow.unwrap().last_word().await,
    };
    stop.send(true).unwrap();
    let (_open, edits, longest) = timeout(PATIENCE, builder).await.unwrap().unwrap();
    let (mut seen, made) = (BTreeSet::new(), edits.len());
    all_durable(edits, &mut seen).await;
    assert_eq!(count(&two, brane), Ok(before + made), "each edit once");
    eprintln!("the slow one heard {heard:?}; the other waited {longest:?} at most");
    (heard, two.url.clone())
}

/// The rest of what was not read goes with the server: there is no last word.
#[tokio::test(flavor = "multi_thread")]
async fn who_never_reads_holds_nobody_up() {
    let (heard, _) = hear_of_a_move(false, "1000").await;
    assert!(matches!(heard, LastWord::Nothing | LastWord::Closed(_)), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_again_hears_where_the_brane_went() {
    let (heard, other) = hear_of_a_move(true, "60000").await;
    assert_eq!(heard, LastWord::Moved(other));
}
