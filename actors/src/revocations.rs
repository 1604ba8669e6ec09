//! What tokens are revoked, as this node knows it.
//!
//! Every check is against the node's own copy. What is added here is in force
//! here at once, and put into every place that keeps it: the store, and Redis
//! where there is one. Each place is read again and again, sooner where it
//! tells of changes, and given back what it lacks. So a place that is away, or
//! has forgotten, costs nothing but time, which is told ([`RevocationStatus`]).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;

use avvy_auth::{Claims, Revocation, Revoked};
use avvy_model::{Code, UserId};
use avvy_persistence::StoreError;
use avvy_persistence::cache::{Member, SharedSet};
use tokio::sync::Notify;
use tracing::{debug, info, warn};

use crate::clock;
use crate::registry::Registry;
use crate::status::RevocationStatus;

/// The name of the set in every place.
pub const REVOKED: &str = "revoked";

/// Of one user. Whoever has more to revoke revokes all.
const MAX_OF_USER: usize = 256;

/// Of those, how many that have to be known for longer than [`LASTING_S`]: as
/// those whose end nobody said, which can be made up, and which stay for a year.
const MAX_LASTING_OF_USER: usize = 16;
const LASTING_S: u64 = 32 * 24 * 3_600;

/// Of all users together: half of what the store has room for. The rest is for
/// those who revoke all.
const MAX_TOKENS: usize = 12_000;

/// Of those, how many that have to be known for so long.
const MAX_LASTING_TOKENS: usize = 4_000;

/// Users who have revoked all for a year: so there is always room for those who
/// do by the token of a sign-in, which takes one for two hours.
const MAX_LASTING: usize = 8_000;

/// Of those, how many may have done so by the token of a sign-in. As long as there
/// is room, what else was made in their name ends with it.
const MAX_LASTING_OF_SIGN_INS: usize = 4_000;

/// Sessions are looked at no more often than so.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// What is known, and by whom it is kept.
pub(crate) struct Revocations {
    known: RwLock<Revoked>,
    keepers: Mutex<Vec<Arc<Keeper>>>,
    /// Somebody was revoked: the sessions are to be looked at.
    news: Notify,
    poll: Duration,
}

/// A place that keeps it.
struct Keeper {
    set: Arc<dyn SharedSet>,
    /// Monotonic milliseconds at which it was last read, from before that.
    read_ms: AtomicU64,
    failures: AtomicU64,
}

impl Revocations {
    /// Nothing is revoked yet. Ends with `registry`.
    pub(crate) fn start(registry: &Arc<Registry>, poll_ms: u64) -> Arc<Self> {
        let this = Arc::new(Self {
            known: RwLock::default(),
            keepers: Mutex::default(),
            news: Notify::new(),
            poll: Duration::from_millis(poll_ms),
        });
        tokio::spawn(look(Arc::downgrade(&this), Arc::downgrade(registry)));
        this
    }

    /// Has a place keep it, and takes what is there.
    ///
    /// # Errors
    /// When it could not be read. It is tried again all the same.
    pub(crate) async fn keep(self: &Arc<Self>, set: Arc<dyn SharedSet>) -> Result<(), StoreError> {
        let read_ms = AtomicU64::new(clock::monotonic_ms());
        let keeper = Arc::new(Keeper { set, read_ms, failures: AtomicU64::new(0) });
        self.keepers().push(Arc::clone(&keeper));
        let first = self.read(&keeper).await;
        tokio::spawn(follow(Arc::downgrade(self), keeper));
        first
    }

    /// Whether this token is revoked.
    pub(crate) fn cover(&self, claims: &Claims) -> bool {
        self.known.read().unwrap_or_else(PoisonError::into_inner).covers(claims)
    }

