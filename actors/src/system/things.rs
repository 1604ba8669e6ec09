//! What moves things between branes and the inventories beside them is built on.

use std::time::Duration;

use avvy_auth::Claims;
use avvy_brane::{Admission, Outcome};
use avvy_flow::recovery::TailBounds;
use avvy_model::{BraneId, Code, EditId, Epoch, Handle, Object, ObjectId, Seq, UserId};
use avvy_persistence::Life;
use ractor::concurrency::oneshot;
use tokio::time::timeout;

use super::{System, WriteRequest, Written, principal, store_code};
use crate::Denied;
use crate::brane::{Branch, BraneMsg, Question, Write};
use crate::directory::DirectoryMsg;
use crate::loading::recover;
use crate::probe::Leaves;

/// What has to hold for edits to be taken that are new.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OnlyIf {
    /// The brane is open under this epoch.
    pub epoch: Option<Epoch>,
    /// These objects have these digests (see [`avvy_model::object_digest`]).
    pub objects: Vec<(Handle, [u8; 16])>,
}

/// Objects of a brane as they were under an epoch.
pub type Tree = (Epoch, Vec<(Handle, Object)>);

impl System {
    /// [`Self::write`], as long as something holds. Edits that have an outcome
    /// already are answered all the same; those of another epoch are refused as
    /// `unavailable`.
    ///
    /// # Errors
    /// As [`Self::write`]; `conflict` when an object is not as it was, then
    /// nothing was applied.
    pub async fn write_if(
        &self,
        brane: BraneId,
        claims: &Claims,
        request: WriteRequest,
        only_if: OnlyIf,
    ) -> Result<Written, Denied> {
        let handle = self.brane_handle(brane).await?;
        let principal = principal(&handle.record, claims);
        let session = self.next_session();
        let (reply, answer) = oneshot();
        let write = Write { session, principal, request, only_if, reply };
        handle
            .actor
            .send_message(BraneMsg::Write(Box::new(write)))
            .map_err(|_| Code::Unavailable)?;
        // Whether it is answered, takes too long or is no longer waited for.
        let _leaves = Leaves { actor: &handle.actor, session };
        let patience = Duration::from_millis(self.inner.config.durable_timeout_ms);
        match timeout(patience, answer).await {
            Ok(Ok(written)) => written.map_err(Denied::from),
            Ok(Err(_)) => Err(Code::Unavailable.into()),
            Err(_) => Err(Code::Timeout.into()),
        }
    }

    /// An object and what is under it, a group before what is in it, and the
    /// epoch under which the brane is open.
    ///
    /// # Errors
    /// As [`Self::view`]; `object_not_found`, `root_protected`; `tree_too_large`
    /// if there are more than `max`.
    pub async fn tree(
        &self,
        brane: BraneId,
        claims: &Claims,
        root: ObjectId,
        max: usize,
    ) -> Result<Tree, Denied> {
        let handle = self.brane_handle(brane).await?;
        let principal = principal(&handle.record, claims);
        let tree = |reply| BraneMsg::Ask(Question::Tree(Branch { principal, root, max, reply }));
        let objects = self.ask(&handle.actor, tree).await??;
        Ok((handle.epoch, objects))
    }

    /// Whether an edit was applied and is durable, for the server itself,
    /// whoever may see the brane by now, and also if it is archived or deleted:
    /// then it can come back with that edit in it. One that was not applied never
    /// will be, if it is sent for this `epoch` alone ([`OnlyIf`]): under that the
    /// brane refuses it from now on, and the log of a later one has all that was
    /// applied before. Without an epoch that ends with the opening of now.
    ///
    /// # Errors
    /// As [`Self::view`]; `unavailable` while it is not durable yet, the
    /// brane still closes, or what is open here is older than that epoch;
    /// `outcome_unknown` if nobody knows any more.
    pub async fn settle(
        &self,
        brane: BraneId,
        by: UserId,
        of: EditId,
        epoch: Option<Epoch>,
    ) -> Result<bool, Denied> {
        let handle = match self.brane_handle(brane).await {
            Err(denied) if matches!(denied.code, Code::BraneArchived | Code::NotFound) => {
                return Ok(self.was_applied_before_the_end(brane, of).await?);
            }
            handle => handle?,
        };
        // Another node has it, and this one does not know it yet.
        if epoch.is_some_and(|epoch| epoch > handle.epoch) {
            return Err(Code::Unavailable.into());
        }
        let settle = |reply| BraneMsg::Settle { of, by, reply };
        let (admission, durable) = self.ask(&handle.actor, settle).await?;
        Ok(is_applied(of, admission, durable)?)
    }

    /// The same of a brane that is not active. Nobody writes to it any more, so
    /// all of it is stored.
    async fn was_applied_before_the_end(&self, brane: BraneId, of: EditId) -> Result<bool, Code> {
        let inner = &self.inner;
        let store = inner.store.as_ref();
        let record = store.brane(brane).await.map_err(store_code)?;
        match record.life {
            Life::Archived { .. } | Life::Doomed { .. } => {}
            Life::Active => return Err(Code::Unavailable),
            Life::Purging { .. } | Life::Purged { .. } => return Err(Code::NotFound),
        }
        let not_closed = self.ask(&inner.directory, DirectoryMsg::NotClosed).await?;
        let mut is_open = not_closed.iter().any(|(open, _)| *open == brane);
        if let Some(link) = &inner.fleet {
            let holder = link.fleet.holder(brane).await.map_err(store_code)?;
            is_open |= holder.is_some_and(|holder| holder.remaining_ms > 0);
        }
        if is_open {
            return Err(Code::Unavailable);
        }
        let outline = store.outline(brane).await.map_err(store_code)?;
        let (limits, tail) = (&inner.config.brane.limits, TailBounds::default());
        let reading = recover(store, &record, &outline.snapshots, outline.head, limits, tail);
        let (read, _) = reading.await?;
        is_applied(of, read.clients().check(of), read.head())
    }
}

/// Whether an edit was applied and is durable, by what a brane knows of it.
fn is_applied(of: EditId, admission: Admission, durable: Seq) -> Result<bool, Code> {
    match admission {
        Admission::Known(Outcome::Applied(seq)) if seq <= durable => Ok(true),
        Admission::Known(Outcome::Applied(_)) => Err(Code::Unavailable),
        // Who has written nothing is not known.
        Admission::Known(Outcome::Refused(_))
        | Admission::New
        | Admission::Refused(Code::ClientUnknown) => Ok(false),
        // A user's transfers in a brane come one after the other: this one had
        // ended before a later one was begun.
        Admission::Refused(Code::OutcomeUnknown) if of.client.is_of_transfers() => Ok(false),
        Admission::Refused(code) => Err(code),
    }
}
