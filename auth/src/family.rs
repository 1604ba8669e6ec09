//! Refresh tokens, in families.
//!
//! A sign-in begins a family. Of its tokens one is good, once: a refresh takes
//! it and gives its successor. A token that comes again is in the hands of two,
//! and nobody can tell which of them is the thief, so its family ends (RFC 9700,
//! section 4.14.2).
//!
//! **A lost answer** looks like a theft: the client sends the same token again.
//! So for a few seconds ([`FamilyPolicy::repeat_s`]), and only until the
//! successor is used, the token that was taken last is answered as before:
//! with the very same successor. Others give another successor then, after
//! which two tokens of one family are good, and a thief who is quick keeps one
//! of them unseen. Here the family stays one line: whoever takes part in it
//! without being its owner is found as soon as the two are out of step.
//!
//! To answer twice without keeping a token, a successor is computed from the
//! token that it follows and a salt that the family keeps. Neither is enough
//! alone: what is stored holds hashes and salts, and a token that was stolen
//! says nothing about the next.

use avvy_model::{Code, UserId};
use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Serialize};
use sha3::{Digest, Sha3_256};
use subtle::ConstantTimeEq;
use uuid::{Builder, Uuid};

use crate::MAX_LIFETIME_S;

/// Bytes of a family's name and a token's secret.
const TOKEN_BYTES: usize = 16 + 32;

/// How long families last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FamilyPolicy {
    /// Seconds after the last refresh at which a family has ended.
    pub idle_s: u64,
    /// Seconds after the sign-in at which it has ended, however busy it is; at
    /// most [`MAX_LIFETIME_S`].
    pub lifetime_s: u64,
    /// Seconds for which the token that was taken last may come again. A
    /// client's time to give up on an answer and ask anew: 10 or so. 0: never.
    pub repeat_s: u64,
}

/// Why a refresh is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RefreshError {
    /// Not what a refresh token looks like, or of no family that is there.
    #[error("this is no refresh token")]
    Malformed,
    /// The family has ended by its time.
    #[error("the sign-in has expired")]
    Expired,
    /// The token was used before: the family has to end.
    #[error("the refresh token was used before")]
    Reused,
}

impl RefreshError {
    /// The code that the asker is told.
    pub const fn code(self) -> Code {
        match self {
            Self::Malformed => Code::TokenInvalid,
            Self::Expired => Code::TokenExpired,
            Self::Reused => Code::TokenRevoked,
        }
    }

    /// Whether the family has to be removed, before the answer is given.
    pub const fn ends_family(self) -> bool {
        matches!(self, Self::Expired | Self::Reused)
    }
}

/// A family's name: 128 random bits. Part of each of its tokens and of nothing
/// else that anybody sees: whoever knows it can end the family, no more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FamilyId(pub Uuid);

impl FamilyId {
    /// The name of the sign-in for all to see: a UUID of version 4, from which
    /// nobody finds the family's.
    pub fn session(self) -> Uuid {
        let hash = Sha3_256::new_with_prefix(b"avvyland session\0").chain_update(self.0);
        let hash: [u8; 32] = hash.finalize().into();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        Builder::from_random_bytes(bytes).into_uuid()
    }
}

/// What a client keeps to get its next access token. Opaque to the client: 64
/// characters of base64url. Secret; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken {
    family: FamilyId,
    secret: [u8; 32],
}

impl RefreshToken {
    /// Reads what a client sent.
    ///
    /// # Errors
    /// [`RefreshError::Malformed`] for anything that is not exactly a token.
    pub fn parse(text: &str) -> Result<Self, RefreshError> {
        let mut bytes = [0; TOKEN_BYTES];
        let read = Base64UrlUnpadded::decode(text, &mut bytes);
        if read.map(<[u8]>::len) != Ok(TOKEN_BYTES) {
            return Err(RefreshError::Malformed);
        }
        let (mut family, mut secret) = ([0; 16], [0; 32]);
        family.copy_from_slice(&bytes[..16]);
        secret.copy_from_slice(&bytes[16..]);
        Ok(Self { family: FamilyId(Uuid::from_bytes(family)), secret })
    }

