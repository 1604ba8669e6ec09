//! How a session is served that cannot keep up.

use serde::{Deserialize, Serialize};

/// What a session is served in a brane.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Everything.
    #[default]
    Full,
    /// No poses of others.
    NoPresence,
    /// Several windows at a time, in which only the last of several moves of
    /// an object is left.
    Collapsed,
    /// A viewer of an area only sees what is nearest.
    Near,
    /// Not what it missed, but what is different now.
    Resync,
}

impl Level {
    /// From the first to the last.
    pub const ALL: [Self; 5] =
        [Self::Full, Self::NoPresence, Self::Collapsed, Self::Near, Self::Resync];

    /// 0 for [`Self::Full`], and so on.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Its name on public surfaces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::NoPresence => "no_presence",
            Self::Collapsed => "collapsed",
            Self::Near => "near",
            Self::Resync => "resync",
        }
    }

    /// The one below; [`Self::Full`] has none.
    #[must_use]
    pub const fn lower(self) -> Self {
        match self {
            Self::Full | Self::NoPresence => Self::Full,
            Self::Collapsed => Self::NoPresence,
            Self::Near => Self::Collapsed,
            Self::Resync => Self::Near,
        }
    }
}

/// Why a level changed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LevelReason {
    /// Too many bytes are owed.
    Bytes,
    /// Something is owed for too long.
    Age,
    /// Nothing was owed for a while.
    Recovered,
}

impl LevelReason {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Bytes, Self::Age, Self::Recovered];

    /// Its name on public surfaces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Age => "age",
            Self::Recovered => "recovered",
        }
    }
}
