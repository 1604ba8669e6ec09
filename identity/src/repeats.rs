//! Requests that may come again, and what they were answered.
//!
//! A user's request under a key is done once. Before it begins a record claims
//! the key; when it ends the record holds the answer, which whoever sends the
//! same request under the same key is given instead of having it done again, at
//! whatever node and after whatever restart, for [`KEPT_S`].
//!
//! **Bounds.** Of each user so many keys, and so many bytes of answers, are
//! taken in a day, counted in a record that changes in the same commits.
//!
//! **A claim ends.** Who claimed a key and was never heard of again (the process
//! died) loses the claim after a while, and the next one has the request done.
//! What the dead one did of it is not known here: so whoever does a request
//! draws its ids from [`draw`], and finds what is there.

use std::sync::Arc;

use avvy_model::{Code, UserId};
use avvy_persistence::StoreError;
use avvy_persistence::records::{
    Change, Collection, Commit, CommitId, Draft, Expect, Fields, Record, RecordKey, RecordWrite,
    Records, Value,
};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

/// How long an answer is kept, in seconds.
pub const KEPT_S: u64 = 24 * 3_600;

/// The longest answer that is kept whole, in bytes.
pub const MAX_ANSWER_BYTES: usize = 192 << 10;

/// The days by which a user's keys are counted.
const DAY_S: u64 = 24 * 3_600;

/// How often a commit is tried that others come before.
const TRIES: u32 = 16;

static REQUESTS: Collection = Collection { name: "requests", indexes: &[] };
static USAGE: Collection = Collection { name: "request_usage", indexes: &[] };

/// The digest of a request: of all that makes it the same one.
pub type RequestDigest = [u8; 32];

/// How many requests are remembered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RepeatLimits {
    /// Keys of one user in a day.
    pub keys_per_day: u32,
    /// Bytes of the answers to one user in a day.
    pub bytes_per_day: u64,
    /// How long a claim lasts of which nothing is heard, in seconds. Longer than
    /// any request takes.
    pub claim_s: u64,
}

/// What a request was answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// The headers that matter, by their names.
    pub headers: Vec<(String, String)>,
    /// The body; `None` if it was too long to be kept.
    pub body: Option<Bytes>,
}

/// What a request under a key is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Begun {
    /// The first: it is to be done, and [`Repeats::end`] told of it.
    First(Claim),
    /// One that was done.
    Answered(Answered),
    /// Another one than the first under this key.
    Different,
    /// One that is being done.
    InProgress,
    /// One too many: in so many seconds there is room.
    TooMany {
        /// When a new day begins.
        retry_after_s: u64,
    },
}

/// The right to do a request and to tell its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    user: UserId,
    key: RecordKey,
    version: u64,
    digest: RequestDigest,
}

/// The requests of a server that may come again. Cloning shares it.
#[derive(Clone)]
pub struct Repeats {
    records: Arc<dyn Records>,
    limits: RepeatLimits,
}

/// An id for what a request makes, drawn from the request itself: who does it
/// again draws the same. It has the form of a UUID of version 4.
pub fn draw(user: UserId, key: Uuid, purpose: &str) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(b"avvyland request\0");
    hash.update(user.to_bytes());
    hash.update(key.as_bytes());
    hash.update(purpose.as_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Builder::from_random_bytes(bytes).into_uuid()
}

impl Repeats {
    /// Over these records.
    pub fn new(records: Arc<dyn Records>, limits: RepeatLimits) -> Self {
        Self { records, limits }
    }

    /// A request under a key begins.
    ///
    /// # Errors
    /// What the store's failure amounts to: then nothing is known, and the
    /// request is not to be done.
    pub async fn begin(
        &self,
        user: UserId,
        key: Uuid,
        digest: RequestDigest,
        now_s: u64,
    ) -> Result<Begun, Code> {
        let record_key = request_key(user, key);
        for _ in 0..TRIES {
            let found =
                self.records.get(&REQUESTS, record_key.clone(), now_s).await.map_err(code)?;
            if let Some(known) = found.as_deref().and_then(|record| judge(record, digest, now_s)) {
                return Ok(known);
            }
            let usage = self.usage(user, now_s).await?;
            let is_new = found.is_none();
            let is_full = usage.keys >= u64::from(self.limits.keys_per_day)
                || usage.bytes >= self.limits.bytes_per_day;
            if is_new && is_full {
                return Ok(Begun::TooMany { retry_after_s: DAY_S - now_s % DAY_S });
            }
            let body = Fields::new()
                .with("digest", Bytes::copy_from_slice(&digest))
                .with("until", Value::Time(now_s.saturating_add(self.limits.claim_s)));
            let mut writes = vec![RecordWrite {
                of: &REQUESTS,
                key: record_key.clone(),
                expect: found.as_ref().map_or(Expect::Absent, |it| Expect::Version(it.version)),
                change: Change::Put(Draft::new(body).until(now_s.saturating_add(KEPT_S))),
            }];
            if is_new {
                writes.push(usage.more(user, 1, 0, now_s));
            }
            let commit = Commit { id: new_commit(), writes };
            if let Ok(done) = self.records.commit(commit, now_s).await.map_err(code)? {
                let version = done.versions.first().copied().unwrap_or_default();
                let claim = Claim { user, key: record_key, version, digest };
                return Ok(Begun::First(claim));
            }
        }
        Ok(Begun::InProgress)
    }

