//! The actors as a whole, on a store in memory and without sockets.

#![allow(clippy::unwrap_used)]

mod big;
mod changes;
mod copies;
mod ends;
mod entry;
mod fleet;
mod heavy;
mod levels;
mod loading;
mod opening;
mod people;
mod requests;
mod revocations;
mod sessions;
mod spooling;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use avvy_auth::{Claims, Issuer, Keys, Policy};
use avvy_model::{
    BraneId, ClientId, Code, Counter, Edit, Handle, Kind, NumberedEdit, ObjectId, Operation,
    Position, Props, Role, Seq, Target, Transform, UserId,
};
use avvy_persistence::memory::{Fault, MemoryDisk, Operation as StoreOperation};
use avvy_persistence::spool::Spool;
use avvy_persistence::{BraneRecord, Fleet, Place, Store};
use avvy_protocol::close::CloseCode;
use avvy_protocol::frame::Frame;
use avvy_protocol::{
    CatchUp, Channel, ClientMessage, Hello, Join, Resume, ServerMessage, Update, codec,
};
use tokio::sync::mpsc;
use tokio::time::timeout;
use uuid::Uuid;

use crate::brane::BraneMsg;
use crate::wire::{Backlog, Inbox, Wire};
use crate::{Parts, SessionConfig, SessionPort, System, SystemConfig};

const PATIENCE: Duration = Duration::from_secs(10);

struct World {
    disk: MemoryDisk,
    store: Arc<dyn Store>,
    system: System,
    issuer: Issuer,
    claims: Claims,
    brane: BraneId,
}

impl World {
    async fn new(config: SystemConfig) -> Self {
        let disk = MemoryDisk::new();
        let store = Arc::new(disk.mount());
        Self::on(store, disk, config).await
    }

    /// On a store of the test's own.
    async fn on(store: Arc<dyn Store>, disk: MemoryDisk, config: SystemConfig) -> Self {
        let world = Self::without_brane(None, None, store, disk, config).await;
        world.create_brane(world.brane).await;
        world
    }

    /// One whose brane has yet to be made.
    async fn without_brane(
        fleet: Option<Arc<dyn Fleet>>,
        spool: Option<Spool>,
        store: Arc<dyn Store>,
        disk: MemoryDisk,
        mut config: SystemConfig,
    ) -> Self {
        if config.session.close_timeout_ms == SessionConfig::default().close_timeout_ms {
            // There is no peer here who could end a connection.
            config.session.close_timeout_ms = 1;
        }
        let policy = Policy { issuer: "test".to_owned(), audience: "test".to_owned(), leeway_s: 0 };
        let issuer = Issuer::new(Keys::generate([7; 32]), policy);
        let now_s = crate::clock::unix_s();
        let claims = Claims {
            user: UserId::new(Uuid::new_v4()),
            role: Role::Owner,
            name: None,
            branes: Vec::new(),
            session: None,
            token: Uuid::new_v4(),
            issued_s: now_s,
            expires_s: now_s + 600,
        };
        let parts = Parts { store: Arc::clone(&store), fleet, spool, predecessor: None };
        let starting = System::start_on(parts, issuer.verifier(), config);
        let system = starting.await.unwrap();
        let brane = BraneId::new(Uuid::new_v4());
        Self { disk, store, system, issuer, claims, brane }
    }

    fn record(&self, id: BraneId) -> BraneRecord {
        BraneRecord { name: "test".to_owned(), ..BraneRecord::new(id, self.claims.user, 1) }
    }

    async fn create_brane(&self, id: BraneId) {
        self.system.create_brane(self.record(id)).await.unwrap();
    }

    /// The memory's operations of this kind fail from now on.
    fn fail_every(&self, fails: impl Fn(StoreOperation) -> bool + Send + 'static) {
        self.disk.plan(
            move |operation, _| {
                if fails(operation) { Fault::FailBefore } else { Fault::None }
            },
        );
    }

    async fn connect(&self) -> Session {
        self.connect_by(|inbox| Arc::new(inbox)).await
    }

    /// Connects by a wire of the test's own.
    async fn connect_by(&self, wire: impl FnOnce(Inbox) -> Arc<dyn Wire>) -> Session {
        let (inbox, messages) = mpsc::channel(1_024);
        let port = self.system.connect(wire(Inbox(inbox)), Box::new(|| {}), None).await.unwrap();
        let mut session = Session { port, messages };
        session.hello(self).await;
        session
    }

