//! What the cache needs of the tier that the nodes share.

use std::time::Duration;

use bytes::Bytes;

use crate::store::BoxFuture;

/// A key of the shared tier: the kind and the version of the model, and its
/// own text.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct SharedKey {
    pub kind: &'static str,
    pub version: u32,
    pub text: String,
}

/// What the shared tier says of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Look {
    /// The value, or that there is none, and for how long it may still be
    /// served, counted from before it was asked for; `frame` is all of it, by
    /// which it can be renewed.
    Found { body: Option<Bytes>, left: Duration, frame: Vec<u8> },
    /// It has none: whoever asked is to load it.
    Mine(Lease),
    /// Somebody else loads it.
    Theirs,
    /// It does not answer, or is not asked for a while.
    Away,
}

/// The right to put a value. It ends with the next write of the key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Lease {
    pub token: Vec<u8>,
    /// A moment before the store is asked, in milliseconds of the shared clock.
    pub asked_ms: u64,
}

/// The tier. None of its calls takes longer than its time-out, or fails for
/// the caller: what it cannot do, it leaves.
pub(crate) trait Shared: Send + Sync + 'static {
    /// Asks for a key. `max_stale` is how long after the store was asked for
    /// it a value may be served at all.
    fn look<'a>(&'a self, key: &'a SharedKey, max_stale: Duration) -> BoxFuture<'a, Look>;

    /// Asks for the right to put a new value in place of one that was found.
    /// Like a lease it ends with the next write. One gets it for each value;
    /// another one only after the time that a lease lasts.
    fn renew<'a>(&'a self, key: &'a SharedKey, frame: Vec<u8>) -> BoxFuture<'a, Option<Lease>>;

    /// Puts what was loaded, for so long from when the lease was given, unless
    /// the key was written since.
    fn fill<'a>(
        &'a self,
        key: &'a SharedKey,
        lease: Lease,
        body: Option<Bytes>,
        keep: Duration,
    ) -> BoxFuture<'a, ()>;

    /// Removes the value and every right to put it, and tells all nodes. False
    /// when it is not known to have been done.
    fn gone<'a>(&'a self, key: &'a SharedKey) -> BoxFuture<'a, bool>;
}
