//! The messages of the WebSocket, as types. Their bytes are in
//! [`crate::codec`], their meaning for a stranger in `PROTOCOL.md`.

use std::sync::Arc;

use avvy_model::{
    Area, BraneId, Change, ClientId, Code, Counter, Epoch, Grant, Handle, NumberedEdit, ObjectAt,
    Position, RoleName, Sanction, Scope, Seq, TraceId, UserId, Verbs, Visibility,
};
use serde::{Deserialize, Serialize};

use crate::codec::{code, position, text};
use crate::people::{PeopleNews, PeopleRequest};

/// A joined brane on one connection. Drawn by the server, the same for every
/// connection that has joined the brane on this node, so that one encoded
/// flush serves them all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Channel(pub u32);

/// What a client says.
#[derive(Clone, PartialEq, Debug)]
pub enum ClientMessage {
    /// `hello`: the first message.
    Hello(Hello),
    /// `auth.refresh`: a new token of the same subject.
    Refresh {
        /// The compact JWT.
        token: String,
    },
    /// `brane.join`.
    Join(Join),
    /// `brane.leave`.
    Leave {
        /// Which.
        channel: Channel,
    },
    /// `brane.view`: another part of the brane is to be seen.
    View {
        /// Where.
        channel: Channel,
        /// `None`: the whole brane.
        area: Option<Area>,
    },
    /// `object.update`: edits.
    Update(Update),
    /// `brane.hash`: asks for the state hash.
    Hash {
        /// Of which brane.
        channel: Channel,
    },
    /// Messages about people: the list, the own pose, signals.
    People(PeopleRequest),
    /// `ping`: asks for a [`ServerMessage::Pong`].
    Ping {
        /// Comes back.
        nonce: u64,
    },
}

/// Opens a connection.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// The lowest version that the client speaks.
    pub min_version: u32,
    /// The highest.
    pub max_version: u32,
    /// The compact JWT, unless it was in the `Authorization` header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The client's name and version, for the log. At most 128 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
}

/// Asks to see and edit a brane.
#[derive(Clone, PartialEq, Debug)]
pub struct Join {
    /// Which.
    pub brane: BraneId,
    /// Under which name this client numbers its edits there.
    pub client: ClientId,
    /// Whether one of this client's edits in this brane was ever durable.
    /// Then a server that does not know the client has forgotten it.
    pub known: bool,
    /// Where the client's copy of the world stands, if it has one.
    pub resume: Option<Resume>,
    /// What is to be seen; `None`: the whole brane.
    pub area: Option<Area>,
}

/// The state of a client's copy.
#[derive(Clone, PartialEq, Debug)]
pub struct Resume {
    /// `resume_version`: the last edit in the copy.
    pub version: Position,
    /// Handles changed after the last durable edit that the client knows of;
    /// what the server needs to mend a copy that is past a fork. `None` when
    /// the client did not keep count: it then gets a whole snapshot.
    pub touched: Option<Vec<Handle>>,
    /// `resume_view`: what the copy is of; `None`: the whole brane.
    pub scope: Option<Scope>,
}

/// Edits of one brane, in order.
#[derive(Clone, PartialEq, Debug)]
pub struct Update {
    /// Where.
    pub channel: Channel,
    /// Kept in log lines, refusals and the journal.
    pub trace: Option<TraceId>,
    /// With rising numbers.
    pub edits: Vec<NumberedEdit>,
}

/// What the server says.
#[derive(Clone, PartialEq, Debug)]
pub enum ServerMessage {
    /// `welcome`: the answer to `hello`.
    Welcome(Welcome),
    /// `auth.refreshed`: the new token counts.
    Refreshed {
        /// Unix seconds at which it ends.
        expires: u64,
    },
    /// `auth.expiring`: the token ends soon.
    Expiring {
        /// Unix seconds at which it ends.
        expires: u64,
    },
    /// `brane.joined`: the answer to `brane.join`; what follows on the
    /// channel brings the copy up to date, then keeps it so.
    Joined(Joined),
    /// `brane.left`: the channel is closed, on request or not.
    Left {
        /// Which.
        channel: Channel,
        /// Why, if it was not asked for.
        code: Option<Code>,
        /// With [`Code::Moved`]: the URL of the node where it goes on.
        address: Option<String>,
    },
    /// `brane.snapshot`: a part of the world's state.
    Snapshot(SnapshotPart),
    /// `brane.view`: a part of what another view of the brane adds.
    View(ViewPart),
    /// `entity.update`: a window of the log.
    Flush(Arc<Flush>),
    /// `entity.update` for a viewer of a part of the brane.
    AreaFlush(Arc<AreaFlush>),
    /// `version_complete`: a replayed window is whole.
    VersionComplete {
        /// Where.
        channel: Channel,
        /// The position that the copy has reached.
        version: Position,
    },
    /// `rewind`: edits after this position are lost; snapshot parts that mend
    /// the copy follow.
    Rewind {
        /// Where.
        channel: Channel,
        /// The last position that the old line and the new one share.
        to: Position,
    },
    /// `brane.level`: what the session is served from now on.
    Level {
        /// Where.
        channel: Channel,
        /// How much.
        level: crate::Level,
        /// Why.
        reason: crate::LevelReason,
    },
    /// `object.applied`: own edits that are in the log.
    Applied {
        /// Where.
        channel: Channel,
        /// The number and the place of each.
        edits: Vec<(Counter, Seq)>,
    },
    /// `object.refused`: own edits that are not.
    Refused {
        /// Where.
        channel: Channel,
        /// Each with its reason.
        edits: Vec<RefusedEdit>,
    },
    /// `brane.durable`: everything up to here survives a power cut.
    Durable {
        /// Where.
        channel: Channel,
        /// The watermark.
        durable: Position,
    },
    /// `brane.hash`: the state hash at a position.
    Hash {
        /// Where.
        channel: Channel,
        /// Of the state after this edit.
        at: Position,
        /// See `PROTOCOL.md`, "State hash".
        hash: [u8; 16],
    },
    /// `brane.rights`: what the user may do in the brane, after a join and
    /// whenever it has changed.
    Rights(Box<OwnRights>),
    /// `brane.changed`: what the brane is called and who may see it has changed.
    Changed(Box<BraneChanged>),
    /// News of people: who is there, where they are, what they say.
    People(PeopleNews),
    /// `pong`.
    Pong {
        /// From the ping.
        nonce: u64,
        /// Server's Unix time in milliseconds.
        ms: u64,
    },
    /// `error`: a message could not be served; the connection goes on.
    Error(ErrorMessage),
}

