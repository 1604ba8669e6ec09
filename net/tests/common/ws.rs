//! A WebSocket that a test can also use wrongly: frames go out as they are
//! told, what comes in is read frame by frame.

use avvy_model::{
    BraneId, ClientId, Code, Counter, DeleteMode, Edit, Handle, Kind, NumberedEdit, ObjectId,
    Operation, Props, Role, Target, Transform, UserId,
};
use avvy_protocol::close::CloseCode;
use avvy_protocol::{
    Channel, ClientMessage, ErrorMessage, Hello, Join, ServerMessage, Update, codec,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use uuid::Uuid;

use super::{PATIENCE, TestServer};

pub const FIN: u8 = 0x80;
pub const CONTINUE: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;

/// One WebSocket.
pub struct Ws {
    stream: TcpStream,
}

/// What the server said.
#[derive(Debug)]
pub enum Heard {
    Message(ServerMessage),
    Pong,
    Closed(u16),
    /// The connection ended without a close frame, or after one.
    End,
    /// It was reset: what the server said last may be lost.
    Reset,
}

impl Ws {
    /// An upgraded connection that has said nothing.
    pub async fn open(server: &TestServer) -> Self {
        Self::upgrade(server, TcpSocket::new_v4().unwrap()).await
    }

    /// One that takes few bytes that it does not read.
    pub async fn narrow(server: &TestServer) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        Self::upgrade(server, socket).await
    }

    async fn upgrade(server: &TestServer, socket: TcpSocket) -> Self {
        let mut stream = socket.connect(server.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let request = "GET /ws HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\n\
            upgrade: websocket\r\nsec-websocket-version: 13\r\n\
            sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        Self { stream }
    }

    /// One that was welcomed as this user.
    pub async fn welcomed(server: &TestServer, user: u128) -> Self {
        let mut ws = Self::open(server).await;
        ws.greet(&server.token_for(user, Role::Owner, 1_000)).await;
        ws
    }

    pub async fn greet(&mut self, token: &str) {
        self.hello(token).await;
        self.until(|m| matches!(m, ServerMessage::Welcome(_))).await;
    }

    pub async fn hello(&mut self, token: &str) {
        let token = Some(token.to_owned());
        self.say(&ClientMessage::Hello(Hello {
            min_version: 1,
            max_version: 1,
            token,
            agent: None,
        }))
        .await;
    }

    pub async fn join(&mut self, brane: BraneId, client: u128) -> Channel {
        self.ask_to_join(brane, client).await;
        match self.until(|m| matches!(m, ServerMessage::Joined(_) | ServerMessage::Error(_))).await
        {
            ServerMessage::Joined(joined) => joined.channel,
            other => panic!("{other:?}"),
        }
    }

    pub async fn ask_to_join(&mut self, brane: BraneId, client: u128) {
        let client = ClientId::new(version_4(client));
        self.say(&ClientMessage::Join(Join {
            brane,
            client,
            known: false,
            resume: None,
            area: None,
        }))
        .await;
    }

    /// An edit that is refused, for there is no such object.
    pub async fn edit(&mut self, channel: Channel, counter: u64) {
        let target = Target::Handle(Handle(99));
        self.update(channel, counter, Operation::Delete { target, mode: DeleteMode::Subtree })
            .await;
    }

    /// An edit that makes a group.
    pub async fn group(&mut self, channel: Channel, counter: u64) {
        let operation = Operation::Create {
            id: ObjectId::new(Uuid::new_v4()),
            parent: Target::Handle(Handle::ROOT),
            kind: Kind::Group,
            transform: Transform::IDENTITY,
            props: Props::default(),
        };
        self.update(channel, counter, operation).await;
    }

    /// One operation.
    pub async fn update(&mut self, channel: Channel, counter: u64, operation: Operation) {
        self.submit(channel, counter, Edit::One(operation)).await;
    }

    /// One edit.
    pub async fn submit(&mut self, channel: Channel, counter: u64, edit: Edit) {
        let edit = NumberedEdit { counter: Counter(counter), edit };
        self.say(&ClientMessage::Update(Update { channel, trace: None, edits: vec![edit] })).await;
    }

    pub async fn say(&mut self, message: &ClientMessage) {
        self.frame(FIN | BINARY, &codec::encode_client(message)).await;
    }

    /// A masked frame. Whether the server still reads it does not matter.
    pub async fn frame(&mut self, head: u8, payload: &[u8]) {
        self.raw(&frame(head, payload)).await;
    }

    /// Writes bytes; whether they were taken.
    pub async fn raw(&mut self, bytes: &[u8]) -> bool {
        timeout(PATIENCE, self.stream.write_all(bytes)).await.unwrap().is_ok()
    }

    /// Says that nothing more will come.
    pub async fn shut_down(&mut self) {
        // It may have been closed already.
        let _ = self.stream.shutdown().await;
    }

    /// Writes as much as the connection takes at once; how much that was.
    pub fn try_raw(&mut self, bytes: &[u8]) -> usize {
        self.stream.try_write(bytes).unwrap_or(0)
    }

    pub async fn hear(&mut self) -> Heard {
        timeout(PATIENCE, self.read()).await.expect("the server says something")
    }

    /// The first message of this kind. Others before it are passed over.
    pub async fn until(&mut self, wanted: impl Fn(&ServerMessage) -> bool) -> ServerMessage {
        loop {
            match self.hear().await {
                Heard::Message(message) if wanted(&message) => return message,
                Heard::Message(_) | Heard::Pong => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The code for which the edit sent last is refused, if it is.
    pub async fn refusal(&mut self) -> Option<Code> {
        let is_outcome = |m: &ServerMessage| {
            matches!(m, ServerMessage::Applied { .. } | ServerMessage::Refused { .. })
        };
        match self.until(is_outcome).await {
            ServerMessage::Refused { edits, .. } => Some(edits[0].code),
            _ => None,
        }
    }

    pub async fn error(&mut self) -> ErrorMessage {
        let ServerMessage::Error(error) =
            self.until(|m| matches!(m, ServerMessage::Error(_))).await
        else {
            unreachable!()
        };
        error
    }

    pub async fn refused(&mut self) -> Code {
        let ServerMessage::Refused { edits, .. } =
            self.until(|m| matches!(m, ServerMessage::Refused { .. })).await
        else {
            unreachable!()
        };
        edits[0].code
    }

    /// Reads until the close frame, and that the connection ends after it in order.
    pub async fn closed(&mut self) -> Option<CloseCode> {
        loop {
            match self.hear().await {
                Heard::Message(_) | Heard::Pong => {}
                Heard::Closed(number) => {
                    let after = self.hear().await;
                    assert!(matches!(after, Heard::End), "after the close frame: {after:?}");
                    return CloseCode::from_number(number);
                }
                Heard::End | Heard::Reset => return None,
            }
        }
    }

    async fn read(&mut self) -> Heard {
        match self.read_frame().await {
            Ok((opcode, payload)) => match opcode {
                BINARY => Heard::Message(codec::decode_server(&payload).unwrap()),
                // 1005 stands for none (RFC 6455, section 7.1.5).
                CLOSE => {
                    Heard::Closed(payload.first_chunk().map_or(1_005, |n| u16::from_be_bytes(*n)))
                }
                _ => Heard::Pong,
            },
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Heard::End,
            Err(_) => Heard::Reset,
        }
    }

    async fn read_frame(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        let [head, length] = self.stream.read_u16().await?.to_be_bytes();
        assert_eq!(head & FIN, FIN, "the server does not fragment");
        let length = match length {
            126 => u64::from(self.stream.read_u16().await?),
            127 => self.stream.read_u64().await?,
            short => u64::from(short),
        };
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload).await?;
        Ok((head & 0x0f, payload))
    }
}

/// A masked frame.
pub fn frame(head: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head_of(head, payload.len() as u64);
    // A mask of zeros changes nothing, and is a mask.
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// The beginning of a masked frame that says to be so long.
pub fn head_of(head: u8, length: u64) -> Vec<u8> {
    let mut frame = vec![head];
    match length {
        0..=125 => frame.push(0x80 | length as u8),
        126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend(length.to_be_bytes());
        }
    }
    frame
}

pub fn version_4(n: u128) -> Uuid {
    Uuid::from_u128(0x0000_0000_0000_4000_8000_0000_0000_0000 | n)
}

pub fn user(n: u128) -> UserId {
    UserId::new(version_4(n))
}
