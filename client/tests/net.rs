//! The client over real sockets, against the real server in this process.

#![cfg(feature = "net")]
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use avvy_actors::{System, SystemConfig};
use avvy_auth::{Claims, Issuer, Keys, Policy};
use avvy_catalog::{Catalog, CatalogLimits};
use avvy_client::demo::{self, DemoError, DemoOptions, Live};
use avvy_client::machine::Say;
use avvy_client::net::{
    Brane, Client, ClientError, ClientOptions, ConnectError, EditError, WorldChange, draw_object_id,
};
use avvy_client::people::Roster;
use avvy_identity::{ExternalTokens, Identity, IdentityOptions};
use avvy_model::{
    BraneId, Code, Edit, Handle, Kind, MovePatch, Operation, Parts, Props, Role, Rotation, Target,
    Transform, UserId, Visibility,
};
use avvy_net::{NetConfig, Services, SystemRevocations};
use avvy_persistence::memory::MemoryStore;
use avvy_persistence::{BraneKind, BraneRecord};
use avvy_protocol::{Audience, PeopleNews, Pose};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(30);
const OWNER: UserId = UserId::new(Uuid::from_u128(0x4000_8000_0000_0000_0002));

struct Server {
    address: SocketAddr,
    system: System,
    issuer: Issuer,
    brane: BraneId,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Server {
    async fn start() -> Self {
        let policy = Policy { issuer: "test".to_owned(), audience: "test".to_owned(), leeway_s: 0 };
        let issuer = Issuer::new(Keys::generate([7; 32]), policy);
        let store = Arc::new(MemoryStore::new());
        let system = System::start(store.clone(), issuer.verifier(), SystemConfig::default());
        let system = system.await.unwrap();
        let brane = BraneId::new(Uuid::from_u128(0x4000_8000_0000_0000_0001));
        let record = BraneRecord {
            name: "test".to_owned(),
            kind: BraneKind::Public,
            visibility: Visibility::Public,
            ..BraneRecord::new(brane, OWNER, 1)
        };
        system.create_brane(record).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopping) = watch::channel(false);
        let config = NetConfig::default();
        let identity = Identity::new(avvy_identity::Parts {
            records: store.clone(),
            issuer: issuer.clone(),
            revocations: Arc::new(SystemRevocations(system.clone())),
            external: ExternalTokens::none(),
            oidc: None,
            options: IdentityOptions::default(),
        });
        let services = Services {
            system: system.clone(),
            identity,
            catalog: Catalog::new(store, CatalogLimits::default()),
        };
        let serving = tokio::spawn(avvy_net::serve(listener, None, services, config, stopping));
        Self { address, system, issuer, brane, stop, serving }
    }

    fn token(&self) -> String {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        self.issuer.issue(&Claims {
            user: OWNER,
            role: Role::Owner,
            name: None,
            branes: Vec::new(),
            session: None,
            token: Uuid::from_u128(0x4000_8000_0000_0000_0003),
            issued_s: now_s,
            expires_s: now_s + 600,
        })
    }

    fn url(&self) -> String {
        format!("ws://{}/ws", self.address)
    }

    async fn client(&self) -> Client {
        Client::connect(&self.url(), &self.token(), ClientOptions::default()).await.unwrap()
    }

    async fn end(self) {
        self.stop.send_replace(true);
        timeout(PATIENCE, self.serving).await.unwrap().unwrap();
        assert!(self.system.drain(PATIENCE).await, "the system did not drain");
    }
}

/// Passes bytes on, until it is told to cut every connection.
struct Proxy {
    address: SocketAddr,
    cut: watch::Sender<u64>,
}

impl Proxy {
    async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, cuts) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut cuts = cuts.clone();
                cuts.mark_unchanged();
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(to).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        });
        Self { address, cut }
    }
}

fn create() -> (Edit, Target) {
    let id = draw_object_id();
    let parent = Target::Handle(Handle::ROOT);
    let (transform, props) = (Transform::IDENTITY, Props::default());
    let create = Operation::Create { id, parent, kind: Kind::Block, transform, props };
    (Edit::One(create), Target::Id(id))
}

fn step(target: Target, x: i32) -> Edit {
    let to = Transform::new([x, 0, 0], Rotation::IDENTITY, [1.0; 3]).unwrap();
    Edit::One(Operation::Move { target, patch: MovePatch::new(Parts::POSITION, to) })
}

