//! Edits that are refused while the database is away, and what was taken
//! before.

use std::time::Duration;

use avvy_client::net::{Brane, EditError, Pending};
use avvy_model::{Code, Position};
use avvy_persistence::testing::proxy::Way;
use tokio::time::timeout;

use crate::load::{block, count};
use crate::site::{PATIENCE, Pair, join};

/// An edit that was taken, or refused as unavailable.
async fn taken(brane: &Brane) -> Option<Pending> {
    let mut edit = brane.submit(block()).await.unwrap();
    match timeout(PATIENCE, edit.applied()).await.unwrap() {
        Ok(_) => Some(edit),
        Err(EditError::Refused(refusal)) if refusal.code == Code::Unavailable => None,
        Err(error) => panic!("{error}"),
    }
}

/// Has people edit in turns until one is refused; the edits that were taken.
async fn until_refused(branes: &[Brane], pace: Duration) -> Vec<Pending> {
    let mut edits = Vec::new();
    let mut pace = tokio::time::interval(pace);
    let refused = async {
        for brane in branes.iter().cycle() {
            pace.tick().await;
            match taken(brane).await {
                Some(edit) => edits.push(edit),
                None => return,
            }
        }
    };
    timeout(PATIENCE, refused).await.unwrap();
    edits
}

/// Edits until one is taken.
async fn until_taken(brane: &Brane) -> Pending {
    let taken = async {
        loop {
            if let Some(edit) = taken(brane).await {
                return edit;
            }
            // Who asks all the time is sent away.
            tokio::time::sleep(crate::LOOK).await;
        }
    };
    timeout(PATIENCE, taken).await.unwrap()
}

/// Waits until edits are durable; they follow one another from this place on.
async fn all_durable(edits: Vec<Pending>, mut last: Position) -> Position {
    for edit in edits {
        let at = timeout(PATIENCE, edit.durable()).await.unwrap().unwrap();
        assert_eq!((at.epoch, at.seq), (last.epoch, last.seq.next()), "each edit once, in order");
        last = at;
    }
    last
}

/// Refuses edits from some time after the database is cut off until it is
/// back; what was taken becomes durable. `look` is there while it refuses.
async fn refuses_and_goes_on(pair: &Pair, pace: Duration, look: impl FnOnce(usize)) {
    let before = count(&pair.one.server, pair.brane).unwrap();
    let mut branes = Vec::new();
    // One client alone waits when too many of its edits are not durable.
    for _ in 0..4 {
        branes.push(join(&pair.one.server, pair.brane, &[]).await);
    }
    let first = until_taken(&branes[0]).await;
    let first = timeout(PATIENCE, first.durable()).await.unwrap().unwrap();
    pair.one.way.set(Way::Cut);
    let mut edits = until_refused(&branes, pace).await;
    for brane in &branes {
        assert!(taken(brane).await.is_none(), "one is taken among those that are refused");
    }
    look(edits.len());
    pair.one.way.set(Way::CLEAR);
    edits.push(until_taken(&branes[0]).await);
    let taken = edits.len();
    all_durable(edits, first).await;
    assert_eq!(count(&pair.one.server, pair.brane), Ok(before + 1 + taken), "each edit once");
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_are_refused_while_it_is_away_where_that_is_asked_for() {
    let pair = Pair::start(&[("AVVY_STORE_WHEN_AWAY", "refuse")]);
    refuses_and_goes_on(&pair, Duration::from_millis(20), |_| {
        assert!(!pair.one.server.data.join("spool").exists(), "what is refused is not kept");
        assert!(pair.one.metric("avvy_commit_queue_bytes") < 1 << 20, "no bound is near");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_are_refused_when_no_more_can_be_kept_on_local_disk() {
    const BOUND: u64 = 64 << 10;
    let bound = BOUND.to_string();
    let pair = Pair::start(&[
        ("AVVY_STORE_QUEUE_BYTES", &bound),
        ("AVVY_STORE_SPOOL_BYTES", &bound),
        ("AVVY_STORE_MAX_COMMIT_BYTES", &bound),
        ("AVVY_BRANE_JOURNAL_PENDING_BYTES", &bound),
        ("AVVY_BRANE_MAX_WINDOW_BYTES", &bound),
        // Nothing is on disk before a commit has failed.
        ("AVVY_STORE_OPERATION_TIMEOUT_MS", "500"),
    ]);
    refuses_and_goes_on(&pair, Duration::from_millis(5), |taken| {
        assert!(taken > 100, "only {taken} were taken");
        // Small edits take more room there than in the queue.
        let (queue, spool) =
            (pair.one.metric("avvy_commit_queue_bytes"), pair.one.metric("avvy_spool_bytes"));
        assert!(queue < BOUND * 9 / 10, "the queue's own bound is near: {queue}");
        assert!((BOUND * 9 / 10..=BOUND).contains(&spool), "{spool} bytes are on disk");
    })
    .await;
    pair.one.until("avvy_spool_chunks", |chunks| chunks == 0);
    assert_eq!(pair.one.archived(), 0);
}

/// What was taken before the settings were changed is stored all the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_life_has_kept_is_stored_by_one_that_keeps_nothing() {
    const KEPT: usize = 20;
    let mut pair = Pair::start(&[]);
    let before = count(&pair.one.server, pair.brane).unwrap();
    let brane = join(&pair.one.server, pair.brane, &[]).await;
    let first = until_taken(&brane).await;
    timeout(PATIENCE, first.durable()).await.unwrap().unwrap();
    pair.one.way.set(Way::Cut);
    for _ in 0..KEPT {
        until_taken(&brane).await;
    }
    // Each was applied before the next was made: a window for each.
    pair.one.until("avvy_spool_chunks", |chunks| chunks == KEPT as u64);
    drop(brane);
    pair.kill_and_start_one(&[("AVVY_STORE_WHEN_AWAY", "refuse")]);
    let kept = || {
        let files = std::fs::read_dir(pair.one.server.data.join("spool")).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".spool")).count()
    };
    assert_eq!((kept(), pair.one.archived()), (0, 0));
    let found = async {
        // Until the lease of the one before is over.
        loop {
            match count(&pair.one.server, pair.brane) {
                Ok(found) => return found,
                Err((status, _)) => assert_eq!(status, 421),
            }
            tokio::time::sleep(crate::LOOK).await;
        }
    };
    let found = timeout(PATIENCE, found).await.unwrap();
    assert_eq!(found, before + 1 + KEPT, "each edit once");
    refuses_and_goes_on(&pair, Duration::from_millis(20), |_| {
        assert_eq!(kept(), 0, "what is refused is not kept");
    })
    .await;
}
