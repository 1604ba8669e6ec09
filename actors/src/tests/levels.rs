//! Sessions that cannot keep up.

use avvy_flow::fan_out::Threshold;
use avvy_protocol::{Level, LevelReason, PeopleNews, Person};

use super::people::at;
use super::*;

/// No poses from the first byte that is owed, and several windows as one from
/// about five on.
fn config() -> SystemConfig {
    let step = |bytes| Threshold { bytes, age_ms: u32::MAX };
    let mut config = SystemConfig::default();
    config.fan_out.degrade = [step(1), step(500), step(usize::MAX), step(usize::MAX)];
    config.fan_out.recover_ms = 10;
    (config.people.pose_interval_ms, config.people.roster_interval_ms) = (1, 1);
    config
}

impl Session {
    /// Until it is told this level, without poses.
    async fn is_told(&mut self, to: Level, why: LevelReason) {
        let told = self.without_poses(|m| matches!(m, ServerMessage::Level { .. })).await;
        let ServerMessage::Level { level, reason, .. } = told else { unreachable!() };
        assert_eq!((level, reason), (to, why));
    }

    async fn without_poses(&mut self, wanted: impl Fn(&ServerMessage) -> bool) -> ServerMessage {
        let is_poses = |m: &_| matches!(m, ServerMessage::People(PeopleNews::Poses(_)));
        let next = self.until(|m| wanted(m) || is_poses(m)).await;
        assert!(!is_poses(&next), "{next:?}");
        next
    }
}

#[tokio::test]
async fn who_cannot_keep_up_is_sent_no_poses_then_windows_as_one_and_then_everything() {
    let world = World::new(config()).await;
    let is_stuck = Arc::new(AtomicBool::new(false));
    let stuck = |inbox| Arc::new(Stuck { inbox, is_stuck: Arc::clone(&is_stuck) }) as Arc<dyn Wire>;
    let mut slow = world.connect_by(stuck).await;
    let (channel, _) = slow.join(world.brane, client(), None).await;
    slow.list(channel).await;
    let (mut editor, channel) = Session::in_brane(&world).await;
    editor.list(channel).await;
    editor.create(channel, 1).await;
    slow.until(|m| matches!(m, ServerMessage::Flush(_))).await;

    is_stuck.store(true, Ordering::Relaxed);
    editor.create(channel, 2).await;
    editor.create(channel, 3).await;
    slow.is_told(Level::NoPresence, LevelReason::Bytes).await;
    let (mut walker, of_walker) = Session::in_brane(&world).await;
    for x in [1_000, 2_000] {
        walker.stand(of_walker, x);
        assert_eq!(editor.poses().await.poses, [(Person(3), at(x))]);
    }
    let _late = Session::in_brane(&world).await;
    let is_late = |m: &_| match m {
        ServerMessage::People(PeopleNews::Changed(changed)) => {
            changed.joined.iter().any(|one| one.person == Person(4))
        }
        _ => false,
    };
    slow.without_poses(is_late).await;

    for counter in 4..14 {
        editor.create(channel, counter).await;
    }
    slow.is_told(Level::Collapsed, LevelReason::Bytes).await;
    is_stuck.store(false, Ordering::Relaxed);
    slow.port.drained();
    let together = slow.without_poses(|m| matches!(m, ServerMessage::Flush(_))).await;
    let ServerMessage::Flush(flush) = together else { unreachable!() };
    assert_eq!((flush.from, flush.to), (Seq(2), Seq(13)));
    slow.is_told(Level::NoPresence, LevelReason::Recovered).await;
    slow.is_told(Level::Full, LevelReason::Recovered).await;
    assert_eq!(slow.poses().await.poses, [(Person(3), at(2_000))]);
}
