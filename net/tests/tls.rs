//! TLS, with a certificate made for the test.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use avvy_net::{NetConfig, tls};
use avvy_protocol::close::CloseCode;
use avvy_protocol::frame::Frame;
use common::ws::{BINARY, FIN, head_of};
use common::{PATIENCE, TestServer};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// A server's side and a client's side that trust each other.
fn pair() -> (TlsAcceptor, TlsConnector) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let acceptor = tls::acceptor(&certificate, &key).unwrap();
    assert!(tls::acceptor(&key, &certificate).is_err());
    assert!(tls::acceptor(&folder.path().join("none"), &key).is_err());

    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (acceptor, TlsConnector::from(Arc::new(config)))
}

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n\
    upgrade: websocket\r\nsec-websocket-version: 13\r\n\
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[tokio::test]
async fn the_last_word_arrives_although_more_was_sent() {
    let (acceptor, connector) = pair();
    let server = TestServer::over(NetConfig::default(), Some(acceptor)).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = connector.connect(name, stream).await.unwrap();
    stream.write_all(UPGRADE.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
    }
    stream.write_all(&head_of(FIN | BINARY, 1 << 40)).await.unwrap();
    stream.write_all(&[0; 256 * 1024]).await.unwrap();
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap().unwrap();
    let last = Frame::close(CloseCode::TooLarge, CloseCode::TooLarge.name());
    assert_eq!(rest, last.as_wire()[..]);
    drop(stream);
    server.end().await;
}

#[tokio::test]
async fn serves_http_and_upgrades_over_tls() {
    let (acceptor, connector) = pair();
    let server = TestServer::over(NetConfig::default(), Some(acceptor)).await;
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
        sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let requests =
        [("/livez", "connection: close\r\n", "HTTP/1.1 200 "), ("/ws", upgrade, "HTTP/1.1 101 ")];
    for (path, headers, status) in requests {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = connector.connect(name, stream).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = [0; 13];
        timeout(PATIENCE, stream.read_exact(&mut answer)).await.unwrap().unwrap();
        assert_eq!(std::str::from_utf8(&answer).unwrap(), status);
    }
    server.end().await;
}
