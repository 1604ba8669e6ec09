//! Records on SQLite: power cuts, many writers, and the journal beside them.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use avvy_persistence::import::copy_records;
use avvy_persistence::powercut::{self, Keep};
use avvy_persistence::records::{
    Collection, Commit, CommitId, CommitOutcome, Draft, Expect, Fields, Index, IndexKey, KeyRange,
    Query, RecordKey, RecordWrite, Records, SweepPlace, digest,
};
use avvy_persistence::sqlite::{SqliteOptions, SqliteStore, Synchronous};
use avvy_persistence::{Place, Store, StoreError};
use common::{Draw, brane, chunk, record};
use futures_util::future::join_all;
use rusqlite::Connection;
use uuid::Uuid;

static USERS: Collection =
    Collection { name: "users", indexes: &[Index::unique("by_says"), Index::plain("by_tag")] };

const NOW_S: u64 = 1_700_000_000;
const KEYS: u64 = 8;

fn key(nth: u64) -> RecordKey {
    RecordKey::from(Uuid::from_u128(u128::from(nth)))
}

fn number(number: u64) -> IndexKey {
    IndexKey::new().number(number)
}

fn draft(says: u64) -> Draft {
    let body = Fields::new().with("says", says.cast_signed()).with("more", "x".repeat(300));
    Draft::new(body).found_by("by_says", number(says)).found_by("by_tag", number(says % 3))
}

fn commit(nth: u64, writes: Vec<RecordWrite>) -> Commit {
    Commit { id: CommitId(Uuid::from_u128(1 << 100 | u128::from(nth))), writes }
}

/// What was told of users: what each says.
#[derive(Clone, Default)]
struct Told {
    durable: BTreeMap<u64, u64>,
    /// A commit of which nothing was told, and what users say after it.
    open: Option<(Commit, BTreeMap<u64, u64>)>,
    next: u64,
}

fn options(directory: &Path, synchronous: Synchronous) -> SqliteOptions {
    SqliteOptions {
        vfs: Some(powercut::register().unwrap().to_owned()),
        synchronous,
        wal_bytes: 64 << 10,
        readers: 1,
        ..SqliteOptions::at(directory)
    }
}

impl Told {
    /// Draws a commit of a few users.
    fn draw(&mut self, draw: &mut Draw) {
        self.next += 1;
        let mut after = self.durable.clone();
        let mut writes = Vec::new();
        for at in 0..=draw.below(3) {
            let nth = (draw.below(KEYS / 4)) * 4 + at;
            if draw.below(4) == 0 {
                after.remove(&nth);
                writes.push(RecordWrite::delete(&USERS, key(nth), Expect::Any));
            } else {
                let says = self.next << 8 | nth;
                after.insert(nth, says);
                writes.push(RecordWrite::put(&USERS, key(nth), draft(says)));
            }
        }
        self.open = Some((commit(self.next, writes), after));
    }

    /// Does the commit that is open.
    async fn settle(&mut self, store: &SqliteStore) -> Result<(), StoreError> {
        let Some((commit, after)) = self.open.clone() else { return Ok(()) };
        let answer = store.commit(commit, NOW_S).await?;
        assert!(answer.is_ok(), "{answer:?}");
        self.durable = after;
        self.open = None;
        Ok(())
    }

    /// Holds the store to what was told, and to all or none of what is open.
    async fn compare(&self, store: &SqliteStore) -> Result<(), StoreError> {
        let report = store.verify_store().await?;
        assert_eq!(report.damages, [], "damages");
        let page = store.list(&USERS, Query::new("by_says", KeyRange::all()), NOW_S).await?;
        let says = |nth: &u64| page.found.iter().find(|found| found.record.key == key(*nth));
        let found: BTreeMap<u64, u64> = (0..KEYS)
            .filter_map(|nth| Some((nth, says(&nth)?.record.body.int("says")?.cast_unsigned())))
            .collect();
        let is_open = self.open.as_ref().is_some_and(|(_, after)| found == *after);
        assert!(found == self.durable || is_open, "{found:?}, not {:?}", self.durable);
        assert_eq!(report.records, found.len() as u64);
        Ok(())
    }
}

/// Lives until the power goes.
async fn live(options: &SqliteOptions, told: &mut Told, draw: &mut Draw) {
    std::fs::create_dir_all(&options.directory).unwrap();
    powercut::cut_after(&options.directory, 1 + draw.below(900));
    let result = work(options, told, draw).await;
    assert!(powercut::is_cut(&options.directory), "failed with power: {result:?}");
}

async fn work(options: &SqliteOptions, told: &mut Told, draw: &mut Draw) -> Result<(), StoreError> {
    let store = SqliteStore::open(options)?;
    told.compare(&store).await?;
    // The commit that the power took is repeated as it was.
    told.settle(&store).await?;
    told.compare(&store).await?;
    loop {
        told.draw(draw);
        told.settle(&store).await?;
    }
}

