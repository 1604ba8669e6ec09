//! Things outside of branes: objects of an inventory, prototypes, and what
//! searches find.

use avvy_model::{AssetHash, BraneId, Kind, ObjectId, Props, PrototypeId, UserId, Visibility};
use serde::{Deserialize, Serialize};

#[cfg(feature = "openapi")]
use super::schema;
use super::words;
use crate::codec::{kind, text, text_option, visibility, whole};

/// An object outside of branes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OwnObjectBody {
    /// Its name everywhere.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub id: ObjectId,
    /// Group or block.
    #[serde(with = "kind")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::object_kind))]
    pub kind: Kind,
    /// Whose it is.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub owner: UserId,
    /// Its name for people.
    pub name: String,
    /// What people are told of it.
    pub description: String,
    /// By which it is found, too.
    pub tags: Vec<String>,
    /// Who may see it; it does not change any more unless this is `private`.
    #[serde(with = "visibility")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::visibility))]
    pub visibility: Visibility,
    /// The number of the version, from 1.
    pub version: u32,
    /// The version before.
    #[serde(default, with = "text_option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id, required = false))]
    pub previous_id: Option<ObjectId>,
    /// The version after, if the caller may see it.
    #[serde(default, with = "text_option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id, required = false))]
    pub next_id: Option<ObjectId>,
    /// The group that it is in; absent for what is in the inventory itself.
    #[serde(default, with = "text_option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id, required = false))]
    pub parent_id: Option<ObjectId>,
    /// What is in a group, in its order.
    #[serde(with = "words::ids")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::ids))]
    pub child_ids: Vec<ObjectId>,
    /// The prototypes that a group offers, in its order.
    #[serde(with = "words::ids")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::ids))]
    pub gallery_ids: Vec<PrototypeId>,
    /// Row-major 4 x 4 matrix relative to the group, metres in the last column.
    #[serde(with = "words::matrix")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::matrix))]
    pub transform: [f64; 16],
    /// Its properties. The model of a block is the property `model`.
    #[serde(with = "words::props")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::props))]
    pub props: Props,
    /// When it was made, Unix time in seconds.
    #[serde(with = "whole")]
    pub created: u64,
    /// When it was last changed, Unix time in seconds.
    #[serde(with = "whole")]
    pub timestamp: u64,
}

/// Asks for a new object in the caller's inventory.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateObject {
    /// Group or block.
    #[serde(with = "kind")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::object_kind))]
    pub kind: Kind,
    /// Its name for people: 1 to 256 bytes.
    pub name: String,
    /// What people are told of it: up to 4,096 bytes.
    #[serde(default)]
    pub description: String,
    /// Up to 16 tags of up to 32 bytes without spaces.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Row-major 4 x 4 matrix; the identity when left out.
    #[serde(default, with = "words::matrix_option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::matrix, required = false))]
    pub transform: Option<[f64; 16]>,
    /// Its properties.
    #[serde(default, with = "words::props")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::props, required = false))]
    pub props: Props,
    /// For a group: what is in it, from the caller's inventory.
    #[serde(default, with = "words::ids", skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::ids, required = false))]
    pub child_ids: Vec<ObjectId>,
    /// For a group: the prototypes that it offers.
    #[serde(default, with = "words::ids", skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::ids, required = false))]
    pub gallery_ids: Vec<PrototypeId>,
}

/// Changes an object; what is left out stays.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PatchObject {
    /// Its name for people: 1 to 256 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What people are told of it: up to 4,096 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// All its tags from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// Where it is: row-major 4 x 4 matrix.
    #[serde(default, with = "words::matrix_option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::matrix, required = false))]
    pub transform: Option<[f64; 16]>,
    /// All its properties from now on.
    #[serde(default, with = "words::props_option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::props, required = false))]
    pub props: Option<Props>,
    /// All that is in a group from now on: what is left out goes back to the
    /// inventory, what is new comes from there.
    #[serde(default, with = "words::ids_option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::ids, required = false))]
    pub child_ids: Option<Vec<ObjectId>>,
    /// All prototypes of a group's gallery from now on.
    #[serde(default, with = "words::ids_option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::ids, required = false))]
    pub gallery_ids: Option<Vec<PrototypeId>>,
}

