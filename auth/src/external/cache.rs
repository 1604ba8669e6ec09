//! When the keys of another issuer are fetched, and what is served meanwhile.
//!
//! The keys are fetched anew when they are old, and when a token names a key
//! that is not among them: issuers have keys take turns. Whoever sends tokens
//! with made-up names decides nothing by it: there is one fetch at a time, and
//! between two a pause, which grows while fetches fail. A fetch brings all
//! keys, so a new one is known after the pause at the latest, whoever asked.

use super::Jwks;
use crate::rate::RetryAfterMs;

/// When keys are fetched. All in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JwksCachePolicy {
    /// How old keys are when they are fetched anew, in the background.
    pub refresh_ms: u64,
    /// How old they are when nothing is judged by them any more: so long at
    /// most a key counts that the issuer took back while it cannot be reached.
    pub max_stale_ms: u64,
    /// The shortest time from the beginning of one fetch to that of the next.
    pub pause_ms: u64,
    /// The longest such time, while fetches fail.
    pub max_pause_ms: u64,
    /// How long a fetch may take. One of which nothing was heard for so long
    /// is over.
    pub timeout_ms: u64,
}

/// What to do with a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ask {
    /// Judge it by the keys that are there. If its key is not among them, it
    /// does not count.
    Judge,
    /// The same, and fetch the keys in the background.
    JudgeAndFetch,
    /// Fetch the keys, then ask again.
    Fetch,
    /// Wait until the fetch that is under way has ended, then ask again.
    Wait,
    /// Refuse it as `unavailable`: there are no keys, and it is too soon to
    /// fetch them.
    Later(RetryAfterMs),
}

/// The keys of one issuer. Times are milliseconds of a clock that never goes
/// back.
#[derive(Clone, Debug)]
pub struct JwksCache {
    policy: JwksCachePolicy,
    keys: Option<Kept>,
    /// When the last fetch began.
    began_ms: Option<u64>,
    is_fetching: bool,
    /// Fetches in a row that failed.
    failures: u32,
}

#[derive(Clone, Debug)]
struct Kept {
    jwks: Jwks,
    /// When their fetch began: they may be as old as that.
    since_ms: u64,
}

impl JwksCache {
    /// Nothing is known yet.
    pub const fn new(policy: JwksCachePolicy) -> Self {
        Self { policy, keys: None, began_ms: None, is_fetching: false, failures: 0 }
    }

    /// What to do with a token that names this key. After [`Ask::Fetch`] and
    /// [`Ask::JudgeAndFetch`] a fetch counts as begun: its end is told by
    /// [`JwksCache::fetched`] or [`JwksCache::failed`].
    pub fn ask(&mut self, kid: &str, now_ms: u64) -> Ask {
        let age_ms = self.age_ms(now_ms);
        let is_known = self.keys(now_ms).is_some_and(|keys| keys.get(kid).is_some());
        if is_known && age_ms.is_some_and(|age_ms| age_ms < self.policy.refresh_ms) {
            return Ask::Judge;
        }
        let pause = self.begin(now_ms);
        match (is_known, pause) {
            (true, None) => Ask::JudgeAndFetch,
            (true, Some(_)) => Ask::Judge,
            (false, None) => Ask::Fetch,
            (false, Some(_)) if self.is_under_way(now_ms) => Ask::Wait,
            (false, Some(_)) if self.keys(now_ms).is_some() => Ask::Judge,
            (false, Some(pause)) => Ask::Later(pause),
        }
    }

    /// The keys by which tokens are judged now; `None`: there are none that
    /// are new enough.
    pub fn keys(&self, now_ms: u64) -> Option<&Jwks> {
        let is_fresh =
            |kept: &&Kept| now_ms.saturating_sub(kept.since_ms) < self.policy.max_stale_ms;
        self.keys.as_ref().filter(is_fresh).map(|kept| &kept.jwks)
    }

    /// How old the keys are; `None`: there are none.
    pub fn age_ms(&self, now_ms: u64) -> Option<u64> {
        self.keys.as_ref().map(|kept| now_ms.saturating_sub(kept.since_ms))
    }

    /// The fetch that began then has brought these. A set without a key that can
    /// be used is taken as any other: the issuer has taken its keys back. One
    /// that comes after a later one is too old.
    pub fn fetched(&mut self, jwks: Jwks, began_ms: u64) {
        if self.keys.as_ref().is_none_or(|kept| kept.since_ms <= began_ms) {
            self.keys = Some(Kept { jwks, since_ms: began_ms });
        }
        if self.began_ms == Some(began_ms) {
            (self.is_fetching, self.failures) = (false, 0);
        }
    }

