//! Objects, trees and galleries.

use std::sync::Arc;

use avvy_catalog::{CatalogLimits, Object};
use avvy_catalog::{GalleryEdit, Kind, LabelPatch, ObjectPatch, Stored, What};
use avvy_model::{Code, Rotation, Transform, Visibility};
use avvy_persistence::records::Records;
use futures_util::future::join_all;
use uuid::Uuid;

use super::{
    ADA, BOB, NONE, NOW_S, block, catalog, children, code, fresh, group, label, props, says, with,
};

type On<'a> = &'a Arc<dyn Records>;

fn object(stored: &Stored) -> &Object {
    match &stored.thing.what {
        What::Object(object) => object,
        What::Prototype(_) => panic!("{stored:?}"),
    }
}

fn renamed(name: &str) -> ObjectPatch {
    let label = LabelPatch { name: Some(name.to_owned()), ..LabelPatch::default() };
    ObjectPatch { label, ..ObjectPatch::default() }
}

pub async fn comes_back_as_it_was_made(on: On<'_>) {
    let catalog = catalog(on);
    let transform = Transform::new([1, 2, 3], Rotation::IDENTITY, [2.0; 3]).unwrap();
    let mut asked = block("Chair");
    (asked.transform, asked.props) = (transform, props("hello"));
    asked.label.tags = vec!["wood".into()];
    let made = catalog.create_object(ADA, fresh(), asked.clone(), NOW_S).await.unwrap();
    let read = catalog.object(made.thing.id, ADA, NOW_S).await.unwrap();
    assert_eq!(read, made);
    assert_eq!((object(&read).transform, &object(&read).props), (transform, &asked.props));
    assert_eq!((read.thing.label.clone(), read.thing.chain.number), (asked.label, 1));
    let changed = catalog
        .update_object(ADA, made.thing.id, None, renamed("Stool"), fresh(), NOW_S + 5)
        .await
        .unwrap();
    assert!(!changed.is_new && changed.stored.version > made.version);
    let read = catalog.object(made.thing.id, ADA, NOW_S).await.unwrap();
    assert_eq!(read, changed.stored);
    assert_eq!((read.thing.label.name.as_str(), read.thing.changed_s), ("Stool", NOW_S + 5));
    // Without a change nothing is written.
    let same =
        catalog.update_object(ADA, made.thing.id, None, ObjectPatch::default(), fresh(), NOW_S + 5);
    assert_eq!(same.await.unwrap().stored, read);
    catalog.delete_object(ADA, made.thing.id, Some(read.version), NOW_S).await.unwrap();
    assert_eq!(code(catalog.object(made.thing.id, ADA, NOW_S).await), Code::NotFound);
}

/// As when a request is repeated because its answer was lost.
pub async fn what_is_made_again_is_there_once(on: On<'_>) {
    let catalog = catalog(on);
    let id = fresh();
    let make = || catalog.create_object(ADA, id, block("a"), NOW_S);
    let (one, other) = tokio::join!(make(), make());
    assert_eq!(one.unwrap(), other.unwrap());
    assert_eq!(catalog.usage(ADA, NOW_S).await.unwrap().objects, 1);
    assert_eq!(code(catalog.create_object(BOB, id, block("b"), NOW_S).await), Code::Exists);
    catalog.publish_object(ADA, id, None, Visibility::Public, NOW_S).await.unwrap();
    let draft = fresh();
    let change = || catalog.update_object(ADA, id, None, renamed("b"), draft, NOW_S);
    assert_eq!(change().await.unwrap(), change().await.unwrap());
    let id = fresh();
    let make = || catalog.create_prototype(ADA, id, label("p"), says("x"), NOW_S);
    assert_eq!(make().await.unwrap(), make().await.unwrap());
    catalog.publish_prototype(ADA, id, None, Visibility::Public, NOW_S).await.unwrap();
    let next = || catalog.next_prototype(ADA, id, None, draft, NOW_S);
    assert_eq!(code(next().await), Code::Exists);
    let draft = fresh();
    let next = || catalog.next_prototype(ADA, id, None, draft, NOW_S);
    assert_eq!(next().await.unwrap(), next().await.unwrap());
}

