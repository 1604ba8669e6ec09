//! Branes.

use avvy_model::{BraneId, UserId, Visibility};
use serde::{Deserialize, Serialize};

#[cfg(feature = "openapi")]
use super::schema;
use crate::codec::{text, text_option, visibility, whole};

/// A brane, as `GET /api/v1/brane/{id}` shows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BraneBody {
    /// Its id; also the id of its root object.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub id: BraneId,
    /// Its name for people.
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::name))]
    pub name: String,
    /// Whose it is.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub owner: UserId,
    /// What it is for: `personal`, `showcase`, `rental` or `public`.
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::brane_kind))]
    pub kind: String,
    /// Who may see it.
    #[serde(with = "visibility")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::visibility))]
    pub visibility: Visibility,
    /// When it was made, Unix time in seconds.
    #[serde(with = "whole")]
    pub timestamp: u64,
    /// What people are told of it.
    #[serde(default)]
    pub description: String,
    /// By what it is found, too.
    #[serde(default)]
    pub tags: Vec<String>,
    /// What has become of it: `active`, `archived` (nobody enters it) or
    /// `deleted` (its owner can restore it); for operators also `purging` and
    /// `purged`.
    #[serde(default = "active")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::brane_life))]
    pub life: String,
    /// Since when it is not active, Unix time in seconds.
    #[serde(default, with = "super::words::whole_option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub since: Option<u64>,
    /// From when on a deleted one is purged, Unix time in seconds.
    #[serde(default, with = "super::words::whole_option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub purge_from: Option<u64>,
    /// The brane that takes the place of an archived one.
    #[serde(default, with = "text_option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id, required = false))]
    pub successor: Option<BraneId>,
    /// Whether an operator archived it; then only an operator opens it again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub by_operator: bool,
    /// Counts the changes of all this, from 1. It is the version of `ETag`.
    #[serde(default = "one", with = "whole")]
    pub version: u64,
}

/// Changes what is said of a brane; what is left out stays.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PatchBrane {
    /// Its name for people: 1 to 256 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::name, required = false))]
    pub name: Option<String>,
    /// What people are told of it: up to 4,096 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// All its tags from now on: up to 16 of up to 32 bytes without spaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// What it is for; the owner alone changes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::brane_kind, required = false))]
    pub kind: Option<String>,
    /// Who may see it; the owner alone changes it.
    #[serde(
        default,
        with = "super::words::visibility_option",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::visibility, required = false))]
    pub visibility: Option<Visibility>,
}

/// Archives a brane.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ArchiveBrane {
    /// The brane that takes its place.
    #[serde(default, with = "text_option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id, required = false))]
    pub successor: Option<BraneId>,
}

/// Asks for a new brane.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateBrane {
    /// Its id, drawn by the client (UUID v4), so that the request can be
    /// repeated; the server draws one when there is none.
    #[serde(default, with = "text_option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::drawn_id))]
    pub id: Option<BraneId>,
    /// Its name for people.
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::name))]
    pub name: String,
    /// What it is for; `personal` when left out.
    #[serde(default = "personal")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::brane_kind))]
    pub kind: String,
    /// Who may see it; private when left out.
    #[serde(default = "private", with = "visibility")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::visibility))]
    pub visibility: Visibility,
    /// The edge of the cells that its areas go by, in metres, 0.1 to 10,000;
    /// 16 when left out.
    #[serde(default, with = "super::words::real_option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 0.1, maximum = 10_000.0))]
    pub cell_size: Option<f64>,
}

/// A page of branes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BranePage {
    /// The oldest first.
    pub branes: Vec<BraneBody>,
    /// Give this as `after` to get the next page; absent on the last one.
    /// What is in it is the server's business.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

fn personal() -> String {
    "personal".to_owned()
}

fn active() -> String {
    "active".to_owned()
}

const fn one() -> u64 {
    1
}

const fn private() -> Visibility {
    Visibility::Private
}
