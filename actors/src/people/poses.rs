//! Poses on their way from a connection to its branes: one slot for each, in
//! which the latest replaces the one before. However fast a client sends, one
//! message of it waits at the fan-out.

use std::sync::{Arc, Mutex};

use avvy_auth::rate::Bucket;
use avvy_flow::people::Rate;
use avvy_model::Code;
use avvy_protocol::{Channel, PoseUpdate};

use super::PeopleMsg;
use crate::clock;
use crate::fan_out::FanOutMsg;
use crate::session::{Shared, lock};

/// The latest pose of a session in a brane, until the fan-out takes it.
#[derive(Default)]
pub(crate) struct PoseSlot(Mutex<Option<PoseUpdate>>);

impl PoseSlot {
    pub(crate) fn take(&self) -> Option<PoseUpdate> {
        lock(&self.0).take()
    }

    /// Whether nothing was in it.
    fn put(&self, update: PoseUpdate) -> bool {
        lock(&self.0).replace(update).is_none()
    }
}

/// The slots of one connection.
pub(crate) struct Poses {
    rate: Mutex<Bucket>,
    slots: Mutex<Vec<(Channel, Arc<PoseSlot>)>>,
}

impl Poses {
    pub(crate) fn new(rate: Rate) -> Self {
        let bucket = Bucket::new(rate.burst, rate.per_second, clock::monotonic_ms());
        Self { rate: Mutex::new(bucket), slots: Mutex::default() }
    }

    /// Whether one more is within the rate of poses.
    pub(crate) fn admits(&self) -> bool {
        lock(&self.rate).take(clock::monotonic_ms(), 1).is_ok()
    }
}

impl Shared {
    /// A pose came in.
    pub(crate) fn pose(&self, update: PoseUpdate) {
        let channel = update.channel;
        let fan_out =
            self.routes().iter().find(|r| r.channel == channel).map(|r| r.fan_out.clone());
        let Some(fan_out) = fan_out else {
            return self.refuse(Code::NotJoined, Some("presence.pose"), Some(channel), None);
        };
        let slot = self.slot(channel);
        if slot.put(update) {
            let session = self.key;
            // A brane that has just gone tells its sessions so itself.
            let _ = fan_out.send_message(FanOutMsg::People(PeopleMsg::Pose { session, slot }));
        }
    }

    fn slot(&self, channel: Channel) -> Arc<PoseSlot> {
        let mut slots = lock(&self.poses.slots);
        if let Some((_, slot)) = slots.iter().find(|(of, _)| *of == channel) {
            return Arc::clone(slot);
        }
        // Slots of branes that were left are of no more use.
        let routes = self.routes();
        slots.retain(|(of, _)| routes.iter().any(|route| route.channel == *of));
        let slot = Arc::default();
        slots.push((channel, Arc::clone(&slot)));
        slot
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use avvy_model::Rotation;
    use avvy_protocol::Pose;

    use super::*;

    #[test]
    fn one_message_is_due_however_many_poses_come() {
        let rotation = Rotation::from_quaternion([0.0, 0.0, 0.0, 1.0]).unwrap();
        let update = |x| PoseUpdate {
            channel: Channel(1),
            pose: Pose { position: [x, 0, 0], rotation },
            state: Vec::new(),
        };
        let slot = PoseSlot::default();
        let due: Vec<bool> = (0..3).map(|x| slot.put(update(x))).collect();
        assert_eq!(due, [true, false, false]);
        assert_eq!(slot.take(), Some(update(2)), "the latest counts");
        assert_eq!(slot.take(), None);
        assert!(slot.put(update(3)));
    }
}
