//! The bytes of rights, in the journal and in snapshots.
//!
//! ```text
//! ruled     [0, role before, role now]                         everybody
//!           [1, name, verbs before / null, verbs now / null]   role
//!           [2, user: 16 bytes, standing before, standing now]
//!           [3, grant]                                         granted
//!           [4, grant]                                         revoked
//! standing  [role / null, ban, mute]
//! ban, mute null: none; true: without an end; else its end in ms
//! grant     [id: 16 bytes, user: 16 bytes, verbs, reach, end in ms / null, by: 16 bytes]
//! reach     {0: [key, ..], 1: prototype: 16 bytes,
//!            2: [min x, y, z, max x, y, z] in 0.1 mm, 3: handle}   (each: not narrowed)
//! entry     [0, role of everybody]
//!           [1, name, verbs]
//!           [2, user: 16 bytes, standing]
//!           [3, grant]
//!           [4, seq, at_ms, by: 16 bytes, ruled]               one of the last rulings
//! ```
//!
//! A role is its name, verbs are the bits of [`Verbs::bits`].

use avvy_model::{
    Cuboid, CustomRole, Grant, GrantId, PropKey, PrototypeId, Reach, RoleName, Ruled, Sanction,
    Seq, Standing, UserId, ValueLimits, Verbs,
};
use minicbor::Decoder;
use minicbor::data::Type;

use super::{Rights, RulingRecord};
use crate::cbor::{Malformed, Writer, Written, bytes, fields, handle, list, tuple, write};

/// Bytes of a small property key in a list.
const SMALL_KEY: usize = 2;

/// A piece of a brane's rights in a snapshot.
pub(crate) enum Entry {
    /// The role of everybody.
    Everybody(RoleName),
    /// One of the brane's roles.
    Role(CustomRole, Verbs),
    /// What is said of a user.
    Standing(UserId, Standing),
    /// A grant.
    Grant(Grant),
    /// One of the last rulings.
    Ruling(RulingRecord),
}

impl Rights {
    /// All that it holds, in an order in which it can be put together again.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry> {
        let everybody = std::iter::once(Entry::Everybody(self.everybody.clone()));
        let roles = self.roles().map(|(name, verbs)| Entry::Role(name.clone(), verbs));
        let standings = self.standings().map(|(user, s)| Entry::Standing(user, s.clone()));
        let grants = self.grants().map(|grant| Entry::Grant(grant.clone()));
        let rulings = self.rulings().map(|record| Entry::Ruling(record.clone()));
        everybody.chain(roles).chain(standings).chain(grants).chain(rulings)
    }

    /// Takes what [`Self::entries`] gave.
    pub(crate) fn of_entries(owner: UserId, entries: Vec<Entry>) -> Self {
        let mut rights = Self::new(owner);
        for entry in entries {
            match entry {
                Entry::Everybody(role) => rights.everybody = role,
                Entry::Role(name, verbs) => drop(rights.roles.insert(name, verbs)),
                Entry::Standing(user, standing) => drop(rights.standings.insert(user, standing)),
                Entry::Grant(grant) => rights.add(grant),
                Entry::Ruling(record) => rights.rulings.push_back(record),
            }
        }
        rights
    }
}

impl RulingRecord {
    /// Its bytes, as snapshots have them.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut bytes, |e| write_entry(e, &Entry::Ruling(self.clone())));
        bytes
    }

    /// What [`Self::to_bytes`] gave; `None` if these are no such bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match read_entry(&mut Decoder::new(bytes)) {
            Ok(Entry::Ruling(record)) => Some(record),
            _ => None,
        }
    }
}

pub(crate) fn write_entry(e: &mut Writer<'_>, entry: &Entry) -> Written {
    match entry {
        Entry::Everybody(role) => e.array(2)?.u8(0)?.str(role.as_str()).map(drop),
        Entry::Role(name, verbs) => {
            e.array(3)?.u8(1)?.str(name.as_str())?.u8(verbs.bits()).map(drop)
        }
        Entry::Standing(user, standing) => {
            e.array(3)?.u8(2)?.bytes(&user.to_bytes())?;
            write_standing(e, standing)
        }
        Entry::Grant(grant) => {
            e.array(2)?.u8(3)?;
            write_grant(e, grant)
        }
        Entry::Ruling(RulingRecord { seq, at_ms, by, ruled }) => {
            e.array(5)?.u8(4)?.u64(seq.0)?.u64(*at_ms)?.bytes(&by.to_bytes())?;
            write_ruled(e, ruled)
        }
    }
}

