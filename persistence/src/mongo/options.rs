//! How the store reaches its database.

use std::fmt;

use crate::fleet::Node;

/// Where the database is, and the bounds of talking to it.
#[derive(Clone, PartialEq, Eq)]
pub struct MongoOptions {
    /// The address, as `mongodb://user:password@host,host/?replicaSet=name`.
    /// Secret: it may hold a password.
    pub uri: String,
    /// The database.
    pub database: String,
    /// What the connections call themselves in the server's log.
    pub app_name: String,
    /// How long one operation may take, in milliseconds. Then its outcome is
    /// unknown.
    pub timeout_ms: u64,
    /// The most connections to each server. Beyond, operations wait for one.
    pub max_connections: u32,
    /// What the store is in a fleet, whose nodes have one database open. None:
    /// this is the only server on the database.
    pub node: Option<Node>,
    /// How long a lease of the node lasts, in milliseconds: so long after its
    /// death others wait for what it held.
    pub lease_ms: u64,
}

impl MongoOptions {
    /// The defaults for a database at an address.
    pub fn at(uri: impl Into<String>, database: impl Into<String>) -> Self {
        Self {
            uri: uri.into(),
            database: database.into(),
            app_name: "avvyland".to_owned(),
            timeout_ms: 10_000,
            max_connections: 32,
            node: None,
            lease_ms: 5_000,
        }
    }
}

impl fmt::Debug for MongoOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { uri: _, database, app_name, timeout_ms, max_connections, node, lease_ms } = self;
        f.debug_struct("MongoOptions")
            .field("uri", &"…")
            .field("database", database)
            .field("app_name", app_name)
            .field("timeout_ms", timeout_ms)
            .field("max_connections", max_connections)
            .field("node", node)
            .field("lease_ms", lease_ms)
            .finish()
    }
}
