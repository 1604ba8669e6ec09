//! Users: what others see of somebody.
//!
//! A record of the collection `users` under the user's id: `name`, `about` (left
//! out when there is nothing) and `created`.

use std::sync::Arc;

use avvy_model::UserId;
use avvy_persistence::records::{
    Collection, Draft, Fields, Record, RecordWrite, RefusalReason, Value,
};

use crate::stored::{TRIES, damaged, user_key};
use crate::{Identity, IdentityError};

/// The longest name, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 80;

/// The longest text about oneself, in bytes of UTF-8.
pub const MAX_ABOUT_BYTES: usize = 2_000;

pub(crate) static USERS: Collection = Collection { name: "users", indexes: &[] };

/// A user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// The id; `sub` of the user's tokens.
    pub id: UserId,
    /// What others read. Not unique, and proves nothing.
    pub name: String,
    /// What the user says of themselves; may be empty.
    pub about: String,
    /// When the user came first, in Unix seconds.
    pub created_s: u64,
    /// Raised by every change: fit for an entity tag.
    pub version: u64,
}

/// What is to become of a user; what is left out stays.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UserChange {
    /// The name: 1 to [`MAX_NAME_BYTES`], no control characters, no spaces
    /// around it.
    pub name: Option<String>,
    /// The text: at most [`MAX_ABOUT_BYTES`], of control characters only the
    /// end of a line.
    pub about: Option<String>,
}

impl UserChange {
    fn check(&self) -> Result<(), IdentityError> {
        if self.name.as_deref().is_some_and(|name| !is_name(name)) {
            return Err(IdentityError::Malformed(
                "name: 1 to 80 bytes, no control characters, no spaces around it",
            ));
        }
        if self.about.as_deref().is_some_and(|about| !is_about(about)) {
            return Err(IdentityError::Malformed(
                "about: at most 2000 bytes, of control characters only \\n",
            ));
        }
        Ok(())
    }
}

fn is_name(name: &str) -> bool {
    let is_long = name.is_empty() || name.len() > MAX_NAME_BYTES;
    !is_long && name.trim() == name && !name.chars().any(char::is_control)
}

fn is_about(about: &str) -> bool {
    let is_odd = |letter: char| letter.is_control() && letter != '\n';
    about.len() <= MAX_ABOUT_BYTES && !about.contains(is_odd)
}

/// The name of somebody as others say it: cut to what a name may be.
pub(crate) fn name_of(said: &str) -> String {
    let mut name: String = said.chars().filter(|letter| !letter.is_control()).collect();
    while name.len() > MAX_NAME_BYTES {
        name.pop();
    }
    match name.trim() {
        "" => "somebody".to_owned(),
        name => name.to_owned(),
    }
}

impl User {
    pub(crate) fn new(id: UserId, name: &str, now_s: u64) -> Self {
        let (name, about) = (name_of(name), String::new());
        Self { id, name, about, created_s: now_s, version: 0 }
    }

    pub(crate) fn draft(&self) -> Draft {
        let mut body = Fields::new()
            .with("name", self.name.as_str())
            .with("created", Value::time(self.created_s));
        if !self.about.is_empty() {
            body.set("about", self.about.as_str());
        }
        Draft::new(body)
    }

    fn read(id: UserId, record: &Record) -> Option<Self> {
        let name = record.body.text("name")?.to_owned();
        let about = record.body.text("about").unwrap_or_default().to_owned();
        let created_s = record.body.time("created")?;
        Some(Self { id, name, about, created_s, version: record.version })
    }
}

impl Identity {
    /// A user. May come from the cache.
    ///
    /// # Errors
    /// As the store has them.
    pub async fn user(&self, id: UserId, now_s: u64) -> Result<Option<User>, IdentityError> {
        let found = self.records().get(&USERS, user_key(id), now_s).await?;
        found.map(|record| read(id, &record)).transpose()
    }

    /// A user, who is made with this name if there is none: those of other
    /// issuers have no record before something is kept of them.
    ///
    /// # Errors
    /// As the store has them.
    pub async fn ensure_user(
        &self,
        id: UserId,
        name: &str,
        now_s: u64,
    ) -> Result<User, IdentityError> {
        for _ in 0..TRIES {
            if let Some(record) = self.stored.fresh(&USERS, user_key(id), now_s).await? {
                return read(id, &record);
            }
            let user = User::new(id, name, now_s);
            let write = RecordWrite::create(&USERS, user_key(id), user.draft());
            if let Ok(committed) = self.stored.commit(vec![write], now_s).await? {
                return Ok(User { version: committed.versions[0], ..user });
            }
        }
        Err(IdentityError::Unavailable("others change this user all the time"))
    }

    /// Changes a user, only if they are of this version, if one is given.
    ///
    /// # Errors
    /// `Malformed`, `UnknownUser`, `Conflict`.
    pub async fn update_user(
        &self,
        id: UserId,
        change: UserChange,
        version: Option<u64>,
        now_s: u64,
    ) -> Result<User, IdentityError> {
        change.check()?;
        for _ in 0..TRIES {
            let found = self.stored.fresh(&USERS, user_key(id), now_s).await?;
            let found = read(id, &found.ok_or(IdentityError::UnknownUser)?)?;
            if version.is_some_and(|version| version != found.version) {
                return Err(IdentityError::Conflict { found: found.version });
            }
            let UserChange { name, about } = change.clone();
            let (name, about) = (name.unwrap_or(found.name), about.unwrap_or(found.about));
            let user = User { name, about, ..found };
            let write = RecordWrite::update(&USERS, user_key(id), user.version, user.draft());
            match self.stored.commit(vec![write], now_s).await? {
                Ok(committed) => return Ok(User { version: committed.versions[0], ..user }),
                Err(refusal) if matches!(refusal.reason, RefusalReason::Conflict { .. }) => {}
                Err(_) => return Err(IdentityError::Malformed("the user's texts are too long")),
            }
        }
        Err(IdentityError::Unavailable("others change this user all the time"))
    }
}

fn read(id: UserId, record: &Arc<Record>) -> Result<User, IdentityError> {
    User::read(id, record).ok_or_else(|| damaged(&USERS, &record.key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_can_be_shown() {
        for good in ["a", "Ada Lovelace", "Ägidius 李", &"x".repeat(MAX_NAME_BYTES)] {
            assert!(is_name(good), "{good:?}");
            assert_eq!(name_of(good), good);
        }
        for bad in ["", " ", " a", "a\n", "a\u{7}b", &"x".repeat(MAX_NAME_BYTES + 1)] {
            assert!(!is_name(bad), "{bad:?}");
            assert!(is_name(&name_of(bad)), "{bad:?}");
        }
        assert!(is_name(&name_of(&"é".repeat(300))));
        assert!(is_about("two\nlines") && !is_about("a\0") && !is_about(&"x".repeat(2_001)));
    }
}
