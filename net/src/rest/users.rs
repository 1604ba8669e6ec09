//! `/api/v1/users`: what people see of each other, and what they own.

use avvy_actors::Verb;
use avvy_auth::Claims;
use avvy_catalog::{Kind, Usage};
use avvy_identity::{IdentityError, User, UserChange};
use avvy_model::{Code, UserId};
use avvy_protocol::rest::{PatchMe, ThingPage, UsageBody, UserBody};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::auth::Caller;
use super::body::{Page, Payload, body};
use super::conditional::MustMatch;
use super::edge::Arrival;
use super::route::{AFTER, Kind as Of, LIMIT, Match, Param, Route};
use super::things::{IdOf, cursor, may_change, thing_body};
use super::{App, Failure};
use crate::time::unix_s;

const KIND: Param = Param {
    name: "kind",
    meaning: "Only what is of this kind.",
    kind: Of::OneOf(&["prototype", "group", "block"]),
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/users/me", me, "The caller.")
            .answers::<UserBody>(StatusCode::OK, "What everybody sees of the caller.")
            .tagged(),
        Route::patch("/users/me", update, "Changes what everybody sees of the caller.")
            .matched(Match::Required)
            .takes::<PatchMe>()
            .answers::<UserBody>(StatusCode::OK, "The caller as they are now.")
            .fails(&[Code::Forbidden]),
        Route::get("/users/me/inventory", inventory, "What the caller owns, the newest first.")
            .reads(&[KIND, AFTER, LIMIT])
            .answers::<ThingPage>(StatusCode::OK, "What is in no group.")
            .fails(&[Code::Damaged]),
        Route::get("/users/me/usage", usage, "How much the caller owns, and may.")
            .answers::<UsageBody>(StatusCode::OK, "As quotas count it."),
        Route::get("/users/{id}", read, "What everybody sees of a user.")
            .answers::<UserBody>(StatusCode::OK, "The user.")
            .tagged(),
    ]
}

async fn me(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
) -> Result<Response, Failure> {
    let user = own(&app, &claims).await?;
    Ok(show(&arrival, user))
}

async fn update(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    MustMatch(condition): MustMatch,
    payload: Payload,
) -> Result<Response, Failure> {
    let PatchMe { name, about } = body(&app, &payload)?;
    may_change(&app, &claims)?;
    let before = own(&app, &claims).await?;
    condition.check(before.version)?;
    let change = UserChange { name, about };
    let user = app.identity.update_user(claims.user, change, Some(before.version), unix_s()).await;
    let user = user.map_err(|error| match error {
        IdentityError::Conflict { .. } => Failure::new(Code::PreconditionFailed),
        error => error.into(),
    })?;
    Ok(show(&arrival, user))
}

/// The caller's own record. Who comes by a token of another issuer, or of the
/// operator's, has none before it is asked for.
async fn own(app: &App, claims: &Claims) -> Result<User, Failure> {
    let name = claims.name.as_deref().unwrap_or_default();
    Ok(app.identity.ensure_user(claims.user, name, unix_s()).await?)
}

fn show(arrival: &Arrival, user: User) -> Response {
    let User { id, name, about, created_s, version } = user;
    let body = UserBody { id, name, about, created: created_s };
    arrival.versioned(StatusCode::OK, version, &body)
}

async fn usage(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
) -> Result<Response, Failure> {
    let Usage { objects, bytes, prototypes, drafts } =
        app.catalog.usage(claims.user, unix_s()).await?;
    let limits = app.catalog.limits();
    let body = UsageBody {
        objects,
        max_objects: limits.max_objects,
        prototypes,
        max_prototypes: limits.max_prototypes,
        drafts,
        max_drafts: limits.max_drafts,
        bytes,
        max_bytes: limits.max_bytes,
    };
    Ok(arrival.reply(StatusCode::OK, &body))
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    kind: Option<String>,
}

async fn inventory(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    page: Page<String>,
    wanted: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Failure> {
    let malformed = || Failure::new(Code::Malformed).details("kind: prototype, group or block");
    let Query(Wanted { kind }) = wanted.map_err(|_| malformed())?;
    let kind = kind.map(|kind| Kind::from_name(&kind).ok_or_else(malformed)).transpose()?;
    let (after, limit) = (cursor(&page)?, page.limit(app.config.max_page_items)?);
    app.system.account(&claims).take(Verb::Page)?;
    let found = app.catalog.inventory(claims.user, kind, after, limit, unix_s()).await?;
    let body = ThingPage {
        things: found.things.iter().map(|stored| thing_body(&stored.thing)).collect(),
        next: found.next.map(|next| next.to_text()),
    };
    Ok(arrival.reply(StatusCode::OK, &body))
}

async fn read(
    State(app): State<App>,
    Caller(_): Caller,
    arrival: Arrival,
    IdOf(id): IdOf,
) -> Result<Response, Failure> {
    let user = app.identity.user(UserId::new(id), unix_s()).await?;
    let user = user.ok_or(Code::NotFound)?;
    Ok(show(&arrival, user))
}
