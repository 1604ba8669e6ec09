//! Prototypes in branes: instances, and the version that they follow.
//!
//! A brane follows one version of a prototype for all of its instances, and
//! what the defaults of that are, only the server says: see
//! [`avvy_model::Followed`]. Instances name the prototype by the id of its first
//! version.

use avvy_actors::{Verb, View, WriteRequest};
use avvy_auth::Claims;
use avvy_catalog::{Prototype, Thing, What};
use avvy_model::{
    BraneId, ClientId, Code, Counter, Edit, Follow, FollowStep, Followed, Handle, Kind,
    NumberedEdit, Object, ObjectId, Operation, PropKey, PropsPatch, PrototypeId, Target, Transform,
    Value, ValueLimits,
};
use avvy_protocol::rest::{
    FollowedBody, InstanceBody, OfferBody, OffersBody, PlacePrototype, UpdateInstances, VersionBody,
};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::auth::Caller;
use super::body::{BraneOf, Payload, body};
use super::edge::Arrival;
use super::route::{ASKING_A_BRANE, Kind as Of, Param, Route};
use super::things::{IN_BRANE, IdOf, may_change, place};
use super::{App, Failure};
use crate::time::unix_s;

const BRANE: Param = Param { name: "brane", meaning: "The brane.", kind: Of::Id };

/// What following can be refused with.
const FOLLOW: &[Code] = &[
    Code::PrototypeFollowed,
    Code::PrototypeNotFollowed,
    Code::TooManyFollowed,
    Code::PropsTooLarge,
    Code::Damaged,
];

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post("/prototype/{id}/place", place_one, "Makes an instance in a brane.")
            .takes::<PlacePrototype>()
            .answers::<InstanceBody>(StatusCode::CREATED, "It is there.")
            .fails(IN_BRANE)
            .fails(FOLLOW)
            .fails(&[Code::NotPublished, Code::ValueTooLarge, Code::ValueMalformed]),
        Route::get("/prototype/{id}/update", preview, "What an update to this version would do.")
            .needs(&[BRANE])
            .answers::<FollowedBody>(StatusCode::OK, "What the brane follows now.")
            .fails(IN_BRANE)
            .fails(FOLLOW),
        Route::post("/prototype/{id}/update", update, "Has a brane follow this version.")
            .takes::<UpdateInstances>()
            .answers::<FollowedBody>(StatusCode::OK, "What the brane follows now.")
            .fails(IN_BRANE)
            .fails(FOLLOW)
            .fails(&[Code::NotPublished]),
        Route::get("/brane/{id}/prototypes", offers, "What a brane follows, and what is newer.")
            .answers::<OffersBody>(StatusCode::OK, "All prototypes that it follows.")
            .fails(ASKING_A_BRANE),
    ]
}

async fn place_one(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    IdOf(id): IdOf,
    payload: Payload,
) -> Result<Response, Failure> {
    let PlacePrototype { brane, parent, transform, props } = body(&app, &payload)?;
    may_change(&app, &claims)?;
    let transform = transform.map_or(Ok(Transform::IDENTITY), place)?;
    let (origin, followed) = version(&app, &claims, id).await?;
    let key = PropKey::new(Object::PROTOTYPE_KEY, &ValueLimits::NONE).map_err(Code::from)?;
    let patch = PropsPatch::new(vec![(key, Some(Value::text(&origin.to_string())))]);
    let limits = &app.catalog.limits().values;
    let (props, _) = props.patched(&patch.map_err(Code::from)?, limits).map_err(Code::from)?;
    let object = ObjectId::new(arrival.draw("object"));
    let parent = parent.map_or(Target::Handle(Handle::ROOT), Target::Id);
    let create = Operation::Create { id: object, parent, kind: Kind::Block, transform, props };
    let view = app.system.view(brane, &claims).await?;
    let is_followed = view.world.followed(origin).is_some();
    if is_followed || !adopt(&app, &claims, &arrival, brane, origin, followed, &create).await? {
        let edits = vec![NumberedEdit { counter: Counter(1), edit: Edit::One(create) }];
        let client = ClientId::new(arrival.draw("place"));
        let request = WriteRequest { client, known: false, edits, trace: arrival.trace };
        let written = app.system.write(brane, &claims, request).await?;
        match written.outcomes.first() {
            Some((_, Ok(_))) => {}
            // It came with the adoption, and this is the same request again.
            Some((_, Err(refusal))) if refusal.code == Code::ObjectExists => {}
            Some((_, Err(refusal))) => return Err(refusal.code.into()),
            None => return Err(Code::Internal.into()),
        }
    }
    Ok(arrival.reply(StatusCode::CREATED, &InstanceBody { brane, id: object, prototype: origin }))
}

