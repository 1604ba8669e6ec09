//! Random changes of what a user has, against a model that only counts.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use avvy_catalog::{Catalog, CatalogLimits, Label, NewObject, ObjectPatch, Prototype, Usage};
use avvy_model::{Code, Kind, Props, Transform, UserId, Visibility};
use avvy_persistence::memory::MemoryStore;
use proptest::prelude::*;
use uuid::Uuid;

const NOW_S: u64 = 1_700_000_000;
const ADA: UserId = UserId::new(Uuid::from_u128(0xada));

#[derive(Clone, Debug)]
enum Step {
    MakeObject,
    MakePrototype,
    /// The nth thing, of however many there are.
    Publish(usize),
    Next(usize),
    Delete(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::MakeObject),
        2 => Just(Step::MakePrototype),
        2 => any::<usize>().prop_map(Step::Publish),
        2 => any::<usize>().prop_map(Step::Next),
        1 => any::<usize>().prop_map(Step::Delete),
    ]
}

/// A thing as the model knows it.
#[derive(Clone, Copy, Debug)]
struct Known {
    id: Uuid,
    is_prototype: bool,
    is_published: bool,
    /// The version before it.
    before: Option<Uuid>,
}

#[derive(Default)]
struct Model {
    things: Vec<Known>,
}

const LIMITS: (u64, u64, u64) = (4, 4, 2);

impl Model {
    fn nth(&self, nth: usize) -> Option<Known> {
        self.things.get(nth % self.things.len().max(1)).copied()
    }

    fn counts(&self) -> (u64, u64, u64) {
        let count = |what: &dyn Fn(&&Known) -> bool| self.things.iter().filter(what).count() as u64;
        let is_draft = |it: &&Known| !it.is_published && (it.is_prototype || it.before.is_some());
        (count(&|it| !it.is_prototype), count(&|it| it.is_prototype), count(&is_draft))
    }

    /// What one more of it is refused with.
    fn refusal(&self, one: Known) -> Option<Code> {
        let now = self.counts();
        let with = Self { things: self.things.iter().copied().chain([one]).collect() };
        let then = with.counts();
        let beyond = |now: u64, then: u64, max: u64| then > now && then > max;
        match () {
            () if beyond(now.0, then.0, LIMITS.0) => Some(Code::TooManyOwnObjects),
            () if beyond(now.1, then.1, LIMITS.1) => Some(Code::TooManyPrototypes),
            () if beyond(now.2, then.2, LIMITS.2) => Some(Code::TooManyDrafts),
            () => None,
        }
    }

    fn has_next(&self, id: Uuid) -> bool {
        self.things.iter().any(|other| other.before == Some(id))
    }

    fn delete(&mut self, gone: Known) {
        self.things.retain(|other| other.id != gone.id);
        let next = self.things.iter_mut().find(|other| other.before == Some(gone.id));
        if let Some(next) = next {
            next.before = gone.before;
        }
    }
}

fn label() -> Label {
    Label { name: "thing".to_owned(), ..Label::default() }
}

fn object() -> NewObject {
    NewObject {
        kind: Kind::Block,
        label: label(),
        transform: Transform::IDENTITY,
        props: Props::default(),
        children: Vec::new(),
        gallery: Vec::new(),
    }
}

/// Does a step and holds the catalog to what the model says of it.
async fn perform(catalog: &Catalog, model: &mut Model, step: Step) {
    let new =
        |is_prototype, before| Known { id: Uuid::nil(), is_prototype, is_published: false, before };
    let (asked, answer) = match step {
        Step::MakeObject => {
            (new(false, None), catalog.create_object(ADA, Uuid::new_v4(), object(), NOW_S).await)
        }
        Step::MakePrototype => {
            let empty = Prototype::default();
            (
                new(true, None),
                catalog.create_prototype(ADA, Uuid::new_v4(), label(), empty, NOW_S).await,
            )
        }
        Step::Next(nth) => {
            let Some(of) = model.nth(nth).filter(|of| of.is_published) else { return };
            let answer = if of.is_prototype {
                catalog.next_prototype(ADA, of.id, None, Uuid::new_v4(), NOW_S).await
            } else {
                let patch = ObjectPatch::default();
                let changed =
                    catalog.update_object(ADA, of.id, None, patch, Uuid::new_v4(), NOW_S).await;
                changed.map(|changed| changed.stored)
            };
            if model.has_next(of.id) {
                assert_eq!(answer.unwrap_err().code, Code::Superseded);
                return;
            }
            (new(of.is_prototype, Some(of.id)), answer)
        }
        Step::Publish(nth) => {
            let Some(of) = model.nth(nth) else { return };
            let public = Visibility::Public;
            let answer = match of.is_prototype {
                true => catalog.publish_prototype(ADA, of.id, None, public, NOW_S).await,
                false => catalog.publish_object(ADA, of.id, None, public, NOW_S).await,
            };
            answer.unwrap();
            model
                .things
                .iter_mut()
                .filter(|it| it.id == of.id)
                .for_each(|it| it.is_published = true);
            return;
        }
        Step::Delete(nth) => {
            let Some(of) = model.nth(nth) else { return };
            let answer = match of.is_prototype {
                true => catalog.delete_prototype(ADA, of.id, None, NOW_S).await,
                false => catalog.delete_object(ADA, of.id, None, NOW_S).await,
            };
            answer.unwrap();
            model.delete(of);
            return;
        }
    };
    match model.refusal(asked) {
        Some(code) => assert_eq!(answer.unwrap_err().code, code),
        None => model.things.push(Known { id: answer.unwrap().thing.id, ..asked }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn accounts_are_what_a_model_counts(steps in prop::collection::vec(step(), 1..50)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let limits = CatalogLimits {
                max_objects: LIMITS.0,
                max_prototypes: LIMITS.1,
                max_drafts: LIMITS.2,
                ..CatalogLimits::default()
            };
            let catalog = Catalog::new(Arc::new(MemoryStore::new()), limits);
            let mut model = Model::default();
            for step in steps {
                perform(&catalog, &mut model, step).await;
                let Usage { objects, prototypes, drafts, .. } = catalog.usage(ADA, NOW_S).await.unwrap();
                assert_eq!((objects, prototypes, drafts), model.counts());
            }
            let counted = catalog.usage(ADA, NOW_S).await.unwrap();
            assert_eq!(counted, catalog.recount(ADA, NOW_S).await.unwrap());
        });
    }
}
