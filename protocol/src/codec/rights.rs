//! Rights: the edits that are rulings, and what a session is told of its own.

use avvy_model::{
    Code, Cuboid, CustomRole, Grant, GrantId, Handle, POSITION_UNIT_M, PropKey, PrototypeId, Reach,
    RoleName, Ruling, Sanction, UserId, ValueLimits, Verb, Verbs,
};
use serde::{Deserialize, Serialize};

use super::envelope::from_cbor;
use super::scan::Fault;
use super::text;
use crate::{Channel, OwnRights};

const OUT_OF_RANGE: Fault =
    Fault { code: Code::OutOfRange, reason: "a region's bound is outside of what a brane has" };
const NO_ROLE: Fault = Fault {
    code: Code::RulingInvalid,
    reason: "a role's name has 1 to 32 of a-z, 0-9 and -, the first a letter",
};
const NO_VERB: Fault = Fault { code: Code::RulingInvalid, reason: "no such verb" };
const KNOWN_ROLE: Fault =
    Fault { code: Code::RulingInvalid, reason: "a role that every brane knows does not change" };
const BAD_KEY: Fault =
    Fault { code: Code::RulingInvalid, reason: "a property's key is empty or too long" };

/// A ruling as an edit's fields beside its number.
#[derive(Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(super) enum RulingWire {
    Everybody {
        role: String,
    },
    DefineRole {
        role: String,
        verbs: Vec<String>,
    },
    RemoveRole {
        role: String,
    },
    Appoint {
        #[serde(with = "text")]
        user: UserId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<String>,
    },
    Ban(SanctionWire),
    Unban(UserWire),
    Mute(SanctionWire),
    Unmute(UserWire),
    Grant(GrantWire),
    Revoke {
        #[serde(with = "text")]
        grant: GrantId,
    },
}

#[derive(Serialize, Deserialize)]
pub(super) struct UserWire {
    #[serde(with = "text")]
    user: UserId,
}

#[derive(Serialize, Deserialize)]
pub(super) struct SanctionWire {
    #[serde(with = "text")]
    user: UserId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until_ms: Option<Millis>,
}

/// Unix milliseconds.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Millis(#[serde(with = "super::whole")] u64);

/// A grant, in an edit and in what a session is told.
#[derive(Serialize, Deserialize)]
pub(super) struct GrantWire {
    #[serde(with = "text")]
    grant: GrantId,
    #[serde(with = "text")]
    to: UserId,
    verbs: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keys: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "super::text_option")]
    prototype: Option<PrototypeId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    region: Option<RegionWire>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    within: Option<Handle>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until_ms: Option<Millis>,
    /// Only in what a session is told.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "super::text_option")]
    by: Option<UserId>,
}

/// Bounds in metres.
#[derive(Serialize, Deserialize)]
struct RegionWire {
    min: [f64; 3],
    max: [f64; 3],
}

/// Whether an operation of this name is a ruling.
pub(super) fn is_ruling(op: &str) -> bool {
    matches!(
        op,
        "everybody"
            | "define_role"
            | "remove_role"
            | "appoint"
            | "ban"
            | "unban"
            | "mute"
            | "unmute"
            | "grant"
            | "revoke"
    )
}

/// Reads the fields of an edit whose `op` [`is_ruling`].
pub(super) fn read_ruling(item: &[u8], limits: &ValueLimits) -> Result<Ruling, Fault> {
    Ok(match from_cbor(item)? {
        RulingWire::Everybody { role } => Ruling::Everybody { role: role_name(&role)? },
        RulingWire::DefineRole { role, verbs } => {
            Ruling::Role { name: custom_role(&role)?, verbs: Some(read_verbs(&verbs)?) }
        }
        RulingWire::RemoveRole { role } => Ruling::Role { name: custom_role(&role)?, verbs: None },
        RulingWire::Appoint { user, role } => {
            Ruling::Appoint { user, role: role.as_deref().map(role_name).transpose()? }
        }
        RulingWire::Ban(wire) => Ruling::Ban { user: wire.user, ban: Some(wire.sanction()) },
        RulingWire::Unban(UserWire { user }) => Ruling::Ban { user, ban: None },
        RulingWire::Mute(wire) => Ruling::Mute { user: wire.user, mute: Some(wire.sanction()) },
        RulingWire::Unmute(UserWire { user }) => Ruling::Mute { user, mute: None },
        RulingWire::Grant(wire) => {
            let Grant { id, to, verbs, reach, until_ms, .. } = wire.grant(limits)?;
            Ruling::Grant { id, to, verbs, reach, until_ms }
        }
        RulingWire::Revoke { grant } => Ruling::Revoke { id: grant },
    })
}

impl From<&Ruling> for RulingWire {
    fn from(ruling: &Ruling) -> Self {
        match ruling {
            Ruling::Everybody { role } => Self::Everybody { role: role.to_string() },
            Ruling::Role { name, verbs: Some(verbs) } => {
                Self::DefineRole { role: name.as_str().to_owned(), verbs: write_verbs(*verbs) }
            }
            Ruling::Role { name, verbs: None } => {
                Self::RemoveRole { role: name.as_str().to_owned() }
            }
            Ruling::Appoint { user, role } => {
                Self::Appoint { user: *user, role: role.as_ref().map(RoleName::to_string) }
            }
            Ruling::Ban { user, ban: Some(ban) } => Self::Ban(SanctionWire::new(*user, *ban)),
            Ruling::Ban { user, ban: None } => Self::Unban(UserWire { user: *user }),
            Ruling::Mute { user, mute: Some(mute) } => Self::Mute(SanctionWire::new(*user, *mute)),
            Ruling::Mute { user, mute: None } => Self::Unmute(UserWire { user: *user }),
            Ruling::Grant { id, to, verbs, reach, until_ms } => {
                Self::Grant(GrantWire::new(*id, *to, *verbs, reach, *until_ms, None))
            }
            Ruling::Revoke { id } => Self::Revoke { grant: *id },
        }
    }
}

