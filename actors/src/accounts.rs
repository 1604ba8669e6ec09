//! What each user has open, and has left of every rate: over all of the
//! user's sessions and requests, so that many sessions bring no more than one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use avvy_auth::rate::{Bucket, RetryAfterMs};
use avvy_flow::people::Rate;
use avvy_model::{BraneId, UserId};
use dashmap::DashMap;

use crate::clock;
use crate::limit::Limit;
use crate::metrics::Metrics;

/// What one user may have and do.
#[derive(Clone, Debug)]
pub struct UserConfig {
    /// Sessions at a time.
    pub max_sessions: usize,
    /// Branes that are joined at a time, by any of them.
    pub max_joined_branes: usize,
    /// Pages of objects that are being made or sent to the user.
    pub max_pages: usize,
    /// Operations.
    pub edits: Rate,
    /// Joins.
    pub joins: Rate,
    /// Questions for a state hash.
    pub hashes: Rate,
    /// Pages of people.
    pub people_pages: Rate,
    /// New tokens for sessions.
    pub refreshes: Rate,
    /// New branes.
    pub creates: Rate,
    /// Pages of lists.
    pub pages: Rate,
}

impl Default for UserConfig {
    fn default() -> Self {
        Self {
            max_sessions: 256,
            max_joined_branes: 64,
            max_pages: 8,
            edits: Rate { per_second: 4_000, burst: 8_192 },
            joins: Rate { per_second: 20, burst: 400 },
            hashes: Rate { per_second: 50, burst: 500 },
            people_pages: Rate { per_second: 100, burst: 2_000 },
            refreshes: Rate { per_second: 10, burst: 400 },
            creates: Rate { per_second: 2, burst: 50 },
            pages: Rate { per_second: 100, burst: 500 },
        }
    }
}

/// What costs more than it looks, and so has a rate of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    /// Operations of edits.
    Edit,
    /// Joining a brane: it may have to be opened, and read as a whole. So does
    /// going over from a part of it to the whole or back.
    Join,
    /// Asking for the state hash.
    Hash,
    /// A page of the people in a brane.
    PeoplePage,
    /// A new token for a session: a signature to be verified.
    Refresh,
    /// A new brane.
    Create,
    /// A page of branes or objects.
    Page,
}

impl Verb {
    const fn limit(self) -> Limit {
        match self {
            Self::Edit => Limit::EditRateOfUser,
            Self::Join => Limit::JoinRate,
            Self::Hash => Limit::HashRate,
            Self::PeoplePage => Limit::PeoplePageRate,
            Self::Refresh => Limit::RefreshRate,
            Self::Create => Limit::CreateRate,
            Self::Page => Limit::PageRate,
        }
    }

    const fn rate(self, config: &UserConfig) -> Rate {
        match self {
            Self::Edit => config.edits,
            Self::Join => config.joins,
            Self::Hash => config.hashes,
            Self::PeoplePage => config.people_pages,
            Self::Refresh => config.refreshes,
            Self::Create => config.creates,
            Self::Page => config.pages,
        }
    }
}

/// One user's. There are as many as users with a session, so it holds only
/// what they use.
pub struct Account {
    config: Arc<UserConfig>,
    metrics: Arc<Metrics>,
    used: Mutex<Used>,
}

#[derive(Default)]
struct Used {
    sessions: usize,
    pages: usize,
    /// By how many sessions each brane is joined.
    joined: Vec<(BraneId, usize)>,
    /// A verb without one has its whole burst.
    buckets: Vec<(Verb, Bucket)>,
}

impl Account {
    fn new(config: &Arc<UserConfig>, metrics: &Arc<Metrics>) -> Self {
        let (config, metrics) = (Arc::clone(config), Arc::clone(metrics));
        Self { config, metrics, used: Mutex::default() }
    }

    /// Takes one of a verb's rate.
    ///
    /// # Errors
    /// How long until there is one.
    pub fn take(&self, verb: Verb) -> Result<(), RetryAfterMs> {
        self.at_rate(verb, |bucket, now_ms| bucket.take(now_ms, 1))
    }

    /// Takes so many operations of the rate of edits, or a whole burst if that
    /// is less, so that waiting always helps.
    ///
    /// # Errors
    /// How long until they are there.
    pub fn take_edits(&self, operations: u64) -> Result<(), RetryAfterMs> {
        let operations = operations.min(u64::from(self.config.edits.burst));
        self.at_rate(Verb::Edit, |bucket, now_ms| bucket.take(now_ms, operations))
    }

