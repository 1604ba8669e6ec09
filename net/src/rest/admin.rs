//! `/api/v1/admin`: for operators, by the token of the configuration.

use avvy_model::Code;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::edge::{Arrival, take_requests};
use super::{App, Failure};

const HEADER: &str = "x-admin-token";

/// So many requests of its address's rate a wrong token costs, so that nobody
/// tries many.
const COST_OF_FAILURE: u64 = 200;

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
