//! Several systems that share a store.

use avvy_flow::LeaseConfig;
use avvy_model::{NodeId, Portal, PropsPatch, TraceId, ValueLimits, Visibility};
use avvy_persistence::memory::{MemoryFleet, MemoryStore};
use avvy_persistence::{BoxFuture, Life, Node};
use avvy_protocol::ErrorMessage;

use super::*;
use crate::{Chronicle, FleetConfig, Rulings, Way, WriteRequest};

/// A lease that is renewed often: the time of the fleet goes on only as told.
const LEASE: LeaseConfig = LeaseConfig { lease_ms: 500 };

pub(super) fn config() -> SystemConfig {
    let fleet = FleetConfig { lease: LEASE, ..FleetConfig::default() };
    SystemConfig { fleet, ..SystemConfig::default() }
}

/// Two nodes; the brane is the first one's.
pub(super) struct Pair {
    pub(super) fleet: MemoryFleet,
    pub(super) one: World,
    pub(super) two: World,
    pub(super) nodes: [NodeId; 2],
}

impl Pair {
    pub(super) async fn new(config: SystemConfig) -> Self {
        let fleet = MemoryFleet::new(MemoryDisk::new(), u64::from(LEASE.lease_ms));
        let (one, first) = node(&fleet, "http://one", config.clone()).await;
        let (mut two, second) = node(&fleet, "http://two", config).await;
        (two.claims, two.brane) = (one.claims.clone(), one.brane);
        one.create_brane(one.brane).await;
        Self { fleet, one, two, nodes: [first, second] }
    }
}

async fn node(fleet: &MemoryFleet, address: &str, config: SystemConfig) -> (World, NodeId) {
    let id = NodeId::new(Uuid::new_v4());
    let store = Arc::new(fleet.store(Node { id, address: address.to_owned() }));
    let member: Arc<MemoryStore> = Arc::clone(&store);
    let disk = fleet.disk().clone();
    (World::without_brane(Some(member), None, store, disk, config).await, id)
}

impl Session {
    /// A join that is not served.
    pub(super) async fn denied(&mut self, brane: BraneId) -> ErrorMessage {
        let (client, known) = (client(), false);
        self.say(&ClientMessage::Join(Join { brane, client, known, resume: None, area: None }));
        match self.until(|m| matches!(m, ServerMessage::Joined(_) | ServerMessage::Error(_))).await
        {
            ServerMessage::Error(error) => error,
            other => panic!("{other:?}"),
        }
    }

    /// The end of the channel: why, and where it goes on.
    pub(super) async fn left(&mut self) -> (Option<Code>, Option<String>) {
        match self.until(|m| matches!(m, ServerMessage::Left { .. })).await {
            ServerMessage::Left { code, address, .. } => (code, address),
            other => panic!("{other:?}"),
        }
    }
}

fn at(position: Position) -> Option<Resume> {
    Some(Resume { version: position, touched: Some(Vec::new()), scope: None })
}

#[tokio::test]
async fn a_join_at_the_wrong_node_says_where() {
    let Pair { fleet, one, two, .. } = Pair::new(config()).await;
    let mut session = one.connect().await;
    let (channel, _) = session.join(one.brane, client(), None).await;
    session.create(channel, 1).await;

    let mut lost = two.connect().await;
    let denied = lost.denied(two.brane).await;
    let expected = (Code::Moved, Some("http://one".to_owned()), None);
    assert_eq!((denied.code, denied.address, denied.retry_after_ms), expected);
    let denied = two.system.view(two.brane, &two.claims).await.err().unwrap();
    assert_eq!((denied.code, denied.address.as_deref()), (Code::Moved, Some("http://one")));
    // Its node has not been heard of for a while.
    one.fail_every(|operation| operation == StoreOperation::Renew);
    fleet.advance(u64::from(LEASE.lease_ms) / 4 * 3);
    let denied = two.system.view(two.brane, &two.claims).await.err().unwrap();
    let address = Some("http://one".to_owned());
    assert_eq!((denied.address, denied.retry_after_ms), (address, Some(126)));
    fleet.disk().heal();
    assert!(two.system.probe().await.is_ok(), "each node's probe is its own");
    assert!(one.system.probe().await.is_ok());
}

/// A chronicle to which it was told that one user is at home in one brane.
struct Told(UserId, BraneId);

impl Chronicle for Told {
    fn keep(&self, _: Rulings) -> BoxFuture<'_, Result<(), Code>> {
        Box::pin(async { Ok(()) })
    }

    fn is_member(&self, user: UserId, brane: BraneId, _: u64) -> BoxFuture<'_, Result<bool, Code>> {
        let is_told = (user, brane) == (self.0, self.1);
        Box::pin(async move { Ok(is_told) })
    }
}

