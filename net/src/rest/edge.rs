//! What every request goes through, whatever its path: it is counted, has to
//! be within its address's rate, gets its ids and a time by which it is
//! answered, an error gets its form, and what is long is packed.
//!
//! All of it is one function around the router. As layers of the router each of
//! these costs every request boxes and copies of its own, more than what it does.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use avvy_actors::Limit;
use avvy_identity::repeats::draw;
use avvy_model::{Code, TraceId, UserId};
use avvy_protocol::rest::{Format, encode};
use axum::Router;
use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::FutureExt;
use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tower::Service;
use tracing::{debug, error};
use uuid::Uuid;

use super::conditional::{Seen, entity_tag, known};
use super::negotiate::{VARY, answer_format};
use super::packing::Packing;
use super::trace::trace_of;
use super::{App, Failure};
use crate::addresses::Address;
use crate::time::{monotonic_ms, unix_ms};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");

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
        self.seen(status, version, false, body)
    }

    /// The same of what its owner may see more of than others.
    pub(super) fn seen<T: Serialize>(
        &self,
        status: StatusCode,
        version: u64,
        is_own: bool,
        body: &T,
    ) -> Response {
        let seen = Seen { version, is_own, format: self.format };
        let Ok(response) =
            self.tagged(status, seen, || Ok::<_, Infallible>(encode(body, self.format).into()));
        response
    }

    /// The same with a body that is in the right form, and is made only if it
    /// has to be sent.
    ///
    /// # Errors
    /// That of `body`.
    pub(super) fn tagged<E>(
        &self,
        status: StatusCode,
        seen: Seen,
        body: impl FnOnce() -> Result<Bytes, E>,
    ) -> Result<Response, E> {
        let (mut response, tag) = match self.known.as_ref().and_then(|told| known(told, seen)) {
            Some(tag) => ((StatusCode::NOT_MODIFIED, [(header::VARY, VARY)]).into_response(), tag),
            None => (self.encoded(status, body()?), entity_tag(seen)),
        };
        response.headers_mut().insert(header::ETAG, tag);
        Ok(response)
    }

    /// An answer whose body is in the right form already.
    pub(super) fn encoded(&self, status: StatusCode, body: Bytes) -> Response {
        let form = HeaderValue::from_static(self.format.media_type());
        (status, [(header::CONTENT_TYPE, form), (header::VARY, VARY)], body).into_response()
    }
}

