//! Accepts connections and serves HTTP on them, until told to stop.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use avvy_actors::Limit;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use crate::addresses::Address;
use crate::config::NetConfig;
use crate::connection::Transport;
use crate::http_stream::{HttpStream, Place};
use crate::rest::{App, Edge};
use crate::time::monotonic_ms;

/// How long to wait before accepting again when the process is out of file
/// descriptors or the like.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who is let in, and how.
#[derive(Clone)]
pub(crate) struct Door {
    tls: Option<TlsAcceptor>,
    config: Arc<NetConfig>,
    app: App,
    places: Arc<Semaphore>,
}

impl Door {
    pub(crate) fn new(tls: Option<TlsAcceptor>, config: Arc<NetConfig>, app: App) -> Self {
        let places = Arc::new(Semaphore::new(config.max_connections));
        Self { tls, config, app, places }
    }

    /// A place for a connection.
    ///
    /// # Errors
    /// The bound that it is beyond.
    fn admit(&self, peer: SocketAddr) -> Result<(Place, Arc<Address>), Limit> {
        let now_ms = monotonic_ms();
        let address = self.app.addresses.of(peer.ip(), now_ms);
        let of_address = address.connect(now_ms)?;
        let of_all = Arc::clone(&self.places).try_acquire_owned();
        let of_all = of_all.map_err(|_| Limit::Connections)?;
        Ok((Place::new(of_all, of_address), address))
    }
}

/// Accepts until `stop` turns true.
pub(crate) async fn accept(
    listener: TcpListener,
    edge: Arc<Edge>,
    door: Door,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (place, address) = match door.admit(from) {
            Ok(admitted) => admitted,
            // It is dropped unanswered: an answer would need a place, too.
            Err(limit) => {
                door.app.met(limit);
                debug!(peer = %from, limit = limit.setting(), "a connection was not let in");
                continue;
            }
        };
        let (edge, door) = (Arc::clone(&edge), door.clone());
        tokio::spawn(async move {
            if let Err(error) = serve(stream, address, place, edge, &door).await {
                debug!(peer = %from, %error, "connection ended");
            }
        });
    }
}

async fn serve(
    stream: TcpStream,
    address: Arc<Address>,
    place: Place,
    edge: Arc<Edge>,
    Door { tls, config, .. }: &Door,
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
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (edge, address) = (Arc::clone(&edge), Arc::clone(&address));
        async move { Ok::<_, Infallible>(edge.answer(address, request.map(Body::new)).await) }
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
