//! Things on their way into a brane and out of one, with a failure after each
//! step.
#![allow(clippy::unwrap_used)]

mod instances;
mod left;
#[path = "../world/mod.rs"]
mod world;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use avvy_actors::BraneChange;
use avvy_catalog::{Catalog, GalleryEdit, Moved, ObjectPatch, Place, Stored, What};
use avvy_model::{
    Attachment, Code, Edit, Kind, Object, ObjectId, Operation, PropKey, Props, PropsPatch,
    Rotation, Slot, Target, Transform, UserId, Value, ValueLimits, Visibility,
};
use futures_util::future::join;
use tokio::sync::Notify;
use tokio::time::timeout;
use uuid::Uuid;

use world::{
    ADA, BOB, Down, Full, NOW_S, Power, Race, When, World, block, claims, group, label, props, says,
};

/// Later than what is left is left for.
const LATER_S: u64 = NOW_S + 120;

/// The longest that a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// A group with a block in it, in Ada's inventory.
async fn tree(world: &World) -> (Stored, Stored) {
    let catalog = world.catalog();
    let mut leaf = block("Leaf");
    leaf.props = props("hello");
    leaf.label.tags = vec!["wood".into(), "home".into()];
    let leaf = catalog.create_object(ADA, Uuid::new_v4(), leaf, NOW_S).await.unwrap();
    let root = group("Root", &[&leaf]);
    let root = catalog.create_object(ADA, Uuid::new_v4(), root, NOW_S).await.unwrap();
    (root, leaf)
}

fn place(world: &World) -> Place {
    Place { brane: world.brane, parent: None, transform: None }
}

/// Holds the world to the tree being in the inventory or in the brane, as a
/// whole and never in both; whether it is in the brane.
async fn is_placed(world: &World, tree: &(Stored, Stored)) -> bool {
    let catalog = world.catalog();
    let (root, leaf) = (tree.0.thing.id, tree.1.thing.id);
    let mut placed = Vec::new();
    for id in [root, leaf] {
        let there = world.find(id).await.is_some();
        let own = catalog.object(id, ADA, LATER_S).await.ok();
        assert_ne!(own.is_some(), there, "{id} is in both or in none: {own:?}");
        assert!(own.is_none_or(|own| own.thing.moving.is_none()), "{id} is on its way still");
        placed.push(there);
    }
    assert_eq!(placed[0], placed[1], "half a tree");
    let counted = catalog.usage(ADA, LATER_S).await.unwrap();
    assert_eq!(counted, catalog.recount(ADA, LATER_S).await.unwrap());
    assert_eq!(counted.objects, if placed[0] { 0 } else { 2 });
    placed[0]
}

#[tokio::test]
async fn goes_into_a_brane_and_comes_back_as_it_was() {
    let world = World::new().await;
    let catalog = world.catalog();
    let (root, leaf) = tree(&world).await;
    let prototype = catalog.create_prototype(ADA, Uuid::new_v4(), label("p"), says("x"), NOW_S);
    let prototype = prototype.await.unwrap().thing.id;
    let put = GalleryEdit::Put { prototype, at: 0 };
    let id = root.thing.id;
    catalog.edit_gallery(ADA, id, None, put, Uuid::new_v4(), NOW_S).await.unwrap();
    let root = catalog.object(id, ADA, NOW_S).await.unwrap();
    let leaf = catalog.object(leaf.thing.id, ADA, NOW_S).await.unwrap();
    let transform = Transform::new([5, 6, 7], Rotation::IDENTITY, [2.0; 3]).unwrap();
    let to = Place { transform: Some(transform), ..place(&world) };
    let (system, ada) = (&world.system, &claims(ADA));
    let transfer = Uuid::new_v4();
    let moved = catalog.place(system, ada, transfer, id, to, NOW_S).await.unwrap();
    assert_eq!(moved.objects, [id, leaf.thing.id]);
    // The answer was lost, and it is asked for again.
    assert_eq!(catalog.place(system, ada, transfer, id, to, NOW_S).await, Ok(moved));
    let (_, there) = world.find(id).await.unwrap();
    assert_eq!((there.kind, there.transform, there.owner), (Kind::Group, transform, ADA));
    assert_eq!(catalog.usage(ADA, NOW_S).await.unwrap().objects, 0);
    let transfer = Uuid::new_v4();
    let object = ObjectId::new(id);
    let moved = catalog.take(system, ada, transfer, world.brane, object, NOW_S).await.unwrap();
    assert_eq!(catalog.take(system, ada, transfer, world.brane, object, NOW_S).await, Ok(moved));
    assert!(world.find(id).await.is_none() && world.find(leaf.thing.id).await.is_none());
    for before in [root, leaf] {
        let after = catalog.object(before.thing.id, ADA, NOW_S).await.unwrap().thing;
        assert_eq!(after.label, before.thing.label);
        let What::Object(mut after) = after.what else { panic!() };
        let What::Object(before) = before.thing.what else { panic!() };
        if after.parent.is_none() {
            after.transform = before.transform;
        }
        assert_eq!(after, before);
    }
}

