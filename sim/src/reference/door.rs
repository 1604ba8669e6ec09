//! Who has to be let into a brane, and when: a queue, so many at a time, and
//! nobody forgotten.

use std::collections::{BTreeMap, VecDeque};

use avvy_flow::{AdmissionConfig, SessionKey};

use crate::env::Env;

/// How far ahead anybody is told to come back at most, beyond the longest
/// wait; in milliseconds.
const APPOINTMENT_MS: u64 = 1_001;

/// The model of the door of one opening.
#[derive(Default)]
pub(crate) struct Door {
    /// In the order in which they came.
    waiting: VecDeque<SessionKey>,
    /// Let in, and neither seen at the head since nor gone; since when.
    entering: BTreeMap<SessionKey, u64>,
}

impl Door {
    /// Somebody who has just come waits.
    pub(crate) fn waits(&mut self, env: &mut Env, session: SessionKey) {
        let AdmissionConfig { max_waiting, .. } = env.setup.admission;
        let is_known = self.waiting.contains(&session) || self.entering.contains_key(&session);
        env.check(!is_known, || format!("{session:?} waits and was there already"));
        self.waiting.push_back(session);
        let count = self.waiting.len();
        env.check(count <= max_waiting, || format!("{count} wait, {max_waiting} may"));
        env.count("admission: somebody waits");
    }

    /// Somebody who has just come is told to come back.
    pub(crate) fn sent_away(&mut self, env: &mut Env, retry_after_ms: u64) {
        let longest_ms = u64::from(env.setup.admission.max_wait_ms) + APPOINTMENT_MS;
        env.check((1..=longest_ms).contains(&retry_after_ms), || {
            format!("somebody is told to come back in {retry_after_ms} ms")
        });
        let had_room = self.waiting.is_empty() && self.has_room(env);
        env.check(!had_room, || "somebody is sent away although there is room".to_owned());
        env.count("admission: somebody is told to come back");
    }

    /// Somebody is let in: the next in the queue, or who has just come when
    /// there is none.
    pub(crate) fn let_in(&mut self, env: &mut Env, session: SessionKey, has_waited: bool) {
        let first = self.waiting.front().copied();
        let expected = if has_waited { Some(session) } else { None };
        env.check(first == expected, || format!("{session:?} is let in, {first:?} is the next"));
        self.waiting.retain(|waiting| *waiting != session);
        let has_room = self.has_room(env);
        env.check(has_room, || format!("{session:?} is let in without room"));
        let before = self.entering.insert(session, env.now_us);
        env.check(before.is_none(), || format!("{session:?} is let in twice"));
        if has_waited {
            env.count("admission: who waited is let in");
        }
    }

    /// Somebody stands at the head, was refused or is gone.
    pub(crate) fn settled(&mut self, env: &mut Env, session: SessionKey) {
        let before = self.waiting.len();
        self.waiting.retain(|waiting| *waiting != session);
        if self.waiting.len() < before {
            env.count("admission: who waits goes away");
        }
        self.entering.remove(&session);
    }

    /// Nobody is let in any more.
    pub(crate) fn close(&mut self, env: &mut Env, refused: &[SessionKey]) {
        let waiting = std::mem::take(&mut self.waiting);
        env.check(waiting == refused, || format!("{refused:?} are refused, {waiting:?} wait"));
    }

    /// Whoever can be let in was.
    pub(crate) fn rests(&mut self, env: &mut Env) {
        let first = self.waiting.front().copied().filter(|_| self.has_room(env));
        env.check(first.is_none(), || format!("there is room, and {first:?} waits"));
    }

    /// Who takes long does not count.
    fn has_room(&mut self, env: &mut Env) -> bool {
        let AdmissionConfig { slow_after_ms, max_entering, .. } = env.setup.admission;
        let (now_us, slow_us) = (env.now_us, u64::from(slow_after_ms) * 1_000);
        let before = self.entering.len();
        self.entering.retain(|_, since_us| *since_us + slow_us > now_us);
        if self.entering.len() < before {
            env.count("admission: who takes long keeps nobody out");
        }
        self.entering.len() < max_entering
    }
}
