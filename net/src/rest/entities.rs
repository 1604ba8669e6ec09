//! `/api/v1/entity/search`: what is public, by words and tags.

use avvy_actors::{BraneRecord, Verb};
use avvy_auth::Claims;
use avvy_catalog::{
    Found, FoundKind, Label, ListedBrane, MAX_QUESTION_BYTES, MAX_TAG_BYTES, Question,
};
use avvy_model::{BraneId, Code, ObjectId, Visibility};
use avvy_protocol::rest::{ThingBody, ThingPage};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use tracing::warn;

use super::auth::Caller;
use super::body::Page;
use super::edge::Arrival;
use super::route::{AFTER, Kind, LIMIT, Param, Route};
use super::things::cursor;
use super::{App, Failure};
use crate::time::unix_s;

const PARAMS: &[Param] = &[
    Param {
        name: "q",
        meaning: "Up to 8 words; each begins a word of the name, the tags or the description.",
        kind: Kind::Text(MAX_QUESTION_BYTES),
    },
    Param { name: "tag", meaning: "A tag, in any case.", kind: Kind::Text(MAX_TAG_BYTES) },
    Param {
        name: "kind",
        meaning: "Only what is of this kind.",
        kind: Kind::OneOf(&["prototype", "group", "block", "brane"]),
    },
    AFTER,
    LIMIT,
];

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/entity/search", search, "Searches for what is public.")
            .reads(PARAMS)
            .answers::<ThingPage>(StatusCode::OK, "A page; without `next` the last one.")
            .fails(&[Code::Damaged]),
    ]
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    q: String,
    tag: Option<String>,
    kind: Option<String>,
}

async fn search(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    page: Page<String>,
    wanted: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Failure> {
    let malformed = |details: &str| Failure::new(Code::Malformed).details(details);
    let wanted = wanted.map_err(|error| malformed(&error.body_text()))?;
    let Query(Wanted { q, tag, kind }) = wanted;
    let of = |kind: String| {
        let is_none = || malformed("kind: prototype, group, block or brane");
        FoundKind::from_name(&kind).ok_or_else(is_none)
    };
    let question = Question { text: q, tag, kind: kind.map(of).transpose()? };
    let (after, limit) = (cursor(&page)?, page.limit(app.config.max_page_items)?);
    app.system.account(&claims).take(Verb::Page)?;
    let found = app.catalog.search(&question, after, limit, unix_s()).await?;
    let mut things = Vec::with_capacity(found.found.len());
    for found in found.found {
        if is_public(&app, &claims, &found).await {
            things.push(found_body(found));
        }
    }
    let body = ThingPage { things, next: found.next.map(|next| next.to_text()) };
    Ok(arrival.reply(StatusCode::OK, &body))
}

/// Whether it is what was found. A brane is not changed in one commit with what
/// is found of it, so it has the last word.
async fn is_public(app: &App, claims: &Claims, found: &Found) -> bool {
    if found.kind != FoundKind::Brane {
        return true;
    }
    let brane = app.system.brane(BraneId::new(found.id), claims).await;
    brane.is_ok_and(|brane| ListedBrane::from(&brane).is_listed)
}

/// Has searches find a brane as it is now. The brane is there already, so a
/// failure here is for the log.
pub(super) async fn list_brane(app: &App, record: &BraneRecord) {
    if let Err(refused) = app.catalog.list_brane(record.into(), unix_s()).await {
        warn!(brane = %record.id, code = %refused.code, "searches do not find a brane as it is");
    }
}

fn found_body(found: Found) -> ThingBody {
    let Found { kind, id, owner, label, changed_s } = found;
    let Label { name, description, tags } = label;
    ThingBody {
        kind: kind.name().to_owned(),
        id: ObjectId::new(id),
        owner,
        name,
        description,
        tags,
        visibility: Visibility::Public,
        version: None,
        timestamp: changed_s,
    }
}
