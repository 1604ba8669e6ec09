//! Prototypes and their versions.

use std::collections::BTreeMap;
use std::sync::Arc;

use avvy_catalog::{Catalog, LabelPatch, PrototypePatch, Stored, What};
use avvy_model::{Code, Visibility};
use avvy_persistence::records::Records;
use uuid::Uuid;

use super::{ADA, BOB, NOW_S, catalog, code, fresh, label, props, says};

type On<'a> = &'a Arc<dyn Records>;

fn says_now(text: &str) -> PrototypePatch {
    PrototypePatch { defaults: Some(props(text)), ..PrototypePatch::default() }
}

async fn make(catalog: &Catalog, text: &str) -> Stored {
    catalog.create_prototype(ADA, fresh(), label(text), says(text), NOW_S).await.unwrap()
}

async fn publish(catalog: &Catalog, id: Uuid) -> Stored {
    catalog.publish_prototype(ADA, id, None, Visibility::Public, NOW_S).await.unwrap()
}

pub async fn goes_from_draft_to_version_to_version(on: On<'_>) {
    let catalog = catalog(on);
    let draft = make(&catalog, "one").await;
    let id = draft.thing.id;
    let patch = PrototypePatch {
        handlers: Some(vec![Uuid::from_u128(7)]),
        label: LabelPatch { name: Some("renamed".into()), ..LabelPatch::default() },
        ..says_now("two")
    };
    let changed = catalog.update_prototype(ADA, id, Some(draft.version), patch, NOW_S).await;
    let changed = changed.unwrap();
    assert_eq!(changed.thing.label.name, "renamed");
    let What::Prototype(prototype) = &changed.thing.what else { panic!("{changed:?}") };
    assert_eq!((prototype.defaults.clone(), prototype.handlers.len()), (props("two"), 1));
    let stale = catalog.update_prototype(ADA, id, Some(draft.version), says_now("x"), NOW_S).await;
    assert_eq!(code(stale), Code::PreconditionFailed);
    assert_eq!(
        code(catalog.next_prototype(ADA, id, None, fresh(), NOW_S).await),
        Code::NotPublished
    );
    let deprecate = catalog.deprecate_prototype(ADA, id, None, true, NOW_S).await;
    assert_eq!(code(deprecate), Code::NotPublished);
    assert_eq!(code(catalog.prototype(id, BOB, NOW_S).await), Code::NotFound);
    publish(&catalog, id).await;
    assert_eq!(catalog.prototype(id, BOB, NOW_S).await.unwrap().thing.what, changed.thing.what);
    let fixed = catalog.update_prototype(ADA, id, None, says_now("three"), NOW_S).await;
    assert_eq!(code(fixed), Code::Published);
    let next = catalog.next_prototype(ADA, id, None, fresh(), NOW_S).await.unwrap();
    assert_eq!(next.thing.what, changed.thing.what);
    assert_eq!((next.thing.chain.number, next.thing.chain.previous), (2, Some(id)));
    assert_eq!(code(catalog.next_prototype(ADA, id, None, fresh(), NOW_S).await), Code::Superseded);
    let next_id = next.thing.id;
    catalog.update_prototype(ADA, next_id, None, says_now("four"), NOW_S).await.unwrap();
    let deprecated = catalog.deprecate_prototype(ADA, id, None, true, NOW_S).await.unwrap();
    assert!(deprecated.thing.is_deprecated && !deprecated.thing.is_deleted);
    assert_eq!(deprecated.thing.next_for(BOB), None);
    publish(&catalog, next_id).await;
    let first = catalog.prototype(id, BOB, NOW_S).await.unwrap();
    assert_eq!(first.thing.next_for(BOB), Some(next_id));
    let versions = catalog.versions(next_id, BOB, None, 9, NOW_S).await.unwrap().things;
    let ids: Vec<Uuid> = versions.iter().map(|stored| stored.thing.id).collect();
    assert_eq!(ids, [id, next_id]);
    let usage = catalog.usage(ADA, NOW_S).await.unwrap();
    assert_eq!((usage.prototypes, usage.drafts, usage.objects), (2, 0, 0));
}

