//! How those who sign people in reach what is revoked.

use avvy_actors::System;
use avvy_auth::Revocation;
use avvy_identity::{BoxFuture, Revocations};
use avvy_model::{Code, UserId};

/// What the system knows and does of tokens that end before their time.
pub struct SystemRevocations(pub System);

impl Revocations for SystemRevocations {
    fn signed_out_s(&self, user: UserId) -> Option<u64> {
        self.0.signed_out_s(user)
    }

    fn revoke(&self, revocation: Revocation) -> BoxFuture<'_, Result<u64, Code>> {
        Box::pin(self.0.revoke(revocation))
    }
}