#[cfg(test)]
impl Arrival {
    /// That of a request for JSON with these headers.
    pub(super) fn with(headers: HeaderMap) -> Self {
        let addresses = crate::addresses::Addresses::new(Arc::default());
        Self {
            trace: TraceId::new(Uuid::nil()),
            format: Format::Json,
            deadline: Instant::now(),
            address: addresses.of(std::net::Ipv4Addr::LOCALHOST.into(), 0),
            known: Some(Arc::new(headers)),
            key: None,
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Arrival {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        parts.extensions.get::<Self>().cloned().ok_or(Code::Internal.into())
    }
}

/// All routes, and what is around them.
pub(crate) struct Edge {
    app: App,
    router: Router,
    packing: Packing,
}

impl Edge {
    pub(super) fn new(app: App, router: Router) -> Self {
        let packing = Packing { above_bytes: app.config.pack_above_bytes };
        Self { app, router, packing }
    }

    /// Answers a request from this address.
    pub(crate) async fn answer(&self, address: Arc<Address>, mut request: Request) -> Response {
        let app = &self.app;
        let _under_way = app.enter();
        let started = Instant::now();
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let headers = request.headers();
        let allowed = app.cors.allowed(headers);
        let preflight = app.cors.preflight(&method, headers);
        let request_id = request_id(headers);
        let codings = Packing::codings(headers);
        let is_plain = is_plain(headers);
        let format = answer_format(headers);
        let arrival = Arrival {
            trace: trace_of(headers),
            format: format.as_ref().copied().unwrap_or_default(),
            deadline: started + app.config.request_timeout,
            address,
            known: (headers.contains_key(header::IF_NONE_MATCH) && method.is_safe())
                .then(|| Arc::new(headers.clone())),
            key: None,
        };
        request.extensions_mut().insert(arrival.clone());

        let admitted = take_requests(app, &arrival, 1).and_then(|()| match format {
            Err(failure) if preflight.is_none() && !app.own_forms.contains(uri.path()) => {
                Err(failure)
            }
            _ if !is_plain => Err(Failure::new(Code::Malformed)
                .status(StatusCode::NOT_IMPLEMENTED)
                .details("transfer-encoding: chunked, and no other")),
            _ => Ok(preflight),
        });
        let response = match admitted {
            Ok(Some(preflight)) => preflight,
            Ok(None) => self.route(arrival.deadline, request).await,
            Err(failure) => failure.into_response(),
        };

        let mut response = formed(app, response, &arrival);
        let status = response.status();
        app.metrics.count(status);
        debug!(trace_id = %arrival.trace, request_id = request_id.as_ref().map(tracing::field::debug),
            %method, path = uri.path(), status = status.as_u16(),
            elapsed_us = started.elapsed().as_micros() as u64, "request");
        let headers = response.headers_mut();
        let mut text = Uuid::encode_buffer();
        // A UUID's text is a header's value; it cannot fail.
        if let Ok(trace) =
            HeaderValue::from_str(arrival.trace.uuid().hyphenated().encode_lower(&mut text))
        {
            headers.insert(X_REQUEST_ID, request_id.unwrap_or_else(|| trace.clone()));
            headers.insert(X_TRACE_ID, trace);
        }
        app.cors.mark(allowed, headers);
        if status != StatusCode::SWITCHING_PROTOCOLS && (app.is_stopping() || !is_plain) {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        self.packing.pack(response, codings).await
    }

    /// What the route answers, in time. A panic costs the request, not the
    /// connection.
    async fn route(&self, deadline: Instant, request: Request) -> Response {
        // Nothing of the request is looked at again after a panic.
        let answer = AssertUnwindSafe(self.router.clone().call(request)).catch_unwind();
        match timeout_at(deadline, answer).await {
            Ok(Ok(Ok(response))) => response,
            Ok(Ok(Err(never))) => match never {},
            Ok(Err(_)) => Failure::new(Code::Internal).into_response(),
            Err(_) => Failure::new(Code::Timeout).into_response(),
        }
    }
}

/// The longest name that a client may give to its request, in bytes.
const MAX_REQUEST_ID_BYTES: usize = 128;

/// What the client calls its request; visible ASCII, or it is passed over.
fn request_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let id = headers.get(X_REQUEST_ID)?;
    let is_visible = |id: &&HeaderValue| id.as_bytes().iter().all(u8::is_ascii_graphic);
    Some(id).filter(|id| (1..=MAX_REQUEST_ID_BYTES).contains(&id.len())).filter(is_visible).cloned()
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

/// How many requests are under way.
#[derive(Default)]
pub(super) struct Requests(Arc<Counted>);

#[derive(Default)]
struct Counted {
    count: AtomicUsize,
    /// Told when there are none.
    none: Notify,
}

impl Requests {
    pub(super) fn enter(&self) -> UnderWay {
        self.0.count.fetch_add(1, Ordering::AcqRel);
        UnderWay(Arc::clone(&self.0))
    }

    /// Ready when there are none.
    pub(super) async fn none(&self) {
        loop {
            let mut told = pin!(self.0.none.notified());
            // From here on it is told, so the last one cannot be missed.
            told.as_mut().enable();
            if self.0.count.load(Ordering::Acquire) == 0 {
                return;
            }
            told.await;
        }
    }
}

/// Counts while it is there.
pub(super) struct UnderWay(Arc<Counted>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none.notify_waiters();
        }
    }
}
