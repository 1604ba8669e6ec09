use avvy_model::{BraneId, Epoch, Seq};
use bytes::Bytes;

use super::GroupCommitEffect::{Commit, Durable, Pressure, WakeAt};
use super::*;

const A: BraneId = BraneId::from_bytes([1; 16]);
const B: BraneId = BraneId::from_bytes([2; 16]);

/// A machine with its effects.
struct Bench {
    machine: GroupCommit,
    effects: Vec<GroupCommitEffect>,
}

impl Bench {
    fn new(config: GroupCommitConfig) -> Self {
        Self { machine: GroupCommit::new(config), effects: Vec::new() }
    }

    fn push(&mut self, brane: BraneId, to: u64) -> Vec<GroupCommitEffect> {
        self.push_at(0, brane, 1, to, 10)
    }

    fn push_at(
        &mut self,
        now_us: u64,
        brane: BraneId,
        epoch: u64,
        to: u64,
        bytes: usize,
    ) -> Vec<GroupCommitEffect> {
        let body = Bytes::from(vec![0; bytes]);
        let chunk =
            JournalChunk { epoch: Epoch(epoch), from: Seq(to - 1), to: Seq(to), at_ms: to, body };
        self.machine.push(now_us, brane, chunk, &mut self.effects);
        std::mem::take(&mut self.effects)
    }

    fn stored(&mut self, rejected: &[Rejected]) -> Vec<GroupCommitEffect> {
        self.machine.stored(0, rejected, &mut self.effects);
        std::mem::take(&mut self.effects)
    }

    fn failed(&mut self, now_us: u64) -> Vec<GroupCommitEffect> {
        self.machine.failed(now_us, &mut self.effects);
        std::mem::take(&mut self.effects)
    }

    fn provisional(&mut self, on: bool) -> Vec<GroupCommitEffect> {
        self.machine.provisional(on, &mut self.effects);
        std::mem::take(&mut self.effects)
    }

    fn spool_full(&mut self, on: bool) -> Vec<GroupCommitEffect> {
        self.machine.spool_full(on, &mut self.effects);
        std::mem::take(&mut self.effects)
    }

    fn tick(&mut self, now_us: u64) -> Vec<GroupCommitEffect> {
        self.machine.tick(now_us, &mut self.effects);
        std::mem::take(&mut self.effects)
    }
}

/// The first opening of A, as the store will not have it.
const REJECTED: Rejected = Rejected { brane: A, epoch: Epoch(1), why: Rejection::Superseded };

fn committed(effects: &[GroupCommitEffect]) -> Vec<(BraneId, u64)> {
    let [Commit(batch)] = effects else { panic!("one commit expected: {effects:?}") };
    batch.iter().map(|queued| (queued.brane, queued.chunk.to.0)).collect()
}

fn durable(brane: BraneId, seq: u64) -> GroupCommitEffect {
    Durable { brane, epoch: Epoch(1), seq: Seq(seq) }
}

#[test]
fn commits_at_once_when_idle_and_collects_while_busy() {
    let mut bench = Bench::new(GroupCommitConfig::default());
    assert_eq!(committed(&bench.push(A, 1)), [(A, 1)]);
    for (brane, to) in [(B, 1), (A, 2), (B, 2), (A, 3)] {
        assert_eq!(bench.push(brane, to), []);
    }
    let effects = bench.stored(&[]);
    assert_eq!(effects[0], durable(A, 1));
    assert_eq!(committed(&effects[1..]), [(B, 1), (A, 2), (B, 2), (A, 3)]);
    assert_eq!(bench.stored(&[]), [durable(B, 2), durable(A, 3)]);
    assert!(bench.machine.is_empty());
    let status = bench.machine.status();
    assert_eq!((status.commits, status.stored_chunks, status.stored_bytes), (2, 5, 50));
    assert_eq!((status.bytes, status.branes), (0, 0));
}

#[test]
fn a_transaction_is_bounded() {
    let config = GroupCommitConfig {
        max_commit_bytes: 25,
        max_commit_chunks: 2,
        ..GroupCommitConfig::default()
    };
    let mut bench = Bench::new(config);
    bench.push_at(0, A, 1, 1, 1_000);
    for to in 2..=6 {
        bench.push_at(0, A, 1, to, if to == 4 { 20 } else { 1 });
    }
    let mut batches = Vec::new();
    while !bench.machine.is_empty() {
        let effects = bench.stored(&[]);
        batches.extend(effects.iter().filter_map(|effect| match effect {
            Commit(batch) => Some(batch.len()),
            _ => None,
        }));
    }
    assert_eq!(batches, [2, 2, 1]);
}

