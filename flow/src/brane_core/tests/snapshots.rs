use super::*;

fn every(edits: u64) -> Bench {
    Bench::joined_with(BraneConfig { snapshot_every_edits: edits, ..Default::default() })
}

fn edit(bench: &mut Bench, counters: std::ops::RangeInclusive<u64>) {
    for n in counters {
        bench.update(ONE, [(n, create(n.into()))]).pass_us(50_000);
    }
}

#[test]
fn a_snapshot_waits_until_its_journal_is_durable() {
    let mut bench = every(3);
    edit(&mut bench, 1..=4);
    assert_eq!(bench.take().snapshots.len(), 0);
    bench.durable(2);
    assert_eq!(bench.take().snapshots.len(), 0);
    bench.durable(4);
    let [job] = &bench.take().snapshots[..] else { panic!("one snapshot") };
    assert_eq!((job.at, job.frozen.len(), job.clients.len()), (at(1, 3), 4, 2));
    assert_ne!(job.state_hash, bench.core.state_hash(), "the world has moved on since");
}

#[test]
fn one_at_a_time_then_the_next() {
    let mut bench = every(3);
    edit(&mut bench, 1..=3);
    bench.durable(3);
    assert_eq!(bench.take().snapshots.len(), 1);
    edit(&mut bench, 4..=9);
    bench.durable(9);
    assert_eq!(bench.take().snapshots.len(), 0, "one is being stored");
    bench.input(BraneInput::SnapshotStored { at: Seq(3) });
    let taken: Vec<_> = bench.take().snapshots.iter().map(|job| job.at).collect();
    assert_eq!((taken, bench.core.status().snapshot), (vec![at(1, 9)], Seq(3)));
}

#[test]
fn by_bytes_too() {
    let config = BraneConfig { snapshot_every_bytes: 1_000, ..Default::default() };
    let mut bench = Bench::joined_with(config);
    edit(&mut bench, 1..=20);
    bench.durable(20);
    assert_eq!(bench.take().snapshots.len(), 1);
}

#[test]
fn a_failed_snapshot_is_taken_anew_after_a_pause() {
    let mut bench = every(3);
    edit(&mut bench, 1..=3);
    bench.durable(3).input(BraneInput::SnapshotFailed);
    let done = bench.take();
    assert_eq!(done.wakes.last(), Some(&(bench.now.us + 30_000_000)));
    bench.pass_us(29_999_999).tick();
    assert_eq!(bench.take().snapshots.len(), 0);
    bench.pass_us(1).tick();
    assert_eq!(bench.take().snapshots.len(), 1);
    assert_eq!(bench.core.status().snapshot_failures, 1);
}

#[test]
fn a_long_tail_at_opening_counts() {
    let mut first = every(1_000);
    edit(&mut first, 1..=5);
    let recovered = Recovered {
        world: first.core.world,
        clients: first.core.clients,
        lineage: Lineage::new(vec![(Epoch(1), Seq(0)), (Epoch(2), Seq(5))]).expect("rising"),
        head: Seq(5),
        floor: Seq(0),
        snapshot: Seq(0),
    };
    let config = BraneConfig { snapshot_every_edits: 5, ..Default::default() };
    let mut bench = Bench::open(recovered, config);
    bench.tick();
    assert_eq!(bench.take().snapshots[0].at, at(2, 5));
}

#[test]
fn draining_publishes_stores_and_refuses() {
    let mut bench = Bench::joined();
    bench.eager = false;
    bench.update(ONE, [(1, create(1))]).update(ONE, [(2, create(2))]);
    let three = SessionKey(3);
    bench.join(three, None);
    bench.take();
    bench.input(BraneInput::Drain);
    let done = bench.take();
    assert_eq!((done.journal.len(), done.windows.len()), (1, 1), "at once");
    assert_eq!(done.refused, [(three, Code::Unavailable)]);
    bench.update(ONE, [(3, create(3))]).join(SessionKey(4), None);
    let done = bench.take();
    assert_eq!(refusals(&done), [(3, Code::Unavailable)]);
    assert_eq!(done.refused, [(SessionKey(4), Code::Unavailable)]);
    assert!(!bench.core.is_drained());
    bench.durable(2);
    assert_eq!(bench.take().snapshots[0].at, at(1, 2));
    assert!(!bench.core.is_drained());
    bench.input(BraneInput::SnapshotStored { at: Seq(2) });
    assert!(bench.core.is_drained());
}

#[test]
fn who_departs_makes_everything_durable_and_stores_no_snapshot() {
    let mut bench = Bench::joined();
    bench.eager = false;
    bench.update(ONE, [(1, create(1))]).update(ONE, [(2, create(2))]);
    bench.take();
    bench.input(BraneInput::Depart);
    assert_eq!(bench.take().journal.len(), 1, "at once");
    bench.update(ONE, [(3, create(3))]).join(SessionKey(4), None);
    let done = bench.take();
    assert_eq!(refusals(&done), [(3, Code::Unavailable)]);
    assert_eq!(done.refused, [(SessionKey(4), Code::Unavailable)]);
    assert!(!bench.core.is_drained());
    bench.durable(2);
    assert!(bench.core.is_drained());
    assert_eq!(bench.take().snapshots.len(), 0);
}

#[test]
fn draining_what_is_stored_takes_nothing_new() {
    let mut bench = every(2);
    edit(&mut bench, 1..=2);
    bench.durable(2).input(BraneInput::Drain);
    assert_eq!(bench.take().snapshots.len(), 1);
    bench.input(BraneInput::SnapshotStored { at: Seq(2) });
    assert_eq!(bench.take().snapshots.len(), 0);
    assert!(bench.core.is_drained());
    let mut untouched = Bench::joined();
    untouched.input(BraneInput::Drain);
    assert!(untouched.core.is_drained());
}

#[test]
fn draining_does_not_wait_for_a_snapshot_that_cannot_be_stored() {
    let mut bench = every(2);
    edit(&mut bench, 1..=3);
    bench.input(BraneInput::Drain);
    assert_eq!(bench.take().snapshots.len(), 0);
    // The one that was under way fails, and so does the last one.
    for at_end in [false, true] {
        bench.durable(3);
        assert_eq!(bench.take().snapshots.len(), 1);
        assert!(!bench.core.is_drained());
        bench.input(BraneInput::SnapshotFailed);
        assert_eq!(bench.core.is_drained(), at_end);
    }
    let done = bench.take();
    assert_eq!((done.snapshots.len(), done.wakes.len()), (0, 0), "it is not tried again");
    assert_eq!(bench.core.status().snapshot_failures, 2);
}
