//! What goes into a [`super::ClientMachine`] and what comes out.

use std::sync::Arc;

use avvy_model::{BraneId, ClientId, Code, Epoch, Position, Refusal, RoleName, Scope, Seq, UserId};
use avvy_protocol::{
    AreaFlush, BraneChanged, CatchUp, Channel, ClientMessage, ErrorMessage, Flush, Level,
    LevelReason, OwnRights, PeopleNews, ServerMessage, SnapshotPart,
};

use super::CopyKind;
use crate::replica::ReplicaError;

/// One submitted edit, in the words of whoever submitted it. Rises with every
/// submission to a machine, over all branes and client ids.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// How a machine behaves.
#[derive(Clone, Debug)]
pub struct MachineOptions {
    /// The name and version that the server writes to its log.
    pub agent: Option<String>,
    /// How much of each brane is kept. Default: whole copies.
    pub copy: CopyKind,
    /// Edits that a brane's queue takes before [`SubmitError::Full`]: those
    /// not yet durable or refused, sent or not. Default 10,000.
    pub max_edits_kept: usize,
    /// Outcomes that the server remembers of one client. The oldest edit
    /// without a last word and the newest that was sent are never further
    /// apart, so that each can be asked for again. Default 256, as the
    /// protocol promises.
    pub outcomes_remembered: u64,
    /// How long an answer to `hello`, `brane.join`, `brane.leave` or an edit
    /// may take before the connection counts as dead, in milliseconds.
    /// Default 30,000.
    pub answer_timeout_ms: u64,
    /// How long to wait before a refused join is tried again, in
    /// milliseconds, when the server does not say. Default 1,000.
    pub join_retry_ms: u64,
    /// The pause between two changes of what is to be seen of a brane, in
    /// milliseconds; of those that come sooner the last one counts. Default
    /// 100.
    pub look_interval_ms: u64,
}

impl Default for MachineOptions {
    fn default() -> Self {
        Self {
            agent: None,
            copy: CopyKind::Whole { max_touched: crate::replica::MAX_TOUCHED },
            max_edits_kept: 10_000,
            outcomes_remembered: 256,
            answer_timeout_ms: 30_000,
            join_retry_ms: 1_000,
            look_interval_ms: 100,
        }
    }
}

/// What happened to the connection.
#[derive(Debug)]
pub enum Input {
    /// It is open; nothing was sent on it.
    Connected {
        /// Whether nobody on the way can read it: by TLS.
        is_secure: bool,
    },
    /// It is gone.
    Disconnected,
    /// A message came.
    Message(ServerMessage),
    /// A window came, of which only the head was read. Only with
    /// [`CopyKind::Position`].
    FlushHead(FlushHead),
    /// A part of a snapshot came, of which only the head was read. Only with
    /// [`CopyKind::Position`].
    SnapshotHead(SnapshotHead),
    /// Time has passed; due at [`super::ClientMachine::wakes_at`] at the latest.
    Tick,
}

/// What is to be done.
#[derive(Debug)]
pub enum Output {
    /// Send this.
    Send(ClientMessage),
    /// Tell the user.
    Notify(Notify),
    /// Close the connection; then comes [`Input::Disconnected`].
    Close(CloseReason),
    /// The brane is at another node: close the connection
    /// ([`Input::Disconnected`]) and connect there. Where that cannot be
    /// reached, go back to the addresses that are known.
    Go {
        /// The node's URL, `http`, `https`, `ws` or `wss`.
        address: String,
        /// Its node may be dead; if so, another one serves the brane after so
        /// many milliseconds.
        retry_after_ms: Option<u64>,
    },
    /// The brane is at another node, and others are served here: it can be had
    /// by another machine there. Without one it is asked for again here.
    Part {
        /// Which.
        brane: BraneId,
        /// As in [`Self::Go`].
        address: String,
        /// As in [`Self::Go`].
        retry_after_ms: Option<u64>,
    },
}

/// Why a machine wants its connection closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloseReason {
    /// An answer took longer than [`MachineOptions::answer_timeout_ms`].
    AnswerTimeout,
    /// Nothing was heard for three times the heartbeat.
    Silence,
    /// The server speaks another version than it was asked for.
    Version,
}