pub async fn is_for_nobody_else_to_change(on: On<'_>) {
    let catalog = catalog(on);
    let id = make(&catalog, "one").await.thing.id;
    for expected in [Code::NotFound, Code::Forbidden] {
        let public = Visibility::Public;
        let patch = says_now("x");
        assert_eq!(code(catalog.update_prototype(BOB, id, None, patch, NOW_S).await), expected);
        assert_eq!(code(catalog.publish_prototype(BOB, id, None, public, NOW_S).await), expected);
        assert_eq!(code(catalog.next_prototype(BOB, id, None, fresh(), NOW_S).await), expected);
        assert_eq!(code(catalog.deprecate_prototype(BOB, id, None, true, NOW_S).await), expected);
        assert_eq!(code(catalog.delete_prototype(BOB, id, None, NOW_S).await), expected);
        publish(&catalog, id).await;
    }
}

pub async fn a_deleted_version_is_missed_by_none(on: On<'_>) {
    let catalog = catalog(on);
    let mut ids = vec![make(&catalog, "one").await.thing.id];
    publish(&catalog, ids[0]).await;
    for nth in 0..2 {
        let next = catalog.next_prototype(ADA, ids[nth], None, fresh(), NOW_S).await.unwrap();
        ids.push(publish(&catalog, next.thing.id).await.thing.id);
    }
    catalog.delete_prototype(ADA, ids[1], None, NOW_S).await.unwrap();
    let [first, last] =
        [ids[0], ids[2]].map(async |id| catalog.prototype(id, BOB, NOW_S).await.unwrap().thing);
    let (first, last) = (first.await, last.await);
    assert_eq!((first.chain.next, last.chain.previous), (Some(ids[2]), Some(ids[0])));
    // Its owner knows for a while that it was there.
    assert_eq!(code(catalog.prototype(ids[1], BOB, NOW_S).await), Code::NotFound);
    let deleted = catalog.prototype(ids[1], ADA, NOW_S).await.unwrap().thing;
    assert!(deleted.is_deleted);
    assert_eq!(deleted.what, What::Prototype(avvy_catalog::Prototype::default()));
    assert_eq!(
        code(catalog.next_prototype(ADA, ids[1], None, fresh(), NOW_S).await),
        Code::NotFound
    );
    let much_later = NOW_S + 31 * 24 * 3_600;
    assert_eq!(code(catalog.prototype(ids[1], ADA, much_later).await), Code::NotFound);
    assert_eq!(catalog.usage(ADA, NOW_S).await.unwrap().prototypes, 2);
}

pub async fn numbers_of_versions_never_come_again(on: On<'_>) {
    let catalog = catalog(on);
    let first = make(&catalog, "one").await.thing.id;
    publish(&catalog, first).await;
    for number in 2..5 {
        let next = catalog.next_prototype(ADA, first, None, fresh(), NOW_S).await.unwrap();
        assert_eq!(next.thing.chain.number, number);
        if number == 3 {
            publish(&catalog, next.thing.id).await;
        }
        catalog.delete_prototype(ADA, next.thing.id, None, NOW_S).await.unwrap();
    }
    let there = catalog.prototype(first, BOB, NOW_S).await.unwrap().thing;
    assert!(!there.is_outdated && there.chain.next.is_none());
}

