//! Several nodes: who may open what.

use avvy_model::{BraneId, Epoch, NodeId};

use crate::chunk::AppendRefusal;
use crate::error::StoreError;
use crate::fleet::{Holding, NodeStatus, Renewed};
use crate::life::Life;
use crate::record::BraneRecord;
use crate::report::CompactPolicy;
use crate::store::BoxFuture;
use crate::testing::fixture::{Failure, Verdict};
use crate::testing::fleet_fixture::{FleetFixture, LEASE_MS, Member};
use crate::testing::samples::{brane, chunk, ensure, ensure_eq, fill, opened, record, snapshot};

/// One demand on a fleet.
#[derive(Clone, Copy)]
pub struct FleetCase {
    /// What a fleet that passes does.
    pub name: &'static str,
    run: for<'a> fn(&'a mut dyn FleetFixture) -> BoxFuture<'a, Verdict>,
}

impl FleetCase {
    /// Tries it on an empty fleet.
    pub fn run<'a>(&self, fixture: &'a mut dyn FleetFixture) -> BoxFuture<'a, Verdict> {
        (self.run)(fixture)
    }
}

macro_rules! list {
    ($($name:ident),+ $(,)?) => {
        &[$(FleetCase {
            name: stringify!($name),
            run: |fixture| Box::pin($name(fixture)),
        }),+]
    };
}

/// Every case of a fleet.
pub const FLEET_CASES: &[FleetCase] = list![
    opens_what_nobody_holds,
    keeps_others_out_while_the_lease_lasts,
    lets_a_lapsed_node_go_on_that_lost_nothing,
    gives_what_a_dead_node_held_to_the_next,
    says_what_was_lost_until_it_is_not_named,
    takes_losses_by_epoch,
    forgets_a_node_and_not_what_is_fenced,
    refuses_only_the_chunks_of_the_lost_brane,
    frees_what_is_released,
    frees_all_when_a_node_leaves,
    lets_a_successor_have_what_the_dead_held,
    hands_a_brane_over,
    hands_over_once,
    takes_offers_back,
    begins_anew_for_another_target,
    lets_anybody_have_what_was_handed_to_the_dead,
    refuses_to_give_away_what_is_not_held,
    lists_nodes,
    shares_out_what_is_compacted,
    changes_nothing_that_another_holds,
    takes_from_the_lapsed_what_it_changes,
    purges_nothing_that_is_held,
    knows_no_brane_that_is_not_there,
];

/// Two nodes that have entered.
async fn two(fixture: &mut dyn FleetFixture) -> Result<(Member, Member), Failure> {
    Ok((entered(fixture, 1).await?, entered(fixture, 2).await?))
}

async fn entered(fixture: &mut dyn FleetFixture, nth: u8) -> Result<Member, Failure> {
    let member = fixture.member(nth).await?;
    member.fleet.enter().await?;
    Ok(member)
}

/// Creates and opens branes from 1 on; all of them together.
async fn hold(member: &Member, count: u8) -> Result<Vec<Holding>, Failure> {
    let mut held = Vec::new();
    for nth in 1..=count {
        let epoch = opened(&member.store, nth).await?.epoch;
        held.push(Holding { brane: brane(nth), epoch });
    }
    Ok(held)
}

/// Fails unless a brane is answered as held by this node, whose lease lasts.
async fn expect_held(asking: &Member, nth: u8, by: &Member) -> Verdict {
    match asking.store.open(brane(nth)).await {
        Err(StoreError::Held { address, remaining_ms }) => {
            ensure_eq!(address, by.node.address, "the address of the holder of brane {nth}");
            ensure!((1..=LEASE_MS).contains(&remaining_ms), "{remaining_ms} ms remain");
            Ok(())
        }
        other => Err(Failure(format!("brane {nth} is held, and was answered {other:?}"))),
    }
}

/// The nth brane, deleted long ago, as the record after its first.
fn deleted(nth: u8) -> BraneRecord {
    let life = Life::Doomed { since_ms: 1, purge_ms: 2 };
    BraneRecord { life, version: 2, ..record(nth) }
}

