//! Things that go from an inventory into a brane, and back.
//!
//! A brane has its own log, so this is no one commit. It is three steps, each
//! of which can be done again:
//!
//! 1. One commit marks the things as on their way and keeps what is to be done,
//!    with the number of the edit that does it.
//! 2. The brane takes that edit. However often it is sent, under its number it
//!    is applied once or never, and only as long as the brane is open under the
//!    epoch of the first step.
//! 3. One commit ends it by what became of the edit: the things are where it
//!    took them, or where they were.
//!
//! Whoever finds a transfer that was left between does steps 2 and 3: its user's
//! next one, and the server's upkeep. Several may be at it at once, on several
//! nodes: under one epoch the brane gives all of them one answer, a later one has
//! the answer in its log, and the first commit ends it. In a brane a user has one
//! at a time. What comes out of a brane has to be there as it was read, or the
//! edit is refused.

mod branes;
mod edits;
mod record;

use avvy_actors::{Denied, OnlyIf, WriteRequest};
use avvy_auth::Claims;
use avvy_model::{
    BraneId, Code, Edit, EditId, NumberedEdit, ObjectId, TraceId, UserId, object_digest,
};
use avvy_persistence::StoreError;
use avvy_persistence::records::{Expect, IndexKey, KeyRange, MAX_WRITES, Query, RecordWrite};
use uuid::Uuid;

use crate::scene::Scene;
use crate::thing::Moving;
use crate::work::{Attempts, Stored, Work};
use crate::{Catalog, Refused};
use record::{State, TRANSFERS, Transfer, Way};

pub use branes::{Answer, Branes};
pub use record::Place;

/// How long it is known what became of a transfer, in seconds.
const KEPT_S: u64 = 24 * 3_600;

/// Transfers that are read at a time.
const PAGE: u32 = 100;

/// Branes in which a user may have a transfer under way at once.
const MAX_UNDER_WAY: usize = 8;

/// What was moved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moved {
    /// The brane.
    pub brane: BraneId,
    /// The objects, by the ids that they have where they are now, a group before
    /// what is in it.
    pub objects: Vec<Uuid>,
}

/// What came of a transfer; a code: the things are where they were.
type Ended = Result<Moved, Code>;

impl Catalog {
    /// Moves an object of a user's inventory, with all that is in it, into a
    /// brane. `transfer` names it, drawn by the caller; again it is answered as
    /// before.
    ///
    /// # Errors
    /// `not_found`, `forbidden`, `in_group`; `published`, as what is published
    /// stays where it is; `tree_too_large` if it has more objects and versions
    /// beside them than one commit can hold; whatever the brane refuses the edit with.
    pub async fn place(
        &self,
        branes: &dyn Branes,
        claims: &Claims,
        transfer: Uuid,
        object: Uuid,
        place: Place,
        now_s: u64,
    ) -> Result<Moved, Denied> {
        let mut attempts = Attempts::new();
        loop {
            if let Some(ended) = self.resume(branes, claims.user, transfer, now_s).await? {
                return Ok(ended?);
            }
            let mut work = self.begin_transfer(branes, claims.user, place.brane, now_s).await?;
            let root = self.own(&work, object).await?;
            if root.thing.object()?.parent.is_some() {
                return Err(Code::InGroup.into());
            }
            if root.thing.is_published() {
                return Err(Code::Published.into());
            }
            let mut scene = Scene::default();
            let objects = self.read_tree(&mut scene, root, now_s).await?;
            let mut links = 0;
            for id in &objects {
                let thing = scene.get_mut(*id)?;
                links += [thing.chain.previous, thing.chain.next].iter().flatten().count();
                thing.moving = Some(Moving::Out(transfer));
            }
            // What ends it has to fit into one commit, with the versions beside
            // each, the account, and the transfer.
            if objects.len() + links + 2 > MAX_WRITES {
                return Err(Code::TreeTooLarge.into());
            }
            // Or it would be begun to be told that it cannot be done here.
            let at = (place.brane, branes.enter(place.brane, claims).await?);
            scene.save(&mut work);
            let way = Way::Out { parent: place.parent, transform: place.transform };
            let number = work.account.transfers + 1;
            let begun = Transfer::new(transfer, claims, at, number, way, objects, now_s);
            if self.keep(work, &begun).await? {
                return Ok(self.go_on(branes, begun, now_s).await??);
            }
            attempts.again()?;
        }
    }

