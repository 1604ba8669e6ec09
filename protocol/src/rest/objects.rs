//! The objects of a brane.

use std::collections::BTreeMap;

use avvy_model::{Followed, Handle, Kind, Object, ObjectId, Position, Props, PrototypeId, UserId};
use serde::{Deserialize, Serialize};

#[cfg(feature = "openapi")]
use super::schema;
use crate::codec::{kind, position, text};

/// An object of a brane.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ObjectBody {
    /// Its ordinal in the brane.
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::handle))]
    pub handle: Handle,
    /// Its name everywhere.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub id: ObjectId,
    /// The group it is in; the root is in itself.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub parent: ObjectId,
    /// Group or block.
    #[serde(with = "kind")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::object_kind))]
    pub kind: Kind,
    /// Whose it is.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub owner: UserId,
    /// Row-major 4 x 4 matrix relative to the parent, metres in the last column.
    #[serde(with = "super::words::matrix")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::matrix))]
    pub transform: [f64; 16],
    /// Its own properties.
    #[serde(with = "super::words::props")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::props))]
    pub props: Props,
    /// Its properties with the defaults of its prototype; absent when these are
    /// its own.
    #[serde(
        default,
        with = "super::words::optional_props",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::props))]
    pub in_effect: Option<Props>,
}

impl ObjectBody {
    /// The body of an object whose parent has this id, in a brane that follows
    /// these prototypes.
    pub fn new(
        handle: Handle,
        object: &Object,
        parent: ObjectId,
        followed: &BTreeMap<PrototypeId, Followed>,
    ) -> Self {
        let defaults = object.prototype().and_then(|prototype| followed.get(&prototype));
        Self {
            handle,
            id: object.id,
            parent,
            kind: object.kind,
            owner: object.owner,
            transform: object.transform.to_matrix(),
            props: object.props.clone(),
            in_effect: defaults.map(|followed| object.props.over(&followed.defaults)),
        }
    }
}

/// A page of a brane's objects.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ObjectPage {
    /// The state that the page shows. Pages of one walk may show different ones.
    #[serde(with = "position")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::position))]
    pub at: Position,
    /// In the order of their handles.
    pub objects: Vec<ObjectBody>,
    /// Give this as `after` to get the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::handle))]
    pub next: Option<Handle>,
}
