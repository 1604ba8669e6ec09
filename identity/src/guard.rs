//! Who has failed to sign in too often, and where too many came for the first time,
//! on this node.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use avvy_auth::lockout::{LockOut, SignInGuard};
use avvy_auth::wallet::Address;

use crate::{Asker, IdentityError, IdentityOptions, Signed};

/// Counts failures by wallet and by address, and new users by address. Each node
/// counts by itself: what somebody may try in a fleet is so much for each node.
/// Nobody is locked out for a wrong ticket or refresh token: they cannot be
/// guessed, and all behind the same address would be.
pub(crate) struct Guard {
    failures: Mutex<SignInGuard<Address, IpAddr>>,
    newcomers: Mutex<LockOut<IpAddr>>,
}

impl Guard {
    pub(crate) const fn new(options: &IdentityOptions) -> Self {
        let IdentityOptions { account_lock_out, address_lock_out, newcomers, .. } = options;
        Self {
            failures: Mutex::new(SignInGuard::new(*account_lock_out, *address_lock_out)),
            newcomers: Mutex::new(LockOut::new(*newcomers)),
        }
    }

    /// Judges what a wallet has signed, unless it, or the address, has failed too
    /// often. A success counts for the wallet, a failure for the address, and for
    /// the wallet if only its owner can fail so. What others try in its name would
    /// only keep its owner out: a wallet's key cannot be guessed.
    ///
    /// # Errors
    /// `LockedOut`, and as `judge` has them.
    pub(crate) async fn judge<T>(
        &self,
        signed: &Signed,
        asker: &Asker,
        judge: impl Future<Output = Result<T, IdentityError>>,
    ) -> Result<T, IdentityError> {
        let (wallet, &Asker { address, now_ms, .. }) = (signed.wallet(), asker);
        self.lock().check(&wallet, &address, now_ms).map_err(IdentityError::LockedOut)?;
        let outcome = judge.await;
        match &outcome {
            Ok(_) => self.lock().succeeded(&wallet),
            Err(IdentityError::Proof(error)) if error.is_failure() => {
                // Before the lock, which all share: it may verify a signature.
                let is_owners = error.is_wrong_answer() && signed.is_by_its_wallet();
                let mut guard = self.lock();
                guard.forget(now_ms);
                if is_owners {
                    guard.failed(wallet, address, now_ms);
                } else {
                    guard.failed_at(address, now_ms);
                }
            }
            Err(_) => {}
        }
        outcome
    }

    /// A place for somebody who comes for the first time, unless too many have
    /// from this address.
    ///
    /// # Errors
    /// `TooManyNew`.
    pub(crate) fn admit(&self, asker: &Asker) -> Result<Place<'_>, IdentityError> {
        let Asker { address, now_ms, .. } = *asker;
        let mut newcomers = self.newcomers();
        newcomers.forget(now_ms);
        newcomers.check(&address, now_ms).map_err(IdentityError::TooManyNew)?;
        newcomers.failed(address, now_ms);
        Ok(Place { guard: self, address, now_ms, is_taken: false })
    }

    fn newcomers(&self) -> MutexGuard<'_, LockOut<IpAddr>> {
        self.newcomers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, SignInGuard<Address, IpAddr>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among those who come from an address for the first time. It is given
/// back when this is dropped, unless it is taken.
pub(crate) struct Place<'a> {
    guard: &'a Guard,
    address: IpAddr,
    now_ms: u64,
    /// Whether somebody new has it, or may have.
    pub(crate) is_taken: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.is_taken {
            self.guard.newcomers().take_back(self.address, self.now_ms);
        }
    }
}
