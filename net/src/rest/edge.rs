//! What every request goes through, whatever its path: it is counted, has to
//! be within its address's rate, gets its ids and a time by which it is
//! answered, and an error gets its form.

use std::net::{IpAddr, Ipv4Addr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use avvy_actors::Limit;
use avvy_identity::repeats::draw;
use avvy_model::{Code, TraceId, UserId};
use avvy_protocol::rest::{Format, encode};
use axum::body::HttpBody;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{self, HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::FutureExt;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tower_http::compression::predicate::Predicate;
use tracing::{debug, error};
use uuid::Uuid;

use super::conditional::{entity_tag, is_known, packed};
use super::negotiate::answer_format;
use super::trace::trace_of;
use super::{App, Failure};
use crate::addresses::Address;
use crate::listener::Peer;
use crate::time::{monotonic_ms, unix_ms};

const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// What is known of a request when it comes in.
#[derive(Clone)]
pub(super) struct Arrival {
    pub(super) trace: TraceId,
    /// The form of the answer.
    pub(super) format: Format,
    /// When it has to be answered.
    pub(super) deadline: Instant,
    /// From where.
    pub(super) address: Arc<Address>,
    /// What the answer need not repeat, if the request says so.
    known: Option<Arc<HeaderMap>>,
    /// Whose request it is, and its `Idempotency-Key`.
    key: Option<(UserId, Uuid)>,
}

impl Arrival {
    /// An answer with this body.
    pub(super) fn reply<T: Serialize>(&self, status: StatusCode, body: &T) -> Response {
        self.encoded(status, encode(body, self.format).into())
    }

    /// The same request of this user, under this key.
    pub(super) fn under(self, user: UserId, key: Uuid) -> Self {
        Self { key: Some((user, key)), ..self }
    }

    /// An id for what the request makes: the same one whenever it comes again
    /// under its key. `purpose` tells several apart.
    pub(super) fn draw(&self, purpose: &str) -> Uuid {
        match self.key {
            Some((user, key)) => draw(user, key, purpose),
            None => Uuid::new_v4(),
        }
    }

    /// An answer with this body, whose `ETag` names this version; 304 without
    /// it where the request names that, too.
    pub(super) fn versioned<T: Serialize>(
        &self,
        status: StatusCode,
        version: u64,
        body: &T,
    ) -> Response {
        let is_known = |known: &Arc<HeaderMap>| is_known(known, version, self.format);
        let mut response = match self.known.as_ref().is_some_and(is_known) {
            true => StatusCode::NOT_MODIFIED.into_response(),
            false => self.reply(status, body),
        };
        response.headers_mut().insert(header::ETAG, entity_tag(version, self.format));
        response
    }

    /// An answer whose body is in the right form already.
    pub(super) fn encoded(&self, status: StatusCode, body: Bytes) -> Response {
        (status, [(header::CONTENT_TYPE, self.format.media_type())], body).into_response()
    }
}

impl<S: Sync> FromRequestParts<S> for Arrival {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        parts.extensions.get::<Self>().cloned().ok_or(Code::Internal.into())
    }
}

/// Around everything but the packing of answers.
pub(super) async fn edge(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let _under_way = app.enter();
    let started = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let allowed = app.cors.allowed(request.headers());
    let preflight = app.cors.preflight(&method, request.headers());
    let format = answer_format(request.headers());
    let arrival = arrival(&app, &request, started, format.as_ref().copied().unwrap_or_default());
    let request_id = request_id(request.headers());
    request.extensions_mut().insert(arrival.clone());

    let is_plain = is_plain(request.headers());
    let admitted = take_requests(&app, &arrival, 1).and_then(|()| match format {
        Err(failure) if !app.own_forms.contains(&path) && preflight.is_none() => Err(failure),
        _ if !is_plain => Err(Failure::new(Code::Malformed)
            .status(StatusCode::NOT_IMPLEMENTED)
            .details("transfer-encoding: chunked, and no other")),
        _ => Ok(preflight),
    });
    let response = match admitted {
        Ok(Some(preflight)) => preflight,
        Ok(None) => timeout_at(arrival.deadline, next.run(request))
            .await
            .unwrap_or_else(|_| Failure::new(Code::Timeout).into_response()),
        Err(failure) => failure.into_response(),
    };

    let mut response = formed(&app, response, &arrival);
    let status = response.status();
    app.metrics.count(status);
    debug!(trace_id = %arrival.trace, request_id = request_id.as_ref().map(tracing::field::debug),
        %method, path, status = status.as_u16(),
        elapsed_us = started.elapsed().as_micros() as u64, "request");
    let headers = response.headers_mut();
    // A UUID's text is a header's value; it cannot fail.
    if let Ok(trace) = HeaderValue::try_from(arrival.trace.to_string()) {
        headers.insert("x-request-id", request_id.unwrap_or_else(|| trace.clone()));
        headers.insert("x-trace-id", trace);
    }
    app.cors.mark(allowed, headers);
    if status != StatusCode::SWITCHING_PROTOCOLS && (app.is_stopping() || !is_plain) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn arrival(app: &App, request: &Request, started: Instant, format: Format) -> Arrival {
    let headers = request.headers();
    let peer = request.extensions().get::<Peer>();
    let known = headers.contains_key(header::IF_NONE_MATCH) && request.method().is_safe();
    Arrival {
        trace: trace_of(headers),
        format,
        deadline: started + app.config.request_timeout,
        // Every connection has one.
        address: peer.map_or_else(|| app.addresses.of(NOWHERE, monotonic_ms()), Peer::address),
        known: known.then(|| Arc::new(headers.clone())),
        key: None,
    }
}

/// The longest name that a client may give to its request, in bytes.
const MAX_REQUEST_ID_BYTES: usize = 128;

/// What the client calls its request; visible ASCII, or it is passed over.
fn request_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let id = headers.get("x-request-id")?;
    let is_visible = |id: &&HeaderValue| id.as_bytes().iter().all(u8::is_ascii_graphic);
    Some(id).filter(|id| (1..=MAX_REQUEST_ID_BYTES).contains(&id.len())).filter(is_visible).cloned()
}

/// Which answers are packed for those who can take it: not the short ones, and
/// none that holds a secret, whose length would tell of it.
#[derive(Clone, Copy)]
pub(super) struct Packed {
    pub(super) above_bytes: u64,
}

impl Predicate for Packed {
    fn should_compress<B: HttpBody>(&self, response: &http::Response<B>) -> bool {
        let is_secret = |value: &HeaderValue| value == "no-store";
        response.body().size_hint().lower() > self.above_bytes
            && !response.headers().get(header::CACHE_CONTROL).is_some_and(is_secret)
    }
}

/// A packed answer is other bytes, so it has another tag.
pub(super) async fn tag_packed(mut response: Response) -> Response {
    let headers = response.headers_mut();
    if headers.contains_key(header::CONTENT_ENCODING)
        && let Some(tag) = headers.get(header::ETAG).and_then(packed)
    {
        headers.insert(header::ETAG, tag);
    }
    response
}

/// Takes so many requests of the address's rate.
///
/// # Errors
/// `rate_limited`.
pub(super) fn take_requests(app: &App, arrival: &Arrival, n: u64) -> Result<(), Failure> {
    let taken = arrival.address.take_requests(monotonic_ms(), n);
    taken.inspect_err(|_| app.met(Limit::RequestRate)).map_err(Failure::from)
}

/// Whether a body comes as it is: of transfer codings only `chunked` is
/// undone, and what is under another one would be taken for the body.
fn is_plain(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let first = codings.next().map(|coding| coding.as_bytes().trim_ascii());
    first.is_none_or(|coding| coding.eq_ignore_ascii_case(b"chunked")) && codings.next().is_none()
}

/// Gives a [`Failure`] its form. What the route said in headers stays.
pub(super) fn formed(app: &App, mut response: Response, arrival: &Arrival) -> Response {
    let Some(failure) = response.extensions_mut().remove::<Failure>() else { return response };
    app.metrics.errors.count(failure.code());
    if failure.code() == Code::Internal {
        error!(trace_id = %arrival.trace, ?failure, "a request failed");
    }
    let mut answer = failure.answer(arrival.trace, arrival.format, unix_ms());
    if let Some(allow) = response.headers_mut().remove(header::ALLOW) {
        answer.headers_mut().insert(header::ALLOW, allow);
    }
    answer
}

/// Turns a panic into `internal`: it costs one request, not the connection.
pub(super) async fn catch_panic(request: Request, next: Next) -> Response {
    // Nothing of the request is looked at again after a panic.
    AssertUnwindSafe(next.run(request))
        .catch_unwind()
        .await
        .unwrap_or_else(|_| Failure::new(Code::Internal).into_response())
}

/// How many requests are under way.
#[derive(Clone, Default)]
pub(super) struct Requests(Arc<watch::Sender<usize>>);

impl Requests {
    pub(super) fn enter(&self) -> UnderWay {
        self.0.send_modify(|count| *count += 1);
        UnderWay(Arc::clone(&self.0))
    }

    /// Ready when there are none.
    pub(super) async fn none(&self) {
        // The sender is in `self`, so waiting cannot fail.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

/// Counts while it is there.
pub(super) struct UnderWay(Arc<watch::Sender<usize>>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
