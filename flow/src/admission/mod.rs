//! Lets sessions into a brane as fast as they come to stand at its head, and
//! not faster: after a restart thousands come back at once, and if all were
//! brought up to date side by side, none would be for long.
//!
//! So many are on their way in at a time. More wait in a queue, as long as it
//! will not take too long. The others are told when to come back: each gets a
//! time of its own, one after the other at the pace at which sessions come in,
//! so that they do not all come back at once again.

mod entering;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use crate::SessionKey;
pub use entering::Entering;

/// What is allowed, and when it is told to come back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AdmissionConfig {
    /// Sessions that are on their way in at a time.
    pub max_entering: usize,
    /// A session that has been on its way in for so long is slow for reasons
    /// of its own and keeps nobody out any more, in milliseconds.
    pub slow_after_ms: u32,
    /// Sessions that wait for their turn. More are told to come back.
    pub max_waiting: usize,
    /// The longest that one should have to wait for its turn, in milliseconds.
    /// Whoever would wait longer is told to come back.
    pub max_wait_ms: u32,
}

impl Default for AdmissionConfig {
    fn default() -> Self {
        Self { max_entering: 500, slow_after_ms: 2_000, max_waiting: 5_000, max_wait_ms: 10_000 }
    }
}

/// The answer to a session that wants in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer<T> {
    /// It may enter now.
    Enter(T),
    /// It waits for its turn.
    Wait,
    /// Not now.
    Later {
        /// What it came with.
        item: T,
        /// When it should come back.
        retry_after_ms: u64,
    },
}

/// An admission at one moment; the counters since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct AdmissionStatus {
    /// On their way in.
    pub entering: usize,
    /// Waiting for their turn.
    pub waiting: usize,
    /// How many were let in.
    pub admitted: u64,
    /// How many had to wait.
    pub waited: u64,
    /// For how long those have waited who were let in then, in milliseconds.
    pub waited_ms: u64,
    /// How many were told to come back.
    pub sent_away: u64,
}

/// The machine. `T` is what a session comes with. All times are microseconds
/// of one monotonic clock.
pub struct Admission<T> {
    config: AdmissionConfig,
    /// Since when, the oldest first.
    entering: VecDeque<(u64, SessionKey)>,
    /// Since when, the oldest first.
    waiting: VecDeque<(u64, SessionKey, T)>,
    pace: Pace,
    appointments: Appointments,
    /// [`AdmissionStatus::waited_ms`] to the microsecond.
    waited_us: u64,
    counters: AdmissionStatus,
}

impl<T> Admission<T> {
    /// Nobody is on the way.
    pub fn new(config: AdmissionConfig) -> Self {
        Self {
            config,
            entering: VecDeque::new(),
            waiting: VecDeque::new(),
            pace: Pace::new(),
            appointments: Appointments::new(config.max_wait_ms),
            waited_us: 0,
            counters: AdmissionStatus::default(),
        }
    }

    /// A session wants in.
    pub fn ask(&mut self, now_us: u64, session: SessionKey, item: T) -> Answer<T> {
        self.pass_slow(now_us);
        if self.waiting.is_empty() && self.has_room() {
            self.admit(now_us, session);
            return Answer::Enter(item);
        }
        let queue_us = (self.waiting.len() as u64 + 1) * self.pace.us_each;
        if self.waiting.len() < self.config.max_waiting
            && queue_us <= u64::from(self.config.max_wait_ms) * 1_000
        {
            self.counters.waited += 1;
            self.waiting.push_back((now_us, session, item));
            return Answer::Wait;
        }
        self.counters.sent_away += 1;
        let retry_after_ms = self.appointments.next_ms(now_us, queue_us, self.pace.us_each);
        Answer::Later { item, retry_after_ms }
    }

    /// A session that was let in stands at the head now, or is gone.
    pub fn entered(&mut self, now_us: u64, session: SessionKey) {
        let Some(at) = self.entering.iter().position(|(_, entering)| *entering == session) else {
            return;
        };
        self.entering.remove(at);
        self.pace.one_entered(now_us, !self.waiting.is_empty());
    }

