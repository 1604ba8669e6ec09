//! Who is there.

use super::*;

#[test]
fn who_does_not_ask_is_told_nothing() {
    let mut crowd = Crowd::new(PeopleConfig::default());
    crowd.join(1);
    crowd.follow(2);
    crowd.join(3);
    crowd.pose(3, 1.0);
    crowd.pass(2_000);
    assert_eq!(crowd.seen(1).at, None);
    assert_eq!(crowd.people(2), [1, 2, 3]);
    assert_eq!(crowd.seen(2).you, Some(Person(2)));
    let status = crowd.machine.status();
    assert_eq!((status.people, status.followers, status.posed, status.changes), (3, 1, 1, 3));
}

#[test]
fn a_number_is_not_used_again() {
    let mut crowd = Crowd::new(PeopleConfig::default());
    crowd.follow(1);
    crowd.join(2);
    crowd.leave(2);
    crowd.join(2);
    crowd.settle();
    assert_eq!(crowd.people(1), [1, 3]);
    assert_eq!(crowd.seen(1).heard.len(), 3);
}

#[test]
fn the_first_change_is_told_at_once_and_the_next_are_gathered() {
    let mut crowd = Crowd::new(PeopleConfig::default());
    crowd.follow(1);
    crowd.pass(0);
    for session in 2..10 {
        crowd.join(session);
    }
    crowd.read();
    let told = crowd.machine.deadline().unwrap();
    assert_eq!(told, crowd.now.us + 500_000);
    assert_eq!(crowd.people(1), [1, 2], "the first after a rest waits for nobody");
    crowd.pass(499);
    assert_eq!(crowd.people(1).len(), 2);
    crowd.pass(1);
    assert_eq!(crowd.people(1).len(), 9);
    // The session's own joining is before the page that it got.
    assert_eq!(crowd.seen(1).at, Some(9));
}

#[test]
fn pages_go_by_number_and_are_bounded() {
    let config = PeopleConfig { page_people: 3, ..PeopleConfig::default() };
    let mut crowd = Crowd::new(config);
    (1..=7).for_each(|session| crowd.join(session));
    let asked =
        [(None, None, 3), (Some(3), Some(100), 6), (Some(6), Some(1), 7), (Some(7), None, 7)];
    for (after, limit, known) in asked {
        crowd.list(1, after.map(Person), limit);
        assert_eq!(crowd.people(1).len(), known);
    }
    crowd.list(2, None, Some(0));
    assert_eq!(crowd.people(2), [1], "a limit of nothing is one");
}

#[test]
fn one_who_left_between_two_pages_is_not_kept() {
    let config = PeopleConfig { page_people: 2, ..PeopleConfig::default() };
    let mut crowd = Crowd::new(config);
    (1..=5).for_each(|session| crowd.join(session));
    crowd.list(1, None, None);
    crowd.leave(2);
    crowd.leave(4);
    crowd.join(6);
    crowd.list(1, Some(Person(2)), None);
    crowd.list(1, Some(Person(5)), None);
    crowd.settle();
    assert_eq!(crowd.people(1), [1, 3, 5, 6]);
}

#[test]
fn a_slow_follower_gets_what_it_missed() {
    let mut crowd = Crowd::new(PeopleConfig::default());
    crowd.follow(1);
    crowd.fill(1, true);
    for session in 2..50 {
        crowd.join(session);
        crowd.pass(100);
    }
    assert_eq!(crowd.people(1), [1]);
    crowd.fill(1, false);
    crowd.settle();
    assert_eq!(crowd.people(1).len(), 49);
    assert_eq!(crowd.seen(1).resets, 0);
}

#[test]
fn one_that_is_too_slow_is_told_to_list_anew() {
    let mut crowd = Crowd::new(PeopleConfig { roster_ring: 10, ..PeopleConfig::default() });
    crowd.follow(1);
    crowd.follow(2);
    crowd.fill(1, true);
    for session in 3..50 {
        crowd.join(session);
        crowd.pass(600);
    }
    crowd.fill(1, false);
    crowd.settle();
    assert_eq!((crowd.seen(1).resets, crowd.people(1).len()), (1, 0));
    crowd.join(60);
    crowd.settle();
    assert_eq!(crowd.people(1).len(), 0, "nothing comes before it lists");
    crowd.list(1, None, None);
    crowd.leave(60);
    crowd.settle();
    assert_eq!(crowd.people(1), crowd.people(2));
    assert_eq!(crowd.machine.status().resets, 1);
}

#[test]
fn what_many_do_at_once_is_several_messages_that_join() {
    let mut crowd = Crowd::new(PeopleConfig::default());
    crowd.follow(1);
    (2..2_000).for_each(|session| crowd.join(session));
    crowd.settle();
    (2..2_000).for_each(|session| crowd.leave(session));
    crowd.settle();
    assert_eq!(crowd.people(1), [1]);
    assert_eq!(crowd.seen(1).heard.len(), 1_999);
}