    /// What the client is sent.
    pub fn text(&self) -> String {
        let mut bytes = [0; TOKEN_BYTES];
        bytes[..16].copy_from_slice(self.family.0.as_bytes());
        bytes[16..].copy_from_slice(&self.secret);
        Base64UrlUnpadded::encode_string(&bytes)
    }

    /// Of which family it says it is.
    pub const fn family(&self) -> FamilyId {
        self.family
    }

    /// What is kept of it.
    fn hash(&self) -> Hash {
        let hash = Sha3_256::new_with_prefix(b"avvyland refresh token\0");
        Hash(hash.chain_update(self.family.0).chain_update(self.secret).finalize().into())
    }

    /// The one that follows it, under this salt.
    fn successor(&self, salt: &[u8; 32]) -> Self {
        let hash = Sha3_256::new_with_prefix(b"avvyland refresh successor\0");
        let hash = hash.chain_update(self.family.0).chain_update(self.secret).chain_update(salt);
        Self { family: self.family, secret: hash.finalize().into() }
    }
}

impl std::fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RefreshToken")
    }
}

/// What is kept of a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Hash([u8; 32]);

impl Hash {
    /// In a time that does not depend on either.
    fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        Base64UrlUnpadded::encode_string(&hash.0)
    }
}

impl TryFrom<String> for Hash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = Base64UrlUnpadded::decode_vec(&text).ok();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or("not 32 bytes in base64url")
    }
}

/// The token that was taken last.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Taken {
    hash: Hash,
    /// With the token it makes the one that is good now.
    salt: Hash,
}

/// What is kept of a family, under its [`FamilyId`]. Holds nothing by which
/// somebody could sign in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Family {
    user: UserId,
    /// Unix seconds of the sign-in.
    started_s: u64,
    /// Unix seconds of the last refresh, or of the sign-in.
    refreshed_s: u64,
    good: Hash,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    taken: Option<Taken>,
}

/// What a refresh token gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refresh {
    /// Its successor, once the family is stored as it is now. Only if it was
    /// not changed meanwhile (compare [`Family::version`]); else ask anew.
    Taken(Family, RefreshToken),
    /// Its successor, as before. Nothing is to be stored.
    Repeated(RefreshToken),
}

impl Family {
    /// Begins a family at a sign-in, with its first token. `id` and `secret`
    /// are from a cryptographic random source.
    pub fn start(user: UserId, id: FamilyId, secret: [u8; 32], now_s: u64) -> (Self, RefreshToken) {
        let token = RefreshToken { family: id, secret };
        let good = token.hash();
        (Self { user, started_s: now_s, refreshed_s: now_s, good, taken: None }, token)
    }

    /// What this token gets at `now_s` (Unix seconds). `salt` is 32 bytes from
    /// a cryptographic random source.
    ///
    /// # Errors
    /// When the family has ended, or has to: see [`RefreshError::ends_family`].
    pub fn refresh(
        &self,
        token: &RefreshToken,
        salt: [u8; 32],
        now_s: u64,
        policy: &FamilyPolicy,
    ) -> Result<Refresh, RefreshError> {
        if self.ends_s(policy) <= now_s {
            return Err(RefreshError::Expired);
        }
        let hash = token.hash();
        if self.good.is(&hash) {
            let next = token.successor(&salt);
            let taken = Some(Taken { hash, salt: Hash(salt) });
            let family = Self { refreshed_s: now_s, good: next.hash(), taken, ..self.clone() };
            return Ok(Refresh::Taken(family, next));
        }
        let in_time = now_s.saturating_sub(self.refreshed_s) < policy.repeat_s;
        match &self.taken {
            Some(taken) if in_time && taken.hash.is(&hash) => {
                Ok(Refresh::Repeated(token.successor(&taken.salt.0)))
            }
            _ => Err(RefreshError::Reused),
        }
    }

    /// Whose it is.
    pub const fn user(&self) -> UserId {
        self.user
    }

    /// The Unix second of the sign-in.
    pub const fn started_s(&self) -> u64 {
        self.started_s
    }

    /// The Unix second from which it counts no more, and need not be kept.
    pub fn ends_s(&self, policy: &FamilyPolicy) -> u64 {
        let idle_s = self.refreshed_s.saturating_add(policy.idle_s);
        idle_s.min(self.started_s.saturating_add(policy.lifetime_s.min(MAX_LIFETIME_S)))
    }

