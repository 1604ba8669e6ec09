//! What goes into a brane's machine and what comes out.

use std::sync::Arc;

use avvy_brane::{Clients, Frozen, Region};
use avvy_model::{
    Area, Code, Counter, Epoch, Grid, Handle, Position, Principal, Scope, Seq, StateHash, View,
};
use avvy_protocol::{Flush, Join, Joined, ServerMessage, Update};

use super::CellWindow;
use crate::SessionKey;
use crate::group_commit::JournalChunk;
use crate::people::Voice;

/// What has happened.
#[derive(Clone, PartialEq, Debug)]
pub enum BraneInput {
    /// A session wants to see and edit the brane. Answered by
    /// [`BraneEffect::Attach`] or [`BraneEffect::Refuse`].
    Join {
        /// Who.
        session: SessionKey,
        /// As whom.
        principal: Principal,
        /// With what.
        join: Join,
    },
    /// A session left or is gone.
    Leave {
        /// Who.
        session: SessionKey,
    },
    /// Edits. Each is answered: in [`Window::acks`] or by
    /// [`BraneEffect::Tell`].
    Update {
        /// Whose.
        session: SessionKey,
        /// Which.
        update: Update,
    },
    /// A session wants to see another area; `None`: the whole brane.
    View {
        /// Who.
        session: SessionKey,
        /// What.
        area: Option<Area>,
    },
    /// A session asks for the state hash.
    Hash {
        /// Who.
        session: SessionKey,
    },
    /// The journal is durable up to here.
    Durable {
        /// Under which opening.
        epoch: Epoch,
        /// The watermark.
        seq: Seq,
    },
    /// The fan-out has finished all windows up to `published`.
    FanOutReady {
        /// The end of the last finished window.
        published: Seq,
        /// The oldest position that it can replay from.
        floor: Seq,
        /// Whether it left time to others meanwhile: the next window may come
        /// at once.
        paced: bool,
    },
    /// The fan-out cannot replay for this session, or it is to see the whole
    /// brane instead of a part or the other way round.
    Resync {
        /// Who.
        session: SessionKey,
        /// Where its copy stands, if that is of use.
        at: Option<Position>,
        /// What it is to see; `None`: the whole brane.
        view: Option<View>,
    },
    /// A session is to see more. Answered by [`BraneEffect::Show`].
    Step {
        /// Who.
        session: SessionKey,
        /// What it sees.
        from: View,
        /// What it is to see.
        to: View,
    },
    /// Who may see the brane has changed: whether each of these may be in it
    /// without a role there.
    Invited(Vec<(SessionKey, bool)>),
    /// The journal's queue is too long (true) or short enough again (false).
    /// Meanwhile edits are refused as `unavailable`.
    Pressure(bool),
    /// A [`BraneEffect::WakeAt`] has come due.
    Tick,
    /// The snapshot at this number is stored.
    SnapshotStored {
        /// Of [`SnapshotJob::at`].
        at: Seq,
    },
    /// The snapshot could not be stored.
    SnapshotFailed,
    /// The brane will close: no joins and edits any more, everything out at
    /// once, one attempt at a last snapshot. See [`super::BraneCore::is_drained`].
    Drain,
    /// Take no more edits and make everything durable: the brane goes to
    /// another node, which has loaded most of it. See
    /// [`super::BraneCore::is_drained`].
    Depart,
}

