//! The bounded journal on local disk.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;

use avvy_model::{Epoch, Seq};
use avvy_persistence::memory::{Fault, MemoryDisk, MemoryFleet, Operation};
use avvy_persistence::spool::{
    Archived, Drained, Segment, Spool, SpoolOptions, SpoolStatus, archived, look, read_segment,
};
use avvy_persistence::testing::nth_node;
use avvy_persistence::{AppendRefusal, ChunkWrite, Fleet, Store, StoreError};
use common::{brane, chunk, record};

/// Small files, so that there are several.
fn options(directory: &Path) -> SpoolOptions {
    SpoolOptions { directory: directory.join("spool"), max_bytes: 64 << 10, file_bytes: 1 << 10 }
}

fn chunks(nth: u8, epoch: Epoch, range: std::ops::Range<u64>) -> Vec<ChunkWrite> {
    range.map(|from| chunk(nth, epoch, from, from + 1)).collect()
}

async fn all(spool: &Spool) -> Vec<ChunkWrite> {
    spool.peek(usize::MAX, usize::MAX).await.unwrap()
}

async fn opened(store: &dyn Store, nth: u8) -> Epoch {
    store.create_brane(record(nth)).await.unwrap();
    store.open(brane(nth)).await.unwrap().epoch
}

/// The edits that a brane's journal holds.
async fn head(store: &dyn Store, nth: u8) -> Seq {
    let report = store.verify_brane(brane(nth)).await.unwrap();
    assert_eq!((report.damage_count, report.torn), (0, None));
    report.head
}

/// The files of the spool that wait.
fn files(options: &SpoolOptions) -> usize {
    look(&options.directory).unwrap().len()
}

#[tokio::test]
async fn keeps_what_it_is_given_in_order_and_over_restarts() {
    let root = tempfile::tempdir().unwrap();
    let options = SpoolOptions { max_bytes: 1 << 20, ..options(root.path()) };
    let mut kept = Vec::new();
    for life in 0..4_u64 {
        let spool = Spool::open(&options).unwrap();
        assert_eq!(spool.status().found, kept.len() as u64);
        assert_eq!(all(&spool).await, kept);
        for group in 0..5 {
            let from = life * 15 + group * 3;
            let group: Vec<_> =
                (1..=3).flat_map(|nth| chunks(nth, Epoch(1), from..from + 3)).collect();
            spool.append(group.clone()).await.unwrap();
            kept.extend(group);
        }
        assert_eq!(spool.status().chunks, kept.len() as u64);
    }
    assert!(files(&options) > 4, "{} files", files(&options));
    // Bounds of one reading.
    let spool = Spool::open(&options).unwrap();
    assert_eq!(spool.peek(7, usize::MAX).await.unwrap(), kept[..7]);
    let three = kept[..3].iter().map(|chunk| chunk.body.len()).sum();
    assert_eq!(spool.peek(usize::MAX, three).await.unwrap(), kept[..3]);
    assert_eq!(spool.peek(usize::MAX, three - 1).await.unwrap(), kept[..2]);
    assert_eq!(spool.peek(usize::MAX, 0).await.unwrap(), kept[..1]);
}

#[tokio::test]
async fn one_process_has_it() {
    let root = tempfile::tempdir().unwrap();
    let options = options(root.path());
    let spool = Spool::open(&options).unwrap();
    let in_use = StoreError::InUse(options.directory.clone());
    assert_eq!(Spool::open(&options).map(drop), Err(in_use));
    drop(spool);
    assert_eq!(Spool::open(&options).map(drop), Ok(()));
}