    /// Changes with each refresh: a store replaces a family only if the
    /// version that it has is the one that was read, so of two that take the
    /// same token at once one asks anew, and is answered as the other.
    pub const fn version(&self) -> [u8; 32] {
        self.good.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const START_S: u64 = 1_800_000_000;
    const POLICY: FamilyPolicy =
        FamilyPolicy { idle_s: 14 * 86_400, lifetime_s: 90 * 86_400, repeat_s: 10 };

    fn user() -> UserId {
        UserId::new(Uuid::from_u128(1))
    }

    fn start() -> (Family, RefreshToken) {
        Family::start(user(), FamilyId(Uuid::from_u128(7)), [1; 32], START_S)
    }

    fn taken(
        family: &Family,
        token: &RefreshToken,
        salt: u8,
        now_s: u64,
    ) -> (Family, RefreshToken) {
        match family.refresh(token, [salt; 32], now_s, &POLICY).unwrap() {
            Refresh::Taken(family, token) => (family, token),
            Refresh::Repeated(_) => panic!("it was taken before"),
        }
    }

    #[test]
    fn a_token_is_good_once() {
        let (family, first) = start();
        let (family, second) = taken(&family, &first, 2, START_S + 600);
        let (family, third) = taken(&family, &second, 3, START_S + 1_200);
        for stolen in [first, second] {
            let answer = family.refresh(&stolen, [9; 32], START_S + 1_800, &POLICY);
            assert_eq!(answer, Err(RefreshError::Reused));
        }
        let (_, fourth) = taken(&family, &third, 4, START_S + 1_800);
        assert_ne!(fourth, third);
    }

    #[test]
    fn a_lost_answer_is_given_again() {
        let (family, first) = start();
        let (family, second) = taken(&family, &first, 2, START_S + 600);
        let again = |family: &Family, at_s| family.refresh(&first, [9; 32], at_s, &POLICY);
        assert_eq!(again(&family, START_S + 609), Ok(Refresh::Repeated(second.clone())));
        assert_eq!(again(&family, START_S + 599), Ok(Refresh::Repeated(second.clone())));
        assert_eq!(again(&family, START_S + 610), Err(RefreshError::Reused));
        // Whoever uses the successor has got the answer.
        let (family, _) = taken(&family, &second, 3, START_S + 601);
        assert_eq!(again(&family, START_S + 602), Err(RefreshError::Reused));
        let never = FamilyPolicy { repeat_s: 0, ..POLICY };
        let (family, _) = taken(&start().0, &first, 2, START_S);
        let at_once = family.refresh(&first, [9; 32], START_S, &never);
        assert_eq!(at_once, Err(RefreshError::Reused));
    }

    #[test]
    fn ends_by_rest_and_by_age() {
        let (mut family, mut token) = start();
        let rested = family.refresh(&token, [2; 32], START_S + POLICY.idle_s, &POLICY);
        assert_eq!(rested, Err(RefreshError::Expired));
        for day in (10..90).step_by(10) {
            (family, token) = taken(&family, &token, day, START_S + u64::from(day) * 86_400);
        }
        let last_s = START_S + POLICY.lifetime_s;
        assert_eq!(family.ends_s(&POLICY), last_s);
        assert!(family.refresh(&token, [2; 32], last_s - 1, &POLICY).is_ok());
        let late = family.refresh(&token, [2; 32], last_s, &POLICY);
        assert_eq!(late, Err(RefreshError::Expired));
        let endless = FamilyPolicy { idle_s: u64::MAX, lifetime_s: u64::MAX, repeat_s: 1 };
        assert_eq!(family.ends_s(&endless), START_S + MAX_LIFETIME_S);
    }

    #[test]
    fn a_guess_ends_the_family_whose_name_it_knows() {
        let (family, _) = start();
        let guess = RefreshToken { family: FamilyId(Uuid::from_u128(7)), secret: [0; 32] };
        let refused = family.refresh(&guess, [2; 32], START_S, &POLICY).unwrap_err();
        assert!(refused == RefreshError::Reused && refused.ends_family());
        assert!(!RefreshError::Malformed.ends_family());
    }

    #[test]
    fn what_is_kept_is_no_token_and_comes_back() {
        let (family, first) = start();
        let (family, second) = taken(&family, &first, 2, START_S + 600);
        let kept = serde_json::to_string(&family).unwrap();
        assert_eq!(serde_json::from_str::<Family>(&kept).unwrap(), family);
        for token in [&first, &second] {
            let secret = Base64UrlUnpadded::encode_string(&token.secret);
            assert!(!kept.contains(&secret) && !kept.contains(&token.text()));
            assert!(!format!("{token:?}{family:?}").contains(&secret));
        }
        assert!(serde_json::from_str::<Family>(&kept.replace('}', r#","x":1}"#)).is_ok());
        assert!(serde_json::from_str::<Family>(&kept.replace("good\":\"", "good\":\"A")).is_err());
    }

    #[test]
    fn refuses_what_is_no_token() {
        let text = start().1.text();
        assert_eq!(RefreshToken::parse(&text), Ok(start().1));
        assert_eq!(text.len(), 64);
        let cases =
            ["", "x", &text[1..], &format!("{text}A"), &text.replace('A', "="), &"é".repeat(32)];
        for case in cases {
            assert_eq!(RefreshToken::parse(case), Err(RefreshError::Malformed), "{case}");
        }
    }

    /// Who holds which token, and what they do.
    #[derive(Clone, Copy, Debug)]
    enum Act {
        /// The owner refreshes, and the answer arrives or is lost.
        Owner {
            arrives: bool,
        },
        /// The thief copies what the owner holds.
        Steal,
        /// The thief refreshes what was stolen last.
        Thief,
        Wait(u64),
    }

    fn any_act() -> impl Strategy<Value = Act> {
        prop_oneof![
            any::<bool>().prop_map(|arrives| Act::Owner { arrives }),
            Just(Act::Steal),
            Just(Act::Thief),
            (0..40_u64).prop_map(Act::Wait),
        ]
    }

    proptest! {
        /// Against a model that keeps every token: the family is one line, a
        /// token that is not its last or last but one never gets anything, and
        /// of an owner and a thief who both go on at their leisure one is found.
        #[test]
        fn a_family_is_one_line(acts in prop::collection::vec(any_act(), 1..60)) {
            let (mut family, first) = start();
            let mut line = vec![first.clone()];
            let (mut owner, mut thief) = (first, None);
            let mut now_s = START_S;
            let mut ended = false;
            for (act, salt) in acts.into_iter().zip(0_u8..) {
                let asks = match act {
                    Act::Owner { .. } => owner.clone(),
                    Act::Thief => match &thief {
                        Some(stolen) => RefreshToken::clone(stolen),
                        None => continue,
                    },
                    Act::Steal => {
                        thief = Some(owner.clone());
                        continue;
                    }
                    Act::Wait(s) => {
                        now_s += s;
                        continue;
                    }
                };
                let place = line.iter().position(|token| *token == asks).unwrap();
                let behind = line.len() - 1 - place;
                let answer = family.refresh(&asks, [salt; 32], now_s, &POLICY);
                let got = match answer {
                    Ok(Refresh::Taken(next, token)) => {
                        prop_assert_eq!(behind, 0);
                        prop_assert!(!line.contains(&token));
                        line.push(token.clone());
                        family = next;
                        token
                    }
                    Ok(Refresh::Repeated(token)) => {
                        prop_assert_eq!(behind, 1);
                        prop_assert_eq!(&token, &line[place + 1]);
                        token
                    }
                    Err(error) => {
                        prop_assert!(behind > 0 && error == RefreshError::Reused);
                        ended = true;
                        break;
                    }
                };
                match act {
                    Act::Owner { arrives: true } => owner = got,
                    Act::Thief => thief = Some(got),
                    _ => {}
                }
            }
            // Then both go on at their leisure, as long as nobody was found.
            if let (false, Some(stolen)) = (ended, thief) {
                now_s += 600;
                let mut found = false;
                for token in [&owner, &stolen] {
                    now_s += 60;
                    match family.refresh(token, [99; 32], now_s, &POLICY) {
                        Ok(Refresh::Taken(next, _)) => family = next,
                        other => {
                            prop_assert_eq!(other, Err(RefreshError::Reused));
                            found = true;
                        }
                    }
                }
                prop_assert!(found);
            }
        }
    }
}
