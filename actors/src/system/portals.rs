//! Portals: which there are in a brane, and where one leads now.

use avvy_auth::Claims;
use avvy_model::{BraneId, Code, Handle, Object, ObjectId, Portal, Transform};
use avvy_persistence::{BraneRecord, Life};

use super::{System, principal, store_code};
use crate::brane::{BraneMsg, Locate, Portals, Question};
use crate::{Denied, clock};

/// Archived branes that are passed on the way to where a portal leads.
const MAX_SUCCESSIONS: usize = 4;

/// An object with its place in the brane.
#[derive(Clone, Debug)]
pub struct Located {
    /// Its handle.
    pub handle: Handle,
    /// The object.
    pub object: Object,
    /// How it stands in the brane; `None` where that is farther out than can be
    /// said.
    pub place: Option<Transform>,
}

/// Where a portal leads now, as far as somebody may know.
#[derive(Clone, Debug)]
pub enum Way {
    /// Into this brane.
    Open {
        /// The one that the portal names, or what has succeeded it.
        brane: BraneId,
        /// The object at which one arrives, if it is there.
        exit: Option<Box<Located>>,
        /// Whether that is a portal which leads back to this one.
        is_two_way: bool,
    },
    /// To a brane that was archived, and that nothing has succeeded.
    Archived(BraneId),
    /// Into a brane of another node of the fleet, at this URL, of which this
    /// user may know: only that node can say more.
    Elsewhere {
        /// The brane.
        brane: BraneId,
        /// The node.
        address: String,
    },
    /// Nowhere: there is no such brane, or not for this user to know.
    Closed(BraneId),
}

impl System {
    /// At most so many portals of a brane, ascending by handle, those after
    /// `after`.
    ///
    /// # Errors
    /// As [`Self::view`].
    pub async fn portals(
        &self,
        brane: BraneId,
        claims: &Claims,
        after: Option<Handle>,
        max: usize,
    ) -> Result<Vec<Located>, Denied> {
        let handle = self.brane_handle(brane).await?;
        let principal = principal(&handle.record, claims);
        let listing = |reply| Question::Portals(Portals { principal, after, max, reply });
        Ok(self.ask(&handle.actor, |reply| BraneMsg::Ask(listing(reply))).await??)
    }

    /// An object of a brane.
    ///
    /// # Errors
    /// As [`Self::view`]; `object_not_found`.
    pub async fn locate(
        &self,
        brane: BraneId,
        claims: &Claims,
        object: ObjectId,
    ) -> Result<Located, Denied> {
        let handle = self.brane_handle(brane).await?;
        let principal = principal(&handle.record, claims);
        let locate = |reply| Question::Locate(Locate { principal, object, reply });
        Ok(self.ask(&handle.actor, |reply| BraneMsg::Ask(locate(reply))).await??)
    }

    /// Where a portal of a brane leads now for this user.
    ///
    /// # Errors
    /// As [`Self::locate`], of the brane that the portal is in;
    /// `object_not_found` also for what is no portal. `unavailable`, `timeout`
    /// or `damaged` of the brane where it leads.
    pub async fn way(
        &self,
        brane: BraneId,
        claims: &Claims,
        object: ObjectId,
    ) -> Result<Way, Denied> {
        let through = self.locate(brane, claims, object).await?;
        let root = ObjectId::new(brane.uuid());
        let portal = Portal::of(&through.object.props).filter(|_| object != root);
        let portal = portal.ok_or(Code::ObjectNotFound)?;
        let closed = Way::Closed(portal.to);
        let Some(record) = self.successor(portal.to).await? else { return Ok(closed) };
        match record.life {
            Life::Active => self.arrival(&record, claims, portal, (brane, object)).await,
            Life::Archived { .. } if principal(&record, claims).invited => {
                Ok(Way::Archived(record.id))
            }
            _ => Ok(closed),
        }
    }

    /// The record of a brane, or of what has succeeded it: the last in a row.
    async fn successor(&self, brane: BraneId) -> Result<Option<BraneRecord>, Code> {
        let mut seen = vec![brane];
        loop {
            let Some(at) = seen.last() else { return Ok(None) };
            let record = match self.inner.store.brane(*at).await.map_err(store_code) {
                Ok(record) => record,
                Err(Code::NotFound) => return Ok(None),
                Err(code) => return Err(code),
            };
            match record.life {
                Life::Archived { successor: Some(next), .. }
                    if !seen.contains(&next) && seen.len() <= MAX_SUCCESSIONS =>
                {
                    seen.push(next);
                }
                _ => return Ok(Some(record)),
            }
        }
    }

    async fn arrival(
        &self,
        record: &BraneRecord,
        claims: &Claims,
        portal: Portal,
        (from, through): (BraneId, ObjectId),
    ) -> Result<Way, Denied> {
        // Whether or not there is an exit, the brane says who may come.
        let root = ObjectId::new(record.id.uuid());
        let exit = match self.locate(record.id, claims, portal.exit.unwrap_or(root)).await {
            Ok(exit) => portal.exit.map(|_| Box::new(exit)),
            Err(denied) => match denied.code {
                Code::ObjectNotFound => None,
                Code::NotFound | Code::Banned => return Ok(Way::Closed(portal.to)),
                Code::Moved => {
                    let address = denied.address.unwrap_or_default();
                    return Ok(match self.may_know_of(record, claims).await? {
                        true => Way::Elsewhere { brane: record.id, address },
                        false => Way::Closed(portal.to),
                    });
                }
                _ => return Err(denied),
            },
        };
        let back = exit.as_ref().and_then(|exit| Portal::of(&exit.object.props));
        let is_two_way = back.is_some_and(|back| back.leads_back(from, through));
        Ok(Way::Open { brane: record.id, exit, is_two_way })
    }

    /// Whether somebody may know of a brane that another node has open. Its
    /// rights are there; here is what the chronicle was told of them.
    async fn may_know_of(&self, record: &BraneRecord, claims: &Claims) -> Result<bool, Code> {
        if principal(record, claims).invited {
            return Ok(true);
        }
        let Some(chronicle) = self.inner.chronicle.get() else { return Ok(false) };
        chronicle.is_member(claims.user, record.id, clock::unix_ms()).await
    }
}
