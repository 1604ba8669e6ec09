//! `/api/v1/brane`: create, list, read and change.

use avvy_actors::{
    Author, BraneChange, BraneCursor, BraneFilter, BraneKind, BranePage as Found, BranePatch,
    BraneRecord, Life, Verb,
};
use avvy_auth::Claims;
use avvy_model::label::is_name;
use avvy_model::{BraneId, Code, Grid, Role, UserId};
use avvy_protocol::rest::{ArchiveBrane, BraneBody, BranePage, CreateBrane, PatchBrane};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Deserialize;
use uuid::{Uuid, Variant};

use super::auth::Caller;
use super::body::{BraneOf, Page, Payload, body, body_or_default};
use super::conditional::{IfMatch, MustMatch};
use super::edge::Arrival;
use super::entities::list_brane;
use super::route::{AFTER, ASKING_A_BRANE, Kind, LIMIT, Match, Param, Route};
use super::{App, Failure};
use crate::time::unix_ms;

/// What a change of a brane can be refused with.
pub(super) const CHANGE: &[Code] = &[
    Code::Forbidden,
    Code::Conflict,
    Code::BraneArchived,
    Code::BraneDeleted,
    Code::Damaged,
    Code::Moved,
];

/// Which branes a listing shows.
const STATE: Param = Param {
    name: "state",
    meaning: "What has become of them; `active` if left out. The others are the caller's own.",
    kind: Kind::OneOf(&["active", "archived", "deleted"]),
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(
            "/brane",
            list,
            "The public branes, the caller's own, and those that gave them a role, oldest first.",
        )
        .reads(&[STATE, AFTER, LIMIT])
        .answers::<BranePage>(StatusCode::OK, "A page; without `next` the last one."),
        Route::post("/brane", create, "Makes a brane that belongs to the token's user.")
            .takes::<CreateBrane>()
            .answers::<BraneBody>(StatusCode::CREATED, "It was made; `Location` is its path.")
            .answers::<BraneBody>(StatusCode::OK, "This very brane was made before.")
            .fails(&[Code::Forbidden, Code::Exists, Code::TooManyBranes, Code::Damaged])
            .tagged(),
        Route::get("/brane/{id}", read, "A brane.")
            .tagged()
            .answers::<BraneBody>(StatusCode::OK, "The brane.")
            .fails(ASKING_A_BRANE),
        Route::patch("/brane/{id}", patch, "Changes what is said of a brane; who configures it.")
            .matched(Match::Required)
            .takes::<PatchBrane>()
            .answers::<BraneBody>(StatusCode::OK, NOW)
            .fails(CHANGE)
            .fails(&[Code::Banned]),
        Route::delete("/brane/{id}", delete, "Deletes a brane; its owner can restore it a while.")
            .matched(Match::Accepted)
            .answers::<BraneBody>(StatusCode::OK, NOW)
            .fails(CHANGE)
            .fails(&[Code::Banned]),
        Route::post("/brane/{id}/archive", archive, "Keeps a brane as it is, closed to everybody.")
            .matched(Match::Accepted)
            .may_take::<ArchiveBrane>()
            .answers::<BraneBody>(StatusCode::OK, NOW)
            .fails(CHANGE)
            .fails(&[Code::Banned, Code::ArchivedByOperator]),
        Route::post("/brane/{id}/restore", restore, "Opens an archived or deleted brane again.")
            .matched(Match::Accepted)
            .answers::<BraneBody>(StatusCode::OK, NOW)
            .fails(CHANGE)
            .fails(&[Code::Banned, Code::ArchivedByOperator, Code::TooManyBranes]),
    ]
}

const NOW: &str = "The brane as it is now.";

/// `PATCH /api/v1/brane/{id}`.
async fn patch(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    BraneOf(brane): BraneOf,
    MustMatch(condition): MustMatch,
    payload: Payload,
) -> Result<Response, Failure> {
    let PatchBrane { name, description, tags, kind, visibility } = body(&app, &payload)?;
    let kind = kind.as_deref().map(kind_of).transpose()?;
    let change = BraneChange::Patch(BranePatch { name, description, tags, kind, visibility });
    change_by(&claims, &app, &arrival, brane, change, &condition).await
}

