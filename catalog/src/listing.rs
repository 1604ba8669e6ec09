//! Reading what somebody has, and the versions of one thing.

use std::sync::Arc;

use avvy_model::{Code, UserId};
use avvy_persistence::records::{Cursor, IndexKey, KeyRange, Query, Record, RecordPage};
use uuid::Uuid;

use crate::account::{ACCOUNTS, Account, Usage};
use crate::thing::{Kind, THINGS, Thing, outline};
use crate::work::{Stored, stored};
use crate::{Catalog, Refused};

/// The most things of a page.
pub const MAX_PAGE_THINGS: u32 = 200;

/// A page of things.
#[derive(Clone, PartialEq, Debug)]
pub struct ThingPage {
    /// In their order.
    pub things: Vec<Stored>,
    /// Where the next page begins; `None`: nothing follows.
    pub next: Option<Cursor>,
}

/// A thing that somebody may see. What they see of it is the same for all who
/// do not own it, as long as its version is.
#[derive(Clone, Debug)]
pub struct Sight {
    /// The thing's id.
    pub id: Uuid,
    kind: Kind,
    /// Whether it is the one's who sees it.
    pub is_own: bool,
    record: Arc<Record>,
}

impl Sight {
    /// The same, if it is an object.
    ///
    /// # Errors
    /// `not_found` if it is a prototype.
    pub fn object(self) -> Result<Self, Refused> {
        if self.kind == Kind::Prototype { Err(Code::NotFound.into()) } else { Ok(self) }
    }

    /// The same, if it is a prototype.
    ///
    /// # Errors
    /// `not_found` if it is an object.
    pub fn prototype(self) -> Result<Self, Refused> {
        if self.kind == Kind::Prototype { Ok(self) } else { Err(Code::NotFound.into()) }
    }

    /// Fit for an entity tag.
    pub fn version(&self) -> u64 {
        self.record.version
    }

    /// All of it.
    ///
    /// # Errors
    /// `damaged` if the record cannot be read.
    pub fn stored(&self) -> Result<Stored, Refused> {
        stored(Arc::clone(&self.record))
    }
}

impl Catalog {
    /// What is in a user's inventory and in no group there, the newest first.
    ///
    /// # Errors
    /// What a store's failure amounts to.
    pub async fn inventory(
        &self,
        owner: UserId,
        kind: Option<Kind>,
        after: Option<Cursor>,
        limit: u32,
        now_s: u64,
    ) -> Result<ThingPage, Refused> {
        let key = IndexKey::new().uuid(owner.uuid()).text(kind.map_or("", Kind::name));
        let query = Query::new("by_inventory", KeyRange::prefix(key)).descending();
        self.page(query.after(after).limit(limit.min(MAX_PAGE_THINGS)), now_s).await
    }

    /// The versions of a thing that this user may see, the oldest first.
    ///
    /// # Errors
    /// `not_found` if the user does not see the one that is asked about.
    pub async fn versions(
        &self,
        id: Uuid,
        user: UserId,
        after: Option<Cursor>,
        limit: u32,
        now_s: u64,
    ) -> Result<ThingPage, Refused> {
        let asked = self.thing(id, user, now_s).await?.thing;
        let key = IndexKey::new().uuid(asked.chain.origin);
        let query = Query::new("by_chain", KeyRange::prefix(key));
        let mut page =
            self.page(query.after(after).limit(limit.min(MAX_PAGE_THINGS)), now_s).await?;
        page.things.retain(|stored| stored.thing.is_seen_by(user));
        Ok(page)
    }

    /// What a user has, as it is counted.
    ///
    /// # Errors
    /// What a store's failure amounts to.
    pub async fn usage(&self, owner: UserId, now_s: u64) -> Result<Usage, Refused> {
        let record = self.records().get(&ACCOUNTS, owner.uuid().into(), now_s).await?;
        Ok(record.map(|record| Account::read(&record).usage).unwrap_or_default())
    }

    /// The same, counted anew from all that is there.
    ///
    /// # Errors
    /// What a store's failure amounts to.
    pub async fn recount(&self, owner: UserId, now_s: u64) -> Result<Usage, Refused> {
        let key = IndexKey::new().uuid(owner.uuid());
        let (mut usage, mut after) = (Usage::default(), None);
        loop {
            let query = Query::new("by_owner", KeyRange::prefix(key.clone())).after(after);
            let page = self.page(query, now_s).await?;
            let sum = |sum: Usage, stored: &Stored| sum.plus(Usage::of(&stored.thing));
            usage = page.things.iter().fold(usage, sum);
            after = page.next;
            if after.is_none() {
                return Ok(usage);
            }
        }
    }

    /// A thing that a user may see, perhaps as it was a moment ago.
    pub async fn thing(&self, id: Uuid, user: UserId, now_s: u64) -> Result<Stored, Refused> {
        self.sight(id, user, now_s).await?.stored()
    }

    /// The same, before anything of it is read but who may see it.
    pub async fn sight(&self, id: Uuid, user: UserId, now_s: u64) -> Result<Sight, Refused> {
        let record = self.records().get(&THINGS, id.into(), now_s).await?;
        let record = record.ok_or(Code::NotFound)?;
        let outline = outline(&record)?;
        if !outline.is_seen_by(user) {
            return Err(Code::NotFound.into());
        }
        Ok(Sight { id, kind: outline.kind, is_own: outline.owner == user, record })
    }

    /// What was written or, if nothing was, what is there.
    pub(crate) async fn stored_or_read(
        &self,
        stored: Stored,
        now_s: u64,
    ) -> Result<Stored, Refused> {
        match stored.version {
            0 => self.load_one(stored.thing.id, now_s).await,
            _ => Ok(stored),
        }
    }

    pub(crate) async fn page(&self, query: Query, now_s: u64) -> Result<ThingPage, Refused> {
        let RecordPage { found, next } = self.records().list(&THINGS, query, now_s).await?;
        let things = found.into_iter().map(|listed| stored(listed.record));
        Ok(ThingPage { things: things.collect::<Result<_, _>>()?, next })
    }
}

impl Thing {
    /// The version after this one, as far as this user may see it.
    pub fn next_for(&self, user: UserId) -> Option<Uuid> {
        self.chain.next.filter(|_| self.owner == user || self.is_outdated)
    }
}
