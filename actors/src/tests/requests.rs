//! Requests that write without a session.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender};

use avvy_model::{DeleteMode, EditId, TraceId};
use avvy_protocol::close::CloseCode;
use avvy_protocol::frame::Frame;

use super::*;
use crate::wire::Backlog;
use crate::{OnlyIf, WriteRequest, Written};

#[tokio::test]
async fn a_request_writes_as_a_session_does() {
    let world = World::new(SystemConfig::default()).await;
    let mut session = world.connect().await;
    session.join(world.brane, client(), None).await;
    let missing =
        Operation::Delete { target: Target::Handle(Handle(99)), mode: DeleteMode::Subtree };
    let edits = [create(Kind::Group, Props::default()), missing]
        .into_iter()
        .zip(1..)
        .map(|(operation, n)| NumberedEdit { counter: Counter(n), edit: Edit::One(operation) })
        .collect::<Vec<_>>();
    let me = client();
    for _ in 0..2 {
        let trace = TraceId::new(Uuid::new_v4());
        let request = WriteRequest { client: me, known: false, edits: edits.clone(), trace };
        let written = world.system.write(world.brane, &world.claims, request).await.unwrap();
        assert_eq!(written.outcomes[0].1, Ok(Seq(1)));
        assert_eq!(written.outcomes[1].1.unwrap_err().code, Code::ObjectNotFound);
        assert!(written.durable >= Seq(1));
    }
    let seen = |m: &ServerMessage| matches!(m, ServerMessage::Flush(flush) if flush.to == Seq(1));
    session.until(seen).await;
}

fn request(client: ClientId, counter: u64) -> WriteRequest {
    let edit = Edit::One(create(Kind::Block, Props::default()));
    let edits = vec![NumberedEdit { counter: Counter(counter), edit }];
    WriteRequest { client, known: false, edits, trace: TraceId::new(Uuid::new_v4()) }
}

/// What would be taken for a user's own transfer.
#[tokio::test]
async fn nobody_writes_as_the_server_does() {
    let world = World::new(SystemConfig::default()).await;
    let me = ClientId::of_transfers(world.claims.user);
    let mut session = world.connect().await;
    let join = Join { brane: world.brane, client: me, known: false, resume: None, area: None };
    session.say(&ClientMessage::Join(join));
    assert_eq!(session.error().await, Code::ClientTaken);
    let refused = world.system.write(world.brane, &world.claims, request(me, 1)).await;
    assert_eq!(refused.unwrap_err().code, Code::ClientTaken);
    session.join(world.brane, client(), None).await;
}

#[tokio::test]
async fn what_is_for_one_epoch_is_taken_under_no_other() {
    let world = World::new(SystemConfig::default()).await;
    let me = ClientId::of_transfers(world.claims.user);
    let epoch = world.system.view(world.brane, &world.claims).await.unwrap().at.epoch;
    let only_if = OnlyIf { epoch: Some(epoch), objects: Vec::new() };
    let write = async |nth| {
        let request = request(me, nth);
        let written =
            world.system.write_if(world.brane, &world.claims, request, only_if.clone()).await;
        written.unwrap().outcomes[0].1.map_err(|refusal| refusal.code)
    };
    let settle = async |nth| {
        let of = EditId { client: me, counter: Counter(nth) };
        let settled = world.system.settle(world.brane, world.claims.user, of, Some(epoch)).await;
        settled.map_err(|denied| denied.code)
    };
    assert_eq!(write(1).await, Ok(Seq(1)));
    assert_eq!(settle(2).await, Ok(false));
    assert_eq!(write(2).await, Err(Code::OutcomeUnknown), "it was settled");
    world.fail_brane().await;
    let now = async || world.system.view(world.brane, &world.claims).await;
    while now().await.map_or(true, |view| view.at.epoch == epoch) {
        tokio::task::yield_now().await;
    }
    assert_eq!(write(1).await, Ok(Seq(1)), "it is known");
    assert_eq!(write(2).await, Err(Code::Unavailable));
    assert_eq!(write(3).await, Err(Code::Unavailable));
    for (nth, is_applied) in [(1, true), (2, false), (3, false)] {
        assert_eq!(settle(nth).await, Ok(is_applied), "{nth}");
    }
}

/// A wire that, once it is shut, keeps the fan-out in its next send until it
/// is told to go on.
struct Gate {
    inbox: Inbox,
    is_shut: AtomicBool,
    arrived: Sender<()>,
    go_on: Mutex<Receiver<()>>,
}

impl Wire for Gate {
    fn send(&self, frames: &[Frame]) -> Backlog {
        if self.is_shut.swap(false, Ordering::AcqRel) {
            self.arrived.send(()).unwrap();
            // What this thread would run next goes on elsewhere.
            tokio::task::block_in_place(|| self.go_on.lock().unwrap().recv()).unwrap();
        }
        self.inbox.send(frames)
    }

    fn is_full(&self) -> bool {
        self.inbox.is_full()
    }

    fn close(&self, code: CloseCode) {
        self.inbox.close(code);
    }

    fn cut(&self) {
        self.inbox.cut();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_request_is_answered_when_its_window_is_durable_before_it_is_published() {
    let mut config = SystemConfig::default();
    // While the fan-out is busy, a window with one edit goes to the journal.
    config.brane.flush.max_window_events = 1;
    let world = World::new(config).await;
    let (arrived, has_arrived) = std::sync::mpsc::channel();
    let (go_on, gate) = std::sync::mpsc::channel();
    let (is_shut, go_on_gate) = (AtomicBool::new(false), Mutex::new(gate));
    let mut wire = None;
    let mut session = world
        .connect_by(|inbox| {
            let gate = Arc::new(Gate { inbox, is_shut, arrived, go_on: go_on_gate });
            wire = Some(Arc::clone(&gate));
            gate
        })
        .await;
    let (channel, _) = session.join(world.brane, client(), None).await;
    wire.unwrap().is_shut.store(true, Ordering::Release);
    session.submit(channel, 1, create(Kind::Block, Props::default()));
    tokio::task::block_in_place(|| has_arrived.recv_timeout(PATIENCE)).unwrap();

    let handle = world.system.brane_handle(world.brane).await.unwrap();
    let edit = Edit::One(create(Kind::Block, Props::default()));
    let edits = vec![NumberedEdit { counter: Counter(1), edit }];
    let trace = TraceId::new(Uuid::new_v4());
    let request = WriteRequest { client: client(), known: false, edits, trace };
    let (system, brane, claims) = (world.system.clone(), world.brane, world.claims.clone());
    let write = tokio::spawn(async move { system.write(brane, &claims, request).await });
    let durable = async {
        while world.system.ask(&handle.actor, BraneMsg::Status).await.unwrap().durable < Seq(2) {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, durable).await.unwrap();
    assert!(!write.is_finished(), "nobody has seen the edit");
    go_on.send(()).unwrap();
    let Written { outcomes, durable, .. } = write.await.unwrap().unwrap();
    assert_eq!((outcomes, durable), (vec![(Counter(1), Ok(Seq(2)))], Seq(2)));
}
