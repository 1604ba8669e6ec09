//! One brane of a connection: joining and leaving it; [`follow`] keeps the
//! copy, [`outcomes`] the own edits.

mod follow;
mod outcomes;

use avvy_model::{Area, BraneId, ClientId, Code, Position, Refusal, Scope, Seq};
use avvy_protocol::{CatchUp, Channel, ClientMessage, Join, Joined, Resume};

use super::copy::{CatchingUp, PartsSoFar, WorldCopy};
use super::edits::Edits;
use super::{CopyKind, MachineOptions, Notify, Output};
use crate::replica::Replica;

/// Bytes of a join without the handles, at most.
const JOIN_BYTES: usize = 512;
/// Bytes of a handle, at most.
const HANDLE_BYTES: usize = 5;

/// Where the membership stands on this connection.
#[derive(Debug)]
enum Stage {
    /// To be joined, not before this time.
    Wanted { not_before_ms: u64 },
    /// Asked for at this time. `leave`: it is no longer wanted.
    Joining { since_ms: u64, leave: bool },
    /// Joined.
    Joined(Live),
    /// `brane.leave` is sent. What still comes on the channel is of no interest.
    Leaving { channel: Channel, since_ms: u64, again: bool },
    /// Not to be joined again.
    Closed,
}

/// What holds from one `brane.joined` to the next.
#[derive(Debug)]
struct Live {
    channel: Channel,
    head: Position,
    durable: Seq,
    catching_up: Option<CatchingUp>,
    catch_up: CatchUp,
    /// What a snapshot that comes is of.
    scope: Option<Scope>,
    /// What came so far of a step to another view.
    step: Option<(Scope, PartsSoFar)>,
}

/// The membership.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) brane: BraneId,
    client: ClientId,
    /// What is to be seen; `None`: the whole brane.
    area: Option<Area>,
    /// What of that the server was told last.
    told: Option<Area>,
    /// The server may go by something else: it was serving an earlier join, or
    /// refused what it was told.
    is_told_unsure: bool,
    /// Until then it is told nothing else.
    tell_at_ms: u64,
    /// Whether one of this client's edits was ever durable.
    known: bool,
    kind: CopyKind,
    copy: Option<WorldCopy>,
    had_copy: bool,
    edits: Edits,
    stage: Stage,
    /// Hashes of the server that the copy has not reached yet.
    hashes: Vec<(Position, [u8; 16])>,
}

impl Membership {
    pub(in crate::machine) fn new(
        brane: BraneId,
        client: ClientId,
        options: &MachineOptions,
    ) -> Self {
        Self {
            brane,
            client,
            area: None,
            told: None,
            is_told_unsure: false,
            tell_at_ms: 0,
            known: false,
            kind: options.copy,
            copy: None,
            had_copy: false,
            edits: Edits::new(options.outcomes_remembered),
            stage: Stage::Wanted { not_before_ms: 0 },
            hashes: Vec::new(),
        }
    }

    /// One that is not to be joined yet.
    pub(in crate::machine) fn new_closed(
        brane: BraneId,
        client: ClientId,
        options: &MachineOptions,
    ) -> Self {
        Self { stage: Stage::Closed, ..Self::new(brane, client, options) }
    }

    pub(in crate::machine) fn client(&self) -> ClientId {
        self.client
    }

    pub(in crate::machine) fn replica(&self) -> Option<&Replica> {
        self.copy.as_ref().and_then(WorldCopy::replica)
    }

    pub(in crate::machine) fn replica_mut(&mut self) -> Option<&mut Replica> {
        self.copy.as_mut().and_then(WorldCopy::replica_mut)
    }

    pub(in crate::machine) fn position(&self) -> Option<Position> {
        self.copy.as_ref().map(WorldCopy::position)
    }

    pub(in crate::machine) fn edits(&self) -> &Edits {
        &self.edits
    }

    pub(in crate::machine) fn is_open(&self) -> bool {
        match self.stage {
            Stage::Wanted { .. } | Stage::Joined(_) => true,
            Stage::Joining { leave, .. } => !leave,
            Stage::Leaving { again, .. } => again,
            Stage::Closed => false,
        }
    }

    pub(in crate::machine) fn is_joining(&self) -> bool {
        matches!(self.stage, Stage::Joining { .. })
    }

    /// It is to be joined from then on, if it waits for that.
    #[cfg(feature = "net")]
    pub(in crate::machine) fn wait_until(&mut self, at_ms: u64) {
        if let Stage::Wanted { not_before_ms } = &mut self.stage {
            *not_before_ms = at_ms;
        }
    }

    #[cfg(feature = "net")]
    pub(in crate::machine) fn is_closed(&self) -> bool {
        matches!(self.stage, Stage::Closed)
    }

    /// Whether the copy follows the log.
    pub(in crate::machine) fn is_live(&self) -> bool {
        matches!(&self.stage, Stage::Joined(live) if live.catching_up.is_none())
    }