/// Many lives in one directory with a power cut after each; how much was lost.
async fn rounds(seed: u64, synchronous: Synchronous, keep_some: bool) -> u64 {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("data");
    let options = options(&directory, synchronous);
    let (mut draw, mut told, mut lost) = (Draw(seed), Told::default(), 0);
    for _ in 0..10 {
        live(&options, &mut told, &mut draw).await;
        let seed = draw.below(u64::MAX);
        let keep = if keep_some { Keep::Some { seed } } else { Keep::Synced };
        lost += powercut::restore(&directory, keep).unwrap().lost;
    }
    let store = SqliteStore::open(&options).unwrap();
    told.compare(&store).await.unwrap();
    lost
}

#[tokio::test]
async fn commits_that_were_answered_survive_power_cuts() {
    for seed in 0..6 {
        let lost = rounds(seed, Synchronous::Full, seed % 2 == 0).await;
        assert!(lost > 0, "the cuts took nothing, so they prove nothing");
    }
}

/// The same without syncs must lose something, or the test is blind.
#[tokio::test]
async fn without_syncs_they_do_not() {
    let mut losses = 0;
    for seed in 20..24 {
        let life = tokio::spawn(rounds(seed, Synchronous::Off, seed % 2 == 0));
        losses += u32::from(life.await.is_err());
    }
    assert_eq!(losses, 4, "runs that noticed their losses");
}

/// However many commits come at once, each is judged after those before it, and
/// edits are stored between them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_lose_nothing() {
    let root = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(&SqliteOptions::at(root.path())).unwrap());
    store.create_brane(record(1)).await.unwrap();
    let epoch = store.open(brane(1)).await.unwrap().epoch;
    let make = RecordWrite::create(&USERS, key(0), draft(0));
    store.commit(commit(0, vec![make]), NOW_S).await.unwrap().unwrap();
    let raise = |writer: u64| {
        let store = Arc::clone(&store);
        async move {
            for time in 0..20_u64 {
                for attempt in 0.. {
                    let found = store.get(&USERS, key(0), NOW_S).await.unwrap().unwrap();
                    let says = found.body.int("says").unwrap().cast_unsigned() + 1;
                    let write = RecordWrite::update(&USERS, key(0), found.version, draft(says));
                    let own = RecordWrite::put(&USERS, key(writer), draft(writer << 32 | time));
                    let id = writer << 40 | time << 20 | attempt;
                    let answer = store.commit(commit(id, vec![write, own]), NOW_S).await.unwrap();
                    if answer.is_ok() {
                        break;
                    }
                }
            }
        }
    };
    let edits = async {
        for from in 0..100 {
            let answer = store.append(vec![chunk(1, epoch, from, from + 1)]).await.unwrap();
            assert_eq!(answer, [Ok(())]);
        }
    };
    tokio::join!(join_all((1..9).map(raise)), edits);
    let found = store.get(&USERS, key(0), NOW_S).await.unwrap().unwrap();
    assert_eq!(found.body.int("says"), Some(8 * 20));
    assert_eq!(store.verify_store().await.unwrap().damages, []);
    assert_eq!(store.verify_brane(brane(1)).await.unwrap().chunks, 100);
}

/// The same commit, sent many times at once, is done once.
#[tokio::test]
async fn one_commit_sent_by_many_is_done_once() {
    let root = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&SqliteOptions::at(root.path())).unwrap();
    let write = || RecordWrite::put(&USERS, key(1), draft(1));
    let answers: Vec<CommitOutcome> =
        join_all((0..20).map(|_| store.commit(commit(1, vec![write()]), NOW_S)))
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
    assert!(answers.iter().all(|answer| *answer == answers[0] && answer.is_ok()), "{answers:?}");
    let found = store.get(&USERS, key(1), NOW_S).await.unwrap().unwrap();
    assert_eq!(answers[0].as_ref().unwrap().versions, [found.version]);
}

#[tokio::test]
async fn an_inspection_names_entries_that_fit_no_record() {
    let root = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&SqliteOptions::at(root.path())).unwrap();
    for nth in 1..=3 {
        let write = RecordWrite::put(&USERS, key(nth), draft(nth));
        store.commit(commit(nth, vec![write]), NOW_S).await.unwrap().unwrap();
    }
    let sum = digest(&store).await.unwrap();
    assert_eq!(sum.count, 3);
    store.close().await.unwrap();
    let db = Connection::open(root.path().join("avvyland.sqlite")).unwrap();
    let spoil = |sql: &str, nth| assert_eq!(db.execute(sql, [key(nth).as_str()]), Ok(1));
    spoil("DELETE FROM record_entries WHERE record = ?1 AND name = 'by_tag'", 1);
    spoil("DELETE FROM records WHERE key = ?1", 2);
    drop(db);
    let store = SqliteStore::open(&SqliteOptions::at(root.path())).unwrap();
    let report = store.verify_store().await.unwrap();
    let mut places: Vec<_> = report.damages.into_iter().map(|damage| damage.place).collect();
    places.dedup();
    let place = |nth| Place::Record { of: "users".into(), key: key(nth).to_string() };
    assert_eq!((report.records, places), (2, vec![place(1), place(2)]));
    // A key that is held by a record that is gone stays its own: nobody knows
    // what it was.
    let want = RecordWrite::put(&USERS, key(9), draft(2));
    let answer = store.commit(commit(9, vec![want]), NOW_S).await;
    assert!(matches!(answer, Err(StoreError::Damaged { .. })), "{answer:?}");
    assert_ne!(digest(&store).await.unwrap(), sum);
}

