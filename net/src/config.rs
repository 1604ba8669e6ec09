//! Options of the network side. `config.toml` documents them for operators.

use std::time::Duration;

use avvy_identity::repeats::RepeatLimits;

use crate::socket::OutboxLimits;

/// How long a request with an `Idempotency-Key` goes on after its client was
/// answered that it took too long, in seconds.
pub const REPEAT_GRACE_S: u64 = 30;

/// Everything `net` can be told.
#[derive(Clone)]
pub struct NetConfig {
    /// Open connections, HTTP and WebSocket together; more are dropped.
    pub max_connections: usize,
    /// The same of one address.
    pub max_connections_per_address: usize,
    /// New connections a second from one address in the long run; more are
    /// dropped.
    pub connections_per_second: u32,
    /// New connections that may come from it at once.
    pub connections_burst: u32,
    /// The longest that a request's head may take to come.
    pub header_read_timeout: Duration,
    /// The longest that the peer of a request may take none of the answer.
    pub write_timeout: Duration,
    /// The longest that a TLS handshake may take.
    pub tls_handshake_timeout: Duration,
    /// Bytes of a request head, at least 8192.
    pub max_header_bytes: usize,
    /// Headers of a request.
    pub max_headers: usize,
    /// Bytes of a request body.
    pub max_body_bytes: usize,
    /// Bytes of all request bodies that are being read or served at once;
    /// beyond, a request is answered `unavailable`.
    pub max_bodies_bytes: usize,
    /// Items on one page of a list.
    pub max_page_items: u32,
    /// Pages of objects that are being made or sent at once, each of about
    /// a megabyte at most. Beyond, a request waits for one to be taken.
    pub max_pages: usize,
    /// The same of one address; beyond, a request is refused.
    pub max_pages_per_address: usize,
    /// The longest that a request may take.
    pub request_timeout: Duration,
    /// The longest that the health probe may take.
    pub health_timeout: Duration,
    /// Requests a second from one address in the long run.
    pub requests_per_second: u32,
    /// Requests that may come from it at once.
    pub requests_burst: u32,
    /// Requests a second from one address in the long run, of each kind by which
    /// people sign in.
    pub sign_ins_per_second: u32,
    /// Those that may come from it at once.
    pub sign_ins_burst: u32,
    /// Addresses whose rates are told apart; those beyond share one.
    pub max_addresses: usize,
    /// The longest that a peer may take to take the close of a WebSocket that
    /// gets no session.
    pub close_timeout: Duration,
    /// Bytes of the largest WebSocket message.
    pub max_message_bytes: usize,
    /// Bytes of an answer above which it is packed for who can take that.
    pub pack_above_bytes: u64,
    /// How many requests with an `Idempotency-Key` are remembered.
    pub repeats: RepeatLimits,
    /// Origins whose pages may use the API; `*`: every one.
    pub cors_origins: Vec<String>,
    /// The token of `X-Admin-Token`; `None`: nothing is for operators.
    pub admin_token: Option<String>,
    /// Of every WebSocket connection.
    pub outbox: OutboxLimits,
}

impl Default for NetConfig {
    fn default() -> Self {
        Self {
            max_connections: 20_000,
            max_connections_per_address: 20_000,
            connections_per_second: 1_000,
            connections_burst: 20_000,
            header_read_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            tls_handshake_timeout: Duration::from_secs(10),
            max_header_bytes: 16 * 1024,
            max_headers: 64,
            max_body_bytes: 1024 * 1024,
            max_bodies_bytes: 256 * 1024 * 1024,
            max_page_items: 1_000,
            max_pages: 128,
            max_pages_per_address: 32,
            request_timeout: Duration::from_secs(30),
            health_timeout: Duration::from_secs(2),
            requests_per_second: 200,
            requests_burst: 2_000,
            sign_ins_per_second: 100,
            sign_ins_burst: 1_000,
            max_addresses: 65_536,
            close_timeout: Duration::from_secs(5),
            max_message_bytes: 256 * 1024,
            pack_above_bytes: 1_024,
            repeats: RepeatLimits {
                keys_per_day: 10_000,
                bytes_per_day: 64 * 1024 * 1024,
                claim_s: 120,
            },
            cors_origins: Vec::new(),
            admin_token: None,
            outbox: OutboxLimits {
                high_water_bytes: 512 * 1024,
                low_water_bytes: 64 * 1024,
                max_bytes: 4 * 1024 * 1024,
            },
        }
    }
}
