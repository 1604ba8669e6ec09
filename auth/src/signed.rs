//! Tokens whose signature was found to be good, so that it is looked at once
//! and not at every request.
//!
//! What changes without the token is asked each time: whether it is its time
//! ([`Signed::judge`]), and by others whether it is revoked. What was signed by
//! keys that have taken turns since is for the caller to forget.

use sha2::{Digest, Sha256};

use crate::token::judge_times;
use crate::{Claims, MAX_SIGN_IN_TOKEN_S, TokenError};

/// How many are kept at most.
const PLACES: usize = 2_048;

/// What a token says whose signature, issuer and audience are right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signed {
    pub(crate) claims: Claims,
    pub(crate) nbf_s: Option<u64>,
}

impl Signed {
    /// What it says, if it is its time: `now_s` in Unix seconds, give or take
    /// `leeway_s`.
    ///
    /// # Errors
    /// The first [`TokenError`] that is found.
    pub fn judge(self, leeway_s: u64, now_s: u64) -> Result<Claims, TokenError> {
        let Claims { issued_s, expires_s, session, .. } = self.claims;
        judge_times(issued_s, self.nbf_s, expires_s, leeway_s, now_s)?;
        if session.is_some() && expires_s - issued_s > MAX_SIGN_IN_TOKEN_S {
            return Err(TokenError::TooLasting);
        }
        Ok(self.claims)
    }
}

/// The name of one token alone: the SHA-256 of all of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// That of this token.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// The digests of tokens are evenly spread, and nobody can choose one.
    fn place(self) -> usize {
        usize::from(u16::from_be_bytes([self.0[0], self.0[1]])) % PLACES
    }
}

/// Some of the tokens that were verified. Each has one place, and one that
/// comes there takes it, so this never grows.
#[derive(Clone, Debug)]
pub struct SignedTokens(Vec<Option<(TokenDigest, Signed)>>);

impl Default for SignedTokens {
    fn default() -> Self {
        Self(vec![None; PLACES])
    }
}

impl SignedTokens {
    /// What the very token says that has this digest, if it is kept.
    pub fn get(&self, digest: TokenDigest) -> Option<Signed> {
        let (kept, signed) = self.0[digest.place()].as_ref()?;
        (*kept == digest).then(|| signed.clone())
    }

    /// Keeps what a verifier has read from the token of this digest.
    pub fn keep(&mut self, digest: TokenDigest, signed: Signed) {
        self.0[digest.place()] = Some((digest, signed));
    }
}

#[cfg(test)]
mod tests {
    use avvy_model::{Role, UserId};
    use uuid::Uuid;

    use super::*;

    fn signed(expires_s: u64) -> Signed {
        let claims = Claims {
            user: UserId::new(Uuid::from_u128(1)),
            role: Role::Builder,
            name: None,
            branes: Vec::new(),
            session: None,
            token: Uuid::from_u128(2),
            issued_s: 100,
            expires_s,
        };
        Signed { claims, nbf_s: Some(150) }
    }

    #[test]
    fn only_the_very_token_is_known() {
        let mut kept = SignedTokens::default();
        let digest = TokenDigest::of("a.b.c");
        kept.keep(digest, signed(200));
        assert_eq!(kept.get(digest), Some(signed(200)));
        for other in ["a.b.d", "A.b.c", "a.b.c ", "a.b.", ""] {
            assert_eq!(kept.get(TokenDigest::of(other)), None, "{other:?}");
        }
    }

    #[test]
    fn its_time_is_asked_each_time() {
        let at = |now_s| signed(200).judge(5, now_s).map(|claims| claims.expires_s);
        assert_eq!(at(144), Err(TokenError::NotYetValid));
        assert_eq!((at(145), at(204)), (Ok(200), Ok(200)));
        assert_eq!(at(205), Err(TokenError::Expired));
    }

    #[test]
    fn never_grows() {
        let mut kept = SignedTokens::default();
        let digests = || (0..2 * PLACES).map(|nth| TokenDigest::of(&nth.to_string()));
        digests().for_each(|digest| kept.keep(digest, signed(200)));
        assert_eq!(kept.0.len(), PLACES);
        let known = digests().filter(|digest| kept.get(*digest).is_some()).count();
        assert!((1..=PLACES).contains(&known));
        let last = TokenDigest::of(&(2 * PLACES - 1).to_string());
        assert!(kept.get(last).is_some());
    }
}