async fn changes_nothing_that_another_holds(fixture: &mut dyn FleetFixture) -> Verdict {
    let (one, other) = two(fixture).await?;
    let held = hold(&one, 1).await?;
    let renamed = BraneRecord { name: "new".to_owned(), version: 2, ..record(1) };
    let answer = other.store.update_brane(renamed.clone(), 1).await;
    ensure!(matches!(answer, Err(StoreError::Held { .. })), "another's change: {answer:?}");
    ensure_eq!(other.store.brane(brane(1)).await?, record(1), "the record");
    one.store.update_brane(renamed.clone(), 1).await?;
    ensure_eq!(other.store.brane(brane(1)).await?, renamed, "the record as its holder changed it");
    one.fleet.release(brane(1), held[0].epoch).await?;
    other.store.update_brane(BraneRecord { version: 3, ..renamed }, 2).await?;
    Ok(())
}

/// Whoever comes back after its lease would go on with what was before.
async fn takes_from_the_lapsed_what_it_changes(fixture: &mut dyn FleetFixture) -> Verdict {
    let (one, other) = two(fixture).await?;
    let held = hold(&one, 2).await?;
    fill(&one.store, 1, held[0].epoch, 0..3).await?;
    fixture.lapse(one.node.id).await?;
    for _ in 0..2 {
        other.store.update_brane(deleted(1), 1).await?;
        ensure_eq!(holder(&other, 1).await?, None, "the holder of what was changed");
    }
    ensure_eq!(one.fleet.renew(held.clone()).await?, lost(&[1], true), "the renewal after it");
    let answer = one.store.append(vec![chunk(1, held[0].epoch, 3, 4)]).await?;
    let is_stale = matches!(answer[0], Err(AppendRefusal::StaleEpoch { .. }));
    ensure!(is_stale, "a chunk of whoever held it: {answer:?}");
    fill(&one.store, 2, held[1].epoch, 0..1).await?;
    let restored = BraneRecord { version: 3, ..record(1) };
    one.store.update_brane(restored.clone(), 2).await?;
    let opened = other.store.open(brane(1)).await?;
    ensure_eq!((opened.record, opened.head.0), (restored, 3), "what is opened");
    ensure_eq!(opened.lineage.len(), 2, "its openings");
    Ok(())
}

async fn purges_nothing_that_is_held(fixture: &mut dyn FleetFixture) -> Verdict {
    let (one, other) = two(fixture).await?;
    let held = hold(&one, 1).await?;
    fill(&one.store, 1, held[0].epoch, 0..3).await?;
    one.store.update_brane(deleted(1), 1).await?;
    for (who, store) in [("the holder", &one.store), ("another", &other.store)] {
        let (begun, purged) =
            (store.begin_purge(brane(1), 9).await, store.purge_brane(brane(1), 9).await);
        for answer in [begun, purged] {
            ensure!(matches!(answer, Err(StoreError::Held { .. })), "a purge by {who}: {answer:?}");
        }
    }
    ensure_eq!(other.store.brane(brane(1)).await?, deleted(1), "the record");
    fill(&one.store, 1, held[0].epoch, 3..4).await?;
    one.fleet.release(brane(1), held[0].epoch).await?;
    other.store.purge_brane(brane(1), 9).await?;
    ensure_eq!(holder(&other, 1).await?, None, "the holder of what is purged");
    Ok(())
}

async fn holder(asking: &Member, nth: u8) -> Result<Option<NodeId>, Failure> {
    Ok(asking.fleet.holder(brane(nth)).await?.map(|holder| holder.node.id))
}

async fn open(member: &Member, nth: u8) -> Result<Epoch, Failure> {
    Ok(member.store.open(brane(nth)).await?.epoch)
}

fn lost(branes: &[u8], lapsed: bool) -> Renewed {
    let lost = branes.iter().map(|nth| brane(*nth)).collect();
    Renewed { lapsed, lost, offered: Vec::new() }
}