pub async fn is_for_nobody_else_to_know(on: On<'_>) {
    let catalog = catalog(on);
    let own = catalog.create_object(ADA, fresh(), block("a"), NOW_S).await.unwrap();
    let id = own.thing.id;
    for id in [id, NONE] {
        assert_eq!(code(catalog.object(id, BOB, NOW_S).await), Code::NotFound);
        assert_eq!(code(catalog.prototype(id, BOB, NOW_S).await), Code::NotFound);
        assert_eq!(code(catalog.versions(id, BOB, None, 9, NOW_S).await), Code::NotFound);
        let update = catalog.update_object(BOB, id, None, renamed("b"), fresh(), NOW_S).await;
        assert_eq!(code(update), Code::NotFound);
        assert_eq!(code(catalog.delete_object(BOB, id, None, NOW_S).await), Code::NotFound);
        let public = Visibility::Public;
        let publish = catalog.publish_object(BOB, id, None, public, NOW_S).await;
        assert_eq!(code(publish), Code::NotFound);
        let taken = group("g", &[&Stored { thing: own.thing.clone(), version: 0 }]);
        assert_eq!(code(catalog.create_object(BOB, fresh(), taken, NOW_S).await), Code::NotFound);
    }
    // A prototype is no object, whoever asks.
    let prototype =
        catalog.create_prototype(ADA, fresh(), label("p"), says("x"), NOW_S).await.unwrap();
    let id = prototype.thing.id;
    assert_eq!(code(catalog.object(id, ADA, NOW_S).await), Code::NotFound);
    assert_eq!(code(catalog.delete_object(ADA, id, None, NOW_S).await), Code::NotFound);
    // What others may see is another's all the same.
    let public = Visibility::Unlisted;
    catalog.publish_object(ADA, own.thing.id, None, public, NOW_S).await.unwrap();
    assert!(catalog.object(own.thing.id, BOB, NOW_S).await.is_ok());
    let update = catalog.update_object(BOB, own.thing.id, None, renamed("b"), fresh(), NOW_S).await;
    assert_eq!(code(update), Code::Forbidden);
    assert_eq!(code(catalog.delete_object(BOB, own.thing.id, None, NOW_S).await), Code::Forbidden);
}

pub async fn a_tree_is_held_together(on: On<'_>) {
    let catalog = catalog(on);
    let make = async |asked| catalog.create_object(ADA, fresh(), asked, NOW_S).await.unwrap();
    let [a, b, c] = [make(block("a")).await, make(block("b")).await, make(block("c")).await];
    let inner = make(group("inner", &[&a, &b])).await;
    let outer = make(group("outer", &[&inner])).await;
    let parent =
        async |of: &Stored| object(&catalog.object(of.thing.id, ADA, NOW_S).await.unwrap()).parent;
    assert_eq!(parent(&a).await, Some(inner.thing.id));
    let update = async |of: &Stored, to: &[&Stored]| {
        catalog.update_object(ADA, of.thing.id, None, children(to), fresh(), NOW_S).await
    };
    // Each is in one group, none in itself, and a block is none.
    assert_eq!(code(update(&outer, &[&inner, &a]).await), Code::InGroup);
    assert_eq!(code(update(&inner, &[&outer]).await), Code::Cycle);
    assert_eq!(code(update(&outer, &[&outer]).await), Code::Cycle);
    assert_eq!(code(update(&c, &[]).await), Code::ParentNotGroup);
    assert_eq!(code(update(&outer, &[&c, &c]).await), Code::Malformed);
    // One leaves, another comes.
    let changed = update(&inner, &[&c, &b]).await.unwrap();
    assert_eq!(object(&changed.stored).children, [c.thing.id, b.thing.id]);
    assert_eq!((parent(&a).await, parent(&c).await), (None, Some(inner.thing.id)));
    // Only what is in no group is on the list.
    let listed = catalog.inventory(ADA, None, None, 9, NOW_S).await.unwrap().things;
    let mut ids: Vec<Uuid> = listed.iter().map(|stored| stored.thing.id).collect();
    ids.sort_unstable();
    let mut expected = [a.thing.id, outer.thing.id];
    expected.sort_unstable();
    assert_eq!(ids, expected);
    // A group takes with it what is in it, and is missed by its own group.
    catalog.delete_object(ADA, inner.thing.id, None, NOW_S).await.unwrap();
    assert_eq!(code(catalog.object(b.thing.id, ADA, NOW_S).await), Code::NotFound);
    let outer = catalog.object(outer.thing.id, ADA, NOW_S).await.unwrap();
    assert!(object(&outer).children.is_empty());
    assert_eq!(catalog.usage(ADA, NOW_S).await.unwrap().objects, 2);
}

