//! `/api/v1/prototype`: templates with versions.

use avvy_catalog::{Label, LabelPatch, Prototype, PrototypePatch, Stored, Thing, What};
use avvy_model::{Code, PrototypeId, UserId, Visibility};
use avvy_protocol::rest::{
    CreatePrototype, Deprecate, PatchPrototype, PrototypeBody, Publish, ThingPage,
};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::auth::Caller;
use super::body::{Page, Payload, body, body_or_default};
use super::conditional::{IfMatch, MustMatch};
use super::edge::Arrival;
use super::route::{AFTER, LIMIT, Match, Route};
use super::things::{IdOf, OWN, ROOM, list_versions, located, may_change, version_for};
use super::{App, Failure};
use crate::time::unix_s;

/// What default properties can be refused with.
const VALUES: &[Code] = &[Code::ValueMalformed, Code::ValueTooLarge, Code::PropsTooLarge];

pub(super) fn routes() -> Vec<Route> {
    let now = "The version as it is now.";
    vec![
        Route::post("/prototype", create, "Makes the draft of a prototype.")
            .takes::<CreatePrototype>()
            .answers::<PrototypeBody>(StatusCode::CREATED, "It was made; `Location` is its path.")
            .fails(OWN)
            .fails(ROOM)
            .fails(VALUES)
            .tagged(),
        Route::get("/prototype/{id}", read, "A version of a prototype.")
            .answers::<PrototypeBody>(StatusCode::OK, "The version.")
            .fails(&[Code::Damaged])
            .tagged(),
        Route::patch("/prototype/{id}", update, "Changes a draft of the caller's own.")
            .matched(Match::Required)
            .takes::<PatchPrototype>()
            .answers::<PrototypeBody>(StatusCode::OK, now)
            .fails(OWN)
            .fails(ROOM)
            .fails(VALUES)
            .fails(&[Code::Published]),
        Route::delete("/prototype/{id}", delete, "Deletes a version.")
            .matched(Match::Accepted)
            .ends(StatusCode::NO_CONTENT, "It is gone. Objects that follow it stay.")
            .fails(OWN),
        Route::post("/prototype/{id}/publish", publish, "Shows a version, as it is for good.")
            .matched(Match::Accepted)
            .may_take::<Publish>()
            .answers::<PrototypeBody>(StatusCode::OK, now)
            .fails(OWN)
            .fails(&[Code::Published]),
        Route::post("/prototype/{id}/deprecate", deprecate, "Says whether to take it any more.")
            .matched(Match::Accepted)
            .takes::<Deprecate>()
            .answers::<PrototypeBody>(StatusCode::OK, now)
            .fails(OWN)
            .fails(&[Code::NotPublished]),
        Route::post("/prototype/{id}/versions", next, "Makes the draft of the next version.")
            .matched(Match::Accepted)
            .answers::<PrototypeBody>(StatusCode::CREATED, "The draft; `Location` is its path.")
            .fails(OWN)
            .fails(ROOM)
            .fails(&[Code::NotPublished, Code::Superseded]),
        Route::get("/prototype/{id}/versions", versions, "All versions of it, oldest first.")
            .reads(&[AFTER, LIMIT])
            .answers::<ThingPage>(StatusCode::OK, "Those that the caller may see.")
            .fails(&[Code::Damaged]),
    ]
}

async fn create(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    payload: Payload,
) -> Result<Response, Failure> {
    let asked: CreatePrototype = body(&app, &payload)?;
    may_change(&app, &claims)?;
    let CreatePrototype { name, description, tags, defaults, handler_ids, models } = asked;
    let handlers = handler_ids.into_iter().map(PrototypeId::uuid).collect();
    let (label, prototype) =
        (Label { name, description, tags }, Prototype { defaults, handlers, models });
    let id = arrival.draw("prototype");
    let made = app.catalog.create_prototype(claims.user, id, label, prototype, unix_s()).await?;
    let answer = show(&arrival, StatusCode::CREATED, &made, claims.user)?;
    Ok(located(answer, "prototype", made.thing.id))
}

async fn read(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    IdOf(id): IdOf,
) -> Result<Response, Failure> {
    let sight = app.catalog.sight(id, claims.user, unix_s()).await?.prototype()?;
    app.shown.answer(&arrival, &sight, |stored| prototype_body(stored, claims.user))
}

