//! What the machine keeps of a brane's world.

use avvy_client::machine::{CopyKind, MachineOptions, Notify, Output};
use avvy_model::{
    DeleteMode, Edit, Epoch, Handle, Kind, MovePatch, ObjectId, Operation, Parts, Props, Seq,
    Target, Transform, UserId,
};
use avvy_protocol::{CatchUp, Channel, Flush, FlushItem, MoveRecord, ServerMessage};

use crate::{BRANE, Talk, at};

fn flush(from: u64, to: u64, durable: u64, items: Vec<FlushItem>) -> ServerMessage {
    let (from, to, durable) = (Seq(from), Seq(to), Seq(durable));
    let flush = Flush { channel: Channel(5), epoch: Epoch(1), from, to, durable, ms: 0, items };
    ServerMessage::Flush(flush.into())
}

#[test]
fn a_copy_that_does_not_fit_is_fetched_again() {
    let mut talk = Talk::joined();
    talk.hear(flush(3, 4, 3, vec![FlushItem::Skip(1)]));
    assert!(talk.out.iter().any(|o| matches!(o, Output::Notify(Notify::Broken { .. }))));
    talk.hear(ServerMessage::Left { channel: Channel(5), code: None, address: None });
    assert_eq!(talk.joins()[0].resume, None);
}

#[test]
fn a_watermark_of_the_new_line_is_not_of_a_copy_that_is_being_mended() {
    let mut talk = Talk::joined();
    let patch = MovePatch::new(Parts::POSITION, Transform::IDENTITY);
    let moves = FlushItem::Moves(vec![MoveRecord { handle: Handle::ROOT, patch }]);
    talk.hear(flush(0, 1, 0, vec![moves]));
    let touched =
        |talk: &mut Talk| talk.joins()[0].resume.clone().and_then(|resume| resume.touched);
    talk.cut();
    assert_eq!(touched(&mut talk), Some(vec![Handle::ROOT]));
    talk.let_in(at(2, 5), 5, CatchUp::Diff);
    talk.hear(ServerMessage::Rewind { channel: Channel(5), to: at(1, 0) });
    talk.durable(at(2, 5));
    talk.cut();
    assert_eq!(touched(&mut talk), Some(vec![Handle::ROOT]), "it still has the lost edit");
}

#[test]
fn own_edits_can_be_shown_before_they_are_answered() {
    let mut talk = Talk::joined();
    let id = ObjectId::from_bytes([9; 16]);
    let named = Target::Id(id);
    let mut submit = |operation| {
        let edit = Edit::One(operation);
        talk.machine.submit(talk.now_ms, BRANE, edit, &mut talk.out).expect("joined");
        talk.machine.predicted(BRANE, named)
    };
    let made = submit(Operation::Create {
        id,
        parent: Target::Handle(Handle::ROOT),
        kind: Kind::Block,
        transform: Transform::IDENTITY,
        props: Props::default(),
    });
    let made = made.expect("it will be there");
    assert_eq!((made.parent, made.owner), (Handle::ROOT, UserId::from_bytes([7; 16])));
    let to = Transform::new([1, 2, 3], made.transform.rotation, [1.0; 3]).expect("in range");
    let patch = MovePatch::new(Parts::POSITION, to);
    let moved = submit(Operation::Move { target: named, patch });
    assert_eq!(moved.map(|object| object.transform), Some(to));
    let gone = submit(Operation::Delete { target: named, mode: DeleteMode::Subtree });
    assert_eq!(gone, None);
    let root = talk.machine.predicted(BRANE, Target::Handle(Handle::ROOT));
    assert!(root.is_some(), "what is not edited is as it is");
    assert_eq!(talk.machine.replica(BRANE).map(|copy| copy.len()), Some(1), "the copy waits");
}

#[test]
fn a_position_follows_the_ranges_alone() {
    let options = MachineOptions { copy: CopyKind::Position, ..MachineOptions::default() };
    let mut talk = Talk::new(options);
    talk.connect();
    talk.machine.join(talk.now_ms, BRANE, &mut talk.out);
    talk.let_in(at(1, 0), 0, CatchUp::Snapshot);
    talk.root(at(1, 4));
    assert_eq!(talk.machine.position(BRANE), Some(at(1, 4)));
    assert!(talk.machine.is_live(BRANE));
    assert!(talk.machine.replica(BRANE).is_none());
}