/// Shows a thing to others. It does not change any more from then on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Publish {
    /// `unlisted` or `public`; public when left out.
    #[serde(default = "public", with = "visibility")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::visibility, required = false))]
    pub visibility: Visibility,
}

impl Default for Publish {
    fn default() -> Self {
        Self { visibility: public() }
    }
}

/// Puts a prototype into a gallery, or to another place in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PutIntoGallery {
    /// The prototype.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub prototype: PrototypeId,
    /// Its place, from 0; the end when left out or beyond it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u32>,
}

/// A version of a prototype.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PrototypeBody {
    /// The id of this version.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub id: PrototypeId,
    /// Whose it is.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub owner: UserId,
    /// Its name for people.
    pub name: String,
    /// What people are told of it.
    pub description: String,
    /// By which it is found, too.
    pub tags: Vec<String>,
    /// Who may see it: a draft is `private`.
    #[serde(with = "visibility")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::visibility))]
    pub visibility: Visibility,
    /// Whether anybody finds it.
    pub is_public: bool,
    /// Whether its owner would have nobody take it any more.
    pub is_deprecated: bool,
    /// Whether it was deleted; only its owner is told, for 30 days.
    pub is_deleted: bool,
    /// The number of the version, from 1.
    pub version: u32,
    /// The version before.
    #[serde(default, with = "text_option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id, required = false))]
    pub previous_id: Option<PrototypeId>,
    /// The version after, if the caller may see it.
    #[serde(default, with = "text_option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id, required = false))]
    pub next_id: Option<PrototypeId>,
    /// The properties that its instances have unless they have their own.
    #[serde(with = "words::props")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::props))]
    pub defaults: Props,
    /// The handlers of its instances.
    #[serde(with = "words::ids")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::ids))]
    pub handler_ids: Vec<PrototypeId>,
    /// The SHA3-256 of each model that it refers to, in hexadecimal.
    #[serde(with = "words::hashes")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::hashes))]
    pub models: Vec<AssetHash>,
    /// When it was made, Unix time in seconds.
    #[serde(with = "whole")]
    pub created: u64,
    /// When it was last changed, Unix time in seconds.
    #[serde(with = "whole")]
    pub timestamp: u64,
}

/// Asks for the draft of a new prototype.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreatePrototype {
    /// Its name for people: 1 to 256 bytes.
    pub name: String,
    /// What people are told of it: up to 4,096 bytes.
    #[serde(default)]
    pub description: String,
    /// Up to 16 tags of up to 32 bytes without spaces.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The properties that its instances have unless they have their own.
    #[serde(default, with = "words::props")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::props, required = false))]
    pub defaults: Props,
    /// The handlers of its instances, at most 32.
    #[serde(default, with = "words::ids", skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::ids, required = false))]
    pub handler_ids: Vec<PrototypeId>,
    /// The SHA3-256 of each model that it refers to, in hexadecimal, at most 32.
    #[serde(default, with = "words::hashes", skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::hashes, required = false))]
    pub models: Vec<AssetHash>,
}

/// Changes a draft; what is left out stays.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PatchPrototype {
    /// Its name for people: 1 to 256 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What people are told of it: up to 4,096 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// All its tags from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// All default properties from now on.
    #[serde(default, with = "words::props_option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::props, required = false))]
    pub defaults: Option<Props>,
    /// All handlers from now on.
    #[serde(default, with = "words::ids_option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::ids, required = false))]
    pub handler_ids: Option<Vec<PrototypeId>>,
    /// All models from now on.
    #[serde(default, with = "words::hashes::option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::hashes, required = false))]
    pub models: Option<Vec<AssetHash>>,
}

/// Says whether anybody should take a prototype any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Deprecate {
    /// Whether it is deprecated from now on.
    pub is_deprecated: bool,
}

/// Moves an object of the caller's inventory into a brane.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PlaceObject {
    /// The brane.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub brane: BraneId,
    /// The group there; the root when left out.
    #[serde(default, with = "text_option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id, required = false))]
    pub parent: Option<ObjectId>,
    /// Row-major 4 x 4 matrix relative to the group; as it is in the inventory
    /// when left out.
    #[serde(default, with = "words::matrix_option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::matrix, required = false))]
    pub transform: Option<[f64; 16]>,
}

/// Moves an object of a brane into the caller's inventory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TakeObject {
    /// The brane.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub brane: BraneId,
    /// The object.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub object: ObjectId,
}