/// What is to be done, in this order. What is for one session must reach it
/// in this order, too, so the driver sends it the same way as the windows.
#[derive(Debug)]
pub enum BraneEffect {
    /// Queue this for the journal. Comes before the [`BraneEffect::Publish`]
    /// of the same window, so that nothing was seen that is not on its way to
    /// the store.
    Journal(JournalChunk),
    /// Hand this to the fan-out, which says [`BraneInput::FanOutReady`] when
    /// it is done.
    Publish(Window),
    /// Let the session in, or start it anew after [`BraneInput::Resync`].
    Attach(Box<Attach>),
    /// Tell the fan-out what a session wants to see.
    Aim {
        /// Who.
        session: SessionKey,
        /// What; `None`: the whole brane.
        goal: Option<View>,
    },
    /// Show a session what it sees more now.
    Show(Box<Show>),
    /// Let go of the session.
    Detach {
        /// Who.
        session: SessionKey,
    },
    /// Let go of the session and tell it why.
    Expel {
        /// Whom.
        session: SessionKey,
        /// Why.
        code: Code,
    },
    /// What a session may say to others has changed.
    Voice {
        /// Whose.
        session: SessionKey,
        /// What it is now.
        voice: Voice,
    },
    /// The join is refused.
    Refuse {
        /// Whose.
        session: SessionKey,
        /// Why.
        code: Code,
    },
    /// Send this to the session.
    Tell {
        /// To whom.
        session: SessionKey,
        /// What.
        message: ServerMessage,
    },
    /// Send the watermark to these editors; the others learn it from the next
    /// window.
    Durable {
        /// Everything up to here is durable.
        at: Position,
        /// Whose edits became durable.
        waiting: Vec<SessionKey>,
    },
    /// Store a snapshot, then say [`BraneInput::SnapshotStored`] or
    /// [`BraneInput::SnapshotFailed`]. Everything in it is durable in the
    /// journal already.
    Snapshot(Box<SnapshotJob>),
    /// Send [`BraneInput::Tick`] at this time of the monotonic clock, in
    /// microseconds. Replaces an earlier wish.
    WakeAt(u64),
}

/// A window of the log.
#[derive(Clone, PartialEq, Debug)]
pub struct Window {
    /// For viewers of the whole brane.
    pub flush: Arc<Flush>,
    /// For viewers of parts; `None` when there were none when it began.
    pub cells: Option<Arc<CellWindow>>,
    /// For the editors: each one's own edits that are in it. To be sent with
    /// the window in one go, before it.
    pub acks: Vec<(SessionKey, Vec<(Counter, Seq)>)>,
}

/// How a session begins.
#[derive(Clone, Debug)]
pub struct Attach {
    /// Who.
    pub session: SessionKey,
    /// To be sent first, also to a session that is started anew: its
    /// `catch_up` says how to read what follows.
    pub joined: Joined,
    /// To be sent next, if the copy holds edits that are lost.
    pub rewind: Option<Position>,
    /// What it sees at first; `None`: the whole brane.
    pub view: Option<View>,
    /// What it wants to see.
    pub goal: Option<View>,
    /// What it may say to others.
    pub voice: Voice,
    /// What follows.
    pub start: Start,
}

/// How a copy of the world is brought up to date.
#[derive(Clone, Debug)]
pub enum Start {
    /// It stands here and lacks the windows after it.
    Replay(Position),
    /// It gets objects from a view of the world.
    Parts(Parts),
}

/// What a session gets that is to see more.
#[derive(Clone, Debug)]
pub struct Show {
    /// Who.
    pub session: SessionKey,
    /// What it sees.
    pub from: View,
    /// What it is to see.
    pub to: View,
    /// The difference.
    pub parts: Parts,
}

/// Which objects a copy gets. Cloning shares everything.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The world at `at`.
    pub frozen: Frozen,
    /// Which objects of it.
    pub selection: Selection,
    /// Handles that are no more, or are no longer seen.
    pub gone: Arc<[Handle]>,
    /// Where the copy then stands: the end of a window.
    pub at: Position,
    /// What the copy is of then, if this takes it from one view to another.
    pub scope: Option<Scope>,
}

/// Objects of a world.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Selection {
    /// All; they replace the copy.
    All,
    /// These, in this order.
    Listed(Arc<[Handle]>),
    /// Those of a region, of which there are too many for a list.
    Region(Grid, Region),
}

/// All that a stored snapshot holds.
#[derive(Clone, Debug)]
pub struct SnapshotJob {
    /// The world.
    pub frozen: Frozen,
    /// The outcomes.
    pub clients: Clients,
    /// The end of a window.
    pub at: Position,
    /// Of the world.
    pub state_hash: StateHash,
}
