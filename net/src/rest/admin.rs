//! `/api/v1/admin`: for operators, by the token of the configuration.

use avvy_auth::Revocation;
use avvy_model::{Code, UserId};
use avvy_protocol::rest::{OpenBraneBody, RevokedBody, StatusBody};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::body::Named;
use super::edge::{Arrival, take_requests};
use super::route::Route;
use super::{App, Failure};
use crate::time::unix_ms;

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

/// Their sessions are closed at once here, and within a second elsewhere.
async fn sign_out(
    State(app): State<App>,
    arrival: Arrival,
    Named(user): Named,
) -> Result<Response, Failure> {
    let user: UserId = user.parse().map_err(|_| Code::NotFound)?;
    let issued_s = unix_ms() / 1_000 + 1;
    let until = app.system.revoke(Revocation::Before { user, issued_s }).await?;
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
    let Some(given) = request.headers().get(HEADER) else {
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
