//! Parts of a brane.

use avvy_model::{Area, Cell, Grid, Scope, View};

use super::*;

const HERE: Area = Area { center: [0; 3], radius: 1_000 };
const THERE: Area = Area { center: [900_000, 0, 0], radius: 1_000 };

/// Everything around the middle.
fn scope() -> Scope {
    Scope { grid: Grid::default(), view: View { center: Cell([0; 3]), reach: 1 } }
}

fn let_in(talk: &mut Talk, head: Position) {
    let joined = joined(BRANE, head, 0, CatchUp::Snapshot);
    talk.hear(ServerMessage::Joined(Joined { scope: Some(scope()), ..joined }));
    talk.root(head);
}

/// What the server was told, in a join or after it.
fn told(talk: &mut Talk) -> Vec<Option<Area>> {
    let told = talk.out.drain(..).filter_map(|output| match output {
        Output::Send(ClientMessage::Join(join)) => Some(join.area),
        Output::Send(ClientMessage::View { area, .. }) => Some(area),
        _ => None,
    });
    told.collect()
}

#[test]
fn who_walks_while_a_join_is_under_way_says_so_after_it() {
    let mut talk = Talk::new(MachineOptions::default());
    talk.connect();
    talk.machine.look(talk.now_ms, BRANE, Some(HERE), &mut talk.out);
    talk.machine.join(talk.now_ms, BRANE, &mut talk.out);
    assert_eq!(told(&mut talk), [Some(HERE)]);
    talk.machine.look(talk.now_ms, BRANE, Some(THERE), &mut talk.out);
    assert_eq!(told(&mut talk), [], "there is no channel yet");
    let_in(&mut talk, at(1, 0));
    assert_eq!(told(&mut talk), [Some(THERE)]);
    talk.machine.look(talk.now_ms, BRANE, Some(THERE), &mut talk.out);
    assert_eq!(told(&mut talk), [], "the server knows");
    talk.cut();
    assert_eq!(told(&mut talk), [Some(THERE)]);
    talk.machine.look(talk.now_ms, BRANE, None, &mut talk.out);
    talk.machine.look(talk.now_ms, BRANE, Some(THERE), &mut talk.out);
    let_in(&mut talk, at(1, 0));
    assert_eq!(told(&mut talk), [], "there and back again");
}

#[test]
fn who_walks_between_a_join_and_its_late_answer_says_so() {
    let mut talk = Talk::new(MachineOptions::default());
    talk.connect();
    talk.machine.look(talk.now_ms, BRANE, Some(HERE), &mut talk.out);
    talk.machine.join(talk.now_ms, BRANE, &mut talk.out);
    let unavailable = Some(Code::Unavailable);
    talk.hear(ServerMessage::Left { channel: Channel(4), code: unavailable, address: None });
    talk.machine.look(talk.now_ms, BRANE, Some(THERE), &mut talk.out);
    talk.now_ms += 1_000;
    talk.tell(Input::Tick);
    assert_eq!(told(&mut talk), [Some(HERE), Some(THERE)], "it was taken for an answer");
    let_in(&mut talk, at(1, 0));
    talk.hear(join_error(Code::AlreadyJoined));
    assert_eq!(told(&mut talk), [Some(THERE)], "the first join was served");
}

#[test]
fn a_part_is_not_compared_by_the_hash_of_the_whole() {
    let mut talk = Talk::new(MachineOptions::default());
    talk.connect();
    talk.machine.look(talk.now_ms, BRANE, Some(HERE), &mut talk.out);
    talk.machine.join(talk.now_ms, BRANE, &mut talk.out);
    let_in(&mut talk, at(1, 0));
    talk.out.clear();
    talk.hear(ServerMessage::Hash { channel: Channel(5), at: at(1, 0), hash: [1; 16] });
    let [Output::Notify(Notify::Hash { ours: None, .. })] = talk.out[..] else {
        panic!("{:?}", talk.out);
    };
}

/// Elsewhere, so many cells from the middle.
fn far(cells: i32) -> Option<Area> {
    Some(Area { center: [160_000 * cells, 0, 0], radius: 1_000 })
}

fn walker() -> Talk {
    let mut talk = Talk::new(MachineOptions::default());
    talk.connect();
    talk.machine.look(talk.now_ms, BRANE, Some(HERE), &mut talk.out);
    talk.machine.join(talk.now_ms, BRANE, &mut talk.out);
    let_in(&mut talk, at(1, 0));
    talk.out.clear();
    talk
}

impl Talk {
    fn look(&mut self, area: Option<Area>) {
        self.machine.look(self.now_ms, BRANE, area, &mut self.out);
    }

    fn wait(&mut self, ms: u64) {
        self.now_ms += ms;
        self.tell(Input::Tick);
    }
}

#[test]
fn of_looks_that_come_too_soon_the_last_one_counts() {
    let mut talk = walker();
    talk.look(far(2));
    assert_eq!(told(&mut talk), [far(2)], "the first one waits for nothing");
    for cells in 3..20 {
        talk.look(far(cells));
    }
    assert_eq!(told(&mut talk), []);
    assert_eq!(talk.machine.wakes_at(), Some(talk.now_ms + 100));
    talk.wait(99);
    assert_eq!(told(&mut talk), []);
    talk.wait(1);
    assert_eq!(told(&mut talk), [far(19)]);
    talk.look(far(20));
    talk.look(far(19));
    talk.wait(100);
    assert_eq!(told(&mut talk), [], "there and back again");
}

#[test]
fn a_step_within_the_view_need_not_be_said() {
    let mut talk = walker();
    let near = Some(Area { center: [159_999, 0, 0], ..HERE });
    talk.look(near);
    assert_eq!(told(&mut talk), []);
    talk.cut();
    assert_eq!(told(&mut talk), [near], "a join says where exactly");
}

#[test]
fn a_look_that_was_refused_is_said_again_as_it_is_by_then() {
    let mut talk = walker();
    talk.look(far(2));
    talk.out.clear();
    talk.hear(ServerMessage::Error(ErrorMessage {
        operation: Some("brane.view".to_owned()),
        channel: Some(Channel(5)),
        ..rate_limited(700)
    }));
    talk.out.clear();
    assert_eq!(talk.machine.wakes_at(), Some(talk.now_ms + 700));
    talk.wait(400);
    talk.look(far(9));
    talk.wait(299);
    assert_eq!(told(&mut talk), []);
    talk.wait(1);
    assert_eq!(told(&mut talk), [far(9)]);
    talk.wait(1_000);
    assert_eq!(told(&mut talk), [], "once");
}

fn rate_limited(retry_after_ms: u64) -> ErrorMessage {
    let ServerMessage::Error(error) = join_error(Code::RateLimited) else { unreachable!() };
    ErrorMessage { retry_after_ms: Some(retry_after_ms), ..error }
}
