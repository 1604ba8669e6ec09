//! A real server on a free port, and a client that speaks HTTP/1.1 byte by
//! byte, so that a test can also say what no library would.

#![allow(clippy::unwrap_used)]
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod issuers;
pub mod wallet;
pub mod ws;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use avvy_actors::{BraneKind, BraneRecord, System, SystemConfig};
use avvy_auth::{Claims, Issuer, Keys, Policy};
use avvy_catalog::{Catalog, CatalogLimits};
use avvy_identity::{Identity, IdentityOptions};
use avvy_model::{BraneId, Grid, Role, Visibility};
use avvy_net::{NetConfig, Services, SystemRevocations};
use avvy_persistence::Store;
use avvy_persistence::cache::{CacheOptions, CachedRecords, CachedStore, Caches};
use avvy_persistence::memory::{MemoryDisk, MemoryStore};
use avvy_persistence::records::Records;
use avvy_protocol::rest::{ErrorMessageResponse, Format, decode};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use uuid::Uuid;

/// The longest that a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct TestServer {
    pub address: SocketAddr,
    pub system: System,
    pub disk: MemoryDisk,
    /// What the server has of the disk: a cache is before both of it.
    pub store: Arc<dyn Store>,
    pub records: Arc<dyn Records>,
    pub stop: watch::Sender<bool>,
    pub serving: JoinHandle<()>,
    issuer: Issuer,
}

impl TestServer {
    pub async fn start() -> Self {
        Self::with(NetConfig::default()).await
    }

    pub async fn with(config: NetConfig) -> Self {
        Self::over(config, None).await
    }

    pub async fn over(config: NetConfig, tls: Option<TlsAcceptor>) -> Self {
        Self::tuned(config, SystemConfig::default(), 0, tls).await
    }

    /// With these options of sessions, and what they need for short tests.
    pub async fn with_sessions(tune: impl FnOnce(&mut SystemConfig)) -> Self {
        let mut system = SystemConfig::default();
        tune(&mut system);
        Self::tuned(NetConfig::default(), system, 0, None).await
    }

    pub async fn tuned(
        config: NetConfig,
        system: SystemConfig,
        leeway_s: u64,
        tls: Option<TlsAcceptor>,
    ) -> Self {
        Self::upon(MemoryStore::new(), config, system, leeway_s, tls).await
    }

    /// Another one, on what the first has left.
    pub async fn again(disk: &MemoryDisk) -> Self {
        let (net, system) = (NetConfig::default(), SystemConfig::default());
        Self::upon(disk.mount(), net, system, 0, None).await
    }

    async fn upon(
        store: MemoryStore,
        config: NetConfig,
        system: SystemConfig,
        leeway_s: u64,
        tls: Option<TlsAcceptor>,
    ) -> Self {
        let policy = Policy { issuer: "test".to_owned(), audience: "test".to_owned(), leeway_s };
        let issuer = Issuer::new(Keys::generate([7; 32]), policy);
        let disk = store.disk().clone();
        let (store, caches) = (Arc::new(store), Caches::local(CacheOptions::default()));
        let records: Arc<dyn Records> = Arc::new(CachedRecords::new(store.clone(), &caches));
        let store: Arc<dyn Store> = Arc::new(CachedStore::new(store, &caches));
        let system = System::start(store.clone(), issuer.verifier(), system).await.unwrap();
        let external = issuers::external();
        system.judge_others(Arc::new(external.clone()));
        let identity = Identity::new(avvy_identity::Parts {
            records: records.clone(),
            issuer: issuer.clone(),
            revocations: Arc::new(SystemRevocations(system.clone())),
            external,
            oidc: None,
            options: IdentityOptions {
                development: true,
                site: Some(avvy_auth::wallet::Site {
                    scheme: "https".to_owned(),
                    domain: "example.org".to_owned(),
                    chains: vec![1],
                    leeway_s: 5,
                }),
                ..IdentityOptions::default()
            },
        });
        let catalog = Catalog::new(records.clone(), CatalogLimits::default());
        system.chronicle(Arc::new(catalog.clone()));
        let services = Services { system: system.clone(), identity, catalog };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopping) = watch::channel(false);
        let serving = tokio::spawn(avvy_net::serve(listener, tls, services, config, stopping));
        Self { address, system, disk, store, records, stop, serving, issuer }
    }

    /// A token of this user that ends so many seconds from now.
    pub fn token_for(&self, user: u128, role: Role, seconds: i64) -> String {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        self.issuer.issue(&Claims {
            user: ws::user(user),
            role,
            name: None,
            branes: Vec::new(),
            session: None,
            token: Uuid::new_v4(),
            issued_s: now_s - 1_000,
            expires_s: now_s.saturating_add_signed(seconds),
        })
    }

    /// A brane of user 1.
    pub async fn brane(&self, visibility: Visibility) -> BraneId {
        self.brane_of(visibility, Grid::default()).await
    }

    /// The same, with cells of another size.
    pub async fn brane_of(&self, visibility: Visibility, grid: Grid) -> BraneId {
        let id = BraneId::new(Uuid::new_v4());
        let record = BraneRecord {
            name: "test".to_owned(),
            kind: BraneKind::Public,
            visibility,
            grid,
            ..BraneRecord::new(id, ws::user(1), 1)
        };
        self.system.create_brane(record).await.unwrap();
        id
    }

    pub fn token(&self) -> String {
        self.token_for(1, Role::Owner, 1_000)
    }

    pub async fn client(&self) -> Client {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream: BufReader::new(stream), token: Some(self.token()) }
    }

    /// Ends everything; fails the test when something does not end.
    pub async fn end(self) {
        // It may have stopped already.
        let _ = self.stop.send(true);
        timeout(PATIENCE, self.serving).await.unwrap().unwrap();
        assert!(self.system.drain(PATIENCE).await, "the system did not drain");
    }
}

