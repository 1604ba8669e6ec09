//! What a user may have.

use std::sync::Arc;

use avvy_catalog::{CatalogLimits, ObjectPatch};
use avvy_model::{Code, Visibility};
use avvy_persistence::records::Records;

use super::{ADA, BOB, NOW_S, block, code, fresh, group, label, props, says, with};

const LIMITS: &str = include_str!("../../../docs/LIMITS.md");

type On<'a> = &'a Arc<dyn Records>;

pub async fn each_bound_has_its_code(on: On<'_>) {
    let limits = CatalogLimits {
        max_objects: 3,
        max_prototypes: 2,
        max_drafts: 1,
        max_bytes: 5_000,
        ..CatalogLimits::default()
    };
    let catalog = with(on, limits);
    let prototype =
        async || catalog.create_prototype(ADA, fresh(), label("p"), says("x"), NOW_S).await;
    let first = prototype().await.unwrap().thing.id;
    assert_eq!(code(prototype().await), Code::TooManyDrafts);
    let public = Visibility::Public;
    catalog.publish_prototype(ADA, first, None, public, NOW_S).await.unwrap();
    let second = prototype().await.unwrap().thing.id;
    catalog.publish_prototype(ADA, second, None, public, NOW_S).await.unwrap();
    assert_eq!(code(prototype().await), Code::TooManyPrototypes);
    // Another's quota is another's.
    assert!(catalog.create_prototype(BOB, fresh(), label("p"), says("x"), NOW_S).await.is_ok());
    let a = catalog.create_object(ADA, fresh(), block("a"), NOW_S).await.unwrap();
    let tree = catalog.create_object(ADA, fresh(), group("g", &[&a]), NOW_S).await.unwrap();
    let mut large = block("large");
    large.props = props(&"x".repeat(5_000));
    assert_eq!(
        code(catalog.create_object(ADA, fresh(), large, NOW_S).await),
        Code::TooManyOwnBytes
    );
    // A draft of what is published is a copy of all that is in it.
    catalog.publish_object(ADA, tree.thing.id, None, public, NOW_S).await.unwrap();
    let patch = ObjectPatch::default();
    let draft = catalog.update_object(ADA, tree.thing.id, None, patch, fresh(), NOW_S).await;
    assert_eq!(code(draft), Code::TooManyOwnObjects);
    assert!(catalog.create_object(ADA, fresh(), block("b"), NOW_S).await.is_ok());
    assert_eq!(
        code(catalog.create_object(ADA, fresh(), block("c"), NOW_S).await),
        Code::TooManyOwnObjects
    );
    // As it is documented.
    for (bound, code) in [
        ("objects", Code::TooManyOwnObjects),
        ("bytes", Code::TooManyOwnBytes),
        ("prototypes", Code::TooManyPrototypes),
        ("drafts", Code::TooManyDrafts),
    ] {
        let row = LIMITS.split_once(&format!("| `catalog.max_{bound}_per_user` | ")).unwrap().1;
        assert_eq!(row.split('`').nth(1), Some(code.name()), "{bound}");
    }
    // What is deleted makes room.
    catalog.delete_prototype(ADA, first, None, NOW_S).await.unwrap();
    assert!(prototype().await.is_ok());
}

pub async fn what_is_beyond_a_bound_can_shrink(on: On<'_>) {
    let wide = with(on, CatalogLimits::default());
    let mut made = Vec::new();
    for _ in 0..4 {
        made.push(wide.create_object(ADA, fresh(), block("a"), NOW_S).await.unwrap());
    }
    let tight = with(on, CatalogLimits { max_objects: 1, ..CatalogLimits::default() });
    assert_eq!(
        code(tight.create_object(ADA, fresh(), block("a"), NOW_S).await),
        Code::TooManyOwnObjects
    );
    let patch = ObjectPatch { props: Some(props("x")), ..ObjectPatch::default() };
    assert!(tight.update_object(ADA, made[0].thing.id, None, patch, fresh(), NOW_S).await.is_ok());
    for stored in made {
        tight.delete_object(ADA, stored.thing.id, None, NOW_S).await.unwrap();
    }
    assert!(tight.create_object(ADA, fresh(), block("a"), NOW_S).await.is_ok());
}
