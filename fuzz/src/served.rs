//! A whole server, spoken to over sockets: whatever is said to it, it answers
//! with what can be read, and ends the connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use avvy_actors::{BraneKind, BraneRecord, System, SystemConfig};
use avvy_auth::{Claims, Issuer, Keys, MAX_LIFETIME_S, Policy};
use avvy_catalog::{Catalog, CatalogLimits};
use avvy_identity::{ExternalTokens, Identity, IdentityOptions};
use avvy_model::{BraneId, Role, UserId, Visibility};
use avvy_net::{NetConfig, Services, SystemRevocations};
use avvy_persistence::memory::MemoryStore;
use avvy_protocol::codec::decode_server;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use uuid::Uuid;

use crate::pieces;

/// How long the server may take to end a connection.
const PATIENCE: Duration = Duration::from_secs(20);
/// What it waits for on a connection.
const SHORT: Duration = Duration::from_millis(20);
/// What stands for a token that counts.
const TOKEN: &str = "{T}";
/// The brane that is there.
const BRANE: u128 = 0x6f1b_7f7c_8a43_4a52_9f39_0d8c_0c1f_2a11;

/// A request: its head, and after it its body. The end of the head is added,
/// and the length of the body where the head says none.
pub fn http(bytes: &[u8]) {
    let mut parts = pieces(bytes);
    let (Some(head), Some(body)) = (parts.next(), parts.next()) else { return };
    let mut request = replace(head, TOKEN.as_bytes(), SERVER.token.as_bytes());
    let lower = head.to_ascii_lowercase();
    let says = |name: &str| lower.windows(name.len()).any(|part| part == name.as_bytes());
    if !says("content-length") && !says("transfer-encoding") {
        request.extend_from_slice(format!("\r\ncontent-length: {}", body.len()).as_bytes());
    }
    request.extend_from_slice(b"\r\nconnection: close\r\n\r\n");
    request.extend_from_slice(body);
    let answer = SERVER.ask(&request, false);
    if answer.starts_with(b"HTTP/1.") {
        let status = answer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
        let status: u16 = status.and_then(|text| text.parse().ok()).unwrap_or(0);
        let is_right = (101..500).contains(&status) || matches!(status, 501 | 503 | 504);
        assert!(is_right, "{}", String::from_utf8_lossy(&answer));
    } else {
        assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    }
}

/// What follows the upgrade to a WebSocket.
pub fn websocket(bytes: &[u8]) {
    let upgrade = format!(
        "GET /ws HTTP/1.1\r\nhost: fuzz\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         authorization: Bearer {}\r\n\r\n",
        SERVER.token
    );
    let answer = SERVER.ask(&[upgrade.as_bytes(), bytes].concat(), true);
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let Some(end) = end else {
        // A reset can take the answer with it.
        return assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    };
    let mut rest = &answer[end + 4..];
    while let Some((opcode, payload, behind)) = frame(rest) {
        match opcode {
            0x82 => drop(decode_server(payload).expect("the server says messages")),
            0x88 => assert!(behind.is_empty(), "something follows the end"),
            0x8a => {}
            other => panic!("a frame that begins with {other:#x}"),
        }
        rest = behind;
    }
}

/// The frame at the front: its first byte, its payload, and what follows. The
/// last one may be cut.
fn frame(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[first, length], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = match length {
        126 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        127 => {
            let (length, rest) = rest.split_first_chunk::<8>()?;
            (u64::from_be_bytes(*length) as usize, rest)
        }
        short => {
            assert!(short < 126, "the server masks nothing");
            (usize::from(short), rest)
        }
    };
    let (payload, rest) = rest.split_at_checked(length)?;
    Some((first, payload, rest))
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    match bytes.windows(from.len()).position(|part| part == from) {
        Some(at) => [&bytes[..at], to, &bytes[at + from.len()..]].concat(),
        None => bytes.to_vec(),
    }
}

static SERVER: LazyLock<Server> = LazyLock::new(Server::start);

struct Server {
    address: SocketAddr,
    token: String,
    /// Both serve for as long as this process lives.
    _runtime: Runtime,
    _stop: watch::Sender<bool>,
}

impl Server {
    fn start() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let policy = Policy { issuer: "i".to_owned(), audience: "a".to_owned(), leeway_s: 5 };
        let issuer = Issuer::new(Keys::generate([7; 32]), policy);
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let owner = UserId::new(Uuid::from_u128(BRANE + 1));
        let token = issuer.issue(&Claims {
            user: owner,
            role: Role::Owner,
            name: None,
            branes: Vec::new(),
            session: None,
            token: Uuid::from_u128(BRANE + 2),
            issued_s: now_s,
            expires_s: now_s + MAX_LIFETIME_S,
        });
        let (stop, stopping) = watch::channel(false);
        let address = runtime.block_on(async {
            let store = Arc::new(MemoryStore::new());
            let system = System::start(store.clone(), issuer.verifier(), system_config()).await;
            let system = system.expect("a system on an empty store starts");
            let record = BraneRecord {
                name: "fuzz".to_owned(),
                kind: BraneKind::Public,
                visibility: Visibility::Public,
                ..BraneRecord::new(BraneId::new(Uuid::from_u128(BRANE)), owner, 1)
            };
            system.create_brane(record).await.expect("a new brane can be made");
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let address = listener.local_addr().expect("it has an address");
            let identity = Identity::new(avvy_identity::Parts {
                records: store.clone(),
                issuer,
                revocations: Arc::new(SystemRevocations(system.clone())),
                external: ExternalTokens::none(),
                oidc: None,
                options: IdentityOptions::default(),
            });
            let services = Services {
                system,
                identity,
                catalog: Catalog::new(store, CatalogLimits::default()),
            };
            tokio::spawn(avvy_net::serve(listener, None, services, net_config(), stopping));
            address
        });
        Self { address, token, _runtime: runtime, _stop: stop }
    }

    /// Says this, and nothing more if so told; all that is answered.
    fn ask(&self, bytes: &[u8], ends: bool) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time that is not zero");
        // It may have ended the connection before it has read all of it.
        let _ = stream.write_all(bytes);
        if ends {
            let _ = stream.shutdown(std::net::Shutdown::Write);
        }
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("the server does not end the connection")
            }
            // A reset is an end, too.
            Ok(_) | Err(_) => answer,
        }
    }
}

fn net_config() -> NetConfig {
    NetConfig {
        header_read_timeout: SHORT,
        request_timeout: SHORT,
        requests_per_second: u32::MAX,
        requests_burst: u32::MAX,
        max_header_bytes: 8_192,
        max_headers: 16,
        max_body_bytes: 2_048,
        max_message_bytes: 2_048,
        ..NetConfig::default()
    }
}

fn system_config() -> SystemConfig {
    let mut config = SystemConfig { max_branes_per_user: 4, ..SystemConfig::default() };
    config.brane.limits.max_objects = 64;
    config.session.max_message_bytes = 2_048;
    config.session.max_bytes_in_flight = 4_096;
    config.session.edits_per_second = u32::MAX;
    config.session.edits_burst = u32::MAX;
    config
}