    /// The last session leaves; waits until the brane is closed.
    async fn close_brane(&self, session: &mut Session, channel: Channel) {
        let snapshots = || self.system.metrics().snapshots.load(Ordering::Relaxed);
        let before = snapshots();
        session.say(&ClientMessage::Leave { channel });
        session.until(|m| matches!(m, ServerMessage::Left { code: None, .. })).await;
        // The last thing that a brane with new edits does is to store them.
        let closed = async {
            while snapshots() == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, closed).await.unwrap();
    }

    /// A brane with one block for every time that it was open; each time left
    /// a snapshot.
    async fn with_snapshots(count: u64) -> Self {
        let config = SystemConfig { idle_close_ms: 50, ..SystemConfig::default() };
        let world = Self::new(config).await;
        let mut session = world.connect().await;
        let me = client();
        for counter in 1..=count {
            let (channel, _) = session.join(world.brane, me, None).await;
            session.create(channel, counter).await;
            world.close_brane(&mut session, channel).await;
        }
        world
    }

    /// Opens the brane: its objects without the root, and its last edit.
    async fn opened(&self) -> Result<(u32, Seq), Code> {
        let view =
            self.system.view(self.brane, &self.claims).await.map_err(|denied| denied.code)?;
        Ok((view.world.len() - 1, view.at.seq))
    }

    /// Spoils the first part of the nth newest snapshot.
    async fn spoil_snapshot(&self, nth: usize) {
        let report = self.store.verify_brane(self.brane).await.unwrap();
        let snapshot = report.snapshots[nth].id;
        assert!(self.disk.damage(&Place::Part { brane: self.brane, snapshot, index: 0 }));
    }

    /// Makes the brane's actor fail.
    async fn fail_brane(&self) {
        self.system
            .brane_handle(self.brane)
            .await
            .unwrap()
            .actor
            .send_message(BraneMsg::Fail)
            .unwrap();
    }
}

struct Session {
    port: SessionPort,
    messages: mpsc::Receiver<ServerMessage>,
}

/// A wire that is full until it is let go.
struct Stuck {
    inbox: Inbox,
    is_stuck: Arc<AtomicBool>,
}

impl Wire for Stuck {
    fn send(&self, frames: &[Frame]) -> Backlog {
        self.inbox.send(frames);
        if self.is_stuck.load(Ordering::Relaxed) { Backlog::High } else { Backlog::Low }
    }

    fn is_full(&self) -> bool {
        false
    }

    fn close(&self, _code: CloseCode) {}

    fn cut(&self) {}
}

impl Session {
    fn say(&mut self, message: &ClientMessage) {
        assert!(self.port.may_read());
        self.port.receive(&codec::encode_client(message));
    }

    async fn hello(&mut self, world: &World) {
        self.say(&ClientMessage::Hello(Hello {
            min_version: 1,
            max_version: 1,
            token: Some(world.issuer.issue(&world.claims)),
            agent: None,
        }));
        self.until(|m| matches!(m, ServerMessage::Welcome(_))).await;
        // It is said a moment before reading goes on.
        while !self.port.may_read() {
            tokio::task::yield_now().await;
        }
    }

    async fn until(&mut self, wanted: impl Fn(&ServerMessage) -> bool) -> ServerMessage {
        let waiting = async {
            loop {
                let message = self.messages.recv().await.expect("the session is open");
                if wanted(&message) {
                    return message;
                }
            }
        };
        timeout(PATIENCE, waiting).await.expect("what is waited for comes")
    }

    /// The code of the next error.
    async fn error(&mut self) -> Code {
        match self.until(|m| matches!(m, ServerMessage::Error(_))).await {
            ServerMessage::Error(error) => error.code,
            other => panic!("{other:?}"),
        }
    }

    async fn join(
        &mut self,
        brane: BraneId,
        client: ClientId,
        resume: Option<Resume>,
    ) -> (Channel, CatchUp) {
        self.say(&ClientMessage::Join(Join { brane, client, known: false, resume, area: None }));
        match self.until(|m| matches!(m, ServerMessage::Joined(_) | ServerMessage::Error(_))).await
        {
            ServerMessage::Joined(joined) => (joined.channel, joined.catch_up),
            other => panic!("{other:?}"),
        }
    }

    fn submit(&mut self, channel: Channel, counter: u64, operation: Operation) {
        let edits = vec![NumberedEdit { counter: Counter(counter), edit: Edit::One(operation) }];
        self.say(&ClientMessage::Update(Update { channel, trace: None, edits }));
    }