#[tokio::test]
async fn edits_reach_the_others_and_become_durable() {
    let server = Server::start().await;
    let (writer, reader) = (server.client().await, server.client().await);
    let written = writer.join(server.brane).await.unwrap();
    let read = reader.join(server.brane).await.unwrap();
    let mut changes = read.subscribe().await.unwrap();

    let (edit, target) = create();
    let mut pending = written.submit(edit).await.unwrap();
    let predicted = written.predicted(target).await.unwrap();
    assert_eq!(predicted.map(|object| object.owner), Some(OWNER));
    let at = pending.applied().await.unwrap();
    assert_eq!(pending.durable().await.unwrap(), at);

    let seen = timeout(PATIENCE, changes.recv()).await.unwrap();
    assert!(matches!(seen, Some(WorldChange::Flushed(flush)) if flush.to == at.seq));
    let Target::Id(id) = target else { unreachable!() };
    let handle = read.read(move |copy| copy.find(id)).await.unwrap();
    assert_eq!(handle, Some(Handle(1)));
    let check = read.check().await.unwrap();
    assert_eq!((check.at, check.ours), (at, Some(check.theirs)));

    let missing = written.submit(step(Target::Handle(Handle(77)), 1)).await.unwrap();
    let refused = missing.durable().await.unwrap_err();
    assert!(matches!(refused, EditError::Refused(refusal) if refusal.code == Code::ObjectNotFound));
    writer.close().await;
    reader.close().await;
    server.end().await;
}

#[tokio::test]
async fn a_cut_connection_comes_back_by_itself() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address).await;
    let options = ClientOptions { reconnect_first_ms: 20, ..ClientOptions::default() };
    let url = format!("ws://{}/ws", proxy.address);
    let client = Client::connect(&url, &server.token(), options).await.unwrap();
    let world = client.join(server.brane).await.unwrap();
    let (edit, target) = create();
    world.submit(edit).await.unwrap().durable().await.unwrap();
    for round in 0..10 {
        let mut waiting = Vec::new();
        for x in 0..20 {
            if x == 10 {
                proxy.cut.send_modify(|cuts| *cuts += 1);
            }
            waiting.push(world.submit(step(target, round * 100 + x)).await.unwrap());
        }
        for pending in waiting {
            timeout(PATIENCE, pending.durable()).await.unwrap().unwrap();
        }
    }
    let check = timeout(PATIENCE, world.check()).await.unwrap().unwrap();
    assert_eq!(check.ours, Some(check.theirs));
    assert_eq!(check.at.seq.0, 201, "each edit once");
    client.close().await;
    server.end().await;
}

#[tokio::test]
async fn says_why_it_cannot_connect_or_join() {
    let server = Server::start().await;
    let connect = |url: String, token: String| async move {
        Client::connect(&url, &token, ClientOptions::default()).await.unwrap_err()
    };
    let bad_token = connect(server.url(), "no token".to_owned()).await;
    assert!(
        matches!(&bad_token, ConnectError::Closed(end) if end.code == Some(4502)),
        "{bad_token}"
    );
    let nobody = connect("ws://127.0.0.1:1/ws".to_owned(), server.token()).await;
    assert!(matches!(&nobody, ConnectError::Closed(end) if end.code.is_none()), "{nobody}");
    let no_url = connect("over there".to_owned(), server.token()).await;
    assert!(no_url.to_string().contains("not an address"), "{no_url}");

    let client = server.client().await;
    let nowhere =
        client.join(BraneId::new(Uuid::from_u128(0x4000_8000_0000_0000_0009))).await.unwrap_err();
    assert!(matches!(nowhere, ClientError::Join(Code::NotFound)), "{nowhere}");
    client.close().await;
    server.end().await;
}

#[tokio::test]
async fn builders_agree_with_the_server() {
    let server = Server::start().await;
    let options = DemoOptions {
        users: 12,
        edits_per_second: 20.0,
        seconds: 1.0,
        check: 2,
        live: Live::Off,
        ..DemoOptions::new(server.url(), server.token(), server.brane)
    };
    let summary = demo::run(options).await.unwrap();
    assert!(summary.is_good(), "{summary}");
    assert_eq!((summary.users, summary.hashes_compared), (12, 2));
    assert_eq!(summary.edits, summary.durable);
    assert!(summary.deliveries > 12 * 12 * 10, "{summary}");
    assert!(summary.windows_compared > 0 && summary.p99_ms > 0.0, "{summary}");
    assert!(summary.walks.is_none() && !summary.to_json().contains("walks"), "{summary}");
    server.end().await;
}

/// Lets the second connection through at once and the first only when the
/// brane holds so many objects, then everyone.
async fn front(listener: TcpListener, to: SocketAddr, copy: Brane, objects: usize) {
    let pass = |mut near: TcpStream| async move {
        let mut far = TcpStream::connect(to).await.unwrap();
        // Either side may be gone before the other.
        let _ = copy_bidirectional(&mut near, &mut far).await;
    };
    let (first, _) = listener.accept().await.unwrap();
    tokio::spawn(pass(listener.accept().await.unwrap().0));
    let mut news = copy.subscribe().await.unwrap();
    while copy.read(|replica| replica.len()).await.unwrap() < objects {
        news.recv().await.unwrap();
    }
    tokio::spawn(pass(first));
    loop {
        tokio::spawn(pass(listener.accept().await.unwrap().0));
    }
}

