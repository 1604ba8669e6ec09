//! By what tokens are judged, which changes while the system runs: keys take
//! turns.

use std::sync::{Arc, PoisonError, RwLock};

use avvy_auth::external::OtherIssuers;
use avvy_auth::{Claims, TokenError, Verifier};

use crate::clock;

/// Judges tokens by the keys of now.
pub(crate) struct Judge {
    own: RwLock<Arc<Verifier>>,
    others: RwLock<Option<Arc<dyn OtherIssuers>>>,
}

impl Judge {
    pub(crate) fn new(verifier: Verifier) -> Self {
        Self { own: RwLock::new(Arc::new(verifier)), others: RwLock::default() }
    }

    /// From now on by these.
    pub(crate) fn replace(&self, verifier: Verifier) {
        *self.own.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(verifier);
    }

    /// From now on also tokens of other issuers, by these.
    pub(crate) fn judge_others(&self, others: Arc<dyn OtherIssuers>) {
        *self.others.write().unwrap_or_else(PoisonError::into_inner) = Some(others);
    }

    /// What a token says of its bearer, now.
    pub(crate) fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        let now_s = clock::unix_s();
        let others = self.others.read().unwrap_or_else(PoisonError::into_inner).clone();
        // Each issuer's tokens are judged by its own rules alone.
        let judged = others.and_then(|others| others.verify(token, now_s));
        judged.unwrap_or_else(|| self.verifier().verify(token, now_s))
    }

    /// By what is judged now. Nobody waits for whoever holds it.
    pub(crate) fn verifier(&self) -> Arc<Verifier> {
        Arc::clone(&self.own.read().unwrap_or_else(PoisonError::into_inner))
    }
}
