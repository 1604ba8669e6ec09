//! What a user has, counted.
//!
//! Every change of a user's things is one commit with the change of the user's
//! account, made under the version that the account had before anything else
//! was read. So the changes of one user come one after the other, the counters
//! are exact, and whatever was read of the user's things on the way still holds
//! when the commit is done.

use avvy_model::{Code, UserId};
use avvy_persistence::records::{Collection, Draft, Fields, Record, Value};
use uuid::Uuid;

use crate::limits::CatalogLimits;
use crate::thing::Thing;
use crate::{Kind, Refused};

/// An account for each user who ever had a thing. Key: the user's id.
pub(crate) static ACCOUNTS: Collection = Collection { name: "catalog_accounts", indexes: &[] };

/// How much there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Objects.
    pub objects: u64,
    /// Bytes: of names, descriptions and tags, of properties, 36 for each id of
    /// another thing, 32 for each model, and 256 for each thing.
    pub bytes: u64,
    /// Versions of prototypes.
    pub prototypes: u64,
    /// Drafts.
    pub drafts: u64,
}

/// A user's account.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Account {
    pub(crate) usage: Usage,
    /// The transfers that have begun and not ended: one that a brane keeps from
    /// its end is in the way of no other brane's.
    pub(crate) under_way: Vec<Uuid>,
    /// How many have begun.
    pub(crate) transfers: u64,
}

impl Usage {
    /// What one thing is counted as. What was deleted counts for nothing.
    pub(crate) fn of(thing: &Thing) -> Self {
        if thing.is_deleted {
            return Self::default();
        }
        let is_prototype = thing.kind() == Kind::Prototype;
        let follows = thing.chain.previous.is_some();
        let is_draft = !thing.is_published() && (is_prototype || follows);
        Self {
            objects: u64::from(!is_prototype),
            bytes: thing.bytes(),
            prototypes: u64::from(is_prototype),
            drafts: u64::from(is_draft),
        }
    }

    /// With more of it.
    #[must_use]
    pub(crate) const fn plus(self, other: Self) -> Self {
        Self {
            objects: self.objects.saturating_add(other.objects),
            bytes: self.bytes.saturating_add(other.bytes),
            prototypes: self.prototypes.saturating_add(other.prototypes),
            drafts: self.drafts.saturating_add(other.drafts),
        }
    }

    /// With less of it.
    #[must_use]
    pub(crate) const fn minus(self, other: Self) -> Self {
        Self {
            objects: self.objects.saturating_sub(other.objects),
            bytes: self.bytes.saturating_sub(other.bytes),
            prototypes: self.prototypes.saturating_sub(other.prototypes),
            drafts: self.drafts.saturating_sub(other.drafts),
        }
    }

    /// Refuses to grow beyond a bound. What is beyond it already may shrink.
    ///
    /// # Errors
    /// The code of the bound.
    pub(crate) fn check(self, before: Self, limits: &CatalogLimits) -> Result<(), Refused> {
        let bounds = [
            (self.objects, before.objects, limits.max_objects, Code::TooManyOwnObjects),
            (self.bytes, before.bytes, limits.max_bytes, Code::TooManyOwnBytes),
            (self.prototypes, before.prototypes, limits.max_prototypes, Code::TooManyPrototypes),
            (self.drafts, before.drafts, limits.max_drafts, Code::TooManyDrafts),
        ];
        match bounds.iter().find(|(now, before, max, _)| now > before && now > max) {
            Some((_, _, _, code)) => Err((*code).into()),
            None => Ok(()),
        }
    }
}

impl Account {
    pub(crate) fn draft(&self, owner: UserId) -> Draft {
        let Usage { objects, bytes, prototypes, drafts } = self.usage;
        let mut body = Fields::new()
            .with("user", owner.uuid())
            .with("objects", objects.cast_signed())
            .with("bytes", bytes.cast_signed())
            .with("prototypes", prototypes.cast_signed())
            .with("drafts", drafts.cast_signed())
            .with("transfers", self.transfers.cast_signed());
        // Programs from when there was one at a time know of the last.
        if let Some((last, others)) = self.under_way.split_last() {
            body.set("transfer", *last);
            let others: Vec<Value> = others.iter().copied().map(Value::from).collect();
            body.set("transfers_before", others);
        }
        Draft::new(body)
    }

    pub(crate) fn read(record: &Record) -> Self {
        let number = |name| record.body.int(name).unwrap_or(0).cast_unsigned();
        let usage = Usage {
            objects: number("objects"),
            bytes: number("bytes"),
            prototypes: number("prototypes"),
            drafts: number("drafts"),
        };
        let id = |value: &Value| match value {
            Value::Text(text) => text.parse().ok(),
            _ => None,
        };
        let others = record.body.array("transfers_before").unwrap_or_default();
        let last = record.body.text("transfer").and_then(|id| id.parse().ok());
        let under_way = others.iter().filter_map(id).chain(last).collect();
        Self { usage, under_way, transfers: number("transfers") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_a_bound_may_shrink() {
        let limits = CatalogLimits { max_objects: 2, max_drafts: 1, ..CatalogLimits::default() };
        let usage = |objects, drafts| Usage { objects, drafts, ..Usage::default() };
        let check = |before, after: Usage| after.check(before, &limits).map_err(|r| r.code);
        assert_eq!(check(usage(1, 0), usage(2, 1)), Ok(()));
        assert_eq!(check(usage(2, 0), usage(3, 0)), Err(Code::TooManyOwnObjects));
        assert_eq!(check(usage(9, 0), usage(8, 0)), Ok(()));
        assert_eq!(check(usage(9, 1), usage(8, 2)), Err(Code::TooManyDrafts));
    }
}
