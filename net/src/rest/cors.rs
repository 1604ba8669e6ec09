//! Pages of other origins that may use the API (CORS, in the Fetch standard).
//!
//! Only those of the configuration. Who asks is told by a token in a header that
//! a page has to know, never by a cookie, so credentials are never allowed.
//!
//! A browser asks first whether a page may send what no form could: a token, or a
//! body that is said to be CBOR or JSON. It does not ask where nothing is said of
//! the body; see [`say_form`].

use avvy_model::Code;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Failure;

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");

const HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, accept, idempotency-key, if-match, if-none-match, \
     x-request-id, traceparent",
);

const EXPOSED: HeaderValue = HeaderValue::from_static(
    "etag, location, retry-after, idempotency-replayed, x-request-id, x-trace-id, \
     www-authenticate",
);

/// How long a browser need not ask again, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

const ANY: HeaderValue = HeaderValue::from_static("*");

/// The origins that may.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Cors {
    /// As a browser writes them.
    origins: Vec<String>,
}

impl Cors {
    pub(super) fn new(origins: &[String]) -> Self {
        Self { origins: origins.to_vec() }
    }

    /// The answer to a browser that asks what it may; `None`: it does not ask,
    /// or may not.
    pub(super) fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<Response> {
        let asks = method == Method::OPTIONS
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if !asks || self.allowed(headers).is_none() {
            return None;
        }
        let told: [(HeaderName, HeaderValue); 3] = [
            (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS),
            (header::ACCESS_CONTROL_MAX_AGE, MAX_AGE),
        ];
        Some((StatusCode::NO_CONTENT, told).into_response())
    }

    /// The value by which the origin of a request is allowed to read the answer.
    pub(super) fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        if self.origins.iter().any(|allowed| allowed == "*") {
            return Some(ANY);
        }
        self.origins.iter().any(|it| it.as_bytes() == origin.as_bytes()).then(|| origin.clone())
    }

    /// Tells an answer's headers that it may be read.
    pub(super) fn mark(&self, allowed: Option<HeaderValue>, headers: &mut HeaderMap) {
        if self.origins.is_empty() {
            return;
        }
        headers.append(header::VARY, HeaderValue::from_static("origin"));
        if let Some(allowed) = allowed {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
}

/// Has pages say which form a body is of that needs no token, so that only those
/// of the configuration can send it: any other could fail to sign in until the
/// address of whoever looks at it is locked out.
///
/// # Errors
/// 415 `unsupported_media_type`.
pub(super) async fn say_form(request: Request, next: Next) -> Result<Response, Failure> {
    let headers = request.headers();
    if headers.contains_key(header::ORIGIN) && !headers.contains_key(header::CONTENT_TYPE) {
        let details = "Content-Type: pages have to say it where no token is needed";
        return Err(Failure::new(Code::UnsupportedMediaType).details(details));
    }
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(origin: &str) -> HeaderMap {
        let pairs = [(header::ORIGIN, origin), (header::ACCESS_CONTROL_REQUEST_METHOD, "PATCH")];
        pairs.into_iter().map(|(name, value)| (name, value.parse().unwrap())).collect()
    }

    #[test]
    fn only_listed_origins_may() {
        let cors = Cors::new(&["https://a.example".to_owned()]);
        let ask = |origin: &str| cors.preflight(&Method::OPTIONS, &headers(origin));
        assert_eq!(ask("https://a.example").unwrap().status(), StatusCode::NO_CONTENT);
        let others = ["https://a.example.evil", "http://a.example", "null", "https://A.example"];
        for other in others {
            assert!(ask(other).is_none() && cors.allowed(&headers(other)).is_none(), "{other}");
        }
        assert!(cors.preflight(&Method::GET, &headers("https://a.example")).is_none());
    }

    #[test]
    fn answers_tell_caches_what_they_go_by() {
        let cors = Cors::new(&["https://a.example".to_owned()]);
        let mut told = HeaderMap::new();
        cors.mark(cors.allowed(&headers("https://b.example")), &mut told);
        assert_eq!(told[header::VARY], "origin");
        assert!(!told.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
        cors.mark(cors.allowed(&headers("https://a.example")), &mut told);
        assert_eq!(told[header::ACCESS_CONTROL_ALLOW_ORIGIN], "https://a.example");
        assert!(!told.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS));
        let mut none = HeaderMap::new();
        Cors::new(&[]).mark(None, &mut none);
        assert!(none.is_empty());
    }
}
