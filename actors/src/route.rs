//! A brane that a session has joined, as the session sees it.

use std::ops::Deref;

use crate::accounts::Held;
use crate::brane::BraneHandle;

/// Where what is said on a channel goes. The brane has let the session in, or
/// is about to.
pub(crate) struct Route {
    pub(crate) handle: BraneHandle,
    /// The session's joins are counted: by which of them.
    pub(crate) join: u64,
    /// Whether the client wants to see the whole brane.
    pub(crate) sees_all: bool,
    /// Held for as long as the route is there.
    _joined: Held,
}

impl Route {
    pub(crate) const fn new(handle: BraneHandle, join: u64, sees_all: bool, joined: Held) -> Self {
        Self { handle, join, sees_all, _joined: joined }
    }
}

impl Deref for Route {
    type Target = BraneHandle;

    fn deref(&self) -> &BraneHandle {
        &self.handle
    }
}
