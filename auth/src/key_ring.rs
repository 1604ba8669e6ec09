//! The keys of the built-in issuer, and how they take turns.
//!
//! One key signs: the present one. The next one is published some time before
//! it signs, so that whoever keeps a copy of the public keys has it by then.
//! A former one is published for as long as a token that it signed may count;
//! its private half is forgotten when it retires.
//!
//! The ring is a value: [`KeyRing::advance`] takes the time and 32 random
//! bytes, and does what is due. Whoever keeps it stores [`KeyRing::to_text`]
//! before anything is signed by a new key, or a crash would forget it.

use std::fmt::Write;

use crate::key::{InvalidKey, Keys, PublicKey};
use crate::revoked::{MAX_LIFETIME_S, SLACK_S};

/// How long the next key is published before it signs, in seconds: a day.
/// Copies of the public keys may be older than an hour only in places that do
/// not look at what [`crate::Verifier::jwks`] is served with.
pub const PUBLISH_LEAD_S: u64 = 24 * 3_600;

/// The shortest time for which a key signs, in seconds: a week. It bounds how
/// many former keys there are.
pub const MIN_PERIOD_S: u64 = 7 * 24 * 3_600;

/// How long a former key is published, in seconds: as long as the longest
/// token that it may have signed, and the most that clocks differ by.
const KEEP_S: u64 = MAX_LIFETIME_S + SLACK_S;

/// So many former keys a ring can have at most, as each signed for a while.
const MAX_FORMER: usize = (KEEP_S / MIN_PERIOD_S) as usize + 1;

/// The text is not a ring of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRing {
    /// A block is not a key.
    #[error("a block between BEGIN and END is no key: {0}")]
    Key(#[from] InvalidKey),
    /// No private key is there to sign with.
    #[error("there is no key to sign with (Use: present)")]
    NoPresent,
    /// Two keys are of one use, or a use is not known.
    #[error("not one present key, at most one next key and public former ones (Use:)")]
    Use,
    /// A time is missing or no number.
    #[error("a time (Since:, Until:) is not in Unix seconds")]
    Time,
    /// More former keys than there can be.
    #[error("there are more than {MAX_FORMER} former keys")]
    TooMany,
}

/// A key that will sign.
#[derive(Clone, Debug)]
struct Next {
    keys: Keys,
    published_s: u64,
}

/// A key that has signed.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Former {
    key: PublicKey,
    until_s: u64,
}

/// The keys of one issuer.
#[derive(Clone, Debug)]
pub struct KeyRing {
    present: Keys,
    since_s: u64,
    next: Option<Next>,
    /// The one that retired last comes first.
    former: Vec<Former>,
}

/// A ring of one key that has always signed.
impl From<Keys> for KeyRing {
    fn from(keys: Keys) -> Self {
        Self::new(keys, 0)
    }
}

impl KeyRing {
    /// A ring of one key that signs from `since_s` (Unix seconds) on.
    pub const fn new(present: Keys, since_s: u64) -> Self {
        Self { present, since_s, next: None, former: Vec::new() }
    }

    /// The key that signs.
    pub const fn present(&self) -> &Keys {
        &self.present
    }

    /// Every public key that is published: the present one, the next one and
    /// the former ones.
    pub fn public_keys(&self) -> Vec<PublicKey> {
        let present = std::iter::once(self.present.public());
        let next = self.next.iter().map(|next| next.keys.public());
        let former = self.former.iter().map(|former| &former.key);
        present.chain(next).chain(former).cloned().collect()
    }

    /// Does all that is due at `now_s` (Unix seconds), and says whether that
    /// was anything: publishes a next key, made of `fresh`, [`PUBLISH_LEAD_S`]
    /// before the present one has signed for `period_s`; has it sign when
    /// both times are over; forgets former keys whose tokens have ended.
    ///
    /// `period_s` is [`MIN_PERIOD_S`] at least; 0: keys do not take turns.
    /// `fresh` is 32 bytes from a cryptographic random source, new at each
    /// call.
    pub fn advance(&mut self, now_s: u64, period_s: u64, fresh: [u8; 32]) -> bool {
        let before = self.former.len();
        self.former.retain(|former| now_s < former.until_s);
        let mut changed = self.former.len() < before;
        if period_s > 0 && self.turn_s(period_s) <= now_s {
            match self.next.take() {
                None => self.next = Some(Next { keys: Keys::generate(fresh), published_s: now_s }),
                Some(next) => self.retire(next.keys, now_s),
            }
            changed = true;
        }
        changed
    }