    /// The fetch that began then has failed, or brought what is no set of keys.
    /// The keys that are there stay.
    pub fn failed(&mut self, began_ms: u64) {
        if self.began_ms == Some(began_ms) && self.is_fetching {
            self.is_fetching = false;
            self.failures = self.failures.saturating_add(1);
        }
    }

    /// Begins a fetch, or says how long until one may.
    fn begin(&mut self, now_ms: u64) -> Option<RetryAfterMs> {
        if let Some(began_ms) = self.began_ms {
            let next_ms = if self.is_under_way(now_ms) {
                began_ms.saturating_add(self.policy.timeout_ms.max(self.pause_ms()))
            } else {
                began_ms.saturating_add(self.pause_ms())
            };
            if now_ms < next_ms {
                return Some(RetryAfterMs(next_ms - now_ms));
            }
        }
        if let Some(began_ms) = self.began_ms {
            // Of one that is under way nothing was heard.
            self.failed(began_ms);
        }
        (self.began_ms, self.is_fetching) = (Some(now_ms), true);
        None
    }

    fn is_under_way(&self, now_ms: u64) -> bool {
        let began_ms = self.began_ms.unwrap_or(0);
        self.is_fetching && now_ms.saturating_sub(began_ms) < self.policy.timeout_ms
    }