/// Objects were moved.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MovedBody {
    /// The brane.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub brane: BraneId,
    /// The objects, by the ids that they have where they are now, a group before
    /// what is in it.
    #[serde(with = "words::ids")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::ids))]
    pub objects: Vec<ObjectId>,
}

/// Asks for an instance of a prototype in a brane.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PlacePrototype {
    /// The brane.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub brane: BraneId,
    /// The group there; the root when left out.
    #[serde(default, with = "text_option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id, required = false))]
    pub parent: Option<ObjectId>,
    /// Row-major 4 x 4 matrix relative to the group; the identity when left out.
    #[serde(default, with = "words::matrix_option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::matrix, required = false))]
    pub transform: Option<[f64; 16]>,
    /// What it has otherwise than the defaults.
    #[serde(default, with = "words::props")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::props, required = false))]
    pub props: Props,
}

/// An instance was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InstanceBody {
    /// The brane.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub brane: BraneId,
    /// The object.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub id: ObjectId,
    /// The id of the prototype's first version, by which instances name it.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub prototype: PrototypeId,
}

/// Has the instances in a brane follow a version.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UpdateInstances {
    /// The brane.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub brane: BraneId,
}

/// What a brane follows of a prototype.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FollowedBody {
    /// The id of the prototype's first version, by which instances name it.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub prototype: PrototypeId,
    /// The version that is followed.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub version_id: PrototypeId,
    /// Its number.
    pub version: u32,
    /// How many instances there are, all of which an update changes.
    pub instances: u32,
}

/// The prototypes that a brane follows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OffersBody {
    /// Ascending by `prototype`.
    pub prototypes: Vec<OfferBody>,
}

/// What a brane follows of a prototype, and what it could follow instead.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OfferBody {
    /// The id of the prototype's first version, by which instances name it.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub prototype: PrototypeId,
    /// The version that is followed.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub version_id: PrototypeId,
    /// Its number.
    pub version: u32,
    /// How many instances there are, all of which an update changes.
    pub instances: u32,
    /// The newest later version that is public, or the caller's own and
    /// published, and not deprecated; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<VersionBody>,
}

/// A version of a prototype.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VersionBody {
    /// Its id.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub id: PrototypeId,
    /// Its number.
    pub version: u32,
}

/// A thing on a list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ThingBody {
    /// `prototype`, `group` or `block`; of what was found also `brane`.
    pub kind: String,
    /// Its id.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub id: ObjectId,
    /// Whose it is.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub owner: UserId,
    /// Its name for people.
    pub name: String,
    /// What people are told of it, or the beginning of that.
    pub description: String,
    /// By which it is found, too.
    pub tags: Vec<String>,
    /// Who may see it.
    #[serde(with = "visibility")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::visibility))]
    pub visibility: Visibility,
    /// The number of the version, from 1; absent where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// When it was last changed, Unix time in seconds.
    #[serde(with = "whole")]
    pub timestamp: u64,
}

/// A page of things.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ThingPage {
    /// In the order of the list.
    pub things: Vec<ThingBody>,
    /// Give this as `after` to get the next page; absent on the last one. A page
    /// may be short, or empty, and have one all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A user, as everybody sees them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UserBody {
    /// The id.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub id: UserId,
    /// The name; not unique, and no proof of anything.
    pub name: String,
    /// What they say of themselves.
    pub about: String,
    /// When they came first, Unix time in seconds.
    #[serde(with = "whole")]
    pub created: u64,
}

/// How much the caller owns outside of branes, as quotas count it, and how much
/// they may.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UsageBody {
    /// Objects.
    pub objects: u64,
    /// The most objects.
    pub max_objects: u64,
    /// Versions of prototypes.
    pub prototypes: u64,
    /// The most versions of prototypes.
    pub max_prototypes: u64,
    /// Drafts.
    pub drafts: u64,
    /// The most drafts.
    pub max_drafts: u64,
    /// Bytes of all of it.
    pub bytes: u64,
    /// The most bytes.
    pub max_bytes: u64,
}

/// Changes what everybody sees of the caller; what is left out stays.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PatchMe {
    /// The name: 1 to 80 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What they say of themselves: up to 2,000 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
}

const fn public() -> Visibility {
    Visibility::Public
}
