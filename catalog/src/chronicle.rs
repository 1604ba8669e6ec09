//! The chronicle of rights: every ruling of every brane, and from it who is at
//! home in which branes.
//!
//! It follows the branes, whose journals are the truth. A ruling is told to it
//! when it is durable, so a moment later than it takes effect.

use std::collections::BTreeMap;

use avvy_actors::{Chronicle, RulingRecord, Rulings};
use avvy_model::{BraneId, Code, Ruled, Seq, Standing, UserId};
use avvy_persistence::BoxFuture;
use avvy_persistence::BraneCursor;
use avvy_persistence::BraneRecord;
use avvy_persistence::records::{
    Collection, Cursor, Draft, Expect, Fields, Index, IndexKey, KeyRange, MAX_WRITES, Query,
    Record, RecordKey, RecordWrite,
};
use bytes::Bytes;
use uuid::Uuid;

use crate::{Catalog, Refused};

/// Rulings. Key: brane and place in its log.
static RULINGS: Collection = Collection {
    name: "rulings",
    // (brane, place in the log)
    indexes: &[Index::plain("by_brane")],
};

/// What branes say of users, as of the last ruling about each. Key: user and
/// brane.
static MEMBERS: Collection = Collection {
    name: "members",
    // (user, when the brane was created, brane): where the user has a role.
    // (brane): all.
    indexes: &[Index::plain("by_user"), Index::plain("by_brane")],
};

/// Rulings of one commit; each may write a member, too.
const AT_A_TIME: usize = MAX_WRITES / 2;

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

/// What a brane says of a user.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Member {
    user: UserId,
    /// The brane, and its place in listings.
    brane: BraneCursor,
    /// The ruling by which it says so.
    seq: Seq,
    has_role: bool,
    /// Until when the user is kept out, in Unix milliseconds; 0: not at all,
    /// `u64::MAX`: without an end.
    banned_until_ms: u64,
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
                let query = Query::new("by_brane", of_brane(brane)).limit(MAX_WRITES as u32);
                let page = self.records().list(of, query, now_s).await?;
                let keys = page.found.into_iter().map(|listed| listed.record.key.clone());
                let gone: Vec<_> =
                    keys.map(|key| RecordWrite::delete(of, key, Expect::Any)).collect();
                if gone.is_empty() {
                    break;
                }
                self.commit(gone, now_s).await?;
            }
        }
        Ok(())
    }

    async fn keep_rulings(&self, Rulings { record, made }: Rulings) -> Result<(), Refused> {
        let now_s = made.last().map_or(0, |ruling| ruling.at_ms / 1_000);
        let kept = self.rulings(record.id, None, 1, now_s).await?.rulings.pop();
        let kept = kept.map_or(Seq(0), |ruling| ruling.seq);
        let lacking: Vec<_> = made.into_iter().filter(|ruling| ruling.seq > kept).collect();
        for rulings in lacking.chunks(AT_A_TIME) {
            let mut writes = self.member_writes(&record, rulings, now_s).await?;
            writes.extend(rulings.iter().map(|ruling| write_ruling(record.id, ruling)));
            // Somebody else was at it; what is there by then is not written again.
            self.commit(writes, now_s).await?.ok_or(Code::Unavailable)?;
        }
        Ok(())
    }

    /// What follows from rulings for those whom they are about.
    async fn member_writes(
        &self,
        record: &BraneRecord,
        rulings: &[RulingRecord],
        now_s: u64,
    ) -> Result<Vec<RecordWrite>, Refused> {
        let said = |ruling: &RulingRecord| match &ruling.ruled {
            Ruled::Standing { user, after, .. } => {
                Some((*user, Member::new(*user, record, ruling.seq, after)))
            }
            _ => None,
        };
        // Of several about one user the last.
        let members: BTreeMap<_, _> = rulings.iter().filter_map(said).collect();
        let keys: Vec<_> = members.values().map(Member::key).collect();
        let there = self.records().get_many(&MEMBERS, keys, now_s).await?;
        let mut writes = Vec::new();
        for (member, there) in members.into_values().zip(there) {
            let expect = match there? {
                None => Expect::Absent,
                Some(there) if Member::read(&there)?.seq < member.seq => {
                    Expect::Version(there.version)
                }
                Some(_) => continue,
            };
            writes.push(RecordWrite {
                expect,
                ..RecordWrite::put(&MEMBERS, member.key(), member.draft())
            });
        }
        Ok(writes)
    }
}

impl Chronicle for Catalog {
    fn keep(&self, rulings: Rulings) -> BoxFuture<'_, Result<(), Code>> {
        Box::pin(async move { self.keep_rulings(rulings).await.map_err(|refused| refused.code) })
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

impl Member {
    fn new(user: UserId, record: &BraneRecord, seq: Seq, standing: &Standing) -> Self {
        let until_ms = standing.ban.map_or(0, |ban| ban.until_ms.unwrap_or(u64::MAX));
        Self {
            user,
            brane: record.cursor(),
            seq,
            has_role: standing.role.is_some(),
            banned_until_ms: until_ms,
        }
    }

    fn key(&self) -> RecordKey {
        pair(self.user.uuid(), self.brane.id.uuid().as_bytes())
    }

    /// One without a role stays, so that no older ruling comes to count again.
    fn draft(&self) -> Draft {
        let brane = self.brane.id.uuid();
        let body = Fields::new()
            .with("user", self.user.uuid())
            .with("brane", brane)
            .with("created_ms", self.brane.created_ms.cast_signed())
            .with("seq", self.seq.0.cast_signed())
            .with("has_role", self.has_role)
            .with("banned_until_ms", self.banned_until_ms.cast_signed());
        let draft = Draft::new(body).found_by("by_brane", IndexKey::new().uuid(brane));
        match self.has_role {
            true => draft.found_by("by_user", by_user(self.user, self.brane)),
            false => draft,
        }
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
                seq: Seq(number("seq")?),
                has_role: body.bool("has_role")?,
                banned_until_ms: number("banned_until_ms")?,
            })
        };
        read().ok_or(Code::Damaged.into())
    }
}