    /// The Unix second at which [`KeyRing::advance`] has something to do;
    /// `None`: never.
    pub fn due_s(&self, period_s: u64) -> Option<u64> {
        let forget_s = self.former.iter().map(|former| former.until_s);
        let turn_s = (period_s > 0).then(|| self.turn_s(period_s));
        forget_s.chain(turn_s).min()
    }

    /// When the next key is to be made, or to sign.
    fn turn_s(&self, period_s: u64) -> u64 {
        let end_s = self.since_s.saturating_add(period_s.max(MIN_PERIOD_S));
        match &self.next {
            None => end_s.saturating_sub(PUBLISH_LEAD_S),
            Some(next) => end_s.max(next.published_s.saturating_add(PUBLISH_LEAD_S)),
        }
    }

    fn retire(&mut self, keys: Keys, now_s: u64) {
        let retired = std::mem::replace(&mut self.present, keys);
        let until_s = now_s.saturating_add(KEEP_S);
        self.former.insert(0, Former { key: retired.public().clone(), until_s });
        // Only clocks that jump make more; the oldest tokens end early then.
        self.former.truncate(MAX_FORMER);
        self.since_s = now_s;
    }

    /// Writes the ring. The text is secret: it holds the private halves.
    ///
    /// Keys in PEM (RFC 7468), each behind lines that say what it is for, as
    /// that format lets text stand outside of its blocks. The present key
    /// comes first, so that whatever reads one key finds it.
    pub fn to_text(&self) -> String {
        let mut text =
            String::from("Keys that sign tokens. Secret: whoever has them can be anyone.\n");
        let mut block = |says: &str, at: (&str, u64), pem: &str| {
            let (name, at_s) = at;
            write!(text, "\nUse: {says}\n{name}: {at_s}\n{pem}").expect("a String takes all");
        };
        block("present", ("Since", self.since_s), &self.present.to_pem());
        if let Some(next) = &self.next {
            block("next", ("Since", next.published_s), &next.keys.to_pem());
        }
        for former in &self.former {
            block("former", ("Until", former.until_s), &former.key.to_pem());
        }
        text
    }

    /// Reads a ring. A private key alone, as `openssl genpkey -algorithm
    /// ed25519` writes it, is a ring whose key signs from `now_s` on.
    ///
    /// # Errors
    /// [`InvalidRing`] for anything else.
    pub fn from_text(text: &str, now_s: u64) -> Result<Self, InvalidRing> {
        let (mut present, mut next, mut former) = (None, None, Vec::new());
        for block in Blocks(text) {
            match block.says("Use").unwrap_or("present") {
                "present" if present.is_none() => {
                    let since_s = block.time("Since")?.unwrap_or(now_s);
                    present = Some((Keys::from_pem(block.pem)?, since_s));
                }
                "next" if next.is_none() => {
                    let published_s = block.time("Since")?.ok_or(InvalidRing::Time)?;
                    next = Some(Next { keys: Keys::from_pem(block.pem)?, published_s });
                }
                "former" => {
                    let until_s = block.time("Until")?.ok_or(InvalidRing::Time)?;
                    former.push(Former { key: PublicKey::from_pem(block.pem)?, until_s });
                }
                _ => return Err(InvalidRing::Use),
            }
        }
        if former.len() > MAX_FORMER {
            return Err(InvalidRing::TooMany);
        }
        let (present, since_s) = present.ok_or(InvalidRing::NoPresent)?;
        Ok(Self { present, since_s, next, former })
    }
}

/// Cuts a text into its blocks of PEM, each with the lines before it.
struct Blocks<'a>(&'a str);

struct Block<'a> {
    before: &'a str,
    pem: &'a str,
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Block<'a>;

    fn next(&mut self) -> Option<Block<'a>> {
        let begin = self.0.find("-----BEGIN ")?;
        let (before, rest) = self.0.split_at(begin);
        let end = rest.find("-----END ").map_or(rest.len(), |end| {
            rest[end..].find('\n').map_or(rest.len(), |line| end + line + 1)
        });
        let (pem, rest) = rest.split_at(end);
        self.0 = rest;
        Some(Block { before, pem })
    }
}