    /// Moves an object of a brane, with all that is in it, into a user's
    /// inventory. Whoever may delete it there may take it.
    ///
    /// # Errors
    /// `not_found`, `object_not_found`, `root_protected`, `tree_too_large`,
    /// `too_deep`, the codes of quotas; `conflict` if it was changed meanwhile; whatever the
    /// brane refuses the edit with.
    pub async fn take(
        &self,
        branes: &dyn Branes,
        claims: &Claims,
        transfer: Uuid,
        brane: BraneId,
        object: ObjectId,
        now_s: u64,
    ) -> Result<Moved, Denied> {
        let mut attempts = Attempts::new();
        loop {
            if let Some(ended) = self.resume(branes, claims.user, transfer, now_s).await? {
                return Ok(ended?);
            }
            let mut work = self.begin_transfer(branes, claims.user, brane, now_s).await?;
            let max = self.limits.max_tree_objects;
            let (epoch, found) = branes.tree(brane, claims, object, max).await?;
            if edits::depth(&found) > self.limits.max_tree_depth {
                return Err(Code::TooDeep.into());
            }
            let ids: Vec<Uuid> = found.iter().map(|(_, object)| object.id.uuid()).collect();
            let are_taken = self.load(&ids, now_s).await?;
            // An id may have been given away by somebody who has seen it here.
            let fresh = |(id, taken): (&Uuid, Option<Stored>)| match taken {
                Some(_) => Uuid::new_v4(),
                None => *id,
            };
            let ids: Vec<Uuid> = ids.iter().zip(are_taken).map(fresh).collect();
            let moving = Moving::In(transfer);
            for thing in edits::things(&found, &ids, claims.user, moving, &self.limits, now_s)? {
                work.put(None, &thing);
            }
            let from = found
                .iter()
                .map(|(handle, object)| (object.id, *handle, object_digest(*handle, object)));
            let (at, number) = ((brane, epoch), work.account.transfers + 1);
            let way = Way::In { from: from.collect() };
            let begun = Transfer::new(transfer, claims, at, number, way, ids, now_s);
            if self.keep(work, &begun).await? {
                return Ok(self.go_on(branes, begun, now_s).await??);
            }
            attempts.again()?;
        }
    }

