//! Several windows as one, for whoever cannot keep up: of several moves of an
//! object only the last is left.

use avvy_model::{Handle, Parts};
use avvy_protocol::{FlushItem, MoveRecord, WireChange};
use rustc_hash::FxHashMap;

/// Leaves out moves that a later one makes up for: it sets at least the same
/// parts of the same object, and no other event on that object lies between.
/// In a log the seqs of what is left out are still counted.
pub(super) fn collapse(items: Vec<FlushItem>, is_log: bool) -> Vec<FlushItem> {
    let keep = kept(&items);
    let mut keep = keep.into_iter();
    let mut out = Vec::new();
    for item in items {
        match item {
            FlushItem::Moves(moves) => {
                for one in moves {
                    if keep.next().unwrap_or(true) {
                        push_move(&mut out, one);
                    } else if is_log {
                        push_skip(&mut out, 1);
                    }
                }
            }
            FlushItem::Skip(edits) => push_skip(&mut out, edits),
            event @ FlushItem::Event(_) => out.push(event),
        }
    }
    out
}

/// Of each move in turn, whether it is left.
fn kept(items: &[FlushItem]) -> Vec<bool> {
    let mut later: FxHashMap<Handle, u8> = FxHashMap::default();
    let mut keep = Vec::new();
    for item in items.iter().rev() {
        match item {
            FlushItem::Moves(moves) => {
                for one in moves.iter().rev() {
                    let parts = Parts::bits(one.patch.parts());
                    let made_up_for = later.entry(one.handle).or_default();
                    keep.push(parts & !*made_up_for != 0);
                    *made_up_for |= parts;
                }
            }
            FlushItem::Event(event) => {
                event.changes.iter().for_each(|change| forget(change, &mut later));
            }
            FlushItem::Skip(_) => {}
        }
    }
    keep.reverse();
    keep
}

/// Moves before this change are not made up for by those after it.
fn forget(change: &WireChange, later: &mut FxHashMap<Handle, u8>) {
    match change {
        WireChange::Created(created) => {
            later.remove(&created.handle);
        }
        WireChange::Updated { handle, .. } | WireChange::Reparented { handle, .. } => {
            later.remove(handle);
        }
        WireChange::Moved(one) => {
            later.remove(&one.handle);
        }
        WireChange::Deleted { handles } => {
            for handle in handles {
                later.remove(handle);
            }
        }
    }
}

fn push_move(out: &mut Vec<FlushItem>, one: MoveRecord) {
    match out.last_mut() {
        Some(FlushItem::Moves(run)) => run.push(one),
        _ => out.push(FlushItem::Moves(vec![one])),
    }
}

fn push_skip(out: &mut Vec<FlushItem>, edits: u64) {
    match out.last_mut() {
        Some(FlushItem::Skip(before)) => *before += edits,
        _ => out.push(FlushItem::Skip(edits)),
    }
}

#[cfg(test)]
mod tests {
    use avvy_model::{MovePatch, Transform, UserId};
    use avvy_protocol::WireEvent;

    use super::*;

    fn shift(handle: u32, bits: u8, x: i32) -> MoveRecord {
        let mut to = Transform::IDENTITY;
        to.position[0] = x;
        let parts = Parts::from_bits(bits).expect("parts");
        MoveRecord { handle: Handle(handle), patch: MovePatch::new(parts, to) }
    }

    fn moves(moves: &[(u32, u8, i32)]) -> FlushItem {
        FlushItem::Moves(moves.iter().map(|(h, bits, x)| shift(*h, *bits, *x)).collect())
    }

    fn deleted(handle: u32) -> FlushItem {
        let changes = vec![WireChange::Deleted { handles: vec![Handle(handle)] }];
        FlushItem::Event(WireEvent { by: UserId::from_bytes([1; 16]), changes })
    }

    #[test]
    fn the_last_move_of_each_object_is_left_and_seqs_are_counted() {
        let items = vec![moves(&[(1, 1, 1), (2, 1, 2), (1, 1, 3)]), moves(&[(1, 1, 4)])];
        let expected = vec![FlushItem::Skip(1), moves(&[(2, 1, 2)]), FlushItem::Skip(1)];
        let expected = [expected, vec![moves(&[(1, 1, 4)])]].concat();
        assert_eq!(collapse(items.clone(), true), expected);
        assert_eq!(collapse(items, false), [moves(&[(2, 1, 2), (1, 1, 4)])]);
    }

    #[test]
    fn parts_that_are_not_set_again_stay() {
        let items = vec![moves(&[(1, 1, 1), (1, 2, 2), (1, 3, 3), (1, 4, 4), (1, 1, 5)])];
        assert_eq!(collapse(items, false), [moves(&[(1, 3, 3), (1, 4, 4), (1, 1, 5)])]);
    }

    #[test]
    fn another_event_on_the_object_keeps_what_is_before_it() {
        let items =
            vec![moves(&[(1, 1, 1), (2, 1, 1)]), deleted(1), moves(&[(1, 1, 2), (2, 1, 2)])];
        let left = [moves(&[(1, 1, 1)]), deleted(1), moves(&[(1, 1, 2), (2, 1, 2)])];
        assert_eq!(collapse(items, false), left);
    }
}