fn offered(branes: &[u8]) -> Renewed {
    Renewed { offered: branes.iter().map(|nth| brane(*nth)).collect(), ..Renewed::default() }
}

async fn opens_what_nobody_holds(fixture: &mut dyn FleetFixture) -> Verdict {
    let (one, other) = two(fixture).await?;
    let first = hold(&one, 1).await?[0].epoch;
    let status = one.fleet.holder(brane(1)).await?;
    let status = status.ok_or_else(|| Failure("nobody holds an open brane".into()))?;
    ensure_eq!((status.node, status.epoch), (one.node.clone(), first), "the holder");
    ensure!((1..=LEASE_MS).contains(&status.remaining_ms), "{} ms remain", status.remaining_ms);
    // Its own it may open again, under the next epoch.
    let again = open(&one, 1).await?;
    ensure!(again > first, "epoch {again} after {first}");
    opened(&other.store, 2).await?;
    ensure_eq!(holder(&one, 2).await?, Some(other.node.id), "the holder of the other brane");
    Ok(())
}

async fn keeps_others_out_while_the_lease_lasts(fixture: &mut dyn FleetFixture) -> Verdict {
    let (one, other) = two(fixture).await?;
    let held = hold(&one, 1).await?;
    expect_held(&other, 1, &one).await?;
    // Nothing has come of it.
    fill(&one.store, 1, held[0].epoch, 0..3).await?;
    ensure_eq!(one.fleet.renew(held.clone()).await?, Renewed::default(), "the renewal");
    expect_held(&other, 1, &one).await?;
    ensure_eq!(holder(&other, 1).await?, Some(one.node.id), "the holder");
    Ok(())
}

async fn lets_a_lapsed_node_go_on_that_lost_nothing(fixture: &mut dyn FleetFixture) -> Verdict {
    let (one, other) = two(fixture).await?;
    let held = hold(&one, 2).await?;
    fixture.lapse(one.node.id).await?;
    fill(&one.store, 1, held[0].epoch, 0..2).await?;
    ensure_eq!(one.fleet.renew(held.clone()).await?, lost(&[], true), "the renewal after it");
    expect_held(&other, 1, &one).await?;
    ensure_eq!(one.fleet.renew(held.clone()).await?, lost(&[], false), "the next renewal");
    fill(&one.store, 1, held[0].epoch, 2..4).await
}

async fn gives_what_a_dead_node_held_to_the_next(fixture: &mut dyn FleetFixture) -> Verdict {
    let (one, other) = two(fixture).await?;
    let before = hold(&one, 1).await?[0].epoch;
    fill(&one.store, 1, before, 0..3).await?;
    fixture.lapse(one.node.id).await?;
    let taken = other.store.open(brane(1)).await?;
    ensure!(taken.epoch > before, "epoch {} after {before}", taken.epoch);
    ensure_eq!(taken.head.0, 3, "the head");
    let answer = one.store.append(vec![chunk(1, before, 3, 4)]).await?;
    let stale = Err(AppendRefusal::StaleEpoch { current: taken.epoch });
    ensure_eq!(answer, vec![stale], "a chunk of the node that lost it");
    expect_held(&one, 1, &other).await?;
    fill(&other.store, 1, taken.epoch, 3..5).await
}

async fn says_what_was_lost_until_it_is_not_named(fixture: &mut dyn FleetFixture) -> Verdict {
    let (one, other) = two(fixture).await?;
    let held = hold(&one, 4).await?;
    fixture.lapse(one.node.id).await?;
    open(&other, 4).await?;
    open(&other, 2).await?;
    ensure_eq!(one.fleet.renew(held.clone()).await?, lost(&[2, 4], true), "the renewal after it");
    ensure_eq!(one.fleet.renew(held.clone()).await?, lost(&[2, 4], false), "the same again");
    let rest = vec![held[0], held[2]];
    ensure_eq!(one.fleet.renew(rest).await?, lost(&[], false), "a renewal of the rest");
    expect_held(&other, 1, &one).await
}

