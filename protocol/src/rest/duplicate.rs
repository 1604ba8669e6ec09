//! Copies of branes.

use avvy_model::{BraneId, Visibility};
use serde::{Deserialize, Serialize};

#[cfg(feature = "openapi")]
use super::schema;
use crate::codec::{text_option, visibility};

/// Asks for a copy of a brane.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DuplicateBrane {
    /// The id of the copy, drawn by the client (UUID v4), so that the request
    /// can be repeated; the server draws one when there is none.
    #[serde(default, with = "text_option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::drawn_id))]
    pub id: Option<BraneId>,
    /// Its name for people; that of the brane when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::name, required = false))]
    pub name: Option<String>,
    /// What it is for; `personal` when left out.
    #[serde(default = "personal")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::brane_kind))]
    pub kind: String,
    /// Who may see it; private when left out.
    #[serde(default = "private", with = "visibility")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::visibility))]
    pub visibility: Visibility,
}

impl Default for DuplicateBrane {
    fn default() -> Self {
        Self { id: None, name: None, kind: personal(), visibility: private() }
    }
}

fn personal() -> String {
    "personal".to_owned()
}

const fn private() -> Visibility {
    Visibility::Private
}