/// Has a brane follow a prototype, with the first instance in the same edit;
/// false if somebody else was first.
async fn adopt(
    app: &App,
    claims: &Claims,
    arrival: &Arrival,
    brane: BraneId,
    prototype: PrototypeId,
    followed: Followed,
    create: &Operation,
) -> Result<bool, Failure> {
    let then = vec![create.clone()];
    let follow = Follow::new(prototype, FollowStep::Adopt(followed), then).map_err(Code::from)?;
    let client = ClientId::new(arrival.draw("follow"));
    match app.system.follow(brane, claims, client, arrival.trace, follow).await {
        Ok(_) => Ok(true),
        Err(denied) if denied.code == Code::PrototypeFollowed => Ok(false),
        Err(denied) => Err(denied.into()),
    }
}

#[derive(Deserialize)]
pub(super) struct Where {
    brane: String,
}

async fn preview(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    IdOf(id): IdOf,
    of: Result<Query<Where>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Failure> {
    let malformed = || Failure::new(Code::Malformed).details("brane: an id");
    let Query(Where { brane }) = of.map_err(|_| malformed())?;
    let brane: BraneId = brane.parse().map_err(|_| malformed())?;
    let thing = app.catalog.prototype(id, claims.user, unix_s()).await?.thing;
    let origin = PrototypeId::new(thing.chain.origin);
    let view = app.system.view(brane, &claims).await?;
    Ok(arrival.reply(StatusCode::OK, &followed_body(&view, origin)?))
}

async fn update(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    IdOf(id): IdOf,
    payload: Payload,
) -> Result<Response, Failure> {
    let UpdateInstances { brane } = body(&app, &payload)?;
    may_change(&app, &claims)?;
    let (prototype, followed) = version(&app, &claims, id).await?;
    let view = app.system.view(brane, &claims).await?;
    let from = view.world.followed(prototype).ok_or(Code::PrototypeNotFollowed)?.version;
    let step = FollowStep::Update { from, to: followed };
    let follow = Follow::new(prototype, step, Vec::new()).map_err(Code::from)?;
    let client = ClientId::new(arrival.draw("follow"));
    app.system.follow(brane, &claims, client, arrival.trace, follow).await?;
    let view = app.system.view(brane, &claims).await?;
    Ok(arrival.reply(StatusCode::OK, &followed_body(&view, prototype)?))
}

/// There are at most as many as a brane may follow (`world.max_prototypes`), so
/// this is no page.
async fn offers(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    BraneOf(brane): BraneOf,
) -> Result<Response, Failure> {
    let account = app.system.account(&claims);
    account.take(Verb::Page)?;
    // Each of them may be a reading of the store.
    let _held = account.hold_page().ok_or(Code::RateLimited)?;
    let view = app.system.view(brane, &claims).await?;
    let mut prototypes = followed_bodies(&view);
    // The stores are asked without holding on to the world.
    drop(view);
    for offer in &mut prototypes {
        let OfferBody { prototype, version_id, version, .. } = *offer;
        let (origin, id) = (prototype.uuid(), version_id.uuid());
        let newer = app.catalog.newer_prototype(origin, id, version, claims.user, unix_s()).await?;
        offer.latest = newer.map(|thing| VersionBody {
            id: PrototypeId::new(thing.id),
            version: thing.chain.number,
        });
    }
    Ok(arrival.reply(StatusCode::OK, &OffersBody { prototypes }))
}

/// All that a brane follows, without what is newer.
fn followed_bodies(view: &View) -> Vec<OfferBody> {
    let all = view.world.root_props().into_iter().flat_map(Followed::all);
    let body = |(prototype, followed)| {
        let instances = view.world.instances(prototype).unwrap_or(0);
        let Followed { version, number, .. } = followed;
        OfferBody { prototype, version_id: version, version: number, instances, latest: None }
    };
    all.map(body).collect()
}

/// What a brane is to follow: a version that the caller may see and that stays
/// as it is.
async fn version(
    app: &App,
    claims: &Claims,
    id: uuid::Uuid,
) -> Result<(PrototypeId, Followed), Failure> {
    let thing = app.catalog.prototype(id, claims.user, unix_s()).await?.thing;
    if thing.is_deleted {
        return Err(Code::NotFound.into());
    }
    if !thing.is_published() {
        return Err(Code::NotPublished.into());
    }
    let Thing { chain, what: What::Prototype(Prototype { defaults, .. }), .. } = thing else {
        return Err(Code::NotFound.into());
    };
    let version = PrototypeId::new(id);
    Ok((PrototypeId::new(chain.origin), Followed { version, number: chain.number, defaults }))
}

fn followed_body(view: &View, prototype: PrototypeId) -> Result<FollowedBody, Failure> {
    let followed = view.world.followed(prototype).ok_or(Code::PrototypeNotFollowed)?;
    let instances = view.world.instances(prototype).unwrap_or(0);
    let Followed { version, number, .. } = followed;
    Ok(FollowedBody { prototype, version_id: version, version: number, instances })
}