#[test]
fn failures_are_repeated_in_order_after_rising_pauses() {
    let mut bench = Bench::new(GroupCommitConfig::default());
    bench.push(A, 1);
    bench.push(B, 1);
    assert_eq!(bench.failed(1_000), [WakeAt(51_000)]);
    assert_eq!(bench.push_at(2_000, A, 1, 2, 10), [], "a push does not cut the pause short");
    assert_eq!(bench.tick(50_999), []);
    assert_eq!(committed(&bench.tick(51_000)), [(A, 1), (B, 1), (A, 2)]);
    assert_eq!(bench.failed(60_000), [WakeAt(160_000)]);
    bench.tick(160_000);
    for _ in 0..40 {
        bench.failed(0);
        bench.tick(u64::MAX);
    }
    assert_eq!(bench.failed(0), [WakeAt(5_000_000)], "the pause has a ceiling");
    bench.tick(5_000_000);
    assert_eq!(bench.stored(&[]), [durable(A, 2), durable(B, 1)]);
    assert_eq!(bench.machine.status().failures, 43);
    bench.push(A, 3);
    assert_eq!(bench.failed(0), [WakeAt(50_000)], "a success ends the row");
}

#[test]
fn a_rejected_brane_loses_only_its_own_chunks() {
    let mut bench = Bench::new(GroupCommitConfig::default());
    bench.push(A, 1);
    for (brane, to) in [(B, 1), (A, 2)] {
        bench.push(brane, to);
    }
    bench.stored(&[]);
    bench.push(A, 3);
    bench.push(B, 2);
    bench.push_at(0, A, 3, 3, 10);
    // In flight: B 1, A 2. Queued: A 3, B 2, and A 3 of a later opening.
    let effects = bench.stored(&[REJECTED]);
    assert_eq!(
        effects[0],
        GroupCommitEffect::Rejected { opening: REJECTED, chunks: 2, to: Seq(3) }
    );
    assert_eq!(effects[1], durable(B, 1));
    assert_eq!(committed(&effects[2..]), [(B, 2), (A, 3)]);
    let effects = bench.stored(&[]);
    assert_eq!(effects, [durable(B, 2), Durable { brane: A, epoch: Epoch(3), seq: Seq(3) }]);
    assert_eq!(bench.machine.status().rejected_chunks, 2);
    assert_eq!(bench.machine.status().bytes, 0);
}

#[test]
fn a_commit_that_was_all_rejected_goes_on_with_the_next() {
    let mut bench = Bench::new(GroupCommitConfig::default());
    bench.push(A, 1);
    bench.push(B, 1);
    let effects = bench.stored(&[REJECTED]);
    assert_eq!(
        effects[0],
        GroupCommitEffect::Rejected { opening: REJECTED, chunks: 1, to: Seq(1) }
    );
    assert_eq!(committed(&effects[1..]), [(B, 1)]);
}

#[test]
fn too_much_asks_for_relief_and_half_ends_it() {
    let config = GroupCommitConfig {
        max_queued_bytes: 100,
        max_commit_chunks: 3,
        ..GroupCommitConfig::default()
    };
    let mut bench = Bench::new(config);
    for to in 1..=9 {
        assert!(!bench.push(A, to).contains(&Pressure(true)));
    }
    assert_eq!(bench.push(A, 10), [Pressure(true)]);
    assert_eq!(bench.push(A, 11), [], "kept all the same, and said once");
    assert!(bench.machine.status().pressure);
    let mut bytes_when_relieved = None;
    while !bench.machine.is_empty() {
        if bench.stored(&[]).contains(&Pressure(false)) {
            bytes_when_relieved = Some(bench.machine.status().bytes);
        }
    }
    assert_eq!(bytes_when_relieved, Some(40), "110, 100, 70, then at most half of the bound");
}

#[test]
fn a_store_that_is_away_is_a_reason_to_refuse_where_that_is_wanted() {
    let config = GroupCommitConfig { refuse_when_away: true, ..GroupCommitConfig::default() };
    let mut bench = Bench::new(config);
    bench.push(A, 1);
    assert_eq!(bench.failed(0), [WakeAt(50_000), Pressure(true)]);
    bench.tick(50_000);
    assert_eq!(bench.failed(50_000), [WakeAt(150_000)], "said once");
    assert_eq!(bench.provisional(true), []);
    bench.tick(150_000);
    assert_eq!(bench.stored(&[]), [durable(A, 1)], "it is back, and not sure yet");
    assert!(bench.machine.pressure());
    assert_eq!(bench.provisional(false), [Pressure(false)]);
    assert_eq!(bench.provisional(true), [Pressure(true)]);

    let mut patient = Bench::new(GroupCommitConfig::default());
    patient.push(A, 1);
    assert_eq!(patient.failed(0), [WakeAt(50_000)]);
    assert_eq!(patient.provisional(true), []);
}

