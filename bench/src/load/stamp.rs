//! What a benchmark's move carries: who sent it, the how-manieth it was, and
//! when, in the place of a position. So the age of every delivery is known
//! without looking anything up.

use avvy_model::{
    Counter, Edit, Handle, MovePatch, NumberedEdit, Operation, Parts, Rotation, Target, Transform,
};
use avvy_protocol::codec::{MoveView, encode_client};
use avvy_protocol::{Channel, ClientMessage, Update};

/// A walker's time counts modulo 2^29 microseconds, nine minutes.
pub const WALK_US: u32 = (1 << 29) - 1;
/// What is added to each component of a walker's stamp, so that it lies around
/// the middle.
const WALK_ZERO: u16 = 16_383 - 8_192;

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
        update(channel, object, counter, to)
    }

    /// The `object.update` of one move to `position`, with this stamp in the
    /// place of the rotation: without the number, of a sender below 8,192.
    pub fn walk(
        self,
        channel: Channel,
        object: Handle,
        counter: Counter,
        position: [i32; 3],
    ) -> Vec<u8> {
        let mut to = Transform::IDENTITY;
        (to.position, to.rotation) = (position, self.as_rotation());
        update(channel, object, counter, to)
    }

    /// Three components of 14 bits, so small that any three are a rotation.
    fn as_rotation(self) -> Rotation {
        let bits = u64::from(self.sent_us & WALK_US) | u64::from(self.sender) << 29;
        let part = |at: u32| ((bits >> at) & 0x3fff) + u64::from(WALK_ZERO);
        let packed = part(0) | part(14) << 15 | part(28) << 30 | 3 << 45;
        let bytes = packed.to_le_bytes();
        let six = [bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5]];
        Rotation::from_bytes(six).unwrap_or(Rotation::IDENTITY)
    }

    /// The stamp of a walker's move; `None` when it is none.
    #[inline]
    pub fn read_walk(record: &MoveView<'_>) -> Option<Self> {
        let packed = record.packed.get(12..18)?;
        let bytes = [packed[0], packed[1], packed[2], packed[3], packed[4], packed[5], 0, 0];
        let packed = u64::from_le_bytes(bytes);
        let part = |at: u32| ((packed >> at) & 0x7fff).checked_sub(u64::from(WALK_ZERO));
        let bits = part(0)? | part(15)? << 14 | part(30)? << 28;
        Some(Self { sent_us: bits as u32 & WALK_US, sender: (bits >> 29) as u32, number: 0 })
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

fn update(channel: Channel, object: Handle, counter: Counter, to: Transform) -> Vec<u8> {
    let patch = MovePatch::new(Parts::POSITION.with(Parts::ROTATION), to);
    let operation = Operation::Move { target: Target::Handle(object), patch };
    let edits = vec![NumberedEdit { counter, edit: Edit::One(operation) }];
    encode_client(&ClientMessage::Update(Update { channel, trace: None, edits }))
}

/// A rotation that differs from move to move.
fn turn(number: u32) -> Rotation {
    let half = f64::from(number % 360).to_radians() / 2.0;
    Rotation::from_quaternion([0.0, half.sin(), 0.0, half.cos()]).unwrap_or(Rotation::IDENTITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walker_s_stamp_is_a_rotation() {
        for (sent_us, sender) in [(0, 0), (1, 8_191), (WALK_US, 5_000), (0x0aaa_aaaa, 4_097)] {
            let stamp = Stamp { sent_us, sender, number: 0 };
            let packed = [[0; 12].as_slice(), &stamp.as_rotation().to_bytes()].concat();
            let parts = Parts::POSITION.with(Parts::ROTATION);
            let record = MoveView { handle: Handle(1), parts, packed: &packed };
            assert_eq!(Stamp::read_walk(&record), Some(stamp));
        }
    }
}