    /// The Unix second before which all of a user's tokens are revoked.
    pub(crate) fn signed_out_s(&self, user: UserId) -> Option<u64> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).signed_out_s(user)
    }

    /// Revokes, from now on, until the tokens that it means have ended, and
    /// gives the Unix second of that. Done when one place keeps it.
    ///
    /// # Errors
    /// `too_large` for a user who has revoked too many one by one, or when all
    /// together have: all of a user's can still be revoked;
    /// `unavailable` when no place has it yet, or for no longer than tokens of
    /// sign-ins count: it is in force here, and should be asked for again.
    pub(crate) async fn revoke(&self, wanted: Revocation) -> Result<u64, Code> {
        let now_s = clock::unix_s();
        let revocation = self.add(wanted, now_s)?;
        self.news.notify_one();
        let member = member(revocation);
        let until_s = member.until_s;
        let keepers = self.keepers().clone();
        let adding: Vec<_> = keepers
            .into_iter()
            .map(|keeper| {
                let member = member.clone();
                tokio::spawn(async move { keeper.set.add(vec![member], now_s).await })
            })
            .collect();
        let mut is_kept = false;
        for added in adding {
            is_kept |= matches!(added.await, Ok(Ok(())));
        }
        let is_for_long_enough = until_s >= wanted.until_s();
        if is_kept && is_for_long_enough { Ok(until_s) } else { Err(Code::Unavailable) }
    }

    pub(crate) fn status(&self) -> RevocationStatus {
        let keepers = self.keepers();
        let now_ms = clock::monotonic_ms();
        let age =
            |keeper: &Arc<Keeper>| now_ms - keeper.read_ms.load(Ordering::Relaxed).min(now_ms);
        let failures = |keeper: &Arc<Keeper>| keeper.failures.load(Ordering::Relaxed);
        RevocationStatus {
            revoked: self.known.read().unwrap_or_else(PoisonError::into_inner).len(),
            age_ms: keepers.iter().map(age).max().unwrap_or_default(),
            failures: keepers.iter().map(failures).sum(),
        }
    }

    /// Adds it as there is room for it.
    fn add(&self, wanted: Revocation, now_s: u64) -> Result<Revocation, Code> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let revocation = fitting(&known, wanted, now_s)?;
        known.add(revocation);
        Ok(revocation)
    }

    /// Takes what a place has, and gives it what it lacks.
    async fn read(&self, keeper: &Keeper) -> Result<(), StoreError> {
        let (began_ms, now_s) = (clock::monotonic_ms(), clock::unix_s());
        let found = keeper.set.all().await?;
        let lacks = self.merge(&found, now_s);
        if !lacks.is_empty() {
            debug!(place = keeper.set.place(), count = lacks.len(), "put back what was revoked");
            keeper.set.add(lacks, now_s).await?;
        }
        keeper.read_ms.store(began_ms, Ordering::Relaxed);
        Ok(())
    }

    /// Adds what was found, and gives what is known and was not.
    fn merge(&self, found: &[Member], now_s: u64) -> Vec<Member> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let mut theirs = Revoked::default();
        for Member { name, until_s } in found {
            // What cannot be read is of a later version.
            if let Some(revocation) = Revocation::of(name, *until_s) {
                theirs.add(revocation);
            }
        }
        let mut is_news = false;
        for revocation in theirs.iter().filter(|one| now_s < one.until_s()) {
            is_news |= known.add(revocation);
        }
        known.forget(now_s);
        if is_news {
            self.news.notify_one();
        }
        known.iter().filter(|one| theirs.add(*one)).map(member).collect()
    }

    fn keepers(&self) -> MutexGuard<'_, Vec<Arc<Keeper>>> {
        self.keepers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What of it there is room for, beside what is known.
fn fitting(known: &Revoked, wanted: Revocation, now_s: u64) -> Result<Revocation, Code> {
    match wanted {
        Revocation::Token { user, token, until_s } if !known.has_token(user, token) => {
            let lasting_s = now_s + LASTING_S;
            let is_full = known.tokens() >= MAX_TOKENS || known.tokens_of(user) >= MAX_OF_USER;
            let is_full_for_long = || {
                known.tokens_beyond(user, lasting_s) >= MAX_LASTING_OF_USER
                    || known.all_beyond(lasting_s) >= MAX_LASTING_TOKENS
            };
            let fits = !is_full && (until_s <= lasting_s || !is_full_for_long());
            if fits { Ok(wanted) } else { Err(Code::TooLarge) }
        }
        Revocation::Token { .. } => Ok(wanted),
        Revocation::Before { user, issued_s, is_lasting } => {
            let most = if is_lasting { MAX_LASTING } else { MAX_LASTING_OF_SIGN_INS };
            let is_lasting = known.is_lasting(user) || known.lasting() < most;
            Ok(Revocation::Before { user, issued_s, is_lasting })
        }
    }
}

fn member(revocation: Revocation) -> Member {
    Member { name: revocation.name(), until_s: revocation.until_s() }
}

/// The pause before a place is read again that could not be, at most: it may
/// have told of changes meanwhile.
const AGAIN: Duration = Duration::from_millis(500);

