//! A fleet: leases on the database's clock.
//!
//! A node's lease is in its own document of `nodes`, and each brane's document
//! says which node holds it. Whoever takes a brane from a node whose lease is
//! over writes that node's document in the same transaction: so it conflicts
//! with a renewal, and either the renewal came before, and nothing is taken, or
//! it sees that the lease had lapsed, and what was taken.
//!
//! All times are `$$NOW`, that of the primary. No time of a node's is compared
//! with one of another's.

use std::sync::{Mutex, PoisonError};

use avvy_model::{BraneId, Epoch, NodeId};
use mongodb::ClientSession;
use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::options::ReturnDocument;

use super::MongoStore;
use super::fault::{self, Failure};
use super::link::{LONG_IDLE, Link, Query, Work};
use super::rows::{self, BRANES, HOLDER, Head, NODES, TARGET, damaged, number};
use super::writes::length;
use crate::error::{Place, StoreError};
use crate::fleet::{
    Fleet, Holder, Holding, MAX_ADDRESS_BYTES, Node, NodeStatus, Renewed, Wish, no_member,
};
use crate::hold::Hold;
use crate::share::Share;
use crate::store::BoxFuture;

/// How long a node is known after its lease was over, in milliseconds. What it
/// held is taken also when it is not known any more.
const KNOWN_FOR_MS: i64 = 3_600_000;

/// What a store is in a fleet.
pub(super) struct Member {
    node: Node,
    lease_ms: i64,
    /// When the lease was last found to have lapsed, as far as it was told.
    told: Mutex<Option<DateTime>>,
}

impl Member {
    pub(super) fn new(node: Node, lease_ms: u64) -> Self {
        let lease_ms = i64::try_from(lease_ms).unwrap_or(i64::MAX);
        Self { node, lease_ms, told: Mutex::new(None) }
    }

    pub(super) const fn node(&self) -> &Node {
        &self.node
    }

    fn key(&self) -> String {
        self.node.id.to_string()
    }

    /// Whether a lapse was found that was not told yet. The field stays in the
    /// document, so no answer that is lost hides it.
    fn tell(&self, lapsed: Option<DateTime>) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *told, lapsed) != lapsed
    }

    /// The document of the node with a new lease. `others` are further fields.
    fn renewal(&self, others: Document) -> Document {
        let mut fields = doc! {
            "address": {"$literal": &self.node.address},
            "started": {"$ifNull": ["$started", "$$NOW"]},
            "draining": {"$ifNull": ["$draining", false]},
            "expires": {"$add": ["$$NOW", self.lease_ms]},
        };
        fields.extend(others);
        doc! {"$set": fields}
    }
}

/// How long a lease lasts, below zero if it is over; as an expression.
fn remaining() -> Document {
    doc! {"$subtract": ["$expires", "$$NOW"]}
}

/// The fields by which a node is known.
fn status_of(found: &Document) -> Result<NodeStatus, StoreError> {
    let place = || Place::File(format!("{NODES}, {:?}", found.get("_id")));
    let read = || {
        let id = rows::text(found, "_id")?.parse().map_err(|_| "its key is no id".to_owned())?;
        let address = rows::text(found, "address")?.to_owned();
        let remaining = number(found, "remaining")?.cast_signed();
        Ok(NodeStatus {
            node: Node { id, address },
            remaining_ms: u64::try_from(remaining).unwrap_or(0),
            draining: found.get_bool("draining").unwrap_or(false),
            branes: 0,
        })
    };
    read().map_err(|why: String| damaged(place(), why))
}

/// The nodes that `filter` finds, by their ids.
async fn statuses(
    link: &Link,
    session: &mut ClientSession,
    filter: Document,
) -> Result<Vec<NodeStatus>, Failure> {
    let fields = doc! {"address": 1, "draining": 1, "remaining": remaining()};
    // One that was never more than a name has not started.
    let known = doc! {"$and": [filter, {"started": {"$exists": true}}]};
    let stages = [doc! {"$match": known}, doc! {"$sort": {"_id": 1}}, doc! {"$project": fields}];
    let mut found = link.collection(NODES).aggregate(stages).session(&mut *session).await?;
    let mut statuses = Vec::new();
    while let Some(next) = found.next(session).await {
        statuses.push(status_of(&next?)?);
    }
    Ok(statuses)
}

