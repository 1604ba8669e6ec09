//! Who asks.

use std::convert::Infallible;
use std::sync::Arc;

use avvy_auth::Claims;
use avvy_model::Code;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::AsHeaderName;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use super::{App, Failure};

/// The token of the `Authorization` header, if it holds one.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = only_one(headers, header::AUTHORIZATION)?;
    avvy_auth::bearer(value.as_bytes()).ok()
}

/// The value of a header that comes once. Of several, who has passed the request
/// on may have looked at another one.
pub(super) fn only_one(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Lets through who has a token that counts, and says to the route who it is.
pub(super) async fn authenticate(
    State(app): State<App>,
    mut request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let caller = verify(&app, request.headers()).await?;
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

async fn verify(app: &App, headers: &HeaderMap) -> Result<Caller, Failure> {
    let token = bearer(headers).ok_or(Code::NotAuthenticated)?;
    Ok(Caller(Arc::new(app.verify(token).await?)))
}

/// Whether there is a token that counts, where anyone may ask.
pub(super) struct Token(pub(super) Result<Caller, Failure>);

impl FromRequestParts<App> for Token {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        Ok(Self(verify(app, &parts.headers).await))
    }
}

/// Whose token it is. Only behind [`authenticate`].
#[derive(Clone)]
pub(super) struct Caller(pub(super) Arc<Claims>);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        // Without it the route would be open: fail closed.
        parts.extensions.get::<Self>().cloned().ok_or(Code::NotAuthenticated.into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn finds_the_token() {
        let mut headers = HeaderMap::new();
        assert_eq!(bearer(&headers), None);
        headers.insert(header::AUTHORIZATION, "Basic eDp5".parse().unwrap());
        assert_eq!(bearer(&headers), None);
        headers.insert(header::AUTHORIZATION, "bearer a.b.c".parse().unwrap());
        assert_eq!(bearer(&headers), Some("a.b.c"));
    }
}