    /// A session no longer waits; what it came with, if it did.
    pub fn give_up(&mut self, session: SessionKey) -> Option<T> {
        let at = self.waiting.iter().position(|(_, waiting, _)| *waiting == session)?;
        self.waiting.remove(at).map(|(.., item)| item)
    }

    /// Whose turn it is, if there is room. To be asked again until there is none.
    pub fn next(&mut self, now_us: u64) -> Option<T> {
        self.pass_slow(now_us);
        if !self.has_room() {
            return None;
        }
        let (since_us, session, item) = self.waiting.pop_front()?;
        self.waited_us += now_us.saturating_sub(since_us);
        self.admit(now_us, session);
        Some(item)
    }

    /// Everybody who waits, to be refused.
    pub fn close(&mut self) -> impl Iterator<Item = (SessionKey, T)> {
        self.waiting.drain(..).map(|(_, session, item)| (session, item))
    }

    /// When somebody should come back who cannot be let in for another reason.
    pub fn later_ms(&mut self, now_us: u64) -> u64 {
        let queue_us = (self.waiting.len() as u64 + 1) * self.pace.us_each;
        self.appointments.next_ms(now_us, queue_us, self.pace.us_each)
    }

    /// Whether somebody waits.
    pub fn anybody_waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// When [`Self::next`] may have somebody although nobody has entered.
    pub fn deadline(&self) -> Option<u64> {
        let (since_us, _) = self.entering.front().filter(|_| !self.waiting.is_empty())?;
        Some(since_us + u64::from(self.config.slow_after_ms) * 1_000)
    }

    /// For metrics and tests.
    pub fn status(&self) -> AdmissionStatus {
        AdmissionStatus {
            entering: self.entering.len(),
            waiting: self.waiting.len(),
            waited_ms: self.waited_us / 1_000,
            ..self.counters
        }
    }

    fn admit(&mut self, now_us: u64, session: SessionKey) {
        self.counters.admitted += 1;
        self.entering.push_back((now_us, session));
    }

    fn has_room(&self) -> bool {
        self.entering.len() < self.config.max_entering.max(1)
    }

    fn pass_slow(&mut self, now_us: u64) {
        let slow_us = u64::from(self.config.slow_after_ms) * 1_000;
        let slow = self.entering.iter().take_while(|(since_us, _)| since_us + slow_us <= now_us);
        self.entering.drain(..slow.count());
    }
}

/// How fast sessions come in while others wait.
struct Pace {
    us_each: u64,
    last_us: u64,
}

impl Pace {
    /// A thousand a second until it is known.
    const FIRST_US: u64 = 1_000;
    /// Between 20,000 a second and one a second.
    const BOUNDS_US: (u64, u64) = (50, 1_000_000);

    const fn new() -> Self {
        Self { us_each: Self::FIRST_US, last_us: 0 }
    }

    /// A pause counts only if somebody waited for its end.
    fn one_entered(&mut self, now_us: u64, others_wait: bool) {
        let (least, most) = Self::BOUNDS_US;
        let gap_us = now_us.saturating_sub(self.last_us).min(most);
        self.last_us = now_us;
        if others_wait {
            self.us_each = ((self.us_each * 31 + gap_us) / 32).clamp(least, most);
        }
    }
}

/// Times to come back at, one after the other.
#[derive(Clone, Debug)]
pub struct Appointments {
    last_us: u64,
    span_us: u64,
}

impl Appointments {
    /// Times lie at most so far ahead, in milliseconds.
    pub fn new(max_ms: u32) -> Self {
        Self { last_us: 0, span_us: u64::from(max_ms.max(1)) * 1_000 }
    }

    /// How many milliseconds from now the next one should come back: after
    /// the `queue_us` that those before it take, and `us_each` after the one
    /// that was told last. Whoever would have to wait for too long is given a
    /// place between the others, from the front.
    pub fn next_ms(&mut self, now_us: u64, queue_us: u64, us_each: u64) -> u64 {
        let earliest_us = now_us + queue_us.min(self.span_us);
        self.last_us = self.last_us.max(earliest_us) + us_each;
        let ahead_us = self.last_us - now_us;
        if ahead_us > self.span_us {
            self.last_us = earliest_us;
        }
        ahead_us.div_ceil(1_000).max(1)
    }
}