async fn takes_losses_by_epoch(fixture: &mut dyn FleetFixture) -> Verdict {
    let (one, other) = two(fixture).await?;
    let old = hold(&one, 1).await?;
    fixture.lapse(one.node.id).await?;
    let taken = open(&other, 1).await?;
    other.fleet.release(brane(1), taken).await?;
    one.fleet.renew(Vec::new()).await?;
    let epoch = open(&one, 1).await?;
    let new = vec![Holding { brane: brane(1), epoch }];
    ensure_eq!(one.fleet.renew(old).await?, lost(&[1], false), "what it held before");
    ensure_eq!(one.fleet.renew(new).await?, lost(&[], false), "what it holds now");
    Ok(())
}

async fn forgets_a_node_and_not_what_is_fenced(fixture: &mut dyn FleetFixture) -> Verdict {
    let (one, other) = two(fixture).await?;
    let held = hold(&one, 2).await?;
    fixture.forget(one.node.id).await?;
    ensure_eq!(other.fleet.holder(brane(1)).await?.map(|h| h.remaining_ms), Some(0), "remaining");
    open(&other, 1).await?;
    ensure_eq!(one.fleet.renew(held.clone()).await?, lost(&[1], true), "the renewal after it");
    expect_held(&other, 2, &one).await?;
    expect_held(&one, 1, &other).await
}

async fn refuses_only_the_chunks_of_the_lost_brane(fixture: &mut dyn FleetFixture) -> Verdict {
    let (one, other) = two(fixture).await?;
    let held = hold(&one, 3).await?;
    fixture.lapse(one.node.id).await?;
    let current = open(&other, 2).await?;
    let group = (1..).zip(&held).map(|(nth, held)| chunk(nth, held.epoch, 0, 1)).collect();
    let answers = one.store.append(group).await?;
    let expected = vec![Ok(()), Err(AppendRefusal::StaleEpoch { current }), Ok(())];
    ensure_eq!(answers, expected, "the answers");
    Ok(())
}

async fn frees_what_is_released(fixture: &mut dyn FleetFixture) -> Verdict {
    let (one, other) = two(fixture).await?;
    let held = hold(&one, 2).await?;
    one.fleet.release(brane(1), held[0].epoch).await?;
    one.fleet.release(brane(1), held[0].epoch).await?;
    ensure_eq!(holder(&one, 1).await?, None, "the holder of what was released");
    open(&other, 1).await?;
    expect_held(&other, 2, &one).await?;
    let answer = one.fleet.release(brane(1), held[0].epoch).await;
    ensure!(matches!(answer, Err(StoreError::StaleEpoch { .. })), "released too late: {answer:?}");
    ensure_eq!(holder(&one, 1).await?, Some(other.node.id), "the holder");
    Ok(())
}

async fn frees_all_when_a_node_leaves(fixture: &mut dyn FleetFixture) -> Verdict {
    let (one, other) = two(fixture).await?;
    hold(&one, 2).await?;
    opened(&other.store, 3).await?;
    one.fleet.leave().await?;
    one.fleet.leave().await?;
    ensure_eq!(holder(&other, 1).await?, None, "the holder");
    let known = other.fleet.nodes().await?;
    let known: Vec<NodeId> = known.into_iter().map(|status| status.node.id).collect();
    ensure_eq!(known, vec![other.node.id], "the nodes that are known");
    open(&other, 1).await?;
    open(&other, 2).await?;
    ensure_eq!(holder(&other, 3).await?, Some(other.node.id), "the holder of another's");
    Ok(())
}

