//! Prototypes: templates with versions.
//!
//! A version is a draft, which its owner changes, until it is published; from
//! then on it stays as it is, as branes and people rely on it. What has to
//! change is a new version.

use avvy_model::{AssetHash, Code, Props, UserId, Visibility};
use avvy_persistence::records::{IndexKey, KeyRange, Query};
use uuid::Uuid;

use crate::label::{Label, LabelPatch};
use crate::objects::publish;
use crate::scene::Scene;
use crate::thing::{MAX_HANDLERS, MAX_MODELS, Prototype, THINGS, Thing, What, chain_key};
use crate::work::{Stored, expect, serially, stored};
use crate::{Catalog, Refused};

/// Of so many versions of a prototype, the newest, one is offered.
const LOOKED_AT: u32 = 4;

/// What is to change of a draft; what is `None` stays.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct PrototypePatch {
    /// What people call it.
    pub label: LabelPatch,
    /// All default properties from now on.
    pub defaults: Option<Props>,
    /// All handlers from now on.
    pub handlers: Option<Vec<Uuid>>,
    /// All models from now on.
    pub models: Option<Vec<AssetHash>>,
}

impl Catalog {
    /// Makes the draft of a first version under this id, drawn by the caller; or
    /// gives the one that is there, if an earlier call has made it.
    ///
    /// # Errors
    /// `malformed`, what properties can be refused with, and the codes of
    /// quotas.
    pub async fn create_prototype(
        &self,
        owner: UserId,
        id: Uuid,
        label: Label,
        prototype: Prototype,
        now_s: u64,
    ) -> Result<Stored, Refused> {
        label.check()?;
        self.check_prototype(&prototype)?;
        let what = What::Prototype(prototype);
        let thing = Thing::new(id, owner, label, what, now_s);
        let ((), done) = serially!(self, owner, now_s, |work| {
            if let Some(made) = self.made(&work, id).await? {
                return Ok(made);
            }
            work.put(None, &thing);
        });
        Ok(done.stored(thing))
    }

