//! By what somebody signs in.
//!
//! A way is a record of `ways_in` under a key that it alone has, which names
//! its user; so nobody has a way of another. All ways of a user are listed in
//! one record of `ways_of`, which every change of them writes: so of two that
//! take the last two away at once, one sees the other. It also says before when
//! all sign-ins by them have ended.

use std::collections::BTreeSet;

use avvy_auth::Claims;
use avvy_auth::wallet::{Address, MAX_WALLETS, WalletError, Wallets};
use avvy_model::UserId;
use avvy_persistence::records::{
    Collection, Draft, Expect, Fields, RecordKey, RecordWrite, RefusalReason, Value,
};
use sha3::{Digest, Sha3_256};
use uuid::Uuid;

use crate::accounts::ACCOUNT;
use crate::guard::Place;
use crate::sessions::JustNow;
use crate::stored::{TRIES, damaged, user_key};
use crate::users::{USERS, User};
use crate::{Asker, Identity, IdentityError};

pub(crate) static WAYS_IN: Collection = Collection { name: "ways_in", indexes: &[] };
pub(crate) static WAYS_OF: Collection = Collection { name: "ways_of", indexes: &[] };

/// What the key of a wallet begins with.
const WALLET: &str = "wallet:";

/// Accounts elsewhere of one user.
const MAX_ACCOUNTS: usize = 16;

/// A way to sign in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// The wallet of this address.
    Wallet(Address),
    /// An account elsewhere.
    Account {
        /// Of whom.
        issuer: String,
        /// Its name there.
        subject: String,
    },
    /// A name on a server for development.
    Development(String),
}

impl Way {
    /// Names it, and no other.
    pub(crate) fn key(&self) -> String {
        match self {
            Self::Wallet(address) => format!("{WALLET}{address}"),
            Self::Account { issuer, subject } => format!("{ACCOUNT}{}", digest(&[issuer, subject])),
            Self::Development(name) => format!("development:{}", digest(&[name])),
        }
    }

    /// What its user is told of it.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::Wallet(address) => address.to_string(),
            Self::Account { issuer, .. } => issuer.clone(),
            Self::Development(name) => format!("development as {name}"),
        }
    }

    pub(crate) fn record_key(&self) -> RecordKey {
        RecordKey::new(self.key()).expect("a word and digits are a key")
    }

    fn draft(&self, user: UserId, now_s: u64) -> Draft {
        Draft::new(
            Fields::new()
                .with("user", user.uuid())
                .with("label", self.label())
                .with("created", Value::time(now_s)),
        )
    }
}

/// Parts as digits: 64 of them, others for other parts.
fn digest(parts: &[&str]) -> String {
    let mut hash = Sha3_256::new_with_prefix(b"avvyland way in\0");
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whose a way is.
pub(crate) struct Held {
    pub(crate) user: UserId,
    /// Of the record that says so.
    pub(crate) version: u64,
    /// Whether the user was made just now.
    pub(crate) is_new: bool,
}

/// Who comes by a way.
pub(crate) enum Comer<'a> {
    /// Whom it signs in.
    Known(Held),
    /// Nobody yet. There is a place for somebody new.
    New(Place<'a>),
}

/// The ways of one user, as they were read.
#[derive(Default)]
pub(crate) struct WaysOf {
    keys: BTreeSet<String>,
    /// The Unix second before which all sign-ins by them have ended.
    ended_s: u64,
    version: Option<u64>,
}

impl WaysOf {
    pub(crate) fn wallets(&self) -> Wallets {
        let mut wallets = Wallets::default();
        let addresses = self.keys.iter().filter_map(|key| key.strip_prefix(WALLET)?.parse().ok());
        for address in addresses {
            // No more than there may be were ever stored.
            let _ = wallets.attach(address);
        }
        wallets
    }

    /// The keys of those that are accounts elsewhere.
    pub(crate) fn accounts(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(String::as_str).filter(|key| key.starts_with(ACCOUNT))
    }

    /// Whether there is one of this key.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.keys.contains(key)
    }

    /// The Unix second before which all sign-ins by them have ended.
    pub(crate) const fn ended_s(&self) -> u64 {
        self.ended_s
    }

    fn attach(&mut self, way: &Way) -> Result<(), WalletError> {
        if self.has(&way.key()) {
            return Err(WalletError::Attached);
        }
        let (wallets, accounts) = (self.wallets().iter().count(), self.accounts().count());
        let is_full = match way {
            Way::Wallet(_) => wallets >= MAX_WALLETS,
            Way::Account { .. } => accounts >= MAX_ACCOUNTS,
            Way::Development(_) => false,
        };
        if is_full {
            return Err(WalletError::TooMany);
        }
        self.keys.insert(way.key());
        Ok(())
    }

    fn detach(&mut self, key: &str) -> Result<(), WalletError> {
        if !self.has(key) {
            return Err(WalletError::NotAttached);
        }
        if self.keys.len() == 1 {
            return Err(WalletError::OnlyWay);
        }
        self.keys.remove(key);
        Ok(())
    }

    fn write(&self, user: UserId) -> RecordWrite {
        let keys = self.keys.iter().map(|key| Value::from(key.as_str()));
        let mut body = Fields::new().with("ways", Value::Array(keys.collect()));
        if self.ended_s > 0 {
            body.set("ended", Value::time(self.ended_s));
        }
        let expect = self.version.map_or(Expect::Absent, Expect::Version);
        let change = avvy_persistence::records::Change::Put(Draft::new(body));
        RecordWrite { of: &WAYS_OF, key: user_key(user), expect, change }
    }
}