/// Whichever of them was made first, and lists before the other.
#[tokio::test]
async fn what_is_attached_to_something_that_comes_along_stays_attached() {
    let world = World::new().await;
    let (catalog, system) = (world.catalog(), &world.system);
    let [root, clock, wall] = [0; 3].map(|_| ObjectId::new(Uuid::new_v4()));
    let create = |id, parent, kind, props| {
        let (parent, transform) = (Target::Id(parent), Transform::IDENTITY);
        Operation::Create { id, parent, kind, transform, props }
    };
    let value = Value::from_canonical(&[0x81, 5]).unwrap();
    let slots = (PropKey::new(Object::SLOTS_KEY, &ValueLimits::NONE).unwrap(), value);
    let slots = Props::from_entries(vec![slots], &ValueLimits::NONE).unwrap();
    let on = Attachment { to: wall, slot: Slot::new(5).unwrap() };
    let (key, value) = on.entry().unwrap();
    let attach = Operation::Update {
        target: Target::Id(clock),
        patch: PropsPatch::new(vec![(key, Some(value))]).unwrap(),
    };
    let edit = Edit::Batch(vec![
        create(root, ObjectId::new(world.brane.uuid()), Kind::Group, Props::default()),
        create(clock, root, Kind::Block, Props::default()),
        create(wall, root, Kind::Block, slots),
        attach,
    ]);
    world::edit(system, world.brane, &claims(ADA), edit).await;
    for goes_out in [false, true, false, true] {
        let moved = start(&catalog, system, &world, goes_out, Uuid::new_v4(), root.uuid()).await;
        let order = [root, clock, wall].map(ObjectId::uuid);
        assert_eq!(moved.map(|moved| moved.objects), Ok(order.to_vec()));
    }
    let (_, clock) = world.find(clock.uuid()).await.unwrap();
    assert_eq!(Attachment::of(&clock.props), Ok(Some(on)));
}

#[tokio::test]
async fn what_the_brane_refuses_stays_where_it_was() {
    let world = World::new().await;
    let catalog = world.catalog();
    let tree = tree(&world).await;
    let (system, ada, bob) = (&world.system, &claims(ADA), &claims(BOB));
    let id = tree.0.thing.id;
    let place_as = async |claims, to| {
        catalog.place(system, claims, Uuid::new_v4(), id, to, NOW_S).await.map_err(|d| d.code)
    };
    let nowhere = Place { parent: Some(ObjectId::new(Uuid::from_u128(9))), ..place(&world) };
    assert_eq!(place_as(ada, nowhere).await, Err(Code::ParentNotFound));
    assert_eq!(place_as(bob, place(&world)).await, Err(Code::NotFound));
    let no_brane = Place { brane: avvy_model::BraneId::new(Uuid::from_u128(9)), ..place(&world) };
    assert_eq!(place_as(ada, no_brane).await, Err(Code::NotFound));
    assert!(!is_placed(&world, &tree).await);
    place_as(ada, place(&world)).await.unwrap();
    // Another's is not for Bob to take.
    let take_as = async |claims, id| {
        let (transfer, object) = (Uuid::new_v4(), ObjectId::new(id));
        let taken = catalog.take(system, claims, transfer, world.brane, object, NOW_S).await;
        taken.map_err(|denied| denied.code)
    };
    assert_eq!(take_as(bob, id).await, Err(Code::NotPermitted));
    assert_eq!(catalog.usage(BOB, NOW_S).await.unwrap().objects, 0);
    assert_eq!(take_as(ada, world.brane.uuid()).await, Err(Code::RootProtected));
    assert_eq!(take_as(ada, Uuid::from_u128(9)).await, Err(Code::ObjectNotFound));
    assert!(is_placed(&world, &tree).await);
}