/// The node that is asked knows no rights of what another one has open.
#[tokio::test]
async fn a_portal_names_no_private_brane_of_another_node_to_strangers() {
    let Pair { one, two, .. } = Pair::new(config()).await;
    one.system.view(one.brane, &one.claims).await.unwrap();
    let [friend, stranger] =
        [1, 2].map(|nth| Claims { user: UserId::new(Uuid::from_u128(nth)), ..two.claims.clone() });
    two.system.chronicle(Arc::new(Told(friend.user, two.brane)));
    // The brane that the portal names was archived, and a private one succeeds it.
    let [hall, old] = [(); 2].map(|()| BraneId::new(Uuid::new_v4()));
    let visibility = Visibility::Public;
    let life = Life::Archived { since_ms: 1, successor: Some(two.brane) };
    for record in [
        BraneRecord { visibility, ..two.record(hall) },
        BraneRecord { visibility, life, ..two.record(old) },
    ] {
        two.store.create_brane(record).await.unwrap();
    }
    for to in [old, two.brane] {
        let entries = Portal { to, exit: None }.entries();
        let entries = entries.into_iter().map(|(key, value)| (key, Some(value))).collect();
        let patch = PropsPatch::new(entries).unwrap();
        let (props, _) = Props::default().patched(&patch, &ValueLimits::NONE).unwrap();
        let made = create(Kind::Block, props);
        let Operation::Create { id: portal, .. } = made else { unreachable!() };
        let edits = vec![NumberedEdit { counter: Counter(1), edit: Edit::One(made) }];
        let trace = TraceId::new(Uuid::new_v4());
        let request = WriteRequest { client: client(), known: false, edits, trace };
        two.system.write(hall, &two.claims, request).await.unwrap();
        for claims in [&two.claims, &friend] {
            let way = two.system.way(hall, claims, portal).await.unwrap();
            let Way::Elsewhere { brane, address } = way else { panic!("{way:?}") };
            assert_eq!((brane, address.as_str()), (two.brane, "http://one"));
        }
        let way = two.system.way(hall, &stranger, portal).await.unwrap();
        assert!(matches!(way, Way::Closed(named) if named == to), "{way:?}");
    }
}

#[tokio::test]
async fn what_is_closed_here_opens_elsewhere_at_once() {
    let Pair { one, two, .. } = Pair::new(config()).await;
    let mut session = one.connect().await;
    let (channel, _) = session.join(one.brane, client(), None).await;
    let at = session.create(channel, 1).await;
    session.say(&ClientMessage::Leave { channel });
    session.left().await;
    one.system.close_brane(one.brane);
    let opened = async {
        loop {
            match two.system.view(two.brane, &two.claims).await {
                Ok(view) => return view,
                Err(denied) => assert_eq!(denied, Code::Moved),
            }
        }
    };
    let view = timeout(PATIENCE, opened).await.unwrap();
    assert_eq!((view.world.len(), view.at.seq), (2, at.seq));
    assert_eq!(session.denied(one.brane).await.address.as_deref(), Some("http://two"));
}

#[tokio::test]
async fn a_node_that_ends_hands_its_branes_over() {
    let Pair { one, two, .. } = Pair::new(config()).await;
    let mut session = one.connect().await;
    let me = client();
    let (channel, _) = session.join(one.brane, me, None).await;
    let mut last = Position::default();
    for counter in 1..=20 {
        last = session.create(channel, counter).await;
    }
    // Edits go on all the while, and some are without an outcome at the end.
    let handing_over = one.system.hand_over(PATIENCE);
    let editing = async {
        let mut counter = 21;
        loop {
            session.submit(channel, counter, create(Kind::Block, Props::default()));
            let heard = session
                .until(|m| match m {
                    ServerMessage::Applied { edits, .. } => edits[0].0 == Counter(counter),
                    ServerMessage::Error(_) | ServerMessage::Left { .. } => true,
                    _ => false,
                })
                .await;
            match heard {
                ServerMessage::Applied { .. } => counter += 1,
                ServerMessage::Left { code, address, .. } => {
                    assert_eq!((code, address.as_deref()), (Some(Code::Moved), Some("http://two")));
                    return counter;
                }
                // Not served: the end of the channel is on its way.
                _ => {
                    let left = session.left().await;
                    assert_eq!(left, (Some(Code::Moved), Some("http://two".to_owned())));
                    return counter;
                }
            }
        }
    };
    let ((), count) = tokio::join!(handing_over, editing);

    let mut session = two.connect().await;
    let (channel, catch_up) = session.join(two.brane, me, at(last)).await;
    assert_eq!(catch_up, CatchUp::Replay, "what was not seen is in the ring of the other node");
    for counter in 21..=count {
        session.submit(channel, counter, create(Kind::Block, Props::default()));
    }
    let done = |m: &ServerMessage| matches!(m, ServerMessage::Durable { durable, .. } if durable.seq.0 >= count);
    session.until(done).await;
    let view = two.system.view(two.brane, &two.claims).await.unwrap();
    assert_eq!((view.world.len(), view.at.seq), (count as u32 + 1, Seq(count)), "once each");
    assert!(view.at.epoch > last.epoch);
    assert_eq!(one.system.metrics().branes_moved.load(Ordering::Relaxed), 1);

    // What is asked for at the node that ends is served by the other.
    let other = BraneId::new(Uuid::new_v4());
    one.create_brane(other).await;
    let denied = one.system.view(other, &one.claims).await.err().unwrap();
    assert_eq!(denied.address.as_deref(), Some("http://two"));
    assert!(one.system.drain(PATIENCE).await);
    assert_eq!(two.system.status().await.unwrap().lease.unwrap().taken, 0);
}

