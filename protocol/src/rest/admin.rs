//! What operators are told.

use avvy_model::{BraneId, Visibility};
use serde::{Deserialize, Serialize};

#[cfg(feature = "openapi")]
use super::schema;
use crate::codec::{text, visibility, whole};

/// What a server has open and owes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StatusBody {
    /// Open WebSocket sessions.
    #[serde(with = "whole")]
    pub sessions: u64,
    /// Open branes.
    #[serde(with = "whole")]
    pub open_branes: u64,
    /// The open branes with the most sessions.
    pub branes: Vec<OpenBraneBody>,
    /// Revocations of tokens in force.
    #[serde(with = "whole")]
    pub revoked: u64,
    /// Whether the server is about to stop.
    pub is_stopping: bool,
}

/// An open brane.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OpenBraneBody {
    /// Which.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub brane: BraneId,
    /// Who may see it.
    #[serde(with = "visibility")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::visibility))]
    pub visibility: Visibility,
    /// Sessions that have joined it.
    #[serde(with = "whole")]
    pub sessions: u64,
    /// Objects in it.
    #[serde(with = "whole")]
    pub objects: u64,
}
