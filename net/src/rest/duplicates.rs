//! `POST /api/v1/brane/{id}/duplicate`: a brane of one's own with all that is in
//! another.

use avvy_actors::{BraneRecord, Duplicate, Life, Verb};
use avvy_auth::Claims;
use avvy_model::{ClientId, Code};
use avvy_protocol::rest::{BraneBody, CreateBrane, DuplicateBrane};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use uuid::Uuid;

use super::auth::Caller;
use super::body::{BraneOf, Payload, body_or_default};
use super::branes::{made, new_record};
use super::edge::Arrival;
use super::route::{ASKING_A_BRANE, Route};
use super::{App, Failure};

/// Under these an id is drawn, one after the other: what was begun under one
/// and cut off is in the way of a second try until it is purged, and its
/// tombstone for good.
const TRIES: [&str; 3] = ["duplicate", "duplicate 2", "duplicate 3"];

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post("/brane/{id}/duplicate", duplicate, "Makes a brane with all that is in this.")
            .may_take::<DuplicateBrane>()
            .answers::<BraneBody>(StatusCode::CREATED, "It was made; `Location` is its path.")
            .answers::<BraneBody>(StatusCode::OK, "This very copy was made before.")
            .fails(ASKING_A_BRANE)
            .fails(&[Code::Forbidden, Code::NotPermitted, Code::Exists, Code::TooManyBranes])
            .tagged(),
    ]
}

async fn duplicate(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    BraneOf(source): BraneOf,
    payload: Payload,
) -> Result<Response, Failure> {
    let DuplicateBrane { id, name, kind, visibility } = body_or_default(&app, &payload)?;
    app.system.account(&claims).take(Verb::Create)?;
    let of = app.system.brane(source, &claims).await?;
    let name = name.unwrap_or(of.name);
    let asked = CreateBrane { id, name, kind, visibility, cell_size: None };
    let tries = if id.is_some() { &TRIES[..1] } else { &TRIES };
    for purpose in tries {
        let record = new_record(asked.clone(), &claims, || arrival.draw(purpose))?;
        if let Some(there) = existing(&app, &record, &claims).await? {
            return made(&app, &arrival, StatusCode::OK, &there).await;
        }
        let duplicate = Duplicate {
            record: record.clone(),
            key: Uuid::new_v4().into_bytes(),
            client: ClientId::new(Uuid::new_v4()),
            trace: arrival.trace,
        };
        match app.system.duplicate(source, &claims, duplicate).await {
            Ok(record) => return made(&app, &arrival, StatusCode::CREATED, &record).await,
            Err(denied) if denied.code == Code::Exists => {
                // The same request was under way twice, or the id is taken.
                if let Some(there) = existing(&app, &record, &claims).await? {
                    return made(&app, &arrival, StatusCode::OK, &there).await;
                }
            }
            Err(denied) => return Err(denied.into()),
        }
    }
    Err(Code::Exists.into())
}

/// The copy, if it was made before.
///
/// # Errors
/// `exists` when another brane has its id.
async fn existing(
    app: &App,
    wanted: &BraneRecord,
    claims: &Claims,
) -> Result<Option<BraneRecord>, Failure> {
    let asked = |record: &BraneRecord| {
        let BraneRecord { owner, name, kind, visibility, .. } = record.clone();
        (owner, name, kind, visibility)
    };
    match app.system.brane(wanted.id, claims).await {
        Ok(record) if record.life != Life::Active => Ok(None),
        Ok(record) if asked(&record) == asked(wanted) => Ok(Some(record)),
        Ok(_) => Err(Code::Exists.into()),
        // Or it is not for this user to know, or was not finished; then making it
        // fails.
        Err(Code::NotFound) => Ok(None),
        Err(code) => Err(code.into()),
    }
}