    /// A request was done, and answered so.
    ///
    /// # Errors
    /// What the store's failure amounts to: then the claim ends by itself.
    pub async fn end(&self, claim: &Claim, answered: Answered, now_s: u64) -> Result<(), Code> {
        let Answered { status, headers, body } = answered;
        let body = body.filter(|body| body.len() <= MAX_ANSWER_BYTES);
        let headers = headers
            .into_iter()
            .map(|(name, value)| Value::Array(vec![Value::Text(name), Value::Text(value)]));
        let mut fields = Fields::new()
            .with("digest", Bytes::copy_from_slice(&claim.digest))
            .with("status", i64::from(status))
            .with("headers", Value::Array(headers.collect()));
        let length = body.as_ref().map_or(0, Bytes::len) as u64;
        if let Some(body) = body {
            fields.set("body", body);
        }
        for _ in 0..TRIES {
            let draft = Draft::new(fields.clone()).until(now_s.saturating_add(KEPT_S));
            let usage = self.usage(claim.user, now_s).await?;
            let writes = vec![
                RecordWrite::update(&REQUESTS, claim.key.clone(), claim.version, draft),
                usage.more(claim.user, 0, length, now_s),
            ];
            let commit = Commit { id: new_commit(), writes };
            match self.records.commit(commit, now_s).await.map_err(code)? {
                // The claim has ended: another one does the request.
                Err(refusal) if refusal.write == 0 => return Ok(()),
                Err(_) => {}
                Ok(_) => return Ok(()),
            }
        }
        Err(Code::Unavailable)
    }

    /// A request came to no end that counts: the next one is the first.
    ///
    /// # Errors
    /// What the store's failure amounts to: then the claim ends by itself.
    pub async fn give_up(&self, claim: &Claim, now_s: u64) -> Result<(), Code> {
        let expect = Expect::Version(claim.version);
        let writes = vec![RecordWrite::delete(&REQUESTS, claim.key.clone(), expect)];
        let commit = Commit { id: new_commit(), writes };
        self.records.commit(commit, now_s).await.map_err(code)?.map(drop).or(Ok(()))
    }

    async fn usage(&self, user: UserId, now_s: u64) -> Result<Usage, Code> {
        let found = self.records.get(&USAGE, user.uuid().into(), now_s).await.map_err(code)?;
        let day = now_s / DAY_S;
        let Some(record) = found else {
            return Ok(Usage { expect: Expect::Absent, keys: 0, bytes: 0 });
        };
        let number = |name| record.body.int(name).and_then(|it| u64::try_from(it).ok());
        let is_today = number("day") == Some(day);
        let of_today = |name| number(name).filter(|_| is_today).unwrap_or_default();
        Ok(Usage {
            expect: Expect::Version(record.version),
            keys: of_today("keys"),
            bytes: of_today("bytes"),
        })
    }
}

/// What a user has taken today.
struct Usage {
    expect: Expect,
    keys: u64,
    bytes: u64,
}

impl Usage {
    fn more(&self, user: UserId, keys: u64, bytes: u64, now_s: u64) -> RecordWrite {
        let number = |n: u64| Value::Int(i64::try_from(n).unwrap_or(i64::MAX));
        let body = Fields::new()
            .with("day", number(now_s / DAY_S))
            .with("keys", number(self.keys + keys))
            .with("bytes", number(self.bytes + bytes));
        let draft = Draft::new(body).until(now_s.saturating_add(2 * DAY_S));
        let key = user.uuid().into();
        RecordWrite { of: &USAGE, key, expect: self.expect, change: Change::Put(draft) }
    }
}

fn new_commit() -> CommitId {
    CommitId(Uuid::new_v4())
}

fn request_key(user: UserId, key: Uuid) -> RecordKey {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&user.to_bytes());
    bytes[16..].copy_from_slice(key.as_bytes());
    RecordKey::hex(&bytes).expect("32 bytes make a key")
}

/// What a request is of which this is known; `None`: the claim has ended.
fn judge(record: &Record, digest: RequestDigest, now_s: u64) -> Option<Begun> {
    if record.body.bytes("digest").is_none_or(|known| **known != digest) {
        return Some(Begun::Different);
    }
    let Some(status) = record.body.int("status") else {
        let lasts = record.body.time("until").is_some_and(|until_s| now_s < until_s);
        return lasts.then_some(Begun::InProgress);
    };
    let pair = |value: &Value| match value {
        Value::Array(pair) => match pair.as_slice() {
            [Value::Text(name), Value::Text(value)] => Some((name.clone(), value.clone())),
            _ => None,
        },
        _ => None,
    };
    Some(Begun::Answered(Answered {
        status: u16::try_from(status).unwrap_or_default(),
        headers: record.body.array("headers").unwrap_or_default().iter().filter_map(pair).collect(),
        body: record.body.bytes("body").cloned(),
    }))
}

fn code(error: StoreError) -> Code {
    match error {
        StoreError::Timeout { .. } => Code::Timeout,
        StoreError::Damaged { .. } => Code::Damaged,
        StoreError::Invalid(_) => Code::Internal,
        _ => Code::Unavailable,
    }
}