impl<'a> Block<'a> {
    /// What a line of this name says.
    fn says(&self, name: &str) -> Option<&'a str> {
        let said = |line: &'a str| line.strip_prefix(name)?.strip_prefix(':').map(str::trim);
        self.before.lines().find_map(said)
    }

    fn time(&self, name: &str) -> Result<Option<u64>, InvalidRing> {
        let said = self.says(name).map(str::parse).transpose();
        said.map_err(|_| InvalidRing::Time)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const MONTH_S: u64 = 30 * 24 * 3_600;
    const START_S: u64 = 1_800_000_000;

    fn ring() -> KeyRing {
        KeyRing::new(Keys::generate([1; 32]), START_S)
    }

    fn kids(ring: &KeyRing) -> Vec<String> {
        ring.public_keys().iter().map(|key| key.kid().to_owned()).collect()
    }

    fn kid(random: u8) -> String {
        Keys::generate([random; 32]).public().kid().to_owned()
    }

    #[test]
    fn the_next_key_is_published_before_it_signs() {
        let mut ring = ring();
        let (publish_s, sign_s) = (START_S + MONTH_S - PUBLISH_LEAD_S, START_S + MONTH_S);
        assert_eq!(ring.due_s(MONTH_S), Some(publish_s));
        assert!(!ring.advance(publish_s - 1, MONTH_S, [2; 32]));
        assert!(ring.advance(publish_s, MONTH_S, [2; 32]));
        assert_eq!((ring.present().public().kid(), kids(&ring)), (&*kid(1), vec![kid(1), kid(2)]));
        assert_eq!(ring.due_s(MONTH_S), Some(sign_s));
        assert!(!ring.advance(sign_s - 1, MONTH_S, [3; 32]));
        assert!(ring.advance(sign_s, MONTH_S, [3; 32]));
        assert_eq!((ring.present().public().kid(), kids(&ring)), (&*kid(2), vec![kid(2), kid(1)]));
    }

    #[test]
    fn a_late_start_publishes_first_all_the_same() {
        let mut ring = ring();
        let late_s = START_S + 10 * MONTH_S;
        assert!(ring.advance(late_s, MONTH_S, [2; 32]));
        assert_eq!(ring.present().public().kid(), kid(1));
        assert_eq!(ring.due_s(MONTH_S), Some(late_s + PUBLISH_LEAD_S));
    }

    #[test]
    fn a_former_key_is_kept_as_long_as_its_tokens_live() {
        let mut ring = ring();
        ring.advance(START_S + MONTH_S - PUBLISH_LEAD_S, MONTH_S, [2; 32]);
        let retired_s = START_S + MONTH_S;
        ring.advance(retired_s, MONTH_S, [3; 32]);
        let last_s = retired_s + MAX_LIFETIME_S + SLACK_S;
        assert_eq!(ring.due_s(0), Some(last_s));
        assert!(!ring.advance(last_s - 1, 0, [4; 32]) && kids(&ring).contains(&kid(1)));
        assert!(ring.advance(last_s, 0, [4; 32]) && !kids(&ring).contains(&kid(1)));
        assert_eq!(ring.due_s(0), None);
    }

    #[test]
    fn keys_that_do_not_take_turns_stay() {
        let mut ring = ring();
        assert_eq!(ring.due_s(0), None);
        assert!(!ring.advance(u64::MAX, 0, [2; 32]));
        assert_eq!(kids(&ring), [kid(1)]);
    }

    #[test]
    fn a_short_period_is_a_week() {
        assert_eq!(ring().due_s(1), Some(START_S + MIN_PERIOD_S - PUBLISH_LEAD_S));
    }

    #[test]
    fn a_key_alone_is_a_ring() {
        let keys = Keys::generate([1; 32]);
        let read = KeyRing::from_text(&keys.to_pem(), START_S).unwrap();
        assert_eq!((read.present().public(), read.since_s), (keys.public(), START_S));
        assert_eq!(read.to_text(), ring().to_text());
    }

    #[test]
    fn the_present_key_comes_first_in_the_text() {
        let mut ring = ring();
        ring.advance(START_S + MONTH_S, MONTH_S, [2; 32]);
        let text = ring.to_text();
        let first = &text[text.find("-----BEGIN").unwrap()..];
        assert!(first.starts_with(&ring.present().to_pem()));
    }

    #[test]
    fn refuses_other_texts() {
        let (one, public) = (Keys::generate([1; 32]).to_pem(), Keys::generate([1; 32]));
        let public = public.public().to_pem();
        let cases = [
            (String::new(), InvalidRing::NoPresent),
            ("Use: present\n".to_owned(), InvalidRing::NoPresent),
            (format!("Use: next\nSince: 5\n{one}"), InvalidRing::NoPresent),
            (format!("Use: next\n{one}"), InvalidRing::Time),
            (format!("Since: soon\n{one}"), InvalidRing::Time),
            (format!("Since: -1\n{one}"), InvalidRing::Time),
            (format!("{one}{one}"), InvalidRing::Use),
            (format!("Use: past\n{one}"), InvalidRing::Use),
            (public.clone(), InvalidRing::Key(InvalidKey)),
            (format!("Use: former\nUntil: 5\n{one}"), InvalidRing::Key(InvalidKey)),
            (format!("{one}Use: former\n{public}"), InvalidRing::Time),
            ("-----BEGIN ".to_owned(), InvalidRing::Key(InvalidKey)),
            (one.replace("-----END", "----END"), InvalidRing::Key(InvalidKey)),
            (
                one.clone() + &format!("Use: former\nUntil: 5\n{public}").repeat(MAX_FORMER + 1),
                InvalidRing::TooMany,
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(KeyRing::from_text(&text, 0).err(), Some(expected), "{text}");
        }
    }

    #[test]
    fn never_prints_a_secret() {
        let mut ring = ring();
        ring.advance(START_S + MONTH_S, MONTH_S, [2; 32]);
        let printed = format!("{ring:?}");
        assert!(!printed.contains("1, 1") && !printed.contains("2, 2"), "{printed}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// However time goes: what signs was published for long enough, what
        /// has signed stays published for as long as its tokens live, and the
        /// text says all of it.
        #[test]
        fn keeps_its_word(
            pauses in prop::collection::vec(0..40_u64 * 24 * 3_600, 1..60),
            period_s in MIN_PERIOD_S..MONTH_S,
        ) {
            let mut ring = ring();
            let mut now_s = START_S;
            let mut published = std::collections::BTreeMap::from([(kid(1), 0)]);
            let mut signed: Vec<(String, u64)> = Vec::new();
            for (pause_s, random) in pauses.into_iter().zip(2_u8..) {
                now_s += pause_s;
                let due = ring.due_s(period_s).is_some_and(|due_s| due_s <= now_s);
                prop_assert_eq!(ring.advance(now_s, period_s, [random; 32]), due);
                let kids = kids(&ring);
                for kid in &kids {
                    published.entry(kid.clone()).or_insert(now_s);
                }
                let signs = ring.present().public().kid().to_owned();
                prop_assert!(published[&signs] == 0 || published[&signs] + PUBLISH_LEAD_S <= now_s);
                signed.push((signs, now_s));
                // By the key that signed at the look before, up to this one.
                for (kid, at_s) in &signed {
                    prop_assert!(at_s + MAX_LIFETIME_S + SLACK_S <= now_s || kids.contains(kid));
                }
                prop_assert!(kids.len() <= MAX_FORMER + 2);
                let text = ring.to_text();
                let read = KeyRing::from_text(&text, 0).unwrap();
                prop_assert_eq!(read.to_text(), text);
                prop_assert_eq!(read.due_s(period_s), ring.due_s(period_s));
            }
        }

        #[test]
        fn nonsense_is_no_ring(
            lines in prop::collection::vec(
                prop_oneof![
                    "Use: [a-z]{0,8}\n",
                    "Since: [0-9]{0,22}\n",
                    "-----(BEGIN|END) [A-Z ]{0,12}-----\n",
                    "[A-Za-z+/=]{0,70}\n",
                ],
                0..8,
            ),
        ) {
            prop_assert!(KeyRing::from_text(&lines.concat(), 0).is_err());
        }
    }
}