/// Whoever asks for a brane where it is to come is sent to where it is, and does
/// not keep it from coming.
#[tokio::test]
async fn a_brane_comes_though_it_is_asked_for_too_early() {
    let Pair { one, two, .. } = Pair::new(config()).await;
    let mut session = one.connect().await;
    let (channel, _) = session.join(one.brane, client(), None).await;
    session.create(channel, 1).await;
    let handing_over = one.system.hand_over(PATIENCE);
    let asking = async {
        loop {
            match two.system.view(two.brane, &two.claims).await {
                Ok(view) => return view,
                Err(denied) => assert_eq!(denied, Code::Moved),
            }
        }
    };
    let ((), view) = timeout(PATIENCE, async { tokio::join!(handing_over, asking) }).await.unwrap();
    assert_eq!((view.world.len(), view.at.seq), (2, Seq(1)));
    assert_eq!(session.left().await, (Some(Code::Moved), Some("http://two".to_owned())));
    let metrics = one.system.metrics();
    let moved = [&metrics.branes_moved, &metrics.branes_not_moved];
    assert_eq!(moved.map(|count| count.load(Ordering::Relaxed)), [1, 0]);
}

/// It was given a brane, and hears of that when it takes none any more.
#[tokio::test]
async fn a_node_that_ends_does_not_wait_for_what_comes() {
    let Pair { fleet, one, two, .. } = Pair::new(config()).await;
    one.system.view(one.brane, &one.claims).await.unwrap();
    let other = BraneId::new(Uuid::new_v4());
    two.create_brane(other).await;
    let mut session = two.connect().await;
    let (channel, _) = session.join(other, client(), None).await;
    one.system.hand_over(PATIENCE).await;
    assert_eq!(one.system.metrics().branes_moved.load(Ordering::Relaxed), 1);
    // A brane of its own cannot close yet.
    one.fail_every(|operation| matches!(operation, StoreOperation::Renew | StoreOperation::Append));
    session.submit(channel, 1, create(Kind::Block, Props::default()));
    session.until(|m| matches!(m, ServerMessage::Applied { .. })).await;
    let hearing = async {
        while two.system.view(other, &two.claims).await.is_ok() {
            tokio::task::yield_now().await;
        }
        one.fail_every(|operation| operation == StoreOperation::Append);
        while two.system.status().await.unwrap().lease.unwrap().offered > 0 {
            tokio::task::yield_now().await;
        }
        fleet.disk().heal();
    };
    let (drained, ()) = tokio::join!(two.system.drain(PATIENCE), hearing);
    assert!(drained);
}