    fn pause_ms(&self) -> u64 {
        let factor = 1_u64.checked_shl(self.failures).unwrap_or(u64::MAX);
        let grown_ms = self.policy.pause_ms.saturating_mul(factor);
        grown_ms.min(self.policy.max_pause_ms).max(self.policy.pause_ms)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const POLICY: JwksCachePolicy = JwksCachePolicy {
        refresh_ms: 3_600_000,
        max_stale_ms: 86_400_000,
        pause_ms: 30_000,
        max_pause_ms: 240_000,
        timeout_ms: 5_000,
    };

    /// A set with one key of this name.
    fn jwks(kid: &str) -> Jwks {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let key = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}","kid":"{kid}"}}"#);
        Jwks::parse(format!(r#"{{"keys":[{key}]}}"#).as_bytes()).unwrap()
    }

    fn with_key(kid: &str) -> JwksCache {
        let mut cache = JwksCache::new(POLICY);
        assert_eq!(cache.ask(kid, 0), Ask::Fetch);
        cache.fetched(jwks(kid), 0);
        cache
    }

    #[test]
    fn the_first_token_has_the_keys_fetched() {
        let mut cache = JwksCache::new(POLICY);
        assert_eq!(cache.ask("a", 0), Ask::Fetch);
        assert_eq!((cache.ask("a", 1), cache.ask("b", 1)), (Ask::Wait, Ask::Wait));
        cache.fetched(jwks("a"), 0);
        assert_eq!(cache.ask("a", 2), Ask::Judge);
        assert!(cache.keys(2).unwrap().get("a").is_some());
    }

    #[test]
    fn an_unknown_key_has_them_fetched_at_a_bounded_rate() {
        let mut cache = with_key("a");
        assert_eq!(cache.ask("b", 29_999), Ask::Judge, "and it does not count");
        assert_eq!(cache.ask("b", 30_000), Ask::Fetch);
        assert_eq!(cache.ask("c", 30_001), Ask::Wait);
        assert_eq!(cache.ask("a", 30_001), Ask::Judge, "who is known waits for nobody");
        cache.fetched(jwks("b"), 30_000);
        assert_eq!((cache.ask("b", 30_002), cache.ask("a", 30_002)), (Ask::Judge, Ask::Judge));
        assert!(cache.keys(30_002).unwrap().get("a").is_none(), "taken back");
    }

    #[test]
    fn old_keys_are_fetched_in_the_background() {
        let mut cache = with_key("a");
        assert_eq!(cache.ask("a", POLICY.refresh_ms - 1), Ask::Judge);
        assert_eq!(cache.ask("a", POLICY.refresh_ms), Ask::JudgeAndFetch);
        assert_eq!(cache.ask("a", POLICY.refresh_ms + 1), Ask::Judge);
        cache.failed(POLICY.refresh_ms);
        assert_eq!(cache.ask("a", POLICY.refresh_ms + 59_999), Ask::Judge);
        assert_eq!(cache.ask("a", POLICY.refresh_ms + 60_000), Ask::JudgeAndFetch);
        cache.fetched(jwks("a"), POLICY.refresh_ms + 60_000);
        assert_eq!(cache.age_ms(POLICY.refresh_ms + 60_001), Some(1));
    }

    #[test]
    fn an_issuer_that_is_away_is_asked_less_and_less() {
        let mut cache = JwksCache::new(POLICY);
        let mut at_ms = 0;
        for pause_ms in [60_000, 120_000, 240_000, 240_000] {
            assert_eq!(cache.ask("a", at_ms), Ask::Fetch);
            cache.failed(at_ms);
            let later = Ask::Later(RetryAfterMs(pause_ms - 1));
            assert_eq!(cache.ask("a", at_ms + 1), later);
            at_ms += pause_ms;
        }
        assert_eq!(cache.ask("a", at_ms), Ask::Fetch);
        cache.fetched(jwks("a"), at_ms);
        assert_eq!(cache.ask("b", at_ms + 30_000), Ask::Fetch, "as fast as ever");
    }

    #[test]
    fn keys_that_are_too_old_judge_nothing() {
        let mut cache = with_key("a");
        let end_ms = POLICY.max_stale_ms;
        assert_eq!(cache.ask("a", end_ms - 1), Ask::JudgeAndFetch);
        cache.failed(end_ms - 1);
        assert_eq!(cache.ask("a", end_ms), Ask::Later(RetryAfterMs(59_999)));
        assert!(cache.keys(end_ms).is_none());
    }

    #[test]
    fn a_fetch_of_which_nothing_is_heard_is_over() {
        let mut cache = JwksCache::new(POLICY);
        assert_eq!(cache.ask("a", 0), Ask::Fetch);
        assert_eq!(cache.ask("a", 4_999), Ask::Wait);
        assert_eq!(cache.ask("a", 5_000), Ask::Later(RetryAfterMs(25_000)));
        assert_eq!(cache.ask("a", 30_000), Ask::Fetch);
    }

    #[test]
    fn a_late_answer_takes_nothing_back() {
        let mut cache = JwksCache::new(POLICY);
        assert_eq!(cache.ask("a", 0), Ask::Fetch);
        assert_eq!(cache.ask("b", 30_000), Ask::Fetch);
        cache.failed(0);
        assert_eq!(cache.ask("b", 30_001), Ask::Wait, "the later one is under way");
        cache.fetched(jwks("b"), 30_000);
        cache.fetched(jwks("a"), 0);
        let keys = cache.keys(30_002).unwrap();
        assert!(keys.get("b").is_some() && keys.get("a").is_none());
        assert_eq!(cache.age_ms(30_002), Some(2));
    }

    proptest! {
        /// Whoever asks for what, whenever, and however fetches end: two never
        /// begin closer to each other than the pause, one at a time, and who is
        /// known is judged until the keys are too old.
        #[test]
        fn a_flood_fetches_no_more_than_it_may(
            asks in prop::collection::vec((0..20_000_u64, 0..4_u8, 0..6_u8), 1..300),
        ) {
            let mut cache = JwksCache::new(POLICY);
            let (mut now_ms, mut last_ms, mut open) = (0_u64, None::<u64>, None::<u64>);
            for (pause_ms, kid, ends) in asks {
                now_ms += pause_ms;
                match (open, ends) {
                    (Some(at_ms), 0) => { cache.fetched(jwks("0"), at_ms); open = None }
                    (Some(at_ms), 1) => { cache.failed(at_ms); open = None }
                    _ => {}
                }
                let name = kid.to_string();
                let had = cache.keys(now_ms).is_some_and(|keys| keys.get(&name).is_some());
                let ask = cache.ask(&name, now_ms);
                prop_assert_eq!(had, matches!(ask, Ask::Judge | Ask::JudgeAndFetch) && kid == 0);
                if matches!(ask, Ask::Fetch | Ask::JudgeAndFetch) {
                    prop_assert!(last_ms.is_none_or(|last_ms| now_ms - last_ms >= POLICY.pause_ms));
                    let is_over = |began_ms| now_ms - began_ms >= POLICY.timeout_ms;
                    prop_assert!(open.is_none_or(is_over));
                    (last_ms, open) = (Some(now_ms), Some(now_ms));
                }
                if let Ask::Later(RetryAfterMs(wait_ms)) = ask {
                    prop_assert!(wait_ms <= POLICY.max_pause_ms);
                    prop_assert_eq!(cache.clone().ask("9", now_ms + wait_ms), Ask::Fetch);
                }
            }
        }
    }
}