impl Identity {
    /// Who comes by this way.
    ///
    /// # Errors
    /// `TooManyNew`.
    pub(crate) async fn comer(&self, way: &Way, asker: &Asker) -> Result<Comer<'_>, IdentityError> {
        match self.holder(way, asker.now_s).await? {
            Some(held) => Ok(Comer::Known(held)),
            None => Ok(Comer::New(self.inner.guard.admit(asker)?)),
        }
    }

    /// Whom this way signs in. Somebody new, with this name, if nobody yet.
    pub(crate) async fn user_by(
        &self,
        way: &Way,
        name: &str,
        comer: Comer<'_>,
        asker: &Asker,
    ) -> Result<Held, IdentityError> {
        let mut place = match comer {
            Comer::Known(held) => return Ok(held),
            Comer::New(place) => place,
        };
        let now_s = asker.now_s;
        for _ in 0..TRIES {
            let user = User::new(UserId::new(Uuid::new_v4()), name, now_s);
            let ways = WaysOf { keys: BTreeSet::from([way.key()]), ..WaysOf::default() };
            let writes = vec![
                RecordWrite::create(&WAYS_IN, way.record_key(), way.draft(user.id, now_s)),
                RecordWrite::create(&USERS, user_key(user.id), user.draft()),
                ways.write(user.id),
            ];
            // Also when nobody hears what became of the commit.
            place.is_taken = true;
            if let Ok(committed) = self.stored.commit(writes, now_s).await? {
                return Ok(Held { user: user.id, version: committed.versions[0], is_new: true });
            }
            place.is_taken = false;
            if let Some(held) = self.holder(way, now_s).await? {
                return Ok(held);
            }
        }
        Err(IdentityError::Unavailable("others sign in by the same at the same time"))
    }

    /// Whose way it is.
    async fn holder(&self, way: &Way, now_s: u64) -> Result<Option<Held>, IdentityError> {
        let found = self.stored.fresh(&WAYS_IN, way.record_key(), now_s).await?;
        let held = found.map(|record| {
            let user = record.body.text("user").and_then(|user| user.parse().ok());
            let user = user.ok_or_else(|| damaged(&WAYS_IN, &record.key))?;
            Ok(Held { user, version: record.version, is_new: false })
        });
        held.transpose()
    }

    /// All ways of a user.
    pub(crate) async fn ways_of(&self, user: UserId, now_s: u64) -> Result<WaysOf, IdentityError> {
        let found = self.stored.fresh(&WAYS_OF, user_key(user), now_s).await?;
        let Some(record) = found else { return Ok(WaysOf::default()) };
        let keys = record.body.array("ways").and_then(|keys| {
            let text =
                |key: &Value| if let Value::Text(key) = key { Some(key.clone()) } else { None };
            keys.iter().map(text).collect()
        });
        let keys = keys.ok_or_else(|| damaged(&WAYS_OF, &record.key))?;
        let ended_s = record.body.time("ended").unwrap_or_default();
        Ok(WaysOf { keys, ended_s, version: Some(record.version) })
    }

    /// Ends the sign-ins of a user that began before this time: none of them goes
    /// on, whoever still knows it.
    pub(crate) async fn end_before(
        &self,
        user: UserId,
        before_s: u64,
        now_s: u64,
    ) -> Result<(), IdentityError> {
        for _ in 0..TRIES {
            let ways = self.ways_of(user, now_s).await?;
            // Who has no way in has not signed in either.
            if ways.keys.is_empty() || before_s <= ways.ended_s {
                return Ok(());
            }
            let ways = WaysOf { ended_s: before_s, ..ways };
            match self.stored.commit(vec![ways.write(user)], now_s).await? {
                Ok(_) => return Ok(()),
                Err(refusal) => expect_conflict(&refusal.reason)?,
            }
        }
        Err(IdentityError::Unavailable("others change this user all the time"))
    }

    /// Lets a way sign in this user, by what signs them in now. All ways of the
    /// user then.
    pub(crate) async fn attach(
        &self,
        user: UserId,
        way: &Way,
        by: &JustNow,
        now_s: u64,
    ) -> Result<WaysOf, IdentityError> {
        for _ in 0..TRIES {
            let mut ways = self.ways_of(user, now_s).await?;
            by.check(&ways)?;
            ways.attach(way)?;
            if self.holder(way, now_s).await?.is_some_and(|held| held.user != user) {
                return Err(IdentityError::WayTaken);
            }
            let create = RecordWrite::create(&WAYS_IN, way.record_key(), way.draft(user, now_s));
            match self.stored.commit(vec![create, ways.write(user)], now_s).await? {
                Ok(_) => return Ok(ways),
                Err(refusal) => expect_conflict(&refusal.reason)?,
            }
        }
        Err(IdentityError::Unavailable("others change this user all the time"))
    }

    /// Has the way of this key sign in this user no more, by what signs them in
    /// now, and ends what it began. All ways of the user then.
    pub(crate) async fn detach(
        &self,
        user: UserId,
        key: &str,
        by: &JustNow,
        now_s: u64,
    ) -> Result<WaysOf, IdentityError> {
        for _ in 0..TRIES {
            let mut ways = self.ways_of(user, now_s).await?;
            by.check(&ways)?;
            ways.detach(key)?;
            self.may_take_away(key, by.way(), &ways, now_s).await?;
            let record = RecordKey::new(key).ok_or(WalletError::NotAttached)?;
            let delete = RecordWrite::delete(&WAYS_IN, record, Expect::Present);
            match self.stored.commit(vec![delete, ways.write(user)], now_s).await? {
                Ok(_) => {
                    self.end_sessions_by(user, key, now_s).await?;
                    return Ok(ways);
                }
                Err(refusal) => expect_conflict(&refusal.reason)?,
            }
        }
        Err(IdentityError::Unavailable("others change this user all the time"))
    }
}

