//! `Idempotency-Key`: a request that comes again is answered, not done again.
//!
//! The request is done in a task of its own, so it comes to its end, and that
//! is kept, also when the client does not wait for it.

use std::time::Duration;

use avvy_auth::Claims;
use avvy_identity::repeats::{Answered, Begun, Claim, RequestDigest};
use avvy_model::Code;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::time::timeout_at;
use tracing::warn;
use uuid::{Uuid, Variant};

use super::auth::Caller;
use super::body::Payload;
use super::edge::{Arrival, formed};
use super::{App, Failure};
use crate::config::REPEAT_GRACE_S;
use crate::time::unix_ms;

const KEY: &str = "idempotency-key";

/// Says of an answer that it is an earlier one.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The headers that belong to an answer.
const KEPT: [HeaderName; 4] =
    [header::CONTENT_TYPE, header::LOCATION, header::ETAG, header::CACHE_CONTROL];

/// How long the task of a request goes on after its client was answered that it
/// took too long.
const GRACE: Duration = Duration::from_secs(REPEAT_GRACE_S);

/// For routes of which a request may have a key.
pub(super) async fn accepted(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
    match key_of(request.headers())? {
        Some(key) => once(app, key, request, next).await,
        None => Ok(next.run(request).await),
    }
}

/// For routes of which a request has to have one.
pub(super) async fn required(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let key = key_of(request.headers())?.ok_or_else(|| {
        Failure::new(Code::Malformed).details("Idempotency-Key: a UUID of version 4 is required")
    })?;
    once(app, key, request, next).await
}

/// The key that a request has.
///
/// # Errors
/// `malformed` if it is no UUID of version 4, or there are several.
fn key_of(headers: &HeaderMap) -> Result<Option<Uuid>, Failure> {
    let mut values = headers.get_all(KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.to_str().ok().filter(|text| text.len() == 36);
    let key = key.and_then(|text| Uuid::try_parse(text).ok());
    let is_good = |key: &Uuid| key.get_version_num() == 4 && key.get_variant() == Variant::RFC4122;
    match (key.filter(is_good), values.next()) {
        (Some(key), None) => Ok(Some(key)),
        _ => {
            let details = "Idempotency-Key: one UUID of version 4";
            Err(Failure::new(Code::Malformed).details(details))
        }
    }
}

async fn once(app: App, key: Uuid, request: Request, next: Next) -> Result<Response, Failure> {
    let (mut parts, body) = request.into_parts();
    let Caller(claims) = Caller::from_request_parts(&mut parts, &app).await?;
    let arrival = Arrival::from_request_parts(&mut parts, &app).await?;
    let payload = Payload::from_request(Request::from_parts(parts.clone(), body), &app).await?;
    let digest = digest(&parts, &payload.bytes);
    let begun = app.repeats.begin(claims.user, key, digest, unix_ms() / 1_000).await?;
    let claim = match begun {
        Begun::First(claim) => claim,
        Begun::Answered(answered) => return replayed(answered),
        Begun::Different => return Err(Code::KeyReused.into()),
        Begun::InProgress => return Err(Code::InProgress.into()),
        Begun::TooMany { retry_after_s } => {
            let failure = Failure::new(Code::RateLimited).retry_after_ms(retry_after_s * 1_000);
            return Err(failure.details("so many keys are remembered for a user in a day"));
        }
    };
    let arrival = arrival.under(claims.user, key);
    parts.extensions.insert(arrival.clone());
    parts.extensions.insert(payload);
    let request = Request::from_parts(parts, Body::empty());
    let under_way = app.enter();
    let task = tokio::spawn(async move {
        let _under_way = under_way;
        let response = timeout_at(arrival.deadline + GRACE, next.run(request)).await;
        let response = response.unwrap_or_else(|_| Failure::new(Code::Timeout).into_response());
        finish(&app, &claims, &claim, response, &arrival).await
    });
    task.await.map_err(|_| Failure::new(Code::Internal))
}

/// What makes a request the same one: method, path and query, form and bytes of
/// the body, and the version that it is for.
fn digest(parts: &axum::http::request::Parts, body: &[u8]) -> RequestDigest {
    let header = |name| parts.headers.get(name).map(HeaderValue::as_bytes).unwrap_or_default();
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    let told = [
        parts.method.as_str().as_bytes(),
        target.as_bytes(),
        header(header::CONTENT_TYPE),
        header(header::IF_MATCH),
        body,
    ];
    let mut hash = Sha256::new();
    for part in told {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// Whether a request has come to an end that stays: what another try could
/// change is none.
fn is_final(status: StatusCode) -> bool {
    let may_change = matches!(
        status,
        StatusCode::UNAUTHORIZED
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::MISDIRECTED_REQUEST
            | StatusCode::TOO_MANY_REQUESTS
    );
    !may_change && !status.is_server_error()
}

/// Keeps an answer, or gives the key free. The client is told in any case.
async fn finish(
    app: &App,
    claims: &Claims,
    claim: &Claim,
    response: Response,
    arrival: &Arrival,
) -> Response {
    let now_s = unix_ms() / 1_000;
    let response = formed(app, response, arrival);
    if !is_final(response.status()) {
        if let Err(code) = app.repeats.give_up(claim, now_s).await {
            warn!(trace_id = %arrival.trace, user = %claims.user, %code, "a key stays claimed");
        }
        return response;
    }
    let (parts, body) = response.into_parts();
    // It is in memory already: no route that takes a key streams.
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return Failure::new(Code::Internal).into_response();
    };
    let kept = KEPT.iter().filter_map(|name| {
        let value = parts.headers.get(name)?.to_str().ok()?;
        Some((name.as_str().to_owned(), value.to_owned()))
    });
    let answered = Answered {
        status: parts.status.as_u16(),
        headers: kept.collect(),
        body: Some(body.clone()),
    };
    if let Err(code) = app.repeats.end(claim, answered, now_s).await {
        warn!(trace_id = %arrival.trace, user = %claims.user, %code, "an answer is not kept");
    }
    Response::from_parts(parts, Body::from(body))
}

/// An earlier answer, as it was.
fn replayed(answered: Answered) -> Result<Response, Failure> {
    let Answered { status, headers, body } = answered;
    let body: Bytes = body.ok_or_else(|| {
        let details = "it was done; its answer was too long to be kept";
        Failure::new(Code::KeyReused).details(details)
    })?;
    let status = StatusCode::from_u16(status).map_err(|_| Code::Damaged)?;
    let mut response = (status, body).into_response();
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}
