//! Who may come into a brane now, as its [`Admission`](avvy_flow::Admission)
//! says, held against the model of a door.

use avvy_flow::SessionKey;
use avvy_flow::admission::Answer;
use avvy_flow::brane_core::BraneInput;
use avvy_model::{Code, Principal};
use avvy_protocol::codec::encode_server;
use avvy_protocol::frame::Frame;
use avvy_protocol::{Join, ServerMessage};

use super::brane::Brane;
use super::session::error;
use super::{ActorId, Ctx, Life, Msg, Permit, Process};
use crate::env::Event;

/// The least time until what is not possible now may be, in milliseconds.
const PAUSE_MS: u64 = 100;

/// A session that wants in.
pub(super) struct Knock {
    session: SessionKey,
    principal: Principal,
    join: Join,
    permit: Permit,
}

impl Process {
    /// A member wants to be let in.
    pub(super) fn on_knock(
        &mut self,
        ctx: &mut Ctx<'_>,
        life: Life,
        session: SessionKey,
        principal: Principal,
        join: Join,
        permit: Permit,
    ) {
        let Some(brane) = self.branes.get_mut(&life) else { return };
        let knock = Knock { session, principal, join, permit };
        match brane.admission.ask(ctx.env.now_us, session, knock) {
            Answer::Enter(knock) => {
                brane.door.let_in(ctx.env, session, false);
                self.enter(ctx, life, knock);
            }
            Answer::Wait => {
                brane.door.waits(ctx.env, session);
                self.lose_patience(ctx, session);
                self.be_late(ctx, life);
            }
            Answer::Later { item, retry_after_ms } => {
                brane.door.sent_away(ctx.env, retry_after_ms);
                self.give(ctx, item.permit);
                self.turn_away(ctx, life, session, Code::Unavailable, retry_after_ms);
            }
        }
    }

    /// Lets in whoever has room now.
    pub(super) fn let_in(&mut self, ctx: &mut Ctx<'_>, life: Life) {
        let Some(brane) = self.branes.get_mut(&life) else { return };
        if brane.closing {
            let (waiting, knocks): (Vec<_>, Vec<_>) = brane.admission.close().unzip();
            brane.door.close(ctx.env, &waiting);
            for knock in knocks {
                self.give(ctx, knock.permit);
                self.refuse_join(ctx, life, knock.session, Code::Unavailable);
            }
            return;
        }
        while let Some(brane) = self.branes.get_mut(&life)
            && let Some(knock) = brane.admission.next(ctx.env.now_us)
        {
            brane.door.let_in(ctx.env, knock.session, true);
            self.enter(ctx, life, knock);
        }
        let Some(brane) = self.branes.get_mut(&life) else { return };
        brane.door.rests(ctx.env);
        if let Some(deadline_us) = brane.admission.deadline().filter(|_| !brane.entry_tick) {
            brane.entry_tick = true;
            ctx.env.at(deadline_us, Event::Entry(self.number, ActorId::Brane(life)));
        }
    }

    /// These stand at the head now, or are gone.
    pub(super) fn on_entered(&mut self, ctx: &mut Ctx<'_>, life: Life, sessions: &[SessionKey]) {
        let Some(brane) = self.branes.get_mut(&life) else { return };
        for session in sessions {
            brane.admission.entered(ctx.env.now_us, *session);
            brane.door.settled(ctx.env, *session);
        }
    }

    /// The session is gone, wherever it was.
    pub(super) fn forget_knock(&mut self, ctx: &mut Ctx<'_>, life: Life, session: SessionKey) {
        let Some(brane) = self.branes.get_mut(&life) else { return };
        let knock = brane.admission.give_up(session);
        brane.admission.entered(ctx.env.now_us, session);
        brane.door.settled(ctx.env, session);
        if let Some(Knock { permit, .. }) = knock {
            self.give(ctx, permit);
        }
    }

    pub(super) fn refuse_join(
        &mut self,
        ctx: &mut Ctx<'_>,
        life: Life,
        session: SessionKey,
        code: Code,
    ) {
        let Some(brane) = self.branes.get_mut(&life) else { return };
        brane.admission.entered(ctx.env.now_us, session);
        brane.door.settled(ctx.env, session);
        let retry_after_ms = PAUSE_MS + brane.admission.later_ms(ctx.env.now_us);
        self.turn_away(ctx, life, session, code, retry_after_ms);
    }

    /// The brane is gone; whoever waited is told so by others.
    pub(super) fn drop_knocks(&mut self, ctx: &mut Ctx<'_>, brane: &mut Brane) {
        for (_, knock) in brane.admission.close().collect::<Vec<_>>() {
            self.give(ctx, knock.permit);
        }
    }

    /// Some of those who wait are gone soon.
    fn lose_patience(&mut self, ctx: &mut Ctx<'_>, session: SessionKey) {
        let Some(session) = self.sessions.get(&session) else { return };
        if ctx.env.setup.weights.cut > 0 && ctx.env.rng.below(6) == 0 {
            let after_us = ctx.env.rng.below(2_000);
            ctx.env.after(after_us, Event::Cut(session.conn));
        }
    }

    /// Now and then a brane is held up until who enters has taken long: then
    /// somebody else may have come before it looks at the door again.
    fn be_late(&mut self, ctx: &mut Ctx<'_>, life: Life) {
        let slow_us = u64::from(ctx.env.setup.admission.slow_after_ms) * 1_000;
        let until_us = ctx.env.now_us + slow_us.min(100_000);
        if ctx.env.setup.weights.stall > 0
            && ctx.env.rng.below(4) == 0
            && let Some(mailbox) = self.mailboxes.get_mut(&ActorId::Brane(life))
        {
            mailbox.stalled_until_us = until_us;
        }
    }

    fn enter(&mut self, ctx: &mut Ctx<'_>, life: Life, knock: Knock) {
        let Knock { session, principal, join, permit } = knock;
        self.feed(ctx, life, BraneInput::Join { session, principal, join });
        self.give(ctx, permit);
    }

    /// Answers a join that is not served.
    fn turn_away(
        &mut self,
        ctx: &mut Ctx<'_>,
        life: Life,
        session: SessionKey,
        code: Code,
        retry_after_ms: u64,
    ) {
        let Some(brane) = self.branes.get_mut(&life) else { return };
        let Brane { brane: id, channel, .. } = *brane;
        if let Some((outbox, _)) = brane.members.remove(&session) {
            ctx.env.count("join refused");
            let mut answer = error(code, "brane.join", Some(channel));
            answer.retry_after_ms = Some(retry_after_ms);
            let message = ServerMessage::Error(answer);
            let frame = Frame::binary(&encode_server(&message, ctx.env.unix_ms()));
            outbox.borrow_mut().send(&[frame]);
            self.send(ctx, ActorId::Session(session), Msg::JoinRefused { brane: id });
        }
        self.watch_idleness(ctx, life);
    }
}