/// `DELETE /api/v1/brane/{id}`.
async fn delete(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    BraneOf(brane): BraneOf,
    condition: IfMatch,
) -> Result<Response, Failure> {
    change_by(&claims, &app, &arrival, brane, BraneChange::Delete, &condition).await
}

/// `POST /api/v1/brane/{id}/archive`.
async fn archive(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    BraneOf(brane): BraneOf,
    condition: IfMatch,
    payload: Payload,
) -> Result<Response, Failure> {
    let ArchiveBrane { successor } = body_or_default(&app, &payload)?;
    let change = BraneChange::Archive { successor };
    change_by(&claims, &app, &arrival, brane, change, &condition).await
}

/// `POST /api/v1/brane/{id}/restore`.
async fn restore(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    BraneOf(brane): BraneOf,
    condition: IfMatch,
) -> Result<Response, Failure> {
    change_by(&claims, &app, &arrival, brane, BraneChange::Restore, &condition).await
}

/// [`change_brane`] at the wish of a user, within the user's rate.
async fn change_by(
    claims: &Claims,
    app: &App,
    arrival: &Arrival,
    brane: BraneId,
    change: BraneChange,
    condition: &IfMatch,
) -> Result<Response, Failure> {
    app.system.account(claims).take(Verb::Create)?;
    change_brane(app, arrival, brane, Author::User(claims), change, condition).await
}

/// Changes a brane's record, has searches find it as it is then, and shows it.
pub(super) async fn change_brane(
    app: &App,
    arrival: &Arrival,
    brane: BraneId,
    author: Author<'_>,
    change: BraneChange,
    condition: &IfMatch,
) -> Result<Response, Failure> {
    let is_expected = |version| condition.check(version).is_ok();
    let changed = app.system.change_brane(brane, author, change, is_expected).await;
    let record = changed.map_err(|denied| match denied.code {
        Code::Malformed => Failure::from(denied).details(
            "name: 1 to 256 bytes; description: up to 4,096; tags: up to 16 without spaces; \
             successor: another active brane",
        ),
        _ => denied.into(),
    })?;
    list_brane(app, &record).await;
    Ok(arrival.versioned(StatusCode::OK, record.version, &brane_body(&record)))
}

/// `POST /api/v1/brane`. Repeating a request with an id of the client's own
/// answers 200 with the brane that is there, 201 when it was not.
pub(super) async fn create(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    payload: Payload,
) -> Result<Response, Failure> {
    let record = new_record(body(&app, &payload)?, &claims, || arrival.draw("brane"))?;
    app.system.account(&claims).take(Verb::Create)?;
    // Asked first, since a store takes the same record twice without a word.
    let (status, record) = match existing(&app, &record, &claims).await? {
        Some(record) => (StatusCode::OK, record),
        None => match app.system.create_brane(record.clone()).await {
            Ok(()) => (StatusCode::CREATED, record),
            // The same request was under way twice, or the id is taken.
            Err(Code::Exists) => {
                let there = existing(&app, &record, &claims).await?;
                (StatusCode::OK, there.ok_or(Code::Exists)?)
            }
            Err(code) => return Err(code.into()),
        },
    };
    made(&app, &arrival, status, &record).await
}

/// Answers with a brane that was made: from now on it is found by who may find
/// it.
pub(super) async fn made(
    app: &App,
    arrival: &Arrival,
    status: StatusCode,
    record: &BraneRecord,
) -> Result<Response, Failure> {
    list_brane(app, record).await;
    let mut response = arrival.versioned(status, record.version, &brane_body(record));
    // A path of ASCII is a header's value; it cannot fail.
    if let Ok(path) = HeaderValue::try_from(format!("/api/v1/brane/{}", record.id)) {
        response.headers_mut().insert(header::LOCATION, path);
    }
    Ok(response)
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    pub(super) state: Option<String>,
}