    /// When it may be joined, if it waits for that.
    pub(in crate::machine) fn wants_join_at(&self) -> Option<u64> {
        match self.stage {
            Stage::Wanted { not_before_ms } => Some(not_before_ms),
            Stage::Joining { .. } | Stage::Joined(_) | Stage::Leaving { .. } | Stage::Closed => {
                None
            }
        }
    }

    pub(in crate::machine) fn channel(&self) -> Option<Channel> {
        match &self.stage {
            Stage::Joined(live) => Some(live.channel),
            Stage::Wanted { .. }
            | Stage::Joining { .. }
            | Stage::Leaving { .. }
            | Stage::Closed => None,
        }
    }

    pub(in crate::machine) fn has_channel(&self, channel: Channel) -> bool {
        match &self.stage {
            Stage::Joined(live) => live.channel == channel,
            Stage::Leaving { channel: leaving, .. } => *leaving == channel,
            Stage::Wanted { .. } | Stage::Joining { .. } | Stage::Closed => false,
        }
    }

    /// When the oldest unanswered question was asked.
    pub(in crate::machine) fn asked_ms(&self) -> Option<u64> {
        match &self.stage {
            Stage::Joining { since_ms, .. } | Stage::Leaving { since_ms, .. } => Some(*since_ms),
            Stage::Joined(_) => self.edits.oldest_in_flight_ms(),
            Stage::Wanted { .. } | Stage::Closed => None,
        }
    }

    pub(in crate::machine) fn join(
        &mut self,
        now_ms: u64,
        max_message_bytes: u32,
        out: &mut Vec<Output>,
    ) {
        let most = (max_message_bytes as usize).saturating_sub(JOIN_BYTES) / HANDLE_BYTES;
        let resume = self.copy.as_ref().map(|copy| Resume {
            version: copy.position(),
            touched: copy.touched().filter(|touched| touched.len() <= most),
            scope: copy.scope(),
        });
        self.stage = Stage::Joining { since_ms: now_ms, leave: false };
        let Self { brane, client, known, area, .. } = *self;
        self.told = area;
        out.push(Output::Send(ClientMessage::Join(Join { brane, client, known, resume, area })));
    }

    /// Wants to see this.
    pub(in crate::machine) fn look(&mut self, area: Option<Area>) {
        self.area = area;
    }

    /// An earlier join than the last may be the one that is served.
    pub(in crate::machine) fn may_be_joined(&mut self) {
        self.is_told_unsure = true;
    }

    /// The server did not take what it was told, and will not before then.
    pub(in crate::machine) fn look_refused(&mut self, retry_at_ms: u64) {
        (self.is_told_unsure, self.tell_at_ms) = (true, retry_at_ms);
    }

    /// When the server is to be told what is to be seen, if it goes by
    /// something else. It hears of it in a join as well, but not of what
    /// changes while that is under way.
    pub(in crate::machine) fn tells_at(&self) -> Option<u64> {
        let is_told = !self.is_told_unsure && (self.area == self.told || self.sees_the_same());
        (self.channel().is_some() && !is_told).then_some(self.tell_at_ms)
    }

    /// Whether what is to be seen is the view that the server was told of, in
    /// the brane's cells.
    fn sees_the_same(&self) -> bool {
        let Some(Scope { grid, .. }) = self.copy.as_ref().and_then(WorldCopy::scope) else {
            return false;
        };
        let view = |area: Option<Area>| area.map(|area| grid.view(area));
        view(self.area) == view(self.told)
    }

    /// Tells the server what is to be seen, if it is time.
    pub(in crate::machine) fn tell_area(
        &mut self,
        now_ms: u64,
        interval_ms: u64,
        out: &mut Vec<Output>,
    ) {
        if let Some(channel) = self.channel()
            && self.tells_at().is_some_and(|at_ms| now_ms >= at_ms)
        {
            let area = self.area;
            (self.told, self.is_told_unsure) = (area, false);
            self.tell_at_ms = now_ms + interval_ms;
            out.push(Output::Send(ClientMessage::View { channel, area }));
        }
    }

    pub(in crate::machine) fn leave(&mut self, now_ms: u64, out: &mut Vec<Output>) {
        match self.stage {
            Stage::Joined(Live { channel, .. }) => {
                self.start_leaving(now_ms, channel, false, out);
            }
            // There is no channel to leave before the answer.
            Stage::Joining { ref mut leave, .. } => *leave = true,
            Stage::Leaving { ref mut again, .. } => *again = false,
            Stage::Wanted { .. } => self.close(None, out),
            Stage::Closed => {}
        }
    }

    /// It is wanted after all, or again.
    pub(in crate::machine) fn want(&mut self) {
        match &mut self.stage {
            Stage::Joining { leave, .. } => *leave = false,
            Stage::Leaving { again, .. } => *again = true,
            Stage::Closed => self.stage = Stage::Wanted { not_before_ms: 0 },
            Stage::Wanted { .. } | Stage::Joined(_) => {}
        }
    }

