//! More sessions than a brane lets in at a time.

use std::sync::Mutex;

use avvy_flow::{AdmissionConfig, AdmissionStatus};

use super::*;

fn join(brane: BraneId) -> ClientMessage {
    ClientMessage::Join(Join { brane, client: client(), known: false, resume: None, area: None })
}

impl Session {
    async fn is_refused(&mut self) -> u64 {
        match self.until(|m| matches!(m, ServerMessage::Error(_))).await {
            ServerMessage::Error(error) => {
                assert_eq!(error.code, Code::Unavailable);
                assert_eq!(error.operation.as_deref(), Some("brane.join"));
                error.retry_after_ms.unwrap()
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn sessions_enter_in_turn_and_the_rest_are_told_when_to_come_back() {
    let admission = AdmissionConfig {
        max_entering: 1,
        slow_after_ms: 3_600_000,
        max_waiting: 2,
        max_wait_ms: 5_000,
    };
    let world = World::new(SystemConfig { admission, ..SystemConfig::default() }).await;
    let mut early = world.connect().await;
    early.join(world.brane, client(), None).await;

    let is_stuck = Arc::new(AtomicBool::new(true));
    let stuck = |inbox| Arc::new(Stuck { inbox, is_stuck: Arc::clone(&is_stuck) }) as Arc<dyn Wire>;
    let mut slow = world.connect_by(stuck).await;
    slow.join(world.brane, client(), None).await;

    let mut waiting = Vec::new();
    for _ in 0..2 {
        let mut session = world.connect().await;
        session.say(&join(world.brane));
        waiting.push(session);
    }
    let mut away = Vec::new();
    for _ in 0..3 {
        let mut session = world.connect().await;
        session.say(&join(world.brane));
        away.push(session.is_refused().await);
    }
    assert!(away.iter().all(|ms| (1..=5_001).contains(ms)), "{away:?}");
    let status = world.admission().await;
    assert_eq!((status.entering, status.waiting), (1, 2));
    assert_eq!((status.admitted, status.sent_away), (2, 3));
    assert!(status.waited >= 2, "{status:?}");

    // One of those who wait goes away, the others get in when there is room.
    let gone = waiting.remove(0);
    gone.port.ended();
    is_stuck.store(false, Ordering::Relaxed);
    slow.port.drained();
    for session in &mut waiting {
        session.until(|m| matches!(m, ServerMessage::Joined(_))).await;
    }
    let mut last = world.connect().await;
    last.join(world.brane, client(), None).await;
    let status = world.admission().await;
    assert_eq!((status.waiting, status.admitted, status.sent_away), (0, 4, 3));
}

impl World {
    async fn admission(&self) -> AdmissionStatus {
        let status = self.system.status().await.unwrap();
        status.branes.iter().find(|open| open.brane == self.brane).unwrap().admission
    }
}

#[tokio::test]
async fn who_waits_is_refused_when_the_brane_closes() {
    let admission = AdmissionConfig { max_entering: 1, ..AdmissionConfig::default() };
    let world = World::new(SystemConfig { admission, ..SystemConfig::default() }).await;
    let is_stuck = Arc::new(AtomicBool::new(true));
    let stuck = |inbox| Arc::new(Stuck { inbox, is_stuck: Arc::clone(&is_stuck) }) as Arc<dyn Wire>;
    let mut slow = world.connect_by(stuck).await;
    slow.join(world.brane, client(), None).await;
    let mut waits = world.connect().await;
    waits.say(&join(world.brane));
    let handle = world.system.brane_handle(world.brane).await.unwrap();
    handle.actor.send_message(BraneMsg::Close).unwrap();
    waits.is_refused().await;
}

/// A wire that keeps whoever sends an error until it is told to go on.
struct Holding {
    inbox: Inbox,
    held: mpsc::Sender<()>,
    go_on: Mutex<std::sync::mpsc::Receiver<()>>,
}

impl Wire for Holding {
    fn send(&self, frames: &[Frame]) -> Backlog {
        let is_error = |frame: &Frame| {
            matches!(codec::decode_server(frame.payload()), Ok(ServerMessage::Error(_)))
        };
        if frames.iter().any(is_error) {
            self.held.try_send(()).unwrap();
            self.go_on.lock().unwrap().recv().unwrap();
        }
        self.inbox.send(frames)
    }

    fn is_full(&self) -> bool {
        false
    }

    fn close(&self, _code: CloseCode) {}

    fn cut(&self) {}
}

/// Of a client that the brane does not know.
fn stale_join(brane: BraneId) -> ClientMessage {
    ClientMessage::Join(Join { brane, client: client(), known: true, resume: None, area: None })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_comes_late_leaves_the_next_join_alone() {
    let world = World::new(SystemConfig::default()).await;
    let mut session = world.connect().await;
    let (channel, _) = session.join(world.brane, client(), None).await;
    session.say(&ClientMessage::Leave { channel });
    session.until(|m| matches!(m, ServerMessage::Left { .. })).await;

    // Somebody's refusal holds the brane's actor.
    let (held, mut is_held) = mpsc::channel(1);
    let (go, go_on) = std::sync::mpsc::channel();
    let holding = |inbox| Arc::new(Holding { inbox, held, go_on: Mutex::new(go_on) });
    let mut other = world.connect_by(|inbox| holding(inbox) as Arc<dyn Wire>).await;
    other.say(&stale_join(world.brane));
    is_held.recv().await.unwrap();

    // Meanwhile: a join that will be refused, a change of mind, and a good one.
    session.say(&stale_join(world.brane));
    session.has_routes(1).await;
    session.say(&ClientMessage::Leave { channel });
    session.has_routes(0).await;
    session.say(&join(world.brane));
    session.has_routes(1).await;
    go.send(()).unwrap();
    assert_eq!(session.error().await, Code::ClientUnknown);
    session.until(|m| matches!(m, ServerMessage::Joined(_))).await;
    session.create(channel, 1).await;
}

#[tokio::test]
async fn what_was_asked_for_an_earlier_join_is_not_done_for_the_next() {
    let world = World::new(SystemConfig::default()).await;
    let mut session = world.connect().await;
    let (channel, _) = session.join(world.brane, client(), None).await;
    let at = session.create(channel, 1).await;
    session.say(&ClientMessage::Leave { channel });
    session.until(|m| matches!(m, ServerMessage::Left { .. })).await;
    let (channel, _) = session.join(world.brane, client(), None).await;

    // The fan-out asked for this before it heard that the session had left. The
    // copy of the first join is gone: its difference would break the next.
    let brane = world.system.brane_handle(world.brane).await.unwrap().actor;
    let (key, at) = (session.port.shared.key, Some(at));
    brane.send_message(BraneMsg::Resync { session: key, join: 1, at, view: None }).unwrap();
    session.submit(channel, 1, create(Kind::Block, Props::default()));
    let next =
        session.until(|m| matches!(m, ServerMessage::Joined(_) | ServerMessage::Applied { .. }));
    assert!(matches!(next.await, ServerMessage::Applied { .. }));
}

impl Session {
    /// Waits until so many branes are joined or about to be.
    async fn has_routes(&self, count: usize) {
        let reached = async {
            while self.port.shared.routes().len() != count {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, reached).await.unwrap();
    }
}
