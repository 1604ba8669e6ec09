//! What people say that is no edit.

use avvy_auth::rate::{Bucket, RetryAfterMs};
use avvy_model::Code;
use avvy_protocol::{Audience, PeopleNews, Signal, SignalSend};

use super::members::{Member, Voice};
use super::nearest::distance2;
use super::{Outbox, People, PeopleConfig, Rate, UNITS};
use crate::{Now, SessionKey};

/// People who are looked at for the price of one delivery.
const LOOKS_PER_DELIVERY: usize = 32;

/// Why a signal was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused {
    /// `not_joined`, `forbidden`, `muted`, `rate_limited`, `no_pose`, or `not_found`.
    pub code: Code,
    /// When to try again, in milliseconds.
    pub retry_after_ms: Option<u64>,
}

impl From<Code> for Refused {
    fn from(code: Code) -> Self {
        Self { code, retry_after_ms: None }
    }
}

impl From<RetryAfterMs> for Refused {
    fn from(after: RetryAfterMs) -> Self {
        let retry_after_ms = Some(after.0).filter(|_| after != RetryAfterMs::NEVER);
        Self { code: Code::RateLimited, retry_after_ms }
    }
}

impl<O: Outbox> People<O> {
    /// Sends a signal to those whom it is for and whose outbox has room.
    ///
    /// # Errors
    /// [`Refused`]; nobody was sent anything.
    pub fn signal(
        &mut self,
        now: Now,
        session: SessionKey,
        send: SignalSend,
    ) -> Result<(), Refused> {
        let result = self.try_signal(now, session, send);
        match result {
            Ok(()) => self.counters.signals += 1,
            Err(_) => self.counters.signals_refused += 1,
        }
        result
    }

    fn try_signal(
        &mut self,
        now: Now,
        session: SessionKey,
        send: SignalSend,
    ) -> Result<(), Refused> {
        let sender = self.members.slot_of(session).ok_or(Code::NotJoined)?;
        let may_all = self.config.visitors_may_signal;
        let member = self.members.get_mut(sender).ok_or(Code::NotJoined)?;
        let Voice { writes_until_ms, mute } = member.voice;
        if mute.is_some_and(|mute| mute.counts(now.unix_ms)) {
            return Err(Code::Muted.into());
        }
        if writes_until_ms <= now.unix_ms && !may_all {
            return Err(Code::Forbidden.into());
        }
        let rates = member.rates.get_or_insert_with(|| Box::new(rates(&self.config, now)));
        rates[rate_of(send.to)].take(now.us / 1_000, 1)?;
        let (from, user) = (member.person, member.user);
        let slots = self.audience(sender, send.to)?;
        self.charge(now, send.to, slots.len())?;
        let SignalSend { channel, kind, body, .. } = send;
        let signal = Signal { channel, from, user, kind, body, ms: now.unix_ms };
        let frame = O::encode(PeopleNews::Signal(signal), now.unix_ms);
        for slot in slots {
            let Some(member) = self.members.get(slot) else { continue };
            if member.outbox.has_room() {
                member.outbox.send(&frame);
                self.counters.signals_delivered += 1;
            } else {
                self.counters.signals_dropped += 1;
            }
        }
        Ok(())
    }

    /// The slots of those whom a signal is for.
    fn audience(&self, sender: u32, to: Audience) -> Result<Vec<u32>, Code> {
        let others = self.members.iter().filter(|(slot, _)| *slot != sender);
        match to {
            Audience::All => Ok(others.map(|(slot, _)| slot).collect()),
            Audience::One(person) => {
                let slot = self.members.slot_of_person(person).ok_or(Code::NotFound)?;
                Ok(vec![slot])
            }
            Audience::Near => {
                let position = |member: &Member<O>| Some(member.pose.as_ref()?.pose.position);
                let from = self.members.get(sender).and_then(position).ok_or(Code::NoPose)?;
                let reach = self.config.signal_near_m * UNITS;
                let is_near = |at| distance2(from, at) <= reach * reach;
                let near = others.filter(|(_, member)| position(member).is_some_and(is_near));
                Ok(near.map(|(slot, _)| slot).collect())
            }
        }
    }

    /// Takes a signal's share of what the brane may deliver. One that is more
    /// than a burst takes all of it, so that waiting always helps.
    fn charge(&mut self, now: Now, to: Audience, deliveries: usize) -> Result<(), RetryAfterMs> {
        let looks = match to {
            Audience::All | Audience::Near => self.members.len() / LOOKS_PER_DELIVERY,
            Audience::One(_) => 0,
        };
        let Rate { per_second, burst } = self.config.signal_deliveries;
        let now_ms = now.us / 1_000;
        let bucket = self.deliveries.get_or_insert_with(|| Bucket::new(burst, per_second, now_ms));
        bucket.take(now_ms, ((deliveries + looks) as u64).min(u64::from(burst)))
    }
}

/// What a session may send that has sent nothing yet.
fn rates(config: &PeopleConfig, now: Now) -> [Bucket; 3] {
    let PeopleConfig { signals_to_all, signals_to_near, signals_to_one, .. } = config;
    [signals_to_all, signals_to_near, signals_to_one]
        .map(|rate| Bucket::new(rate.burst, rate.per_second, now.us / 1_000))
}

const fn rate_of(to: Audience) -> usize {
    match to {
        Audience::All => 0,
        Audience::Near => 1,
        Audience::One(_) => 2,
    }
}
