//! Who is in a brane.

use avvy_client::machine::Say;
use avvy_client::people::Roster;
use avvy_model::Rotation;
use avvy_protocol::{
    Audience, PeopleChanged, PeopleList, PeopleNews, PeoplePage, PeopleRequest, Person, PersonAt,
    Pose, PoseUpdate, Poses, SignalSend,
};

use super::*;

const CHANNEL: Channel = Channel(5);

impl Talk {
    fn said_of_people(&mut self) -> Vec<PeopleRequest> {
        let said = self.out.drain(..).filter_map(|output| match output {
            Output::Send(ClientMessage::People(request)) => Some(request),
            _ => None,
        });
        said.collect()
    }

    fn hear_of(&mut self, news: PeopleNews) {
        self.hear(ServerMessage::People(news));
    }

    fn page(&mut self, after: Option<u32>, people: &[u32], next: Option<u32>) {
        let page = PeoplePage {
            channel: CHANNEL,
            after: after.map(Person),
            you: Person(1),
            at: 10,
            people: people.iter().map(|n| person(*n)).collect(),
            next: next.map(Person),
        };
        self.hear_of(PeopleNews::Page(page));
    }

    fn changed(&mut self, from: u64, joined: &[u32], left: &[u32], reset: bool) {
        let joined: Vec<PersonAt> = joined.iter().map(|n| person(*n)).collect();
        let left: Vec<Person> = left.iter().map(|n| Person(*n)).collect();
        let to = from + (joined.len() + left.len()) as u64;
        let changed = PeopleChanged { channel: CHANNEL, from, to, joined, left, reset };
        self.hear_of(PeopleNews::Changed(changed));
    }

    fn poses(&mut self, away: &[u32], at: &[(u32, i32)]) {
        self.hear_of(PeopleNews::Poses(Poses {
            channel: CHANNEL,
            ms: 1,
            away: away.iter().map(|n| Person(*n)).collect(),
            poses: at.iter().map(|(n, x)| (Person(*n), pose(*x))).collect(),
            states: Vec::new(),
        }));
    }

    fn roster(&self) -> &Roster {
        self.machine.roster(BRANE).expect("the brane is followed")
    }

    fn people(&self) -> Vec<u32> {
        self.roster().people().keys().map(|person| person.0).collect()
    }

    fn avatars(&self) -> Vec<u32> {
        self.roster().avatars().keys().map(|person| person.0).collect()
    }

    /// Follows, and has the only page.
    fn following() -> Self {
        let mut talk = Self::joined();
        talk.machine.follow(BRANE, &mut talk.out);
        assert_eq!(talk.said_of_people(), [list(None)]);
        talk.page(None, &[1, 2], None);
        talk.poses(&[], &[(2, 5)]);
        talk
    }
}

fn person(n: u32) -> PersonAt {
    PersonAt { person: Person(n), user: UserId::from_bytes([n as u8; 16]) }
}

fn pose(x: i32) -> Pose {
    Pose { position: [x, 0, 0], rotation: Rotation::IDENTITY }
}

fn list(after: Option<u32>) -> PeopleRequest {
    let after = after.map(Person);
    PeopleRequest::List(PeopleList { channel: CHANNEL, after, limit: None })
}

#[test]
fn a_list_is_read_to_its_end_and_changes_are_applied() {
    let mut talk = Talk::joined();
    assert!(talk.machine.roster(BRANE).is_none(), "who does not ask gets nothing");
    talk.machine.follow(BRANE, &mut talk.out);
    talk.machine.follow(BRANE, &mut talk.out);
    assert_eq!(talk.said_of_people(), [list(None)], "once is enough");
    talk.page(None, &[1, 2], Some(2));
    assert_eq!(talk.said_of_people(), [list(Some(2))]);
    talk.changed(10, &[9], &[2], false);
    assert!(!talk.roster().is_whole());
    talk.page(Some(2), &[5], None);
    assert!(talk.roster().is_whole());
    talk.changed(12, &[5, 11], &[9, 11], false);
    assert_eq!(talk.people(), [1, 5]);
    assert_eq!(talk.said_of_people(), []);
}

