//! Who has failed to sign in too often, and where too many came for the first time,
//! on this node.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use avvy_auth::lockout::{LockOut, SignInGuard};

use crate::{Asker, IdentityError, IdentityOptions};

/// Counts failures by account and by address, and new users by address. Each node
/// counts by itself: what somebody may try in a fleet is so much for each node.
pub(crate) struct Guard {
    failures: Mutex<SignInGuard<String, IpAddr>>,
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

    /// Whether somebody may try to sign in to this account.
    ///
    /// # Errors
    /// `LockedOut`.
    pub(crate) fn check(&self, account: &str, asker: &Asker) -> Result<(), IdentityError> {
        let checked = self.lock().check(&account.to_owned(), &asker.address, asker.now_ms);
        checked.map_err(IdentityError::LockedOut)
    }

    /// Counts how a try ended: a success for the account, a failure for the
    /// address, and for the account if only its owner can fail so (`is_owners`).
    /// What others try in its name would only keep its owner out: a wallet's
    /// key cannot be guessed.
    pub(crate) fn count<T>(
        &self,
        account: &str,
        asker: &Asker,
        is_owners: impl FnOnce(&IdentityError) -> bool,
        outcome: Result<T, IdentityError>,
    ) -> Result<T, IdentityError> {
        match &outcome {
            Ok(_) => self.lock().succeeded(&account.to_owned()),
            Err(error) if error.is_failure() => {
                // Before the lock, which all share: it may verify a signature.
                let is_owners = is_owners(error);
                let mut guard = self.lock();
                guard.forget(asker.now_ms);
                if is_owners {
                    guard.failed(account.to_owned(), asker.address, asker.now_ms);
                } else {
                    guard.failed_at(asker.address, asker.now_ms);
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

    fn lock(&self) -> MutexGuard<'_, SignInGuard<String, IpAddr>> {
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
