//! A whole server, of which every route can be reached.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use avvy_actors::{Author, BraneChange, BraneKind, BraneRecord, Rate, System, SystemConfig};
use avvy_auth::lockout::LockOutPolicy;
use avvy_auth::wallet::Site;
use avvy_auth::{Claims, Issuer, Keys, MAX_LIFETIME_S, Policy};
use avvy_catalog::{Catalog, CatalogLimits, Label, NewObject, Prototype, Refused};
use avvy_identity::{ExternalTokens, Identity, IdentityOptions};
use avvy_model::{BraneId, Kind, Props, Role, Transform, UserId, Visibility};
use avvy_net::{NetConfig, RepeatLimits, Services, SystemRevocations};
use avvy_persistence::memory::MemoryStore;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use uuid::Uuid;

/// How long the server may take to end a connection.
const PATIENCE: Duration = Duration::from_secs(20);
/// What it waits for on a connection.
const SHORT: Duration = Duration::from_millis(20);
/// The token of operators.
pub const ADMIN: &str = "0123456789abcdef0123456789abcdef";
/// The brane that is there; the id after it is that of its owner.
pub const BRANE: u128 = 0x6f1b_7f7c_8a43_4a52_9f39_0d8c_0c1f_2a11;
/// The object and the prototype that are there, as examples name them.
pub const OBJECT: u128 = 0x0b9d_8e7f_6a5c_4d3e_8f1a_2b3c_4d5e_6f70;
pub const PROTOTYPE: u128 = 0x2c5e_8a17_904b_4f3d_b6a1_7d8e_9f0a_1b2c;

/// Ids that one server gives out before another takes its place: so there is a
/// bound to what requests leave.
const IDS: u64 = 10_000;

static SERVER: Mutex<Option<Arc<Server>>> = Mutex::new(None);

/// The server.
pub fn server() -> Arc<Server> {
    let mut server = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    let fresh = server.take().filter(|server| server.drawn.load(Ordering::Relaxed) < IDS);
    Arc::clone(server.insert(fresh.unwrap_or_else(|| Arc::new(Server::start()))))
}

/// A server with something in it.
pub struct Server {
    address: SocketAddr,
    system: System,
    catalog: Catalog,
    issuer: Issuer,
    /// Ids that were given out.
    drawn: AtomicU64,
    /// Both serve for as long as it lives.
    runtime: Runtime,
    _stop: watch::Sender<bool>,
}

