//! The chronicle of rights: the rulings of every brane, and from them who is at
//! home in which branes.
//!
//! It follows the branes, whose journals are the truth. A ruling is told to it
//! when it is durable, so a moment later than it takes effect. One record of
//! each brane says how far it was followed, and is part of every commit: of two
//! nodes that tell the same at once one does, and nothing older comes later.

use std::collections::BTreeMap;

use avvy_actors::{Chronicle, RulingRecord, Rulings};
use avvy_model::{BraneId, Code, Ruled, Seq, Standing, UserId};
use avvy_persistence::records::{
    Collection, Cursor, Draft, Expect, Fields, Index, IndexKey, KeyRange, MAX_WRITES, Query,
    Record, RecordKey, RecordWrite,
};
use avvy_persistence::{BoxFuture, BraneCursor, BraneRecord};
use bytes::Bytes;
use uuid::Uuid;

use crate::{Catalog, Refused};

/// Rulings. Key: brane and place in its log.
static RULINGS: Collection = Collection {
    name: "rulings",
    // (brane, place in the log)
    indexes: &[Index::plain("by_brane")],
};

/// Who has a role in which brane. Key: user and brane.
static MEMBERS: Collection = Collection {
    name: "members",
    // (user, when the brane was created, brane), (brane)
    indexes: &[Index::plain("by_user"), Index::plain("by_brane")],
};

/// How far a brane was followed. Key: the brane.
static FOLLOWED: Collection = Collection { name: "followed_rulings", indexes: &[] };

/// Rulings of one commit; each may write a member and drop an old ruling.
const AT_A_TIME: usize = MAX_WRITES / 4;

/// The rulings of a brane that are kept; beyond, the oldest are dropped.
pub const MAX_RULINGS: u64 = 10_000;

/// The most rulings of a page.
pub const MAX_PAGE_RULINGS: u32 = 200;

/// A page of rulings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RulingPage {
    /// The newest first.
    pub rulings: Vec<RulingRecord>,
    /// Where the next page begins; `None`: nothing follows.
    pub next: Option<Cursor>,
}

/// A user with a role in a brane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Member {
    user: UserId,
    /// The brane, and its place in listings.
    brane: BraneCursor,
    /// Until when the user is kept out, in Unix milliseconds; 0: not at all,
    /// `u64::MAX`: without an end.
    banned_until_ms: u64,
}

/// How far a brane was followed.
#[derive(Clone, Copy, Default, Debug)]
struct Followed {
    /// The version of the record; 0: there is none.
    version: u64,
    /// Everything up to here is kept, or was.
    seq: Seq,
    /// How many are kept.
    count: u64,
}

impl Catalog {
    /// The rulings of a brane, the newest first.
    ///
    /// # Errors
    /// What a store's failure amounts to.
    pub async fn rulings(
        &self,
        brane: BraneId,
        after: Option<Cursor>,
        limit: u32,
        now_s: u64,
    ) -> Result<RulingPage, Refused> {
        let limit = limit.min(MAX_PAGE_RULINGS);
        let query = Query::new("by_brane", of_brane(brane)).descending().after(after).limit(limit);
        let page = self.records().list(&RULINGS, query, now_s).await?;
        let rulings = page.found.iter().map(|listed| read_ruling(&listed.record));
        Ok(RulingPage { rulings: rulings.collect::<Result<_, _>>()?, next: page.next })
    }