    /// Takes so many operations, in advance if need be.
    ///
    /// # Errors
    /// How long to wait with them. They are taken all the same, so that of
    /// several sessions each has its turn, however much the others send.
    pub(crate) fn reserve_edits(self: &Arc<Self>, operations: u64) -> Result<(), Advance> {
        let reserved =
            self.at_rate(Verb::Edit, |bucket, now_ms| bucket.reserve(now_ms, operations));
        reserved.map_err(|pause| {
            let taken = if pause == RetryAfterMs::NEVER { 0 } else { operations };
            Advance { account: Arc::clone(self), operations: taken, pause }
        })
    }

    /// A place for a page of objects until it has gone out, if there is one.
    pub fn hold_page(self: &Arc<Self>) -> Option<Held> {
        self.hold(What::Page, Limit::PagesOfUser)
    }

    /// A place for a session, if there is one.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Held> {
        self.hold(What::Session, Limit::SessionsOfUser)
    }

    /// Counts a brane as joined until this is dropped; `None` when that would
    /// be one too many.
    pub(crate) fn join(self: &Arc<Self>, brane: BraneId) -> Option<Held> {
        self.hold(What::Joined(brane), Limit::JoinedByUser)
    }

    fn hold(self: &Arc<Self>, what: What, limit: Limit) -> Option<Held> {
        let is_there = lock(&self.used).add(what, &self.config);
        if !is_there {
            self.metrics.limits.count(limit);
        }
        is_there.then(|| Held { account: Arc::clone(self), what })
    }

    fn at_rate(
        &self,
        verb: Verb,
        ask: impl FnOnce(&mut Bucket, u64) -> Result<(), RetryAfterMs>,
    ) -> Result<(), RetryAfterMs> {
        let now_ms = clock::monotonic_ms();
        let answer = ask(lock(&self.used).bucket(verb, &self.config, now_ms), now_ms);
        answer.inspect_err(|_| self.metrics.limits.count(verb.limit()))
    }

    /// Whether a new one would be the same.
    fn is_rested(&self, now_ms: u64) -> bool {
        let used = lock(&self.used);
        used.sessions == 0
            && used.pages == 0
            && used.joined.is_empty()
            && used.buckets.iter().all(|(_, bucket)| bucket.is_full(now_ms))
    }
}

impl Used {
    fn bucket(&mut self, verb: Verb, config: &UserConfig, now_ms: u64) -> &mut Bucket {
        let at = self.buckets.iter().position(|(of, _)| *of == verb).unwrap_or_else(|| {
            let Rate { burst, per_second } = verb.rate(config);
            self.buckets.reserve_exact(1);
            self.buckets.push((verb, Bucket::new(burst, per_second, now_ms)));
            self.buckets.len() - 1
        });
        &mut self.buckets[at].1
    }

    /// False when that would be one too many.
    fn add(&mut self, what: What, config: &UserConfig) -> bool {
        let below = |count: &mut usize, max| {
            let is_below = *count < max;
            *count += usize::from(is_below);
            is_below
        };
        match what {
            What::Session => below(&mut self.sessions, config.max_sessions),
            What::Page => below(&mut self.pages, config.max_pages),
            What::Joined(brane) => {
                if let Some((_, count)) = self.joined.iter_mut().find(|(of, _)| *of == brane) {
                    *count += 1;
                } else if self.joined.len() < config.max_joined_branes {
                    self.joined.reserve_exact(1);
                    self.joined.push((brane, 1));
                } else {
                    return false;
                }
                true
            }
        }
    }

    fn give_back(&mut self, what: What) {
        match what {
            What::Session => self.sessions -= 1,
            What::Page => self.pages -= 1,
            What::Joined(brane) => self.joined.retain_mut(|(of, count)| {
                *count -= usize::from(*of == brane);
                *count > 0
            }),
        }
    }
}

/// Something of which a user may have so much at a time.
#[derive(Clone, Copy)]
enum What {
    Session,
    Page,
    Joined(BraneId),
}

/// One that a user has, until it is dropped.
pub struct Held {
    account: Arc<Account>,
    what: What,
}

impl Drop for Held {
    fn drop(&mut self) {
        lock(&self.account.used).give_back(self.what);
    }
}

/// Operations that were taken in advance. They are given back when this is
/// dropped before they are used: who comes and goes with edits that have to
/// wait would put off for ever those that come later.
pub(crate) struct Advance {
    account: Arc<Account>,
    operations: u64,
    /// When they are there.
    pub(crate) pause: RetryAfterMs,
}