pub(crate) fn read_entry(d: &mut Decoder<'_>) -> Result<Entry, Malformed> {
    numbered(d, |d, number| match number {
        0 => Ok((1, Entry::Everybody(role(d)?))),
        1 => Ok((2, Entry::Role(custom_role(d)?, verbs(d)?))),
        2 => Ok((2, Entry::Standing(user(d)?, standing(d)?))),
        3 => Ok((1, Entry::Grant(grant(d)?))),
        4 => {
            let (seq, at_ms, by) = (Seq(d.u64()?), d.u64()?, user(d)?);
            Ok((4, Entry::Ruling(RulingRecord { seq, at_ms, by, ruled: read_ruled(d)? })))
        }
        _ => Err(Malformed),
    })
}

pub(crate) fn write_ruled(e: &mut Writer<'_>, ruled: &Ruled) -> Written {
    match ruled {
        Ruled::Everybody { before, after } => {
            e.array(3)?.u8(0)?.str(before.as_str())?.str(after.as_str()).map(drop)
        }
        Ruled::Role { name, before, after } => {
            e.array(4)?.u8(1)?.str(name.as_str())?;
            write_option(e, *before, |e, verbs| e.u8(verbs.bits()).map(drop))?;
            write_option(e, *after, |e, verbs| e.u8(verbs.bits()).map(drop))
        }
        Ruled::Standing { user, before, after } => {
            e.array(4)?.u8(2)?.bytes(&user.to_bytes())?;
            write_standing(e, before)?;
            write_standing(e, after)
        }
        Ruled::Granted(grant) => {
            e.array(2)?.u8(3)?;
            write_grant(e, grant)
        }
        Ruled::Revoked(grant) => {
            e.array(2)?.u8(4)?;
            write_grant(e, grant)
        }
    }
}

pub(crate) fn read_ruled(d: &mut Decoder<'_>) -> Result<Ruled, Malformed> {
    numbered(d, |d, number| match number {
        0 => Ok((2, Ruled::Everybody { before: role(d)?, after: role(d)? })),
        1 => {
            let name = custom_role(d)?;
            let (before, after) = (option(d, verbs)?, option(d, verbs)?);
            Ok((3, Ruled::Role { name, before, after }))
        }
        2 => {
            let user = user(d)?;
            Ok((3, Ruled::Standing { user, before: standing(d)?, after: standing(d)? }))
        }
        3 => Ok((1, Ruled::Granted(grant(d)?))),
        4 => Ok((1, Ruled::Revoked(grant(d)?))),
        _ => Err(Malformed),
    })
}

/// Reads a list whose first element says what it is. `read` tells how many
/// more elements it knows; others behind them are passed over.
fn numbered<'b, T>(
    d: &mut Decoder<'b>,
    read: impl FnOnce(&mut Decoder<'b>, u64) -> Result<(u64, T), Malformed>,
) -> Result<T, Malformed> {
    let count = d.array()?.ok_or(Malformed)?;
    let number = d.u64()?;
    let (known, value) = read(d, number)?;
    let more = count.checked_sub(known + 1).ok_or(Malformed)?;
    for _ in 0..more {
        d.skip()?;
    }
    Ok(value)
}

fn write_standing(e: &mut Writer<'_>, standing: &Standing) -> Written {
    e.array(3)?;
    write_option(e, standing.role.as_ref(), |e, role| e.str(role.as_str()).map(drop))?;
    write_sanction(e, standing.ban)?;
    write_sanction(e, standing.mute)
}

fn standing(d: &mut Decoder<'_>) -> Result<Standing, Malformed> {
    tuple(d, 3, |d| Ok(Standing { role: option(d, role)?, ban: sanction(d)?, mute: sanction(d)? }))
}

fn write_sanction(e: &mut Writer<'_>, sanction: Option<Sanction>) -> Written {
    match sanction {
        None => e.null()?,
        Some(Sanction { until_ms: None }) => e.bool(true)?,
        Some(Sanction { until_ms: Some(until_ms) }) => e.u64(until_ms)?,
    };
    Ok(())
}

fn sanction(d: &mut Decoder<'_>) -> Result<Option<Sanction>, Malformed> {
    option(d, |d| match d.datatype()? {
        Type::Bool if d.bool()? => Ok(Sanction { until_ms: None }),
        Type::Bool => Err(Malformed),
        _ => Ok(Sanction { until_ms: Some(d.u64()?) }),
    })
}