/// Cuts the power at each step of a transfer, before it is done and after, and
/// has another server find what is left.
async fn survives(goes_out: bool) {
    let mut ways = [0, 0];
    for when in [When::Before, When::After] {
        for step in 0.. {
            let world = World::new().await;
            let tree = tree(&world).await;
            let id = tree.0.thing.id;
            if !goes_out {
                let (catalog, ada) = (world.catalog(), &claims(ADA));
                let placed =
                    catalog.place(&world.system, ada, Uuid::new_v4(), id, place(&world), NOW_S);
                placed.await.unwrap();
            }
            let power = Power::for_steps(step, when);
            let (catalog, branes) = world.with(&power);
            let transfer = Uuid::new_v4();
            let answer = start(&catalog, &branes, &world, goes_out, transfer, id).await;
            assert_eq!(answer.is_err(), power.is_cut(), "{answer:?} at step {step}");
            let after = world.catalog();
            after.end_transfers(&world.system, LATER_S, LATER_S).await.unwrap();
            let is_placed = is_placed(&world, &tree).await;
            // It can be asked for again, under the same name or another.
            let transfer = if step % 2 == 0 { transfer } else { Uuid::new_v4() };
            let again = start(&after, &world.system, &world, goes_out, transfer, id).await;
            if is_placed == goes_out {
                ways[1] += 1;
            } else {
                ways[0] += 1;
                assert!(again.is_ok(), "{again:?} at step {step}");
            }
            if !power.is_cut() {
                break;
            }
        }
    }
    assert!(ways.iter().all(|count| *count > 0), "not done and done: {ways:?}");
}

async fn start(
    catalog: &Catalog,
    branes: &dyn avvy_catalog::Branes,
    world: &World,
    goes_out: bool,
    transfer: Uuid,
    id: Uuid,
) -> Result<Moved, Code> {
    let ada = &claims(ADA);
    let answer = match goes_out {
        true => catalog.place(branes, ada, transfer, id, place(world), NOW_S).await,
        false => {
            let object = ObjectId::new(id);
            catalog.take(branes, ada, transfer, world.brane, object, NOW_S).await
        }
    };
    answer.map_err(|denied| denied.code)
}

/// What a brane took before it was archived or deleted is in it when it is
/// restored, and nowhere else; and nobody's inventory has to wait for that.
async fn survives_the_end_of_the_brane(goes_out: bool) {
    let mut ways = [0, 0];
    for end in [BraneChange::Archive { successor: None }, BraneChange::Delete] {
        for step in 0.. {
            let world = World::new().await;
            let tree = tree(&world).await;
            let id = tree.0.thing.id;
            let after = world.catalog();
            if !goes_out {
                start(&after, &world.system, &world, true, Uuid::new_v4(), id).await.unwrap();
            }
            let power = Power::for_steps(step, When::After);
            let (catalog, branes) = world.with(&power);
            let _ = start(&catalog, &branes, &world, goes_out, Uuid::new_v4(), id).await;
            world.change(end.clone()).await;
            world.is_closed().await;
            after.end_transfers(&world.system, LATER_S, LATER_S).await.unwrap();
            world.change(BraneChange::Restore).await;
            ways[usize::from(is_placed(&world, &tree).await)] += 1;
            if !power.is_cut() {
                break;
            }
        }
    }
    assert!(ways.iter().all(|count| *count > 0), "not placed and placed: {ways:?}");
}

#[tokio::test]
async fn placing_survives_the_end_of_the_brane() {
    timeout(PATIENCE, survives_the_end_of_the_brane(true)).await.unwrap();
}

#[tokio::test]
async fn taking_survives_the_end_of_the_brane() {
    timeout(PATIENCE, survives_the_end_of_the_brane(false)).await.unwrap();
}

#[tokio::test]
async fn placing_survives_a_failure_at_each_step() {
    survives(true).await;
}

#[tokio::test]
async fn taking_survives_a_failure_at_each_step() {
    survives(false).await;
}

/// Leaves a transfer between two steps, the brane's part undone or done; gives
/// its name.
async fn left(world: &World, goes_out: bool, id: Uuid, is_written: bool) -> Uuid {
    if !goes_out {
        let (catalog, placed) = (world.catalog(), Uuid::new_v4());
        start(&catalog, &world.system, world, true, placed, id).await.unwrap();
    }
    let power = Power::for_steps(if is_written { 3 } else { 2 }, When::Before);
    let (catalog, branes) = world.with(&power);
    let transfer = Uuid::new_v4();
    let answer = start(&catalog, &branes, world, goes_out, transfer, id).await;
    assert!(answer.is_err() && power.is_cut(), "{answer:?}");
    transfer
}