#[tokio::test]
async fn what_nobody_takes_is_closed() {
    let Pair { one, two, .. } = Pair::new(config()).await;
    assert!(two.system.drain(PATIENCE).await);
    let mut session = one.connect().await;
    let (channel, _) = session.join(one.brane, client(), None).await;
    session.create(channel, 1).await;
    one.system.hand_over(PATIENCE).await;
    assert_eq!(one.system.metrics().branes_moved.load(Ordering::Relaxed), 0);
    session.create(channel, 2).await;
    assert!(one.system.drain(PATIENCE).await);
    assert_eq!(one.system.metrics().snapshots.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_brane_that_another_node_took_is_dropped() {
    let Pair { fleet, one, two, nodes } = Pair::new(config()).await;
    let mut session = one.connect().await;
    let me = client();
    let (channel, _) = session.join(one.brane, me, None).await;
    let last = session.create(channel, 1).await;
    // As if it had been stopped for longer than its lease.
    let taken = async {
        loop {
            fleet.lapse(nodes[0]);
            match two.system.view(two.brane, &two.claims).await {
                Ok(view) => return view,
                Err(denied) => assert_eq!(denied, Code::Moved),
            }
        }
    };
    let view = timeout(PATIENCE, taken).await.unwrap();
    assert_eq!(view.at.seq, last.seq);
    // It learns of it by a renewal; nobody edits here.
    assert_eq!(session.left().await, (Some(Code::Unavailable), None));
    assert_eq!(session.denied(one.brane).await.address.as_deref(), Some("http://two"));
    let status = one.system.status().await.unwrap();
    assert_eq!(status.lease.unwrap().taken, 1);
    let mut session = two.connect().await;
    let (channel, catch_up) = session.join(two.brane, me, at(last)).await;
    assert_eq!(catch_up, CatchUp::Replay);
    assert_eq!(session.create(channel, 2).await.seq, last.seq.next());
}

#[tokio::test]
async fn an_edit_of_a_node_that_lost_its_brane_is_not_stored() {
    let Pair { fleet, one, two, nodes } = Pair::new(config()).await;
    let mut session = one.connect().await;
    let me = client();
    let (channel, _) = session.join(one.brane, me, None).await;
    let last = session.create(channel, 1).await;
    // It cannot hear that it was taken.
    one.fail_every(|operation| operation == StoreOperation::Renew);
    fleet.lapse(nodes[0]);
    two.system.view(two.brane, &two.claims).await.unwrap();
    session.submit(channel, 2, create(Kind::Block, Props::default()));
    assert_eq!(session.left().await, (Some(Code::Unavailable), None));
    let view = two.system.view(two.brane, &two.claims).await.unwrap();
    assert_eq!(view.at.seq, last.seq);
    fleet.disk().heal();
    // Sent again, it is applied where the brane is.
    let mut session = two.connect().await;
    let (channel, _) = session.join(two.brane, me, at(last)).await;
    assert_eq!(session.create(channel, 2).await.seq, last.seq.next());
}

#[tokio::test]
async fn a_node_that_is_cut_off_and_loses_nothing_goes_on() {
    let Pair { fleet, one, .. } = Pair::new(config()).await;
    let mut session = one.connect().await;
    let (channel, _) = session.join(one.brane, client(), None).await;
    session.create(channel, 1).await;
    let away = |operation| matches!(operation, StoreOperation::Renew | StoreOperation::Append);
    one.fail_every(away);
    one.until_provisional(true).await;
    session.submit(channel, 2, create(Kind::Block, Props::default()));
    let applied = session.until(|m| matches!(m, ServerMessage::Applied { .. })).await;
    let ServerMessage::Applied { edits, .. } = applied else { unreachable!() };
    assert_eq!(edits, [(Counter(2), Seq(2))]);
    fleet.disk().heal();
    let is_durable = |m: &ServerMessage| matches!(m, ServerMessage::Durable { durable, .. } if durable.seq == Seq(2));
    session.until(is_durable).await;
    one.until_provisional(false).await;
    session.create(channel, 3).await;
}

#[tokio::test]
async fn a_node_that_is_not_sure_refuses_edits_where_that_is_asked_for() {
    let mut config = config();
    config.group_commit.refuse_when_away = true;
    let Pair { fleet, one, .. } = Pair::new(config).await;
    let mut session = one.connect().await;
    let (channel, _) = session.join(one.brane, client(), None).await;
    session.create(channel, 1).await;
    one.fail_every(|operation| operation == StoreOperation::Renew);
    one.until_provisional(true).await;
    // The brane may hear of it a moment later.
    let mut counter = 2;
    let refused = async {
        loop {
            session.submit(channel, counter, create(Kind::Block, Props::default()));
            counter += 1;
            let answer = session
                .until(|m| {
                    matches!(m, ServerMessage::Applied { .. } | ServerMessage::Refused { .. })
                })
                .await;
            if let ServerMessage::Refused { edits, .. } = answer {
                return edits[0].code;
            }
        }
    };
    assert_eq!(timeout(PATIENCE, refused).await.unwrap(), Code::Unavailable);
    fleet.disk().heal();
    one.until_provisional(false).await;
    let taken = async {
        loop {
            session.submit(channel, counter, create(Kind::Block, Props::default()));
            counter += 1;
            let answer = session
                .until(|m| {
                    matches!(m, ServerMessage::Applied { .. } | ServerMessage::Refused { .. })
                })
                .await;
            if matches!(answer, ServerMessage::Applied { .. }) {
                return;
            }
        }
    };
    timeout(PATIENCE, taken).await.unwrap();
}

impl World {
    /// Waits until the node is, or is not, sure of its lease.
    async fn until_provisional(&self, wanted: bool) {
        let changed = async {
            while self.system.status().await.unwrap().lease.unwrap().provisional != wanted {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, changed).await.unwrap();
    }
}