pub async fn trees_are_bounded(on: On<'_>) {
    let limits = CatalogLimits { max_tree_objects: 5, max_tree_depth: 3, ..Default::default() };
    let catalog = with(on, limits);
    let make = async |asked| catalog.create_object(ADA, fresh(), asked, NOW_S).await;
    let leaf = make(block("leaf")).await.unwrap();
    let low = make(group("low", &[&leaf])).await.unwrap();
    let middle = make(group("middle", &[&low])).await.unwrap();
    assert_eq!(code(make(group("high", &[&middle])).await), Code::TooDeep);
    // Below, too: what is put into a group deep down counts from the top.
    let other = make(block("other")).await.unwrap();
    let deep = make(group("deep", &[&other])).await.unwrap();
    let update = async |of: &Stored, to| {
        catalog.update_object(ADA, of.thing.id, None, to, fresh(), NOW_S).await
    };
    assert_eq!(code(update(&low, children(&[&leaf, &deep])).await), Code::TooDeep);
    assert!(update(&middle, children(&[&low, &deep])).await.is_ok());
    let more = make(block("more")).await.unwrap();
    assert_eq!(code(update(&deep, children(&[&other, &more])).await), Code::TreeTooLarge);
    let many: Vec<Uuid> = (0..6).map(Uuid::from_u128).collect();
    let many = ObjectPatch { children: Some(many), ..ObjectPatch::default() };
    assert_eq!(code(update(&deep, many).await), Code::TreeTooLarge);
    // Nothing of what was refused was done.
    assert!(object(&catalog.object(more.thing.id, ADA, NOW_S).await.unwrap()).parent.is_none());
}

pub async fn what_is_published_changes_as_a_new_version(on: On<'_>) {
    let catalog = catalog(on);
    let make = async |asked| catalog.create_object(ADA, fresh(), asked, NOW_S).await.unwrap();
    let [a, b] = [make(block("a")).await, make(block("b")).await];
    let inner = make(group("inner", &[&a])).await;
    let first = make(group("first", &[&inner, &b])).await;
    let id = first.thing.id;
    let publish =
        async |id, visibility| catalog.publish_object(ADA, id, None, visibility, NOW_S).await;
    assert_eq!(code(publish(inner.thing.id, Visibility::Public).await), Code::InGroup);
    assert_eq!(code(publish(id, Visibility::Private).await), Code::Malformed);
    let published = publish(id, Visibility::Public).await.unwrap();
    assert_eq!(publish(id, Visibility::Public).await.unwrap(), published);
    assert_eq!(code(publish(id, Visibility::Unlisted).await), Code::Published);
    assert!(catalog.object(a.thing.id, BOB, NOW_S).await.is_ok(), "what is in it is seen, too");
    // What is in it is part of it.
    assert_eq!(code(catalog.delete_object(ADA, a.thing.id, None, NOW_S).await), Code::Published);
    // The change is another object, with copies of what is in it.
    let patch = ObjectPatch { label: renamed("second").label, ..children(&[&inner]) };
    let second = catalog.update_object(ADA, id, None, patch, fresh(), NOW_S + 1).await.unwrap();
    assert!(second.is_new);
    let second = second.stored;
    assert_eq!(second.thing.label.name, "second");
    assert_eq!((second.thing.visibility, second.thing.chain.number), (Visibility::Private, 2));
    assert_eq!(second.thing.chain.previous, Some(id));
    assert_ne!(object(&second).children, object(&published).children);
    let copy = catalog.object(object(&second).children[0], ADA, NOW_S).await.unwrap();
    assert_eq!((copy.thing.label.name.as_str(), copy.thing.chain.number), ("inner", 1));
    assert_eq!(object(&copy).parent, Some(second.thing.id));
    // The one before is as it was, and others do not hear of the draft.
    let before = catalog.object(id, BOB, NOW_S).await.unwrap().thing;
    assert_eq!(before.label.name, "first");
    assert_eq!(before.what, published.thing.what);
    assert_eq!(before.next_for(BOB), None);
    assert_eq!(before.next_for(ADA), Some(second.thing.id));
    let seen = async |user| {
        let page = catalog.versions(id, user, None, 9, NOW_S).await.unwrap();
        page.things.iter().map(|stored| stored.thing.chain.number).collect::<Vec<_>>()
    };
    assert_eq!((seen(BOB).await, seen(ADA).await), (vec![1], vec![1, 2]));
    let again = catalog.update_object(ADA, id, None, renamed("third"), fresh(), NOW_S).await;
    assert_eq!(code(again), Code::Superseded);
    // A draft that is dropped makes room for another, under a number of its own.
    catalog.delete_object(ADA, second.thing.id, None, NOW_S).await.unwrap();
    let third =
        catalog.update_object(ADA, id, None, renamed("third"), fresh(), NOW_S).await.unwrap();
    assert_eq!(third.stored.thing.chain.number, 3);
    publish(third.stored.thing.id, Visibility::Public).await.unwrap();
    let before = catalog.object(id, BOB, NOW_S).await.unwrap().thing;
    assert_eq!(before.next_for(BOB), Some(third.stored.thing.id));
}

