use avvy_protocol::CatchUp;

use super::*;

/// A brane with ten objects, whose fifth epoch has just begun at 10. Epoch 1
/// began at 0, 3 at 4.
fn fifth_epoch(floor: u64) -> Bench {
    let mut first = Bench::joined();
    for n in 1..=10 {
        first.update(ONE, [(n, create(n.into()))]).pass_us(50_000);
    }
    let epochs = [(1, 0), (3, 4), (5, 10)].map(|(epoch, start)| (Epoch(epoch), Seq(start)));
    let recovered = Recovered {
        world: first.core.world,
        clients: first.core.clients,
        lineage: Lineage::new(epochs.to_vec()).expect("rising"),
        head: Seq(10),
        floor: Seq(floor),
        snapshot: Seq(0),
    };
    Bench::open(recovered, BraneConfig::default())
}

fn only(bench: &mut Bench) -> Attach {
    let mut attached = bench.take().attached;
    assert_eq!(attached.len(), 1);
    attached.remove(0)
}

/// The handles that were listed; `None` for all.
fn handles(parts: &Parts) -> Option<Vec<Handle>> {
    match &parts.selection {
        Selection::All => None,
        Selection::Listed(handles) => Some(handles.to_vec()),
        Selection::Region(..) => panic!("few objects are listed"),
    }
}

fn parts(attach: &Attach) -> &Parts {
    match &attach.start {
        Start::Parts(parts) => parts,
        Start::Replay(at) => panic!("a replay from {at}"),
    }
}

#[test]
fn without_a_copy_it_gets_the_whole_world() {
    let mut bench = Bench::joined();
    bench.update(ONE, [(1, create(1)), (2, create(2))]).durable(1);
    bench.take();
    let three = SessionKey(3);
    bench.join(three, None);
    let attach = only(&mut bench);
    assert_eq!((attach.session, attach.rewind), (three, None));
    let joined = &attach.joined;
    assert_eq!(
        (joined.channel, joined.brane, joined.role.clone()),
        (CHANNEL, brane_id(), Role::Builder.into())
    );
    assert_eq!((joined.head, joined.durable), (at(1, 2), Seq(1)));
    assert_eq!((joined.catch_up, joined.client_memory_s), (CatchUp::Snapshot, 604_800));
    let parts = parts(&attach);
    assert_eq!((parts.at, parts.frozen.len()), (at(1, 2), 3));
    assert_eq!((handles(parts), parts.gone.len()), (None, 0));
}

#[test]
fn a_snapshot_waits_for_the_end_of_the_window() {
    let mut bench = Bench::joined();
    bench.eager = false;
    bench.update(ONE, [(1, create(1))]).update(ONE, [(2, create(2))]);
    bench.take();
    bench.join(SessionKey(3), None).join(SessionKey(4), None);
    assert_eq!(bench.core.status().waiting, 2);
    assert_eq!(bench.take().attached.len(), 0, "the world is ahead of what was published");
    bench.core.handle(
        Now { us: bench.now.us + 50_000, ..bench.now },
        BraneInput::FanOutReady { published: Seq(1), floor: Seq(0), paced: false },
        &mut bench.effects,
    );
    let shapes = bench.effects.iter().map(|effect| match effect {
        BraneEffect::Journal(chunk) => format!("journal {}", chunk.to),
        BraneEffect::Publish(window) => format!("publish {}", window.flush.to),
        BraneEffect::Attach(attach) => format!("attach {}", parts(attach).at),
        BraneEffect::Tell { message: ServerMessage::Rights(_), .. } => "rights".to_owned(),
        other => format!("{other:?}"),
    });
    let expected = ["journal 2", "publish 2", "attach 1.2", "rights", "attach 1.2", "rights"];
    assert_eq!(shapes.collect::<Vec<_>>(), expected);
}

