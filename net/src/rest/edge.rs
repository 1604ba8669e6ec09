//! What every request goes through, whatever its path: it is counted, has to
//! be within its address's rate, gets a trace id and a time by which it is
//! answered, and an error gets its form.

use std::net::{IpAddr, Ipv4Addr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use avvy_actors::Limit;
use avvy_model::{Code, TraceId};
use avvy_protocol::rest::{Format, encode};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::FutureExt;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tracing::{debug, error};

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
}

impl Arrival {
    /// An answer with this body.
    pub(super) fn reply<T: Serialize>(&self, status: StatusCode, body: &T) -> Response {
        self.encoded(status, encode(body, self.format).into())
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

/// The outermost layer.
pub(super) async fn edge(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let _under_way = app.requests.enter();
    let started = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let peer = request.extensions().get::<Peer>();
    let format = answer_format(request.headers());
    let arrival = Arrival {
        trace: trace_of(request.headers()),
        format: format.as_ref().copied().unwrap_or_default(),
        deadline: started + app.config.request_timeout,
        // Every connection has one.
        address: peer.map_or_else(|| app.addresses.of(NOWHERE, monotonic_ms()), Peer::address),
    };
    request.extensions_mut().insert(arrival.clone());

    let has_own_form = matches!(path.as_str(), "/" | "/metrics" | "/ws");
    let is_plain = is_plain(request.headers());
    let admitted = take_requests(&app, &arrival, 1).and_then(|()| match format {
        Err(failure) if !has_own_form => Err(failure),
        _ if !is_plain => Err(Failure::new(Code::Malformed)
            .status(StatusCode::NOT_IMPLEMENTED)
            .details("transfer-encoding: chunked, and no other")),
        _ => Ok(()),
    });
    let response = match admitted {
        Ok(()) => timeout_at(arrival.deadline, next.run(request))
            .await
            .unwrap_or_else(|_| Failure::new(Code::Timeout).into_response()),
        Err(failure) => failure.into_response(),
    };

    if let Some(failure) = response.extensions().get::<Failure>() {
        app.metrics.errors.count(failure.code());
    }
    let mut response = formed(response, &arrival);
    let status = response.status();
    app.metrics.count(status);
    debug!(trace_id = %arrival.trace, %method, path, status = status.as_u16(),
        elapsed_us = started.elapsed().as_micros() as u64, "request");
    let headers = response.headers_mut();
    // A UUID's text is a header's value; it cannot fail.
    if let Ok(trace) = HeaderValue::try_from(arrival.trace.to_string()) {
        headers.insert("x-trace-id", trace);
    }
    if status != StatusCode::SWITCHING_PROTOCOLS && (app.is_stopping() || !is_plain) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
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
fn formed(mut response: Response, arrival: &Arrival) -> Response {
    let Some(failure) = response.extensions_mut().remove::<Failure>() else { return response };
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
    fn enter(&self) -> UnderWay {
        self.0.send_modify(|count| *count += 1);
        UnderWay(Arc::clone(&self.0))
    }

    /// Ready when there are none.
    pub(super) async fn none(&self) {
        // The sender is in `self`, so waiting cannot fail.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

struct UnderWay(Arc<watch::Sender<usize>>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