/// As who asks under one key until there is an answer.
#[tokio::test]
async fn asked_for_again_half_way_it_is_gone_on_with() {
    for (goes_out, is_written) in [(true, false), (true, true), (false, false), (false, true)] {
        let world = World::new().await;
        let tree = tree(&world).await;
        let id = tree.0.thing.id;
        let transfer = left(&world, goes_out, id, is_written).await;
        let (catalog, system) = (world.catalog(), &world.system);
        let moved = start(&catalog, system, &world, goes_out, transfer, id).await.unwrap();
        assert_eq!(moved.objects, [id, tree.1.thing.id]);
        assert_eq!(is_placed(&world, &tree).await, goes_out);
    }
}

#[tokio::test]
async fn nothing_is_on_its_way_into_a_closed_brane() {
    let world = World::new().await;
    let tree = tree(&world).await;
    let (catalog, system, id) = (world.catalog(), &world.system, tree.0.thing.id);
    world.change(BraneChange::Archive { successor: None }).await;
    let placed = start(&catalog, system, &world, true, Uuid::new_v4(), id).await;
    assert_eq!(placed, Err(Code::BraneArchived));
    world.change(BraneChange::Restore).await;
    assert!(!is_placed(&world, &tree).await);
    start(&catalog, system, &world, true, Uuid::new_v4(), id).await.unwrap();
}

/// What is too large for a brane with all that goes along.
#[tokio::test]
async fn what_cannot_be_said_in_a_brane_stays_free() {
    let world = World::new().await;
    let (catalog, system) = (world.catalog(), &world.system);
    let mut large = block(&"n".repeat(256));
    let text = |key: &str| (key.to_owned(), "x".repeat(8_100));
    large.props = world::texts(&[text("a"), text("b")]);
    let large = catalog.create_object(ADA, Uuid::new_v4(), large, NOW_S).await.unwrap();
    let mut gallery = group("gallery", &[]);
    for _ in 0..256 {
        let id = Uuid::new_v4();
        catalog.create_prototype(ADA, id, label("p"), says("x"), NOW_S).await.unwrap();
        catalog.publish_prototype(ADA, id, None, Visibility::Unlisted, NOW_S).await.unwrap();
        gallery.gallery.push(id);
    }
    let gallery = catalog.create_object(ADA, Uuid::new_v4(), gallery, NOW_S).await.unwrap();
    for (thing, code) in [(large, Code::PropsTooLarge), (gallery, Code::ValueTooLarge)] {
        let id = thing.thing.id;
        let placed = start(&catalog, system, &world, true, Uuid::new_v4(), id).await;
        assert_eq!(placed, Err(code));
        catalog.delete_object(ADA, id, None, NOW_S).await.unwrap();
    }
    let tree = tree(&world).await;
    start(&catalog, system, &world, true, Uuid::new_v4(), tree.0.thing.id).await.unwrap();
}

/// A refusal that may not be one a moment later.
#[tokio::test]
async fn what_could_not_be_taken_now_is_tried_again_under_its_name() {
    let world = World::new().await;
    let tree = tree(&world).await;
    let (catalog, id) = (world.catalog(), tree.0.thing.id);
    let branes = Full { system: world.system.clone(), is_full: true.into() };
    let transfer = Uuid::new_v4();
    let refused = start(&catalog, &branes, &world, true, transfer, id).await;
    assert_eq!(refused, Err(Code::Unavailable));
    assert!(!is_placed(&world, &tree).await);
    start(&catalog, &branes, &world, true, transfer, id).await.unwrap();
    assert!(is_placed(&world, &tree).await);
}

