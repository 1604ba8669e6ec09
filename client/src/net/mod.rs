//! The machine over a real WebSocket: one task per client, with a connection
//! to each node of a fleet that serves a brane of it.
//!
//! ```no_run
//! # use avvy_client::net::{Client, ClientOptions};
//! # async fn example(brane: avvy_model::BraneId, edit: avvy_model::Edit) -> anyhow_like::Result {
//! let client = Client::connect("ws://127.0.0.1:8080/ws", "token", ClientOptions::default()).await?;
//! let world = client.join(brane).await?;
//! let outcome = world.submit(edit).await?;
//! let place = outcome.durable().await?;
//! # let _ = place; Ok(()) }
//! # mod anyhow_like { pub type Result = std::result::Result<(), Box<dyn std::error::Error>>; }
//! ```

mod client;
mod links;
mod route;
pub(crate) mod session;
mod task;
mod transport;

use std::sync::Arc;

use avvy_model::ClientId;

pub use client::{Brane, Client, ClientError, EditError, HashCheck, Pending, WorldChange};
pub use transport::{ConnectError, Ended};

use crate::machine::MachineOptions;

/// How a client connects.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The protocol's side.
    pub machine: MachineOptions,
    /// How long a connection may take to be made, in milliseconds. Default 10,000.
    pub connect_timeout_ms: u64,
    /// How long the farewell may take, in milliseconds. Default 1,000.
    pub close_timeout_ms: u64,
    /// The pause before the first attempt to connect again is up to this, and
    /// doubles from there, in milliseconds. Default 250.
    pub reconnect_first_ms: u64,
    /// The longest pause between two attempts, in milliseconds. Default 15,000.
    pub reconnect_max_ms: u64,
    /// Bytes of the largest message that is read. Beyond, the connection is
    /// made anew. Default 16 MiB.
    pub max_message_bytes: usize,
    /// Changes that a subscriber may be behind before it is dropped.
    /// Default 1,024.
    pub subscriber_backlog: usize,
    /// Other nodes of the server's fleet, for when the first cannot be
    /// reached. Nodes that the server names are learned.
    pub other_addresses: Vec<String>,
    /// For `wss` addresses: whom to trust.
    pub tls: Option<Arc<tokio_rustls::rustls::ClientConfig>>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            machine: MachineOptions::default(),
            connect_timeout_ms: 10_000,
            close_timeout_ms: 1_000,
            reconnect_first_ms: 250,
            reconnect_max_ms: 15_000,
            max_message_bytes: 16 * 1024 * 1024,
            subscriber_backlog: 1_024,
            other_addresses: Vec::new(),
            tls: None,
        }
    }
}

/// A client id that nobody else has.
pub fn draw_client_id() -> ClientId {
    ClientId::new(uuid::Builder::from_random_bytes(rand::random()).into_uuid())
}

/// An object id that nobody else has.
pub fn draw_object_id() -> avvy_model::ObjectId {
    avvy_model::ObjectId::new(uuid::Builder::from_random_bytes(rand::random()).into_uuid())
}
