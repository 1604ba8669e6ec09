//! Who is in a brane, where they are, and what they say to each other: as
//! types. None of it is part of the log.

use avvy_model::{Rotation, UserId, Value};
use serde::{Deserialize, Serialize};

use crate::Channel;

/// A session in a brane, to the others who are there. Numbers rise from 1 with
/// each join and are not used again while the brane is open.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Person(pub u32);

impl std::fmt::Display for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Where somebody stands, and which way they look: quantised as a move is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pose {
    /// In units of 0.1 mm, in the space of the root.
    pub position: [i32; 3],
    /// Which way.
    pub rotation: Rotation,
}

impl Pose {
    /// Bytes of a packed pose.
    pub const PACKED_LEN: usize = 18;

    /// Three i32 in little-endian, then the packed rotation.
    pub fn to_packed(&self) -> [u8; Self::PACKED_LEN] {
        let mut bytes = [0; Self::PACKED_LEN];
        for (slot, n) in bytes[..12].chunks_exact_mut(4).zip(self.position) {
            slot.copy_from_slice(&n.to_le_bytes());
        }
        bytes[12..].copy_from_slice(&self.rotation.to_bytes());
        bytes
    }

    /// Reads what [`Self::to_packed`] wrote; nothing when the rotation is not one.
    pub fn from_packed(b: &[u8; Self::PACKED_LEN]) -> Option<Self> {
        let word = |i: usize| i32::from_le_bytes([b[i], b[i + 1], b[i + 2], b[i + 3]]);
        let rotation = Rotation::from_bytes([b[12], b[13], b[14], b[15], b[16], b[17]]).ok()?;
        Some(Self { position: [word(0), word(4), word(8)], rotation })
    }
}

/// What a client says that concerns people.
#[derive(Clone, PartialEq, Debug)]
pub enum PeopleRequest {
    /// `people.list`: asks for a [`PeoplePage`]. One that begins a list makes
    /// the session follow: it is sent changes and poses from there on.
    List(PeopleList),
    /// `presence.pose`: where the client's avatar is now.
    Pose(PoseUpdate),
    /// `signal.send`.
    Signal(SignalSend),
}

impl PeopleRequest {
    /// Its `op`.
    pub const fn operation(&self) -> &'static str {
        match self {
            Self::List(_) => "people.list",
            Self::Pose(_) => "presence.pose",
            Self::Signal(_) => "signal.send",
        }
    }

    /// Where.
    pub const fn channel(&self) -> Channel {
        match self {
            Self::List(PeopleList { channel, .. })
            | Self::Pose(PoseUpdate { channel, .. })
            | Self::Signal(SignalSend { channel, .. }) => *channel,
        }
    }
}

/// Asks who is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeopleList {
    /// Where.
    pub channel: Channel,
    /// Only people with higher numbers; `None` begins a list.
    pub after: Option<Person>,
    /// At most so many; the server has a bound of its own.
    pub limit: Option<u32>,
}

/// Where a client's avatar is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PoseUpdate {
    /// Where.
    pub channel: Channel,
    /// The pose; the latest counts.
    pub pose: Pose,
    /// What else an avatar shows, in the words of the clients: at most
    /// [`Self::MAX_STATE`] bytes. Empty: nothing.
    pub state: Vec<u8>,
}

impl PoseUpdate {
    /// Bytes of `state`.
    pub const MAX_STATE: usize = 32;
}

/// To whom a signal goes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Audience {
    /// Everyone else in the brane.
    All,
    /// Everyone else whose pose is near the sender's.
    Near,
    /// One.
    One(Person),
}

/// Something to say that is no edit.
#[derive(Clone, PartialEq, Debug)]
pub struct SignalSend {
    /// Where.
    pub channel: Channel,
    /// To whom.
    pub to: Audience,
    /// What it is, in the words of the clients: 1 to [`Self::MAX_KIND`] bytes.
    pub kind: String,
    /// More of it.
    pub body: Option<Value>,
}

impl SignalSend {
    /// Bytes of `kind`.
    pub const MAX_KIND: usize = 32;
}

/// What the server says that concerns people.
#[derive(Clone, PartialEq, Debug)]
pub enum PeopleNews {
    /// `people.page`.
    Page(PeoplePage),
    /// `people.changed`: joins and leaves.
    Changed(PeopleChanged),
    /// `presence.poses`.
    Poses(Poses),
    /// `signal`.
    Signal(Signal),
}

impl PeopleNews {
    /// Where.
    pub const fn channel(&self) -> Channel {
        match self {
            Self::Page(PeoplePage { channel, .. })
            | Self::Changed(PeopleChanged { channel, .. })
            | Self::Poses(Poses { channel, .. })
            | Self::Signal(Signal { channel, .. }) => *channel,
        }
    }
}

/// Somebody in a brane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PersonAt {
    /// The number.
    pub person: Person,
    /// Whose session it is; one user may have several.
    pub user: UserId,
}

/// Some of the people of a brane.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeoplePage {
    /// Where.
    pub channel: Channel,
    /// From the question: the page goes on after this one; `None`: it begins a
    /// list.
    pub after: Option<Person>,
    /// The own number.
    pub you: Person,
    /// Changes up to this version are in the page, perhaps later ones, too.
    pub at: u64,
    /// By rising number.
    pub people: Vec<PersonAt>,
    /// Go on after this one; `None`: that was all.
    pub next: Option<Person>,
}

/// Joins and leaves, the same bytes for everyone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeopleChanged {
    /// Where.
    pub channel: Channel,
    /// The range of versions is `(from, to]`.
    pub from: u64,
    /// Its end.
    pub to: u64,
    /// Who came; some of them may have left again.
    pub joined: Vec<PersonAt>,
    /// Who left.
    pub left: Vec<Person>,
    /// Changes are missing: list anew. Nothing more comes before that.
    pub reset: bool,
}

/// Where the people around a viewer are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Poses {
    /// Where.
    pub channel: Channel,
    /// Server's Unix time in milliseconds.
    pub ms: u64,
    /// Who is no longer among the nearest: to be taken away first.
    pub away: Vec<Person>,
    /// Poses that are new to this viewer.
    pub poses: Vec<(Person, Pose)>,
    /// States that are new to this viewer; an empty one is none.
    pub states: Vec<(Person, Vec<u8>)>,
}

/// What somebody said.
#[derive(Clone, PartialEq, Debug)]
pub struct Signal {
    /// Where.
    pub channel: Channel,
    /// Who.
    pub from: Person,
    /// Whose session that is.
    pub user: UserId,
    /// See [`SignalSend::kind`].
    pub kind: String,
    /// See [`SignalSend::body`].
    pub body: Option<Value>,
    /// Server's Unix time in milliseconds.
    pub ms: u64,
}
