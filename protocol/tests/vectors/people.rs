//! What is said of people.

use avvy_model::{Rotation, Value, ValueLimits};
use avvy_protocol::*;

use super::samples::*;

pub fn requests() -> Vec<(&'static str, ClientMessage)> {
    use ClientMessage::People;
    let channel = Channel(1);
    let list = |after, limit| People(PeopleRequest::List(PeopleList { channel, after, limit }));
    let pose = |state: &[u8]| {
        let update = PoseUpdate { channel, pose: standing(), state: state.to_vec() };
        People(PeopleRequest::Pose(update))
    };
    let signal = |to, body| {
        let kind = "wave".to_owned();
        People(PeopleRequest::Signal(SignalSend { channel, to, kind, body }))
    };
    vec![
        ("people.list", list(None, None)),
        ("people.list, the next page", list(Some(Person(500)), Some(100))),
        ("presence.pose", pose(&[])),
        ("presence.pose with a state", pose(&[1, 2, 255])),
        ("signal.send to all", signal(Audience::All, None)),
        ("signal.send to those near", signal(Audience::Near, Some(Value::text("hello")))),
        ("signal.send to one", signal(Audience::One(Person(7)), Some(body()))),
    ]
}

pub fn news() -> Vec<(&'static str, ServerMessage)> {
    use ServerMessage::People;
    let channel = Channel(1);
    let person = |n: u32| PersonAt { person: Person(n), user: user_id(n as u8) };
    let changed = |joined, left, reset| {
        let to = if reset { 70_000 } else { 70_003 };
        let change = PeopleChanged { channel, from: 70_000, to, joined, left, reset };
        People(PeopleNews::Changed(change))
    };
    let page = |after, people, next| {
        let page = PeoplePage { channel, after, you: Person(2), at: 70_000, people, next };
        People(PeopleNews::Page(page))
    };
    let poses = |away, poses, states| {
        People(PeopleNews::Poses(Poses { channel, ms: NOW_MS, away, poses, states }))
    };
    let signal = |body| {
        let (from, user, kind) = (Person(7), user_id(7), "wave".to_owned());
        People(PeopleNews::Signal(Signal { channel, from, user, kind, body, ms: NOW_MS }))
    };
    vec![
        ("people.page", page(None, vec![person(2), person(7)], None)),
        ("people.page with more to come", page(Some(Person(1)), vec![person(2)], Some(Person(2)))),
        ("people.changed", changed(vec![person(8), person(9)], vec![Person(8)], false)),
        ("people.changed, reset", changed(vec![], vec![], true)),
        ("presence.poses", poses(vec![], vec![(Person(7), standing())], vec![])),
        (
            "presence.poses with everything",
            poses(
                vec![Person(3), Person(300)],
                vec![(Person(7), standing()), (Person(70_000), standing())],
                vec![(Person(7), vec![1, 2, 255]), (Person(9), vec![])],
            ),
        ),
        ("signal", signal(None)),
        ("signal with a body", signal(Some(body()))),
    ]
}

fn standing() -> Pose {
    let rotation = Rotation::from_quaternion([0.0, 0.5f64.sqrt(), 0.0, 0.5f64.sqrt()]).unwrap();
    Pose { position: [15_000, 0, -800], rotation }
}

fn body() -> Value {
    Value::parse(b"\xa2\x61x\x01\x64text\x65hello", &ValueLimits::default()).unwrap()
}
