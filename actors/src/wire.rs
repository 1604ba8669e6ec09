//! The way out to one client, as the actors see it.

use avvy_protocol::close::CloseCode;
use avvy_protocol::frame::Frame;

/// What a send left behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backlog {
    /// The client keeps up.
    Low,
    /// The queue is above its high-water mark: send no more before
    /// the wire's owner has said that it has drained.
    High,
    /// The connection is gone; nothing was queued.
    Gone,
}

/// A client's connection for writing.
///
/// Implemented by `net` over a socket. A send never blocks and never fails:
/// what the socket does not take at once is queued, and the queue is bounded
/// by the callers, who stop at [`Backlog::High`].
pub trait Wire: Send + Sync + 'static {
    /// Sends whole messages, in order, in as few system calls as it can.
    fn send(&self, frames: &[Frame]) -> Backlog;

    /// Ends the connection with this code, after what is queued.
    fn close(&self, code: CloseCode);

    /// Ends the connection at once, whatever is queued.
    fn cut(&self);
}
