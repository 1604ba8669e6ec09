//! Why something about people was not done.

use avvy_auth::family::RefreshError;
use avvy_auth::rate::RetryAfterMs;
use avvy_auth::wallet::{ProofError, WalletError};
use avvy_model::Code;
use avvy_persistence::StoreError;
use tracing::warn;

use crate::OidcError;

/// Why something about people was not done.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IdentityError {
    /// Nobody has this id.
    #[error("there is no such user")]
    UnknownUser,
    /// It is not of the version that was expected.
    #[error("it was changed meanwhile")]
    Conflict {
        /// The version that there is.
        found: u64,
    },
    /// Something is not of its form.
    #[error("{0}")]
    Malformed(&'static str),
    /// This way to sign in is not offered.
    #[error("this way to sign in is not offered here")]
    NotOffered,
    /// There were too many failures.
    #[error("too many tries to sign in have failed")]
    LockedOut(RetryAfterMs),
    /// Too many from the same address came for the first time.
    #[error("too many have come from here for the first time")]
    TooManyNew(RetryAfterMs),
    /// A signed message proves nothing.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// A wallet, or an account elsewhere, is not attached or detached.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// It signs in another user.
    #[error("it is another user's")]
    WayTaken,
    /// Who asks has not signed in just now.
    #[error("only who has signed in just now can do this")]
    NotJustNow,
    /// What shows who asks, or all that stays, came to the user a short time ago,
    /// and later than what is to go.
    #[error("a way in that is so new takes no older one's place")]
    TooNew,
    /// A refresh token does not count.
    #[error(transparent)]
    Refresh(#[from] RefreshError),
    /// The user has signed out everywhere since, or what it was by is not theirs
    /// any more.
    #[error("the sign-in was ended since")]
    SignedOut,
    /// The user has no such sign-in.
    #[error("the user has no sign-in of this id")]
    UnknownSession,
    /// A sign-out could not be told to anything that outlives this process.
    #[error("what was ended could not be kept: {0}")]
    NotRevoked(Code),
    /// Nobody is signed in by an account elsewhere.
    #[error(transparent)]
    Oidc(#[from] OidcError),
    /// Others changed the same at the same time, again and again, or the
    /// system gives no random bytes.
    #[error("not now: {0}")]
    Unavailable(&'static str),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl IdentityError {
    /// The code that the asker is told.
    pub fn code(&self) -> Code {
        match self {
            Self::UnknownUser | Self::UnknownSession | Self::NotOffered => Code::NotFound,
            Self::Malformed(_) => Code::Malformed,
            Self::LockedOut(_) | Self::TooManyNew(_) => Code::RateLimited,
            Self::Proof(error) => error.code(),
            Self::Wallet(error) => error.code(),
            Self::WayTaken => Code::Exists,
            Self::NotJustNow | Self::TooNew => Code::Forbidden,
            Self::Refresh(error) => error.code(),
            Self::SignedOut => Code::TokenRevoked,
            Self::NotRevoked(code) => *code,
            Self::Oidc(error) => error.code(),
            Self::Conflict { .. } | Self::Unavailable(_) => Code::Unavailable,
            Self::Store(error) => store_code(error),
        }
    }

    /// When to ask again, where that is known.
    pub const fn retry_after(&self) -> Option<RetryAfterMs> {
        match self {
            Self::LockedOut(after) | Self::TooManyNew(after) => Some(*after),
            _ => None,
        }
    }
}

fn store_code(error: &StoreError) -> Code {
    match error {
        StoreError::Damaged { .. } => Code::Damaged,
        StoreError::Timeout { .. } => Code::Timeout,
        error => {
            warn!(%error, "the store failed");
            Code::Unavailable
        }
    }
}