async fn lets_a_successor_have_what_the_dead_held(fixture: &mut dyn FleetFixture) -> Verdict {
    let (dead, other) = two(fixture).await?;
    let held = hold(&dead, 2).await?;
    fill(&dead.store, 1, held[0].epoch, 0..2).await?;
    opened(&other.store, 3).await?;
    let next = fixture.member(3).await?;
    for _ in 0..2 {
        next.fleet.succeed(dead.node.id).await?;
    }
    next.fleet.succeed(NodeId::from_bytes([77; 16])).await?;
    next.fleet.enter().await?;
    let nodes = other.fleet.nodes().await?;
    let lasting = |member: &Member| {
        nodes.iter().any(|status| status.node == member.node && status.remaining_ms > 0)
    };
    ensure_eq!([&dead, &other, &next].map(lasting), [false, true, true], "whose leases last");
    ensure!(open(&next, 1).await? > held[0].epoch, "the epoch rises");
    expect_held(&next, 3, &other).await?;
    expect_held(&other, 1, &next).await?;
    // Whoever comes first has it.
    open(&other, 2).await?;
    // It was dead, was it not? If it was not, it stores nothing and is told.
    let late = dead.store.append(vec![chunk(1, held[0].epoch, 2, 3)]).await?;
    ensure!(matches!(late[..], [Err(AppendRefusal::StaleEpoch { .. })]), "late: {late:?}");
    ensure_eq!(dead.fleet.renew(held).await?, lost(&[1, 2], true), "the renewal of the dead");
    Ok(())
}

async fn hands_a_brane_over(fixture: &mut dyn FleetFixture) -> Verdict {
    let (one, other) = two(fixture).await?;
    let third = entered(fixture, 3).await?;
    let held = hold(&one, 2).await?;
    let epoch = held[0].epoch;
    fill(&one.store, 1, epoch, 0..3).await?;
    ensure_eq!(one.fleet.is_ready(brane(1), epoch).await?, false, "ready without an offer");
    one.fleet.offer(brane(1), epoch, other.node.id).await?;
    ensure_eq!(other.fleet.renew(vec![]).await?, offered(&[1]), "the target's renewal");
    ensure_eq!(third.fleet.renew(vec![]).await?, offered(&[]), "another's renewal");
    // An offer alone changes nothing for anybody.
    expect_held(&other, 1, &one).await?;
    ensure_eq!(one.fleet.is_ready(brane(1), epoch).await?, false, "ready at once");
    third.fleet.ready(brane(1)).await?;
    ensure_eq!(one.fleet.is_ready(brane(1), epoch).await?, false, "ready by another's word");
    other.fleet.ready(brane(1)).await?;
    one.fleet.offer(brane(1), epoch, other.node.id).await?;
    ensure_eq!(one.fleet.is_ready(brane(1), epoch).await?, true, "ready");
    fill(&one.store, 1, epoch, 3..5).await?;
    one.fleet.hand_over(brane(1), epoch, other.node.id).await?;
    expect_held(&one, 1, &other).await?;
    expect_held(&third, 1, &other).await?;
    ensure_eq!(one.fleet.renew(held).await?, lost(&[1], false), "the old holder's renewal");
    ensure_eq!(other.fleet.renew(vec![]).await?, offered(&[]), "the target's next renewal");
    let taken = other.store.open(brane(1)).await?;
    ensure!(taken.epoch > epoch, "epoch {} after {epoch}", taken.epoch);
    ensure_eq!(taken.head.0, 5, "the head");
    Ok(())
}

async fn hands_over_once(fixture: &mut dyn FleetFixture) -> Verdict {
    let (one, other) = two(fixture).await?;
    let epoch = hold(&one, 1).await?[0].epoch;
    for _ in 0..2 {
        one.fleet.hand_over(brane(1), epoch, other.node.id).await?;
    }
    let taken = open(&other, 1).await?;
    // Asked again, as its answer was lost: it is done already.
    one.fleet.hand_over(brane(1), epoch, other.node.id).await?;
    ensure_eq!(holder(&one, 1).await?, Some(other.node.id), "the holder");
    // And back: what was asked long ago is nothing new.
    other.fleet.hand_over(brane(1), taken, one.node.id).await?;
    let answer = one.fleet.hand_over(brane(1), epoch, other.node.id).await;
    ensure!(matches!(answer, Err(StoreError::StaleEpoch { .. })), "an old request: {answer:?}");
    ensure_eq!(holder(&one, 1).await?, Some(one.node.id), "the holder at last");
    Ok(())
}