#[test]
fn relief_ends_when_every_reason_has() {
    let config = GroupCommitConfig { max_queued_bytes: 20, ..GroupCommitConfig::default() };
    let mut bench = Bench::new(config);
    assert_eq!(bench.spool_full(true), [Pressure(true)]);
    bench.push(A, 1);
    assert_eq!(bench.push(A, 2), [], "said already");
    assert_eq!(bench.spool_full(false), [], "the queue is too long");
    assert!(bench.stored(&[]).contains(&Pressure(false)));
}

#[test]
fn a_brane_knows_what_is_pending() {
    let mut bench = Bench::new(GroupCommitConfig::default());
    bench.push(A, 1);
    bench.push(A, 2);
    assert_eq!((bench.machine.pending_of(A), bench.machine.pending_of(B)), (2, 0));
    bench.stored(&[]);
    bench.stored(&[]);
    assert_eq!(bench.machine.pending_of(A), 0);
}

#[test]
fn the_first_refusal_of_an_opening_says_why() {
    let queued = |brane, epoch, to| {
        let (from, body) = (Seq(to - 1), Bytes::from_static(b"edits"));
        let chunk = JournalChunk { epoch: Epoch(epoch), from, to: Seq(to), at_ms: 0, body };
        QueuedChunk { brane, chunk }
    };
    let batch = [queued(A, 1, 7), queued(B, 1, 1), queued(A, 1, 8), queued(A, 2, 7)];
    let (damaged, broken) = (Rejection::Damaged, Rejection::Broken);
    let answers = [Err(damaged), Ok(()), Err(broken), Err(broken)];
    let mut logged = Vec::new();
    let rejected = rejected(&batch, &answers, |queued, why| logged.push((queued.chunk.to.0, why)));
    let opening = |epoch, why| Rejected { brane: A, epoch: Epoch(epoch), why };
    assert_eq!(rejected, [opening(1, damaged), opening(2, broken)]);
    assert_eq!(logged, [(7, damaged), (7, broken)]);
}

/// Edits come evenly, each in a chunk of its own, and a commit takes so long;
/// the commits of one second, and how long an edit waited for the longest.
fn a_second(config: GroupCommitConfig, edits: u64, commit_us: u64) -> (u64, u64) {
    let mut bench = Bench::new(config);
    let (mut ends_us, mut wakes_us, mut waited_us) = (None, Vec::new(), 0);
    let mut durable = 0;
    for now_us in 0..1_000_000 {
        let mut effects = Vec::new();
        if ends_us == Some(now_us) {
            ends_us = None;
            bench.machine.stored(now_us, &[], &mut effects);
        }
        if now_us % (1_000_000 / edits) == 0 {
            let nth = now_us / (1_000_000 / edits) + 1;
            effects.extend(bench.push_at(now_us, A, 1, nth, 10));
        }
        if wakes_us.contains(&now_us) {
            effects.extend(bench.tick(now_us));
        }
        for effect in effects {
            match effect {
                Commit(_) => ends_us = Some(now_us + commit_us),
                WakeAt(at_us) => wakes_us.push(at_us),
                Durable { seq, .. } => {
                    let began_us = durable * (1_000_000 / edits);
                    waited_us = waited_us.max(now_us - began_us);
                    durable = seq.0;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    (bench.machine.status().commits, waited_us)
}

#[test]
fn many_edits_have_the_next_commit_wait_for_more_and_few_do_not() {
    let paced = GroupCommitConfig {
        pause_us_per_edit: 200,
        pause_max_ms: 33,
        ..GroupCommitConfig::default()
    };
    let natural = GroupCommitConfig::default();
    // Few: nobody waits longer than for two commits.
    assert_eq!(a_second(paced, 200, 3_000), a_second(natural, 200, 3_000));
    assert_eq!(a_second(paced, 2_000, 3_000), a_second(natural, 2_000, 3_000));
    // Many: a commit for each pause, and nobody waits for much longer.
    assert_eq!(a_second(natural, 10_000, 3_000).0, 333);
    let (commits, waited_us) = a_second(paced, 10_000, 3_000);
    assert!((28..=33).contains(&commits) && waited_us <= 39_100, "{commits}, {waited_us} us");
    // A store that takes longer than the pause is never made to wait.
    assert_eq!(a_second(paced, 10_000, 100_000), a_second(natural, 10_000, 100_000));
}