/// What is followed and is deleted then, is offered a later one all the same,
/// also when nobody knows of it any more.
pub async fn offers_the_newest_that_others_should_take(on: On<'_>) {
    let catalog = catalog(on);
    let first = make(&catalog, "one").await.thing.id;
    let next = async |id| catalog.next_prototype(ADA, id, None, fresh(), NOW_S).await.unwrap();
    let offered = async |id, number, user, now_s| {
        let newer = catalog.newer_prototype(first, id, number, user, now_s).await.unwrap();
        newer.map(|thing| thing.id)
    };
    let to_both = async |id, number| {
        [offered(id, number, ADA, NOW_S).await, offered(id, number, BOB, NOW_S).await]
    };
    publish(&catalog, first).await;
    assert_eq!(to_both(first, 1).await, [None, None]);
    let second = next(first).await.thing.id;
    assert_eq!(to_both(first, 1).await, [None, None], "a draft");
    publish(&catalog, second).await;
    assert_eq!(to_both(first, 1).await, [Some(second), Some(second)]);
    assert_eq!(to_both(second, 2).await, [None, None], "it is the last");
    let third = next(second).await.thing.id;
    let unlisted = Visibility::Unlisted;
    catalog.publish_prototype(ADA, third, None, unlisted, NOW_S).await.unwrap();
    assert_eq!(to_both(first, 1).await, [Some(third), Some(second)], "unlisted");
    let fourth = publish(&catalog, next(third).await.thing.id).await.thing.id;
    assert_eq!(to_both(second, 2).await, [Some(fourth), Some(fourth)]);
    for (is_deprecated, newest) in [(true, [Some(third), Some(second)]), (false, [Some(fourth); 2])]
    {
        let deprecate = catalog.deprecate_prototype(ADA, fourth, None, is_deprecated, NOW_S);
        deprecate.await.unwrap();
        assert_eq!(to_both(first, 1).await, newest, "deprecated: {is_deprecated}");
    }
    for id in [first, third] {
        catalog.delete_prototype(ADA, id, None, NOW_S).await.unwrap();
    }
    let much_later = NOW_S + 31 * 24 * 3_600;
    for now_s in [NOW_S, much_later] {
        assert_eq!(offered(first, 1, BOB, now_s).await, Some(fourth));
        assert_eq!(offered(third, 3, BOB, now_s).await, Some(fourth));
    }
    catalog.delete_prototype(ADA, fourth, None, NOW_S).await.unwrap();
    assert_eq!(to_both(first, 1).await, [Some(second); 2], "the last one was deleted");
    assert_eq!(to_both(third, 3).await, [None, None]);
}

/// What is done to versions, and what they are then, by a model that keeps a
/// list.
pub async fn random_versions_are_one_line(on: On<'_>) {
    let catalog = catalog(on);
    let mut draw = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |n: usize| {
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (draw >> 33) as usize % n
    };
    // In the order of their numbers: id, number, whether it is published.
    let mut line: Vec<(Uuid, u32, bool)> = vec![(make(&catalog, "0").await.thing.id, 1, false)];
    let mut issued = 1;
    for step in 0..60 {
        let at = below(line.len());
        let (id, _, is_published) = line[at];
        match below(3) {
            0 => {
                publish(&catalog, id).await;
                line[at].2 = true;
            }
            1 => {
                let answer = catalog.next_prototype(ADA, id, None, fresh(), NOW_S).await;
                if !is_published {
                    assert_eq!(code(answer), Code::NotPublished, "step {step}");
                } else if at + 1 < line.len() {
                    assert_eq!(code(answer), Code::Superseded, "step {step}");
                } else {
                    issued += 1;
                    let next = answer.unwrap();
                    assert_eq!(next.thing.chain.number, issued, "step {step}");
                    line.push((next.thing.id, issued, false));
                }
            }
            _ if line.len() > 1 && at > 0 => {
                catalog.delete_prototype(ADA, id, None, NOW_S).await.unwrap();
                line.remove(at);
            }
            _ => {}
        }
        let page = catalog.versions(line[0].0, ADA, None, 200, NOW_S).await.unwrap();
        assert_eq!(page.next, None);
        let there: BTreeMap<Uuid, Stored> = page
            .things
            .into_iter()
            .filter(|stored| !stored.thing.is_deleted)
            .map(|stored| (stored.thing.id, stored))
            .collect();
        assert_eq!(there.len(), line.len(), "step {step}");
        for (nth, (id, number, is_published)) in line.iter().enumerate() {
            let thing = &there[id].thing;
            let link = |at: Option<usize>| at.and_then(|at| line.get(at)).map(|(id, ..)| *id);
            assert_eq!(thing.chain.number, *number, "step {step}");
            assert_eq!(thing.chain.previous, link(nth.checked_sub(1)), "step {step}");
            assert_eq!(thing.chain.next, link(Some(nth + 1)), "step {step}");
            assert_eq!(thing.is_published(), *is_published, "step {step}");
        }
    }
}
