//! What clients were told, and whether all of it can be true at once.
//!
//! Each client writes down, in its own order, what it sent and what it was
//! told of one brane. Facts are numbered through over all clients, so that of
//! two the one that was written down first is known; no clock is asked.
//! Afterwards the histories are held against each other and against the
//! journal that is left: [`check`] gives what cannot be.
//!
//! Every edit has a [`Tag`] of its own, which is written into the world with
//! it, so that it is known wherever it is seen again.

mod check;
mod record;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use avvy_model::{Epoch, ObjectId, Position, Seq};

pub use check::check;
pub use record::{Clerk, Recorder};

/// Names an edit. Nobody sends one twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Tag(pub u64);

/// Something that a client did or was told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fact {
    /// It is about to send this edit, after all that it sent before.
    Sent(Tag),
    /// The edit is durable at this place: its last news.
    Durable(Tag, Position),
    /// The edit was not applied and will not be: its last news.
    Refused(Tag),
    /// Whether the edit was applied cannot be told any more: its last news.
    Unknown(Tag),
    /// Its copy follows the log from here on. `anew`: with a copy that was
    /// fetched or mended; otherwise it has followed all the way.
    Follows {
        /// Where the copy stands.
        at: Position,
        /// Whether it is another copy than before.
        anew: bool,
    },
    /// It was shown what lies in `(from, to]`.
    Saw {
        /// The epoch of all of it.
        epoch: Epoch,
        /// Where its copy stood.
        from: Seq,
        /// Where it stands now.
        to: Seq,
        /// What was durable by then.
        durable: Seq,
        /// The edits, with their places.
        edits: Vec<(Seq, Tag)>,
    },
    /// What came after this place is lost.
    Rewound(Position),
}

/// A fact, and how many came before it, of all clients.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// How many.
    pub nth: u64,
    /// What.
    pub fact: Fact,
}

/// A place of the journal that is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Which.
    pub at: Position,
    /// The edit there.
    pub tag: Tag,
    /// What it changed.
    pub object: ObjectId,
}

/// Everything that is known of one brane when all is over.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct History {
    /// What each client has written down. By then it has followed to the end
    /// of the log, and every edit has had its last news.
    pub clients: Vec<Vec<Entry>>,
    /// The journal, from the first edit on.
    pub journal: Vec<Place>,
    /// Which edit each object shows.
    pub state: BTreeMap<ObjectId, Tag>,
}

/// What must hold.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Rule {
    /// The journal has every place from the first to the last once, and its
    /// epochs never go down.
    Dense,
    /// No edit is in the journal twice.
    Once,
    /// Nothing is in the journal that nobody sent.
    Known,
    /// What was told to be durable is in the journal, at the place told.
    Durable,
    /// What was refused is not in the journal.
    Refused,
    /// Every edit has its last news.
    Answered,
    /// Edits of one client are in the journal in the order in which it sent
    /// them.
    Order,
    /// What a client is shown joins what it was shown before.
    Joined,
    /// No two clients saw different edits at one place of one epoch.
    OneLine,
    /// What a client saw and was not told to be lost is in the journal.
    Seen,
    /// Nobody is told that something is lost that was told to be durable.
    Kept,
    /// An edit comes after what its client had seen when it sent it.
    AfterSeen,
    /// An edit comes after all that anybody was told to be durable before it
    /// was sent.
    AfterDurable,
    /// The world shows the last edit of each object.
    State,
}

/// Something that cannot be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// The rule that it breaks.
    pub rule: Rule,
    /// The client whose history says so, if it is one.
    pub client: Option<usize>,
    /// What.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, client, what } = self;
        match client {
            Some(client) => write!(f, "{rule:?}: client {client}: {what}"),
            None => write!(f, "{rule:?}: {what}"),
        }
    }
}