#[test]
fn a_copy_at_the_head_or_within_the_ring_is_replayed() {
    for seq in [2, 7, 10] {
        let mut bench = fifth_epoch(2);
        let epoch = if seq <= 4 { 1 } else { 3 };
        bench.resume(ONE, at(epoch, seq));
        let attach = only(&mut bench);
        assert_eq!(attach.joined.catch_up, CatchUp::Replay);
        assert_eq!(attach.rewind, None);
        assert!(matches!(attach.start, Start::Replay(from) if from == at(epoch, seq)));
    }
}

#[test]
fn replay_does_not_wait_for_the_window() {
    let mut bench = Bench::joined();
    bench.eager = false;
    bench.update(ONE, [(1, create(1))]).update(ONE, [(2, create(2))]);
    bench.take();
    bench.resume(SessionKey(3), at(1, 1));
    let attach = only(&mut bench);
    assert_eq!((attach.joined.catch_up, attach.joined.head), (CatchUp::Replay, at(1, 2)));
}

#[test]
fn a_copy_older_than_the_ring_gets_the_difference() {
    let mut bench = fifth_epoch(6);
    bench.resume(ONE, at(3, 5));
    let attach = only(&mut bench);
    assert_eq!((attach.joined.catch_up, attach.rewind), (CatchUp::Diff, None));
    let parts = parts(&attach);
    let changed = (6..=10).map(Handle).collect();
    assert_eq!((handles(parts), parts.at), (Some(changed), at(5, 10)));
}

#[test]
fn a_copy_far_behind_gets_the_difference_also_within_the_ring() {
    let config = BraneConfig { replay_max_edits: 2, ..Default::default() };
    let mut bench = Bench::joined_with(config);
    for n in 1..=4 {
        bench.update(ONE, [(n, create(n.into()))]).pass_us(50_000);
    }
    bench.take();
    bench.resume(SessionKey(3), at(1, 2)).resume(SessionKey(4), at(1, 1));
    let attached = bench.take().attached;
    let ways: Vec<_> = attached.iter().map(|attach| attach.joined.catch_up).collect();
    assert_eq!(ways, [CatchUp::Replay, CatchUp::Diff]);
}

#[test]
fn a_copy_past_a_fork_rewinds() {
    // Past the second epoch's fork, past the first's, and past the first's by
    // an epoch that left nothing.
    for (claimed, fork) in [(at(3, 12), at(3, 10)), (at(1, 6), at(1, 4)), (at(2, 9), at(1, 4))] {
        let mut bench = fifth_epoch(0);
        bench.resume(ONE, claimed);
        let attach = only(&mut bench);
        assert_eq!((attach.joined.catch_up, attach.rewind), (CatchUp::Diff, Some(fork)));
        let mut expected: Vec<_> = (fork.seq.0 as u32 + 1..=10).map(Handle).collect();
        expected.extend((fork.seq.0 >= 9).then_some(Handle(9)));
        expected.sort_unstable();
        assert_eq!(handles(parts(&attach)), Some(expected));
        assert_eq!(bench.core.status().rewinds, 1);
    }
}

#[test]
fn handles_of_the_lost_line_are_gone() {
    let mut bench = fifth_epoch(0);
    let touched = Some(vec![Handle(3), Handle(11), Handle(4_000_000_000)]);
    bench.join(ONE, Some(Resume { version: at(3, 12), touched, scope: None }));
    let attach = only(&mut bench);
    assert_eq!(handles(parts(&attach)), Some(vec![Handle(3)]));
    assert_eq!(parts(&attach).gone[..], [Handle(11), Handle(4_000_000_000)]);
}

#[test]
fn a_copy_past_a_fork_that_kept_no_count_gets_everything() {
    let mut bench = fifth_epoch(0);
    bench.join(ONE, Some(Resume { version: at(3, 12), touched: None, scope: None }));
    let attach = only(&mut bench);
    assert_eq!((attach.joined.catch_up, attach.rewind), (CatchUp::Snapshot, Some(at(3, 10))));
    assert_eq!(handles(parts(&attach)), None);
}