#[tokio::test]
async fn a_builder_whose_objects_nobody_saw_created_builds_all_the_same() {
    let server = Server::start().await;
    let seer = server.client().await;
    let copy = seer.join(server.brane).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    // The root, and a builder's group of four blocks.
    let front = tokio::spawn(front(listener, server.address, copy, 1 + 5));
    // The first of them keeps the whole copy; it comes when the other has built.
    let options = DemoOptions {
        users: 2,
        seconds: 0.5,
        check: 1,
        connects_per_second: 1.0,
        live: Live::Off,
        ..DemoOptions::new(url, server.token(), server.brane)
    };
    let summary = demo::run(options).await.unwrap();
    assert!(summary.is_good(), "{summary}");
    assert_eq!((summary.edits, summary.refused), (summary.durable, 0), "{summary}");
    front.abort();
    seer.close().await;
    server.end().await;
}

#[tokio::test]
async fn walkers_see_what_their_view_shows_of_the_whole_brane() {
    let server = Server::start().await;
    let options = DemoOptions {
        users: 12,
        edits_per_second: 20.0,
        seconds: 3.0,
        check: 2,
        walkers: 4,
        live: Live::Off,
        ..DemoOptions::new(server.url(), server.token(), server.brane)
    };
    let summary = demo::run(options.clone()).await.unwrap();
    assert!(summary.is_good(), "{summary}");
    let walks = summary.walks.clone().unwrap();
    assert_eq!((walks.walkers, walks.unchecked, walks.differing), (4, 0, 0), "{summary}");
    assert!(walks.compared >= 4 && walks.map.len() == 9, "{summary}");
    // Each walks 36 m, which is further than a cell, and takes a group along.
    assert!(walks.steps >= 4 && walks.entered > 0 && walks.left > 0, "{summary}");
    assert!(walks.objects_in_view > 1 && walks.cells_in_view > 0, "{summary}");
    let nobody = DemoOptions { walkers: 12, ..options };
    assert_eq!(demo::run(nobody).await.unwrap_err(), DemoError::AllWalk(12));
    server.end().await;
}

#[tokio::test]
async fn two_clients_see_and_hear_each_other_over_a_cut() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address).await;
    let options = ClientOptions { reconnect_first_ms: 20, ..ClientOptions::default() };
    let url = format!("ws://{}/ws", proxy.address);
    let seer = Client::connect(&url, &server.token(), options).await.unwrap();
    let seen = server.client().await;
    let (here, there) =
        (seer.join(server.brane).await.unwrap(), seen.join(server.brane).await.unwrap());
    assert_eq!(here.people(Roster::is_whole).await.unwrap(), None);
    let mut news = here.subscribe().await.unwrap();
    here.follow().await.unwrap();
    let pose = Pose { position: [5, 0, 0], rotation: Rotation::IDENTITY };
    there.say(Say::Pose { pose, state: vec![3] }).await.unwrap();
    sees(&here, &mut news, pose).await;
    let signal = Say::Signal { to: Audience::All, kind: "wave".to_owned(), body: None };
    there.say(signal).await.unwrap();
    let heard = async {
        loop {
            if let Some(WorldChange::People(PeopleNews::Signal(signal))) = news.recv().await {
                return signal;
            }
        }
    };
    assert_eq!(timeout(PATIENCE, heard).await.unwrap().kind, "wave");
    proxy.cut.send_modify(|cuts| *cuts += 1);
    let back = |change: &WorldChange| matches!(change, WorldChange::Live { .. });
    while !back(&timeout(PATIENCE, news.recv()).await.unwrap().unwrap()) {}
    sees(&here, &mut news, pose).await;
    seer.close().await;
    seen.close().await;
    server.end().await;
}

/// Waits until two are there and the other one stands so.
async fn sees(brane: &Brane, news: &mut mpsc::Receiver<WorldChange>, pose: Pose) {
    let seeing = async {
        loop {
            let is_seen = move |roster: &Roster| {
                let stands = roster.avatars().values().any(|avatar| avatar.pose == pose);
                roster.is_whole() && roster.people().len() == 2 && stands
            };
            if brane.people(is_seen).await.unwrap() == Some(true) {
                return;
            }
            news.recv().await.unwrap();
        }
    };
    timeout(PATIENCE, seeing).await.expect("it is seen");
}
