//! Where they are.

use super::*;

fn crowd(people: u64, config: PeopleConfig) -> Crowd {
    let mut crowd = Crowd::new(config);
    for session in 1..=people {
        crowd.follow(session);
        crowd.pose(session, session as f64);
    }
    crowd
}

#[test]
fn a_viewer_sees_the_nearest_and_not_itself() {
    let config = PeopleConfig { max_avatars: 4, ..PeopleConfig::default() };
    let mut crowd = crowd(20, config);
    crowd.settle();
    assert_eq!(crowd.avatars(10), [8, 9, 11, 12]);
    assert_eq!(crowd.avatars(1), [2, 3, 4, 5]);
    // Without a pose one stands at the origin.
    crowd.follow(21);
    crowd.settle();
    assert_eq!(crowd.avatars(21), [1, 2, 3, 4]);
}

#[test]
fn who_walks_away_is_taken_away() {
    let config = PeopleConfig { max_avatars: 2, ..PeopleConfig::default() };
    let mut crowd = crowd(4, config);
    crowd.settle();
    assert_eq!(crowd.avatars(1), [2, 3]);
    crowd.pose(2, 1_000.0);
    crowd.settle();
    assert_eq!(crowd.avatars(1), [3, 4]);
    crowd.pose(1, 999.0);
    crowd.settle();
    assert_eq!(crowd.avatars(1), [2, 4]);
}

#[test]
fn who_leaves_is_taken_away_at_the_next_turn() {
    let mut crowd = crowd(3, PeopleConfig::default());
    crowd.settle();
    crowd.leave(2);
    crowd.pass(50);
    assert_eq!(crowd.avatars(1), [3]);
}

#[test]
fn a_new_avatar_comes_at_once_and_a_far_one_moves_rarely() {
    let mut crowd = crowd(2, PeopleConfig::default());
    crowd.settle();
    crowd.follow(3);
    crowd.pose(3, 1_000.0);
    crowd.pass(50);
    assert_eq!(crowd.seen(1).avatars[&Person(3)].0, at(1_000.0));
    crowd.settle();
    // Messages of a second in which both move at every turn.
    let mut count = |who: u64, metres: f64| {
        let before = crowd.machine.status().poses_sent;
        for turn in 0..32 {
            crowd.pose(who, metres + f64::from(turn) / 100.0);
            crowd.pass(50);
        }
        crowd.settle();
        crowd.machine.status().poses_sent - before
    };
    // Of 3 two viewers have the avatar that moves; one is near, one is not.
    let near = count(2, 2.0);
    assert!((32 + 2..=32 + 4).contains(&near), "{near}");
    let far = count(3, 1_000.0);
    assert!((2 * 2..=2 * 4).contains(&far), "{far}");
    assert_eq!(crowd.seen(1).avatars[&Person(3)].0, at(1_000.31), "the last one arrives");
}

#[test]
fn at_twice_the_distance_poses_come_half_as_often() {
    let mut crowd = crowd(2, PeopleConfig::default());
    crowd.settle();
    let turns = 32;
    for (metres, sent) in [(4, 32), (12, 16), (24, 8), (48, 4), (96, 2), (1_000, 2)] {
        crowd.pose(2, f64::from(metres));
        crowd.settle();
        let before = crowd.machine.status().poses_sent;
        for turn in 1..=turns {
            crowd.pose(2, f64::from(metres) + f64::from(turn) / 100.0);
            crowd.pass(50);
        }
        crowd.settle();
        let told = crowd.machine.status().poses_sent - before;
        // The last one is told also out of its turn.
        assert!((sent..=sent + 1).contains(&told), "{told} at {metres} m");
    }
}

#[test]
fn in_a_quiet_brane_nothing_is_due() {
    let mut crowd = crowd(5, PeopleConfig::default());
    crowd.settle();
    assert_eq!(crowd.machine.deadline(), None);
    let before = crowd.machine.status();
    crowd.pose(3, 3.0);
    assert_eq!(crowd.machine.deadline(), None, "the same pose again is nothing new");
    crowd.pass(5_000);
    assert_eq!(crowd.machine.status().pose_messages, before.pose_messages);
}

#[test]
fn a_full_outbox_gets_no_poses_and_then_the_last() {
    let mut crowd = crowd(2, PeopleConfig::default());
    crowd.settle();
    crowd.fill(1, true);
    for step in 0..10 {
        crowd.pose(2, f64::from(step));
        crowd.pass(50);
    }
    assert_eq!(crowd.seen(1).avatars[&Person(2)].0, at(2.0));
    assert!(crowd.machine.status().poses_dropped >= 10);
    crowd.settle();
    crowd.fill(1, false);
    crowd.settle();
    assert_eq!(crowd.seen(1).avatars[&Person(2)].0, at(9.0));
}

#[test]
fn a_state_is_sent_when_it_changes_and_to_who_is_new() {
    let mut crowd = crowd(2, PeopleConfig::default());
    crowd.machine.pose(SessionKey(2), at(2.0), vec![7]);
    crowd.settle();
    assert_eq!(crowd.seen(1).avatars[&Person(2)].1, [7]);
    crowd.machine.pose(SessionKey(2), at(3.0), vec![7]);
    crowd.settle();
    crowd.follow(3);
    crowd.settle();
    assert_eq!(crowd.seen(3).avatars[&Person(2)], (at(3.0), vec![7]));
    crowd.machine.pose(SessionKey(2), at(3.0), Vec::new());
    crowd.settle();
    assert_eq!(crowd.seen(1).avatars[&Person(2)], (at(3.0), Vec::new()));
}

#[test]
fn turns_that_cost_much_are_rare() {
    let mut crowd = crowd(2, PeopleConfig::default());
    crowd.settle();
    crowd.pose(1, 5.0);
    let now = crowd.now;
    crowd.machine.tick(now);
    crowd.machine.spent(20_000);
    crowd.machine.work(now);
    crowd.machine.spent(10_000);
    crowd.pose(1, 6.0);
    assert_eq!(crowd.machine.deadline(), Some(now.us + 4 * 30_000), "a quarter of the time");
}

#[test]
fn a_large_crowd_is_served_bite_by_bite() {
    let config = PeopleConfig { max_avatars: 10, ..PeopleConfig::default() };
    let mut crowd = crowd(600, config);
    let mut bites = 0;
    crowd.machine.tick(crowd.now);
    while crowd.machine.has_work() {
        crowd.machine.work(crowd.now);
        bites += 1;
    }
    assert_eq!(bites, 600_usize.div_ceil(BITE));
    crowd.settle();
    assert_eq!(crowd.avatars(300), [295, 296, 297, 298, 299, 301, 302, 303, 304, 305]);
    crowd.pose(300, 100.0);
    crowd.settle();
    assert_eq!(crowd.avatars(300), [95, 96, 97, 98, 99, 100, 101, 102, 103, 104]);
}
