//! `/api/v1/admin`: for operators, by the token of the configuration.

use avvy_actors::{Author, BraneChange};
use avvy_model::{Code, UserId};
use avvy_protocol::rest::{ArchiveBrane, BraneBody, OpenBraneBody, RevokedBody, StatusBody};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::auth::only_one;
use super::body::{BraneOf, Named, Payload, body_or_default};
use super::branes::{CHANGE, brane_body, change_brane};
use super::conditional::IfMatch;
use super::edge::{Arrival, take_requests};
use super::route::{Match, Route};
use super::{App, Failure};
use crate::time::unix_s;

const HEADER: &str = "x-admin-token";

/// So many requests of its address's rate a wrong token costs, so that nobody
/// tries many.
const COST_OF_FAILURE: u64 = 200;

/// The most open branes that are told one by one.
const MAX_BRANES: usize = 1_000;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/admin/status", status, "What the server has open and owes.")
            .admin()
            .answers::<StatusBody>(StatusCode::OK, "As it is now."),
        Route::get("/admin/brane/{id}", read_brane, "A brane, whatever has become of it.")
            .admin()
            .tagged()
            .answers::<BraneBody>(StatusCode::OK, "The brane.")
            .fails(&[Code::NotFound, Code::Damaged]),
        Route::post("/admin/brane/{id}/archive", archive, "Closes a brane to everybody.")
            .admin()
            .matched(Match::Accepted)
            .may_take::<ArchiveBrane>()
            .answers::<BraneBody>(StatusCode::OK, "The brane as it is now.")
            .fails(CHANGE),
        Route::post("/admin/brane/{id}/restore", restore, "Opens an archived or deleted brane.")
            .admin()
            .matched(Match::Accepted)
            .answers::<BraneBody>(StatusCode::OK, "The brane as it is now.")
            .fails(CHANGE)
            .fails(&[Code::TooManyBranes]),
        Route::post("/admin/users/{id}/sign-out", sign_out, "Ends all tokens of a user.")
            .admin()
            .answers::<RevokedBody>(StatusCode::OK, "Until when it is remembered."),
    ]
}

async fn status(State(app): State<App>, arrival: Arrival) -> Result<Response, Failure> {
    let status = app.system.status().await?;
    let open = status.branes.len();
    let mut branes = status.branes;
    // Those with the most sessions, if not all are told.
    branes.sort_by_key(|open| (std::cmp::Reverse(open.core.sessions), open.brane));
    let branes = branes.into_iter().take(MAX_BRANES).map(|open| OpenBraneBody {
        brane: open.brane,
        visibility: open.visibility,
        sessions: open.core.sessions as u64,
        objects: u64::from(open.core.objects),
    });
    let body = StatusBody {
        sessions: status.sessions as u64,
        open_branes: open as u64,
        branes: branes.collect(),
        revoked: status.revocations.revoked as u64,
        is_stopping: app.is_stopping(),
    };
    Ok(arrival.reply(StatusCode::OK, &body))
}

async fn read_brane(
    State(app): State<App>,
    arrival: Arrival,
    BraneOf(brane): BraneOf,
) -> Result<Response, Failure> {
    let record = app.system.any_brane(brane).await?;
    Ok(arrival.versioned(StatusCode::OK, record.version, &brane_body(&record)))
}

async fn archive(
    State(app): State<App>,
    arrival: Arrival,
    BraneOf(brane): BraneOf,
    condition: IfMatch,
    payload: Payload,
) -> Result<Response, Failure> {
    let ArchiveBrane { successor } = body_or_default(&app, &payload)?;
    let change = BraneChange::Archive { successor };
    change_brane(&app, &arrival, brane, Author::Operator, change, &condition).await
}

async fn restore(
    State(app): State<App>,
    arrival: Arrival,
    BraneOf(brane): BraneOf,
    condition: IfMatch,
) -> Result<Response, Failure> {
    let change = BraneChange::Restore;
    change_brane(&app, &arrival, brane, Author::Operator, change, &condition).await
}

/// Their sessions are closed at once here, and within a second elsewhere.
async fn sign_out(
    State(app): State<App>,
    arrival: Arrival,
    Named(user): Named,
) -> Result<Response, Failure> {
    let user: UserId = user.parse().map_err(|_| Code::NotFound)?;
    let now_s = unix_s();
    let until = app.identity.sign_out_before(user, now_s + 1, true, now_s).await?;
    Ok(arrival.reply(StatusCode::OK, &RevokedBody { until }))
}

/// What a token is compared by: of one length, whatever the token's.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct AdminToken([u8; 32]);

impl AdminToken {
    pub(crate) fn new(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    fn is(&self, token: &[u8]) -> bool {
        let given: [u8; 32] = Sha256::digest(token).into();
        self.0.ct_eq(&given).into()
    }
}

/// Lets through who has the operator's token. Where there is none, there is
/// nothing here.
pub(super) async fn only(
    State(app): State<App>,
    arrival: Arrival,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let Some(expected) = &app.admin_token else {
        return Err(Failure::new(Code::NotFound).details("there is no such path"));
    };
    let Some(given) = only_one(request.headers(), HEADER) else {
        return Err(Failure::new(Code::NotAuthenticated).details("X-Admin-Token is needed"));
    };
    if !expected.is(given.as_bytes()) {
        take_requests(&app, &arrival, COST_OF_FAILURE)?;
        return Err(Failure::new(Code::TokenInvalid).details("X-Admin-Token: another one"));
    }
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_will_do() {
        let token = AdminToken::new("0123456789abcdef0123456789abcdef");
        assert!(token.is(b"0123456789abcdef0123456789abcdef"));
        for other in ["", "0123456789abcdef0123456789abcdeF", "0123456789abcdef0123456789abcdef0"] {
            assert!(!token.is(other.as_bytes()));
        }
    }
}