#[tokio::test]
async fn a_copy_is_the_same_and_replaces_nothing() {
    let roots = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [from, to] =
        [0, 1].map(|nth| SqliteStore::open(&SqliteOptions::at(roots[nth].path())).unwrap());
    for nth in 0..300_u64 {
        let write = RecordWrite::put(&USERS, key(nth), draft(nth).until(nth + 1));
        from.commit(commit(nth, vec![write]), 0).await.unwrap().unwrap();
    }
    for _ in 0..2 {
        let sum = copy_records(&from, &to).await.unwrap();
        assert_eq!((sum.count, sum), (300, digest(&to).await.unwrap()));
    }
    assert_eq!(to.verify_store().await.unwrap().damages, []);
    let all = Query::new("by_says", KeyRange::all());
    assert_eq!(from.list(&USERS, all.clone(), 7).await, to.list(&USERS, all, 7).await);
    // Another record under a key, and one that wants what another has.
    for (nth, says) in [(299, 5_000), (900, 5)] {
        let write = RecordWrite::put(&USERS, key(nth), draft(says));
        let other = SqliteStore::open(&SqliteOptions::at(roots[0].path().join("other"))).unwrap();
        other.commit(commit(9_000 + nth, vec![write]), 0).await.unwrap().unwrap();
        let answer = copy_records(&other, &to).await;
        assert!(matches!(answer, Err(StoreError::Invalid(_))), "{answer:?}");
        other.close().await.unwrap();
        std::fs::remove_dir_all(roots[0].path().join("other")).unwrap();
    }
    assert_eq!(digest(&to).await.unwrap(), digest(&from).await.unwrap());
}

#[tokio::test]
async fn a_device_without_room_refuses_what_makes_more() {
    let root = tempfile::tempdir().unwrap();
    let options = SqliteOptions { min_free_bytes: 0, ..SqliteOptions::at(root.path()) };
    let store = SqliteStore::open(&options).unwrap();
    let put = |nth| RecordWrite::put(&USERS, key(nth), draft(nth));
    store.commit(commit(1, vec![put(1)]), NOW_S).await.unwrap().unwrap();
    store.close().await.unwrap();
    let full = SqliteOptions { min_free_bytes: u64::MAX, ..options };
    let store = SqliteStore::open(&full).unwrap();
    let answer = store.commit(commit(2, vec![put(2)]), NOW_S).await;
    assert!(matches!(answer, Err(StoreError::Full(_))), "{answer:?}");
    let gone = RecordWrite::delete(&USERS, key(1), Expect::Present);
    assert!(store.commit(commit(3, vec![gone]), NOW_S).await.unwrap().is_ok());
}

/// However much is damaged before it, what has ended goes.
#[tokio::test]
async fn a_round_of_sweeps_passes_all_that_is_damaged() {
    const DAMAGED: u64 = 1_150;
    let root = tempfile::tempdir().unwrap();
    let open = || SqliteStore::open(&SqliteOptions::at(root.path())).unwrap();
    let store = open();
    for nth in 0..12 {
        let ended = |nth| RecordWrite::create(&USERS, key(nth), draft(nth).until(NOW_S));
        let writes = (nth * 100..(nth + 1) * 100).map(ended).collect();
        store.commit(commit(nth, writes), NOW_S - 9).await.unwrap().unwrap();
    }
    store.close().await.unwrap();
    let db = Connection::open(root.path().join("avvyland.sqlite")).unwrap();
    let spoil = "UPDATE records SET checksum = checksum + 1 WHERE no IN \
        (SELECT no FROM records ORDER BY no LIMIT ?1)";
    assert_eq!(db.execute(spoil, [DAMAGED.cast_signed()]).unwrap() as u64, DAMAGED);
    drop(db);
    let store = open();
    let (mut records, mut damaged, mut from) = (0, 0, Some(SweepPlace::default()));
    while let Some(place) = from {
        let swept = store.sweep(NOW_S, place, 10).await.unwrap();
        assert!(swept.records <= 10 && swept.damaged <= 10, "{swept:?}");
        records += swept.records;
        damaged += swept.damaged;
        from = swept.next;
    }
    assert_eq!((records, damaged), (1_200 - DAMAGED, DAMAGED));
}
