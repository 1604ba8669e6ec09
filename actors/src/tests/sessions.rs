//! What one session may have under way, and how it is held back.

use std::sync::atomic::AtomicBool;
use std::sync::{Condvar, Mutex};

use avvy_flow::people::Rate;
use avvy_model::DeleteMode;
use avvy_protocol::close::CloseCode;
use avvy_protocol::frame::Frame;
use tokio::sync::Notify;

use super::*;
use crate::clock;
use crate::fan_out::FanOutMsg;
use crate::limit::Limit;
use crate::session_actor::SessionMsg;
use crate::wire::{Backlog, Wire};

/// A client's connection that stands still when it is told to.
struct Gated {
    inbox: Inbox,
    shut: Mutex<bool>,
    opened: Condvar,
    full: AtomicBool,
    closed: Mutex<Vec<CloseCode>>,
}

impl Gated {
    fn new(inbox: Inbox) -> Self {
        Self {
            inbox,
            shut: Mutex::default(),
            opened: Condvar::new(),
            full: AtomicBool::new(false),
            closed: Mutex::default(),
        }
    }

    fn closed(&self) -> Vec<CloseCode> {
        self.closed.lock().unwrap().clone()
    }

    fn shut(&self, shut: bool) {
        *self.shut.lock().unwrap() = shut;
        self.opened.notify_all();
    }
}

impl Wire for Gated {
    fn send(&self, frames: &[Frame]) -> Backlog {
        if *self.shut.lock().unwrap() {
            // What this thread would run next goes on elsewhere. A test that
            // has failed meanwhile is not held up for ever.
            tokio::task::block_in_place(|| {
                let shut = self.shut.lock().unwrap();
                drop(self.opened.wait_timeout_while(shut, PATIENCE, |shut| *shut).unwrap());
            });
        }
        self.inbox.send(frames)
    }

    fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    fn close(&self, code: CloseCode) {
        self.closed.lock().unwrap().push(code);
    }

    fn cut(&self) {}
}

/// A session with its wire, and what wakes its reader.
struct Client {
    session: Session,
    wire: Arc<Gated>,
    woken: Arc<Notify>,
}

impl Client {
    async fn joined(world: &World) -> (Self, Channel) {
        let (inbox, messages) = mpsc::channel(1_024);
        let wire = Arc::new(Gated::new(Inbox(inbox)));
        let woken = Arc::new(Notify::new());
        let waker = Arc::clone(&woken);
        let wake_reader = Box::new(move || waker.notify_one());
        let port = world.system.connect(Arc::clone(&wire) as _, wake_reader, None).await.unwrap();
        let mut client = Self { session: Session { port, messages }, wire, woken };
        client.session.hello(world).await;
        let (channel, _) = client.session.join(world.brane, super::client(), None).await;
        world.answered().await;
        (client, channel)
    }