/// What a user of the client learns.
#[derive(Clone, Debug)]
pub enum Notify {
    /// The server has said welcome.
    Ready {
        /// As whom.
        user: UserId,
        /// Unix seconds at which the token ends.
        expires: u64,
    },
    /// The token ends soon: [`super::ClientMachine::refresh`].
    Expiring {
        /// Unix seconds.
        expires: u64,
    },
    /// The brane is joined; its copy is being brought up to date.
    Joined {
        /// Which.
        brane: BraneId,
        /// The name under which edits are numbered.
        client: ClientId,
        /// As what.
        role: RoleName,
        /// The log's head at the server.
        head: Position,
        /// How the copy gets there.
        catch_up: CatchUp,
    },
    /// The copy follows the log.
    Live {
        /// Which.
        brane: BraneId,
        /// Where it stands.
        at: Position,
        /// Whether an earlier copy was replaced or mended on the way, not
        /// continued.
        resynced: bool,
    },
    /// The copy has moved on by this window.
    Flushed {
        /// Which.
        brane: BraneId,
        /// The window.
        flush: Arc<Flush>,
    },
    /// News of the people in a brane; what they say of who is there is in
    /// [`super::ClientMachine::roster`] by now.
    People {
        /// Where.
        brane: BraneId,
        /// What.
        news: PeopleNews,
    },
    /// The copy of a part of the brane has moved on by this window.
    AreaFlushed {
        /// Which.
        brane: BraneId,
        /// The window.
        flush: Arc<AreaFlush>,
    },
    /// The copy is of another part of the brane now. What is asked for is
    /// reached in several steps.
    Viewed {
        /// Which.
        brane: BraneId,
        /// Where it stands.
        at: Position,
        /// What it is of.
        scope: Scope,
    },
    /// What the user may do in a brane, after each join and when it changes.
    Rights {
        /// In which brane.
        brane: BraneId,
        /// What.
        own: Box<OwnRights>,
    },
    /// What the brane is called, or who may see it, is another now.
    Changed {
        /// Which.
        brane: BraneId,
        /// What it is.
        changed: Box<BraneChanged>,
    },
    /// The connection is too slow for all that happens, or no longer: so much
    /// is sent from now on.
    Level {
        /// In which brane.
        brane: BraneId,
        /// How much.
        level: Level,
        /// Why.
        reason: LevelReason,
    },
    /// An edit is in the log, or is in it again after a rewind.
    Applied {
        /// Where.
        brane: BraneId,
        /// Which.
        ticket: Ticket,
        /// Its place.
        at: Position,
    },
    /// An edit survives a power cut. Its last news.
    Durable {
        /// Where.
        brane: BraneId,
        /// Which.
        ticket: Ticket,
        /// Its place.
        at: Position,
    },
    /// An edit was not applied. Its last news.
    Refused {
        /// Where.
        brane: BraneId,
        /// Which.
        ticket: Ticket,
        /// Why.
        refusal: Refusal,
    },
    /// The server no longer knows what became of an edit, or it is too old to
    /// ask: it may or may not be in the log. Its last news.
    Unknown {
        /// Where.
        brane: BraneId,
        /// Which.
        ticket: Ticket,
    },
    /// The brane has forgotten this client; edits go on under a new name.
    Renamed {
        /// Where.
        brane: BraneId,
        /// The new name.
        client: ClientId,
    },
    /// Edits after `to` are lost with the server's last opening of the brane.
    /// Own ones among them are being sent again.
    Rewound {
        /// Where.
        brane: BraneId,
        /// The position that the old line and the new one share.
        to: Position,
        /// Own edits that had been applied.
        lost: Vec<Ticket>,
    },
    /// The copy did not fit what the server sent; it is dropped and fetched again.
    Broken {
        /// Which.
        brane: BraneId,
        /// What did not fit.
        error: ReplicaError,
    },
    /// The state hash that was asked for.
    Hash {
        /// Of which brane.
        brane: BraneId,
        /// After this edit.
        at: Position,
        /// The server's.
        theirs: [u8; 16],
        /// The copy's at that position; `None` when it is of a part, is kept
        /// as a position only or was past that position already.
        ours: Option<[u8; 16]>,
    },
    /// The brane is paused at the server; it is joined again by itself.
    Paused {
        /// Which.
        brane: BraneId,
        /// Why.
        code: Code,
    },
    /// The brane is at a node to which the server gives an address without
    /// TLS, while the connection here has it: the client does not go there,
    /// as token and edits could be read on the way. `Closed` follows.
    Downgrade {
        /// Which.
        brane: BraneId,
        /// The node's URL.
        address: String,
    },
    /// The brane is left for good: asked for, or not to be joined.
    Closed {
        /// Which.
        brane: BraneId,
        /// Why, if it was not asked for.
        code: Option<Code>,
    },
    /// An answer to a message that could not be served.
    ServerError(ErrorMessage),
}

/// Why an edit was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SubmitError {
    /// The brane was never joined, or was left.
    #[error("the brane is not joined")]
    NotJoined,
    /// As many edits wait as may: [`MachineOptions::max_edits_kept`].
    #[error("too many edits wait for their outcome")]
    Full,
}

/// The head of a window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlushHead {
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
}

impl FlushHead {
    /// The head of this window.
    pub fn of(flush: &Flush) -> Self {
        let Flush { channel, epoch, from, to, durable, .. } = *flush;
        Self { channel, epoch, from, to, durable }
    }

    /// The head of this window of a part.
    pub fn of_area(flush: &AreaFlush) -> Self {
        let AreaFlush { channel, epoch, from, to, durable, .. } = *flush;
        Self { channel, epoch, from, to, durable }
    }
}

/// The head of a part of a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotHead {
    /// Where.
    pub channel: Channel,
    /// The position after the last part.
    pub at: Position,
    /// Counts from 0.
    pub index: u32,
    /// Whether this is the last one.
    pub last: bool,
}

impl SnapshotHead {
    /// The head of this part.
    pub fn of(part: &SnapshotPart) -> Self {
        let SnapshotPart { channel, at, index, last, .. } = *part;
        Self { channel, at, index, last }
    }
}
