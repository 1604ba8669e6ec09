//! `GET /.well-known/jwks.json`: the public keys of tokens.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::App;
use super::route::Route;

/// A copy may be kept for an hour; a key is published for a day before it
/// signs (`avvy_auth::PUBLISH_LEAD_S`), so whoever keeps to that has it.
const CACHE: &str = "public, max-age=3600";

pub(super) fn routes() -> Vec<Route> {
    let about = "The public keys of tokens.";
    vec![
        Route::probe("/.well-known/jwks.json", keys, about)
            .shows("application/jwk-set+json", "A JWK Set (RFC 7517)."),
    ]
}

/// JSON also for whoever accepts CBOR: it is for other programs, by a standard
/// (RFC 7517) that knows no other form.
pub(super) async fn keys(State(app): State<App>) -> impl IntoResponse {
    let headers =
        [(header::CONTENT_TYPE, "application/jwk-set+json"), (header::CACHE_CONTROL, CACHE)];
    (headers, app.system.jwks())
}
