//! Versions of one thing.

use uuid::Uuid;

/// Where a thing stands among its versions. They are one line: each has one
/// before it and one after it at most, and numbers only rise along it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chain {
    /// The id of the first version.
    pub origin: Uuid,
    /// The version's number, from 1.
    pub number: u32,
    /// The highest number that was ever given up to where the next version is:
    /// what was deleted after this one had it, so it is not given again.
    pub(crate) issued: u32,
    /// The version before.
    pub previous: Option<Uuid>,
    /// The version after.
    pub next: Option<Uuid>,
}

impl Chain {
    /// The first version.
    pub(crate) const fn first(id: Uuid) -> Self {
        Self { origin: id, number: 1, issued: 1, previous: None, next: None }
    }

    /// The version after the one of this id.
    pub(crate) const fn after(self, id: Uuid) -> Self {
        let number = self.issued.saturating_add(1);
        Self { origin: self.origin, number, issued: number, previous: Some(id), next: None }
    }
}