fn write_grant(e: &mut Writer<'_>, grant: &Grant) -> Written {
    e.array(6)?.bytes(&grant.id.to_bytes())?.bytes(&grant.to.to_bytes())?;
    e.u8(grant.verbs.bits())?;
    write_reach(e, &grant.reach)?;
    write_option(e, grant.until_ms, |e, until_ms| e.u64(until_ms).map(drop))?;
    e.bytes(&grant.by.to_bytes())?;
    Ok(())
}

fn grant(d: &mut Decoder<'_>) -> Result<Grant, Malformed> {
    tuple(d, 6, |d| {
        Ok(Grant {
            id: GrantId::from_bytes(bytes(d)?),
            to: user(d)?,
            verbs: verbs(d)?,
            reach: reach(d)?,
            until_ms: option(d, |d| Ok(d.u64()?))?,
            by: user(d)?,
        })
    })
}

fn write_reach(e: &mut Writer<'_>, reach: &Reach) -> Written {
    let Reach { keys, prototype, region, within } = reach;
    let there = [keys.is_some(), prototype.is_some(), region.is_some(), within.is_some()];
    e.map(there.iter().filter(|there| **there).count() as u64)?;
    if let Some(keys) = keys {
        e.u8(0)?.array(keys.len() as u64)?;
        for key in keys {
            e.str(key.as_str())?;
        }
    }
    if let Some(prototype) = prototype {
        e.u8(1)?.bytes(&prototype.to_bytes())?;
    }
    if let Some(Cuboid { min, max }) = region {
        e.u8(2)?.array(6)?;
        for bound in min.iter().chain(max) {
            e.i32(*bound)?;
        }
    }
    if let Some(within) = within {
        e.u8(3)?.u32(within.0)?;
    }
    Ok(())
}

fn reach(d: &mut Decoder<'_>) -> Result<Reach, Malformed> {
    let mut reach = Reach::default();
    fields(d, |d, key| {
        match key {
            0 => reach.keys = Some(list(d, SMALL_KEY, prop_key)?.into()),
            1 => reach.prototype = Some(PrototypeId::from_bytes(bytes(d)?)),
            2 => reach.region = Some(cuboid(d)?),
            3 => reach.within = Some(handle(d)?),
            // A grant reaches no farther because of what is not understood.
            _ => return Err(Malformed),
        }
        Ok(true)
    })?;
    Ok(reach)
}

fn cuboid(d: &mut Decoder<'_>) -> Result<Cuboid, Malformed> {
    tuple(d, 6, |d| {
        let mut corner = || Ok::<_, Malformed>([d.i32()?, d.i32()?, d.i32()?]);
        Ok(Cuboid { min: corner()?, max: corner()? })
    })
}

fn prop_key(d: &mut Decoder<'_>) -> Result<PropKey, Malformed> {
    PropKey::new(d.str()?, &ValueLimits::NONE).map_err(|_| Malformed)
}

fn role(d: &mut Decoder<'_>) -> Result<RoleName, Malformed> {
    d.str()?.parse().map_err(|_| Malformed)
}

fn custom_role(d: &mut Decoder<'_>) -> Result<CustomRole, Malformed> {
    match role(d)? {
        RoleName::Custom(name) => Ok(name),
        RoleName::Known(_) => Err(Malformed),
    }
}

fn verbs(d: &mut Decoder<'_>) -> Result<Verbs, Malformed> {
    Verbs::from_bits(d.u8()?).ok_or(Malformed)
}

fn user(d: &mut Decoder<'_>) -> Result<UserId, Malformed> {
    Ok(UserId::from_bytes(bytes(d)?))
}

fn write_option<T>(
    e: &mut Writer<'_>,
    value: Option<T>,
    write: impl FnOnce(&mut Writer<'_>, T) -> Written,
) -> Written {
    match value {
        Some(value) => write(e, value),
        None => e.null().map(drop),
    }
}

fn option<'b, T>(
    d: &mut Decoder<'b>,
    read: impl FnOnce(&mut Decoder<'b>) -> Result<T, Malformed>,
) -> Result<Option<T>, Malformed> {
    if d.datatype()? == Type::Null {
        d.null()?;
        return Ok(None);
    }
    read(d).map(Some)
}
