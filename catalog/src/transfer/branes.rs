//! What transfers need of the branes.

use std::future::Future;
use std::pin::Pin;

use avvy_actors::{Denied, OnlyIf, System, Tree, WriteRequest, Written};
use avvy_auth::Claims;
use avvy_model::{BraneId, EditId, Epoch, ObjectId, UserId};

/// A future that can be boxed.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Denied>> + Send + 'a>>;

/// What transfers need of the branes; a [`System`] has it.
pub trait Branes: Send + Sync {
    /// Whether the user may be in a brane now, and under which epoch that is
    /// open; see [`System::view`].
    fn enter<'a>(&'a self, brane: BraneId, claims: &'a Claims) -> Answer<'a, Epoch>;

    /// See [`System::tree`].
    fn tree<'a>(
        &'a self,
        brane: BraneId,
        claims: &'a Claims,
        root: ObjectId,
        max: usize,
    ) -> Answer<'a, Tree>;

    /// See [`System::write_if`].
    fn write_if<'a>(
        &'a self,
        brane: BraneId,
        claims: &'a Claims,
        request: WriteRequest,
        only_if: OnlyIf,
    ) -> Answer<'a, Written>;

    /// See [`System::settle`].
    fn settle(
        &self,
        brane: BraneId,
        by: UserId,
        of: EditId,
        epoch: Option<Epoch>,
    ) -> Answer<'_, bool>;
}

impl Branes for System {
    fn enter<'a>(&'a self, brane: BraneId, claims: &'a Claims) -> Answer<'a, Epoch> {
        Box::pin(async move { Ok(self.view(brane, claims).await?.at.epoch) })
    }

    fn tree<'a>(
        &'a self,
        brane: BraneId,
        claims: &'a Claims,
        root: ObjectId,
        max: usize,
    ) -> Answer<'a, Tree> {
        Box::pin(Self::tree(self, brane, claims, root, max))
    }

    fn write_if<'a>(
        &'a self,
        brane: BraneId,
        claims: &'a Claims,
        request: WriteRequest,
        only_if: OnlyIf,
    ) -> Answer<'a, Written> {
        Box::pin(Self::write_if(self, brane, claims, request, only_if))
    }

    fn settle(
        &self,
        brane: BraneId,
        by: UserId,
        of: EditId,
        epoch: Option<Epoch>,
    ) -> Answer<'_, bool> {
        Box::pin(Self::settle(self, brane, by, of, epoch))
    }
}