/// `GET /api/v1/brane`.
pub(super) async fn list(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    page: Page<String>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Failure> {
    let malformed = |details: String| Failure::new(Code::Malformed).details(details);
    let Query(wanted) = wanted.map_err(|error| malformed(error.body_text()))?;
    let filter = filter_of(wanted.state.as_deref(), claims.user)?;
    let after = page.after.as_deref().map(read_cursor).transpose()?;
    let limit = page.limit(app.config.max_page_items)?;
    app.system.account(&claims).take(Verb::Page)?;
    let mut found = app.system.branes(filter, after, limit).await?;
    if filter == BraneFilter::VisibleTo(claims.user) {
        found = merge(found, invited(&app, &claims, after, limit).await?, limit);
    }
    let body = BranePage {
        branes: found.branes.iter().map(brane_body).collect(),
        next: found.next.map(write_cursor),
    };
    Ok(arrival.reply(StatusCode::OK, &body))
}

/// The listing of what is in this state, for this user.
pub(super) fn filter_of(state: Option<&str>, user: UserId) -> Result<BraneFilter, Failure> {
    match state {
        None | Some("active") => Ok(BraneFilter::VisibleTo(user)),
        Some("archived") => Ok(BraneFilter::ArchivedOf(user)),
        Some("deleted") => Ok(BraneFilter::DeletedOf(user)),
        Some(_) => Err(Failure::new(Code::Malformed).details("state: active, archived or deleted")),
    }
}

/// Of the branes in which the caller has a role those that listings do not show
/// to everyone.
async fn invited(
    app: &App,
    claims: &Claims,
    after: Option<BraneCursor>,
    limit: u32,
) -> Result<Found, Failure> {
    let places = app.catalog.memberships(claims.user, after, limit, unix_ms()).await?;
    let next = places.last().copied().filter(|_| places.len() >= limit as usize);
    let is_hidden = |record: &BraneRecord| {
        record.life == Life::Active && !BraneFilter::VisibleTo(claims.user).shows(record)
    };
    let ids: Vec<_> = places.iter().map(|place| place.id).collect();
    let mut branes = app.system.any_branes(&ids).await?;
    branes.retain(is_hidden);
    Ok(Found { branes, next })
}

/// Two listings as one, in the order of both.
fn merge(one: Found, other: Found, limit: u32) -> Found {
    // Beyond the nearer end the page that has it does not know what comes.
    let end = one.next.into_iter().chain(other.next).min();
    let is_known = |record: &BraneRecord| end.is_none_or(|end| record.cursor() <= end);
    let mut branes: Vec<_> = one.branes.into_iter().chain(other.branes).filter(is_known).collect();
    branes.sort_by_key(BraneRecord::cursor);
    let is_cut = branes.len() > limit as usize;
    branes.truncate(limit as usize);
    let last = branes.last().map(BraneRecord::cursor);
    Found { next: if is_cut { last } else { end }, branes }
}

/// `GET /api/v1/brane/{id}`.
pub(super) async fn read(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    BraneOf(brane): BraneOf,
) -> Result<Response, Failure> {
    let record = app.system.brane(brane, &claims).await?;
    Ok(arrival.versioned(StatusCode::OK, record.version, &brane_body(&record)))
}

/// The brane that was asked for, if it is there already.
///
/// # Errors
/// `exists` when another one has its id.
async fn existing(
    app: &App,
    wanted: &BraneRecord,
    claims: &Claims,
) -> Result<Option<BraneRecord>, Failure> {
    match app.system.brane(wanted.id, claims).await {
        Ok(record) => {
            let same = BraneRecord { created_ms: record.created_ms, ..wanted.clone() } == record;
            if same { Ok(Some(record)) } else { Err(Code::Exists.into()) }
        }
        // Or it is not for this user to know; then creating it fails.
        Err(Code::NotFound) => Ok(None),
        Err(code) => Err(code.into()),
    }
}

pub(super) fn new_record(
    asked: CreateBrane,
    claims: &Claims,
    draw: impl FnOnce() -> Uuid,
) -> Result<BraneRecord, Failure> {
    if claims.role == Role::Visitor {
        return Err(Failure::new(Code::Forbidden).details("a visitor's token creates no branes"));
    }
    let CreateBrane { id, name, kind, visibility, cell_size } = asked;
    let malformed = |details: &str| Failure::new(Code::Malformed).details(details);
    let id = id.unwrap_or_else(|| BraneId::new(draw()));
    if id.uuid().get_version_num() != 4 || id.uuid().get_variant() != Variant::RFC4122 {
        return Err(malformed("id: a UUID of version 4"));
    }
    if !is_name(&name) {
        return Err(malformed("name: 1 to 256 bytes without control characters"));
    }
    let kind = kind_of(&kind)?;
    let grid = cell_size.map_or_else(|| Some(Grid::default()), Grid::of_metres);
    let grid = grid.ok_or_else(|| malformed("cell_size: 0.1 to 10,000 metres"))?;
    let (owner, created_ms) = (claims.user, unix_ms());
    Ok(BraneRecord { name, kind, visibility, grid, ..BraneRecord::new(id, owner, created_ms) })
}

fn kind_of(name: &str) -> Result<BraneKind, Failure> {
    let details = "kind: personal, showcase, rental or public";
    BraneKind::from_name(name).ok_or_else(|| Failure::new(Code::Malformed).details(details))
}

pub(super) fn brane_body(record: &BraneRecord) -> BraneBody {
    let (since_ms, purge_ms, successor) = match record.life {
        Life::Active => (None, None, None),
        Life::Archived { since_ms, successor } => (Some(since_ms), None, successor),
        Life::Doomed { since_ms, purge_ms } => (Some(since_ms), Some(purge_ms), None),
        Life::Purging { since_ms } | Life::Purged { since_ms } => (Some(since_ms), None, None),
    };
    BraneBody {
        id: record.id,
        name: record.name.clone(),
        owner: record.owner,
        kind: record.kind.name().to_owned(),
        visibility: record.visibility,
        timestamp: record.created_ms / 1_000,
        description: record.description.clone(),
        tags: record.tags.clone(),
        life: record.life.name().to_owned(),
        since: since_ms.map(|ms| ms / 1_000),
        purge_from: purge_ms.map(|ms| ms / 1_000),
        successor,
        by_operator: record.by_operator,
        version: record.version,
    }
}

pub(super) fn write_cursor(cursor: BraneCursor) -> String {
    format!("{}-{}", cursor.created_ms, cursor.id)
}

pub(super) fn read_cursor(text: &str) -> Result<BraneCursor, Failure> {
    let parse = || {
        let (created_ms, id) = text.split_once('-')?;
        Some(BraneCursor { created_ms: created_ms.parse().ok()?, id: id.parse().ok()? })
    };
    parse().ok_or_else(|| Failure::new(Code::Malformed).details("after: the `next` of a page"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use avvy_model::label::MAX_NAME_BYTES;
    use avvy_model::{UserId, Visibility};

    use super::*;

    fn claims(role: Role) -> Claims {
        Claims {
            user: UserId::new(Uuid::from_u128(1)),
            role,
            name: None,
            branes: Vec::new(),
            session: None,
            token: Uuid::from_u128(2),
            issued_s: 0,
            expires_s: 1,
        }
    }

    fn record(asked: CreateBrane, claims: &Claims) -> Result<BraneRecord, Failure> {
        new_record(asked, claims, || Uuid::from_u128(0x4000_8000_0000_0000_0009))
    }

    fn asked(name: &str, kind: &str) -> CreateBrane {
        let visibility = Visibility::Public;
        let (name, kind) = (name.to_owned(), kind.to_owned());
        CreateBrane { id: None, name, kind, visibility, cell_size: None }
    }

    #[test]
    fn a_cursor_comes_back_as_it_was() {
        let id = BraneId::new(Uuid::from_u128(0xab));
        for created_ms in [0, 1_763_951_234_567, u64::MAX] {
            let cursor = BraneCursor { created_ms, id };
            assert_eq!(read_cursor(&write_cursor(cursor)).unwrap(), cursor);
        }
        for text in ["", "-", "1", "1-", "-00000000-0000-0000-0000-0000000000ab", "x-y", "1-ab"] {
            assert_eq!(read_cursor(text).unwrap_err().code(), Code::Malformed, "{text}");
        }
    }

    fn found(created_ms: &[u64], next: Option<u64>) -> Found {
        let place = |created_ms| BraneCursor { created_ms, id: BraneId::new(Uuid::nil()) };
        let public = record(asked("Hall", "public"), &claims(Role::Builder)).unwrap();
        let at = |ms: &u64| BraneRecord { id: place(*ms).id, created_ms: *ms, ..public.clone() };
        Found { branes: created_ms.iter().map(at).collect(), next: next.map(place) }
    }

    #[test]
    fn two_listings_are_one_without_holes() {
        let merged = |one: &[u64], next, other: &[u64], other_next| {
            let Found { branes, next } = merge(found(one, next), found(other, other_next), 3);
            (branes.iter().map(|b| b.created_ms).collect::<Vec<_>>(), next.map(|n| n.created_ms))
        };
        assert_eq!(merged(&[1, 5], None, &[3], None), (vec![1, 3, 5], None));
        assert_eq!(merged(&[1, 5], None, &[3, 4], None), (vec![1, 3, 4], Some(4)));
        // What comes after 4 the one does not know.
        assert_eq!(merged(&[1, 4], Some(4), &[3, 9], None), (vec![1, 3, 4], Some(4)));
        assert_eq!(merged(&[1, 2, 3], Some(3), &[8], Some(8)), (vec![1, 2, 3], Some(3)));
        // A page of which nothing is shown.
        assert_eq!(merged(&[], None, &[], Some(6)), (vec![], Some(6)));
    }

    #[test]
    fn a_new_brane_belongs_to_the_caller() {
        let record = record(asked("Hall", "showcase"), &claims(Role::Builder)).unwrap();
        assert_eq!(record.owner, claims(Role::Builder).user);
        assert_eq!((record.kind, record.visibility), (BraneKind::Showcase, Visibility::Public));
        assert_eq!(record.id.uuid().get_version_num(), 4);
    }

    #[test]
    fn refuses_what_no_brane_can_be() {
        let long = "n".repeat(MAX_NAME_BYTES + 1);
        for (name, kind) in [("", "public"), (" ", "public"), ("a\nb", "public"), ("a", "castle")] {
            let refused = record(asked(name, kind), &claims(Role::Owner)).unwrap_err();
            assert_eq!(refused.code(), Code::Malformed, "{name:?} {kind:?}");
        }
        assert!(record(asked(&long, "public"), &claims(Role::Owner)).is_err());
        assert!(record(asked(&long[1..], "public"), &claims(Role::Owner)).is_ok());
        let own_id = CreateBrane { id: Some(BraneId::new(Uuid::nil())), ..asked("a", "public") };
        assert_eq!(record(own_id, &claims(Role::Owner)).unwrap_err().code(), Code::Malformed);
        for size in [0.0, 0.09, 10_000.1, -16.0, f64::NAN, f64::INFINITY] {
            let sized = CreateBrane { cell_size: Some(size), ..asked("a", "public") };
            let refused = record(sized, &claims(Role::Owner)).unwrap_err();
            assert_eq!(refused.code(), Code::Malformed, "cells of {size} m");
        }
        let visitor = record(asked("a", "public"), &claims(Role::Visitor)).unwrap_err();
        assert_eq!(visitor.code(), Code::Forbidden);
    }
}
