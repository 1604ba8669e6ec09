//! The way out to one client, as the actors see it.

use avvy_protocol::ServerMessage;
use avvy_protocol::close::CloseCode;
use avvy_protocol::codec;
use avvy_protocol::frame::Frame;
use tokio::sync::mpsc;

use crate::clock;

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

    /// Whether the queue has passed its high-water mark and not drained since.
    fn is_full(&self) -> bool;

    /// Bytes that are held for the connection: of a message that has not ended
    /// and of what waits to be sent, here or [elsewhere](Self::hold).
    fn held_bytes(&self) -> usize {
        0
    }

    /// Bytes that are to be sent wait elsewhere: they are held for the
    /// connection, too.
    fn hold(&self, _bytes: usize) {}

    /// As many of these do not any more.
    fn let_go(&self, _bytes: usize) {}

    /// Ends the connection with this code, after what is queued.
    fn close(&self, code: CloseCode);

    /// Ends the connection at once, whatever is queued.
    fn cut(&self);
}

/// A message of the server, ready for a wire.
pub(crate) fn frame(message: &ServerMessage) -> Frame {
    Frame::binary(&codec::encode_server(message, clock::unix_ms()))
}

/// A client inside the process: it reads what one outside would be sent.
pub(crate) struct Inbox(pub(crate) mpsc::Sender<ServerMessage>);

impl Wire for Inbox {
    fn send(&self, frames: &[Frame]) -> Backlog {
        for payload in frames.iter().flat_map(Frame::payloads) {
            // What does not fit is lost; whoever misses it times out.
            if let Ok(message) = codec::decode_server(payload) {
                let _ = self.0.try_send(message);
            }
        }
        if self.0.is_closed() { Backlog::Gone } else { Backlog::Low }
    }

    fn is_full(&self) -> bool {
        false
    }

    fn close(&self, _code: CloseCode) {}

    fn cut(&self) {}
}
