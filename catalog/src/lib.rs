//! Things: what people own and find outside of branes.
//!
//! Everything is a [record](avvy_persistence::records), so every store and every
//! node of a fleet will do. Nothing here knows HTTP.

use std::sync::Arc;

use avvy_persistence::records::Records;

/// The things of a server. Cloning shares it.
#[derive(Clone)]
pub struct Catalog {
    records: Arc<dyn Records>,
}

impl Catalog {
    /// Over these records.
    pub fn new(records: Arc<dyn Records>) -> Self {
        Self { records }
    }

    /// Where everything is kept.
    pub fn records(&self) -> &Arc<dyn Records> {
        &self.records
    }
}
