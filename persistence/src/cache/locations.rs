//! Where branes were last heard of, so that a node that lets go of one, or
//! meets somebody who asks at the wrong place, need not guess. A hint: the
//! store alone knows who may write.

use std::collections::HashMap;
use std::time::Duration;

use avvy_model::BraneId;
use tokio::time::Instant;

use super::notice::Location;

/// Beyond, the oldest are forgotten.
const MAX_LOCATIONS: usize = 65_536;

/// The hints of this process.
pub(crate) struct Locations {
    keep: Duration,
    known: HashMap<BraneId, (Instant, Location)>,
}

impl Locations {
    pub(crate) fn new(keep: Duration) -> Self {
        Self { keep, known: HashMap::new() }
    }

    pub(crate) fn learn(&mut self, location: Location) {
        let now = Instant::now();
        if self.known.len() >= MAX_LOCATIONS && !self.known.contains_key(&location.brane) {
            self.known.retain(|_, (learnt, _)| now < *learnt + self.keep);
            if self.known.len() >= MAX_LOCATIONS {
                let oldest = self.known.iter().min_by_key(|(_, (learnt, _))| *learnt);
                let oldest = oldest.map(|(brane, _)| *brane);
                oldest.and_then(|brane| self.known.remove(&brane));
            }
        }
        self.known.insert(location.brane, (now, location));
    }

    pub(crate) fn forget(&mut self, brane: BraneId) {
        self.known.remove(&brane);
    }

    /// A notice may have been missed.
    pub(crate) fn clear(&mut self) {
        self.known.clear();
    }

    pub(crate) fn of(&self, brane: BraneId) -> Option<Location> {
        let (learnt, location) = self.known.get(&brane)?;
        (learnt.elapsed() < self.keep).then(|| location.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(brane: u8, address: &str) -> Location {
        let brane = BraneId::from_bytes([brane; 16]);
        let id = avvy_model::NodeId::from_bytes([9; 16]);
        Location { brane, node: crate::fleet::Node { id, address: address.to_owned() } }
    }

    #[tokio::test(start_paused = true)]
    async fn keeps_the_last_for_a_while() {
        let mut locations = Locations::new(Duration::from_secs(1));
        locations.learn(location(1, "a"));
        locations.learn(location(1, "b"));
        let brane = location(1, "").brane;
        assert_eq!(locations.of(brane), Some(location(1, "b")));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(locations.of(brane), None);
        locations.learn(location(1, "c"));
        locations.forget(brane);
        assert_eq!(locations.of(brane), None);
    }
}