    /// Waits until the connection may read on.
    async fn readable(&self) {
        let waiting = async {
            while !self.session.port.may_read() {
                self.woken.notified().await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("reading goes on");
    }

    /// Sends an edit of so many operations, which is refused.
    fn say_batch(&self, channel: Channel, counter: u64, operations: usize) -> usize {
        let missing =
            Operation::Delete { target: Target::Handle(Handle(99)), mode: DeleteMode::Subtree };
        let edit = Edit::Batch(vec![missing; operations]);
        let edits = vec![NumberedEdit { counter: Counter(counter), edit }];
        let update = ClientMessage::Update(Update { channel, trace: None, edits });
        let bytes = codec::encode_client(&update);
        self.session.port.receive(&bytes);
        bytes.len()
    }

    async fn refused(&mut self, counter: u64) {
        let wanted = |m: &ServerMessage| {
            matches!(m, ServerMessage::Refused { edits, .. }
            if edits.iter().any(|edit| edit.counter == Counter(counter)))
        };
        self.session.until(wanted).await;
    }
}

/// Longer than any time-out.
const LONG_MS: u64 = 3_600_000;

impl Client {
    /// Looks after the session so much later.
    fn sweep_in(&self, ms: u64) -> bool {
        self.session.port.shared.sweep(clock::monotonic_ms() + ms, clock::unix_s())
    }
}

impl World {
    /// Waits until the brane's actor has done what it was sent so far.
    async fn settled(&self) {
        let actor = self.system.brane_handle(self.brane).await.unwrap().actor;
        self.system.ask(&actor, BraneMsg::Status).await.unwrap();
    }

    /// Waits until a join waits for the end of a window.
    async fn until_waiting(&self) {
        let actor = self.system.brane_handle(self.brane).await.unwrap().actor;
        let waits = async {
            while self.system.ask(&actor, BraneMsg::Status).await.unwrap().waiting == 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, waits).await.expect("the join waits");
    }

    /// Waits until the answers to all that are out, too.
    async fn answered(&self) {
        self.settled().await;
        let fan_out = self.system.brane_handle(self.brane).await.unwrap().fan_out;
        self.system.ask(&fan_out, FanOutMsg::Status).await.unwrap();
    }
}

#[tokio::test]
async fn each_operation_of_a_batch_takes_its_share_of_the_rate() {
    let mut config = SystemConfig::default();
    config.session.edits_burst = 10;
    config.session.edits_per_second = 100;
    let world = World::new(config).await;
    let (mut client, channel) = Client::joined(&world).await;
    client.say_batch(channel, 1, 10);
    client.refused(1).await;
    client.readable().await;
    client.say_batch(channel, 2, 10);
    assert!(!client.session.port.may_read(), "ten more need a tenth of a second");
    client.readable().await;
    client.refused(2).await;
    assert_eq!(world.system.metrics().limits.of(Limit::EditRate), 1);
}

#[tokio::test]
async fn edits_of_a_session_that_ends_while_they_wait_put_off_nobody() {
    let mut config = SystemConfig::default();
    config.user.edits = Rate { per_second: 1, burst: 100 };
    let world = World::new(config).await;
    let (mut client, channel) = Client::joined(&world).await;
    client.say_batch(channel, 1, 100);
    client.refused(1).await;
    client.readable().await;
    client.say_batch(channel, 2, 100);
    assert!(!client.session.port.may_read(), "a hundred more need a hundred seconds");
    let account = world.system.account(&world.claims);
    let pause_ms = || account.take_edits(100).unwrap_err().0;
    assert!(pause_ms() > 150_000);
    client.session.port.ended();
    drop(client);
    let given_back = async {
        while pause_ms() > 100_000 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, given_back).await.expect("they are given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn credits_come_back_when_the_answers_are_out() {
    let mut config = SystemConfig::default();
    config.session.max_edits_in_flight = 10;
    let world = World::new(config).await;
    let (mut client, channel) = Client::joined(&world).await;
    client.wire.shut(true);
    client.say_batch(channel, 1, 9);
    world.settled().await;
    assert!(client.session.port.may_read());
    client.say_batch(channel, 2, 1);
    world.settled().await;
    assert!(!client.session.port.may_read(), "the brane is done, its answers are not out");
    client.wire.shut(false);
    client.refused(2).await;
    client.readable().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_under_way_are_bounded() {
    let mut config = SystemConfig::default();
    config.session.max_bytes_in_flight = 1_000;
    let world = World::new(config).await;
    let (mut client, channel) = Client::joined(&world).await;
    client.wire.shut(true);
    let mut counter = 0;
    let mut bytes = 0;
    while bytes < 1_000 {
        counter += 1;
        bytes += client.say_batch(channel, counter, 10);
        world.settled().await;
        assert_eq!(client.session.port.may_read(), bytes < 1_000, "{bytes} under way");
    }
    client.wire.shut(false);
    client.readable().await;
    client.refused(counter).await;
}

#[tokio::test]
async fn a_message_that_weighs_too_much_is_refused_as_a_whole() {
    let mut config = SystemConfig::default();
    config.session.max_edits_in_flight = 10;
    let world = World::new(config).await;
    let (mut client, channel) = Client::joined(&world).await;
    client.say_batch(channel, 1, 11);
    let error = client.session.until(|m| matches!(m, ServerMessage::Error(_))).await;
    let ServerMessage::Error(error) = error else { unreachable!() };
    assert_eq!((error.code, error.channel), (Code::TooLarge, Some(channel)));
    client.say_batch(channel, 1, 10);
    client.refused(1).await;
}

/// Whoever looks after sessions may not have come by yet.
#[tokio::test]
async fn nothing_is_done_that_is_said_after_the_tokens_end() {
    let world = World::new(SystemConfig::default()).await;
    let (mut client, channel) = Client::joined(&world).await;
    let validity = &client.session.port.shared.validity;
    validity.renew(clock::unix_s() + 100);
    client.say_batch(channel, 1, 1);
    client.refused(1).await;
    client.session.port.shared.validity.renew(clock::unix_s() - 1);
    client.session.submit(channel, 2, create(Kind::Block, Props::default()));
    assert_eq!(client.wire.closed(), [CloseCode::TokenExpired]);
    world.answered().await;
    assert_eq!(world.opened().await, Ok((0, Seq(0))));
}

/// The upgrade's may, before `hello` comes.
#[tokio::test]
async fn a_token_that_has_ended_is_not_welcomed() {
    let world = World::new(SystemConfig::default()).await;
    let (inbox, messages) = mpsc::channel(16);
    let wire = Arc::new(Gated::new(Inbox(inbox)));
    let claims = Claims { expires_s: clock::unix_s() - 1, ..world.claims.clone() };
    let waker = Box::new(|| {});
    let port =
        world.system.connect(Arc::clone(&wire) as _, waker, Some(claims.into())).await.unwrap();
    let mut session = Session { port, messages };
    let hello = Hello { min_version: 1, max_version: 1, token: None, agent: None };
    session.say(&ClientMessage::Hello(hello));
    assert_eq!(session.error().await, Code::TokenExpired);
    assert!(!session.port.is_welcomed());
}

#[tokio::test]
async fn silence_ends_a_session_that_is_read() {
    let world = World::new(SystemConfig::default()).await;
    let (client, _) = Client::joined(&world).await;
    client.sweep_in(0);
    assert_eq!(client.wire.closed(), []);
    client.sweep_in(LONG_MS);
    assert_eq!(client.wire.closed(), [CloseCode::HeartbeatTimeout]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_not_read_is_not_called_silent() {
    let mut config = SystemConfig::default();
    config.session.max_edits_in_flight = 10;
    let world = World::new(config).await;
    let (mut client, channel) = Client::joined(&world).await;
    client.wire.shut(true);
    client.say_batch(channel, 1, 10);
    client.sweep_in(LONG_MS);
    assert_eq!(client.wire.closed(), [], "no credits");
    client.wire.shut(false);
    client.refused(1).await;
    client.readable().await;
    client.sweep_in(3 * LONG_MS);
    assert_eq!(client.wire.closed(), [CloseCode::HeartbeatTimeout]);
}

#[tokio::test]
async fn a_queue_that_does_not_drain_ends_a_session_as_slow() {
    let config = SystemConfig::default();
    let slow_ms = config.session.slow_session_timeout_ms;
    let world = World::new(config).await;
    let (client, _) = Client::joined(&world).await;
    client.wire.full.store(true, Ordering::Relaxed);
    client.sweep_in(LONG_MS);
    assert_eq!(client.wire.closed(), [], "it is full since now, and nothing was read");
    // Between two looks it may have drained and filled again.
    client.session.port.drained();
    client.sweep_in(LONG_MS + slow_ms + 1_000);
    assert_eq!(client.wire.closed(), []);
    client.sweep_in(LONG_MS + 2 * (slow_ms + 1_000));
    assert_eq!(client.wire.closed(), [CloseCode::SlowConsumer]);
}

#[tokio::test]
async fn a_session_ends_once_and_is_cut_when_nobody_follows() {
    let close_ms = 60_000;
    let mut config = SystemConfig::default();
    config.session.close_timeout_ms = close_ms;
    let world = World::new(config).await;
    let (client, _) = Client::joined(&world).await;
    client.session.port.close(CloseCode::TooLarge);
    client.session.port.close(CloseCode::ProtocolError);
    assert_eq!(client.wire.closed(), [CloseCode::TooLarge]);
    let counted = world.system.metrics().closes().into_iter().collect::<Vec<_>>();
    assert_eq!(counted, [(CloseCode::TooLarge.name(), 1)]);
    assert!(!client.sweep_in(close_ms / 2));
    assert!(client.sweep_in(close_ms + 1_000));
}

#[tokio::test]
async fn a_failed_session_actor_costs_its_connection_and_nothing_else() {
    let world = World::new(SystemConfig::default()).await;
    let (client, _) = Client::joined(&world).await;
    let (mut other, channel) = Client::joined(&world).await;
    client.session.port.actor.send_message(SessionMsg::Fail).unwrap();
    let gone = async {
        // It is closed after it has left.
        while client.wire.closed().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, gone).await.unwrap();
    assert_eq!(client.wire.closed(), [CloseCode::Internal]);
    let status = world.system.status().await.unwrap();
    assert_eq!((status.branes[0].core.sessions, status.sessions), (1, 2));
    client.session.port.ended();
    assert_eq!(world.system.status().await.unwrap().sessions, 1);
    other.say_batch(channel, 1, 1);
    other.refused(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_role_while_a_join_waits_is_the_answer_to_the_join() {
    let world = World::new(SystemConfig::default()).await;
    let (mut busy, channel) = Client::joined(&world).await;
    let mut joining = world.connect().await;
    busy.wire.shut(true);
    // A window is out and does not come to its end, so the next stays open.
    for counter in 1..=2 {
        busy.session.submit(channel, counter, create(Kind::Block, Props::default()));
        world.settled().await;
    }
    let join =
        Join { brane: world.brane, client: client(), known: false, resume: None, area: None };
    joining.say(&ClientMessage::Join(join));
    world.until_waiting().await;
    let claims = Claims { role: Role::Visitor, ..world.claims.clone() };
    joining.say(&ClientMessage::Refresh { token: world.issuer.issue(&claims) });
    let error = joining.until(|m| matches!(m, ServerMessage::Error(_))).await;
    let ServerMessage::Error(error) = error else { unreachable!() };
    assert_eq!(error.code, Code::Unavailable);
    assert!(error.retry_after_ms.is_some_and(|ms| ms >= 1_000), "{error:?}");
    assert_eq!(error.operation.as_deref(), Some("brane.join"));
    busy.wire.shut(false);
    let (_, catch_up) = joining.join(world.brane, client(), None).await;
    assert_eq!(catch_up, CatchUp::Snapshot);
}
