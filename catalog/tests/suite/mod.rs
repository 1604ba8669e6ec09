//! What the catalog does on every store.

mod objects;
mod prototypes;
mod quotas;
mod rulings;
mod search;

use std::sync::Arc;

use avvy_catalog::{
    Catalog, CatalogLimits, Label, NewObject, ObjectPatch, Prototype, Refused, Stored,
};
use avvy_model::{Code, Kind, PropKey, Props, Transform, UserId, Value, ValueLimits};
use avvy_persistence::records::Records;
use uuid::Uuid;

pub const NOW_S: u64 = 1_700_000_000;

/// Two users who know nothing of each other.
pub const ADA: UserId = UserId::new(Uuid::from_u128(0xada));
pub const BOB: UserId = UserId::new(Uuid::from_u128(0xb0b));

/// The id of nothing.
pub const NONE: Uuid = Uuid::from_u128(0x404);

/// A catalog over these records.
pub fn catalog(records: &Arc<dyn Records>) -> Catalog {
    with(records, CatalogLimits::default())
}

pub fn with(records: &Arc<dyn Records>, limits: CatalogLimits) -> Catalog {
    Catalog::new(Arc::clone(records), limits)
}

/// Runs every case, each on a store of its own.
pub async fn run_all<T>(fresh: impl AsyncFn() -> (Arc<dyn Records>, T)) {
    macro_rules! run {
        ($($case:path),+ $(,)?) => {$(
            let (records, _kept) = fresh().await;
            eprintln!(stringify!($case));
            $case(&records).await;
            for user in [ADA, BOB] {
                let catalog = catalog(&records);
                let counted = catalog.usage(user, NOW_S).await.unwrap();
                let there = catalog.recount(user, NOW_S).await.unwrap();
                assert_eq!(counted, there, "the account after {}", stringify!($case));
            }
        )+};
    }
    run!(
        objects::comes_back_as_it_was_made,
        objects::what_is_made_again_is_there_once,
        objects::is_for_nobody_else_to_know,
        objects::a_tree_is_held_together,
        objects::trees_are_bounded,
        objects::what_is_published_changes_as_a_new_version,
        objects::of_two_changes_of_one_version_one_is_refused,
        objects::many_changes_at_once_lose_nothing,
        objects::a_gallery_holds_what_its_owner_sees,
        objects::an_inventory_is_listed_page_by_page,
        prototypes::goes_from_draft_to_version_to_version,
        prototypes::is_for_nobody_else_to_change,
        prototypes::a_deleted_version_is_missed_by_none,
        prototypes::numbers_of_versions_never_come_again,
        prototypes::random_versions_are_one_line,
        prototypes::offers_the_newest_that_others_should_take,
        quotas::each_bound_has_its_code,
        quotas::what_is_beyond_a_bound_can_shrink,
        rulings::every_ruling_is_kept_once_newest_first,
        rulings::a_user_finds_the_branes_that_gave_them_a_role,
        rulings::who_is_banned_finds_the_brane_when_that_is_over,
        rulings::an_older_ruling_takes_nothing_back,
        rulings::of_too_many_rulings_the_oldest_go,
        rulings::a_brane_that_is_no_more_is_forgotten,
        search::finds_by_words_tags_and_kind,
        search::finds_only_what_is_public_and_current,
        search::pages_hold_everything_once,
        search::a_question_is_bounded,
        search::finds_branes,
        search::finds_the_last_version_of_a_brane,
    );
}

/// An id for something new.
pub fn fresh() -> Uuid {
    Uuid::new_v4()
}

pub fn label(name: &str) -> Label {
    Label { name: name.to_owned(), ..Label::default() }
}

pub fn props(text: &str) -> Props {
    let limits = ValueLimits::NONE;
    let entry = (PropKey::new("says", &limits).unwrap(), Value::text(text));
    Props::from_entries(vec![entry], &limits).unwrap()
}

pub fn block(name: &str) -> NewObject {
    NewObject {
        kind: Kind::Block,
        label: label(name),
        transform: Transform::IDENTITY,
        props: Props::default(),
        children: Vec::new(),
        gallery: Vec::new(),
    }
}

pub fn group(name: &str, children: &[&Stored]) -> NewObject {
    let children = children.iter().map(|child| child.thing.id).collect();
    NewObject { kind: Kind::Group, children, ..block(name) }
}

pub fn children(children: &[&Stored]) -> ObjectPatch {
    let children = children.iter().map(|child| child.thing.id).collect();
    ObjectPatch { children: Some(children), ..ObjectPatch::default() }
}

pub fn says(text: &str) -> Prototype {
    Prototype { defaults: props(text), ..Prototype::default() }
}

/// What it was refused with.
pub fn code<T: std::fmt::Debug>(result: Result<T, Refused>) -> Code {
    result.unwrap_err().code
}