    /// Branes in which a user has a role and from which they are not banned,
    /// oldest brane first, after a place in that order. The store has the last
    /// word on what becomes of branes.
    ///
    /// # Errors
    /// What a store's failure amounts to.
    pub async fn memberships(
        &self,
        user: UserId,
        after: Option<BraneCursor>,
        limit: u32,
        now_ms: u64,
    ) -> Result<Vec<BraneCursor>, Refused> {
        let mut range = KeyRange::prefix(IndexKey::new().uuid(user.uuid()));
        if let Some(after) = after {
            // No key begins with another one.
            range.from = KeyRange::exactly(by_user(user, after)).to.unwrap_or(range.from);
        }
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let left = limit.saturating_sub(found.len() as u32);
            let query = Query::new("by_user", range.clone()).after(after).limit(left);
            let page = self.records().list(&MEMBERS, query, now_ms / 1_000).await?;
            for listed in page.found {
                let member = Member::read(&listed.record)?;
                found.extend((member.banned_until_ms <= now_ms).then_some(member.brane));
            }
            after = page.next;
            if after.is_none() || found.len() >= limit as usize {
                return Ok(found);
            }
        }
    }

    /// Forgets the rulings of a brane that is no more.
    ///
    /// # Errors
    /// What a store's failure amounts to; then some are forgotten.
    pub async fn forget_rulings(&self, brane: BraneId, now_s: u64) -> Result<(), Refused> {
        for of in [&RULINGS, &MEMBERS] {
            loop {
                let gone = self.oldest(of, brane, MAX_WRITES as u64, now_s).await?;
                if gone.is_empty() {
                    break;
                }
                self.commit(gone, now_s).await?;
            }
        }
        let followed = RecordWrite::delete(&FOLLOWED, brane.uuid().into(), Expect::Any);
        self.commit(vec![followed], now_s).await?;
        Ok(())
    }

    async fn keep_rulings(&self, Rulings { record, made }: Rulings) -> Result<(), Refused> {
        let now_s = made.last().map_or(0, |ruling| ruling.at_ms / 1_000);
        let mut followed = self.followed(record.id, now_s).await?;
        let lacking: Vec<_> = made.into_iter().filter(|it| it.seq > followed.seq).collect();
        for rulings in lacking.chunks(AT_A_TIME) {
            followed.seq = rulings.last().map_or(followed.seq, |last| last.seq);
            followed.count += rulings.len() as u64;
            let surplus = followed.count.saturating_sub(MAX_RULINGS);
            let mut writes = match surplus {
                0 => Vec::new(),
                _ => self.oldest(&RULINGS, record.id, surplus, now_s).await?,
            };
            followed.count -= writes.len() as u64;
            writes.extend(rulings.iter().map(|ruling| write_ruling(record.id, ruling)));
            writes.extend(member_writes(&record, rulings));
            writes.push(followed.write(record.id));
            // Somebody else was at it; the brane tells what is lacking again.
            let done = self.commit(writes, now_s).await?.ok_or(Code::Unavailable)?;
            followed.version = done.versions.last().copied().unwrap_or_default();
        }
        Ok(())
    }

    async fn followed(&self, brane: BraneId, now_s: u64) -> Result<Followed, Refused> {
        let keys = vec![brane.uuid().into()];
        let there = self.records().get_many(&FOLLOWED, keys, now_s).await?.pop();
        let Some(record) = there.transpose()?.flatten() else { return Ok(Followed::default()) };
        let number = |name| record.body.int(name).map(i64::cast_unsigned);
        let (Some(seq), Some(count)) = (number("seq"), number("count")) else {
            return Err(Code::Damaged.into());
        };
        Ok(Followed { version: record.version, seq: Seq(seq), count })
    }

    /// As the store has it: who was let go is told nothing more.
    async fn member(
        &self,
        user: UserId,
        brane: BraneId,
        now_s: u64,
    ) -> Result<Option<Member>, Refused> {
        let keys = vec![member_key(user, brane)];
        let there = self.records().get_many(&MEMBERS, keys, now_s).await?.pop();
        there.transpose()?.flatten().map(|record| Member::read(&record)).transpose()
    }

    /// Drops the first of a brane's records, so many at most.
    async fn oldest(
        &self,
        of: &'static Collection,
        brane: BraneId,
        most: u64,
        now_s: u64,
    ) -> Result<Vec<RecordWrite>, Refused> {
        let limit = most.min(MAX_WRITES as u64) as u32;
        let query = Query::new("by_brane", of_brane(brane)).limit(limit);
        let page = self.records().list(of, query, now_s).await?;
        let drop = |key: RecordKey| RecordWrite::delete(of, key, Expect::Any);
        Ok(page.found.into_iter().map(|listed| drop(listed.record.key.clone())).collect())
    }
}

impl Chronicle for Catalog {
    fn keep(&self, rulings: Rulings) -> BoxFuture<'_, Result<(), Code>> {
        Box::pin(async move { self.keep_rulings(rulings).await.map_err(|refused| refused.code) })
    }

    fn is_member(
        &self,
        user: UserId,
        brane: BraneId,
        now_ms: u64,
    ) -> BoxFuture<'_, Result<bool, Code>> {
        Box::pin(async move {
            let member = self.member(user, brane, now_ms / 1_000).await;
            let member = member.map_err(|refused| refused.code)?;
            Ok(member.is_some_and(|member| member.banned_until_ms <= now_ms))
        })
    }
}

