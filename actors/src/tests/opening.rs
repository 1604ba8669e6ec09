//! Who may have a brane opened, and how many are.

use std::sync::atomic::AtomicU32;

use super::*;

impl World {
    /// Counts the openings in the store from now on.
    fn count_openings(&self) -> Arc<AtomicU32> {
        let openings = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&openings);
        self.disk.plan(move |operation, _| {
            counter.fetch_add(u32::from(operation == StoreOperation::Open), Ordering::Relaxed);
            Fault::None
        });
        openings
    }

    async fn view(&self, brane: BraneId) -> Result<(), Code> {
        self.system.view(brane, &self.claims).await.map(|_| ()).map_err(|denied| denied.code)
    }
}

#[tokio::test]
async fn another_users_private_brane_does_not_exist() {
    let mut world = World::new(SystemConfig::default()).await;
    let owner = world.claims.clone();
    let stranger = Claims { user: UserId::new(Uuid::new_v4()), ..owner.clone() };
    let none = BraneId::new(Uuid::new_v4());
    for _ in 0..2 {
        for brane in [world.brane, none] {
            let view = world.system.view(brane, &stranger).await;
            assert_eq!(view.err(), Some(Code::NotFound.into()));
            assert_eq!(world.system.brane(brane, &stranger).await.err(), Some(Code::NotFound));
        }
        world.claims = stranger.clone();
        let mut session = world.connect().await;
        session.say(&ClientMessage::Join(Join {
            brane: world.brane,
            client: client(),
            known: false,
            resume: None,
            area: None,
        }));
        assert_eq!(session.error().await, Code::NotFound);
        world.claims = owner.clone();
        world.view(world.brane).await.unwrap();
    }
}

#[tokio::test]
async fn the_brane_that_nobody_uses_makes_room() {
    let config = SystemConfig { max_open_branes: 2, ..SystemConfig::default() };
    let world = World::new(config).await;
    let [second, third] = [0; 2].map(|_| BraneId::new(Uuid::new_v4()));
    world.create_brane(second).await;
    world.create_brane(third).await;
    let openings = world.count_openings();

    let mut session = world.connect().await;
    let (channel, _) = session.join(world.brane, client(), None).await;
    world.view(second).await.unwrap();
    world.view(third).await.unwrap();
    let branes = async || -> Vec<BraneId> {
        let status = world.system.status().await.unwrap();
        status.branes.iter().map(|open| open.brane).collect()
    };
    let open = branes().await;
    assert!(open.contains(&world.brane) && open.contains(&third) && !open.contains(&second));
    // Both are in use now.
    let (third_channel, _) = session.join(third, client(), None).await;
    assert_eq!(world.view(second).await, Err(Code::Unavailable));
    session.say(&ClientMessage::Join(Join {
        brane: second,
        client: client(),
        known: false,
        resume: None,
        area: None,
    }));
    let refused = session.until(|m| matches!(m, ServerMessage::Error(_))).await;
    let ServerMessage::Error(refused) = refused else { unreachable!() };
    assert_eq!(refused.code, Code::Unavailable);
    assert!(refused.retry_after_ms.is_some_and(|ms| ms > 0), "{refused:?}");
    assert_eq!(openings.load(Ordering::Relaxed), 3);
    world.system.probe().await.expect("the probe has a place of its own");

    session.say(&ClientMessage::Leave { channel });
    session.until(|m| matches!(m, ServerMessage::Left { .. })).await;
    world.view(second).await.unwrap();
    assert!(!branes().await.contains(&world.brane), "it was left");
    session.create(third_channel, 1).await;
}

#[tokio::test]
async fn a_user_owns_so_many_branes() {
    let config = SystemConfig { max_branes_per_user: 3, ..SystemConfig::default() };
    let world = World::new(config).await;
    let create = |_| world.system.create_brane(world.record(BraneId::new(Uuid::new_v4())));
    let (a, b, c) = tokio::join!(create(1), create(2), create(3));
    assert_eq!([a, b, c].iter().filter(|created| created.is_ok()).count(), 2);
    assert_eq!(create(4).await, Err(Code::TooManyBranes));
    let other = BraneRecord {
        owner: UserId::new(Uuid::new_v4()),
        ..world.record(BraneId::new(Uuid::new_v4()))
    };
    assert_eq!(world.system.create_brane(other).await, Ok(()));
}
