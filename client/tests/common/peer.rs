//! The server's end of a connection, which says what a test has it say.
#![allow(clippy::unwrap_used, dead_code, missing_docs)]

use std::time::Duration;

use avvy_model::{
    BraneId, Counter, Epoch, Handle, Kind, Object, ObjectAt, ObjectId, Position, Props, Role, Seq,
    TraceId, Transform, UserId,
};
use avvy_protocol::codec::{DecodeLimits, decode_client, encode_server};
use avvy_protocol::{
    CatchUp, Channel, ClientMessage, Joined, ServerMessage, SnapshotPart, VERSION, Welcome,
};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

pub const PATIENCE: Duration = Duration::from_secs(30);
pub const BRANE: BraneId = BraneId::from_bytes([5; 16]);
const USER: UserId = UserId::from_bytes([7; 16]);

/// The server's end of one connection.
pub struct Peer<S = TcpStream>(pub WebSocketStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub async fn say(&mut self, message: ServerMessage) {
        let bytes = encode_server(&message, 1_000);
        self.0.send(Message::Binary(bytes.into())).await.unwrap();
    }

    /// The next message.
    pub async fn hear(&mut self) -> ClientMessage {
        let message = timeout(PATIENCE, self.0.next()).await.unwrap().unwrap().unwrap();
        decode_client(&message.into_data(), &DecodeLimits::default()).unwrap()
    }

    pub async fn welcome(&mut self) {
        assert!(matches!(self.hear().await, ClientMessage::Hello(_)));
        self.say(ServerMessage::Welcome(Welcome {
            version: VERSION,
            session: TraceId::from_bytes([1; 16]),
            user: USER,
            heartbeat_ms: 600_000,
            max_message_bytes: 1_000_000,
            max_edits_in_flight: 100,
            max_channels: 4,
            expires: 4_000_000_000,
            ms: 1_000_000,
        }))
        .await;
    }

    /// Lets the client in, with a world of the root alone.
    pub async fn let_in(&mut self, channel: Channel, epoch: u64) {
        let brane = match self.hear().await {
            ClientMessage::Join(join) => join.brane,
            other => panic!("a join is due, not {other:?}"),
        };
        let at = Position { epoch: Epoch(epoch), seq: Seq(0) };
        let joined = Joined {
            channel,
            brane,
            role: Role::Owner.into(),
            head: at,
            durable: Seq(0),
            catch_up: CatchUp::Snapshot,
            scope: None,
            client_memory_s: 60,
        };
        self.say(ServerMessage::Joined(joined)).await;
        let object = Object {
            id: ObjectId::from_bytes(brane.to_bytes()),
            parent: Handle::ROOT,
            kind: Kind::Group,
            owner: USER,
            transform: Transform::IDENTITY,
            props: Props::default(),
        };
        let objects = vec![ObjectAt { handle: Handle::ROOT, object }];
        let part = SnapshotPart { channel, at, index: 0, last: true, objects, gone: Vec::new() };
        self.say(ServerMessage::Snapshot(part)).await;
    }

    /// The next edit: on which channel, and its number.
    pub async fn edited(&mut self) -> (Channel, Counter) {
        match self.hear().await {
            ClientMessage::Update(update) => (update.channel, update.edits[0].counter),
            other => panic!("an edit is due, not {other:?}"),
        }
    }

    pub async fn asked_for_hash(&mut self, of: Channel) {
        let asked = self.hear().await;
        assert!(matches!(asked, ClientMessage::Hash { channel } if channel == of), "{asked:?}");
    }

    pub async fn tell_hash(&mut self, channel: Channel, epoch: u64, hash: u8) {
        let at = Position { epoch: Epoch(epoch), seq: Seq(0) };
        self.say(ServerMessage::Hash { channel, at, hash: [hash; 16] }).await;
    }
}