    /// A prototype, if this user may see it. Its owner sees that it was deleted.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn prototype(&self, id: Uuid, user: UserId, now_s: u64) -> Result<Stored, Refused> {
        self.sight(id, user, now_s).await?.prototype()?.stored()
    }

    /// The version that a user is offered in place of the one with this id and
    /// number, which may have been deleted since: of the newest after it the
    /// first that is not deprecated, and is public or the user's own and
    /// published.
    ///
    /// # Errors
    /// `damaged`, what a store's failure amounts to.
    pub async fn newer_prototype(
        &self,
        origin: Uuid,
        id: Uuid,
        number: u32,
        user: UserId,
        now_s: u64,
    ) -> Result<Option<Thing>, Refused> {
        // Most are the last of their line, which the cache knows.
        if let Some(record) = self.records().get(&THINGS, id.into(), now_s).await? {
            let thing = stored(record)?.thing;
            if thing.chain.next.is_none() && !thing.is_deleted {
                return Ok(None);
            }
        }
        let line = KeyRange::prefix(IndexKey::new().uuid(origin));
        let later = KeyRange { from: chain_key(origin, number.saturating_add(1)), ..line };
        let query = Query::new("by_chain", later).descending().limit(LOOKED_AT);
        let newest = self.page(query, now_s).await?.things;
        Ok(newest.into_iter().map(|stored| stored.thing).find(|thing| thing.is_offered_to(user)))
    }

    /// Changes a draft. `version`: the only one to be changed.
    ///
    /// # Errors
    /// `not_found`, `forbidden`, `precondition_failed`, what properties can be
    /// refused with; `published` if it is not a draft any more.
    pub async fn update_prototype(
        &self,
        owner: UserId,
        id: Uuid,
        version: Option<u64>,
        patch: PrototypePatch,
        now_s: u64,
    ) -> Result<Stored, Refused> {
        let (thing, done) = serially!(self, owner, now_s, |work| {
            let old = self.own(&work, id).await?;
            let prototype = old.thing.prototype()?;
            if old.thing.is_published() {
                return Err(Code::Published.into());
            }
            expect(&old, version)?;
            let PrototypePatch { label, defaults, handlers, models } = patch.clone();
            let new = Prototype {
                defaults: defaults.unwrap_or_else(|| prototype.defaults.clone()),
                handlers: handlers.unwrap_or_else(|| prototype.handlers.clone()),
                models: models.unwrap_or_else(|| prototype.models.clone()),
            };
            self.check_prototype(&new)?;
            let label = old.thing.label.patched(label)?;
            let what = What::Prototype(new);
            let thing = Thing { label, what, changed_s: now_s, ..old.thing.clone() };
            work.put(Some(&old), &thing);
            thing
        });
        Ok(done.stored(thing))
    }

    /// Publishes a version, or has more people see it.
    ///
    /// # Errors
    /// `not_found`, `forbidden`, `precondition_failed`; `malformed` for private;
    /// `published` for less than it is.
    pub async fn publish_prototype(
        &self,
        owner: UserId,
        id: Uuid,
        version: Option<u64>,
        visibility: Visibility,
        now_s: u64,
    ) -> Result<Stored, Refused> {
        self.change_prototype(owner, id, version, now_s, |scene| publish(scene, id, visibility))
            .await
    }

    /// Says whether anybody should take it any more.
    ///
    /// # Errors
    /// `not_found`, `forbidden`, `precondition_failed`; `not_published` for a
    /// draft.
    pub async fn deprecate_prototype(
        &self,
        owner: UserId,
        id: Uuid,
        version: Option<u64>,
        is_deprecated: bool,
        now_s: u64,
    ) -> Result<Stored, Refused> {
        let change = |scene: &mut Scene| {
            let thing = scene.get_mut(id)?;
            if !thing.is_published() {
                return Err(Code::NotPublished.into());
            }
            thing.is_deprecated = is_deprecated;
            Ok(())
        };
        self.change_prototype(owner, id, version, now_s, change).await
    }

    /// Makes the draft of the version after a published one, as that is, under
    /// the id `draft`.
    ///
    /// # Errors
    /// `not_found`, `forbidden`, the codes of quotas; `not_published` for a
    /// draft; `superseded` if there is a next version already.
    pub async fn next_prototype(
        &self,
        owner: UserId,
        id: Uuid,
        version: Option<u64>,
        draft: Uuid,
        now_s: u64,
    ) -> Result<Stored, Refused> {
        let (thing, done) = serially!(self, owner, now_s, |work| {
            let old = self.own(&work, id).await?;
            let prototype = old.thing.prototype()?.clone();
            if old.thing.chain.next == Some(draft) {
                return self.load_one(draft, now_s).await;
            }
            expect(&old, version)?;
            if !old.thing.is_published() {
                return Err(Code::NotPublished.into());
            }
            let chain = old.thing.chain;
            if chain.next.is_some() {
                return Err(Code::Superseded.into());
            }
            if self.made(&work, draft).await?.is_some() {
                return Err(Code::Exists.into());
            }
            let (label, what) = (old.thing.label.clone(), What::Prototype(prototype));
            let new =
                Thing { chain: chain.after(id), ..Thing::new(draft, owner, label, what, now_s) };
            let mut scene = Scene::default();
            scene.read(old);
            scene.get_mut(id)?.chain.next = Some(draft);
            scene.make(new.clone());
            scene.save(&mut work);
            new
        });
        Ok(done.stored(thing))
    }

    /// Deletes a version: a draft is gone; of what was published it is known for
    /// a while that it was deleted. Objects that follow it in branes stay.
    ///
    /// # Errors
    /// `not_found`, `forbidden`, `precondition_failed`.
    pub async fn delete_prototype(
        &self,
        owner: UserId,
        id: Uuid,
        version: Option<u64>,
        now_s: u64,
    ) -> Result<(), Refused> {
        serially!(self, owner, now_s, |work| {
            let stored = self.own(&work, id).await?;
            stored.thing.prototype()?;
            expect(&stored, version)?;
            let mut scene = Scene::default();
            scene.read(stored);
            self.read_neighbours(&mut scene, &[id], now_s).await?;
            scene.unlink(id)?;
            let thing = scene.get_mut(id)?;
            if thing.is_published() {
                thing.is_deleted = true;
                thing.what = What::Prototype(Prototype::default());
                thing.label.description.clear();
            } else {
                scene.remove(id);
            }
            scene.save(&mut work);
        });
        Ok(())
    }

    /// Changes one version and, if need be, those beside it.
    async fn change_prototype(
        &self,
        owner: UserId,
        id: Uuid,
        version: Option<u64>,
        now_s: u64,
        change: impl Fn(&mut Scene) -> Result<(), Refused>,
    ) -> Result<Stored, Refused> {
        let (thing, done) = serially!(self, owner, now_s, |work| {
            let stored = self.own(&work, id).await?;
            stored.thing.prototype()?;
            expect(&stored, version)?;
            let mut scene = Scene::default();
            scene.read(stored);
            self.read_neighbours(&mut scene, &[id], now_s).await?;
            change(&mut scene)?;
            let thing = Thing { changed_s: now_s, ..scene.get(id)?.clone() };
            scene.save(&mut work);
            thing
        });
        // Nothing was written if nothing has changed.
        self.stored_or_read(done.stored(thing), now_s).await
    }

    fn check_prototype(&self, prototype: &Prototype) -> Result<(), Refused> {
        let Prototype { defaults, handlers, models } = prototype;
        self.check_props(defaults)?;
        if handlers.len() > MAX_HANDLERS {
            return Err(Refused::because(Code::Malformed, "handler_ids: at most 32"));
        }
        if models.len() > MAX_MODELS {
            return Err(Refused::because(Code::Malformed, "models: at most 32"));
        }
        Ok(())
    }
}