/// A brane's head and who holds it, as this session sees them.
pub(super) async fn head_and_hold(
    link: &Link,
    session: &mut ClientSession,
    brane: BraneId,
) -> Result<(Head, Hold), Failure> {
    let mut fields = Head::fields();
    fields.extend(doc! {HOLDER: 1, "coming": 1, "handed": 1});
    let filter = doc! {"_id": brane.to_string()};
    let query = Query { filter, fields, limit: 1, ..Query::default() };
    let found = link.find(session, BRANES, query).await?;
    let found = found.first().ok_or(StoreError::UnknownBrane(brane))?;
    Ok((Head::read(found, brane)?, rows::hold(found, brane)?))
}

/// Who holds a brane.
pub(super) async fn hold(link: &Link, brane: BraneId) -> Result<Hold, StoreError> {
    link.in_session(async |session| Ok(head_and_hold(link, session, brane).await?.1)).await
}

/// Sees that a holder's lease is over, and writes its document, so that it is
/// not renewed at the same time.
pub(super) async fn outlive(
    link: &Link,
    session: &mut ClientSession,
    holder: NodeId,
) -> Result<(), Failure> {
    let key = holder.to_string();
    let over = doc! {"_id": &key, "$expr": {"$lte": ["$expires", "$$NOW"]}};
    let taken = (over, doc! {"$inc": {"taken": 1_i64}});
    if link.update(session, NODES, vec![taken]).await? {
        return Ok(());
    }
    match statuses(link, session, doc! {"_id": &key}).await?.into_iter().next() {
        Some(status) => {
            // It may have ended since, which the next attempt finds.
            let remaining_ms = status.remaining_ms.max(1);
            Err(StoreError::Held { address: status.node.address, remaining_ms }.into())
        }
        None => {
            // Nothing is known of it, and now there is something to write.
            let name = doc! {"_id": key, "expires": DateTime::from_millis(0), "taken": 1_i64};
            match link.collection(NODES).insert_one(name).session(session).await {
                Err(error) if fault::is_duplicate(&error) => Err(Failure::Again),
                other => Ok(other.map(drop)?),
            }
        }
    }
}

/// What a node wants of a brane.
struct Wishing {
    brane: BraneId,
    node: NodeId,
    wish: Wish,
}

impl Work for Wishing {
    type Answer = bool;

    async fn run(&self, link: &Link, session: &mut ClientSession) -> Result<bool, Failure> {
        let Self { brane, node, wish } = self;
        let (head, old) = head_and_hold(link, session, *brane).await?;
        let mut new = old;
        let answer = new.fulfil(*node, head.epoch, *wish)?;
        if new != old {
            // Others that write the document now conflict with this.
            let filter = doc! {"_id": brane.to_string()};
            let statement = (filter, rows::hold_change(&new, Document::new()));
            if !link.update(session, BRANES, vec![statement]).await? {
                return Err(Failure::Again);
            }
        }
        Ok(answer)
    }
}

impl MongoStore {
    fn member(&self) -> Result<&Member, StoreError> {
        self.member.as_ref().ok_or(no_member())
    }

    /// Writes the node's document, also while a process that died holds it.
    async fn put_node(&self, change: Document) -> Result<Document, StoreError> {
        let link = &self.link;
        let key = doc! {"_id": self.member()?.key()};
        link.writes().command(1, length(&key) + length(&change));
        link.in_session(async |session| {
            loop {
                let nodes = link.collection(NODES);
                let put = nodes.find_one_and_update(key.clone(), vec![change.clone()]);
                let put = put.upsert(true).return_document(ReturnDocument::After);
                match put.max_time(LONG_IDLE).session(&mut *session).await.map_err(Failure::from) {
                    Ok(found) => return Ok(found.unwrap_or_default()),
                    Err(failure) if fault::is_too_late(&failure) => link.reap().await?,
                    Err(failure) => return Err(failure),
                }
            }
        })
        .await
    }