impl Identity {
    /// The same by the sign-in of a token, which was just now.
    pub(crate) async fn detach_just_now(
        &self,
        claims: &Claims,
        key: &str,
        now_s: u64,
    ) -> Result<WaysOf, IdentityError> {
        if !self.ways_of(claims.user, now_s).await?.has(key) {
            return Err(WalletError::NotAttached.into());
        }
        let by = self.signed_in_just_now(claims, now_s).await?;
        self.detach(claims.user, key, &by, now_s).await
    }

    /// Holds that a way may be taken away by another: neither that, nor all that
    /// stays, came after it and so short a time ago that the user may not know of
    /// it. So whoever finds a token may attach a way of their own, and is not the
    /// only one to come in by it.
    async fn may_take_away(
        &self,
        key: &str,
        by: &str,
        stays: &WaysOf,
        now_s: u64,
    ) -> Result<(), IdentityError> {
        let keys = [key, by].into_iter().chain(stays.keys.iter().map(String::as_str));
        let keys = keys.map(RecordKey::new).collect::<Option<Vec<_>>>();
        let keys = keys.ok_or(WalletError::NotAttached)?;
        let found = self.records().get_many(&WAYS_IN, keys, now_s).await?;
        let mut since_s = Vec::new();
        for record in found {
            // One that is gone meanwhile came last.
            let time = record?.and_then(|record| record.body.time("created"));
            since_s.push(time.unwrap_or(u64::MAX));
        }
        let stands = |since: &u64| {
            *since <= since_s[0] || now_s.saturating_sub(*since) >= self.options().new_way_in_s
        };
        let may = stands(&since_s[1]) && since_s[2..].iter().any(stands);
        if may { Ok(()) } else { Err(IdentityError::TooNew) }
    }
}

/// The name of somebody of whom no more than a wallet is known.
pub(crate) fn short(address: Address) -> String {
    let text = address.to_string();
    format!("{}…{}", &text[..6], &text[text.len() - 4..])
}

fn expect_conflict(reason: &RefusalReason) -> Result<(), IdentityError> {
    match reason {
        RefusalReason::Conflict { .. } => Ok(()),
        _ => Err(WalletError::TooMany.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_ways_have_one_key() {
        let address = Address::new([7; 20]);
        let named = |name: &str| Way::Development(name.to_owned());
        let account = |issuer: &str, subject: &str| Way::Account {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
        };
        let ways = [
            Way::Wallet(address),
            named("a"),
            named("b"),
            named(&address.to_string()),
            account("a", ""),
            account("a", "b"),
            account("ab", ""),
        ];
        let keys: BTreeSet<_> = ways.iter().map(Way::key).collect();
        assert_eq!(keys.len(), ways.len());
        assert!(ways.iter().all(|way| RecordKey::new(way.key()).is_some()));
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
    }
}