#[tokio::test]
async fn refuses_what_is_beyond_its_bound_and_takes_it_when_there_is_room() {
    let root = tempfile::tempdir().unwrap();
    let options = options(root.path());
    let store = MemoryDisk::new().mount();
    let epoch = opened(&store, 1).await;
    let spool = Spool::open(&options).unwrap();
    let mut taken = 0;
    let refusal = loop {
        match spool.append(chunks(1, epoch, taken..taken + 4)).await {
            Ok(()) => taken += 4,
            Err(refusal) => break refusal,
        }
    };
    assert!(matches!(refusal, StoreError::Full(_)) && refusal.is_retryable(), "{refusal}");
    assert!(taken > 100 && spool.status().bytes <= options.max_bytes, "{:?}", spool.status());
    assert_eq!(all(&spool).await, chunks(1, epoch, 0..taken), "a refusal leaves what was there");
    // Room becomes free as it is settled, before all is.
    let some = spool.peek(100, usize::MAX).await.unwrap();
    let answers = store.append(some).await.unwrap();
    assert_eq!(spool.settle(answers).await, Ok(Drained { stored: 100, archived: 0 }));
    spool.append(chunks(1, epoch, taken..taken + 4)).await.unwrap();
    let drained = spool.drain(&store).await.unwrap();
    assert_eq!(drained, Drained { stored: taken - 96, archived: 0 });
    assert_eq!(head(&store, 1).await, Seq(taken + 4));
    let SpoolStatus { chunks, bytes, stored, .. } = spool.status();
    assert_eq!((chunks, bytes, stored, files(&options)), (0, 0, taken + 4, 0));
    let malformed = chunk(1, epoch, 5, 5);
    assert!(matches!(spool.append(vec![malformed]).await, Err(StoreError::Invalid(_))));
}

/// The process dies; nobody opened its branes. The next drains what it left,
/// and the brane goes on behind it, on the same line.
#[tokio::test]
async fn what_a_dead_process_left_is_drained_where_nobody_took_over() {
    let root = tempfile::tempdir().unwrap();
    let options = options(root.path());
    let fleet = MemoryFleet::new(MemoryDisk::new(), 5_000);
    let dead = fleet.store(nth_node(1));
    dead.enter().await.unwrap();
    let epoch = opened(&dead, 1).await;
    dead.append(chunks(1, epoch, 0..3)).await.unwrap();
    Spool::open(&options).unwrap().append(chunks(1, epoch, 3..9)).await.unwrap();
    dead.close().await.unwrap();

    // The next life of the process is another node.
    let next = fleet.store(nth_node(2));
    next.enter().await.unwrap();
    let spool = Spool::open(&options).unwrap();
    assert_eq!(spool.status().found, 6);
    assert_eq!(spool.drain(&next).await, Ok(Drained { stored: 6, archived: 0 }));
    assert_eq!(archived(&options.directory), Ok(Vec::new()));
    fleet.advance(5_000);
    let opened = next.open(brane(1)).await.unwrap();
    assert_eq!(
        (opened.head, opened.lineage),
        (Seq(9), vec![(epoch, Seq(0)), (epoch.next(), Seq(9))])
    );
}

/// Another node opened one of its branes: that one's tail is archived, and
/// the others' are stored.
#[tokio::test]
async fn the_tail_of_a_brane_that_was_taken_is_archived_and_no_other() {
    let root = tempfile::tempdir().unwrap();
    let options = options(root.path());
    let fleet = MemoryFleet::new(MemoryDisk::new(), 5_000);
    let (cut_off, other) = (fleet.store(nth_node(1)), fleet.store(nth_node(2)));
    cut_off.enter().await.unwrap();
    other.enter().await.unwrap();
    let mut waiting = Vec::new();
    for nth in 1..=3 {
        let epoch = opened(&cut_off, nth).await;
        cut_off.append(chunks(nth, epoch, 0..2)).await.unwrap();
        waiting.push(chunks(nth, epoch, 2..8));
    }
    let spool = Spool::open(&options).unwrap();
    for step in 0..6 {
        spool.append(waiting.iter().map(|tail| tail[step].clone()).collect()).await.unwrap();
    }
    fleet.advance(5_000);
    other.renew(Vec::new()).await.unwrap();
    let taken = other.open(brane(2)).await.unwrap();
    other.append(chunks(2, taken.epoch, 2..5)).await.unwrap();

    assert_eq!(spool.drain(&cut_off).await, Ok(Drained { stored: 12, archived: 6 }));
    assert_eq!(head(&cut_off, 1).await, Seq(8));
    assert_eq!(head(&cut_off, 2).await, Seq(5));
    assert_eq!(head(&cut_off, 3).await, Seq(8));
    let found = archived(&options.directory).unwrap();
    let [Archived { file, of, from, to, chunks, torn, .. }] = &found[..] else {
        panic!("{found:?}")
    };
    let old = waiting[1][0].epoch;
    assert_eq!((*of, *from, *to, *chunks, torn), (Some((brane(2), old)), Seq(2), Seq(8), 6, &None));
    assert_eq!(read_segment(&fs::read(file).unwrap()).chunks, waiting[1]);
    assert_eq!((spool.status().chunks, spool.status().archived, files(&options)), (0, 6, 0));
}