    async fn enter_fleet(&self) -> Result<(), StoreError> {
        let member = self.member()?;
        if member.node.address.len() > MAX_ADDRESS_BYTES {
            return Err(StoreError::Invalid("the address is too long"));
        }
        let fresh = doc! {"started": "$$NOW", "draining": false, "lapsed": "$$REMOVE"};
        self.put_node(member.renewal(fresh)).await?;
        member.tell(None);
        // Those who come clear away what those who died have left.
        let link = &self.link;
        link.in_session(async |session| {
            let long_ago = doc! {"$subtract": ["$$NOW", KNOWN_FOR_MS]};
            let gone = doc! {"$expr": {"$lt": ["$expires", long_ago]}};
            Ok(link.collection(NODES).delete_many(gone).session(session).await.map(drop)?)
        })
        .await
    }

    async fn renew_lease(&self, held: &[Holding]) -> Result<Renewed, StoreError> {
        let member = self.member()?;
        // A lease that is missing is over: nothing is before everything.
        let is_over = doc! {"$lte": ["$expires", "$$NOW"]};
        let lapsed = doc! {"lapsed": {"$cond": [is_over, "$$NOW", "$lapsed"]}};
        let put = self.put_node(member.renewal(lapsed)).await?;
        // After it: what was taken before is seen, and nothing is taken now.
        let (lost, offered) = self.branes_of(member, held).await?;
        let lapsed = member.tell(put.get_datetime("lapsed").ok().copied());
        Ok(Renewed { lapsed, lost, offered })
    }

    /// Which of these branes are not the node's, and which are offered to it.
    async fn branes_of(
        &self,
        member: &Member,
        held: &[Holding],
    ) -> Result<(Vec<BraneId>, Vec<BraneId>), StoreError> {
        let key = member.key();
        let ids: Vec<String> = held.iter().map(|held| held.brane.to_string()).collect();
        let mine = doc! {"_id": {"$in": ids}, HOLDER: &key};
        let filter = doc! {"$or": [mine, {TARGET: &key}]};
        let fields = doc! {"epoch": 1, HOLDER: 1, TARGET: 1};
        let found = self.link.many(BRANES, Query { filter, fields, ..Query::default() }).await?;
        let (mut mine, mut offered) = (Vec::new(), Vec::new());
        for found in found {
            let Some(brane) = rows::text(&found, "_id").ok().and_then(|id| id.parse().ok()) else {
                continue;
            };
            let is_me = |id: Option<&str>| id == Some(key.as_str());
            if is_me(found.get_str(HOLDER).ok()) {
                let epoch = Epoch(number(&found, "epoch").unwrap_or_default());
                mine.push(Holding { brane, epoch });
            }
            let coming = found.get_document("coming").ok();
            if is_me(coming.and_then(|coming| coming.get_str("to").ok())) {
                offered.push(brane);
            }
        }
        mine.sort_unstable();
        offered.sort_unstable();
        let lost = held.iter().filter(|held| mine.binary_search(held).is_err());
        let mut lost: Vec<BraneId> = lost.map(|held| held.brane).collect();
        lost.sort_unstable();
        lost.dedup();
        Ok((lost, offered))
    }

    async fn leave_fleet(&self) -> Result<(), StoreError> {
        let (key, link) = (self.member()?.key(), &self.link);
        link.in_session(async |session| {
            // First: what a node that is not known holds can be taken as well,
            // but costs more.
            let free = doc! {"$unset": {HOLDER: "", "coming": ""}};
            let (branes, nodes) = (link.collection(BRANES), link.collection(NODES));
            branes.update_many(doc! {HOLDER: &key}, free).session(&mut *session).await?;
            Ok(nodes.delete_one(doc! {"_id": key}).session(session).await.map(drop)?)
        })
        .await
    }