    /// The connection is gone.
    pub(in crate::machine) fn disconnected(&mut self, out: &mut Vec<Output>) {
        self.hashes.clear();
        (self.is_told_unsure, self.tell_at_ms) = (false, 0);
        match self.stage {
            Stage::Leaving { again: false, .. } | Stage::Joining { leave: true, .. } => {
                self.close(None, out);
            }
            Stage::Closed => {}
            Stage::Wanted { .. }
            | Stage::Joining { leave: false, .. }
            | Stage::Joined(_)
            | Stage::Leaving { again: true, .. } => {
                self.stage = Stage::Wanted { not_before_ms: 0 };
            }
        }
    }

    pub(in crate::machine) fn joined(
        &mut self,
        now_ms: u64,
        joined: &Joined,
        out: &mut Vec<Output>,
    ) {
        let Joined { channel, brane, head, durable, catch_up, scope, client_memory_s, .. } =
            *joined;
        match self.stage {
            Stage::Joining { leave: true, .. } | Stage::Closed => {
                return self.start_leaving(now_ms, channel, false, out);
            }
            // A new start that was on its way; what follows it is not read either.
            Stage::Leaving { .. } => return,
            Stage::Wanted { .. } | Stage::Joining { .. } | Stage::Joined(_) => {}
        }
        let (client, role) = (self.client, joined.role.clone());
        out.push(Output::Notify(Notify::Joined { brane, client, role, head, catch_up }));
        // A slow copy is started anew within the same opening of the brane:
        // edits that are under way stay so.
        let goes_on = matches!(&self.stage, Stage::Joined(live)
            if live.channel == channel && live.head.epoch == head.epoch);
        if !goes_on {
            self.forget_old(now_ms, client_memory_s, out);
            self.edits.send_again();
        }
        self.stage = Stage::Joined(Live {
            channel,
            head,
            durable,
            catching_up: None,
            catch_up,
            scope,
            step: None,
        });
        match CatchingUp::begin(catch_up, self.kind, self.copy.as_ref(), head) {
            Err(error) => self.broken(now_ms, error, out),
            Ok(catching_up) => {
                if let (CatchUp::Replay, Some(copy)) = (catch_up, &mut self.copy) {
                    copy.joins(head.epoch, durable);
                }
                self.set_catching_up(catching_up, out);
            }
        }
    }

    /// The join was not served.
    pub(in crate::machine) fn join_failed(
        &mut self,
        code: Code,
        retry_at_ms: u64,
        client: impl FnOnce() -> ClientId,
        out: &mut Vec<Output>,
    ) {
        match code {
            _ if !self.is_open() => self.close(None, out),
            Code::ClientUnknown | Code::ClientTaken => {
                self.rename(client(), out);
                self.stage = Stage::Wanted { not_before_ms: 0 };
            }
            code if passes(code) => {
                out.push(Output::Notify(Notify::Paused { brane: self.brane, code }));
                self.stage = Stage::Wanted { not_before_ms: retry_at_ms };
            }
            code => self.close(Some(code), out),
        }
    }

    /// The server closed the channel.
    pub(in crate::machine) fn left(
        &mut self,
        code: Option<Code>,
        retry_at_ms: u64,
        out: &mut Vec<Output>,
    ) {
        match (&self.stage, code) {
            (Stage::Leaving { again: false, .. }, _) => self.close(None, out),
            (Stage::Leaving { again: true, .. }, _) | (_, None) => {
                self.stage = Stage::Wanted { not_before_ms: 0 };
            }
            (_, Some(code)) if passes(code) => {
                out.push(Output::Notify(Notify::Paused { brane: self.brane, code }));
                self.stage = Stage::Wanted { not_before_ms: retry_at_ms };
            }
            (_, Some(code)) => self.close(Some(code), out),
        }
        self.hashes.clear();
    }

    /// It cannot be had, and is not asked for again.
    pub(in crate::machine) fn give_up(&mut self, code: Code, out: &mut Vec<Output>) {
        self.close(Some(code), out);
        self.hashes.clear();
    }

    fn start_leaving(&mut self, now_ms: u64, channel: Channel, again: bool, out: &mut Vec<Output>) {
        self.stage = Stage::Leaving { channel, since_ms: now_ms, again };
        out.push(Output::Send(ClientMessage::Leave { channel }));
    }

    /// Leaves for good. What was sent may or may not be in the log.
    fn close(&mut self, code: Option<Code>, out: &mut Vec<Output>) {
        self.stage = Stage::Closed;
        for (ticket, sent) in self.edits.take_all() {
            if sent {
                self.notify_unknown(ticket, out);
            } else {
                self.notify_refused(ticket, Refusal::from(code.unwrap_or(Code::NotJoined)), out);
            }
        }
        out.push(Output::Notify(Notify::Closed { brane: self.brane, code }));
    }
}

/// Whether a brane that answers so may be joined a little later.
fn passes(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable
            | Code::RateLimited
            | Code::BraneFull
            | Code::Timeout
            | Code::Internal
            | Code::NotJoined
            | Code::AlreadyJoined
            | Code::Moved
    )
}