pub async fn of_two_changes_of_one_version_one_is_refused(on: On<'_>) {
    let catalog = catalog(on);
    let made = catalog.create_object(ADA, fresh(), block("a"), NOW_S).await.unwrap();
    let (id, version) = (made.thing.id, Some(made.version));
    let change =
        |name: &str| catalog.update_object(ADA, id, version, renamed(name), fresh(), NOW_S);
    let answers = join_all([change("b"), change("c"), change("d")]).await;
    let done: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
    assert_eq!(done.len(), 1, "{answers:?}");
    let refused = answers.iter().filter_map(|answer| answer.as_ref().err());
    assert!(refused.clone().all(|refused| refused.code == Code::PreconditionFailed));
    assert_eq!(catalog.object(id, ADA, NOW_S).await.unwrap(), done[0].stored);
    let stale = catalog.delete_object(ADA, id, version, NOW_S).await;
    assert_eq!(code(stale), Code::PreconditionFailed);
    let stale = catalog.publish_object(ADA, id, version, Visibility::Public, NOW_S).await;
    assert_eq!(code(stale), Code::PreconditionFailed);
}

pub async fn many_changes_at_once_lose_nothing(on: On<'_>) {
    let catalog = catalog(on);
    let made =
        join_all((0..6).map(|_| catalog.create_object(ADA, fresh(), block("a"), NOW_S))).await;
    let made: Vec<Stored> = made.into_iter().map(Result::unwrap).collect();
    assert_eq!(catalog.usage(ADA, NOW_S).await.unwrap().objects, 6);
    // Two groups that would each take the other.
    let [left, right] = [&made[0], &made[1]].map(|child| group("g", &[child]));
    let left = catalog.create_object(ADA, fresh(), left, NOW_S).await.unwrap();
    let right = catalog.create_object(ADA, fresh(), right, NOW_S).await.unwrap();
    let put = async |group: &Stored, child: &Stored| {
        catalog.update_object(ADA, group.thing.id, None, children(&[child]), fresh(), NOW_S).await
    };
    let (one, other) = tokio::join!(put(&left, &right), put(&right, &left));
    let refused = one.err().xor(other.err()).map(|refused| refused.code);
    assert_eq!(refused, Some(Code::Cycle));
    // Two groups that want the same object.
    let (left, right) = (made[2].clone(), made[3].clone());
    let groups = [group("l", &[&left]), group("r", &[&right])];
    let groups =
        join_all(groups.map(|asked| catalog.create_object(ADA, fresh(), asked, NOW_S))).await;
    let groups: Vec<Stored> = groups.into_iter().map(Result::unwrap).collect();
    let (one, other) = tokio::join!(put(&groups[0], &made[4]), put(&groups[1], &made[4]));
    let refused = one.err().xor(other.err()).map(|refused| refused.code);
    assert_eq!(refused, Some(Code::InGroup));
}

