//! People: who is here, by what they sign in, and what keeps them signed in.
//!
//! The rules are those of `avvy_auth`; here they meet what is stored. Everything
//! is a [record](avvy_persistence::records), so every store and every node of a
//! fleet will do. Nothing here knows HTTP.

use std::sync::Arc;

use avvy_persistence::records::Records;

/// The people of a server. Cloning shares it.
#[derive(Clone)]
pub struct Identity {
    records: Arc<dyn Records>,
}

impl Identity {
    /// Over these records.
    pub fn new(records: Arc<dyn Records>) -> Self {
        Self { records }
    }

    /// Where everything is kept.
    pub fn records(&self) -> &Arc<dyn Records> {
        &self.records
    }
}
