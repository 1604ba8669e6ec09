//! Searching for what is public.

use std::collections::BTreeSet;
use std::sync::Arc;

use avvy_catalog::{Catalog, FoundKind, Label, ListedBrane, Question};
use avvy_model::{BraneId, Code, UserId, Visibility};
use avvy_persistence::records::Records;
use uuid::Uuid;

use super::{ADA, BOB, NOW_S, block, catalog, code, fresh, group, says};

type On<'a> = &'a Arc<dyn Records>;

fn label(name: &str, description: &str, tags: &[&str]) -> Label {
    let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    Label { name: name.to_owned(), description: description.to_owned(), tags }
}

fn asked(text: &str) -> Question {
    Question { text: text.to_owned(), ..Question::default() }
}

fn tagged(tag: &str) -> Question {
    Question { tag: Some(tag.to_owned()), ..Question::default() }
}

async fn prototype(catalog: &Catalog, owner: UserId, label: Label, now_s: u64) -> Uuid {
    let id =
        catalog.create_prototype(owner, fresh(), label, says("x"), now_s).await.unwrap().thing.id;
    let public = Visibility::Public;
    catalog.publish_prototype(owner, id, None, public, now_s).await.unwrap();
    id
}

/// The names of all that is found, page by page.
async fn names(catalog: &Catalog, question: &Question) -> Vec<String> {
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let page = catalog.search(question, after, 2, NOW_S + 99).await.unwrap();
        names.extend(page.found.into_iter().map(|found| found.label.name));
        after = page.next;
        if after.is_none() {
            return names;
        }
    }
}

pub async fn finds_by_words_tags_and_kind(on: On<'_>) {
    let catalog = &catalog(on);
    let chair = label("Red chair", "Made of oak", &["Wood", "seat"]);
    prototype(catalog, ADA, chair, NOW_S).await;
    prototype(catalog, BOB, label("Chairs, red", "", &["seat"]), NOW_S + 1).await;
    prototype(catalog, BOB, label("Straße", "東京 Café chair", &[]), NOW_S + 2).await;
    let mut lamp = block("Lamp");
    lamp.label.tags = vec!["wood".into()];
    let lamp = catalog.create_object(ADA, fresh(), lamp, NOW_S + 3).await.unwrap().thing.id;
    catalog.publish_object(ADA, lamp, None, Visibility::Public, NOW_S + 3).await.unwrap();
    for (question, expected) in [
        (asked("chair"), vec!["Straße", "Red chair", "Chairs, red"]),
        (asked("chairs"), vec!["Chairs, red"]),
        (asked("CHAIR red"), vec!["Red chair", "Chairs, red"]),
        (asked("r ch o"), vec!["Red chair"]),
        (asked("strasse"), vec!["Straße"]),
        (asked("cafe"), vec!["Straße"]),
        (asked("京"), vec!["Straße"]),
        (asked("wood"), vec!["Lamp", "Red chair"]),
        (asked("table"), vec![]),
        (asked("hair"), vec![]),
        (tagged("WOOD"), vec!["Lamp", "Red chair"]),
        (tagged("woo"), vec![]),
        (asked(""), vec!["Lamp", "Straße", "Chairs, red", "Red chair"]),
        (Question { tag: Some("seat".into()), ..asked("oak") }, vec!["Red chair"]),
        (Question { kind: Some(FoundKind::Block), ..asked("") }, vec!["Lamp"]),
        (Question { kind: Some(FoundKind::Prototype), ..asked("wood") }, vec!["Red chair"]),
        (Question { kind: Some(FoundKind::Group), ..asked("") }, vec![]),
    ] {
        assert_eq!(names(catalog, &question).await, expected, "{question:?}");
    }
}

pub async fn finds_only_what_is_public_and_current(on: On<'_>) {
    let catalog = &catalog(on);
    let all = asked("");
    let made =
        catalog.create_prototype(ADA, fresh(), label("one", "", &[]), says("x"), NOW_S).await;
    let one = made.unwrap().thing.id;
    assert!(names(catalog, &all).await.is_empty(), "a draft");
    catalog.publish_prototype(ADA, one, None, Visibility::Unlisted, NOW_S).await.unwrap();
    assert!(names(catalog, &all).await.is_empty(), "unlisted");
    catalog.publish_prototype(ADA, one, None, Visibility::Public, NOW_S).await.unwrap();
    assert_eq!(names(catalog, &all).await, ["one"]);
    catalog.deprecate_prototype(ADA, one, None, true, NOW_S).await.unwrap();
    assert!(names(catalog, &all).await.is_empty(), "deprecated");
    catalog.deprecate_prototype(ADA, one, None, false, NOW_S).await.unwrap();
    let two = catalog.next_prototype(ADA, one, None, fresh(), NOW_S).await.unwrap().thing.id;
    assert_eq!(names(catalog, &all).await, ["one"], "a next one is a draft");
    let patch = avvy_catalog::PrototypePatch {
        label: avvy_catalog::LabelPatch { name: Some("two".into()), ..Default::default() },
        ..Default::default()
    };
    catalog.update_prototype(ADA, two, None, patch, NOW_S).await.unwrap();
    catalog.publish_prototype(ADA, two, None, Visibility::Public, NOW_S).await.unwrap();
    assert_eq!(names(catalog, &all).await, ["two"], "a next one is public");
    catalog.delete_prototype(ADA, two, None, NOW_S).await.unwrap();
    assert_eq!(names(catalog, &all).await, ["one"], "the next one was deleted");
    catalog.delete_prototype(ADA, one, None, NOW_S).await.unwrap();
    assert!(names(catalog, &all).await.is_empty(), "deleted");
    // Of a tree what is published is found, not what is in it.
    let leaf = catalog.create_object(ADA, fresh(), block("leaf"), NOW_S).await.unwrap();
    let tree =
        catalog.create_object(ADA, fresh(), group("tree", &[&leaf]), NOW_S).await.unwrap().thing.id;
    catalog.publish_object(ADA, tree, None, Visibility::Public, NOW_S).await.unwrap();
    assert_eq!(names(catalog, &all).await, ["tree"]);
    catalog.delete_object(ADA, tree, None, NOW_S).await.unwrap();
    assert!(names(catalog, &all).await.is_empty());
}