async fn update(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    IdOf(id): IdOf,
    MustMatch(condition): MustMatch,
    payload: Payload,
) -> Result<Response, Failure> {
    let asked: PatchPrototype = body(&app, &payload)?;
    may_change(&app, &claims)?;
    let version = version_for(&app, &condition, id, claims.user).await?;
    let PatchPrototype { name, description, tags, defaults, handler_ids, models } = asked;
    let handlers = handler_ids.map(|ids| ids.into_iter().map(PrototypeId::uuid).collect());
    let label = LabelPatch { name, description, tags };
    let patch = PrototypePatch { label, defaults, handlers, models };
    let stored = app.catalog.update_prototype(claims.user, id, version, patch, unix_s()).await?;
    show(&arrival, StatusCode::OK, &stored, claims.user)
}

async fn delete(
    State(app): State<App>,
    Caller(claims): Caller,
    IdOf(id): IdOf,
    condition: IfMatch,
) -> Result<Response, Failure> {
    may_change(&app, &claims)?;
    let version = version_for(&app, &condition, id, claims.user).await?;
    app.catalog.delete_prototype(claims.user, id, version, unix_s()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn publish(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    IdOf(id): IdOf,
    condition: IfMatch,
    payload: Payload,
) -> Result<Response, Failure> {
    let Publish { visibility } = body_or_default(&app, &payload)?;
    may_change(&app, &claims)?;
    let version = version_for(&app, &condition, id, claims.user).await?;
    let stored =
        app.catalog.publish_prototype(claims.user, id, version, visibility, unix_s()).await?;
    show(&arrival, StatusCode::OK, &stored, claims.user)
}

async fn deprecate(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    IdOf(id): IdOf,
    condition: IfMatch,
    payload: Payload,
) -> Result<Response, Failure> {
    let Deprecate { is_deprecated } = body(&app, &payload)?;
    may_change(&app, &claims)?;
    let version = version_for(&app, &condition, id, claims.user).await?;
    let stored =
        app.catalog.deprecate_prototype(claims.user, id, version, is_deprecated, unix_s()).await?;
    show(&arrival, StatusCode::OK, &stored, claims.user)
}

async fn next(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    IdOf(id): IdOf,
    condition: IfMatch,
) -> Result<Response, Failure> {
    may_change(&app, &claims)?;
    let version = version_for(&app, &condition, id, claims.user).await?;
    let draft = arrival.draw("draft");
    let made = app.catalog.next_prototype(claims.user, id, version, draft, unix_s()).await?;
    let answer = show(&arrival, StatusCode::CREATED, &made, claims.user)?;
    Ok(located(answer, "prototype", made.thing.id))
}

async fn versions(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    IdOf(id): IdOf,
    page: Page<String>,
) -> Result<Response, Failure> {
    list_versions(&app, &claims, &arrival, id, &page).await
}

/// A version as this user may see it.
fn show(
    arrival: &Arrival,
    status: StatusCode,
    stored: &Stored,
    user: UserId,
) -> Result<Response, Failure> {
    let is_own = stored.thing.owner == user;
    Ok(arrival.seen(status, stored.version, is_own, &prototype_body(stored, user)?))
}

fn prototype_body(stored: &Stored, user: UserId) -> Result<PrototypeBody, Failure> {
    let Thing { label, chain, .. } = &stored.thing;
    let What::Prototype(prototype) = &stored.thing.what else {
        return Err(Code::NotFound.into());
    };
    Ok(PrototypeBody {
        id: PrototypeId::new(stored.thing.id),
        owner: stored.thing.owner,
        name: label.name.clone(),
        description: label.description.clone(),
        tags: label.tags.clone(),
        visibility: stored.thing.visibility,
        is_public: stored.thing.visibility == Visibility::Public,
        is_deprecated: stored.thing.is_deprecated,
        is_deleted: stored.thing.is_deleted,
        version: chain.number,
        previous_id: chain.previous.map(PrototypeId::new),
        next_id: stored.thing.next_for(user).map(PrototypeId::new),
        defaults: prototype.defaults.clone(),
        handler_ids: prototype.handlers.iter().copied().map(PrototypeId::new).collect(),
        models: prototype.models.clone(),
        created: stored.thing.created_s,
        timestamp: stored.thing.changed_s,
    })
}
