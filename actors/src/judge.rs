//! By what tokens are judged, which changes while the system runs: keys take
//! turns.

use std::sync::{Arc, PoisonError, RwLock};

use avvy_auth::{Claims, TokenError, Verifier};

use crate::clock;

/// Judges tokens by the keys of now.
pub(crate) struct Judge(RwLock<Arc<Verifier>>);

impl Judge {
    pub(crate) fn new(verifier: Verifier) -> Self {
        Self(RwLock::new(Arc::new(verifier)))
    }

    /// From now on by these.
    pub(crate) fn replace(&self, verifier: Verifier) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(verifier);
    }

    /// What a token says of its bearer, now.
    pub(crate) fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        self.verifier().verify(token, clock::unix_s())
    }

    /// By what is judged now. Nobody waits for whoever holds it.
    pub(crate) fn verifier(&self) -> Arc<Verifier> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}
