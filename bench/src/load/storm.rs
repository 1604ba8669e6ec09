//! A crowd whose server was killed comes back.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::session::Phase;
use super::{COME_IN, Crowd};

impl Crowd {
    /// Everybody connects again, evenly over `within`, and resumes; returns
    /// when all are live. How long each took is in the tally.
    ///
    /// # Errors
    /// When the server does not let one in, or it takes too long.
    pub fn come_back(
        &mut self,
        server: SocketAddr,
        tokens: &[String],
        within: Duration,
    ) -> Result<()> {
        let count = self.sessions.len();
        ensure!(tokens.len() == count, "a token for each session");
        self.shared.moving = 0;
        for session in &mut self.sessions {
            if !matches!(session.phase, Phase::Moved { .. }) {
                self.poller.remove(&session.stream)?;
            }
            session.phase = Phase::Ended;
        }
        let deadline = Instant::now() + COME_IN * (1 + count as u32 / 1_000);
        let (start_us, within_us) = (self.now_us(), within.as_micros() as u64);
        let (mut returned, mut look_us) = (0, start_us);
        let before = self.shared.tally.to_live.count();
        while self.shared.tally.to_live.count() - before < count as u64 {
            while returned < count
                && self.now_us() >= start_us + within_us * returned as u64 / count as u64
            {
                let now_us = self.now_us();
                let session = &mut self.sessions[returned];
                let outcome = session.come_back(server, &tokens[returned], now_us);
                outcome.with_context(|| format!("session {returned} comes back"))?;
                self.poller.add(&session.stream, returned)?;
                returned += 1;
            }
            ensure!(Instant::now() < deadline, "not all sessions come back");
            self.turn(Duration::from_millis(1), None)?;
            if self.now_us() >= look_us {
                look_us = self.now_us() + 1_000;
                self.join_again(returned)?;
            }
        }
        Ok(())
    }

    /// Says the joins whose time has come, of the first sessions.
    pub(super) fn join_again(&mut self, returned: usize) -> Result<()> {
        let now_us = self.now_us();
        for session in &mut self.sessions[..returned] {
            if matches!(session.phase, Phase::ToJoin { at_us } if at_us <= now_us) {
                session.say_join(self.shared.brane)?;
            }
        }
        Ok(())
    }
}
