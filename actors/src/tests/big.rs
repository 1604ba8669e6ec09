//! A large brane beside a small one.

use super::heavy::heavy;
use super::*;

/// Blocks of a part: each has more than 16 KB of properties.
const PARTS: u64 = 60;

impl World {
    /// A brane whose snapshot has at least so many parts; closed again.
    async fn create_large_brane(&self, parts: u64) -> BraneId {
        let brane = BraneId::new(Uuid::new_v4());
        self.create_brane(brane).await;
        for counter in 1..=parts.div_ceil(3) {
            let blocks = (0..50).map(|_| create(Kind::Block, heavy())).collect();
            let written = self.write_to(brane, client(), counter, Edit::Batch(blocks)).await;
            assert!(written.outcomes[0].1.is_ok());
        }
        let is_open = async || {
            let status = self.system.status().await.unwrap();
            status.branes.iter().any(|open| open.brane == brane)
        };
        let closed = async {
            while is_open().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, closed).await.unwrap();
        brane
    }
}

#[tokio::test]
async fn a_large_brane_opens_in_bites_between_the_edits_of_others() {
    let config = SystemConfig { idle_close_ms: 50, ..SystemConfig::default() };
    let world = World::new(config).await;
    let mut session = world.connect().await;
    let (channel, _) = session.join(world.brane, client(), None).await;
    let large = world.create_large_brane(PARTS).await;

    // One thread does everything here, and this store answers at once: what
    // is not handed back between two parts is not there for anybody else.
    let (system, claims) = (world.system.clone(), world.claims.clone());
    let opening = tokio::spawn(async move { system.view(large, &claims).await });
    let mut edits = 0;
    while !opening.is_finished() {
        edits += 1;
        session.create(channel, edits).await;
    }
    assert_eq!(opening.await.unwrap().unwrap().world.len(), 1 + 50 * PARTS.div_ceil(3) as u32);
    assert!(edits >= PARTS / 20, "{edits} edits while {PARTS} parts were read");
}
