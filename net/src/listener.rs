//! Accepts connections and serves HTTP on them, until told to stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::config::NetConfig;
use crate::connection::Transport;
use crate::http_stream::{HttpStream, Place};

/// How long to wait before accepting again when the process is out of file
/// descriptors or the like.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts until `stop` turns true.
pub(crate) async fn accept(
    listener: TcpListener,
    router: Router,
    tls: Option<TlsAcceptor>,
    config: Arc<NetConfig>,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(config.max_connections));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Above the bound a connection is dropped unanswered: an answer would
        // need a place, too.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            debug!(%peer, "too many connections");
            continue;
        };
        let (router, tls, config) = (router.clone(), tls.clone(), Arc::clone(&config));
        tokio::spawn(async move {
            let place = Place::new(place);
            if let Err(error) = serve(stream, peer, place, router, tls, &config).await {
                debug!(%peer, %error, "connection ended");
            }
        });
    }
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
    router: Router,
    tls: Option<TlsAcceptor>,
    config: &NetConfig,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let transport = match tls {
        None => Transport::Plain(stream),
        Some(tls) => {
            let handshake = timeout(config.tls_handshake_timeout, tls.accept(stream));
            Transport::Tls(Box::new(handshake.await.map_err(|_| io::ErrorKind::TimedOut)??))
        }
    };
    // An upgrade takes it over, and the place with it.
    let stream = HttpStream::new(transport, place, config.write_timeout);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        router.clone().oneshot(request.map(Body::new))
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(config.header_read_timeout)
        .max_buf_size(config.max_header_bytes)
        .max_headers(config.max_headers)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await
        .map_err(io::Error::other)
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub SocketAddr);
