//! Edits as clients send them, applied to a world.

use avvy_brane::World;
use avvy_model::{BraneId, ClientId, Counter, EditId, Event, Principal, Role, UserId, WorldLimits};
use avvy_protocol::ClientMessage;
use avvy_protocol::codec::{DecodeLimits, decode_client};

use crate::pieces;

/// Applies edits by three people. A refused edit changes nothing, an accepted
/// one makes the same world where its outcome is replayed, and the state hash
/// that is kept is that of the objects.
pub fn world(bytes: &[u8]) {
    let owner = UserId::from_bytes([1; 16]);
    let brane = BraneId::from_bytes([2; 16]);
    let (mut world, mut replica) = (World::new(brane, owner), World::new(brane, owner));
    let limits = WorldLimits { max_objects: 64, max_depth: 6, ..WorldLimits::default() };
    for piece in pieces(bytes) {
        let Some((who, message)) = piece.split_first() else { continue };
        let role = [Role::Owner, Role::Builder, Role::Visitor][usize::from(who % 3)];
        let principal =
            Principal { user: UserId::from_bytes([1 + who % 3; 16]), ceiling: role, invited: true };
        let update = match decode_client(message, &DecodeLimits::default()) {
            Ok(ClientMessage::Update(update)) => update,
            Ok(_) => continue,
            Err(error) => match error.partial {
                Some(partial) => partial.update,
                None => continue,
            },
        };
        for edit in update.edits {
            let (at, before) = (world.seq().next(), world.state_hash());
            match world.apply(at, 0, &principal, &edit.edit, &limits) {
                Err(_) => assert_eq!(world.state_hash(), before, "a refusal changes nothing"),
                Ok(changes) => {
                    let edit =
                        EditId { client: ClientId::from_bytes([3; 16]), counter: Counter(1) };
                    let (by, trace) = (principal.user, None);
                    let event = Event { seq: at, at_ms: 0, by, edit, trace, changes };
                    replica.replay(&event).expect("an outcome can be replayed");
                    assert_eq!(replica.state_hash(), world.state_hash());
                }
            }
        }
    }
    let kept = world.state_hash();
    assert_eq!(
        avvy_model::StateHash::sum(world.iter()),
        kept,
        "the hash kept is that of the objects"
    );
}
