//! The network side: HTTP and WebSocket on one port, with TLS when there is a
//! certificate.
//!
//! [`serve`] accepts connections until it is told to stop. Requests become
//! calls of [`avvy_actors::System`], WebSockets become its sessions; no rule
//! of the world is made here, and no state of it is held. Everything that
//! comes in has a bound in bytes, number or time, and everything that is
//! refused gets a typed answer (`docs/API.md`) or a numbered close
//! (`protocol/PROTOCOL.md`).

mod addresses;
mod config;
mod connection;
mod fragments;
mod http_stream;
mod listener;
mod people;
mod rest;
mod socket;
mod time;
pub mod tls;
mod websocket;

use std::sync::Arc;

use avvy_actors::System;
use avvy_catalog::Catalog;
use avvy_identity::Identity;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::warn;

pub use avvy_identity::repeats::RepeatLimits;
pub use config::{NetConfig, REPEAT_GRACE_S};
pub use people::SystemRevocations;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use rest::fuzzing;
pub use socket::OutboxLimits;

/// What requests are answered from. Cloning shares it.
#[derive(Clone)]
pub struct Services {
    /// Branes and sessions.
    pub system: System,
    /// People.
    pub identity: Identity,
    /// Things.
    pub catalog: Catalog,
}

/// Serves HTTP and WebSocket on a listener until `stop` turns true or its
/// sender is gone.
///
/// From then on no connection is accepted and `/readyz` fails; it returns when
/// the requests under way have been answered, at the latest after
/// [`NetConfig::request_timeout`]. WebSocket sessions go on: it is
/// [`System::drain`] that closes them, to be called afterwards.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    services: Services,
    config: NetConfig,
    stop: watch::Receiver<bool>,
) {
    let config = Arc::new(config);
    let app = rest::App::new(services, Arc::clone(&config), stop.clone());
    let edge = Arc::new(rest::edge(app.clone()));
    let door = listener::Door::new(tls, Arc::clone(&config), app.clone());
    listener::accept(listener, edge, door, stop).await;
    if timeout(config.request_timeout, app.answered()).await.is_err() {
        warn!("requests were still under way when the server stopped");
    }
}