/// Two are at one transfer at once, and between them what it was refused for
/// has passed.
async fn is_refused_to_all(is_reopened: bool) {
    let world = World::new().await;
    world.store_no_snapshots();
    let tree = tree(&world).await;
    let (catalog, id, leaf) = (world.catalog(), tree.0.thing.id, tree.1.thing.id);
    let transfer = left(&world, false, id, false).await;
    let says = |text| Operation::Update {
        target: Target::Id(ObjectId::new(leaf)),
        patch: PropsPatch::new(world::entries(text)).unwrap(),
    };
    let [first_settled, other_wrote, first_ended] = [(); 3].map(|()| Arc::new(Notify::new()));
    let race = |is_first| Race {
        system: world.system.clone(),
        change: [says("changed"), says("hello")],
        is_first,
        is_reopened,
        first_settled: first_settled.clone(),
        other_wrote: other_wrote.clone(),
        first_ended: first_ended.clone(),
    };
    let (first, other) = (race(true), race(false));
    let first = async {
        let taken = start(&catalog, &first, &world, false, transfer, id).await;
        first_ended.notify_one();
        taken
    };
    let other = catalog.end_transfers(&other, LATER_S, LATER_S);
    let (taken, ended) = join(first, other).await;
    assert_eq!((taken, ended), (Err(Code::Conflict), Ok(1)));
    assert!(is_placed(&world, &tree).await);
}

#[tokio::test]
async fn what_was_refused_to_one_is_refused_to_all() {
    is_refused_to_all(false).await;
}

/// As after a crash or at another node: of what was refused nothing is known
/// there.
#[tokio::test]
async fn what_was_refused_before_the_brane_was_opened_anew_is_refused() {
    is_refused_to_all(true).await;
}

#[tokio::test]
async fn those_that_have_to_wait_keep_no_others_waiting() {
    let world = World::new().await;
    let (catalog, system) = (world.catalog(), &world.system);
    let down = Down { system: system.clone(), but: None };
    let mut last = ADA;
    for (nth, begun_s) in (0..105).zip(NOW_S..) {
        last = UserId::new(Uuid::from_u128(0x4000_8000_0000_0001_0000 + nth));
        let block = catalog.create_object(last, Uuid::new_v4(), block("one"), NOW_S).await;
        let (id, to) = (block.unwrap().thing.id, place(&world));
        let claims = claims(last);
        let placed = catalog.place(&down, &claims, Uuid::new_v4(), id, to, begun_s).await;
        assert_eq!(placed.map_err(|denied| denied.code), Err(Code::Unavailable));
    }
    let down = Down { system: system.clone(), but: Some(last) };
    let later_s = LATER_S + 105;
    assert_eq!(catalog.end_transfers(&down, later_s, later_s).await, Ok(1));
    assert_eq!(catalog.end_transfers(system, later_s, later_s).await, Ok(104));
}

/// An inventory has bounds that a brane does not have.
#[tokio::test]
async fn nothing_comes_out_that_could_not_have_been_made() {
    let world = World::new().await;
    let (catalog, system) = (world.catalog(), &world.system);
    let ids: Vec<ObjectId> = (0..17).map(|_| ObjectId::new(Uuid::new_v4())).collect();
    let twice = format!("{0} {0}", Uuid::from_u128(0x4000_8000_0000_0000_0099));
    let nested = |nth: usize| Operation::Create {
        id: ids[nth],
        parent: match nth {
            0 => Target::Handle(avvy_model::Handle::ROOT),
            _ => Target::Id(ids[nth - 1]),
        },
        kind: Kind::Group,
        transform: Transform::IDENTITY,
        props: world::texts(&[("gallery".to_owned(), twice.clone())]),
    };
    let edit = Edit::Batch((0..17).map(nested).collect());
    world::edit(system, world.brane, &claims(ADA), edit).await;
    let take = |nth: usize| start(&catalog, system, &world, false, Uuid::new_v4(), ids[nth].uuid());
    assert_eq!(take(0).await, Err(Code::TooDeep));
    assert_eq!(take(1).await.unwrap().objects.len(), 16);
    let group = catalog.object(ids[1].uuid(), ADA, NOW_S).await.unwrap().thing;
    let What::Object(group) = group.what else { panic!() };
    assert_eq!(group.gallery, Vec::<Uuid>::new());
}

/// Polls a future so often and no more.
struct Dropped<F> {
    inner: F,
    polls: usize,
}

impl<F: Future + Unpin> Future for Dropped<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<F::Output>> {
        if self.polls == 0 {
            return Poll::Ready(None);
        }
        self.polls -= 1;
        Pin::new(&mut self.inner).poll(context).map(Some)
    }
}