impl Advance {
    /// They are there, and used.
    pub(crate) fn used(mut self) {
        self.operations = 0;
    }
}

impl Drop for Advance {
    fn drop(&mut self) {
        if self.operations > 0 {
            let (config, now_ms) = (&self.account.config, clock::monotonic_ms());
            let mut used = lock(&self.account.used);
            used.bucket(Verb::Edit, config, now_ms).give_back(self.operations);
        }
    }
}

/// The accounts of all users who have something open or have not rested yet.
/// So many they are: a user is somebody with a token.
pub(crate) struct Accounts {
    config: Arc<UserConfig>,
    metrics: Arc<Metrics>,
    accounts: DashMap<UserId, Arc<Account>>,
}

impl Accounts {
    pub(crate) fn new(config: UserConfig, metrics: Arc<Metrics>) -> Self {
        Self { config: Arc::new(config), metrics, accounts: DashMap::new() }
    }

    pub(crate) fn of(&self, user: UserId) -> Arc<Account> {
        let new = || Arc::new(Account::new(&self.config, &self.metrics));
        Arc::clone(&self.accounts.entry(user).or_insert_with(new))
    }

    /// Forgets those that say nothing. Whoever has one has a hold on it.
    pub(crate) fn sweep(&self, now_ms: u64) {
        self.accounts
            .retain(|_, account| Arc::strong_count(account) > 1 || !account.is_rested(now_ms));
    }
}

/// No code under these locks can panic halfway through a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use uuid::Uuid;

    use super::*;

    const HOUR_MS: u64 = 3_600_000;

    fn accounts() -> Accounts {
        let config = UserConfig { max_sessions: 2, max_joined_branes: 2, ..UserConfig::default() };
        Accounts::new(config, Arc::default())
    }

    fn user(n: u128) -> UserId {
        UserId::new(Uuid::from_u128(n))
    }

    fn brane(n: u128) -> BraneId {
        BraneId::new(Uuid::from_u128(n))
    }

    #[test]
    fn counts_each_user_alone() {
        let accounts = accounts();
        let held = [accounts.of(user(1)).enter().unwrap(), accounts.of(user(1)).enter().unwrap()];
        assert!(accounts.of(user(1)).enter().is_none());
        assert!(accounts.of(user(2)).enter().is_some());
        assert_eq!(accounts.metrics.limits.of(Limit::SessionsOfUser), 1);
        drop(held);
        assert!(accounts.of(user(1)).enter().is_some());
    }

    #[test]
    fn counts_a_brane_once_however_often_it_is_joined() {
        let account = accounts().of(user(1));
        let first = [account.join(brane(1)).unwrap(), account.join(brane(1)).unwrap()];
        let second = account.join(brane(2)).unwrap();
        assert!(account.join(brane(3)).is_none());
        assert!(account.join(brane(2)).is_some());
        drop(second);
        assert!(account.join(brane(3)).is_some());
        let [one, _other] = first;
        drop(one);
        let _second = account.join(brane(2)).unwrap();
        assert!(account.join(brane(3)).is_none(), "the first is still joined");
    }

    #[test]
    fn what_was_taken_in_advance_and_not_used_is_given_back() {
        let account = accounts().of(user(1));
        account.take_edits(8_192).unwrap();
        let [first, second] = [8_000, 8_000].map(|n| account.reserve_edits(n).err().unwrap());
        assert!(second.pause.0 > 3_900, "behind the first: {:?}", second.pause);
        first.used();
        drop(second);
        let third = account.reserve_edits(8_000).err().unwrap();
        assert!(third.pause.0 <= 4_000, "behind the first alone: {:?}", third.pause);
    }

    #[test]
    fn forgets_who_has_nothing_and_has_rested() {
        let accounts = accounts();
        let now_ms = clock::monotonic_ms();
        let place = accounts.of(user(1)).enter();
        accounts.of(user(2)).take(Verb::Create).unwrap();
        let _known = accounts.of(user(3));
        accounts.sweep(now_ms);
        assert_eq!(accounts.accounts.len(), 3);
        accounts.sweep(now_ms + HOUR_MS);
        assert_eq!(accounts.accounts.len(), 2);
        drop(place);
        accounts.sweep(now_ms + HOUR_MS);
        assert_eq!(accounts.accounts.len(), 1);
    }
}