impl SanctionWire {
    fn new(user: UserId, sanction: Sanction) -> Self {
        Self { user, until_ms: sanction.until_ms.map(Millis) }
    }

    fn sanction(&self) -> Sanction {
        Sanction { until_ms: self.until_ms.map(|until| until.0) }
    }
}

impl GrantWire {
    fn new(
        grant: GrantId,
        to: UserId,
        verbs: Verbs,
        reach: &Reach,
        until_ms: Option<u64>,
        by: Option<UserId>,
    ) -> Self {
        let keys = reach.keys.as_ref();
        let metres = |bound: [i32; 3]| bound.map(|n| f64::from(n) * POSITION_UNIT_M);
        Self {
            grant,
            to,
            verbs: write_verbs(verbs),
            keys: keys.map(|keys| keys.iter().map(|key| key.as_str().to_owned()).collect()),
            prototype: reach.prototype,
            region: reach
                .region
                .map(|region| RegionWire { min: metres(region.min), max: metres(region.max) }),
            within: reach.within,
            until_ms: until_ms.map(Millis),
            by,
        }
    }

    /// The grant; one that names nobody it is by is by its receiver.
    fn grant(self, limits: &ValueLimits) -> Result<Grant, Fault> {
        let key = |key: String| PropKey::new(&key, limits).map_err(|_| BAD_KEY);
        let keys = self.keys.map(|keys| keys.into_iter().map(key).collect::<Result<_, _>>());
        let reach = Reach {
            keys: keys.transpose()?,
            prototype: self.prototype,
            region: self.region.map(RegionWire::cuboid).transpose()?,
            within: self.within,
        };
        Ok(Grant {
            id: self.grant,
            to: self.to,
            verbs: read_verbs(&self.verbs)?,
            reach,
            until_ms: self.until_ms.map(|until| until.0),
            by: self.by.unwrap_or(self.to),
        })
    }
}

impl RegionWire {
    fn cuboid(self) -> Result<Cuboid, Fault> {
        Ok(Cuboid { min: units(self.min)?, max: units(self.max)? })
    }
}

/// The nearest positions that a brane has.
fn units(bound: [f64; 3]) -> Result<[i32; 3], Fault> {
    let units = bound.map(|metres| (metres / POSITION_UNIT_M).round());
    let range = f64::from(i32::MIN)..=f64::from(i32::MAX);
    if units.iter().all(|n| range.contains(n)) {
        Ok(units.map(|n| n as i32))
    } else {
        Err(OUT_OF_RANGE)
    }
}

/// `brane.rights`.
#[derive(Serialize, Deserialize)]
pub(super) struct OwnRightsWire {
    ch: Channel,
    role: String,
    verbs: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    grants: Vec<GrantWire>,
    /// There when the user is muted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mute: Option<MuteWire>,
}

#[derive(Serialize, Deserialize)]
struct MuteWire {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until_ms: Option<Millis>,
}

impl From<&OwnRights> for OwnRightsWire {
    fn from(own: &OwnRights) -> Self {
        let grant = |grant: &Grant| {
            let Grant { id, to, verbs, reach, until_ms, by } = grant;
            GrantWire::new(*id, *to, *verbs, reach, *until_ms, Some(*by))
        };
        Self {
            ch: own.channel,
            role: own.role.to_string(),
            verbs: write_verbs(own.verbs),
            grants: own.grants.iter().map(grant).collect(),
            mute: own.mute.map(|mute| MuteWire { until_ms: mute.until_ms.map(Millis) }),
        }
    }
}

impl OwnRightsWire {
    pub(super) fn own(self) -> Result<OwnRights, Fault> {
        let grants = self.grants.into_iter().map(|grant| grant.grant(&ValueLimits::NONE));
        Ok(OwnRights {
            channel: self.ch,
            role: role_name(&self.role)?,
            verbs: read_verbs(&self.verbs)?,
            grants: grants.collect::<Result<_, _>>()?,
            mute: self.mute.map(|mute| Sanction { until_ms: mute.until_ms.map(|until| until.0) }),
        })
    }
}

fn role_name(name: &str) -> Result<RoleName, Fault> {
    name.parse().map_err(|_| NO_ROLE)
}

fn custom_role(name: &str) -> Result<CustomRole, Fault> {
    match role_name(name)? {
        RoleName::Custom(name) => Ok(name),
        RoleName::Known(_) => Err(KNOWN_ROLE),
    }
}

fn read_verbs(names: &[String]) -> Result<Verbs, Fault> {
    names.iter().map(|name| Verb::from_name(name).ok_or(NO_VERB)).collect()
}

fn write_verbs(verbs: Verbs) -> Vec<String> {
    verbs.iter().map(|verb| verb.name().to_owned()).collect()
}
