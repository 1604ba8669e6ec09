//! A brane that is at another node of the fleet: sessions go there.

use std::net::{SocketAddr, ToSocketAddrs};

use anyhow::{Context, Result, ensure};

use super::Crowd;
use super::session::{Phase, Session, Shared};

/// Nodes that a session is sent to, one after another, without getting in.
const MAX_HOPS: u32 = 16;
/// The pause after nobody was there, and after nodes sent one to each other.
const PAUSE_US: u64 = 100_000;

impl Session {
    /// Whether it is on its way to where its edits can be sent.
    pub(super) fn is_away(&self) -> bool {
        match self.phase {
            Phase::Upgrading | Phase::Joining | Phase::ToJoin { .. } | Phase::Moved { .. } => true,
            Phase::Loading | Phase::Replaying(_) | Phase::Live | Phase::Ended => false,
        }
    }

    /// The brane is there. If nobody is, who sent it here knows more later.
    pub(super) fn on_moved(
        &mut self,
        address: &str,
        retry_after_ms: Option<u64>,
        now_us: u64,
        shared: &mut Shared,
    ) -> Result<()> {
        self.hops += 1;
        ensure!(self.hops <= MAX_HOPS, "is sent about without arriving, to {address} at last");
        let pause_us = if self.hops > 1 { PAUSE_US } else { 0 };
        self.back.1 =
            now_us.saturating_add(retry_after_ms.map_or(PAUSE_US, |ms| ms.saturating_mul(1_000)));
        self.phase = Phase::Moved { to: node(address)?, at_us: now_us + pause_us };
        shared.tally.moved += 1;
        shared.moving += 1;
        Ok(())
    }
}

impl Crowd {
    /// Connects those whose time has come.
    pub(super) fn follow_moved(&mut self) -> Result<()> {
        if self.shared.moving == 0 {
            return Ok(());
        }
        let now_us = self.now_us();
        for (number, session) in self.sessions.iter_mut().enumerate() {
            let Phase::Moved { to, at_us } = session.phase else { continue };
            if at_us > now_us {
                continue;
            }
            match session.connect_to(to) {
                Ok(()) => {
                    self.poller.add(&session.stream, number)?;
                    self.shared.moving -= 1;
                }
                Err(error) => {
                    let (back, back_us) = session.back;
                    session.hops += 1;
                    let is_lost = session.hops > MAX_HOPS;
                    ensure!(!is_lost, "session {number} finds nobody at {to}: {error}");
                    session.phase =
                        Phase::Moved { to: back, at_us: back_us.max(now_us + PAUSE_US) };
                }
            }
        }
        Ok(())
    }
}

/// Where a node is reached.
fn node(address: &str) -> Result<SocketAddr> {
    let host = address.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    let host = host.with_context(|| format!("the load speaks plain HTTP, not with {address}"))?;
    let mut found = host.to_socket_addrs().with_context(|| format!("no host {host}"))?;
    found.next().with_context(|| format!("no address of {host}"))
}

#[cfg(test)]
mod tests;