async fn takes_offers_back(fixture: &mut dyn FleetFixture) -> Verdict {
    let (one, other) = two(fixture).await?;
    let held = hold(&one, 3).await?;
    for held in held.iter().rev() {
        one.fleet.offer(held.brane, held.epoch, other.node.id).await?;
    }
    ensure_eq!(other.fleet.renew(vec![]).await?, offered(&[1, 2, 3]), "the offers");
    other.fleet.ready(brane(1)).await?;
    ensure_eq!(other.fleet.renew(vec![]).await?, offered(&[1, 2, 3]), "the offers, one accepted");
    for _ in 0..2 {
        one.fleet.withdraw(brane(1), held[0].epoch).await?;
    }
    ensure_eq!(one.fleet.is_ready(brane(1), held[0].epoch).await?, false, "ready for nothing");
    other.fleet.ready(brane(1)).await?;
    ensure_eq!(one.fleet.is_ready(brane(1), held[0].epoch).await?, false, "ready for nothing");
    ensure_eq!(other.fleet.renew(vec![]).await?, offered(&[2, 3]), "the other offers");
    // Whoever takes the brane takes the offer with it.
    fixture.lapse(one.node.id).await?;
    open(&other, 2).await?;
    let renewed = other.fleet.renew(vec![]).await?;
    ensure_eq!(renewed, offered(&[3]), "the offers after one was taken");
    Ok(())
}

async fn begins_anew_for_another_target(fixture: &mut dyn FleetFixture) -> Verdict {
    let (one, other) = two(fixture).await?;
    let third = entered(fixture, 3).await?;
    let epoch = hold(&one, 1).await?[0].epoch;
    one.fleet.offer(brane(1), epoch, other.node.id).await?;
    other.fleet.ready(brane(1)).await?;
    one.fleet.offer(brane(1), epoch, third.node.id).await?;
    ensure_eq!(one.fleet.is_ready(brane(1), epoch).await?, false, "the new target is ready");
    ensure_eq!(other.fleet.renew(vec![]).await?, offered(&[]), "the first target's renewal");
    ensure_eq!(third.fleet.renew(vec![]).await?, offered(&[1]), "the new target's renewal");
    Ok(())
}

async fn lets_anybody_have_what_was_handed_to_the_dead(fixture: &mut dyn FleetFixture) -> Verdict {
    let (one, other) = two(fixture).await?;
    let third = entered(fixture, 3).await?;
    let epoch = hold(&one, 1).await?[0].epoch;
    fixture.lapse(other.node.id).await?;
    one.fleet.hand_over(brane(1), epoch, other.node.id).await?;
    open(&third, 1).await?;
    ensure_eq!(holder(&one, 1).await?, Some(third.node.id), "the holder");
    Ok(())
}

async fn refuses_to_give_away_what_is_not_held(fixture: &mut dyn FleetFixture) -> Verdict {
    let (one, other) = two(fixture).await?;
    let old = hold(&one, 1).await?[0].epoch;
    let current = open(&one, 1).await?;
    let stale = StoreError::StaleEpoch { current };
    let id = brane(1);
    for (asking, epoch) in [(&one, old), (&one, current.next()), (&other, current)] {
        let fleet = &asking.fleet;
        let offered = fleet.offer(id, epoch, other.node.id).await;
        ensure_eq!(offered, Err(stale.clone()), "an offer");
        ensure_eq!(fleet.is_ready(id, epoch).await, Err(stale.clone()), "a question");
        ensure_eq!(fleet.withdraw(id, epoch).await, Err(stale.clone()), "a withdrawal");
        ensure_eq!(fleet.release(id, epoch).await, Err(stale.clone()), "a release");
        let handed = fleet.hand_over(id, epoch, other.node.id).await;
        ensure_eq!(handed, Err(stale.clone()), "a hand-over");
    }
    ensure_eq!(other.fleet.renew(vec![]).await?, offered(&[]), "the target's renewal");
    fill(&one.store, 1, current, 0..1).await?;
    expect_held(&other, 1, &one).await
}

