//! Bodies and parameters of requests.

use std::sync::Arc;

use avvy_model::{BraneId, Code};
use avvy_protocol::rest::{self, Format};
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use bytes::Bytes;
use http_body_util::BodyExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;

use super::edge::Arrival;
use super::negotiate::body_format;
use super::{App, Failure};

/// A whole body and its form. Cloning shares it.
#[derive(Clone)]
pub(super) struct Payload {
    pub(super) bytes: Bytes,
    pub(super) format: Format,
    /// Its share of [`crate::NetConfig::max_bodies_bytes`].
    _share: Option<Arc<OwnedSemaphorePermit>>,
}

impl FromRequest<App> for Payload {
    type Rejection = Failure;

    /// # Errors
    /// 415, 413 (without reading on), 408 when it does not come in time, 400
    /// when it breaks off, 503 when bodies under way have all the memory that
    /// they may.
    async fn from_request(request: Request, app: &App) -> Result<Self, Failure> {
        let (mut parts, body) = request.into_parts();
        // It was read already, to see whether the request comes again.
        if let Some(payload) = parts.extensions.remove::<Self>() {
            return Ok(payload);
        }
        let arrival = Arrival::from_request_parts(&mut parts, app).await?;
        let format = body_format(&parts.headers)?;
        let is_coded = |coding: &HeaderValue| !coding.as_bytes().eq_ignore_ascii_case(b"identity");
        if parts.headers.get_all(header::CONTENT_ENCODING).iter().any(is_coded) {
            let failure = Failure::new(Code::UnsupportedMediaType);
            return Err(failure.details("Content-Encoding: none is undone"));
        }
        let max_bytes = app.config.max_body_bytes;
        if stated_length(&parts.headers).is_some_and(|length| length > max_bytes as u64) {
            return Err(too_large(max_bytes));
        }
        let whole = timeout_at(arrival.deadline, whole(body, max_bytes, &app.bodies)).await;
        let (bytes, share) = whole.unwrap_or_else(|_| {
            Err(Failure::new(Code::Timeout)
                .status(StatusCode::REQUEST_TIMEOUT)
                .details("the body did not come in time"))
        })?;
        Ok(Self { bytes: bytes.into(), format, _share: share.map(Arc::new) })
    }
}

/// Bytes of a chunk of a body below which it is small.
const SMALL_CHUNK: usize = 64;

/// Small chunks that a body may come in. Each costs about as much time as a
/// kilobyte in one piece.
const MAX_SMALL_CHUNKS: u32 = 4_096;

/// Reads a body into one piece: kept as it comes, each byte that comes in a
/// chunk of its own would take the memory of forty.
async fn whole(
    mut body: Body,
    max_bytes: usize,
    bodies: &Arc<Semaphore>,
) -> Result<(Vec<u8>, Option<OwnedSemaphorePermit>), Failure> {
    let (mut bytes, mut share) = (Vec::new(), None::<OwnedSemaphorePermit>);
    let mut small_chunks = 0;
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|_| Failure::new(Code::Malformed).details("the body broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > max_bytes {
            return Err(too_large(max_bytes));
        }
        small_chunks += u32::from(data.len() < SMALL_CHUNK);
        if small_chunks > MAX_SMALL_CHUNKS {
            return Err(Failure::new(Code::Malformed).details("too many small chunks"));
        }
        let more = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let more = Arc::clone(bodies).try_acquire_many_owned(more);
        let more = more.map_err(|_| Failure::new(Code::Unavailable))?;
        match &mut share {
            Some(share) => share.merge(more),
            none => *none = Some(more),
        }
        bytes.extend_from_slice(&data);
    }
    Ok((bytes, share))
}

fn too_large(max_bytes: usize) -> Failure {
    Failure::new(Code::TooLarge).details(format!("a body has at most {max_bytes} bytes"))
}

fn stated_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The brane of the path. What is no id names no brane.
pub(super) struct BraneOf(pub(super) BraneId);

impl FromRequestParts<App> for BraneOf {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let id = Path::<String>::from_request_parts(parts, app).await.ok();
        let brane = id.and_then(|Path(id)| id.parse().ok());
        brane.map(Self).ok_or(Code::NotFound.into())
    }
}

/// The one name in a path. What is no text names nothing.
pub(super) struct Named(pub(super) String);

impl FromRequestParts<App> for Named {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let name = Path::<String>::from_request_parts(parts, app).await.ok();
        name.map(|Path(name)| Self(name)).ok_or(Code::NotFound.into())
    }
}

/// Which page of a list.
#[derive(Deserialize)]
pub(super) struct Page<T> {
    /// Where the page before ended.
    pub(super) after: Option<T>,
    limit: Option<u32>,
}

impl<T> Page<T> {
    /// How many to show, of at most `max`.
    ///
    /// # Errors
    /// `malformed` for 0.
    pub(super) fn limit(&self, max: u32) -> Result<u32, Failure> {
        match self.limit {
            Some(0) => Err(Failure::new(Code::Malformed).details("limit: at least 1")),
            Some(limit) => Ok(limit.min(max)),
            None => Ok(max.min(DEFAULT_LIMIT)),
        }
    }
}

/// Entries of a page when the request does not say.
const DEFAULT_LIMIT: u32 = 100;

impl<T: DeserializeOwned> FromRequestParts<App> for Page<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        match Query::from_request_parts(parts, app).await {
            Ok(Query(page)) => Ok(page),
            Err(rejection) => Err(Failure::new(Code::Malformed).details(rejection.body_text())),
        }
    }
}

/// The body of a request.
pub(super) fn body<T: DeserializeOwned>(app: &App, payload: &Payload) -> Result<T, Failure> {
    Ok(rest::decode(&payload.bytes, payload.format, app.config.max_body_bytes)?)
}

/// The same, which may be left out.
pub(super) fn body_or_default<T: DeserializeOwned + Default>(
    app: &App,
    payload: &Payload,
) -> Result<T, Failure> {
    if payload.bytes.is_empty() { Ok(T::default()) } else { body(app, payload) }
}