    /// Creates a block and waits until it is durable.
    async fn create(&mut self, channel: Channel, counter: u64) -> Position {
        self.submit(channel, counter, create(Kind::Block, Props::default()));
        let counter = Counter(counter);
        let applied = self.until(|m| matches!(m, ServerMessage::Applied { .. })).await;
        let ServerMessage::Applied { edits, .. } = applied else { unreachable!() };
        assert_eq!(edits[0].0, counter);
        let seq = edits[0].1;
        let durable = self
            .until(|m| matches!(m, ServerMessage::Durable { durable, .. } if durable.seq >= seq))
            .await;
        let ServerMessage::Durable { durable, .. } = durable else { unreachable!() };
        durable
    }
}

fn create(kind: Kind, props: Props) -> Operation {
    Operation::Create {
        id: ObjectId::new(Uuid::new_v4()),
        parent: Target::Handle(Handle::ROOT),
        kind,
        transform: Transform::IDENTITY,
        props,
    }
}

fn client() -> ClientId {
    ClientId::new(Uuid::new_v4())
}

#[tokio::test]
async fn a_failed_brane_comes_back_where_it_was() {
    let world = World::new(SystemConfig::default()).await;
    let mut session = world.connect().await;
    let me = client();
    let (channel, catch_up) = session.join(world.brane, me, None).await;
    assert_eq!(catch_up, CatchUp::Snapshot);
    let at = session.create(channel, 1).await;

    world.fail_brane().await;
    let left =
        |m: &ServerMessage| matches!(m, ServerMessage::Left { code: Some(Code::Unavailable), .. });
    session.until(left).await;

    let resume = Some(Resume { version: at, touched: Some(Vec::new()), scope: None });
    let (channel, catch_up) = session.join(world.brane, me, resume).await;
    assert_eq!(catch_up, CatchUp::Replay);
    let after = session.create(channel, 2).await;
    assert_eq!(after.seq, at.seq.next());
    assert!(after.epoch > at.epoch);
}

#[tokio::test]
async fn an_edit_sent_again_after_a_failure_is_not_applied_again() {
    let world = World::new(SystemConfig::default()).await;
    let mut session = world.connect().await;
    let me = client();
    let (channel, _) = session.join(world.brane, me, None).await;
    let at = session.create(channel, 1).await;
    world.fail_brane().await;
    session.until(|m| matches!(m, ServerMessage::Left { .. })).await;
    let (channel, _) = session.join(world.brane, me, None).await;
    assert_eq!(session.create(channel, 1).await.seq, at.seq);
    let view = world.system.view(world.brane, &world.claims).await.unwrap();
    assert_eq!((view.world.len(), view.at.seq), (2, at.seq));
}

#[tokio::test]
async fn an_idle_brane_closes_and_opens_again() {
    let config = SystemConfig { idle_close_ms: 50, ..SystemConfig::default() };
    let world = World::new(config).await;
    let mut session = world.connect().await;
    let (channel, _) = session.join(world.brane, client(), None).await;
    session.create(channel, 1).await;
    world.close_brane(&mut session, channel).await;
    let view = world.system.view(world.brane, &world.claims).await.unwrap();
    assert_eq!((view.world.len(), view.at.seq), (2, Seq(1)));
    assert_eq!(world.system.metrics().snapshots.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_refused_join_can_be_tried_again() {
    let mut config = SystemConfig::default();
    config.brane.max_sessions = 1;
    let world = World::new(config).await;
    let mut first = world.connect().await;
    let (channel, _) = first.join(world.brane, client(), None).await;
    let mut second = world.connect().await;
    let join =
        Join { brane: world.brane, client: client(), known: false, resume: None, area: None };
    second.say(&ClientMessage::Join(join));
    let refused = second.until(|m| matches!(m, ServerMessage::Error(_))).await;
    let ServerMessage::Error(error) = refused else { unreachable!() };
    assert_eq!(error.code, Code::BraneFull);
    first.say(&ClientMessage::Leave { channel });
    first.until(|m| matches!(m, ServerMessage::Left { code: None, .. })).await;
    second.join(world.brane, client(), None).await;
}

#[tokio::test]
async fn the_probe_sees_its_own_edit() {
    let world = World::new(SystemConfig::default()).await;
    for _ in 0..2 {
        let report = world.system.probe().await.unwrap();
        assert!(report.durable_us > 0);
    }
}

#[tokio::test]
async fn a_drained_system_takes_nobody_in() {
    let world = World::new(SystemConfig::default()).await;
    let mut session = world.connect().await;
    let (channel, _) = session.join(world.brane, client(), None).await;
    session.create(channel, 1).await;
    assert!(world.system.drain(PATIENCE).await);
    assert!(world.system.view(world.brane, &world.claims).await.is_err());
}
