//! Prototypes in branes, for whoever knows what their defaults are.

use avvy_auth::Claims;
use avvy_model::{BraneId, ClientId, Code, Counter, Edit, Follow, NumberedEdit, Position, TraceId};

use super::{System, WriteRequest, Written};
use crate::Denied;

impl System {
    /// Has a brane follow a prototype, another version of it, or none any
    /// more, as far as this user's rights there allow; what the defaults are
    /// is the caller's word. [`Self::view`] says what is followed, and of how
    /// many instances ([`avvy_brane::Frozen::followed`], [`avvy_brane::Frozen::instances`]). `client`
    /// is drawn for this call: called again with the same, after a `timeout`,
    /// it is done once.
    ///
    /// # Errors
    /// As [`Self::write`], and why the edit was refused: `not_permitted` (it
    /// takes the verb `create` to adopt, else `configure`),
    /// `prototype_followed`, `prototype_not_followed`, `prototype_in_use`,
    /// `too_many_followed`, or any reason of an operation that follows.
    pub async fn follow(
        &self,
        brane: BraneId,
        claims: &Claims,
        client: ClientId,
        trace: TraceId,
        follow: Follow,
    ) -> Result<Position, Denied> {
        let counter = Counter(1);
        let edits = vec![NumberedEdit { counter, edit: Edit::Follow(Box::new(follow)) }];
        let request = WriteRequest { client, known: false, edits, trace };
        let Written { epoch, outcomes, .. } = self.write(brane, claims, request).await?;
        match outcomes.first() {
            Some((_, Ok(seq))) => Ok(Position { epoch, seq: *seq }),
            Some((_, Err(refusal))) => Err(refusal.code.into()),
            None => Err(Code::Internal.into()),
        }
    }
}
