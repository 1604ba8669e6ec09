//! What a benchmark's move carries: who sent it, the how-manieth it was, and
//! when, in the place of a position. So the age of every delivery is known
//! without looking anything up.

use avvy_model::{
    Counter, Edit, Handle, MovePatch, NumberedEdit, Operation, Parts, Rotation, Target, Transform,
};
use avvy_protocol::codec::{MoveView, encode_client};
use avvy_protocol::{Channel, ClientMessage, Update};

/// The contents of a move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// Microseconds of the load's clock, modulo 2^32 (71 minutes).
    pub sent_us: u32,
    /// Which session.
    pub sender: u32,
    /// Its moves so far, this one included.
    pub number: u32,
}

impl Stamp {
    /// The `object.update` of one move (position and rotation) with this stamp.
    pub fn update(self, channel: Channel, object: Handle, counter: Counter) -> Vec<u8> {
        let position = [self.sent_us as i32, self.sender as i32, self.number as i32];
        let mut to = Transform::IDENTITY;
        (to.position, to.rotation) = (position, turn(self.number));
        let patch = MovePatch::new(Parts::POSITION.with(Parts::ROTATION), to);
        let operation = Operation::Move { target: Target::Handle(object), patch };
        let edits = vec![NumberedEdit { counter, edit: Edit::One(operation) }];
        encode_client(&ClientMessage::Update(Update { channel, trace: None, edits }))
    }

    /// The stamp of a move; `None` when it sets no position.
    #[inline]
    pub fn read(record: &MoveView<'_>) -> Option<Self> {
        if !record.parts.has(Parts::POSITION) {
            return None;
        }
        let (bytes, _) = record.packed.split_first_chunk::<12>()?;
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Some(Self { sent_us: word(0), sender: word(4), number: word(8) })
    }
}

/// A rotation that differs from move to move.
fn turn(number: u32) -> Rotation {
    let half = f64::from(number % 360).to_radians() / 2.0;
    Rotation::from_quaternion([0.0, half.sin(), 0.0, half.cos()]).unwrap_or(Rotation::IDENTITY)
}
