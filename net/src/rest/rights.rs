//! `/api/v1/brane/{id}/rights`: who may do what, and the rulings that change it.

use avvy_actors::{Verb, View};
use avvy_auth::{Claims, principal};
use avvy_model::{Code, CustomRole, Edit, Ruled, UserId, Verbs};
use avvy_protocol::rest::{
    GrantBody, RightsBody, RightsTable, RoleBody, RulingBody, SanctionBody, StandingBody,
    SubmitEdits, SubmitResponse, verb_names,
};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::auth::Caller;
use super::body::{BraneOf, Payload};
use super::edge::Arrival;
use super::edits::{read, write};
use super::route::Route;
use super::{App, Failure};
use crate::time::unix_ms;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/brane/{id}/rights", list, "What the caller may do; who governs sees all.")
            .answers::<RightsBody>(StatusCode::OK, "The rights as they are now.")
            .fails(&[Code::Banned, Code::Damaged, Code::Moved]),
        Route::post("/brane/{id}/rights", rule, "Rules over rights, and waits until it lasts.")
            .unkeyed()
            .takes::<SubmitEdits>()
            .answers::<SubmitResponse>(StatusCode::OK, "What became of each ruling.")
            .fails(&[
                Code::Banned,
                Code::ClientTaken,
                Code::ClientUnknown,
                Code::Damaged,
                Code::Moved,
            ]),
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
    let (record, rights) = (&view.record, view.world.rights());
    let principal = principal(claims, record.id, record.owner, record.visibility);
    let verbs = rights.verbs(&principal);
    let governs = verbs.contains(avvy_model::Verb::Govern);
    RightsBody {
        role: rights.role_of(claims.user).to_string(),
        verbs: verb_names(verbs),
        grants: rights.grants_of(claims.user, now_ms).map(GrantBody::from).collect(),
        mute: rights.mute(claims.user, now_ms).map(SanctionBody::from),
        table: governs.then(|| table(view)),
    }
}

fn table(view: &View) -> RightsTable {
    let rights = view.world.rights();
    let role = |(name, verbs): (&CustomRole, Verbs)| RoleBody {
        role: name.as_str().to_owned(),
        verbs: verb_names(verbs),
    };
    let rulings = rights.rulings().map(|ruling| {
        let (changed, name, user) = change(&ruling.ruled);
        let (seq, at_ms, by) = (ruling.seq.0, ruling.at_ms, ruling.by);
        RulingBody { seq, at_ms, by, changed: changed.to_owned(), name, user }
    });
    RightsTable {
        everybody: rights.everybody().to_string(),
        roles: rights.roles().map(role).collect(),
        people: rights.standings().map(|(user, told)| StandingBody::new(user, told)).collect(),
        grants: rights.grants().map(GrantBody::from).collect(),
        rulings: rulings.collect(),
    }
}

/// What a ruling changed: of which kind, by name, and whom it concerns.
fn change(ruled: &Ruled) -> (&'static str, Option<String>, Option<UserId>) {
    match ruled {
        Ruled::Everybody { after, .. } => ("everybody", Some(after.to_string()), None),
        Ruled::Role { name, .. } => ("role", Some(name.as_str().to_owned()), None),
        Ruled::Standing { user, .. } => ("standing", None, Some(*user)),
        Ruled::Granted(grant) => ("granted", Some(grant.id.to_string()), Some(grant.to)),
        Ruled::Revoked(grant) => ("revoked", Some(grant.id.to_string()), Some(grant.to)),
    }
}
