//! Portals between branes.

use avvy_model::{BraneId, Handle, ObjectId, Props};
use serde::{Deserialize, Serialize};

#[cfg(feature = "openapi")]
use super::schema;
use super::words;
use crate::codec::{text, text_option};

/// A portal of a brane.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PortalBody {
    /// Its ordinal in the brane.
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::handle))]
    pub handle: Handle,
    /// The object.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub id: ObjectId,
    /// The brane that it names.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub to: BraneId,
    /// The object there that it names.
    #[serde(default, with = "text_option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id, required = false))]
    pub exit: Option<ObjectId>,
    /// How it stands in its brane: row-major 4 x 4 matrix, metres in the last
    /// column. Absent where that is out of range.
    #[serde(default, with = "words::matrix_option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::matrix, required = false))]
    pub transform: Option<[f64; 16]>,
}

/// A page of a brane's portals.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PortalPage {
    /// Ascending by handle.
    pub portals: Vec<PortalBody>,
    /// Give this as `after` to get the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::handle, required = false))]
    pub next: Option<Handle>,
}

/// Where a portal leads now, as far as the caller may know.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WayBody {
    /// `open`; `archived`; `closed`: there is no such brane, or not for the
    /// caller to know; `elsewhere`: another node of the fleet has to be asked.
    pub state: String,
    /// The brane that the portal names or, where that was archived, what has
    /// succeeded it.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub brane: BraneId,
    /// The object there at which one arrives. Absent where there is none.
    #[serde(default, with = "text_option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id, required = false))]
    pub exit: Option<ObjectId>,
    /// How that stands in the brane: row-major 4 x 4 matrix, metres in the last
    /// column.
    #[serde(default, with = "words::matrix_option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::matrix, required = false))]
    pub transform: Option<[f64; 16]>,
    /// `two` if the exit is a portal that leads back to this one, else `one`;
    /// where `state` is `open`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way: Option<String>,
    /// The URL of that node, where `state` is `elsewhere`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

/// Asks for a portal.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreatePortal {
    /// The group that it is put into; the root when left out.
    #[serde(default, with = "text_option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id, required = false))]
    pub parent: Option<ObjectId>,
    /// Row-major 4 x 4 matrix relative to the group; the identity when left out.
    #[serde(default, with = "words::matrix_option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::matrix, required = false))]
    pub transform: Option<[f64; 16]>,
    /// Its other properties.
    #[serde(default, with = "words::props")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::props, required = false))]
    pub props: Props,
    /// Where it leads.
    pub to: PortalEnd,
    /// Whether the exit is a portal back to it.
    #[serde(default)]
    pub two_way: bool,
}

/// The other end of a portal.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PortalEnd {
    /// The brane.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub brane: BraneId,
    /// The group there that the exit is put into; the root when left out.
    #[serde(default, with = "text_option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id, required = false))]
    pub parent: Option<ObjectId>,
    /// Row-major 4 x 4 matrix of the exit relative to that. When left out there
    /// is no exit unless the portal is two-way; then it is the identity.
    #[serde(default, with = "words::matrix_option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::matrix, required = false))]
    pub transform: Option<[f64; 16]>,
    /// Other properties of the exit.
    #[serde(default, with = "words::props")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::props, required = false))]
    pub props: Props,
}

/// A portal was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewPortalBody {
    /// The portal.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub id: ObjectId,
    /// The brane where it leads.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub to: BraneId,
    /// What was made there.
    #[serde(default, with = "text_option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id, required = false))]
    pub exit: Option<ObjectId>,
}