/// Reads a place again and again.
async fn follow(revocations: Weak<Revocations>, keeper: Arc<Keeper>) {
    let mut was_read = true;
    loop {
        let Some(poll) = revocations.upgrade().map(|strong| strong.poll) else { return };
        let pause = if was_read { poll } else { poll.min(AGAIN) };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = keeper.set.changed() => {}
        }
        let Some(strong) = revocations.upgrade() else { return };
        let outcome = strong.read(&keeper).await;
        let place = keeper.set.place();
        match &outcome {
            Ok(()) if !was_read => info!(place, "what is revoked can be read again"),
            Ok(()) => {}
            // The server ends.
            Err(StoreError::Closed) => return,
            Err(error) => {
                keeper.failures.fetch_add(1, Ordering::Relaxed);
                if was_read {
                    warn!(place, %error, "what is revoked cannot be read; what is known counts");
                }
            }
        }
        was_read = outcome.is_ok();
    }
}

/// Has the sessions look whether they are meant.
async fn look(revocations: Weak<Revocations>, registry: Weak<Registry>) {
    loop {
        let Some(strong) = revocations.upgrade() else { return };
        let poll = strong.poll;
        // At least so often, to see that all has ended.
        let is_news = tokio::time::timeout(poll, strong.news.notified()).await.is_ok();
        drop(strong);
        if is_news {
            let Some(registry) = registry.upgrade() else { return };
            registry.recheck();
            drop(registry);
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use avvy_auth::MAX_SIGN_IN_TOKEN_S;
    use avvy_persistence::cache::MetaSet;
    use avvy_persistence::memory::MemoryDisk;
    use uuid::Uuid;

    use super::*;

    const NOW_S: u64 = 1_800_000_000;

    fn before(user: UserId, is_lasting: bool) -> Revocation {
        Revocation::Before { user, issued_s: NOW_S + 1, is_lasting }
    }

    /// One that a sign-in gave, or of which nobody knows the end.
    fn token(user: UserId, is_of_a_sign_in: bool) -> Revocation {
        let expires_s = is_of_a_sign_in.then_some(NOW_S + MAX_SIGN_IN_TOKEN_S);
        Revocation::token(user, Uuid::new_v4(), expires_s, NOW_S)
    }

    /// Everything that so many have in mind who all came just now.
    fn flood(known: &mut Revoked, accounts: usize, is_of_sign_ins: bool) {
        for _ in 0..accounts {
            let user = UserId::new(Uuid::new_v4());
            let tokens = (0..8).map(|_| token(user, is_of_sign_ins));
            for wanted in tokens.chain([before(user, !is_of_sign_ins)]) {
                if let Ok(fits) = fitting(known, wanted, NOW_S) {
                    known.add(fits);
                }
            }
        }
    }

    #[tokio::test]
    async fn whoever_comes_with_ten_thousand_accounts_keeps_nobody_from_signing_out() {
        let set = MetaSet::new(Arc::new(MemoryDisk::new().mount()), REVOKED);
        let mut known = Revoked::default();
        flood(&mut known, 10_000, true);
        flood(&mut known, 10_000, false);
        assert_eq!((known.tokens(), known.lasting()), (MAX_TOKENS, MAX_LASTING));
        set.add(known.iter().map(member).collect(), NOW_S).await.unwrap();
        let ada = UserId::new(Uuid::new_v4());
        assert_eq!(fitting(&known, token(ada, true), NOW_S), Err(Code::TooLarge));
        let all = fitting(&known, before(ada, false), NOW_S).unwrap();
        assert_eq!(all, before(ada, false), "for as long as sign-ins count");
        set.add(vec![member(all)], NOW_S).await.unwrap();
        // What they did by sign-ins ends soon, and the rest leaves half of the room.
        let later_s = all.until_s();
        known.forget(later_s);
        assert_eq!((known.tokens(), known.len()), (0, MAX_LASTING));
        flood(&mut known, 1_000, false);
        assert_eq!(known.tokens(), MAX_LASTING_TOKENS);
        let one = token(ada, true);
        assert_eq!(fitting(&known, one, NOW_S), Ok(one));
        set.add(known.iter().map(member).collect(), later_s).await.unwrap();
    }

    #[test]
    fn what_sign_ins_revoke_lasts_where_there_is_room() {
        let mut known = Revoked::default();
        let ada = UserId::new(Uuid::new_v4());
        known.add(fitting(&known, before(ada, false), NOW_S).unwrap());
        assert!(known.is_lasting(ada));
        flood(&mut known, MAX_LASTING_OF_SIGN_INS, true);
        assert_eq!(known.lasting(), MAX_LASTING_OF_SIGN_INS);
        // Who has a place goes on having it; by another token there are more.
        let [again, bob] = [ada, UserId::new(Uuid::new_v4())].map(|user| before(user, true));
        assert_eq!(fitting(&known, before(ada, false), NOW_S), Ok(again));
        assert_eq!(fitting(&known, bob, NOW_S), Ok(bob));
    }
}