/// A drain that fails anywhere, and a process that dies in it, end as if
/// nothing had been.
#[tokio::test]
async fn a_drain_that_ends_anywhere_is_done_again_and_stores_once() {
    for (nth, fault) in (0..).zip([
        Fault::FailBefore,
        Fault::FailAfter,
        Fault::FailWithin { chunks: 2 },
        Fault::FailWithin { chunks: 7 },
    ]) {
        for dies in [false, true] {
            let root = tempfile::tempdir().unwrap();
            let options = options(root.path());
            let disk = MemoryDisk::new();
            let store = disk.mount();
            let epoch = opened(&store, 1).await;
            let mut spool = Spool::open(&options).unwrap();
            let all = chunks(1, epoch, 0..40);
            for group in all.chunks(3) {
                spool.append(group.to_vec()).await.unwrap();
            }
            // Some are settled, and some are stored and not settled.
            let some = spool.peek(9, usize::MAX).await.unwrap();
            let answers = store.append(some).await.unwrap();
            spool.settle(answers).await.unwrap();
            disk.plan(move |operation, _| match operation {
                Operation::Append => fault,
                _ => Fault::None,
            });
            assert!(spool.drain(&store).await.is_err(), "case {nth}");
            disk.heal();
            if dies {
                drop(spool);
                spool = Spool::open(&options).unwrap();
            }
            assert_eq!(spool.drain(&store).await.unwrap().archived, 0, "case {nth}");
            assert_eq!(head(&store, 1).await, Seq(40), "case {nth}");
            assert_eq!(archived(&options.directory), Ok(Vec::new()), "case {nth}");
        }
    }
}

/// What is stored and compacted away already is no loss.
#[tokio::test]
async fn what_the_journal_has_passed_counts_as_stored() {
    let root = tempfile::tempdir().unwrap();
    let store = MemoryDisk::new().mount();
    let epoch = opened(&store, 1).await;
    let spool = Spool::open(&options(root.path())).unwrap();
    spool.append(chunks(1, epoch, 0..4)).await.unwrap();
    let answers = vec![
        Ok(()),
        Err(AppendRefusal::Gap { head: Seq(9) }),
        Err(AppendRefusal::Gap { head: Seq(2) }),
        Err(AppendRefusal::StaleEpoch { current: epoch.next() }),
    ];
    assert_eq!(spool.settle(answers).await, Ok(Drained { stored: 2, archived: 2 }));
}

/// A process dies while it writes: whatever of the last file is on the device,
/// what was told is there, and the spool goes on.
#[tokio::test]
async fn torn_anywhere_it_keeps_a_good_beginning() {
    let root = tempfile::tempdir().unwrap();
    let made = options(&root.path().join("made"));
    let spool = Spool::open(&made).unwrap();
    spool.append(chunks(1, Epoch(1), 0..6)).await.unwrap();
    let kept = all(&spool).await;
    drop(spool);
    let name = format!("{:020}.spool", 1);
    let bytes = fs::read(made.directory.join(&name)).unwrap();
    // Each takes several syncs; that every length is read well is tested beside
    // the reader.
    let lengths = (0..bytes.len()).step_by(23).chain([23, 24, 25, bytes.len()]);
    for (nth, length) in lengths.enumerate() {
        let options = options(&root.path().join(nth.to_string()));
        fs::create_dir_all(&options.directory).unwrap();
        fs::write(options.directory.join(&name), &bytes[..length]).unwrap();
        let Segment { chunks: good, torn, .. } = read_segment(&bytes[..length]);
        let spool = Spool::open(&options).unwrap();
        assert_eq!(all(&spool).await, good, "{length}");
        assert_eq!(good, kept[..good.len()], "{length}");
        assert_eq!(spool.status().cut, u64::from(torn.is_some()), "{length}");
        let more = chunks(2, Epoch(1), 0..2);
        spool.append(more.clone()).await.unwrap();
        drop(spool);
        let spool = Spool::open(&options).unwrap();
        assert_eq!(all(&spool).await, [good, more].concat(), "{length}");
        assert_eq!((spool.status().cut, spool.status().damaged), (0, 0), "{length}");
    }
}

