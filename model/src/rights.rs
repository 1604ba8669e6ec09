//! The words of rights in a brane: verbs, roles, grants, sanctions, and the
//! rulings that change them. Who may do what is decided in the crate `brane`.

use std::fmt;
use std::str::FromStr;

use crate::{GrantId, Handle, PropKey, PrototypeId, Role, UserId};

/// What somebody does to a brane, as rights name it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Verb {
    /// Adds objects.
    Create = 1,
    /// Moves objects and hangs them into other groups.
    Move = 2,
    /// Sets and removes properties of objects.
    Edit = 4,
    /// Removes objects.
    Delete = 8,
    /// Sets and removes properties of the root, which are the brane's own.
    Configure = 16,
    /// Rules over the rights of others.
    Govern = 32,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Create, Self::Move, Self::Edit, Self::Delete, Self::Configure, Self::Govern];

    /// The name on public surfaces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Move => "move",
            Self::Edit => "edit",
            Self::Delete => "delete",
            Self::Configure => "configure",
            Self::Govern => "govern",
        }
    }

    /// The verb of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.name() == name)
    }
}

/// A set of verbs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Verbs(u8);

impl Verbs {
    /// None.
    pub const NONE: Self = Self(0);
    /// All.
    pub const ALL: Self = Self::of(&Verb::ALL);
    /// What a grant may give: all but what concerns the brane as a whole.
    pub const OF_OBJECTS: Self = Role::Builder.verbs();

    /// These.
    pub const fn of(verbs: &[Verb]) -> Self {
        let (mut bits, mut n) = (0, 0);
        while n < verbs.len() {
            bits |= verbs[n] as u8;
            n += 1;
        }
        Self(bits)
    }

    /// The set of these bits, as [`Self::bits`] gives them; `None` if one of
    /// them is no verb's.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits & !Self::ALL.0 == 0 { Some(Self(bits)) } else { None }
    }

    /// A bit for each verb: `create` 1, `move` 2, `edit` 4, `delete` 8,
    /// `configure` 16, `govern` 32.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the verb is among them.
    pub const fn contains(self, verb: Verb) -> bool {
        self.0 & verb as u8 != 0
    }

    /// Whether all of the others are among them.
    pub const fn covers(self, others: Self) -> bool {
        others.0 & !self.0 == 0
    }

    /// Those that are in both.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// Those that are in either.
    #[must_use]
    pub const fn or(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Verb> + Clone {
        Verb::ALL.into_iter().filter(move |verb| self.contains(*verb))
    }

    /// How many.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }
}

impl FromIterator<Verb> for Verbs {
    fn from_iter<I: IntoIterator<Item = Verb>>(verbs: I) -> Self {
        Self(verbs.into_iter().fold(0, |bits, verb| bits | verb as u8))
    }
}

impl fmt::Debug for Verbs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// The longest name of a role, in bytes.
pub const MAX_ROLE_NAME_BYTES: usize = 32;

/// The text is no name of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role's name has 1 to 32 of a-z, 0-9 and -, the first a letter")]
pub struct InvalidRoleName;

/// The name of a role that a brane has made for itself: 1 to
/// [`MAX_ROLE_NAME_BYTES`] of `a` to `z`, `0` to `9` and `-`, the first a
/// letter, and none of [`Role::ALL`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CustomRole(Box<str>);

impl CustomRole {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Names a role in a brane.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RoleName {
    /// One that every brane knows.
    Known(Role),
    /// One of this brane.
    Custom(CustomRole),
}

impl RoleName {
    /// The name on public surfaces.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(role) => role.name(),
            Self::Custom(name) => name.as_str(),
        }
    }
}

impl FromStr for RoleName {
    type Err = InvalidRoleName;

    fn from_str(text: &str) -> Result<Self, InvalidRoleName> {
        if let Some(role) = Role::from_name(text) {
            return Ok(Self::Known(role));
        }
        let is_good = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let begins_well = text.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
        if !begins_well || text.len() > MAX_ROLE_NAME_BYTES || !text.bytes().all(is_good) {
            return Err(InvalidRoleName);
        }
        Ok(Self::Custom(CustomRole(text.into())))
    }
}

impl From<Role> for RoleName {
    fn from(role: Role) -> Self {
        Self::Known(role)
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A box in the brane's own space, in units of 0.1 mm
/// ([`crate::POSITION_UNIT_M`]); its bounds are in it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Cuboid {
    /// The least coordinates.
    pub min: [i32; 3],
    /// The greatest.
    pub max: [i32; 3],
}

impl Cuboid {
    /// Whether the position is in it.
    pub fn contains(&self, position: [i32; 3]) -> bool {
        (0..3).all(|axis| (self.min[axis]..=self.max[axis]).contains(&position[axis]))
    }
}

/// The most properties that one grant may name.
pub const MAX_GRANT_KEYS: usize = 32;

/// What a grant is about. Each part that is there narrows it; without any it
/// is about all objects.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reach {
    /// Only these properties, at most [`MAX_GRANT_KEYS`]. It bounds
    /// [`Verb::Edit`] alone.
    pub keys: Option<Box<[PropKey]>>,
    /// Only objects made from this prototype.
    pub prototype: Option<PrototypeId>,
    /// Only objects whose position in the brane is in here, before and after.
    pub region: Option<Cuboid>,
    /// Only this group and what is in it, before and after.
    pub within: Option<Handle>,
}

