//! Rights in a brane.

use avvy_model::{
    Grant, GrantId, POSITION_UNIT_M, PrototypeId, RoleName, Ruled, Sanction, Seq, Standing, UserId,
    Verbs,
};
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
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
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
    /// What was before; absent where nothing was, and for grants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<RuledBody>,
    /// What is since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<RuledBody>,
    /// The grant that was given or taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantBody>,
}

/// What a ruling found or left.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RuledBody {
    /// The role of everybody or of the user; absent: none of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// What a role of the brane's own allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verbs: Option<Vec<String>>,
    /// There when the user is kept out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ban: Option<SanctionBody>,
    /// There when the user is kept from sending signals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mute: Option<SanctionBody>,
}

/// Rulings of a brane, page by page.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RulingPage {
    /// The newest first.
    pub rulings: Vec<RulingBody>,
    /// For `after`, to go on; absent: nothing follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
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

impl RulingBody {
    /// A ruling at this place of the log.
    pub fn new(seq: Seq, at_ms: u64, by: UserId, ruled: &Ruled) -> Self {
        let body = |changed: &str| Self {
            seq: seq.0,
            at_ms,
            by,
            changed: changed.to_owned(),
            name: None,
            user: None,
            before: None,
            after: None,
            grant: None,
        };
        let of_role =
            |role: &RoleName| RuledBody { role: Some(role.to_string()), ..RuledBody::default() };
        let of_verbs =
            |verbs: &Verbs| RuledBody { verbs: Some(verb_names(*verbs)), ..RuledBody::default() };
        let of_grant = |changed, grant: &Grant| Self {
            name: Some(grant.id.to_string()),
            user: Some(grant.to),
            grant: Some(grant.into()),
            ..body(changed)
        };
        match ruled {
            Ruled::Everybody { before, after } => Self {
                name: Some(after.to_string()),
                before: Some(of_role(before)),
                after: Some(of_role(after)),
                ..body("everybody")
            },
            Ruled::Role { name, before, after } => Self {
                name: Some(name.as_str().to_owned()),
                before: before.as_ref().map(of_verbs),
                after: after.as_ref().map(of_verbs),
                ..body("role")
            },
            Ruled::Standing { user, before, after } => Self {
                user: Some(*user),
                before: Some(before.into()),
                after: Some(after.into()),
                ..body("standing")
            },
            Ruled::Granted(grant) => of_grant("granted", grant),
            Ruled::Revoked(grant) => of_grant("revoked", grant),
        }
    }
}

impl From<&Standing> for RuledBody {
    fn from(standing: &Standing) -> Self {
        Self {
            role: standing.role.as_ref().map(ToString::to_string),
            verbs: None,
            ban: standing.ban.map(SanctionBody::from),
            mute: standing.mute.map(SanctionBody::from),
        }
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
