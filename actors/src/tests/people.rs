//! People in a brane, through the actors.

use avvy_flow::people::Rate;
use avvy_model::{Rotation, Value};
use avvy_protocol::{
    Audience, ErrorMessage, PeopleChanged, PeopleList, PeopleNews, PeoplePage, PeopleRequest,
    Person, Pose, PoseUpdate, Poses, Signal, SignalSend,
};

use super::*;

impl Session {
    pub(super) async fn in_brane(world: &World) -> (Self, Channel) {
        let mut session = world.connect().await;
        let (channel, _) = session.join(world.brane, client(), None).await;
        (session, channel)
    }

    fn ask(&mut self, request: PeopleRequest) {
        self.say(&ClientMessage::People(request));
    }

    pub(super) async fn list(&mut self, channel: Channel) -> PeoplePage {
        self.ask(PeopleRequest::List(PeopleList { channel, after: None, limit: None }));
        match self.news(|news| matches!(news, PeopleNews::Page(_))).await {
            PeopleNews::Page(page) => page,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn stand(&mut self, channel: Channel, x: i32) {
        let update = PoseUpdate { channel, pose: at(x), state: vec![1] };
        self.ask(PeopleRequest::Pose(update));
    }

    fn signal(&mut self, channel: Channel, to: Audience) {
        let (kind, body) = ("wave".to_owned(), Some(Value::text("hello")));
        self.ask(PeopleRequest::Signal(SignalSend { channel, to, kind, body }));
    }

    async fn news(&mut self, wanted: impl Fn(&PeopleNews) -> bool) -> PeopleNews {
        let found = self.until(|m| matches!(m, ServerMessage::People(news) if wanted(news))).await;
        match found {
            ServerMessage::People(news) => news,
            other => panic!("{other:?}"),
        }
    }

    async fn changed(&mut self) -> PeopleChanged {
        match self.news(|news| matches!(news, PeopleNews::Changed(_))).await {
            PeopleNews::Changed(changed) => changed,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn poses(&mut self) -> Poses {
        match self.news(|news| matches!(news, PeopleNews::Poses(_))).await {
            PeopleNews::Poses(poses) => poses,
            other => panic!("{other:?}"),
        }
    }

    async fn heard(&mut self) -> Signal {
        match self.news(|news| matches!(news, PeopleNews::Signal(_))).await {
            PeopleNews::Signal(signal) => signal,
            other => panic!("{other:?}"),
        }
    }

    async fn whole_error(&mut self) -> ErrorMessage {
        match self.until(|m| matches!(m, ServerMessage::Error(_))).await {
            ServerMessage::Error(error) => error,
            other => panic!("{other:?}"),
        }
    }
}

pub(super) fn at(x: i32) -> Pose {
    Pose { position: [x, 0, 0], rotation: Rotation::from_quaternion([0.0, 0.0, 0.0, 1.0]).unwrap() }
}

#[tokio::test]
async fn who_follows_hears_who_comes_and_goes() {
    let world = World::new(SystemConfig::default()).await;
    let (mut first, channel) = Session::in_brane(&world).await;
    let page = first.list(channel).await;
    assert_eq!((page.you, page.people.len(), page.next), (Person(1), 1, None));
    assert_eq!(page.people[0].user, world.claims.user);
    let (mut second, channel) = Session::in_brane(&world).await;
    let came = first.changed().await;
    assert_eq!((came.from, came.joined[0].person, came.reset), (page.at, Person(2), false));
    second.say(&ClientMessage::Leave { channel });
    let went = first.changed().await;
    assert_eq!((went.from, went.left), (came.to, vec![Person(2)]));
    second.port.ended();
    let people = world.system.status().await.unwrap().branes[0].people;
    assert_eq!((people.people, people.followers, people.changes), (1, 1, 3));
}

#[tokio::test]
async fn an_opening_of_its_own_has_numbers_of_its_own() {
    let world = World::new(SystemConfig::default()).await;
    let (mut session, channel) = Session::in_brane(&world).await;
    let _ = Session::in_brane(&world).await;
    assert_eq!(session.list(channel).await.you, Person(1));
    world.fail_brane().await;
    session.until(|m| matches!(m, ServerMessage::Left { .. })).await;
    let (channel, _) = session.join(world.brane, client(), None).await;
    let page = session.list(channel).await;
    assert_eq!((page.you, page.people.len()), (Person(1), 1), "the other has not come back");
}

#[tokio::test]
async fn poses_reach_who_follows_and_go_when_their_owner_does() {
    let world = World::new(SystemConfig::default()).await;
    let (mut viewer, channel) = Session::in_brane(&world).await;
    viewer.list(channel).await;
    let (mut walker, channel) = Session::in_brane(&world).await;
    walker.stand(channel, 5_000);
    let seen = viewer.poses().await;
    assert_eq!(
        (seen.poses, seen.states),
        (vec![(Person(2), at(5_000))], vec![(Person(2), vec![1])])
    );
    for x in 0..20 {
        walker.stand(channel, x);
    }
    while viewer.poses().await.poses != [(Person(2), at(19))] {}
    walker.port.ended();
    assert_eq!(viewer.poses().await.away, [Person(2)]);
}

#[tokio::test]
async fn poses_have_a_rate_of_their_own_before_they_count_as_messages() {
    let mut config = SystemConfig::default();
    config.session.poses = Rate { per_second: 1, burst: 10 };
    (config.session.messages_per_second, config.session.messages_burst) = (1, 20);
    let world = World::new(config).await;
    let (mut session, channel) = Session::in_brane(&world).await;
    let closes = || world.system.metrics().closes();
    for x in 0..20 {
        session.stand(channel, x);
    }
    assert!(closes().is_empty(), "what is too fast replaces");
    for x in 0..20 {
        session.stand(channel, x);
    }
    assert_eq!(closes().into_iter().collect::<Vec<_>>(), [(CloseCode::RateLimited.name(), 1)]);
}

#[tokio::test]
async fn signals_go_to_whom_they_are_for() {
    let world = World::new(SystemConfig::default()).await;
    let (mut first, channel) = Session::in_brane(&world).await;
    let (mut second, _) = Session::in_brane(&world).await;
    first.signal(channel, Audience::All);
    let heard = second.heard().await;
    assert_eq!((heard.from, heard.user), (Person(1), world.claims.user));
    assert_eq!((heard.kind.as_str(), heard.body), ("wave", Some(Value::text("hello"))));
    first.signal(channel, Audience::One(Person(2)));
    second.heard().await;
    first.stand(channel, 0);
    second.stand(channel, 400_000);
    first.signal(channel, Audience::Near);
    second.heard().await;
}

#[tokio::test]
async fn what_is_not_served_is_answered_with_its_operation() {
    let mut config = SystemConfig::default();
    config.people.signals_to_all = Rate { per_second: 1, burst: 1 };
    let world = World::new(config).await;
    let (mut session, channel) = Session::in_brane(&world).await;
    let mut answer = async |request: PeopleRequest| {
        let (operation, of) = (request.operation(), request.channel());
        session.ask(request);
        let error = session.whole_error().await;
        assert_eq!((error.operation.as_deref(), error.channel), (Some(operation), Some(of)));
        (error.code, error.retry_after_ms)
    };
    let elsewhere = Channel(channel.0 + 1);
    let signal = |channel, to| {
        PeopleRequest::Signal(SignalSend { channel, to, kind: "wave".to_owned(), body: None })
    };
    let list = PeopleList { channel: elsewhere, after: None, limit: None };
    let pose = PoseUpdate { channel: elsewhere, pose: at(0), state: Vec::new() };
    for request in
        [PeopleRequest::List(list), PeopleRequest::Pose(pose), signal(elsewhere, Audience::All)]
    {
        assert_eq!(answer(request).await, (Code::NotJoined, None));
    }
    assert_eq!(answer(signal(channel, Audience::Near)).await, (Code::NoPose, None));
    assert_eq!(answer(signal(channel, Audience::One(Person(9)))).await, (Code::NotFound, None));
    session.signal(channel, Audience::All);
    session.signal(channel, Audience::All);
    let error = session.whole_error().await;
    assert_eq!(error.code, Code::RateLimited);
    assert!(error.retry_after_ms.is_some_and(|ms| (1..=1_000).contains(&ms)));
}
