//! The accounts elsewhere by which a user signs in.

use std::collections::BTreeMap;

use avvy_auth::Claims;
use avvy_model::UserId;
use avvy_persistence::records::{Record, RecordKey};

use crate::stored::damaged;
use crate::ways::WAYS_IN;
use crate::{Identity, IdentityError};

/// What the key of such a way begins with.
pub(crate) const ACCOUNT: &str = "account:";

/// An account elsewhere that signs in a user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// Names it here: 64 hexadecimal digits.
    pub id: String,
    /// Whose account it is, such as `https://accounts.google.com`.
    pub issuer: String,
    /// Since when it signs in the user, in Unix seconds.
    pub attached_s: u64,
}

impl Account {
    fn read(key: &str, record: &Record) -> Result<Self, IdentityError> {
        let read = || {
            let id = key.strip_prefix(ACCOUNT)?.to_owned();
            let issuer = record.body.text("label")?.to_owned();
            Some(Self { id, issuer, attached_s: record.body.time("created")? })
        };
        read().ok_or_else(|| damaged(&WAYS_IN, &record.key))
    }
}

impl Identity {
    /// The accounts elsewhere that sign in a user.
    ///
    /// # Errors
    /// As the store has them.
    pub async fn accounts(&self, user: UserId, now_s: u64) -> Result<Vec<Account>, IdentityError> {
        let ways = self.ways_of(user, now_s).await?;
        let keys: BTreeMap<&str, RecordKey> =
            ways.accounts().filter_map(|key| Some((key, RecordKey::new(key)?))).collect();
        let found = self.records().get_many(&WAYS_IN, keys.values().cloned().collect(), now_s);
        let mut accounts = Vec::new();
        for (key, found) in keys.into_keys().zip(found.await?) {
            // One that was detached meanwhile is not there any more.
            if let Some(record) = found? {
                accounts.push(Account::read(key, &record)?);
            }
        }
        Ok(accounts)
    }

    /// Lets the account that a ticket is of sign in the user of a token. For who
    /// has signed in just now: as long ago at most as a wallet has time to answer,
    /// by what still signs in the user.
    ///
    /// # Errors
    /// `NotJustNow`, `Oidc`, `Wallet`, `WayTaken`.
    pub async fn attach_account(
        &self,
        claims: &Claims,
        ticket: &str,
        verifier: &str,
        now_s: u64,
    ) -> Result<Vec<Account>, IdentityError> {
        let by = self.signed_in_just_now(claims, now_s).await?;
        let way = self.way_by_ticket(ticket, verifier, now_s).await?;
        self.attach(claims.user, &way, &by, now_s).await?;
        self.accounts(claims.user, now_s).await
    }

    /// Has an account sign in its user no more; the sign-ins that it began end.
    /// For who has signed in just now, by what has been the user's for as long or
    /// for [`crate::IdentityOptions::new_way_in_s`].
    ///
    /// # Errors
    /// `NotJustNow`, `TooNew`, `Wallet`.
    pub async fn detach_account(
        &self,
        claims: &Claims,
        id: &str,
        now_s: u64,
    ) -> Result<Vec<Account>, IdentityError> {
        self.detach_just_now(claims, &format!("{ACCOUNT}{id}"), now_s).await?;
        self.accounts(claims.user, now_s).await
    }
}
