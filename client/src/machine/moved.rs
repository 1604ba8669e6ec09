//! Branes that are at another node of the fleet.

use avvy_model::{BraneId, Code};
use avvy_protocol::ErrorMessage;

use super::membership::Membership;
use super::{ClientMachine, Link, Notify, Output};

/// Where a brane is, by the server's words.
#[derive(Debug)]
pub(super) struct Moved {
    address: String,
    retry_after_ms: Option<u64>,
}

impl Moved {
    /// What a refused join says of it.
    pub(super) fn of_error(error: &ErrorMessage) -> Option<Self> {
        Self::new(Some(error.code), error.address.clone(), error.retry_after_ms)
    }

    /// What the end of a channel says of it.
    pub(super) fn new(
        code: Option<Code>,
        address: Option<String>,
        retry_after_ms: Option<u64>,
    ) -> Option<Self> {
        let address = address.filter(|_| code == Some(Code::Moved))?;
        Some(Self { address, retry_after_ms })
    }
}

impl ClientMachine {
    /// A brane is elsewhere: the connection goes there, unless another brane
    /// is still served here. Then the one that moved waits, and is asked for
    /// again if nobody takes it there.
    pub(super) fn go_where(
        &mut self,
        brane: Option<BraneId>,
        moved: Option<Moved>,
        out: &mut Vec<Output>,
    ) {
        let Some(Moved { address, retry_after_ms }) = moved else { return };
        if !matches!(self.link, Link::Up(_)) {
            return;
        }
        if self.is_secure && !is_secure(&address) {
            return self.stay(brane, address, out);
        }
        let is_here = |m: &Membership| m.channel().is_some() || m.is_joining();
        if !self.branes.iter().any(is_here) {
            self.link = Link::Closing;
            out.push(Output::Go { address, retry_after_ms });
        } else if let Some(brane) = brane {
            out.push(Output::Part { brane, address, retry_after_ms });
        }
    }

    /// Whoever came by TLS trusts that nobody reads along: better without the
    /// brane than without TLS.
    fn stay(&mut self, brane: Option<BraneId>, address: String, out: &mut Vec<Output>) {
        let membership = self.branes.iter_mut().find(|m| Some(m.brane) == brane);
        if let Some(membership) = membership.filter(|m| m.is_open()) {
            out.push(Output::Notify(Notify::Downgrade { brane: membership.brane, address }));
            membership.give_up(Code::Moved, out);
        }
    }
}

/// Whether what is sent to this address cannot be read on the way.
fn is_secure(address: &str) -> bool {
    address.starts_with("https://") || address.starts_with("wss://")
}
