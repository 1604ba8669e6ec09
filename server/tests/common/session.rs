//! A WebSocket by hand: what it is closed with, byte by byte.

#![allow(clippy::unwrap_used, missing_docs)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use avvy_protocol::codec::encode_client;
use avvy_protocol::{ClientMessage, Hello};

use crate::common::Server;

const PATIENCE: Duration = Duration::from_secs(60);

/// A session, welcomed or not.
pub struct Session(TcpStream);

impl Session {
    pub fn open(server: &Server, token: &str) -> Self {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let upgrade = "GET /ws HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\n\
            upgrade: websocket\r\nsec-websocket-version: 13\r\n\
            sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(upgrade.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let token = Some(token.to_owned());
        let hello = Hello { min_version: 1, max_version: 1, token, agent: None };
        let hello = encode_client(&ClientMessage::Hello(hello));
        let length = u16::try_from(hello.len()).unwrap().to_be_bytes();
        // A binary message under a mask of zeros, which changes nothing.
        let head = [0x82, 0x80 | 126, length[0], length[1], 0, 0, 0, 0];
        stream.write_all(&[&head[..], &hello].concat()).unwrap();
        Self(stream)
    }

    pub fn frame(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).unwrap();
        let mut length = usize::from(head[1]);
        if length == 126 {
            let mut long = [0; 2];
            self.0.read_exact(&mut long).unwrap();
            length = u16::from_be_bytes(long).into();
        }
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).unwrap();
        (head[0] & 0x0f, payload)
    }

    /// The number with which it is closed.
    pub fn closed(&mut self) -> u16 {
        loop {
            if let (8, payload) = self.frame() {
                return u16::from_be_bytes([payload[0], payload[1]]);
            }
        }
    }
}
