//! A session's way out of one brane. Outcomes of edits are held back until the
//! session's own view is served; so long they count as held for its connection.

use std::sync::Arc;

use avvy_flow::fan_out::{self, Room};
use avvy_protocol::frame::Frame;
use avvy_protocol::{Channel, ServerMessage};

use crate::wire::{Backlog, Wire, frame};

/// A session's wire with what is to be sent before the next window.
pub(super) struct SessionWire {
    channel: Channel,
    /// By which of its joins the session is here.
    pub(super) join: u64,
    pub(super) wire: Arc<dyn Wire>,
    held: Vec<Frame>,
}

impl fan_out::Wire<Frame> for SessionWire {
    fn send(&mut self, frame: fan_out::Frame<'_, Frame>) -> Room {
        let backlog = match frame {
            fan_out::Frame::Windows(windows) if self.held.is_empty() => self.wire.send(windows),
            fan_out::Frame::Windows(windows) => {
                let mut frames = self.take_held();
                frames.extend_from_slice(windows);
                self.wire.send(&frames)
            }
            fan_out::Frame::Part(part) => self.wire.send(&[part]),
            fan_out::Frame::Complete(version) => {
                let channel = self.channel;
                self.wire.send(&[self::frame(&ServerMessage::VersionComplete { channel, version })])
            }
        };
        match backlog {
            Backlog::Low => Room::More,
            // A wire that is gone is detached soon; until then it gets nothing.
            Backlog::High | Backlog::Gone => Room::Full,
        }
    }

    fn hold(&mut self, frame: Frame) {
        self.wire.hold(frame.as_wire().len());
        self.held.push(frame);
    }

    fn release(&mut self) {
        if !self.held.is_empty() {
            let held = self.take_held();
            self.wire.send(&held);
        }
    }
}

impl SessionWire {
    pub(super) fn new(channel: Channel, join: u64, wire: Arc<dyn Wire>) -> Self {
        Self { channel, join, wire, held: Vec::new() }
    }

    /// What is held, which counts no more.
    fn take_held(&mut self) -> Vec<Frame> {
        let held = std::mem::take(&mut self.held);
        self.wire.let_go(held.iter().map(|frame| frame.as_wire().len()).sum());
        held
    }
}

impl Drop for SessionWire {
    /// The connection may go on, with other branes.
    fn drop(&mut self) {
        self.take_held();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use avvy_flow::fan_out::Wire as _;
    use avvy_protocol::close::CloseCode;

    use super::*;

    /// A connection that takes everything.
    #[derive(Default)]
    struct Connection {
        held: AtomicUsize,
        sent: AtomicUsize,
    }

    impl Connection {
        fn counts(&self) -> (usize, usize) {
            (self.held.load(Ordering::Relaxed), self.sent.load(Ordering::Relaxed))
        }
    }

    impl Wire for Connection {
        fn send(&self, frames: &[Frame]) -> Backlog {
            self.sent.fetch_add(frames.len(), Ordering::Relaxed);
            Backlog::Low
        }

        fn is_full(&self) -> bool {
            false
        }

        fn hold(&self, bytes: usize) {
            self.held.fetch_add(bytes, Ordering::Relaxed);
        }

        fn let_go(&self, bytes: usize) {
            self.held.fetch_sub(bytes, Ordering::Relaxed);
        }

        fn close(&self, _code: CloseCode) {}

        fn cut(&self) {}
    }

    #[test]
    fn what_is_held_counts_until_it_is_sent_or_let_go_of() {
        let connection = Arc::new(Connection::default());
        let (of_one, of_other) = (Frame::binary(&[1; 100]), Frame::binary(&[2; 50]));
        let bytes = of_one.as_wire().len();
        let [mut one, mut other] = [1, 2].map(|channel| {
            SessionWire::new(Channel(channel), 1, Arc::<Connection>::clone(&connection))
        });
        one.hold(of_one.clone());
        one.hold(of_one.clone());
        other.hold(of_other.clone());
        let both = 2 * bytes + of_other.as_wire().len();
        assert_eq!(connection.counts(), (both, 0));
        // With the next window, or without one.
        one.send(fan_out::Frame::Windows(&[Frame::binary(&[3])]));
        assert_eq!(connection.counts(), (of_other.as_wire().len(), 3));
        one.release();
        other.release();
        assert_eq!(connection.counts(), (0, 4));
        // A session that leaves the brane stays connected.
        one.hold(of_one);
        assert_eq!(connection.counts(), (bytes, 4));
        drop(one);
        assert_eq!(connection.counts(), (0, 4));
    }
}