/// One connection.
pub struct Client {
    pub stream: BufReader<TcpStream>,
    /// Sent with every request made by [`Client::ask`].
    pub token: Option<String>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Client {
    /// One request and its answer.
    pub async fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
        if let Some(token) = &self.token {
            request += &format!("authorization: Bearer {token}\r\n");
        }
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() || method == "POST" {
            request += &format!("content-length: {}\r\n", body.len());
        }
        request += "\r\n";
        self.say(request.as_bytes()).await;
        self.say(body).await;
        self.answer(method).await.expect("the connection ended without an answer")
    }

    /// `ask` with JSON both ways.
    pub async fn json(&mut self, method: &str, path: &str, body: Option<Json>) -> (u16, Json) {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let json = "application/json";
        let headers = [("content-type", json), ("accept", json)];
        let answer = self.ask(method, path, &headers, body.as_bytes()).await;
        (answer.status, answer.as_json())
    }

    /// Sends bytes; whether the other side still reads them does not matter.
    pub async fn say(&mut self, bytes: &[u8]) {
        let _ = self.stream.get_mut().write_all(bytes).await;
    }

    /// The next answer; `None` when the connection ends instead.
    pub async fn answer(&mut self, method: &str) -> Option<Answer> {
        timeout(PATIENCE, self.read_answer(method)).await.expect("no answer came")
    }

    /// Whether the server ends the connection without another word.
    pub async fn is_closed(&mut self) -> bool {
        self.rest().await.is_some_and(|rest| rest.is_empty())
    }

    /// Whether the server ends the connection, whatever it says before.
    pub async fn ended(&mut self) -> bool {
        self.rest().await.is_some()
    }

    /// What comes until the end; `None` when there is none in time.
    async fn rest(&mut self) -> Option<Vec<u8>> {
        let mut rest = Vec::new();
        // A reset is an end, too.
        let _ = timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await.ok()?;
        Some(rest)
    }

    async fn read_answer(&mut self, method: &str) -> Option<Answer> {
        let mut line = String::new();
        if matches!(self.stream.read_line(&mut line).await, Ok(0) | Err(_)) {
            return None;
        }
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).await.unwrap();
            match line.trim_end().split_once(':') {
                Some((name, value)) => {
                    headers.push((name.to_lowercase(), value.trim().to_owned()));
                }
                None => break,
            }
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        let length = answer.header("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
        if method != "HEAD" {
            answer.body = vec![0; length];
            self.stream.read_exact(&mut answer.body).await.unwrap();
        }
        Some(answer)
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Whether one of the lines of a header, each a list, names this.
    pub fn lists(&self, name: &str, wanted: &str) -> bool {
        let lines = self.headers.iter().filter(|(n, _)| n == name);
        lines.flat_map(|(_, line)| line.split(',')).any(|item| item.trim() == wanted)
    }

    pub fn as_json(&self) -> Json {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn as_cbor<T: DeserializeOwned>(&self) -> T {
        assert_eq!(self.header("content-type"), Some("application/cbor"), "{self:?}");
        decode(&self.body, Format::Cbor, usize::MAX).unwrap()
    }

    /// The code of an error, after a look at the envelope around it.
    pub fn code(&self) -> String {
        let format = self.header("content-type").and_then(Format::from_media_type).unwrap();
        let error: ErrorMessageResponse = decode(&self.body, format, usize::MAX).unwrap();
        assert_eq!(error.number, error.code.number());
        assert_eq!(self.header("x-trace-id"), Some(error.trace_id.to_string().as_str()));
        error.code.name().to_owned()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}
