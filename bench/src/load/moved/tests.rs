#![allow(clippy::unwrap_used)]
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use avvy_model::{BraneId, Code, Epoch, Position, Role, Seq, TraceId, UserId};
use avvy_protocol::codec::encode_server;
use avvy_protocol::frame::Frame;
use avvy_protocol::{CatchUp, Channel, ErrorMessage, Joined, ServerMessage, Welcome};
use uuid::Uuid;

use super::super::Crowd;
use crate::draw::Draw;

const PATIENCE: Duration = Duration::from_secs(60);

fn brane() -> BraneId {
    BraneId::new(Uuid::from_u128(1))
}

/// The server's side of one connection.
struct Peer(TcpStream);

impl Peer {
    /// Lets one in, up to its join.
    fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut peer = Self(stream);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            peer.0.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        assert!(String::from_utf8(head).unwrap().contains("Authorization: Bearer token"));
        let upgrade = "HTTP/1.1 101 Switching Protocols\r\n\
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        peer.0.write_all(upgrade.as_bytes()).unwrap();
        peer.hear();
        peer.say(&ServerMessage::Welcome(Welcome {
            version: 1,
            session: TraceId::from_bytes([1; 16]),
            user: UserId::new(Uuid::from_u128(2)),
            heartbeat_ms: 30_000,
            max_message_bytes: 1 << 20,
            max_edits_in_flight: 100,
            max_channels: 1,
            expires: 1 << 40,
            ms: 0,
        }));
        peer.hear();
        peer
    }

    /// Passes over one message.
    fn hear(&mut self) {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).unwrap();
        let more = match head[1] & 0x7f {
            126 => {
                let mut length = [0; 2];
                self.0.read_exact(&mut length).unwrap();
                usize::from(u16::from_be_bytes(length))
            }
            length => usize::from(length),
        };
        // With the mask.
        self.0.read_exact(&mut vec![0; 4 + more]).unwrap();
    }

    fn say(&mut self, message: &ServerMessage) {
        let frame = Frame::binary(&encode_server(message, 0));
        self.0.write_all(frame.as_wire()).unwrap();
    }

    fn say_moved(&mut self, to: &str) {
        self.say(&ServerMessage::Error(ErrorMessage {
            code: Code::Moved,
            message: "elsewhere".to_owned(),
            details: None,
            trace: TraceId::from_bytes([1; 16]),
            retry_after_ms: Some(50),
            operation: Some("brane.join".to_owned()),
            channel: None,
            address: Some(to.to_owned()),
        }));
    }

    fn say_joined(&mut self, epoch: u64) {
        let head = Position { epoch: Epoch(epoch), seq: Seq(0) };
        self.say(&ServerMessage::Joined(Joined {
            channel: Channel(1),
            brane: brane(),
            role: Role::Builder.into(),
            head,
            durable: Seq(0),
            catch_up: CatchUp::Replay,
            scope: None,
            client_memory_s: 60,
        }));
    }

    fn say_left(&mut self, to: &str) {
        let (code, address) = (Some(Code::Moved), Some(to.to_owned()));
        self.say(&ServerMessage::Left { channel: Channel(1), code, address });
    }
}

fn node() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    (listener, address)
}

/// One session, and the node that it came to first, which acts.
fn crowd_at(
    first: TcpListener,
    act: impl FnOnce(&TcpListener) + Send + 'static,
) -> (Crowd, JoinHandle<()>) {
    let server = first.local_addr().unwrap();
    let acting = thread::spawn(move || act(&first));
    let mut crowd = Crowd::new(brane(), Draw::new(1)).unwrap();
    crowd.join(server, &["token".to_owned()]).unwrap();
    (crowd, acting)
}

#[test]
fn goes_where_a_join_is_sent() {
    let ((first, _), (second, second_url)) = (node(), node());
    let acting = thread::spawn(move || {
        let mut peer = Peer::accept(&second);
        peer.say_joined(1);
        peer
    });
    let (mut crowd, sent) =
        crowd_at(first, move |first| Peer::accept(first).say_moved(&second_url));
    crowd.check_live().unwrap();
    assert_eq!(crowd.tally().moved, 1);
    sent.join().unwrap();
    acting.join().unwrap();
}

#[test]
fn follows_a_brane_that_moves_while_it_is_joined() {
    let ((first, _), (second, second_url)) = (node(), node());
    let (mut crowd, sent) = crowd_at(first, move |first| {
        let mut peer = Peer::accept(first);
        peer.say_joined(1);
        peer.say_left(&second_url);
        // Until it goes.
        assert_eq!(peer.0.read(&mut [0]).unwrap(), 0);
    });
    let acting = thread::spawn(move || {
        let mut peer = Peer::accept(&second);
        peer.say_joined(2);
        peer
    });
    let deadline = Instant::now() + PATIENCE;
    while crowd.tally().moved == 0 || crowd.check_live().is_err() {
        assert!(Instant::now() < deadline, "it does not follow");
        crowd.listen(Duration::from_millis(5)).unwrap();
    }
    assert_eq!(crowd.tally().moved, 1);
    sent.join().unwrap();
    acting.join().unwrap();
}

#[test]
fn goes_back_if_nobody_is_there() {
    let ((first, _), (nobody, nobody_url)) = (node(), node());
    drop(nobody);
    let (mut crowd, acting) = crowd_at(first, move |first| {
        Peer::accept(first).say_moved(&nobody_url);
        let mut peer = Peer::accept(first);
        peer.say_joined(1);
        // Until the test is over.
        let _ = peer.0.read(&mut [0]);
    });
    crowd.check_live().unwrap();
    assert_eq!(crowd.tally().moved, 1);
    drop(crowd);
    acting.join().unwrap();
}

#[test]
fn is_not_sent_about_without_end() {
    let (first, first_url) = node();
    let server = first.local_addr().unwrap();
    let acting = thread::spawn(move || {
        for _ in 0..=super::MAX_HOPS {
            Peer::accept(&first).say_moved(&first_url);
        }
    });
    let mut crowd = Crowd::new(brane(), Draw::new(1)).unwrap();
    let lost = crowd.join(server, &["token".to_owned()]).unwrap_err();
    assert!(format!("{lost:#}").contains("sent about"), "{lost:#}");
    acting.join().unwrap();
}