#[tokio::test]
async fn a_request_that_is_given_up_leaves_nothing_between() {
    for goes_out in [true, false] {
        for polls in 0..16 {
            let world = World::new().await;
            let tree = tree(&world).await;
            let id = tree.0.thing.id;
            let (catalog, system) = (world.catalog(), &world.system);
            if !goes_out {
                start(&catalog, system, &world, true, Uuid::new_v4(), id).await.unwrap();
            }
            let inner = pin!(start(&catalog, system, &world, goes_out, Uuid::new_v4(), id));
            let _ = Dropped { inner, polls }.await;
            catalog.end_transfers(system, LATER_S, LATER_S).await.unwrap();
            is_placed(&world, &tree).await;
        }
    }
}

#[tokio::test]
async fn of_two_at_once_one_is_done() {
    let world = World::new().await;
    let tree = tree(&world).await;
    let (catalog, system, id) = (world.catalog(), &world.system, tree.0.thing.id);
    for goes_out in [true, false] {
        let go = || start(&catalog, system, &world, goes_out, Uuid::new_v4(), id);
        let (one, other) = join(go(), go()).await;
        assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
        assert_eq!(is_placed(&world, &tree).await, goes_out);
    }
}

#[tokio::test]
async fn what_is_changed_on_the_way_stays_in_the_brane() {
    let world = World::new().await;
    let tree = tree(&world).await;
    let (catalog, system, id) = (world.catalog(), &world.system, tree.0.thing.id);
    start(&catalog, system, &world, true, Uuid::new_v4(), id).await.unwrap();
    let change = Operation::Update {
        target: Target::Id(ObjectId::new(tree.1.thing.id)),
        patch: PropsPatch::new(world::entries("changed")).unwrap(),
    };
    let branes = world.that_changes(change);
    let taken = start(&catalog, &branes, &world, false, Uuid::new_v4(), id).await;
    assert_eq!(taken, Err(Code::Conflict));
    assert!(is_placed(&world, &tree).await);
    start(&catalog, system, &world, false, Uuid::new_v4(), id).await.unwrap();
    let leaf = catalog.object(tree.1.thing.id, ADA, NOW_S).await.unwrap().thing;
    let What::Object(leaf) = leaf.what else { panic!() };
    assert_eq!(leaf.props, props("changed"));
}

/// Somebody who has seen an object in a brane gives its id to one of theirs.
#[tokio::test]
async fn an_id_that_another_has_is_no_reason_to_stay() {
    let world = World::new().await;
    let tree = tree(&world).await;
    let (catalog, system, id) = (world.catalog(), &world.system, tree.0.thing.id);
    start(&catalog, system, &world, true, Uuid::new_v4(), id).await.unwrap();
    catalog.create_object(BOB, id, block("mine"), NOW_S).await.unwrap();
    let moved = start(&catalog, system, &world, false, Uuid::new_v4(), id).await.unwrap();
    assert_ne!(moved.objects[0], id);
    assert_eq!(moved.objects[1], tree.1.thing.id);
    let there = catalog.object(moved.objects[0], ADA, NOW_S).await.unwrap();
    assert_eq!(there.thing.label.name, "Root");
}

/// All drafts of published ones: with those before them they are more than one
/// commit can hold, which has to be known before they are on their way.
#[tokio::test]
async fn what_could_not_be_ended_is_not_begun() {
    let world = World::new().await;
    let (catalog, mut drafts) = (world.catalog(), Vec::new());
    for _ in 0..63 {
        let (id, draft) = (Uuid::new_v4(), Uuid::new_v4());
        catalog.create_object(ADA, id, block("one"), NOW_S).await.unwrap();
        catalog.publish_object(ADA, id, None, Visibility::Unlisted, NOW_S).await.unwrap();
        let patch = ObjectPatch::default();
        let changed = catalog.update_object(ADA, id, None, patch, draft, NOW_S).await.unwrap();
        drafts.push(changed.stored);
    }
    let children: Vec<&Stored> = drafts.iter().collect();
    let id = Uuid::new_v4();
    catalog.create_object(ADA, id, group("all", &children), NOW_S).await.unwrap();
    let placed = start(&catalog, &world.system, &world, true, Uuid::new_v4(), id).await;
    assert_eq!(placed, Err(Code::TreeTooLarge));
    catalog.delete_object(ADA, drafts[0].thing.id, None, NOW_S).await.unwrap();
    start(&catalog, &world.system, &world, true, Uuid::new_v4(), id).await.unwrap();
    assert_eq!(catalog.usage(ADA, NOW_S).await, catalog.recount(ADA, NOW_S).await);
}