fn of_brane(brane: BraneId) -> KeyRange {
    KeyRange::prefix(IndexKey::new().uuid(brane.uuid()))
}

fn by_user(user: UserId, brane: BraneCursor) -> IndexKey {
    IndexKey::new().uuid(user.uuid()).number(brane.created_ms).uuid(brane.id.uuid())
}

/// A key of two parts; 32 bytes at most, so there is one.
fn pair(first: Uuid, second: &[u8]) -> RecordKey {
    RecordKey::hex(&[first.as_bytes(), second].concat()).unwrap_or_else(|| first.into())
}

fn write_ruling(brane: BraneId, ruling: &RulingRecord) -> RecordWrite {
    let seq = ruling.seq.0;
    let body = Fields::new()
        .with("brane", brane.uuid())
        .with("by", ruling.by.uuid())
        .with("ruling", Bytes::from(ruling.to_bytes()));
    let index = IndexKey::new().uuid(brane.uuid()).number(seq);
    let draft = Draft::new(body).found_by("by_brane", index);
    RecordWrite::put(&RULINGS, pair(brane.uuid(), &seq.to_be_bytes()), draft)
}

fn read_ruling(record: &Record) -> Result<RulingRecord, Refused> {
    let read = || RulingRecord::from_bytes(record.body.bytes("ruling")?);
    read().ok_or(Code::Damaged.into())
}

/// What follows from rulings for those whom they are about: of several about
/// one user from the last.
fn member_writes(record: &BraneRecord, rulings: &[RulingRecord]) -> Vec<RecordWrite> {
    let said = |ruling: &RulingRecord| match &ruling.ruled {
        Ruled::Standing { user, after, .. } => Some((*user, after.clone())),
        _ => None,
    };
    let standings: BTreeMap<_, _> = rulings.iter().filter_map(said).collect();
    let brane = record.cursor();
    let write = |(user, standing): (UserId, Standing)| {
        let banned_until_ms = standing.ban.map_or(0, |ban| ban.until_ms.unwrap_or(u64::MAX));
        let member = Member { user, brane, banned_until_ms };
        match standing.role {
            Some(_) => RecordWrite::put(&MEMBERS, member.key(), member.draft()),
            None => RecordWrite::delete(&MEMBERS, member.key(), Expect::Any),
        }
    };
    standings.into_iter().map(write).collect()
}

impl Followed {
    fn write(&self, brane: BraneId) -> RecordWrite {
        let body = Fields::new()
            .with("seq", self.seq.0.cast_signed())
            .with("count", self.count.cast_signed());
        let (key, draft) = (brane.uuid().into(), Draft::new(body));
        match self.version {
            0 => RecordWrite::create(&FOLLOWED, key, draft),
            version => RecordWrite::update(&FOLLOWED, key, version, draft),
        }
    }
}

fn member_key(user: UserId, brane: BraneId) -> RecordKey {
    pair(user.uuid(), brane.uuid().as_bytes())
}

impl Member {
    fn key(&self) -> RecordKey {
        member_key(self.user, self.brane.id)
    }

    fn draft(&self) -> Draft {
        let brane = self.brane.id.uuid();
        let body = Fields::new()
            .with("user", self.user.uuid())
            .with("brane", brane)
            .with("created_ms", self.brane.created_ms.cast_signed())
            .with("banned_until_ms", self.banned_until_ms.cast_signed());
        Draft::new(body)
            .found_by("by_user", by_user(self.user, self.brane))
            .found_by("by_brane", IndexKey::new().uuid(brane))
    }

    fn read(record: &Record) -> Result<Self, Refused> {
        let body = &record.body;
        let read = || {
            let id = |name| Uuid::try_parse(body.text(name)?).ok();
            let number = |name| body.int(name).map(i64::cast_unsigned);
            Some(Self {
                user: UserId::new(id("user")?),
                brane: BraneCursor {
                    created_ms: number("created_ms")?,
                    id: BraneId::new(id("brane")?),
                },
                banned_until_ms: number("banned_until_ms")?,
            })
        };
        read().ok_or(Code::Damaged.into())
    }
}
