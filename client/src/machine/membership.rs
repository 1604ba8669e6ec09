//! One brane of a connection: joining it, following it, and the own edits in it.

use std::sync::Arc;

use avvy_model::{BraneId, ClientId, Code, Counter, Edit, Position, Refusal, Seq};
use avvy_protocol::{
    CatchUp, Channel, ClientMessage, Flush, Join, Joined, RefusedEdit, Resume, SnapshotPart, Update,
};

use super::copy::{CatchingUp, WorldCopy};
use super::edits::{Edits, Next, SendLimits};
use super::{CopyKind, FlushHead, MachineOptions, Notify, Output, SnapshotHead, Ticket};
use crate::replica::{Replica, ReplicaError};

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
}

/// The membership.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) brane: BraneId,
    client: ClientId,
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
    pub(super) fn new(brane: BraneId, client: ClientId, options: &MachineOptions) -> Self {
        Self {
            brane,
            client,
            known: false,
            kind: options.copy,
            copy: None,
            had_copy: false,
            edits: Edits::new(options.outcomes_remembered),
            stage: Stage::Wanted { not_before_ms: 0 },
            hashes: Vec::new(),
        }
    }

    pub(super) fn client(&self) -> ClientId {
        self.client
    }

    pub(super) fn replica(&self) -> Option<&Replica> {
        self.copy.as_ref().and_then(WorldCopy::replica)
    }

    pub(super) fn replica_mut(&mut self) -> Option<&mut Replica> {
        self.copy.as_mut().and_then(WorldCopy::replica_mut)
    }

    pub(super) fn position(&self) -> Option<Position> {
        self.copy.as_ref().map(WorldCopy::position)
    }

    pub(super) fn edits(&self) -> &Edits {
        &self.edits
    }

    pub(super) fn is_open(&self) -> bool {
        match self.stage {
            Stage::Wanted { .. } | Stage::Joined(_) => true,
            Stage::Joining { leave, .. } => !leave,
            Stage::Leaving { again, .. } => again,
            Stage::Closed => false,
        }
    }

    pub(super) fn is_joining(&self) -> bool {
        matches!(self.stage, Stage::Joining { .. })
    }

    /// Whether the copy follows the log.
    pub(super) fn is_live(&self) -> bool {
        matches!(&self.stage, Stage::Joined(live) if live.catching_up.is_none())
    }

    /// When it may be joined, if it waits for that.
    pub(super) fn wants_join_at(&self) -> Option<u64> {
        match self.stage {
            Stage::Wanted { not_before_ms } => Some(not_before_ms),
            _ => None,
        }
    }

    pub(super) fn channel(&self) -> Option<Channel> {
        match &self.stage {
            Stage::Joined(live) => Some(live.channel),
            _ => None,
        }
    }

    pub(super) fn has_channel(&self, channel: Channel) -> bool {
        match &self.stage {
            Stage::Joined(live) => live.channel == channel,
            Stage::Leaving { channel: leaving, .. } => *leaving == channel,
            Stage::Wanted { .. } | Stage::Joining { .. } | Stage::Closed => false,
        }
    }

    /// When the oldest unanswered question was asked.
    pub(super) fn asked_ms(&self) -> Option<u64> {
        match &self.stage {
            Stage::Joining { since_ms, .. } | Stage::Leaving { since_ms, .. } => Some(*since_ms),
            Stage::Joined(_) => self.edits.oldest_in_flight_ms(),
            Stage::Wanted { .. } | Stage::Closed => None,
        }
    }

    pub(super) fn submit(&mut self, ticket: Ticket, edit: Edit) {
        self.edits.push(ticket, edit);
    }

    pub(super) fn join(&mut self, now_ms: u64, out: &mut Vec<Output>) {
        let resume = self
            .copy
            .as_ref()
            .map(|copy| Resume { version: copy.position(), touched: copy.touched() });
        self.stage = Stage::Joining { since_ms: now_ms, leave: false };
        let Self { brane, client, known, .. } = *self;
        out.push(Output::Send(ClientMessage::Join(Join { brane, client, known, resume })));
    }

    pub(super) fn leave(&mut self, now_ms: u64, out: &mut Vec<Output>) {
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
    pub(super) fn want(&mut self) {
        match &mut self.stage {
            Stage::Joining { leave, .. } => *leave = false,
            Stage::Leaving { again, .. } => *again = true,
            Stage::Closed => self.stage = Stage::Wanted { not_before_ms: 0 },
            Stage::Wanted { .. } | Stage::Joined(_) => {}
        }
    }

    /// The connection is gone.
    pub(super) fn disconnected(&mut self, out: &mut Vec<Output>) {
        self.hashes.clear();
        match self.stage {
            Stage::Leaving { again: false, .. } | Stage::Joining { leave: true, .. } => {
                self.close(None, out);
            }
            Stage::Closed => {}
            _ => self.stage = Stage::Wanted { not_before_ms: 0 },
        }
    }

    /// Sends what may be sent; says how many edits that was.
    pub(super) fn pump(
        &mut self,
        now_ms: u64,
        mut limits: SendLimits,
        out: &mut Vec<Output>,
    ) -> u32 {
        let Stage::Joined(Live { channel, .. }) = self.stage else { return 0 };
        let before = self.edits.in_flight();
        loop {
            match self.edits.next(now_ms, limits) {
                Next::Send(edits) => {
                    limits.in_flight -= u32::try_from(edits.len()).unwrap_or(u32::MAX);
                    let update = Update { channel, trace: None, edits };
                    out.push(Output::Send(ClientMessage::Update(update)));
                }
                Next::TooLarge(ticket) => {
                    self.notify_refused(ticket, Refusal::from(Code::TooLarge), out);
                }
                Next::Nothing => return self.edits.in_flight() - before,
            }
        }
    }

    pub(super) fn joined(&mut self, now_ms: u64, joined: &Joined, out: &mut Vec<Output>) {
        let Joined { channel, brane, role, head, durable, catch_up, client_memory_s } = *joined;
        match self.stage {
            Stage::Joining { leave: true, .. } | Stage::Closed => {
                return self.start_leaving(now_ms, channel, false, out);
            }
            // A new start that was on its way; what follows it is not read either.
            Stage::Leaving { .. } => return,
            Stage::Wanted { .. } | Stage::Joining { .. } | Stage::Joined(_) => {}
        }
        let client = self.client;
        out.push(Output::Notify(Notify::Joined { brane, client, role, head, catch_up }));
        // A slow copy is started anew within the same opening of the brane:
        // edits that are under way stay so.
        let goes_on = matches!(&self.stage, Stage::Joined(live)
            if live.channel == channel && live.head.epoch == head.epoch);
        if !goes_on {
            self.forget_old(now_ms, client_memory_s, out);
            self.edits.send_again();
        }
        self.stage = Stage::Joined(Live { channel, head, durable, catching_up: None, catch_up });
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
    pub(super) fn join_failed(
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
    pub(super) fn left(&mut self, code: Option<Code>, retry_at_ms: u64, out: &mut Vec<Output>) {
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

    pub(super) fn flush(&mut self, now_ms: u64, flush: Arc<Flush>, out: &mut Vec<Output>) {
        let head = FlushHead::of(&flush);
        let brane = self.brane;
        let followed = self.follow(&head, |copy| copy.apply(&flush));
        if self.followed(now_ms, followed, &head, out) {
            out.push(Output::Notify(Notify::Flushed { brane, flush }));
            self.progress(out);
        }
    }

    pub(super) fn flush_head(&mut self, now_ms: u64, head: &FlushHead, out: &mut Vec<Output>) {
        let followed = self.follow(head, |copy| copy.skip(head));
        if self.followed(now_ms, followed, head, out) {
            self.progress(out);
        }
    }

    pub(super) fn snapshot(&mut self, now_ms: u64, part: SnapshotPart, out: &mut Vec<Output>) {
        let head = SnapshotHead::of(&part);
        self.part(now_ms, &head, |parts| parts.add(part), out);
    }

    pub(super) fn snapshot_head(
        &mut self,
        now_ms: u64,
        head: &SnapshotHead,
        out: &mut Vec<Output>,
    ) {
        self.part(now_ms, head, |parts| parts.count(head), out);
    }

    pub(super) fn version_complete(&mut self, now_ms: u64, at: Position, out: &mut Vec<Output>) {
        let Stage::Joined(_) = self.stage else { return };
        if let Some(stands) = self.position().filter(|stands| stands.seq != at.seq) {
            let error = ReplicaError::Gap { at: stands, epoch: at.epoch, from: at.seq };
            self.broken(now_ms, error, out);
        }
    }

    pub(super) fn rewind(&mut self, to: Position, out: &mut Vec<Output>) {
        let Stage::Joined(_) = self.stage else { return };
        let lost = self.edits.lost_after(to.seq);
        out.push(Output::Notify(Notify::Rewound { brane: self.brane, to, lost }));
    }

    pub(super) fn applied(&mut self, edits: &[(Counter, Seq)], out: &mut Vec<Output>) {
        let Stage::Joined(Live { head, durable, .. }) = self.stage else { return };
        for (counter, seq) in edits {
            let at = Position { epoch: head.epoch, seq: *seq };
            if let Some(ticket) = self.edits.applied(*counter, at) {
                out.push(Output::Notify(Notify::Applied { brane: self.brane, ticket, at }));
            }
        }
        self.settle_durable(durable, out);
    }

    /// Own edits were refused. Gives the code if that concerns more than the edits.
    #[must_use]
    pub(super) fn refused(&mut self, edits: &[RefusedEdit], out: &mut Vec<Output>) -> Option<Code> {
        let Stage::Joined(_) = self.stage else { return None };
        for RefusedEdit { counter, code, operation } in edits {
            // No outcomes: the edits are kept and sent again after a new join.
            if let Code::ClientUnknown | Code::NotJoined = code {
                return Some(*code);
            }
            let Some(ticket) = self.edits.settle(*counter) else { continue };
            if *code == Code::OutcomeUnknown {
                self.notify_unknown(ticket, out);
            } else {
                let refusal = Refusal { code: *code, operation: *operation };
                self.notify_refused(ticket, refusal, out);
            }
        }
        None
    }

    /// Goes on under another name, for which the brane has to be joined again.
    pub(super) fn forgotten(&mut self, now_ms: u64, client: ClientId, out: &mut Vec<Output>) {
        self.rename(client, out);
        if let Stage::Joined(Live { channel, .. }) = self.stage {
            self.start_leaving(now_ms, channel, true, out);
        }
    }

    pub(super) fn durable(&mut self, durable: Seq, out: &mut Vec<Output>) {
        let Stage::Joined(live) = &mut self.stage else { return };
        live.durable = live.durable.max(durable);
        let (durable, mending) =
            (live.durable, matches!(live.catching_up, Some(CatchingUp::Parts { .. })));
        // A copy that is being mended may be past a fork: this watermark is
        // of the other line.
        if let (false, Some(copy)) = (mending, &mut self.copy) {
            copy.durable(durable);
        }
        self.settle_durable(durable, out);
    }

    pub(super) fn hash(&mut self, at: Position, theirs: [u8; 16], out: &mut Vec<Output>) {
        self.hashes.push((at, theirs));
        self.compare_hashes(out);
    }

    fn follow(
        &mut self,
        head: &FlushHead,
        apply: impl FnOnce(&mut WorldCopy) -> Result<(), ReplicaError>,
    ) -> Option<Result<(), ReplicaError>> {
        let Stage::Joined(live) = &self.stage else { return None };
        let mending = matches!(live.catching_up, Some(CatchingUp::Parts { .. }));
        Some(match &mut self.copy {
            Some(copy) if !mending => apply(copy),
            _ => Err(ReplicaError::Gap {
                at: self.position().unwrap_or_default(),
                epoch: head.epoch,
                from: head.from,
            }),
        })
    }

    /// Deals with the outcome of [`Self::follow`]; says whether the copy moved on.
    fn followed(
        &mut self,
        now_ms: u64,
        followed: Option<Result<(), ReplicaError>>,
        head: &FlushHead,
        out: &mut Vec<Output>,
    ) -> bool {
        match followed {
            None => false,
            Some(Err(error)) => {
                self.broken(now_ms, error, out);
                false
            }
            Some(Ok(())) => {
                self.durable(head.durable, out);
                true
            }
        }
    }

    /// After a window: is that far enough, and do the hashes agree?
    fn progress(&mut self, out: &mut Vec<Output>) {
        let stands = self.position().unwrap_or_default();
        if let Stage::Joined(Live { catching_up: Some(CatchingUp::Windows { head }), .. }) =
            &self.stage
            && stands.seq >= head.seq
        {
            self.set_catching_up(None, out);
        }
        self.compare_hashes(out);
    }

    fn part(
        &mut self,
        now_ms: u64,
        head: &SnapshotHead,
        add: impl FnOnce(&mut super::copy::PartsSoFar) -> Result<bool, ReplicaError>,
        out: &mut Vec<Output>,
    ) {
        let Stage::Joined(live) = &mut self.stage else { return };
        let Some(CatchingUp::Parts { parts, .. }) = &mut live.catching_up else {
            let error = ReplicaError::Part { expected: 0, got: head.index };
            return self.broken(now_ms, error, out);
        };
        match add(parts) {
            Ok(false) => {}
            Ok(true) => self.parts_complete(now_ms, head.at, out),
            Err(error) => self.broken(now_ms, error, out),
        }
    }

    fn parts_complete(&mut self, now_ms: u64, at: Position, out: &mut Vec<Output>) {
        let Stage::Joined(live) = &mut self.stage else { return };
        let Some(CatchingUp::Parts { whole, parts }) = live.catching_up.take() else { return };
        let (epoch, durable) = (live.head.epoch, live.durable);
        match parts.finish(self.kind, whole, at, self.copy.take()) {
            Ok(mut copy) => {
                copy.joins(epoch, durable);
                self.copy = Some(copy);
                self.set_catching_up(None, out);
                self.compare_hashes(out);
            }
            Err(error) => self.broken(now_ms, error, out),
        }
    }

    fn set_catching_up(&mut self, catching_up: Option<CatchingUp>, out: &mut Vec<Output>) {
        let brane = self.brane;
        let at = self.position().unwrap_or_default();
        let Stage::Joined(live) = &mut self.stage else { return };
        let is_live = catching_up.is_none();
        live.catching_up = catching_up;
        let resynced = self.had_copy && live.catch_up != CatchUp::Replay;
        let durable = live.durable;
        if is_live {
            self.had_copy = true;
            out.push(Output::Notify(Notify::Live { brane, at, resynced }));
        }
        self.settle_durable(durable, out);
    }

    /// The copy is good for nothing: drops it and fetches a whole one.
    fn broken(&mut self, now_ms: u64, error: ReplicaError, out: &mut Vec<Output>) {
        self.copy = None;
        self.hashes.clear();
        out.push(Output::Notify(Notify::Broken { brane: self.brane, error }));
        if let Stage::Joined(Live { channel, .. }) = self.stage {
            self.start_leaving(now_ms, channel, true, out);
        }
    }

    fn start_leaving(&mut self, now_ms: u64, channel: Channel, again: bool, out: &mut Vec<Output>) {
        self.stage = Stage::Leaving { channel, since_ms: now_ms, again };
        out.push(Output::Send(ClientMessage::Leave { channel }));
    }

    fn compare_hashes(&mut self, out: &mut Vec<Output>) {
        let Some(stands) = self.position() else { return };
        let mut index = 0;
        while index < self.hashes.len() {
            let (at, theirs) = self.hashes[index];
            if at.seq > stands.seq {
                index += 1;
                continue;
            }
            self.hashes.remove(index);
            let ours = (at.seq == stands.seq).then(|| self.replica_mut()).flatten();
            let ours = ours.map(|replica| replica.state_hash().to_bytes());
            out.push(Output::Notify(Notify::Hash { brane: self.brane, at, theirs, ours }));
        }
    }

    fn settle_durable(&mut self, durable: Seq, out: &mut Vec<Output>) {
        let mut settled = Vec::new();
        self.edits.durable(durable, &mut settled);
        for (ticket, at) in settled {
            self.known = true;
            out.push(Output::Notify(Notify::Durable { brane: self.brane, ticket, at }));
        }
    }

    /// Edits that the server may have forgotten must not be sent again. The
    /// server counts from when it got the edit, which is later, so it is left
    /// a little time for the message to arrive, too.
    fn forget_old(&mut self, now_ms: u64, client_memory_s: u64, out: &mut Vec<Output>) {
        let memory_ms = client_memory_s.saturating_mul(1_000);
        let oldest_ms = now_ms.saturating_sub(memory_ms - memory_ms / 16);
        for ticket in self.edits.take_sent_before(oldest_ms) {
            self.notify_unknown(ticket, out);
        }
    }

    fn rename(&mut self, client: ClientId, out: &mut Vec<Output>) {
        for ticket in self.edits.renumber() {
            self.notify_unknown(ticket, out);
        }
        self.client = client;
        self.known = false;
        out.push(Output::Notify(Notify::Renamed { brane: self.brane, client }));
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

    fn notify_refused(&self, ticket: Ticket, refusal: Refusal, out: &mut Vec<Output>) {
        out.push(Output::Notify(Notify::Refused { brane: self.brane, ticket, refusal }));
    }

    fn notify_unknown(&self, ticket: Ticket, out: &mut Vec<Output>) {
        out.push(Output::Notify(Notify::Unknown { brane: self.brane, ticket }));
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
    )
}
