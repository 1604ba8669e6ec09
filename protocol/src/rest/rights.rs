//! Rights in a brane.

use avvy_model::{Grant, GrantId, POSITION_UNIT_M, PrototypeId, Sanction, Standing, UserId, Verbs};
use serde::{Deserialize, Serialize};

#[cfg(feature = "openapi")]
use super::schema;
use crate::codec::{text, text_option, whole};

/// What the caller may do in a brane; for who governs it, what everybody may.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RightsBody {
    /// The caller's role.
    pub role: String,
    /// What it allows together with the token.
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::verbs))]
    pub verbs: Vec<String>,
    /// What the caller may do besides.
    pub grants: Vec<GrantBody>,
    /// There when the caller is kept from sending signals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mute: Option<SanctionBody>,
    /// Only for who governs the brane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<RightsTable>,
}

/// Everybody's rights in a brane.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RightsTable {
    /// The role of everybody who has none of their own.
    pub everybody: String,
    /// The brane's own roles, by name.
    pub roles: Vec<RoleBody>,
    /// The people of whom the brane says something, by id.
    pub people: Vec<StandingBody>,
    /// All grants, by id.
    pub grants: Vec<GrantBody>,
    /// The last rulings, the oldest first.
    pub rulings: Vec<RulingBody>,
}

/// A role of a brane's own.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RoleBody {
    /// Its name.
    pub role: String,
    /// What it allows.
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::verbs))]
    pub verbs: Vec<String>,
}

/// What a brane says of one user.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StandingBody {
    /// Of whom.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub user: UserId,
    /// Their role; absent: as everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// There when they are kept out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ban: Option<SanctionBody>,
    /// There when they are kept from sending signals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mute: Option<SanctionBody>,
}

/// A ban or a mute.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SanctionBody {
    /// Until when, in Unix milliseconds; absent: it has no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
}

/// A right of one user for some objects.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GrantBody {
    /// Names it.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub grant: GrantId,
    /// Whose it is.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub to: UserId,
    /// To do what.
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::verbs))]
    pub verbs: Vec<String>,
    /// With these properties only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<Vec<String>>,
    /// With instances of this prototype only.
    #[serde(default, with = "text_option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub prototype: Option<PrototypeId>,
    /// With objects in this region only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<RegionBody>,
    /// With objects under this one only, by its handle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<u32>,
    /// Until when, in Unix milliseconds; absent: it has no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
    /// Who gave it.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub by: UserId,
}

/// A region, by its bounds in metres.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RegionBody {
    /// The least of each axis.
    pub min: [f64; 3],
    /// The greatest.
    pub max: [f64; 3],
}

/// A ruling that took effect.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RulingBody {
    /// Its place in the log.
    #[serde(with = "whole")]
    pub seq: u64,
    /// When, in Unix milliseconds.
    #[serde(with = "whole")]
    pub at_ms: u64,
    /// Whose it was.
    #[serde(with = "text")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub by: UserId,
    /// What it changed: `everybody`, `role`, `standing`, `granted` or `revoked`.
    pub changed: String,
    /// The role or the grant that it names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The user whom it concerns.
    #[serde(default, with = "text_option", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = schema::id))]
    pub user: Option<UserId>,
}

/// The names of verbs.
pub fn verb_names(verbs: Verbs) -> Vec<String> {
    verbs.iter().map(|verb| verb.name().to_owned()).collect()
}

impl From<Sanction> for SanctionBody {
    fn from(sanction: Sanction) -> Self {
        Self { until_ms: sanction.until_ms }
    }
}

impl StandingBody {
    /// What a brane says of this user.
    pub fn new(user: UserId, standing: &Standing) -> Self {
        Self {
            user,
            role: standing.role.as_ref().map(ToString::to_string),
            ban: standing.ban.map(SanctionBody::from),
            mute: standing.mute.map(SanctionBody::from),
        }
    }
}

impl From<&Grant> for GrantBody {
    fn from(grant: &Grant) -> Self {
        let Grant { id, to, verbs, reach, until_ms, by } = grant;
        let metres = |bound: [i32; 3]| bound.map(|n| f64::from(n) * POSITION_UNIT_M);
        let region = |region: avvy_model::Cuboid| RegionBody {
            min: metres(region.min),
            max: metres(region.max),
        };
        let keys = reach.keys.as_ref();
        Self {
            grant: *id,
            to: *to,
            verbs: verb_names(*verbs),
            keys: keys.map(|keys| keys.iter().map(|key| key.as_str().to_owned()).collect()),
            prototype: reach.prototype,
            region: reach.region.map(region),
            within: reach.within.map(|handle| handle.0),
            until_ms: *until_ms,
            by: *by,
        }
    }
}
