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
    talk.hear(ServerMessage::Left { channel: Channel(4), code: unavailable });
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
