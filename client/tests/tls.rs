//! A client that came by TLS stays with it.

#![cfg(feature = "net")]
#![allow(clippy::unwrap_used)]

#[path = "common/peer.rs"]
mod peer;

use std::sync::Arc;

use avvy_client::net::{Client, ClientError, ClientOptions, WorldChange};
use avvy_model::{Code, TraceId};
use avvy_protocol::{Channel, ClientMessage, ErrorMessage, ServerMessage};
use futures_util::StreamExt;
use peer::{BRANE, PATIENCE, Peer};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::accept_async;

/// Servers with one certificate, and clients that trust it.
struct Trust {
    acceptor: TlsAcceptor,
    options: ClientOptions,
}

impl Trust {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
        let provider = Arc::new(ring::default_provider());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let options = ClientOptions { tls: Some(Arc::new(client)), ..ClientOptions::default() };
        Self { acceptor: TlsAcceptor::from(Arc::new(server)), options }
    }

    async fn accept(&self, listener: &TcpListener) -> Peer<TlsStream<TcpStream>> {
        let (stream, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
        let stream = self.acceptor.accept(stream).await.unwrap();
        Peer(accept_async(stream).await.unwrap())
    }

    async fn connect(&self, port: u16) -> Client {
        let url = format!("wss://localhost:{port}/ws");
        let connecting = Client::connect(&url, "token", self.options.clone());
        timeout(PATIENCE, connecting).await.unwrap().unwrap()
    }
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn moved(address: &str) -> ServerMessage {
    ServerMessage::Error(ErrorMessage {
        code: Code::Moved,
        message: String::new(),
        details: None,
        trace: TraceId::from_bytes([1; 16]),
        retry_after_ms: None,
        operation: Some("brane.join".to_owned()),
        channel: None,
        address: Some(address.to_owned()),
    })
}

/// Nobody has knocked here.
fn nobody_came(listener: TcpListener) {
    let listener = listener.into_std().unwrap();
    let error = listener.accept().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn a_join_is_not_followed_to_where_others_can_read() {
    let trust = Trust::new();
    let ((node, port), (plain, plain_port)) = (listener().await, listener().await);
    let address = format!("http://localhost:{plain_port}");
    let told = address.clone();
    let served = async {
        let mut peer = trust.accept(&node).await;
        peer.welcome().await;
        assert!(matches!(peer.hear().await, ClientMessage::Join(_)));
        peer.say(moved(&told)).await;
        // Until the client is gone.
        while let Some(Ok(_)) = peer.0.next().await {}
    };
    let asked = async {
        let client = trust.connect(port).await;
        let refused = timeout(PATIENCE, client.join(BRANE)).await.unwrap().unwrap_err();
        client.close().await;
        refused
    };
    let ((), refused) = tokio::join!(served, asked);
    assert!(matches!(&refused, ClientError::Downgrade(to) if *to == address), "{refused}");
    nobody_came(plain);
}

#[tokio::test]
async fn a_brane_is_followed_by_tls_and_no_further_without() {
    let trust = Trust::new();
    let ((one, port), (two, second_port), (plain, plain_port)) =
        (listener().await, listener().await, listener().await);
    let served = async {
        let mut peer = trust.accept(&one).await;
        peer.welcome().await;
        peer.hear().await;
        peer.say(moved(&format!("https://localhost:{second_port}"))).await;
        let mut peer = trust.accept(&two).await;
        peer.welcome().await;
        peer.let_in(Channel(3), 1).await;
        // The client follows the news by now.
        peer.asked_for_hash(Channel(3)).await;
        let address = Some(format!("ws://localhost:{plain_port}/ws"));
        let code = Some(Code::Moved);
        peer.say(ServerMessage::Left { channel: Channel(3), code, address }).await;
        while let Some(Ok(_)) = peer.0.next().await {}
    };
    let followed = async {
        let client = trust.connect(port).await;
        let brane = timeout(PATIENCE, client.join(BRANE)).await.unwrap().unwrap();
        let mut news = brane.subscribe().await.unwrap();
        assert!(timeout(PATIENCE, brane.check()).await.unwrap().is_err());
        let mut told = Vec::new();
        while let Some(change) = timeout(PATIENCE, news.recv()).await.unwrap() {
            told.push(change);
        }
        client.close().await;
        told
    };
    let ((), told) = tokio::join!(served, followed);
    let [.., WorldChange::Downgrade { address }, WorldChange::Closed { code }] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(*address, format!("ws://localhost:{plain_port}/ws"));
    assert_eq!(*code, Some(Code::Moved));
    nobody_came(plain);
}
