//! Who failed to sign in too often has to wait.
//!
//! Of each subject, an account or an address, failures are counted as a level
//! that falls by one in each [`LockOutPolicy::decay_ms`]. Above
//! [`LockOutPolicy::free`] each further failure locks the subject out, twice as
//! long as the one before, up to a bound. A success lowers it to nothing.
//!
//! Both are counted because each covers what the other cannot: one address that
//! tries many accounts, and many addresses that try one. The price is that
//! whoever fails on purpose can keep an owner out; so where a failure does not
//! show that somebody had what only the owner has, count it for the address
//! alone ([`SignInGuard::failed_at`]).
//!
//! Bounded: beyond [`LockOutPolicy::max_subjects`] those go first that would be
//! forgotten first, so a flood of strangers, who each failed once, drives out
//! nobody who is locked out.

use std::collections::{BTreeMap, BTreeSet};

use crate::rate::RetryAfterMs;

/// When a subject is locked out, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LockOutPolicy {
    /// Failures in a row that have no consequence.
    pub free: u32,
    /// How long the first failure beyond locks out, in milliseconds.
    pub first_ms: u64,
    /// How long one locks out at most, in milliseconds.
    pub longest_ms: u64,
    /// In so many milliseconds one failure is forgotten.
    pub decay_ms: u64,
    /// Subjects that are remembered.
    pub max_subjects: usize,
}

