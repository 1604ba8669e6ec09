//! The own edits of a membership and what becomes of them.

use avvy_model::{ClientId, Code, Counter, Edit, Position, Refusal, Seq};
use avvy_protocol::{ClientMessage, RefusedEdit, Update};

use super::super::copy::CatchingUp;
use super::super::edits::{Next, SendLimits};
use super::super::{Notify, Output, Ticket};
use super::{Live, Membership, Stage};

impl Membership {
    pub(in crate::machine) fn submit(&mut self, ticket: Ticket, edit: Edit) {
        self.edits.push(ticket, edit);
    }

    /// Sends what may be sent; says how many operations that was.
    pub(in crate::machine) fn pump(
        &mut self,
        now_ms: u64,
        mut limits: SendLimits,
        out: &mut Vec<Output>,
    ) -> u32 {
        let Stage::Joined(Live { channel, .. }) = self.stage else { return 0 };
        let (before, room) = (self.edits.in_flight(), limits.in_flight);
        loop {
            limits.in_flight = room.saturating_sub(self.edits.in_flight() - before);
            match self.edits.next(now_ms, limits) {
                Next::Send(edits) => {
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

    pub(in crate::machine) fn rewind(&mut self, to: Position, out: &mut Vec<Output>) {
        let Stage::Joined(_) = self.stage else { return };
        let lost = self.edits.lost_after(to.seq);
        out.push(Output::Notify(Notify::Rewound { brane: self.brane, to, lost }));
    }

    pub(in crate::machine) fn applied(&mut self, edits: &[(Counter, Seq)], out: &mut Vec<Output>) {
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
    pub(in crate::machine) fn refused(
        &mut self,
        edits: &[RefusedEdit],
        out: &mut Vec<Output>,
    ) -> Option<Code> {
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
    pub(in crate::machine) fn forgotten(
        &mut self,
        now_ms: u64,
        client: ClientId,
        out: &mut Vec<Output>,
    ) {
        self.rename(client, out);
        if let Stage::Joined(Live { channel, .. }) = self.stage {
            self.start_leaving(now_ms, channel, true, out);
        }
    }

    pub(in crate::machine) fn durable(&mut self, durable: Seq, out: &mut Vec<Output>) {
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

    pub(super) fn settle_durable(&mut self, durable: Seq, out: &mut Vec<Output>) {
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
    pub(super) fn forget_old(&mut self, now_ms: u64, client_memory_s: u64, out: &mut Vec<Output>) {
        let memory_ms = client_memory_s.saturating_mul(1_000);
        let oldest_ms = now_ms.saturating_sub(memory_ms - memory_ms / 16);
        for ticket in self.edits.take_sent_before(oldest_ms) {
            self.notify_unknown(ticket, out);
        }
    }

    pub(super) fn rename(&mut self, client: ClientId, out: &mut Vec<Output>) {
        for ticket in self.edits.renumber() {
            self.notify_unknown(ticket, out);
        }
        self.client = client;
        self.known = false;
        out.push(Output::Notify(Notify::Renamed { brane: self.brane, client }));
    }

    pub(super) fn notify_refused(&self, ticket: Ticket, refusal: Refusal, out: &mut Vec<Output>) {
        out.push(Output::Notify(Notify::Refused { brane: self.brane, ticket, refusal }));
    }

    pub(super) fn notify_unknown(&self, ticket: Ticket, out: &mut Vec<Output>) {
        out.push(Output::Notify(Notify::Unknown { brane: self.brane, ticket }));
    }
}
