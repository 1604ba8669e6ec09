//! What moves things between branes and the inventories beside them is built on.

use std::time::Duration;

use avvy_auth::Claims;
use avvy_brane::{Admission, Outcome};
use avvy_model::{BraneId, Code, EditId, Handle, Object, ObjectId};
use ractor::concurrency::oneshot;
use tokio::time::timeout;

use super::{System, WriteRequest, Written, principal};
use crate::Denied;
use crate::brane::{BraneMsg, Question, Tree, Write};
use crate::probe::Leaves;

impl System {
    /// [`Self::write`], as long as these objects have these digests (see
    /// [`avvy_model::object_digest`]). Edits that have an outcome already are
    /// answered all the same.
    ///
    /// # Errors
    /// As [`Self::write`]; `conflict` when an object is not as it was, then
    /// nothing was applied.
    pub async fn write_if(
        &self,
        brane: BraneId,
        claims: &Claims,
        request: WriteRequest,
        only_if: Vec<(Handle, [u8; 16])>,
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

    /// An object and what is under it, a group before what is in it.
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
    ) -> Result<Vec<(Handle, Object)>, Denied> {
        let handle = self.brane_handle(brane).await?;
        let principal = principal(&handle.record, claims);
        let tree = |reply| BraneMsg::Ask(Question::Tree(Tree { principal, root, max, reply }));
        Ok(self.ask(&handle.actor, tree).await??)
    }

    /// Whether an edit was applied and is durable, for the server itself,
    /// whoever may see the brane by now.
    ///
    /// # Errors
    /// As [`Self::view`]; `unavailable` while it is not durable yet;
    /// `outcome_unknown` if nobody knows any more.
    pub async fn was_applied(&self, brane: BraneId, of: EditId) -> Result<bool, Denied> {
        let handle = self.brane_handle(brane).await?;
        let ask = |reply| BraneMsg::Outcome { of, reply };
        match self.ask(&handle.actor, ask).await? {
            (Admission::Known(Outcome::Applied(seq)), durable) if seq <= durable => Ok(true),
            (Admission::Known(Outcome::Applied(_)), _) => Err(Code::Unavailable.into()),
            // Who has written nothing is not known.
            (
                Admission::Known(Outcome::Refused(_))
                | Admission::New
                | Admission::Refused(Code::ClientUnknown),
                _,
            ) => Ok(false),
            (Admission::Refused(code), _) => Err(code.into()),
        }
    }
}