/// An older file is damaged: what is behind the place is put aside, and the
/// store says of which branes something is missing.
#[tokio::test]
async fn damage_costs_what_is_behind_it_in_its_file() {
    let root = tempfile::tempdir().unwrap();
    let options = options(root.path());
    let store = MemoryDisk::new().mount();
    let (one, other) = (opened(&store, 1).await, opened(&store, 2).await);
    let spool = Spool::open(&options).unwrap();
    for from in 0..20 {
        spool.append(chunks(1, one, from..from + 1)).await.unwrap();
    }
    spool.append(chunks(2, other, 0..3)).await.unwrap();
    drop(spool);
    assert!(files(&options) >= 2);
    let first = options.directory.join(format!("{:020}.spool", 1));
    let mut bytes = fs::read(&first).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&first, &bytes).unwrap();

    let good = read_segment(&bytes).chunks.len() as u64;
    let spool = Spool::open(&options).unwrap();
    assert_eq!((spool.status().cut, spool.status().damaged), (0, 1));
    let drained = spool.drain(&store).await.unwrap();
    assert_eq!(drained.stored, good + 3, "the other brane's are whole");
    assert!(drained.archived > 0);
    assert_eq!((head(&store, 1).await, head(&store, 2).await), (Seq(good), Seq(3)));
    let found = archived(&options.directory).unwrap();
    let aside = found.iter().filter(|found| found.file.extension().unwrap() == "damaged").count();
    let tails = found.iter().filter(|found| found.of == Some((brane(1), one))).count();
    assert_eq!((aside, tails, found.len()), (1, 1, 2), "{found:?}");
}

#[tokio::test]
async fn a_device_that_is_full_costs_what_it_refused_alone() {
    let root = tempfile::tempdir().unwrap();
    let options = options(root.path());
    let spool = Spool::open(&options).unwrap();
    // The next file is on a device that has no room.
    let first = options.directory.join(format!("{:020}.spool", 1));
    std::os::unix::fs::symlink("/dev/full", &first).unwrap();
    let all = chunks(1, Epoch(1), 0..3);
    let refusal = spool.append(all.clone()).await;
    assert!(matches!(refusal, Err(StoreError::Full(_))), "{refusal:?}");
    assert_eq!((spool.status().chunks, spool.status().bytes), (0, 0));
    spool.append(all.clone()).await.unwrap();
    assert_eq!(spool.peek(usize::MAX, usize::MAX).await, Ok(all.clone()));
    drop(spool);
    assert!(fs::symlink_metadata(&first).is_err(), "a file that holds nothing is left");
    assert_eq!(Spool::open(&options).unwrap().peek(9, usize::MAX).await, Ok(all));
}

/// A tail that grows in many steps is one file, also over restarts.
#[tokio::test]
async fn an_archive_grows() {
    let root = tempfile::tempdir().unwrap();
    let options = options(root.path());
    let all = chunks(1, Epoch(1), 0..30);
    let stale = Err(AppendRefusal::StaleEpoch { current: Epoch(2) });
    let spool = Spool::open(&options).unwrap();
    for group in all.chunks(10) {
        spool.append(group.to_vec()).await.unwrap();
    }
    drop(spool);
    let archive = options.directory.join("archive");
    for target in [6, 12, 18, 24, 30] {
        let spool = Spool::open(&options).unwrap();
        // Some of what was settled is there again: files go as a whole.
        let waiting = spool.peek(usize::MAX, usize::MAX).await.unwrap();
        let count = waiting.iter().filter(|chunk| chunk.to.0 <= target).count();
        spool.settle(vec![stale; 2]).await.unwrap();
        spool.settle(vec![stale; count - 2]).await.unwrap();
        // An attempt that died half way.
        let file = fs::read_dir(&archive).unwrap().next().unwrap().unwrap().path();
        let mut bytes = fs::read(&file).unwrap();
        bytes.extend_from_slice(&[7; 50]);
        fs::write(&file, bytes).unwrap();
        let found = archived(&options.directory).unwrap();
        assert_eq!((found.len(), found[0].to), (1, Seq(target)));
        assert!(found[0].torn.is_some());
    }
    let found = archived(&options.directory).unwrap();
    let read = read_segment(&fs::read(&found[0].file).unwrap());
    assert_eq!(read.chunks, all);
}