pub async fn pages_hold_everything_once(on: On<'_>) {
    let catalog = &catalog(on);
    let mut expected = BTreeSet::new();
    for nth in 0..20_u64 {
        // Some have several words that begin so.
        let name = match nth % 3 {
            0 => format!("bell{nth} bellow bells"),
            1 => format!("bell {nth}"),
            _ => format!("other {nth}"),
        };
        prototype(catalog, ADA, label(&name, "", &[]), NOW_S + nth / 4).await;
        if nth % 3 < 2 {
            expected.insert(name);
        }
    }
    let found = names(catalog, &asked("bell")).await;
    assert_eq!(found.len(), expected.len());
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
    assert_eq!(names(catalog, &asked("")).await.len(), 20);
}

pub async fn a_question_is_bounded(on: On<'_>) {
    let catalog = &catalog(on);
    let search = async |question, after| catalog.search(&question, after, 9, NOW_S).await;
    let nine: Vec<String> = (0..9).map(|nth| format!("w{nth}")).collect();
    for question in [
        asked(&"x".repeat(257)),
        asked(&nine.join(" ")),
        asked("?!"),
        tagged(""),
        tagged(&"x".repeat(33)),
    ] {
        assert_eq!(code(search(question, None).await), Code::Malformed);
    }
    // A cursor belongs to its question.
    for nth in 0..3 {
        prototype(catalog, ADA, label("same", "", &[]), NOW_S + nth).await;
    }
    let next = catalog.search(&asked("same"), None, 1, NOW_S).await.unwrap().next;
    assert!(next.is_some());
    assert_eq!(code(search(asked("other"), next.clone()).await), Code::Malformed);
    assert_eq!(search(asked("same"), next).await.unwrap().found.len(), 2);
}

pub async fn finds_branes(on: On<'_>) {
    let catalog = &catalog(on);
    let list = async |brane, now_s| catalog.list_brane(brane, now_s).await.unwrap();
    list(brane("Harbour", false, 1), NOW_S).await;
    assert!(names(catalog, &asked("harbour")).await.is_empty());
    list(brane("Harbour", true, 2), NOW_S).await;
    list(brane("Harbour", true, 2), NOW_S + 1).await;
    list(brane("Harbour", true, 3), NOW_S + 1).await;
    let question = Question { kind: Some(FoundKind::Brane), ..asked("harb") };
    let found = catalog.search(&question, None, 9, NOW_S).await.unwrap().found;
    assert_eq!((found.len(), found[0].changed_s), (1, NOW_S), "nothing had changed");
    list(brane("Port", true, 4), NOW_S + 2).await;
    assert!(names(catalog, &asked("harbour")).await.is_empty());
    assert_eq!(names(catalog, &asked("port")).await, ["Port"]);
    list(brane("Port", false, 5), NOW_S + 3).await;
    assert!(names(catalog, &asked("")).await.is_empty());
}

/// Of several who change a brane at once each lists what it made of it, in
/// whatever order.
pub async fn finds_the_last_version_of_a_brane(on: On<'_>) {
    let catalog = &catalog(on);
    let list = async |brane| catalog.list_brane(brane, NOW_S).await.unwrap();
    // A version of which the same is found counts, too.
    for (name, is_listed, version) in
        [("Port", true, 2), ("Port", true, 4), ("Harbour", true, 3), ("Harbour", false, 3)]
    {
        list(brane(name, is_listed, version)).await;
        assert_eq!(names(catalog, &asked("")).await, ["Port"], "after version {version}");
    }
    let all = (5..15).map(|version| list(brane(&format!("Port {version}"), true, version)));
    futures_util::future::join_all(all).await;
    assert_eq!(names(catalog, &asked("")).await, ["Port 14"]);
}

fn brane(name: &str, is_listed: bool, version: u64) -> ListedBrane {
    let (id, label) = (BraneId::new(Uuid::from_u128(5)), label(name, "", &[]));
    ListedBrane { id, owner: ADA, label, is_listed, version }
}