/// The answer to a hello.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Welcome {
    /// The version that both will speak.
    pub version: u32,
    /// This connection, for the log.
    #[serde(with = "text")]
    pub session: TraceId,
    /// As whom.
    #[serde(with = "text")]
    pub user: UserId,
    /// The server drops a connection from which it heard nothing for twice
    /// this time, in milliseconds.
    pub heartbeat_ms: u32,
    /// Bytes of the largest message that the server reads.
    pub max_message_bytes: u32,
    /// Edits that may be under way without an outcome; beyond, the server stops reading.
    pub max_edits_in_flight: u32,
    /// Channels that one connection may have.
    pub max_channels: u32,
    /// Unix seconds at which the token ends.
    pub expires: u64,
    /// Server's Unix time in milliseconds.
    pub ms: u64,
}

/// How the copy is brought up to date after a join.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// A whole snapshot, which replaces the copy.
    Snapshot,
    /// The windows since `resume_version`.
    Replay,
    /// Snapshot parts with the objects that differ.
    Diff,
}

/// The answer to a join.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Joined {
    /// Names the brane on this connection.
    #[serde(rename = "ch")]
    pub channel: Channel,
    /// Which it is.
    #[serde(with = "text")]
    pub brane: BraneId,
    /// As what the user joined.
    #[serde(with = "crate::codec::role_name")]
    pub role: RoleName,
    /// The log's head at this moment.
    #[serde(with = "position")]
    pub head: Position,
    /// What of it is durable.
    pub durable: Seq,
    /// How the copy gets there.
    pub catch_up: CatchUp,
    /// `view`: what the copy is of; `None`: the whole brane.
    #[serde(
        rename = "view",
        default,
        skip_serializing_if = "Option::is_none",
        with = "crate::codec::scope"
    )]
    pub scope: Option<Scope>,
    /// How long the brane remembers the outcomes of a client that is silent,
    /// in seconds. A client must not send an edit again that is older.
    pub client_memory_s: u64,
}

/// What a user may do in a brane. Grants that are over are left out; the
/// server says nothing when one ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnRights {
    /// Where.
    pub channel: Channel,
    /// Their role.
    pub role: RoleName,
    /// What it allows together with the token.
    pub verbs: Verbs,
    /// What they may do besides.
    pub grants: Vec<Grant>,
    /// Whether they are kept from sending signals.
    pub mute: Option<Sanction>,
}

/// What has changed about a brane, other than what is in it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BraneChanged {
    /// Where.
    #[serde(rename = "ch")]
    pub channel: Channel,
    /// Its name for people.
    pub name: String,
    /// What people are told of it.
    pub description: String,
    /// By what it is found, too.
    pub tags: Vec<String>,
    /// What it is for: `personal`, `showcase`, `rental` or `public`.
    pub kind: String,
    /// Who may see it.
    #[serde(with = "crate::codec::visibility")]
    pub visibility: Visibility,
    /// Counts the changes, from 1.
    #[serde(with = "crate::codec::whole")]
    pub version: u64,
}

/// A part of the world's state at one position.
#[derive(Clone, PartialEq, Debug)]
pub struct SnapshotPart {
    /// Where.
    pub channel: Channel,
    /// The position that the copy stands at after the last part.
    pub at: Position,
    /// Counts from 0.
    pub index: u32,
    /// Whether this is the last one.
    pub last: bool,
    /// Whole objects; each replaces the one of its handle.
    pub objects: Vec<ObjectAt>,
    /// Handles that are no more. Only in a [`CatchUp::Diff`].
    pub gone: Vec<Handle>,
}