/// A right beside a user's role.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// Names it.
    pub id: GrantId,
    /// Whose it is.
    pub to: UserId,
    /// To do what: some of [`Verbs::OF_OBJECTS`].
    pub verbs: Verbs,
    /// With which objects.
    pub reach: Reach,
    /// Server's Unix time in milliseconds from which it no longer counts;
    /// `None`: it has no end.
    pub until_ms: Option<u64>,
    /// Who gave it.
    pub by: UserId,
}

impl Grant {
    /// Whether it counts at this time.
    pub fn counts(&self, now_ms: u64) -> bool {
        self.until_ms.is_none_or(|until_ms| now_ms < until_ms)
    }
}

/// A ban or a mute.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Sanction {
    /// Server's Unix time in milliseconds from which it no longer counts;
    /// `None`: it has no end.
    pub until_ms: Option<u64>,
}

impl Sanction {
    /// Whether it counts at this time.
    pub fn counts(&self, now_ms: u64) -> bool {
        self.until_ms.is_none_or(|until_ms| now_ms < until_ms)
    }
}

/// What a brane says of one user, beside grants.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    /// As what; `None`: as everybody who may see the brane.
    pub role: Option<RoleName>,
    /// Kept out.
    pub ban: Option<Sanction>,
    /// Kept from sending signals.
    pub mute: Option<Sanction>,
}

impl Standing {
    /// Whether it says nothing.
    pub const fn is_empty(&self) -> bool {
        self.role.is_none() && self.ban.is_none() && self.mute.is_none()
    }
}

/// What somebody who governs asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ruling {
    /// What everybody may do who may see the brane and has no role of their own.
    Everybody {
        /// As what.
        role: RoleName,
    },
    /// Makes, changes or removes a role of this brane.
    Role {
        /// Its name.
        name: CustomRole,
        /// What it may do; `None`: it is removed. Nobody may have it then.
        verbs: Option<Verbs>,
    },
    /// Gives a user a role, which lets them into a private brane, too.
    Appoint {
        /// Whom.
        user: UserId,
        /// As what; `None`: none of their own any more.
        role: Option<RoleName>,
    },
    /// Keeps a user out, or lets them in again.
    Ban {
        /// Whom.
        user: UserId,
        /// For how long; `None`: no more.
        ban: Option<Sanction>,
    },
    /// Keeps a user from sending signals, or lets them again.
    Mute {
        /// Whom.
        user: UserId,
        /// For how long; `None`: no more.
        mute: Option<Sanction>,
    },
    /// Gives a right.
    Grant {
        /// The client's draw (UUID v4).
        id: GrantId,
        /// To whom.
        to: UserId,
        /// To do what.
        verbs: Verbs,
        /// With which objects.
        reach: Reach,
        /// As [`Grant::until_ms`].
        until_ms: Option<u64>,
    },
    /// Takes a right back.
    Revoke {
        /// Which.
        id: GrantId,
    },
}

/// What a ruling changed, with its before-image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ruled {
    /// See [`Ruling::Everybody`].
    Everybody {
        /// What was.
        before: RoleName,
        /// What is.
        after: RoleName,
    },
    /// See [`Ruling::Role`].
    Role {
        /// Its name.
        name: CustomRole,
        /// What was.
        before: Option<Verbs>,
        /// What is.
        after: Option<Verbs>,
    },
    /// A user's role, ban or mute changed.
    Standing {
        /// Whose.
        user: UserId,
        /// What was.
        before: Standing,
        /// What is.
        after: Standing,
    },
    /// A right was given.
    Granted(Grant),
    /// A right was taken back.
    Revoked(Grant),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn roles_have_names_and_what_each_may_do_grows() {
        for pair in Role::ALL.windows(2) {
            assert!(pair[0] < pair[1]);
            assert!(pair[1].verbs().covers(pair[0].verbs()), "{pair:?}");
            assert!(!pair[0].verbs().covers(pair[1].verbs()), "{pair:?}");
        }
        for role in Role::ALL {
            assert_eq!(role.name().parse(), Ok(RoleName::Known(role)));
        }
    }

    #[test]
    fn names_of_roles_keep_to_their_form() {
        for good in ["a", "gardener", "stage-crew-2", &"a".repeat(32)] {
            let name: RoleName = good.parse().unwrap();
            assert_eq!(name.as_str(), good);
            assert!(matches!(name, RoleName::Custom(_)));
        }
        for bad in ["", "A", "2a", "-a", "a b", "a_b", "ä", &"a".repeat(33)] {
            assert_eq!(bad.parse::<RoleName>(), Err(InvalidRoleName), "{bad}");
        }
    }

    #[test]
    fn sets_of_verbs_are_sets() {
        for bits in 0..64 {
            let verbs = Verbs::from_bits(bits).unwrap();
            assert_eq!(verbs.iter().collect::<Verbs>(), verbs);
            assert_eq!(verbs.iter().count(), verbs.len());
            assert!(Verbs::ALL.covers(verbs) && verbs.covers(Verbs::NONE));
        }
        assert_eq!(Verbs::from_bits(64), None);
        assert!(Verb::ALL.iter().all(|verb| Verb::from_name(verb.name()) == Some(*verb)));
    }

    #[test]
    fn a_cuboid_holds_its_bounds() {
        let cuboid = Cuboid { min: [-1, 0, 5], max: [1, 0, 9] };
        assert!(cuboid.contains([-1, 0, 9]) && cuboid.contains([1, 0, 5]));
        assert!(!cuboid.contains([-2, 0, 5]) && !cuboid.contains([0, 1, 5]));
        let inside_out = Cuboid { min: [1; 3], max: [0; 3] };
        assert!(!inside_out.contains([0; 3]) && !inside_out.contains([1; 3]));
    }
}