pub async fn a_gallery_holds_what_its_owner_sees(on: On<'_>) {
    let limits = CatalogLimits { max_gallery: 2, ..CatalogLimits::default() };
    let catalog = with(on, limits);
    let prototype = async |owner, name: &str| {
        catalog.create_prototype(owner, fresh(), label(name), says(name), NOW_S).await
    };
    let own = prototype(ADA, "own").await.unwrap().thing.id;
    let other = prototype(BOB, "other").await.unwrap().thing.id;
    let third = prototype(ADA, "third").await.unwrap().thing.id;
    let group = catalog.create_object(ADA, fresh(), group("g", &[]), NOW_S).await.unwrap().thing.id;
    let edit = async |edit| {
        let changed = catalog.edit_gallery(ADA, group, None, edit, fresh(), NOW_S).await?;
        Ok(object(&changed.stored).gallery.clone())
    };
    let put = async |prototype, at| edit(GalleryEdit::Put { prototype, at }).await;
    assert_eq!(put(own, 0).await, Ok(vec![own]));
    assert_eq!(code(put(other, 0).await), Code::NotFound);
    assert_eq!(code(put(NONE, 0).await), Code::NotFound);
    assert_eq!(code(put(group, 0).await), Code::NotFound);
    catalog.publish_prototype(BOB, other, None, Visibility::Unlisted, NOW_S).await.unwrap();
    assert_eq!(put(other, 0).await, Ok(vec![other, own]));
    assert_eq!(put(other, 9).await, Ok(vec![own, other]));
    assert_eq!(code(put(third, 0).await), Code::GalleryFull);
    // What has gone stays until it is taken out.
    catalog.delete_prototype(BOB, other, None, NOW_S).await.unwrap();
    assert_eq!(put(own, 1).await, Ok(vec![other, own]));
    assert_eq!(edit(GalleryEdit::Remove(other)).await, Ok(vec![own]));
    assert_eq!(code(edit(GalleryEdit::Remove(other)).await), Code::NotFound);
    let of_block = catalog.create_object(ADA, fresh(), block("b"), NOW_S).await.unwrap().thing.id;
    let put = GalleryEdit::Put { prototype: own, at: 0 };
    let refused = catalog.edit_gallery(ADA, of_block, None, put, fresh(), NOW_S).await;
    assert_eq!(code(refused), Code::ParentNotGroup);
}

pub async fn an_inventory_is_listed_page_by_page(on: On<'_>) {
    let catalog = catalog(on);
    let mut made = Vec::new();
    for nth in 0..7 {
        let stored = match nth % 3 {
            0 => catalog.create_object(ADA, fresh(), block("b"), NOW_S + nth).await,
            1 => catalog.create_object(ADA, fresh(), group("g", &[]), NOW_S + nth).await,
            _ => catalog.create_prototype(ADA, fresh(), label("p"), says("x"), NOW_S + nth).await,
        };
        made.push(stored.unwrap());
    }
    catalog.create_object(BOB, fresh(), block("other"), NOW_S).await.unwrap();
    made.reverse();
    for kind in [None, Some(Kind::Prototype), Some(Kind::Group), Some(Kind::Block)] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = catalog.inventory(ADA, kind, after, 2, NOW_S + 9).await.unwrap();
            assert!(page.things.len() <= 2);
            found.extend(page.things);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let fits = |stored: &&Stored| kind.is_none_or(|kind| stored.thing.kind() == kind);
        let expected: Vec<Stored> = made.iter().filter(fits).cloned().collect();
        assert_eq!(found, expected, "{kind:?}");
    }
}