    /// Ends transfers that have begun before this second; gives how many. What
    /// cannot be ended now is left for the next round.
    ///
    /// # Errors
    /// What a store's failure amounts to.
    pub async fn end_transfers(
        &self,
        branes: &dyn Branes,
        begun_before_s: u64,
        now_s: u64,
    ) -> Result<usize, Refused> {
        let before = IndexKey::new().number(begun_before_s);
        let range = KeyRange::between(IndexKey::new(), before);
        let (mut ended, mut after) = (0, None);
        loop {
            let query = Query::new("by_begun", range.clone()).after(after).limit(PAGE);
            let page = self.records().list(&TRANSFERS, query, now_s).await?;
            for listed in page.found {
                let Ok(transfer) = record::read(&listed.record) else {
                    tracing::error!(key = %listed.record.key, "the record of a transfer is none");
                    continue;
                };
                let id = transfer.id;
                match self.go_on(branes, transfer, now_s).await {
                    Ok(_) => ended += 1,
                    Err(Denied { code, .. }) => {
                        tracing::info!(transfer = %id, %code, "a transfer has to wait");
                    }
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(ended);
            }
        }
    }

    /// Goes on with a transfer that has begun; `None` if it has not, or was undone
    /// for what may have passed, so that it can be begun anew.
    async fn resume(
        &self,
        branes: &dyn Branes,
        user: UserId,
        transfer: Uuid,
        now_s: u64,
    ) -> Result<Option<Ended>, Denied> {
        let begun = match self.transfer(transfer, now_s).await? {
            Some(transfer) if transfer.user != user => return Err(Code::Exists.into()),
            Some(transfer) => transfer,
            None => return Ok(None),
        };
        let ended = self.go_on(branes, begun, now_s).await?;
        Ok(Some(ended).filter(|ended| !ended.as_ref().is_err_and(|code| is_passing(*code))))
    }

    /// Begins a change, after the transfer that was left in this brane has ended.
    /// One that another brane keeps from its end goes on to be on its way.
    async fn begin_transfer(
        &self,
        branes: &dyn Branes,
        owner: UserId,
        brane: BraneId,
        now_s: u64,
    ) -> Result<Work, Denied> {
        let work = self.begin(owner, now_s).await?;
        let Some(left) = self.under_way(&work, brane).await? else { return Ok(work) };
        match self.go_on(branes, left, now_s).await {
            Err(denied) if says_nothing(denied.code) => return Err(denied),
            Ok(_) | Err(_) => {}
        }
        let work = self.begin(owner, now_s).await?;
        match self.under_way(&work, brane).await? {
            None => Ok(work),
            Some(_) => Err(Code::InTransfer.into()),
        }
    }

    /// A user's transfer that is under way in a brane.
    ///
    /// # Errors
    /// `in_transfer` if there is none, but there are enough in others.
    async fn under_way(&self, work: &Work, brane: BraneId) -> Result<Option<Transfer>, Refused> {
        let keys = work.account.under_way.iter().map(|id| (*id).into()).collect();
        for found in self.records().get_many(&TRANSFERS, keys, work.now_s).await? {
            let transfer = match found {
                // Nobody can end what cannot be read, nor has to wait for that.
                Err(StoreError::Damaged { .. }) => continue,
                found => found?.map(|record| record::read(&record)),
            };
            if let Some(Ok(transfer)) = transfer
                && (transfer.brane, transfer.state) == (brane, State::Begun)
            {
                return Ok(Some(transfer));
            }
        }
        match work.account.under_way.len() < MAX_UNDER_WAY {
            true => Ok(None),
            false => Err(Code::InTransfer.into()),
        }
    }

    /// Step 1; false if another change came between.
    async fn keep(&self, mut work: Work, transfer: &Transfer) -> Result<bool, Refused> {
        work.account.under_way.push(transfer.id);
        work.account.transfers += 1;
        let draft = transfer.draft();
        work.write(RecordWrite::create(&TRANSFERS, transfer.id.into(), draft));
        Ok(self.finish(work).await?.is_some())
    }

    /// Steps 2 and 3.
    ///
    /// # Errors
    /// Why it cannot be ended now.
    async fn go_on(
        &self,
        branes: &dyn Branes,
        transfer: Transfer,
        now_s: u64,
    ) -> Result<Ended, Denied> {
        if let State::Ended(ended) = transfer.state {
            return Ok(transfer.moved(ended));
        }
        let things = self.load(&transfer.objects, now_s).await?;
        let refused = match edits::edit(&transfer, &things, &self.limits.values) {
            Ok(edit) => send(branes, &transfer, edit).await?,
            // It cannot be said; it may have been sent when it could.
            Err(refused) if !says_nothing(refused.code) => Some(refused.code),
            Err(refused) => return Err(refused.into()),
        };
        // Who may not write any more may have written.
        let refused = match refused {
            None => None,
            Some(code) => {
                let Transfer { brane, user, edit, epoch, .. } = transfer;
                match branes.settle(brane, user, edit, epoch).await {
                    Ok(true) => None,
                    Ok(false) => Some(code),
                    // There is no such brane, or it is purged, and nothing is in
                    // it: so the things are with their user.
                    Err(denied) if denied.code == Code::NotFound => {
                        transfer.is_out().then_some(code)
                    }
                    Err(denied) => return Err(denied),
                }
            }
        };
        Ok(self.close(transfer, refused, now_s).await?)
    }

    /// Step 3.
    async fn close(
        &self,
        transfer: Transfer,
        refused: Option<Code>,
        now_s: u64,
    ) -> Result<Ended, Refused> {
        let mut attempts = Attempts::new();
        loop {
            let mut work = self.begin(transfer.user, now_s).await?;
            match self.transfer(transfer.id, now_s).await? {
                Some(found) if found.edit == transfer.edit => {
                    if let State::Ended(ended) = found.state {
                        return Ok(transfer.moved(ended));
                    }
                }
                // Somebody else has undone it, and perhaps begun it anew.
                Some(_) | None => return Err(Code::Unavailable.into()),
            }
            let mut scene = Scene::default();
            let things = self.load(&transfer.objects, now_s).await?;
            things.into_iter().flatten().for_each(|stored| scene.read(stored));
            self.read_neighbours(&mut scene, &transfer.objects, now_s).await?;
            for id in &transfer.objects {
                if transfer.is_out() == refused.is_none() {
                    scene.unlink(*id)?;
                } else {
                    scene.get_mut(*id)?.moving = None;
                }
            }
            if transfer.is_out() == refused.is_none() {
                transfer.objects.iter().for_each(|id| scene.remove(*id));
            }
            scene.save(&mut work);
            work.account.under_way.retain(|id| *id != transfer.id);
            work.write(match refused {
                // Asked for again, it is tried again.
                Some(code) if is_passing(code) => {
                    RecordWrite::delete(&TRANSFERS, transfer.id.into(), Expect::Any)
                }
                _ => {
                    let draft = transfer.at_its_end(refused).draft().until(now_s + KEPT_S);
                    RecordWrite::put(&TRANSFERS, transfer.id.into(), draft)
                }
            });
            if self.finish(work).await?.is_some() {
                return Ok(transfer.moved(refused));
            }
            attempts.again()?;
        }
    }

    /// A transfer, as the store has it.
    async fn transfer(&self, id: Uuid, now_s: u64) -> Result<Option<Transfer>, Refused> {
        let found = self.records().get_many(&TRANSFERS, vec![id.into()], now_s).await?.pop();
        found.transpose()?.flatten().map(|record| record::read(&record)).transpose()
    }
}

/// Step 2; the code with which the brane refuses it.
async fn send(
    branes: &dyn Branes,
    transfer: &Transfer,
    edit: Edit,
) -> Result<Option<Code>, Denied> {
    let EditId { client, counter } = transfer.edit;
    let edits = vec![NumberedEdit { counter, edit }];
    let request = WriteRequest { client, known: false, edits, trace: TraceId::new(transfer.id) };
    let (claims, only_if) = (transfer.claims(), transfer.only_if());
    match branes.write_if(transfer.brane, &claims, request, only_if).await {
        Ok(written) => match written.outcomes.first() {
            Some((_, Ok(_))) => Ok(None),
            Some((_, Err(refusal))) => Ok(Some(refusal.code)),
            None => Err(Code::Unavailable.into()),
        },
        Err(denied) if says_nothing(denied.code) => Err(denied),
        Err(denied) => Ok(Some(denied.code)),
    }
}

impl Transfer {
    /// What came of it.
    fn moved(&self, refused: Option<Code>) -> Ended {
        match refused {
            None => Ok(Moved { brane: self.brane, objects: self.objects.clone() }),
            Some(code) => Err(code),
        }
    }

    fn only_if(&self) -> OnlyIf {
        let objects = match &self.way {
            Way::Out { .. } => Vec::new(),
            Way::In { from } => from.iter().map(|(_, handle, digest)| (*handle, *digest)).collect(),
        };
        OnlyIf { epoch: self.epoch, objects }
    }

    const fn is_out(&self) -> bool {
        matches!(self.way, Way::Out { .. })
    }
}

/// Whether a failure says nothing of what became of an edit, or only that it has
/// to be asked for elsewhere or later.
const fn says_nothing(code: Code) -> bool {
    use Code::{Damaged, Internal, Moved, Timeout, Unavailable};
    matches!(code, Moved | Unavailable | Timeout | Internal | Damaged)
}

/// Whether what is refused for this may be taken a moment later, under another
/// number.
const fn is_passing(code: Code) -> bool {
    use Code::{BraneFull, OutcomeUnknown, RateLimited};
    says_nothing(code) || matches!(code, BraneFull | RateLimited | OutcomeUnknown)
}
