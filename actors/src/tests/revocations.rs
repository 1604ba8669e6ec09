//! What is revoked, between nodes and places that fail.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use avvy_auth::Revocation;
use avvy_persistence::cache::{Member, SharedSet};
use avvy_persistence::{BoxFuture, StoreError};
use tokio::sync::Notify;

use super::*;

fn config() -> SystemConfig {
    SystemConfig { revocation_poll_ms: 5, ..SystemConfig::default() }
}

/// A place that forgets, and fails.
#[derive(Default)]
struct Place {
    members: Mutex<Vec<Member>>,
    is_away: AtomicBool,
    changed: Notify,
}

impl Place {
    fn outcome<T>(&self, value: T) -> Result<T, StoreError> {
        match self.is_away.load(Ordering::SeqCst) {
            true => Err(StoreError::Io("away".to_owned())),
            false => Ok(value),
        }
    }
}

impl SharedSet for Place {
    fn place(&self) -> &'static str {
        "a test"
    }

    fn add(&self, members: Vec<Member>, _: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.outcome(())?;
            self.members.lock().unwrap().extend(members);
            Ok(())
        })
    }

    fn all(&self) -> BoxFuture<'_, Result<Vec<Member>, StoreError>> {
        Box::pin(async { self.outcome(self.members.lock().unwrap().clone()) })
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.changed.notified())
    }
}

async fn until(is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap();
}

fn token(world: &World) -> Revocation {
    let Claims { user, token, expires_s, .. } = world.claims;
    Revocation::token(user, token, Some(expires_s), 0)
}

#[tokio::test]
async fn nodes_on_one_store_hear_of_it() {
    let disk = MemoryDisk::new();
    let store: Arc<dyn Store> = Arc::new(disk.mount());
    let a = World::on(Arc::clone(&store), disk.clone(), config()).await;
    let b = World::on(store, disk, config()).await;
    let text = a.issuer.issue(&a.claims);
    assert!(b.system.verify(&text).is_ok());
    a.system.revoke(token(&a)).await.unwrap();
    assert_eq!(a.system.verify(&text).err(), Some(Code::TokenRevoked));
    until(|| b.system.verify(&text).err() == Some(Code::TokenRevoked)).await;
    assert!(b.system.verify(&b.issuer.issue(&b.claims)).is_ok());
}

#[tokio::test]
async fn what_a_place_has_forgotten_is_put_back() {
    let world = World::new(config()).await;
    let place = Arc::new(Place::default());
    world.system.share_revocations(place.clone()).await;
    world.system.revoke(token(&world)).await.unwrap();
    assert_eq!(place.members.lock().unwrap().len(), 1);
    place.members.lock().unwrap().clear();
    until(|| place.members.lock().unwrap().len() == 1).await;
    // What another node has put there counts here.
    let user = world.claims.user;
    let before = Revocation::Before { user, issued_s: world.claims.issued_s + 1, is_lasting: true };
    let member = Member { name: before.name(), until_s: before.until_s() };
    place.members.lock().unwrap().push(member);
    let status = || world.system.status();
    while status().await.unwrap().revocations.revoked < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let later = Claims { token: Uuid::new_v4(), ..world.claims.clone() };
    let later = world.system.verify(&world.issuer.issue(&later));
    assert_eq!(later.err(), Some(Code::TokenRevoked));
}

#[tokio::test]
async fn with_a_place_away_the_others_do_and_its_age_is_told() {
    let world = World::new(config()).await;
    let place = Arc::new(Place::default());
    place.is_away.store(true, Ordering::SeqCst);
    world.system.share_revocations(place.clone()).await;
    world.system.revoke(token(&world)).await.unwrap();
    let status = || async { world.system.status().await.unwrap().revocations };
    while status().await.failures < 3 || status().await.age_ms < 20 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    place.is_away.store(false, Ordering::SeqCst);
    until(|| place.members.lock().unwrap().len() == 1).await;
}

#[tokio::test]
async fn what_no_place_keeps_is_in_force_here_and_not_promised() {
    let world = World::new(config()).await;
    world.fail_every(|operation| operation == StoreOperation::PutMeta);
    let refused = world.system.revoke(token(&world)).await;
    assert_eq!(refused, Err(Code::Unavailable));
    let text = world.issuer.issue(&world.claims);
    assert_eq!(world.system.verify(&text).err(), Some(Code::TokenRevoked));
    // It is put there as soon as that can be done.
    world.disk.heal();
    let kept = async {
        while world.store.meta("revoked.0").await.unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, kept).await.unwrap();
}

#[tokio::test]
async fn what_is_not_remembered_for_long_enough_is_not_promised() {
    let world = World::new(SystemConfig::default()).await;
    let (mine, issued_s) = (world.claims.user, world.claims.issued_s + 1);
    let before = |user, is_lasting| Revocation::Before { user, issued_s, is_lasting };
    let place = Arc::new(Place::default());
    let others = (0..8_000).map(|_| before(UserId::new(Uuid::new_v4()), true));
    let others = others.map(|one| Member { name: one.name(), until_s: one.until_s() });
    place.members.lock().unwrap().extend(others);
    world.system.share_revocations(place).await;
    // In force all the same.
    assert_eq!(world.system.revoke(before(mine, true)).await, Err(Code::Unavailable));
    let text = world.issuer.issue(&world.claims);
    assert_eq!(world.system.verify(&text).err(), Some(Code::TokenRevoked));
    // What sign-ins gave has ended by then.
    assert_eq!(world.system.revoke(before(mine, false)).await, Ok(issued_s + 2 * 3_600));
}

#[tokio::test]
async fn nobody_fills_the_memory_of_all() {
    let world = World::new(SystemConfig::default()).await;
    let user = world.claims.user;
    let now_s = crate::clock::unix_s();
    let until = |user, expires_s| Revocation::token(user, Uuid::new_v4(), expires_s, now_s);
    let one = |user| until(user, Some(now_s + 900));
    let first = one(user);
    world.system.revoke(first).await.unwrap();
    // Those of which nobody knows the end are kept for a year.
    for _ in 0..16 {
        world.system.revoke(until(user, None)).await.unwrap();
    }
    assert_eq!(world.system.revoke(until(user, None)).await, Err(Code::TooLarge));
    for _ in 17..256 {
        world.system.revoke(one(user)).await.unwrap();
    }
    assert_eq!(world.system.revoke(one(user)).await, Err(Code::TooLarge));
    assert!(world.system.revoke(first).await.is_ok(), "it is there already");
    // All at once can be said as often as anybody likes.
    for second in 1..9 {
        let issued_s = world.claims.issued_s + second;
        world.system.revoke(Revocation::Before { user, issued_s, is_lasting: true }).await.unwrap();
    }
    world.system.revoke(until(UserId::new(Uuid::new_v4()), None)).await.unwrap();
    let status = world.system.status().await.unwrap();
    assert_eq!(status.revocations.revoked, 256 + 1 + 1);
}
