//! What one session may have under way, and how it is held back.

use std::sync::{Condvar, Mutex};

use avvy_model::DeleteMode;
use avvy_protocol::close::CloseCode;
use avvy_protocol::frame::Frame;
use tokio::sync::Notify;

use super::*;
use crate::fan_out::FanOutMsg;
use crate::wire::{Backlog, Wire};

/// A client's connection that stands still when it is told to.
struct Gated {
    inbox: Inbox,
    shut: Mutex<bool>,
    opened: Condvar,
}

impl Gated {
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

    fn close(&self, _code: CloseCode) {}

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
        let wire =
            Arc::new(Gated { inbox: Inbox(inbox), shut: Mutex::default(), opened: Condvar::new() });
        let woken = Arc::new(Notify::new());
        let waker = Arc::clone(&woken);
        let wake_reader = Box::new(move || waker.notify_one());
        let port = world.system.connect(Arc::clone(&wire) as _, wake_reader, None).await.unwrap();
        let mut client = Self { session: Session { port, messages }, wire, woken };
        client.session.hello(world).await;
        let (channel, _) = client.session.join(world.brane, super::client(), None).await;
        client.readable().await;
        // The join's own credit is back when the fan-out has done all of it.
        world.settled().await;
        let fan_out = world.system.brane_handle(world.brane, None).await.unwrap().fan_out;
        world.system.ask(&fan_out, FanOutMsg::Status).await.unwrap();
        (client, channel)
    }

    /// Waits until the connection may read on.
    async fn readable(&self) {
        let waiting = async {
            while !self.session.port.may_read(false) {
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

impl World {
    /// Waits until the brane's actor has done what it was sent so far.
    async fn settled(&self) {
        let actor = self.system.brane_handle(self.brane, None).await.unwrap().actor;
        self.system.ask(&actor, BraneMsg::Status).await.unwrap();
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
    assert!(!client.session.port.may_read(false), "ten more need a tenth of a second");
    client.readable().await;
    client.refused(2).await;
    let limited = &world.system.metrics().rate_limited;
    assert_eq!(limited.load(Ordering::Relaxed), 1);
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
    assert!(client.session.port.may_read(false));
    client.say_batch(channel, 2, 1);
    world.settled().await;
    assert!(!client.session.port.may_read(false), "the brane is done, its answers are not out");
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
        assert_eq!(client.session.port.may_read(false), bytes < 1_000, "{bytes} under way");
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
