//! Bodies and parameters of requests.

use avvy_model::{BraneId, Code};
use avvy_protocol::rest::Format;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout_at;

use super::edge::Arrival;
use super::negotiate::body_format;
use super::{App, Failure};

/// A whole body and its form.
pub(super) struct Payload {
    pub(super) bytes: Bytes,
    pub(super) format: Format,
}

impl FromRequest<App> for Payload {
    type Rejection = Failure;

    /// # Errors
    /// 415, 413 (without reading on), 408 when it does not come in time, 400
    /// when it breaks off.
    async fn from_request(request: Request, app: &App) -> Result<Self, Failure> {
        let (mut parts, body) = request.into_parts();
        let arrival = Arrival::from_request_parts(&mut parts, app).await?;
        let format = body_format(&parts.headers)?;
        if parts.headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            let failure = Failure::new(Code::UnsupportedMediaType);
            return Err(failure.details("Content-Encoding: none is undone"));
        }
        let max_bytes = app.config.max_body_bytes;
        let too_large = || {
            Failure::new(Code::TooLarge).details(format!("a body has at most {max_bytes} bytes"))
        };
        if stated_length(&parts.headers).is_some_and(|length| length > max_bytes as u64) {
            return Err(too_large());
        }
        let body = timeout_at(arrival.deadline, Limited::new(body, max_bytes).collect()).await;
        match body {
            Ok(Ok(body)) => Ok(Self { bytes: body.to_bytes(), format }),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => Err(Failure::new(Code::Malformed).details("the body broke off")),
            Err(_) => Err(Failure::new(Code::Timeout)
                .status(StatusCode::REQUEST_TIMEOUT)
                .details("the body did not come in time")),
        }
    }
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