async fn lists_nodes(fixture: &mut dyn FleetFixture) -> Verdict {
    let (one, other) = two(fixture).await?;
    hold(&one, 2).await?;
    other.fleet.set_draining().await?;
    let listed = one.fleet.nodes().await?;
    let told = |status: &NodeStatus| (status.node.clone(), status.draining, status.branes);
    let expected = vec![(one.node.clone(), false, 2), (other.node.clone(), true, 0)];
    ensure_eq!(listed.iter().map(told).collect::<Vec<_>>(), expected, "the nodes");
    ensure!(listed.iter().all(|s| (1..=LEASE_MS).contains(&s.remaining_ms)), "{listed:?}");
    fixture.lapse(one.node.id).await?;
    other.fleet.renew(vec![]).await?;
    let listed = other.fleet.nodes().await?;
    let lasts: Vec<(bool, bool)> =
        listed.iter().map(|s| (s.remaining_ms > 0, s.draining)).collect();
    ensure_eq!(lasts, vec![(false, false), (true, true)], "leases that last, and draining");
    Ok(())
}

async fn knows_no_brane_that_is_not_there(fixture: &mut dyn FleetFixture) -> Verdict {
    let (one, other) = two(fixture).await?;
    let id: BraneId = brane(9);
    let unknown = StoreError::UnknownBrane(id);
    let epoch = Epoch(1);
    ensure_eq!(one.fleet.holder(id).await, Err(unknown.clone()), "its holder");
    let answer = one.fleet.offer(id, epoch, other.node.id).await;
    ensure_eq!(answer, Err(unknown.clone()), "an offer");
    ensure_eq!(one.fleet.is_ready(id, epoch).await, Err(unknown.clone()), "a question");
    ensure_eq!(one.fleet.release(id, epoch).await, Err(unknown.clone()), "a release");
    let answer = one.fleet.hand_over(id, epoch, other.node.id).await;
    ensure_eq!(answer, Err(unknown), "a hand-over");
    let held = vec![Holding { brane: id, epoch }];
    ensure_eq!(one.fleet.renew(held).await?.lost, vec![id], "what it thinks it holds");
    Ok(())
}

async fn shares_out_what_is_compacted(fixture: &mut dyn FleetFixture) -> Verdict {
    let (one, other) = two(fixture).await?;
    // Of the first four each node holds two, of the last four nobody any.
    for nth in 1..=8 {
        let member = if nth % 2 == 1 { &one } else { &other };
        let epoch = opened(&member.store, nth).await?.epoch;
        fill(&member.store, nth, epoch, 0..4).await?;
        snapshot(&member.store, nth, epoch, 4, 1).await?;
        if nth > 4 {
            member.fleet.release(brane(nth), epoch).await?;
        }
    }
    let first = one.store.compact(EVERYTHING).await?.chunks;
    for nth in 1..=4 {
        let left = one.store.verify_brane(brane(nth)).await?.chunks;
        ensure_eq!(left, if nth % 2 == 1 { 0 } else { 4 }, "chunks left of brane {nth}");
    }
    let second = other.store.compact(EVERYTHING).await?.chunks;
    ensure_eq!(first + second, 8 * 4, "chunks deleted by both, {first} by one");
    ensure_eq!(one.store.compact(EVERYTHING).await?.chunks, 0, "chunks left to the first");

    // What a node held that is dead is the other's to see to.
    let epoch = open(&one, 1).await?;
    fill(&one.store, 1, epoch, 4..6).await?;
    snapshot(&one.store, 1, epoch, 6, 1).await?;
    fixture.lapse(one.node.id).await?;
    ensure_eq!(one.store.compact(EVERYTHING).await?.chunks, 0, "chunks deleted by the dead");
    ensure_eq!(other.store.compact(EVERYTHING).await?.chunks, 2, "chunks deleted for the dead");
    Ok(())
}

/// Nothing is kept that need not be.
const EVERYTHING: CompactPolicy = CompactPolicy {
    now_ms: 1_000_000,
    retention_ms: 0,
    max_journal_bytes: None,
    keep_snapshots: 1,
};