    async fn all_nodes(&self) -> Result<Vec<NodeStatus>, StoreError> {
        self.member()?;
        let link = &self.link;
        link.in_session(async |session| {
            let mut nodes = statuses(link, session, Document::new()).await?;
            let stages = [
                doc! {"$match": {HOLDER: {"$gt": ""}}},
                doc! {"$group": {"_id": format!("${HOLDER}"), "count": {"$sum": 1_i64}}},
            ];
            let branes = link.collection(BRANES);
            let mut found = branes.aggregate(stages).session(&mut *session).await?;
            while let Some(next) = found.next(session).await {
                let next = next?;
                let id = rows::text(&next, "_id").ok().and_then(|id| id.parse::<NodeId>().ok());
                if let Some(node) = nodes.iter_mut().find(|node| Some(node.node.id) == id) {
                    node.branes = number(&next, "count").unwrap_or_default();
                }
            }
            Ok(nodes)
        })
        .await
    }

    /// The part of the branes that is this node's to see to; `None`: all, as
    /// this is no fleet.
    pub(super) async fn share(&self) -> Result<Option<Share>, StoreError> {
        let (link, Some(member)) = (&self.link, &self.member) else { return Ok(None) };
        link.in_session(async |session| {
            let live = doc! {"$expr": {"$gt": ["$expires", "$$NOW"]}};
            let living = statuses(link, session, live).await?;
            let living = living.into_iter().map(|status| status.node.id);
            Ok(Some(Share::new(member.node.id, living)))
        })
        .await
    }

    async fn find_holder(&self, brane: BraneId) -> Result<Option<Holder>, StoreError> {
        let link = &self.link;
        self.member()?;
        link.in_session(async |session| {
            let (head, hold) = head_and_hold(link, session, brane).await?;
            let Some(id) = hold.holder else { return Ok(None) };
            let known = statuses(link, session, doc! {"_id": id.to_string()}).await?;
            let (node, remaining_ms) = match known.into_iter().next() {
                Some(status) => (status.node, status.remaining_ms),
                None => (Node { id, address: String::new() }, 0),
            };
            Ok(Some(Holder { node, remaining_ms, epoch: head.epoch }))
        })
        .await
    }
}

impl Fleet for MongoStore {
    fn node(&self) -> Option<&Node> {
        self.member.as_ref().map(Member::node)
    }

    fn enter(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.enter_fleet())
    }

    fn renew(&self, held: Vec<Holding>) -> BoxFuture<'_, Result<Renewed, StoreError>> {
        Box::pin(async move { self.renew_lease(&held).await })
    }

    fn leave(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.leave_fleet())
    }

    fn succeed(&self, before: NodeId) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.member()?;
            let filter = doc! {"_id": before.to_string()};
            let over = vec![doc! {"$set": {"expires": {"$min": ["$expires", "$$NOW"]}}}];
            let nodes = self.link.collection(NODES);
            let put = async |session: &mut ClientSession| {
                Ok(nodes.update_one(filter, over).session(session).await.map(drop)?)
            };
            self.link.in_session(put).await
        })
    }

    fn set_draining(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let filter = doc! {"_id": self.member()?.key()};
            let change = doc! {"$set": {"draining": Bson::Boolean(true)}};
            let nodes = self.link.collection(NODES);
            let put = async |session: &mut ClientSession| {
                Ok(nodes.update_one(filter, change).session(session).await.map(drop)?)
            };
            self.link.in_session(put).await
        })
    }

    fn nodes(&self) -> BoxFuture<'_, Result<Vec<NodeStatus>, StoreError>> {
        Box::pin(self.all_nodes())
    }

    fn holder(&self, brane: BraneId) -> BoxFuture<'_, Result<Option<Holder>, StoreError>> {
        Box::pin(self.find_holder(brane))
    }

    fn wish(&self, brane: BraneId, wish: Wish) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move {
            let node = self.member()?.node.id;
            self.link.transact(&Wishing { brane, node, wish }).await
        })
    }
}