/// A part of what takes a copy from one view to another: each object replaces
/// the one of its handle; objects in `gone` go away with all under them.
#[derive(Clone, PartialEq, Debug)]
pub struct ViewPart {
    /// What the copy is of after the last part.
    pub scope: Scope,
    /// Objects, as in a snapshot.
    pub part: SnapshotPart,
}

/// One or more windows of the log as far as a view goes. First the items of
/// the cells apply, then `left`, then `entered`.
#[derive(Clone, PartialEq, Debug)]
pub struct AreaFlush {
    /// Where.
    pub channel: Channel,
    /// The epoch of the whole range.
    pub epoch: Epoch,
    /// The range is `(from, to]`.
    pub from: Seq,
    /// Its end.
    pub to: Seq,
    /// The durable watermark when the last window was closed.
    pub durable: Seq,
    /// Server's Unix time in milliseconds when the last window was closed.
    pub ms: u64,
    /// What happened, cell by cell; within a cell in order.
    pub cells: Vec<Vec<FlushItem>>,
    /// Objects that the copy loses, with all under them; it need not have them.
    pub left: Vec<Handle>,
    /// Whole objects at the end of the range.
    pub entered: Vec<ObjectAt>,
}

/// A window of the log.
#[derive(Clone, PartialEq, Debug)]
pub struct Flush {
    /// Where.
    pub channel: Channel,
    /// The epoch of the whole range.
    pub epoch: Epoch,
    /// The range is `(from, to]`.
    pub from: Seq,
    /// Its end.
    pub to: Seq,
    /// The durable watermark when the window was closed.
    pub durable: Seq,
    /// Server's Unix time in milliseconds when the window was closed.
    pub ms: u64,
    /// What happened, in order.
    pub items: Vec<FlushItem>,
}

/// What one or more places of the log hold for this viewer.
#[derive(Clone, PartialEq, Debug)]
pub enum FlushItem {
    /// Moves, each one edit and one [`Seq`].
    Moves(Vec<MoveRecord>),
    /// One edit of any kind.
    Event(WireEvent),
    /// So many edits that have nothing to show here: rulings, or what happened
    /// out of sight.
    Skip(u64),
}

/// A move on the wire.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct MoveRecord {
    /// Whose.
    pub handle: Handle,
    /// The parts that were set.
    pub patch: avvy_model::MovePatch,
}

/// An edit's outcome on the wire: no before-images. In
/// [`Change::Deleted`] and the `before` fields a decoder fills in nothing:
/// see [`WireChange`].
#[derive(Clone, PartialEq, Debug)]
pub struct WireEvent {
    /// Who did it.
    pub by: UserId,
    /// What changed, in order.
    pub changes: Vec<WireChange>,
}

/// A change without its before-image.
#[derive(Clone, PartialEq, Debug)]
pub enum WireChange {
    /// See [`Change::Created`].
    Created(Box<ObjectAt>),
    /// See [`Change::Updated`].
    Updated {
        /// Whose.
        handle: Handle,
        /// The keys that changed; `None`: removed.
        patch: avvy_model::PropsPatch,
    },
    /// See [`Change::Moved`].
    Moved(MoveRecord),
    /// See [`Change::Reparented`].
    Reparented {
        /// Which.
        handle: Handle,
        /// Where it hangs now.
        to: avvy_model::Placement,
    },
    /// See [`Change::Deleted`].
    Deleted {
        /// Every handle removed.
        handles: Vec<Handle>,
    },
}

impl WireChange {
    /// What viewers see of a change; of a ruling nothing.
    pub fn of(change: &Change) -> Option<Self> {
        Some(match change {
            Change::Created(object) => Self::Created(object.clone()),
            Change::Updated { handle, after, .. } => {
                Self::Updated { handle: *handle, patch: after.clone() }
            }
            Change::Moved { handle, parts, after, .. } => Self::Moved(MoveRecord {
                handle: *handle,
                patch: avvy_model::MovePatch::new(*parts, *after),
            }),
            Change::Reparented { handle, after, .. } => {
                Self::Reparented { handle: *handle, to: *after }
            }
            Change::Deleted { removed } => {
                Self::Deleted { handles: removed.iter().map(|o| o.handle).collect() }
            }
            Change::Ruled(_) => return None,
        })
    }
}

/// An own edit that was not applied.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RefusedEdit {
    /// Its number.
    #[serde(rename = "n")]
    pub counter: Counter,
    /// Why.
    #[serde(with = "code")]
    pub code: Code,
    /// In a batch, which operation (from 0) it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<u32>,
}

/// `ErrorMessageResponse`: every error, on HTTP and on the WebSocket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ErrorMessage {
    /// The stable code.
    pub code: Code,
    /// A sentence for people.
    pub message: String,
    /// More for people, if there is more.
    pub details: Option<String>,
    /// Finds the request in the server's log.
    pub trace: TraceId,
    /// When to try again, in milliseconds.
    pub retry_after_ms: Option<u64>,
    /// The operation that it answers, on the WebSocket.
    pub operation: Option<String>,
    /// The channel that it concerns.
    pub channel: Option<Channel>,
    /// With [`Code::Moved`]: the URL of the node where it is served.
    pub address: Option<String>,
}