impl Server {
    fn start() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let policy = Policy { issuer: "i".to_owned(), audience: "a".to_owned(), leeway_s: 5 };
        let issuer = Issuer::new(Keys::generate([7; 32]), policy);
        let (stop, stopping) = watch::channel(false);
        let (address, system, catalog) = runtime.block_on(serve(issuer.clone(), stopping));
        let drawn = AtomicU64::new(0);
        Self { address, system, catalog, issuer, drawn, runtime, _stop: stop }
    }

    /// An id (UUID v4) that nothing else has.
    pub fn draw(&self) -> Uuid {
        let nth = self.drawn.fetch_add(1, Ordering::Relaxed);
        Uuid::from_u128(BRANE + 2 + u128::from(nth))
    }

    /// A token that was not revoked yet: neither by its name nor by its time,
    /// which is as far ahead as may be.
    pub fn token(&self) -> String {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        self.issuer.issue(&Claims {
            user: owner(),
            role: Role::Owner,
            name: None,
            branes: Vec::new(),
            session: None,
            token: self.draw(),
            issued_s: now_s + 4,
            expires_s: now_s + MAX_LIFETIME_S,
        })
    }

    /// Has what was there at first be there for the next request, as far as it
    /// may: this one may have ended it.
    pub fn restore(&self) {
        self.runtime.block_on(async {
            let (change, any) = (BraneChange::Restore, |_| true);
            let _ = self.system.change_brane(brane(), Author::Operator, change, any).await;
            let _ = fill(&self.catalog).await;
        });
    }

    /// Says this, and nothing more if so told; all that is answered.
    pub fn ask(&self, bytes: &[u8], ends: bool) -> Vec<u8> {
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

fn owner() -> UserId {
    UserId::new(Uuid::from_u128(BRANE + 1))
}

fn brane() -> BraneId {
    BraneId::new(Uuid::from_u128(BRANE))
}

/// A system with something in it, and its network side.
async fn serve(issuer: Issuer, stopping: watch::Receiver<bool>) -> (SocketAddr, System, Catalog) {
    let store = Arc::new(MemoryStore::new());
    let system = System::start(store.clone(), issuer.verifier(), system_config()).await;
    let system = system.expect("a system on an empty store starts");
    let record = BraneRecord {
        name: "fuzz".to_owned(),
        kind: BraneKind::Public,
        visibility: Visibility::Public,
        ..BraneRecord::new(brane(), owner(), 1)
    };
    system.create_brane(record).await.expect("a new brane can be made");
    let catalog = Catalog::new(store.clone(), CatalogLimits::default());
    fill(&catalog).await.expect("new things can be made");
    let identity = Identity::new(avvy_identity::Parts {
        records: store,
        issuer,
        revocations: Arc::new(SystemRevocations(system.clone())),
        external: ExternalTokens::none(),
        oidc: None,
        options: identity_options(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it has an address");
    let services = Services { system: system.clone(), identity, catalog: catalog.clone() };
    tokio::spawn(avvy_net::serve(listener, None, services, net_config(), stopping));
    (address, system, catalog)
}

/// Makes what is not there of a user's things.
async fn fill(catalog: &Catalog) -> Result<(), Refused> {
    let label = |name: &str| Label { name: name.to_owned(), ..Label::default() };
    let group = NewObject {
        kind: Kind::Group,
        label: label("group"),
        transform: Transform::IDENTITY,
        props: Props::default(),
        children: Vec::new(),
        gallery: Vec::new(),
    };
    catalog.create_object(owner(), Uuid::from_u128(OBJECT), group, 1).await?;
    let (id, lamp) = (Uuid::from_u128(PROTOTYPE), Prototype::default());
    catalog.create_prototype(owner(), id, label("lamp"), lamp, 1).await?;
    Ok(())
}

fn identity_options() -> IdentityOptions {
    let site = Site {
        scheme: "https".to_owned(),
        domain: "example.org".to_owned(),
        chains: vec![1],
        leeway_s: 60,
    };
    let free = LockOutPolicy { free: u32::MAX, ..IdentityOptions::default().account_lock_out };
    IdentityOptions {
        site: Some(site),
        development: true,
        account_lock_out: free,
        address_lock_out: free,
        newcomers: free,
        ..IdentityOptions::default()
    }
}

fn net_config() -> NetConfig {
    NetConfig {
        header_read_timeout: SHORT,
        request_timeout: SHORT,
        requests_per_second: u32::MAX,
        requests_burst: u32::MAX,
        sign_ins_per_second: u32::MAX,
        sign_ins_burst: u32::MAX,
        admin_token: Some(ADMIN.to_owned()),
        repeats: RepeatLimits { keys_per_day: u32::MAX, ..NetConfig::default().repeats },
        max_header_bytes: 8_192,
        max_headers: 16,
        max_body_bytes: 2_048,
        max_message_bytes: 2_048,
        ..NetConfig::default()
    }
}

fn system_config() -> SystemConfig {
    let mut config = SystemConfig { max_branes_per_user: 4, ..SystemConfig::default() };
    let free = Rate { per_second: u32::MAX, burst: u32::MAX };
    let user = &mut config.user;
    user.edits = free;
    user.joins = free;
    user.refreshes = free;
    user.creates = free;
    user.pages = free;
    config.brane.limits.max_objects = 64;
    config.session.max_message_bytes = 2_048;
    config.session.max_bytes_in_flight = 4_096;
    config.session.edits_per_second = u32::MAX;
    config.session.edits_burst = u32::MAX;
    config
}
