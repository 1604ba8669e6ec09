//! A large brane beside a small one.

use super::heavy::heavy;
use super::*;

/// Blocks of a part: each has more than 16 KB of properties.
const PARTS: u64 = 60;

/// A closed brane whose snapshot has at least so many parts, in a store in
/// memory.
async fn large_brane(parts: u64) -> World {
    let world = World::new(SystemConfig::default()).await;
    for counter in 1..=parts.div_ceil(3) {
        let blocks = (0..50).map(|_| create(Kind::Block, heavy())).collect();
        let written = world.write_to(world.brane, client(), counter, Edit::Batch(blocks)).await;
        assert!(written.outcomes[0].1.is_ok());
    }
    assert!(world.system.drain(PATIENCE).await);
    world
}

#[tokio::test]
async fn a_large_brane_opens_in_bites_between_the_edits_of_others() {
    let before = large_brane(PARTS).await;
    let (store, disk) = (Arc::new(before.disk.mount()), before.disk.clone());
    let mut config = SystemConfig::default();
    // A pause between windows goes by the time that they took, which is that
    // of all else on this machine, too. Only turns are to count here.
    config.brane.flush.flush_every_edit = true;
    let world = World::on(store, disk, config).await;
    let mut session = world.connect().await;
    let (channel, _) = session.join(world.brane, client(), None).await;

    // One thread does everything here, and this store answers at once: what
    // is not handed back between two parts is not there for anybody else.
    let (system, claims, large) = (world.system.clone(), before.claims.clone(), before.brane);
    let opening = tokio::spawn(async move { system.view(large, &claims).await });
    let mut edits = 0;
    while !opening.is_finished() {
        edits += 1;
        session.create(channel, edits).await;
    }
    assert_eq!(opening.await.unwrap().unwrap().world.len(), 1 + 50 * PARTS.div_ceil(3) as u32);
    assert!(edits >= PARTS / 20, "{edits} edits while {PARTS} parts were read");
}
