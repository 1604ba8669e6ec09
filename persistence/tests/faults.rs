//! The memory store's planned faults do what they say, without a runtime.
#![allow(clippy::unwrap_used)]

mod common;

use std::future::Future;
use std::task::{Context, Poll, Waker};

use avvy_model::{Epoch, Seq};
use avvy_persistence::memory::{Fault, MemoryDisk, Operation};
use avvy_persistence::{Store, StoreError};
use common::{brane, chunk, record, snapshot};

/// Every future is ready at once.
fn now<T>(future: impl Future<Output = T>) -> T {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the memory store made somebody wait"),
    }
}

fn opened() -> (MemoryDisk, Epoch, impl Store) {
    let disk = MemoryDisk::new();
    let store = disk.mount();
    now(store.create_brane(record(1))).unwrap();
    let epoch = now(store.open(brane(1))).unwrap().epoch;
    (disk, epoch, store)
}

/// A plan that does something to the next append.
fn once(fault: Fault) -> impl FnMut(Operation, u64) -> Fault {
    let mut fault = Some(fault);
    move |operation, _| match operation {
        Operation::Append => fault.take().unwrap_or_default(),
        _ => Fault::None,
    }
}

#[test]
fn a_failed_append_is_done_as_far_as_planned_and_can_be_repeated() {
    let cases = [
        (Fault::FailBefore, 0),
        (Fault::FailWithin { chunks: 0 }, 0),
        (Fault::FailWithin { chunks: 2 }, 2),
        (Fault::FailWithin { chunks: 9 }, 3),
        (Fault::FailAfter, 3),
    ];
    for (fault, stored) in cases {
        let (disk, epoch, store) = opened();
        disk.plan(once(fault));
        let group = || (0..3).map(|from| chunk(1, epoch, from, from + 1)).collect::<Vec<_>>();
        let answer = now(store.append(group()));
        assert!(matches!(&answer, Err(error) if error.is_outcome_unknown()), "{answer:?}");
        assert!(answer.is_err_and(|error| error.is_retryable()));
        assert_eq!(now(store.verify_brane(brane(1))).unwrap().head, Seq(stored), "{fault:?}");
        assert_eq!(now(store.append(group())).unwrap(), [Ok(()); 3], "{fault:?}");
        assert_eq!(now(store.read_chunks(brane(1), Seq(0), 10_000)).unwrap().len(), 3);
    }
}

#[test]
fn a_power_cut_silences_the_store_until_the_disk_is_mounted_again() {
    let cases = [(Fault::CutBefore, 0), (Fault::CutWithin { chunks: 1 }, 1), (Fault::CutAfter, 2)];
    for (fault, stored) in cases {
        let (disk, epoch, store) = opened();
        disk.plan(once(fault));
        let group = vec![chunk(1, epoch, 0, 1), chunk(1, epoch, 1, 2)];
        assert_eq!(now(store.append(group)), Err(StoreError::Closed));
        assert_eq!(now(store.open(brane(1))), Err(StoreError::Closed));
        let next = disk.mount();
        assert_eq!(now(store.open(brane(1))), Err(StoreError::Closed), "an earlier life");
        assert_eq!(now(next.open(brane(1))).unwrap().head, Seq(stored), "{fault:?}");
        assert_eq!(disk.counts().1, 1, "faults counted");
    }
}

#[test]
fn an_operation_that_fails_after_its_effect_can_be_repeated() {
    let (disk, epoch, store) = opened();
    assert_eq!(now(store.append(vec![chunk(1, epoch, 0, 1)])).unwrap(), [Ok(())]);
    let mut failed = false;
    disk.plan(move |operation, _| match operation {
        Operation::FinishSnapshot if !std::mem::replace(&mut failed, true) => Fault::FailAfter,
        _ => Fault::None,
    });
    assert!(now(snapshot(&store, 1, epoch, 1)).is_err());
    let info = now(store.open(brane(1))).unwrap().snapshots[0];
    assert_eq!(now(store.finish_snapshot(brane(1), info.id, 3)), Ok(()));
}
