//! `/api/v1/brane/{id}/rights`: who may do what, and the rulings that change it.

use avvy_actors::{RulingRecord, Verb, View};
use avvy_auth::{Claims, principal};
use avvy_model::{Code, CustomRole, Edit, Verbs};
use avvy_protocol::rest::{
    GrantBody, RightsBody, RightsTable, RoleBody, RulingBody, RulingPage, SanctionBody,
    StandingBody, SubmitEdits, SubmitResponse, verb_names,
};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::auth::Caller;
use super::body::{BraneOf, Page, Payload};
use super::edge::Arrival;
use super::edits::{read, write};
use super::route::{AFTER, ASKING_A_BRANE, LIMIT, Route};
use super::things::cursor;
use super::{App, Failure};
use crate::time::{unix_ms, unix_s};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/brane/{id}/rights", list, "What the caller may do; who governs sees all.")
            .answers::<RightsBody>(StatusCode::OK, "The rights as they are now.")
            .fails(ASKING_A_BRANE),
        Route::get("/brane/{id}/rulings", history, "Who changed which right; for who governs.")
            .reads(&[AFTER, LIMIT])
            .answers::<RulingPage>(StatusCode::OK, "A page; without `next` the last one.")
            .fails(ASKING_A_BRANE)
            .fails(&[Code::Forbidden]),
        Route::post("/brane/{id}/rights", rule, "Rules over rights, and waits until it lasts.")
            .unkeyed()
            .takes::<SubmitEdits>()
            .answers::<SubmitResponse>(StatusCode::OK, "What became of each ruling.")
            .fails(ASKING_A_BRANE)
            .fails(&[Code::ClientTaken, Code::ClientUnknown]),
    ]
}

async fn list(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    BraneOf(brane): BraneOf,
) -> Result<Response, Failure> {
    let account = app.system.account(&claims);
    account.take(Verb::Page)?;
    // A table can have as many bytes as a page of objects.
    let _held = account.hold_page().ok_or(Code::RateLimited)?;
    let view = app.system.view(brane, &claims).await?;
    Ok(arrival.reply(StatusCode::OK, &body(&view, &claims, unix_ms())))
}

async fn history(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    BraneOf(brane): BraneOf,
    page: Page<String>,
) -> Result<Response, Failure> {
    let (after, limit) = (cursor(&page)?, page.limit(app.config.max_page_items)?);
    app.system.account(&claims).take(Verb::Page)?;
    let view = app.system.view(brane, &claims).await?;
    if !verbs(&view, &claims).contains(avvy_model::Verb::Govern) {
        return Err(Code::Forbidden.into());
    }
    let found = app.catalog.rulings(brane, after, limit, unix_s()).await?;
    let rulings = found.rulings.iter().map(ruling_body).collect();
    let body = RulingPage { rulings, next: found.next.map(|next| next.to_text()) };
    Ok(arrival.reply(StatusCode::OK, &body))
}

/// The rulings are edits, with numbers by which they are done once; other edits
/// are not for this route.
async fn rule(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    BraneOf(brane): BraneOf,
    payload: Payload,
) -> Result<Response, Failure> {
    let submitted = read(&app, &payload)?;
    if !submitted.edits.iter().all(|edit| matches!(edit.edit, Edit::Rule(_))) {
        let details = "edits: rulings only; other edits go to /edits";
        return Err(Failure::new(Code::Malformed).details(details));
    }
    write(&app, &claims, &arrival, brane, submitted).await
}

fn body(view: &View, claims: &Claims, now_ms: u64) -> RightsBody {
    let rights = view.world.rights();
    let verbs = verbs(view, claims);
    let governs = verbs.contains(avvy_model::Verb::Govern);
    RightsBody {
        role: rights.role_of(claims.user).to_string(),
        verbs: verb_names(verbs),
        grants: rights.grants_of(claims.user, now_ms).map(GrantBody::from).collect(),
        mute: rights.mute(claims.user, now_ms).map(SanctionBody::from),
        table: governs.then(|| table(view)),
    }
}

/// What the caller's role allows together with the token.
fn verbs(view: &View, claims: &Claims) -> Verbs {
    let record = &view.record;
    let principal = principal(claims, record.id, record.owner, record.visibility);
    view.world.rights().verbs(&principal)
}

fn table(view: &View) -> RightsTable {
    let rights = view.world.rights();
    let role = |(name, verbs): (&CustomRole, Verbs)| RoleBody {
        role: name.as_str().to_owned(),
        verbs: verb_names(verbs),
    };
    RightsTable {
        everybody: rights.everybody().to_string(),
        roles: rights.roles().map(role).collect(),
        people: rights.standings().map(|(user, told)| StandingBody::new(user, told)).collect(),
        grants: rights.grants().map(GrantBody::from).collect(),
        rulings: rights.rulings().map(ruling_body).collect(),
    }
}

fn ruling_body(ruling: &RulingRecord) -> RulingBody {
    RulingBody::new(ruling.seq, ruling.at_ms, ruling.by, &ruling.ruled)
}
