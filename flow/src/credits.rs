//! How much of a session's may be under way.
//!
//! A session takes credits for every message that it hands on: one for each
//! operation in it, and its bytes. It gives them back when the answers are
//! out. When credits are short it keeps the message that it has and reads no
//! further, so that TCP pushes back on that client alone. The bound on what is
//! under way bounds the mailboxes behind it, in number and in bytes.

use avvy_model::NumberedEdit;
use avvy_protocol::ClientMessage;

/// What a message weighs, or what may be under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct Load {
    /// Operations.
    pub operations: u32,
    /// Bytes of messages as they came.
    pub bytes: u32,
}

impl Load {
    /// Of a message that came in so many bytes. One without operations counts
    /// as one.
    pub fn of(message: &ClientMessage, bytes: usize) -> Self {
        let operations = match message {
            ClientMessage::Update(update) => operations(&update.edits).max(1),
            _ => 1,
        };
        Self { operations, bytes: u32::try_from(bytes).unwrap_or(u32::MAX) }
    }

    fn fits(self, room: Self) -> bool {
        self.operations <= room.operations && self.bytes <= room.bytes
    }
}

/// What these edits cost the server, in operations: see [`avvy_model::Edit::cost`].
pub fn operations(edits: &[NumberedEdit]) -> u32 {
    edits.iter().fold(0, |sum, edit| sum.saturating_add(edit.edit.cost()))
}

/// What became of a wish for credits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Take {
    /// Granted.
    Taken,
    /// Not now: keep the message, read no further, ask again after a
    /// [`Credits::give`].
    Wait,
    /// More than there will ever be: refuse the message.
    TooMany,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Credits {
    max: Load,
    in_flight: Load,
    waits: u64,
}

/// What a session's credits look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct CreditsStatus {
    /// What is under way without an answer.
    pub in_flight: Load,
    /// The bound.
    pub max: Load,
    /// How often a message had to wait.
    pub waits: u64,
}

impl Credits {
    /// So much (at least 1 of each) may be under way at once.
    pub fn new(max: Load) -> Self {
        let max = Load { operations: max.operations.max(1), bytes: max.bytes.max(1) };
        Self { max, in_flight: Load::default(), waits: 0 }
    }

    /// Takes credits for a message, all or none.
    pub fn take(&mut self, load: Load) -> Take {
        if !load.fits(self.max) {
            return Take::TooMany;
        }
        if !load.fits(self.room()) {
            self.waits += 1;
            return Take::Wait;
        }
        self.in_flight.operations += load.operations;
        self.in_flight.bytes += load.bytes;
        Take::Taken
    }

    /// Gives credits back: a message was answered. More than were taken is as
    /// good as all.
    pub fn give(&mut self, load: Load) {
        let Load { operations, bytes } = &mut self.in_flight;
        *operations = operations.saturating_sub(load.operations);
        *bytes = bytes.saturating_sub(load.bytes);
    }

    /// Whether the next message may be read from the socket. `outbox_full`
    /// says that the client does not read its own answers; without that
    /// condition, outcomes would pile up for a client that only writes.
    pub fn may_read(&self, outbox_full: bool) -> bool {
        let Load { operations, bytes } = self.room();
        !outbox_full && operations > 0 && bytes > 0
    }

    /// For metrics and tests.
    pub fn status(&self) -> CreditsStatus {
        CreditsStatus { in_flight: self.in_flight, max: self.max, waits: self.waits }
    }

    fn room(&self) -> Load {
        Load {
            operations: self.max.operations - self.in_flight.operations,
            bytes: self.max.bytes - self.in_flight.bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use avvy_model::{Counter, DeleteMode, Edit, Handle, Operation, Target};
    use avvy_protocol::{Channel, Update};

    use super::*;

    const MAX: Load = Load { operations: 10, bytes: 100 };

    fn load(operations: u32, bytes: u32) -> Load {
        Load { operations, bytes }
    }

    #[test]
    fn all_or_none() {
        let mut credits = Credits::new(MAX);
        assert_eq!(credits.take(load(7, 10)), Take::Taken);
        assert_eq!(credits.take(load(4, 10)), Take::Wait);
        assert_eq!(credits.take(load(3, 10)), Take::Taken);
        assert!(!credits.may_read(false));
        credits.give(load(4, 5));
        assert!(credits.may_read(false));
        assert_eq!(credits.take(load(4, 1)), Take::Taken);
        let status = CreditsStatus { in_flight: load(10, 16), max: MAX, waits: 1 };
        assert_eq!(credits.status(), status);
    }

    #[test]
    fn bytes_run_out_before_operations_do() {
        let mut credits = Credits::new(MAX);
        assert_eq!(credits.take(load(1, 60)), Take::Taken);
        assert_eq!(credits.take(load(1, 60)), Take::Wait);
        assert_eq!(credits.take(load(1, 40)), Take::Taken);
        assert!(!credits.may_read(false));
        credits.give(load(1, 60));
        assert_eq!(credits.take(load(1, 60)), Take::Taken);
    }

    #[test]
    fn what_never_fits_is_said_so() {
        let mut credits = Credits::new(MAX);
        assert_eq!(credits.take(load(11, 1)), Take::TooMany);
        assert_eq!(credits.take(load(1, 101)), Take::TooMany);
        assert_eq!(credits.take(load(10, 100)), Take::Taken);
    }

    #[test]
    fn a_client_that_does_not_read_is_not_read() {
        let credits = Credits::new(load(1, 1));
        assert!(credits.may_read(false));
        assert!(!credits.may_read(true));
    }

    #[test]
    fn giving_too_much_is_harmless() {
        let mut credits = Credits::new(MAX);
        assert_eq!(credits.take(load(1, 1)), Take::Taken);
        credits.give(load(u32::MAX, u32::MAX));
        assert_eq!(credits.take(MAX), Take::Taken);
        assert_eq!(credits.take(load(1, 1)), Take::Wait);
    }

    #[test]
    fn a_batch_weighs_what_is_in_it() {
        let delete =
            Operation::Delete { target: Target::Handle(Handle(1)), mode: DeleteMode::Subtree };
        let edits = [Edit::One(delete.clone()), Edit::Batch(vec![delete; 7]), Edit::Batch(vec![])];
        let edits =
            edits.map(|edit| NumberedEdit { counter: Counter(1), edit }).into_iter().collect();
        let update = Update { channel: Channel(1), trace: None, edits };
        assert_eq!(Load::of(&ClientMessage::Update(update), 300), load(9, 300));
        let update = Update { channel: Channel(1), trace: None, edits: Vec::new() };
        assert_eq!(Load::of(&ClientMessage::Update(update), 9), load(1, 9));
        assert_eq!(Load::of(&ClientMessage::Ping { nonce: 1 }, 9), load(1, 9));
    }
}