impl LockOutPolicy {
    /// A rate, for what is no failure but may not be done too often: `burst` at
    /// once, and in the long run one in `every_ms`.
    pub const fn rate(burst: u32, every_ms: u64, max_subjects: usize) -> Self {
        Self {
            free: burst.saturating_sub(1),
            first_ms: every_ms,
            longest_ms: every_ms,
            decay_ms: every_ms,
            max_subjects,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Entry {
    /// Until when a try is refused.
    locked_until_ms: u64,
    /// When the last failure is forgotten. What is left until then, over
    /// `decay_ms`, is the level.
    forgotten_ms: u64,
}

/// The failures of subjects of one kind. Times are milliseconds of any clock,
/// as long as every call uses the same one.
#[derive(Clone, Debug)]
pub struct LockOut<K> {
    policy: LockOutPolicy,
    entries: BTreeMap<K, Entry>,
    /// By when they are forgotten.
    order: BTreeSet<(u64, K)>,
}

impl<K: Ord + Clone> LockOut<K> {
    /// Nobody has failed yet.
    pub const fn new(policy: LockOutPolicy) -> Self {
        Self { policy, entries: BTreeMap::new(), order: BTreeSet::new() }
    }

    /// Whether a subject may try.
    ///
    /// # Errors
    /// How long it has to wait.
    pub fn check(&self, subject: &K, now_ms: u64) -> Result<(), RetryAfterMs> {
        let until_ms = self.entries.get(subject).map_or(0, |entry| entry.locked_until_ms);
        match until_ms.saturating_sub(now_ms) {
            0 => Ok(()),
            wait_ms => Err(RetryAfterMs(wait_ms)),
        }
    }

    /// Counts a failure, and says how long the subject is locked out by it;
    /// `None`: not at all.
    pub fn failed(&mut self, subject: K, now_ms: u64) -> Option<RetryAfterMs> {
        let decay_ms = self.policy.decay_ms.max(1);
        let before = self.remove(&subject);
        let forgotten_ms = before.map_or(0, |entry| entry.forgotten_ms).max(now_ms);
        let forgotten_ms = forgotten_ms.saturating_add(decay_ms);
        // With this one. A part of a failure counts as one.
        let level = (forgotten_ms - now_ms).div_ceil(decay_ms).max(1);
        let beyond = level.saturating_sub(u64::from(self.policy.free));
        let lock_ms = match beyond {
            0 => 0,
            beyond => {
                let doubled = 1_u64.checked_shl(u32::try_from(beyond - 1).unwrap_or(u32::MAX));
                let lock_ms = self.policy.first_ms.saturating_mul(doubled.unwrap_or(u64::MAX));
                lock_ms.min(self.policy.longest_ms)
            }
        };
        // It does not become endless, whoever goes on failing.
        let most_ms = now_ms.saturating_add(decay_ms.saturating_mul(self.most_failures()));
        let locked_until_ms = now_ms.saturating_add(lock_ms);
        let forgotten_ms = forgotten_ms.min(most_ms).max(locked_until_ms);
        self.insert(subject, Entry { locked_until_ms, forgotten_ms });
        (lock_ms > 0).then_some(RetryAfterMs(lock_ms))
    }

    /// Takes back the last failure of a subject, which has turned out to be none,
    /// and the lock by it.
    pub fn take_back(&mut self, subject: K, now_ms: u64) {
        let Some(entry) = self.remove(&subject) else { return };
        let forgotten_ms = entry.forgotten_ms.saturating_sub(self.policy.decay_ms.max(1));
        if forgotten_ms > now_ms {
            self.insert(subject, Entry { locked_until_ms: 0, forgotten_ms });
        }
    }

    /// Forgets the failures of a subject.
    pub fn succeeded(&mut self, subject: &K) {
        self.remove(subject);
    }

    /// How many subjects are remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nobody is remembered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets who need not be remembered any more.
    pub fn forget(&mut self, now_ms: u64) {
        while let Some((forgotten_ms, subject)) = self.order.first().cloned()
            && forgotten_ms <= now_ms
        {
            self.remove(&subject);
        }
    }

    /// The level at which a failure locks out for the longest.
    fn most_failures(&self) -> u64 {
        let doublings = self.policy.longest_ms.checked_div(self.policy.first_ms).unwrap_or(0);
        let doublings = u64::from(doublings.checked_ilog2().unwrap_or(0));
        u64::from(self.policy.free).saturating_add(doublings).saturating_add(2)
    }

    fn insert(&mut self, subject: K, entry: Entry) {
        self.order.insert((entry.forgotten_ms, subject.clone()));
        self.entries.insert(subject, entry);
        while self.entries.len() > self.policy.max_subjects
            && let Some((_, first)) = self.order.first().cloned()
        {
            self.remove(&first);
        }
    }

    fn remove(&mut self, subject: &K) -> Option<Entry> {
        let entry = self.entries.remove(subject)?;
        self.order.remove(&(entry.forgotten_ms, subject.clone()));
        Some(entry)
    }
}

/// Lock-out by account and by address: what a sign-in asks.
#[derive(Clone, Debug)]
pub struct SignInGuard<A, B> {
    accounts: LockOut<A>,
    addresses: LockOut<B>,
}

impl<A: Ord + Clone, B: Ord + Clone> SignInGuard<A, B> {
    /// Nobody has failed yet.
    pub const fn new(accounts: LockOutPolicy, addresses: LockOutPolicy) -> Self {
        Self { accounts: LockOut::new(accounts), addresses: LockOut::new(addresses) }
    }

    /// Whether somebody at this address may try to sign in to this account.
    /// Asked before anything is looked at, so that a lock says nothing about
    /// whether the try was right.
    ///
    /// # Errors
    /// How long to wait: the longer of both.
    pub fn check(&self, account: &A, address: &B, now_ms: u64) -> Result<(), RetryAfterMs> {
        let account = self.accounts.check(account, now_ms).err();
        let address = self.addresses.check(address, now_ms).err();
        account.max(address).map_or(Ok(()), Err)
    }

    /// Counts a failure for both.
    pub fn failed(&mut self, account: A, address: B, now_ms: u64) -> Option<RetryAfterMs> {
        let account = self.accounts.failed(account, now_ms);
        account.max(self.addresses.failed(address, now_ms))
    }

    /// Counts a failure for the address alone.
    pub fn failed_at(&mut self, address: B, now_ms: u64) -> Option<RetryAfterMs> {
        self.addresses.failed(address, now_ms)
    }

    /// Forgets the failures of the account alone: one account of one's own
    /// does not make an address that tries those of others trustworthy.
    pub fn succeeded(&mut self, account: &A) {
        self.accounts.succeeded(account);
    }

    /// Forgets who need not be remembered any more.
    pub fn forget(&mut self, now_ms: u64) {
        self.accounts.forget(now_ms);
        self.addresses.forget(now_ms);
    }

    /// How many accounts and addresses are remembered.
    pub fn len(&self) -> (usize, usize) {
        (self.accounts.len(), self.addresses.len())
    }

    /// Whether nobody is remembered.
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty() && self.addresses.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: LockOutPolicy = LockOutPolicy {
        free: 3,
        first_ms: 1_000,
        longest_ms: 10_000,
        decay_ms: 60_000,
        max_subjects: 4,
    };

    #[test]
    fn doubles_up_to_the_bound() {
        let mut lock_out = LockOut::new(POLICY);
        let waits: Vec<u64> = (0..9)
            .map(|_| lock_out.failed("a", 0).map_or(0, |RetryAfterMs(wait_ms)| wait_ms))
            .collect();
        assert_eq!(waits, [0, 0, 0, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
        assert_eq!(lock_out.check(&"a", 0), Err(RetryAfterMs(10_000)));
        assert_eq!(lock_out.check(&"a", 9_999), Err(RetryAfterMs(1)));
        assert_eq!(lock_out.check(&"a", 10_000), Ok(()));
        assert_eq!(lock_out.check(&"b", 0), Ok(()));
    }

    #[test]
    fn failures_are_forgotten_one_by_one() {
        let mut lock_out = LockOut::new(POLICY);
        for _ in 0..5 {
            lock_out.failed("a", 0);
        }
        // Two of five are forgotten: the next is the fourth.
        assert_eq!(lock_out.failed("a", 120_000), Some(RetryAfterMs(1_000)));
        lock_out.forget(120_000 + 4 * 60_000 - 1);
        assert_eq!(lock_out.len(), 1);
        lock_out.forget(120_000 + 4 * 60_000);
        assert!(lock_out.is_empty());
    }

    #[test]
    fn does_not_grow_without_end() {
        let mut lock_out = LockOut::new(POLICY);
        for _ in 0..1_000 {
            lock_out.failed("a", 0);
        }
        // free 3, and 1, 2, 4, 8 and 10 seconds.
        assert_eq!(lock_out.failed("a", 8 * 60_000), None);
    }

    #[test]
    fn a_rate_lets_a_burst_by_and_then_one_after_another() {
        let mut rate = LockOut::new(LockOutPolicy::rate(3, 1_000, 4));
        let mut take = |now_ms| rate.check(&"a", now_ms).map(|()| rate.failed("a", now_ms));
        for _ in 0..3 {
            assert!(take(0).is_ok());
        }
        assert_eq!(take(0), Err(RetryAfterMs(1_000)));
        assert!(take(1_000).is_ok());
        assert_eq!(take(1_999), Err(RetryAfterMs(1)));
        for _ in 0..3 {
            assert!(take(5_000).is_ok());
        }
        assert!(take(5_000).is_err());
    }

    #[test]
    fn what_is_taken_back_does_not_count() {
        let mut rate = LockOut::new(LockOutPolicy::rate(2, 1_000, 4));
        rate.failed("a", 0);
        rate.take_back("a", 0);
        assert!(rate.is_empty());
        rate.take_back("a", 0);
        for _ in 0..2 {
            rate.failed("a", 0);
        }
        assert!(rate.check(&"a", 0).is_err());
        rate.take_back("a", 0);
        assert_eq!(rate.check(&"a", 0), Ok(()));
        assert_eq!(rate.failed("a", 0), Some(RetryAfterMs(1_000)), "the other one counts");
    }

    #[test]
    fn a_success_ends_it_for_the_account_alone() {
        let mut guard = SignInGuard::new(POLICY, LockOutPolicy { free: 5, ..POLICY });
        for _ in 0..6 {
            guard.failed("ada", "here", 0);
        }
        assert_eq!(guard.check(&"ada", &"there", 0), Err(RetryAfterMs(4_000)));
        assert_eq!(guard.check(&"bob", &"here", 0), Err(RetryAfterMs(1_000)));
        assert_eq!(guard.check(&"ada", &"here", 0), Err(RetryAfterMs(4_000)), "the longer");
        assert_eq!(guard.check(&"bob", &"there", 0), Ok(()));
        guard.succeeded(&"ada");
        assert_eq!(guard.check(&"ada", &"there", 0), Ok(()));
        assert_eq!(guard.check(&"ada", &"here", 0), Err(RetryAfterMs(1_000)));
        assert_eq!(guard.len(), (0, 1));
        guard.forget(u64::MAX);
        assert!(guard.is_empty());
    }

    #[test]
    fn a_flood_of_strangers_frees_nobody() {
        let mut lock_out = LockOut::new(POLICY);
        for _ in 0..6 {
            lock_out.failed(u32::MAX, 0);
        }
        for stranger in 0..1_000 {
            lock_out.failed(stranger, 1);
        }
        assert_eq!(lock_out.len(), 4);
        assert_eq!(lock_out.check(&u32::MAX, 1), Err(RetryAfterMs(3_999)));
    }

    #[test]
    fn odd_policies_are_borne() {
        for number in [0, 1, u64::MAX] {
            let policy = LockOutPolicy {
                free: 0,
                first_ms: number,
                longest_ms: number,
                decay_ms: number,
                max_subjects: 1,
            };
            let mut lock_out = LockOut::new(policy);
            for now_ms in [0, 5, u64::MAX, 5] {
                let waits = lock_out.failed("a", now_ms).map(|RetryAfterMs(wait_ms)| wait_ms);
                assert_eq!(waits, (number > 0).then_some(number));
            }
        }
        let mut nobody = LockOut::new(LockOutPolicy { max_subjects: 0, ..POLICY });
        nobody.failed("a", 0);
        assert!(nobody.is_empty());
    }

    proptest! {
        /// It never holds more than it may, keeps its two lists together, and
        /// whoever waits as told may try.
        #[test]
        fn keeps_its_word(
            steps in prop::collection::vec((0..8_u8, 0..90_000_u64, 0..8_u8), 1..200),
        ) {
            let mut lock_out = LockOut::new(POLICY);
            let mut now_ms = 0;
            for (subject, pause_ms, act) in steps {
                now_ms += pause_ms;
                match act {
                    0 => lock_out.succeeded(&subject),
                    1 => lock_out.forget(now_ms),
                    2 => lock_out.take_back(subject, now_ms),
                    _ => {
                        let told = lock_out.failed(subject, now_ms);
                        if let Some(RetryAfterMs(wait_ms)) = told {
                            prop_assert!((1..=POLICY.longest_ms).contains(&wait_ms));
                            prop_assert_eq!(lock_out.check(&subject, now_ms + wait_ms), Ok(()));
                        }
                    }
                }
                prop_assert!(lock_out.len() <= POLICY.max_subjects);
                prop_assert_eq!(lock_out.order.len(), lock_out.entries.len());
                for (subject, entry) in &lock_out.entries {
                    prop_assert!(lock_out.order.contains(&(entry.forgotten_ms, *subject)));
                    prop_assert!(entry.locked_until_ms <= entry.forgotten_ms);
                }
            }
        }
    }
}