#[test]
fn positions_never_given_out_get_everything() {
    for claimed in [at(5, 11), at(6, 3), at(0, 0), at(u64::MAX, u64::MAX), at(5, u64::MAX)] {
        let mut bench = fifth_epoch(0);
        bench.resume(ONE, claimed);
        let attach = only(&mut bench);
        assert_eq!((attach.joined.catch_up, attach.rewind), (CatchUp::Snapshot, None));
    }
}

#[test]
fn a_position_inside_the_open_window_was_never_given_out() {
    let mut bench = Bench::joined();
    bench.eager = false;
    bench.update(ONE, [(1, create(1))]).update(ONE, [(2, create(2)), (3, create(3))]);
    bench.take();
    bench.resume(SessionKey(3), at(1, 2));
    bench.pass_us(50_000).ready(Seq(1));
    assert_eq!(only(&mut bench).joined.catch_up, CatchUp::Snapshot);
}

#[test]
fn a_resync_is_a_new_start_with_the_difference() {
    let mut bench = Bench::joined();
    for n in 1..=3 {
        bench.update(ONE, [(n, create(n.into()))]).pass_us(50_000);
    }
    bench.take();
    bench.input(BraneInput::Resync { session: TWO, at: Some(at(1, 1)), view: None });
    let attach = only(&mut bench);
    assert_eq!((attach.session, attach.joined.catch_up), (TWO, CatchUp::Diff));
    assert_eq!(handles(parts(&attach)), Some(vec![Handle(2), Handle(3)]));
    assert_eq!(bench.core.status().resyncs, 1);
    bench.input(BraneInput::Resync { session: SessionKey(9), at: Some(at(1, 1)), view: None });
    assert_eq!(bench.take().attached.len(), 0, "a session that is gone");
}

#[test]
fn a_resync_is_asked_for_once() {
    let mut bench = Bench::joined();
    bench.eager = false;
    bench.update(ONE, [(1, create(1))]).update(ONE, [(2, create(2))]);
    bench.take();
    for _ in 0..3 {
        bench.input(BraneInput::Resync { session: TWO, at: Some(at(1, 0)), view: None });
    }
    bench.pass_us(50_000).ready(Seq(1));
    assert_eq!(bench.take().attached.len(), 1);
}

#[test]
fn who_leaves_while_waiting_is_not_attached() {
    let mut bench = Bench::joined();
    bench.eager = false;
    bench.update(ONE, [(1, create(1))]).update(ONE, [(2, create(2))]);
    let three = SessionKey(3);
    bench.join(three, None).input(BraneInput::Leave { session: three });
    bench.pass_us(50_000).ready(Seq(1));
    let done = bench.take();
    assert_eq!((done.attached.len(), done.detached), (0, vec![]));
    bench.input(BraneInput::Leave { session: ONE }).input(BraneInput::Leave { session: ONE });
    assert_eq!(bench.take().detached, [ONE]);
}

#[test]
fn joins_are_refused_with_reasons() {
    let mut bench = Bench::joined_with(BraneConfig { max_sessions: 3, ..Default::default() });
    let builder = |n| Principal { user: user(n), ceiling: Role::Builder, invited: true };
    let join = |client, known| Join { brane: brane_id(), client, known, resume: None, area: None };
    let mut ask = |session, principal, join| {
        bench.input(BraneInput::Join { session: SessionKey(session), principal, join });
        bench.take().refused.first().map(|(_, code)| *code)
    };
    let elsewhere = Join { brane: BraneId::new(Uuid::from_u128(2)), ..join(client(9), false) };
    assert_eq!(ask(9, builder(9), elsewhere), Some(Code::NotFound));
    assert_eq!(ask(1, builder(1), join(client(1), false)), Some(Code::AlreadyJoined));
    assert_eq!(ask(9, builder(9), join(client(1), false)), Some(Code::ClientTaken));
    assert_eq!(ask(9, builder(9), join(client(9), true)), Some(Code::ClientUnknown));
    assert_eq!(ask(9, builder(9), join(client(9), false)), None);
    assert_eq!(ask(10, builder(10), join(client(10), false)), Some(Code::BraneFull));
}

