//! Every setting: where it comes from, what it may be, and what does not fit
//! together.
//!
//! A setting is a key in a section of `config.toml`, `AVVY_SECTION_KEY` in
//! the environment, or a flag; each of these beats the one before it. A
//! setting that nobody made has its default. `config.toml` at the top of the
//! repository documents each one; a test holds it to the defaults here.
//!
//! To add a setting: a field in `sections` or another of these files, its text in `config.toml`, its
//! range in `bounds`.

mod api;
mod auth_sections;
mod bounds;
mod cache_rules;
mod cache_sections;
mod catalog_section;
mod memory;
mod problem;
mod rules;
mod secret;
mod sections;
mod source;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use avvy_auth::Policy;
use avvy_model::{ValueLimits, WorldLimits};
use serde::{Deserialize, Serialize};

pub use api::Api;
pub use auth_sections::{Auth, ExternalIssuer, OidcProvider, SubjectKind};
pub use cache_sections::{Cache, Redis};
pub use catalog_section::Catalog;
pub use problem::{Origin, Problem, Problems};
pub use secret::Secret;
pub use sections::{
    Brane, Fleet, Limits, Log, LogFormat, People, Server, Session, Store, StoreKind, WhenAway,
    World,
};
pub use source::{Argument, Sources};

/// Every setting of a process. Has been checked: whoever has one from
/// [`Sources::load`] need not look for contradictions.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where it listens and keeps its data.
    pub server: Server,
    /// What clients may ask for.
    pub limits: Limits,
    /// What the REST API does beyond its limits.
    pub api: Api,
    /// How a connection is kept.
    pub session: Session,
    /// How large a world may grow.
    pub world: World,
    /// How a brane runs.
    pub brane: Brane,
    /// What people see and hear of each other.
    pub people: People,
    /// How it is stored.
    pub store: Store,
    /// How much people may own outside of branes.
    pub catalog: Catalog,
    /// The nodes that share a database, of which this is one.
    pub fleet: Fleet,
    /// What is kept of the store's answers.
    pub cache: Cache,
    /// What several servers share.
    pub redis: Redis,
    /// Whose tokens count.
    pub auth: Auth,
    /// What is logged.
    pub log: Log,
}

impl Config {
    /// The bounds of every brane.
    pub const fn world_limits(&self) -> WorldLimits {
        let World { client_memory_s, clients_per_user, outcomes_per_client, .. } = self.world;
        WorldLimits {
            max_objects: self.world.max_objects,
            max_bytes: self.world.max_bytes,
            max_depth: self.world.max_depth,
            max_batch: self.world.max_batch_operations as usize,
            max_touched: self.world.max_touched_objects as usize,
            max_event_bytes: self.world.max_event_bytes as usize,
            values: ValueLimits {
                max_value_bytes: self.world.max_value_bytes as usize,
                max_nesting: self.world.max_value_nesting,
                max_key_bytes: self.world.max_key_bytes as usize,
                max_props_bytes: self.world.max_props_bytes as usize,
            },
            outcomes_per_client: outcomes_per_client as usize,
            clients_per_user: clients_per_user as usize,
            client_memory_ms: client_memory_s * 1_000,
            max_roles: self.world.max_roles as usize,
            max_standings: self.world.max_standings as usize,
            max_grants: self.world.max_grants as usize,
            max_grants_per_user: self.world.max_grants_per_user as usize,
            max_prototypes: self.world.max_prototypes as usize,
            max_prototype_bytes: self.world.max_prototype_bytes as usize,
            max_footprint_cells: self.world.max_footprint_cells,
            max_edit_cells: self.world.max_edit_cells as usize,
            max_occupied_cells: self.world.max_occupied_cells as usize,
        }
    }

    /// Whose tokens count, and for whom they are.
    pub fn token_policy(&self) -> Policy {
        Policy {
            issuer: self.auth.issuer.clone(),
            audience: self.auth.audience.clone(),
            leeway_s: self.auth.clock_leeway_s,
        }
    }

    /// The files of certificate chain and key; `None`: no TLS.
    pub fn tls_files(&self) -> Option<(PathBuf, PathBuf)> {
        let Server { tls_cert_file, tls_key_file, .. } = &self.server;
        let is_set = !tls_cert_file.as_os_str().is_empty();
        is_set.then(|| (tls_cert_file.clone(), tls_key_file.clone()))
    }

    /// The file of the issuer's keys; a relative one is in the data directory.
    pub fn auth_key_file(&self) -> PathBuf {
        self.server.data_dir.join(&self.auth.key_file)
    }

    /// Whether the keys are in the store, for all servers that share it.
    pub const fn has_keys_in_store(&self) -> bool {
        matches!(self.store.kind, StoreKind::Mongodb) && self.auth.keys_in_store
    }

    /// How long a key signs before the next one does, in seconds; 0: for ever.
    /// Servers that share something else than their keys have copies of one
    /// file, and none of them could change it for the others.
    pub const fn key_rotation_s(&self) -> u64 {
        let is_alone =
            !matches!(self.store.kind, StoreKind::Mongodb) && self.redis.url.0.is_empty();
        let may = is_alone || self.has_keys_in_store();
        if may { self.auth.key_rotation_days as u64 * 86_400 } else { 0 }
    }
}
