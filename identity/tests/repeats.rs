//! Requests that come again, over every store that is at hand.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use avvy_identity::repeats::{
    Answered, Begun, Claim, KEPT_S, MAX_ANSWER_BYTES, RepeatLimits, Repeats, draw,
};
use avvy_model::UserId;
use avvy_persistence::memory::MemoryStore;
use avvy_persistence::records::Records;
use avvy_persistence::sqlite::{SqliteOptions, SqliteStore};
use bytes::Bytes;
use uuid::Uuid;

const LIMITS: RepeatLimits = RepeatLimits { keys_per_day: 3, bytes_per_day: 100, claim_s: 60 };
const NOON_S: u64 = 1_763_985_600;
const DIGEST: [u8; 32] = [7; 32];

fn user(n: u128) -> UserId {
    UserId::new(Uuid::from_u128(n))
}

fn key(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn answered(body: &[u8]) -> Answered {
    let headers = vec![("content-type".to_owned(), "application/cbor".to_owned())];
    Answered { status: 201, headers, body: Some(Bytes::copy_from_slice(body)) }
}

async fn first(repeats: &Repeats, n: u128, now_s: u64) -> Claim {
    match repeats.begin(user(1), key(n), DIGEST, now_s).await.unwrap() {
        Begun::First(claim) => claim,
        other => panic!("{other:?}"),
    }
}

async fn replays(repeats: &Repeats) {
    let begin = |n, who, digest, now_s| repeats.begin(user(who), key(n), digest, now_s);
    let claim = first(repeats, 1, NOON_S).await;
    assert_eq!(begin(1, 1, DIGEST, NOON_S).await, Ok(Begun::InProgress));
    assert_eq!(begin(1, 1, [8; 32], NOON_S).await, Ok(Begun::Different));
    // The key of another user is another key.
    assert!(matches!(begin(1, 2, DIGEST, NOON_S).await, Ok(Begun::First(_))));
    repeats.end(&claim, answered(b"made"), NOON_S).await.unwrap();
    let again = begin(1, 1, DIGEST, NOON_S + KEPT_S - 1).await;
    assert_eq!(again, Ok(Begun::Answered(answered(b"made"))));
    assert_eq!(begin(1, 1, [8; 32], NOON_S).await, Ok(Begun::Different));
    // Then it is forgotten, and a new day has begun.
    assert!(matches!(begin(1, 1, [8; 32], NOON_S + KEPT_S).await, Ok(Begun::First(_))));
}

async fn claims_end(repeats: &Repeats) {
    let begin = |now_s| repeats.begin(user(1), key(1), DIGEST, now_s);
    let lost = first(repeats, 1, NOON_S).await;
    assert_eq!(begin(NOON_S + LIMITS.claim_s - 1).await, Ok(Begun::InProgress));
    let second = first(repeats, 1, NOON_S + LIMITS.claim_s).await;
    // What the first says in the end counts for nothing.
    repeats.end(&lost, answered(b"late"), NOON_S + 61).await.unwrap();
    assert_eq!(begin(NOON_S + 61).await, Ok(Begun::InProgress));
    repeats.give_up(&lost, NOON_S + 61).await.unwrap();
    assert_eq!(begin(NOON_S + 61).await, Ok(Begun::InProgress));
    repeats.give_up(&second, NOON_S + 61).await.unwrap();
    let third = first(repeats, 1, NOON_S + 61).await;
    repeats.end(&third, answered(b"made"), NOON_S + 62).await.unwrap();
    assert_eq!(begin(NOON_S + 63).await, Ok(Begun::Answered(answered(b"made"))));
}

async fn are_bounded(repeats: &Repeats) {
    let begin = |n, now_s| repeats.begin(user(1), key(n), DIGEST, now_s);
    for n in 1..=3 {
        first(repeats, n, NOON_S).await;
    }
    let half_a_day_s = 12 * 3_600;
    let too_many = Ok(Begun::TooMany { retry_after_s: half_a_day_s });
    assert_eq!(begin(4, NOON_S).await, too_many);
    // What is known stays known, and tomorrow is another day.
    assert_eq!(begin(3, NOON_S).await, Ok(Begun::InProgress));
    let large = first(repeats, 4, NOON_S + half_a_day_s).await;
    let body = vec![1; MAX_ANSWER_BYTES + 1];
    repeats.end(&large, answered(&body), NOON_S + half_a_day_s).await.unwrap();
    let kept = Ok(Begun::Answered(Answered { body: None, ..answered(b"") }));
    assert_eq!(begin(4, NOON_S + half_a_day_s).await, kept);
    let second = first(repeats, 5, NOON_S + half_a_day_s).await;
    repeats.end(&second, answered(&[1; 100]), NOON_S + half_a_day_s).await.unwrap();
    assert!(matches!(begin(6, NOON_S + half_a_day_s).await, Ok(Begun::TooMany { .. })));
}

/// Of many who begin the same at once, one does it.
async fn are_done_once(repeats: &Repeats) {
    let tries = (0..8).map(|_| {
        let repeats = repeats.clone();
        tokio::spawn(async move { repeats.begin(user(1), key(1), DIGEST, NOON_S).await.unwrap() })
    });
    let mut firsts = 0;
    for task in tries.collect::<Vec<_>>() {
        match task.await.unwrap() {
            Begun::First(_) => firsts += 1,
            other => assert_eq!(other, Begun::InProgress),
        }
    }
    assert_eq!(firsts, 1);
}

/// A test for each store.
macro_rules! cases {
    ($($case:ident),*) => {
        mod memory {
            $(#[tokio::test]
            async fn $case() {
                let records: super::Arc<dyn super::Records> =
                    super::Arc::new(super::MemoryStore::new());
                super::$case(&super::Repeats::new(records, super::LIMITS)).await;
            })*
        }
        mod sqlite {
            $(#[tokio::test]
            async fn $case() {
                let place = tempfile::tempdir().unwrap();
                let store = super::SqliteStore::open(&super::SqliteOptions::at(place.path()));
                let records: super::Arc<dyn super::Records> = super::Arc::new(store.unwrap());
                super::$case(&super::Repeats::new(records, super::LIMITS)).await;
            })*
        }
        #[cfg(feature = "mongodb")]
        mod mongo {
            $(#[tokio::test]
            async fn $case() {
                let store = super::mongo().await;
                super::$case(&super::Repeats::new(store, super::LIMITS)).await;
            })*
        }
    };
}

/// A database of its own on a real server.
#[cfg(feature = "mongodb")]
async fn mongo() -> Arc<dyn Records> {
    use avvy_persistence::mongo::{MongoOptions, MongoStore};
    use avvy_persistence::testing::mongod::{fresh_database, shared};

    // A busy machine is no reason to fail.
    let options =
        MongoOptions { timeout_ms: 120_000, ..MongoOptions::at(shared(), fresh_database()) };
    Arc::new(MongoStore::open(&options).await.unwrap())
}

cases!(replays, claims_end, are_bounded, are_done_once);

#[test]
fn ids_are_drawn_from_the_request() {
    let id = draw(user(1), key(1), "brane");
    assert_eq!(id, draw(user(1), key(1), "brane"));
    assert_eq!(id.get_version_num(), 4);
    for other in [
        draw(user(2), key(1), "brane"),
        draw(user(1), key(2), "brane"),
        draw(user(1), key(1), "object"),
    ] {
        assert_ne!(id, other);
    }
}