#[test]
fn clients_that_never_wrote_leave_nothing_behind() {
    let mut bench = Bench::new();
    for n in 10..200 {
        let session = SessionKey(n);
        bench.join(session, None).input(BraneInput::Leave { session });
    }
    assert_eq!(bench.core.clients().len(), 0);
    bench.join(ONE, None).update(ONE, [(1, create(1))]).input(BraneInput::Leave { session: ONE });
    assert_eq!(bench.core.clients().len(), 1);
}

#[test]
fn a_hash_is_of_the_end_of_a_window() {
    let mut bench = Bench::joined();
    bench.eager = false;
    bench.update(ONE, [(1, create(1))]).update(ONE, [(2, create(2))]);
    bench.take();
    for _ in 0..5 {
        bench.input(BraneInput::Hash { session: TWO });
    }
    assert_eq!(bench.take().told, []);
    bench.pass_us(50_000).ready(Seq(1));
    let hash = bench.core.state_hash().to_bytes();
    let told = ServerMessage::Hash { channel: CHANNEL, at: at(1, 2), hash };
    assert_eq!(bench.take().told, [(TWO, told)]);
}

#[test]
fn a_step_is_answered_at_a_boundary() {
    let mut bench = Bench::joined();
    bench.take();
    let view = |reach| View { center: avvy_model::Cell([0; 3]), reach };
    bench.input(BraneInput::Step { session: ONE, from: view(1), to: view(2) });
    let done = bench.take();
    let [shown] = done.shown.as_slice() else { panic!("{:?}", done.shown) };
    assert_eq!((shown.from, shown.to), (view(1), view(2)));
    assert_eq!(shown.parts.scope.map(|scope| scope.view), Some(view(2)));
}

#[test]
fn steps_that_cost_much_have_a_share_of_the_time() {
    let mut bench =
        Bench::joined_with(BraneConfig { view_budget_percent: 1, ..BraneConfig::default() });
    let block = |n: u128, x: i32| match create(n) {
        Edit::One(Operation::Create { id, parent, kind, mut transform, props }) => {
            transform.position[0] = x;
            Operation::Create { id, parent, kind, transform, props }
        }
        other => panic!("{other:?}"),
    };
    let blocks = (0..1_000).map(|n| block(n as u128, n * 160_000));
    bench.update(ONE, [(1, Edit::Batch(blocks.collect()))]);
    let view = |reach| View { center: avvy_model::Cell([0; 3]), reach };
    let mut reach = 1_000;
    let mut step = |bench: &mut Bench| {
        reach += 1;
        let (from, to) = (view(reach - 1), view(reach));
        bench.input(BraneInput::Step { session: ONE, from, to });
        bench.take().shown.len()
    };
    let served = (0..1_000).take_while(|_| step(&mut bench) == 1).count();
    assert!((2..999).contains(&served), "{served}");
    assert_eq!(step(&mut bench), 0, "one waits");

    bench.update(TWO, [(1, create(5_000))]);
    let done = bench.take();
    assert_eq!((done.windows.len(), done.shown.len()), (1, 0), "edits do not");
    let wake_us = bench.core.steps.due_us().expect("one waits");
    assert!(wake_us > bench.now.us);
    bench.pass_us(wake_us - bench.now.us).tick();
    assert_eq!(bench.take().shown.len(), 1);

    step(&mut bench);
    bench.input(BraneInput::Leave { session: ONE });
    bench.pass_us(1_000_000_000).tick();
    assert_eq!(bench.take().shown.len(), 0, "who has left is shown nothing");
}
