//! Keeps the documents of objects up with the branes that are open.
//!
//! Now and then a frozen view of each brane is taken, and compared page by
//! page with the one before. What differs is written once it is durable, which
//! it mostly is at the next look. A brane that is opened anew begins where its
//! documents are, if that is where it stands, and else is written whole.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use avvy_actors::{System, View};
use avvy_auth::Claims;
use avvy_brane::Frozen;
use avvy_model::{BraneId, Handle, Object, ObjectId, Position, Role, Seq};
use avvy_persistence::mongo::{MongoObjects, MongoOptions, ObjectState, Progress};
use avvy_persistence::{Store, StoreError};
use tokio::time::MissedTickBehavior;
use tracing::warn;
use uuid::Uuid;

/// Runs until it is aborted.
pub async fn run(options: MongoOptions, store: Arc<dyn Store>, system: System, every: Duration) {
    let objects = match MongoObjects::open(&options).await {
        Ok(objects) => objects,
        Err(error) => return warn!(%error, "objects are not written as documents"),
    };
    let mut model = ReadModel { objects, store, system, branes: HashMap::new() };
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        model.look().await;
    }
}

struct ReadModel {
    objects: MongoObjects,
    store: Arc<dyn Store>,
    system: System,
    branes: HashMap<BraneId, Followed>,
}

/// A brane that is followed.
#[derive(Default)]
struct Followed {
    /// What its documents show; `None`: they have to be written whole.
    shown: Option<(Seq, Frozen)>,
    /// What they will show once it is durable.
    taken: Option<(Position, Frozen)>,
}

impl ReadModel {
    async fn look(&mut self) {
        // One that does not answer is asked again at the next look.
        let Ok(status) = self.system.status().await else { return };
        let open: HashSet<BraneId> = status.branes.iter().map(|open| open.brane).collect();
        // A closed brane is followed until its last view is written.
        self.branes.retain(|brane, followed| open.contains(brane) || followed.taken.is_some());
        let heads = status.branes.iter().map(|open| (open.brane, open.core.head));
        let mut heads: HashMap<BraneId, Seq> = heads.collect();
        for brane in self.branes.keys() {
            heads.entry(*brane).or_default();
        }
        for (brane, head) in heads {
            let mut followed = self.branes.remove(&brane).unwrap_or_default();
            match self.follow(brane, head, open.contains(&brane), &mut followed).await {
                Ok(()) => drop(self.branes.insert(brane, followed)),
                // Nobody else's brane: the server's own, which is in no store.
                Err(StoreError::UnknownBrane(_)) => {}
                Err(error) => warn!(%brane, %error, "its documents stay behind"),
            }
        }
    }

    async fn follow(
        &self,
        brane: BraneId,
        head: Seq,
        is_open: bool,
        followed: &mut Followed,
    ) -> Result<(), StoreError> {
        if let Some((at, world)) = followed.taken.take() {
            match self.write(brane, at, &world, followed.shown.as_ref()).await? {
                Progress::Written => followed.shown = Some((at.seq, world)),
                Progress::NotDurable => followed.taken = Some((at, world)),
                Progress::Stale => *followed = Followed::default(),
            }
        }
        let is_behind = followed.shown.as_ref().is_none_or(|(shown, _)| *shown != head);
        if !is_open || followed.taken.is_some() || !is_behind {
            return Ok(());
        }
        let owner = self.store.brane(brane).await?.owner;
        // One that has just closed is not there, and nothing is missed by it.
        let Ok(view) = self.system.view(brane, &owner_of(owner)).await else { return Ok(()) };
        let View { world, at, .. } = view;
        if followed.shown.is_none() && self.objects.as_of(brane).await? == Some(at.seq) {
            followed.shown = Some((at.seq, world));
        } else {
            followed.taken = Some((at, world));
        }
        Ok(())
    }

    async fn write(
        &self,
        brane: BraneId,
        at: Position,
        world: &Frozen,
        shown: Option<&(Seq, Frozen)>,
    ) -> Result<Progress, StoreError> {
        let state = |(handle, object): (Handle, &Object)| ObjectState {
            handle,
            parent: parent(world, handle, object),
            object: object.clone(),
        };
        let progress = match shown {
            None => self.objects.write(brane, at, world.iter().map(state), &[]).await?,
            Some((_, older)) => {
                let changes = world.changes_since(older);
                let put = changes.changed.into_iter().map(state);
                self.objects.write(brane, at, put, &changes.gone).await?
            }
        };
        if progress == Progress::Written {
            self.objects.complete(brane, at.seq, shown.is_none()).await?;
        }
        Ok(progress)
    }
}

fn parent(world: &Frozen, handle: Handle, object: &Object) -> Option<ObjectId> {
    let parent = (handle != Handle::ROOT).then(|| world.get(object.parent)).flatten();
    parent.map(|parent| parent.id)
}

/// Who may see everything of a brane.
fn owner_of(owner: avvy_model::UserId) -> Claims {
    Claims {
        user: owner,
        role: Role::Owner,
        name: None,
        branes: Vec::new(),
        session: None,
        token: Uuid::new_v4(),
        issued_s: 0,
        expires_s: u64::MAX,
    }
}