#[test]
fn a_page_of_an_older_list_does_not_end_the_new_one() {
    let mut talk = Talk::joined();
    talk.machine.follow(BRANE, &mut talk.out);
    talk.page(None, &[1, 2, 3], Some(3));
    talk.page(None, &[1], Some(1));
    talk.page(Some(3), &[4], None);
    assert!(!talk.roster().is_whole());
    assert_eq!(talk.said_of_people(), [list(None), list(Some(3)), list(Some(1))]);
    talk.page(Some(1), &[2, 3, 4], None);
    assert!(talk.roster().is_whole());
    assert_eq!(talk.people(), [1, 2, 3, 4]);
}

#[test]
fn a_reset_begins_anew_and_so_do_ranges_that_do_not_join() {
    for (from, reset) in [(10, true), (11, false)] {
        let mut talk = Talk::following();
        talk.changed(from, &[], &[], reset);
        assert_eq!(talk.said_of_people(), [list(None)]);
        assert!(talk.people().is_empty() && talk.avatars().is_empty());
        talk.poses(&[], &[(3, 1)]);
        talk.changed(20, &[3], &[], false);
        assert!(talk.people().is_empty() && talk.avatars().is_empty(), "not before the page");
        talk.page(None, &[1, 4], None);
        talk.poses(&[], &[(4, 1)]);
        assert_eq!((talk.people(), talk.avatars()), (vec![1, 4], vec![4]));
    }
}

#[test]
fn avatars_come_move_and_go() {
    let mut talk = Talk::following();
    talk.poses(&[], &[(2, 6), (3, 1)]);
    let seen = talk.roster().avatars()[&Person(2)].clone();
    assert_eq!(seen.pose, pose(6));
    talk.poses(&[2], &[]);
    assert_eq!(talk.avatars(), [3]);
}

#[test]
fn after_a_cut_and_after_a_new_start_it_lists_again() {
    let mut talk = Talk::following();
    talk.tell(Input::Disconnected);
    assert!(talk.people().is_empty() && talk.avatars().is_empty());
    talk.out.clear();
    talk.connect();
    talk.let_in(at(1, 0), 0, CatchUp::Replay);
    assert_eq!(talk.said_of_people(), [list(None)]);
    talk.page(None, &[1], None);
    talk.let_in(at(1, 0), 0, CatchUp::Replay);
    assert_eq!(talk.said_of_people(), [list(None)]);
    talk.hear(ServerMessage::Left {
        channel: CHANNEL,
        code: Some(Code::Unavailable),
        address: None,
    });
    assert!(talk.people().is_empty());
}

#[test]
fn what_is_said_goes_out_where_it_is_joined() {
    let mut talk = Talk::joined();
    let (kind, state) = ("wave".to_owned(), vec![1]);
    let signal = Say::Signal { to: Audience::All, kind: kind.clone(), body: None };
    for say in [Say::Pose { pose: pose(1), state: state.clone() }, signal] {
        talk.machine.say(BRANE, say.clone(), &mut talk.out);
        talk.machine.say(OTHER, say, &mut talk.out);
    }
    let pose = PoseUpdate { channel: CHANNEL, pose: pose(1), state };
    let signal = SignalSend { channel: CHANNEL, to: Audience::All, kind, body: None };
    assert_eq!(talk.said_of_people(), [PeopleRequest::Pose(pose), PeopleRequest::Signal(signal)]);
}

#[test]
fn a_page_that_is_refused_is_asked_for_again_when_it_is_time() {
    let mut talk = Talk::joined();
    talk.machine.follow(BRANE, &mut talk.out);
    for (after, page) in [(None, 1), (Some(1), 2)] {
        assert_eq!(talk.said_of_people(), [list(after)]);
        talk.hear(refused_page(5_000));
        assert_eq!(talk.said_of_people(), []);
        talk.tell(Input::Tick);
        assert_eq!(talk.said_of_people(), []);
        talk.now_ms += 5_000;
        assert_eq!(talk.machine.wakes_at(), Some(talk.now_ms));
        talk.tell(Input::Tick);
        assert_eq!(talk.said_of_people(), [list(after)], "once");
        talk.tell(Input::Tick);
        assert_eq!(talk.said_of_people(), []);
        talk.page(after, &[page], after.map_or(Some(1), |_| None));
    }
    assert!(talk.roster().is_whole());
}

fn refused_page(retry_after_ms: u64) -> ServerMessage {
    ServerMessage::Error(ErrorMessage {
        code: Code::RateLimited,
        message: String::new(),
        details: None,
        trace: TraceId::from_bytes([1; 16]),
        retry_after_ms: Some(retry_after_ms),
        operation: Some("people.list".to_owned()),
        channel: Some(CHANNEL),
        address: None,
    })
}
