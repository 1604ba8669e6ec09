//! By what tokens are judged, which changes while the system runs: keys take
//! turns.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use avvy_auth::external::OtherIssuers;
use avvy_auth::{Claims, MAX_TOKEN_BYTES, SignedTokens, TokenDigest, TokenError, Verifier};

use crate::clock;

/// Judges tokens by the keys of now.
pub(crate) struct Judge {
    own: RwLock<Arc<Own>>,
    others: RwLock<Option<Arc<dyn OtherIssuers>>>,
}

/// The keys of now, and what they have verified. With the next keys all is
/// verified anew.
struct Own {
    verifier: Arc<Verifier>,
    signed: Mutex<SignedTokens>,
}

impl Own {
    fn new(verifier: Arc<Verifier>) -> Arc<Self> {
        Arc::new(Self { verifier, signed: Mutex::default() })
    }

    fn signed(&self) -> MutexGuard<'_, SignedTokens> {
        self.signed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Judge {
    pub(crate) fn new(verifier: Verifier) -> Self {
        Self { own: RwLock::new(Own::new(Arc::new(verifier))), others: RwLock::default() }
    }

    /// From now on by these.
    pub(crate) fn replace(&self, verifier: Verifier) {
        self.begin_anew(Arc::new(verifier));
    }

    /// From now on also tokens of other issuers, by these.
    pub(crate) fn judge_others(&self, others: Arc<dyn OtherIssuers>) {
        *self.others.write().unwrap_or_else(PoisonError::into_inner) = Some(others);
        // They are asked first, also for what was verified here.
        self.begin_anew(self.verifier());
    }

    /// What a token says of its bearer, now.
    pub(crate) fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        let (own, now_s) = (self.own(), clock::unix_s());
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let (digest, leeway_s) = (TokenDigest::of(token), own.verifier.leeway_s());
        let known = own.signed().get(digest);
        if let Some(signed) = known {
            return signed.judge(leeway_s, now_s);
        }
        let others = self.others.read().unwrap_or_else(PoisonError::into_inner).clone();
        // Each issuer's tokens are judged by its own rules alone.
        if let Some(judged) = others.and_then(|others| others.verify(token, now_s)) {
            return judged;
        }
        let signed = own.verifier.read(token)?;
        let claims = signed.clone().judge(leeway_s, now_s)?;
        own.signed().keep(digest, signed);
        Ok(claims)
    }

    /// By what is judged now. Nobody waits for whoever holds it.
    pub(crate) fn verifier(&self) -> Arc<Verifier> {
        Arc::clone(&self.own().verifier)
    }

    fn own(&self) -> Arc<Own> {
        Arc::clone(&self.own.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn begin_anew(&self, verifier: Arc<Verifier>) {
        *self.own.write().unwrap_or_else(PoisonError::into_inner) = Own::new(verifier);
    }
}

#[cfg(test)]
mod tests {
    use avvy_auth::{Issuer, Keys, Policy};
    use avvy_model::{Role, UserId};
    use uuid::Uuid;

    use super::*;

    struct Nobody;

    impl OtherIssuers for Nobody {
        fn verify(&self, _: &str, _: u64) -> Option<Result<Claims, TokenError>> {
            Some(Err(TokenError::WrongIssuer))
        }
    }

    fn policy() -> Policy {
        Policy { issuer: "test".to_owned(), audience: "test".to_owned(), leeway_s: 0 }
    }

    /// A judge who has verified a token, that token, and what it says.
    fn verified() -> (Judge, String, Claims) {
        let issuer = Issuer::new(Keys::generate([7; 32]), policy());
        let issued_s = clock::unix_s();
        let claims = Claims {
            user: UserId::new(Uuid::new_v4()),
            role: Role::Owner,
            name: None,
            branes: Vec::new(),
            session: None,
            token: Uuid::new_v4(),
            issued_s,
            expires_s: issued_s + 600,
        };
        let (judge, token) = (Judge::new(issuer.verifier()), issuer.issue(&claims));
        assert_eq!(judge.verify(&token).as_ref(), Ok(&claims));
        (judge, token, claims)
    }

    #[test]
    fn a_token_is_verified_once() {
        let (judge, token, claims) = verified();
        let kept = judge.own().signed().get(TokenDigest::of(&token));
        assert_eq!(kept.and_then(|kept| kept.judge(0, claims.issued_s).ok()), Some(claims.clone()));
        assert_eq!(judge.verify(&token), Ok(claims));
        // Another signature under the same claims is another token.
        let forged = format!("{}A", &token[..token.len() - 1]);
        let forged =
            if forged == token { format!("{}Q", &token[..token.len() - 1]) } else { forged };
        assert!(judge.verify(&forged).is_err());
    }

    #[test]
    fn what_keys_have_verified_ends_with_them() {
        let (judge, token, _) = verified();
        let next = Keys::generate([8; 32]).public().clone();
        judge.replace(Verifier::new(policy(), vec![next]));
        assert_eq!(judge.verify(&token), Err(TokenError::UnknownKey));
    }

    #[test]
    fn other_issuers_are_asked_before_what_is_known() {
        let (judge, token, _) = verified();
        judge.judge_others(Arc::new(Nobody));
        assert_eq!(judge.verify(&token), Err(TokenError::WrongIssuer));
    }
}
