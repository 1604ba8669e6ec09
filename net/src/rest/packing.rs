//! Packing of answers (gzip), for those who can take it.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;

use axum::body::{Body, HttpBody, to_bytes};
use axum::http::{self, HeaderMap, HeaderValue, Request, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::sync::OnceCell;
use tower::{ServiceExt, service_fn};
use tower_http::CompressionLevel;
use tower_http::compression::Compression;
use tower_http::compression::predicate::Predicate;

use super::conditional::packed;

/// Which answers are packed: not the short ones, and none that holds a secret,
/// whose length would tell of it.
#[derive(Clone, Copy)]
pub(super) struct Packing {
    pub(super) above_bytes: u64,
}

impl Predicate for Packing {
    fn should_compress<B: HttpBody>(&self, response: &http::Response<B>) -> bool {
        let headers = response.headers();
        // To `HEAD` the body's length is told without the body.
        let stated = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        let stated = stated.and_then(|length| length.parse().ok()).unwrap_or(0);
        let is_secret = |value: &HeaderValue| value == "no-store";
        response.body().size_hint().lower().max(stated) > self.above_bytes
            && !headers.get(header::CACHE_CONTROL).is_some_and(is_secret)
    }
}

impl Packing {
    /// What a request says that can be taken.
    pub(super) fn codings(headers: &HeaderMap) -> Vec<HeaderValue> {
        headers.get_all(header::ACCEPT_ENCODING).iter().cloned().collect()
    }

    /// Packs an answer if that is worth it and can be taken. Who says that
    /// nothing can be is sent it as it is.
    pub(super) async fn pack(self, mut response: Response, codings: Vec<HeaderValue>) -> Response {
        if !self.should_compress(&response) {
            return response;
        }
        let page = response.extensions_mut().remove::<Page>();
        // To `HEAD`, nothing is.
        let page = page.filter(|_| !response.body().is_end_stream());
        let status = response.status();
        let mut request = Request::new(Body::empty());
        for coding in codings {
            request.headers_mut().append(header::ACCEPT_ENCODING, coding);
        }
        let mut response = Some(response);
        let answer = service_fn(move |_: Request<Body>| {
            ready(Ok::<_, Infallible>(response.take().unwrap_or_default()))
        });
        let packer =
            Compression::new(answer).quality(CompressionLevel::Fastest).compress_when(self);
        let mut response = match packer.oneshot(request).await {
            Ok(response) => response.map(Body::new),
            Err(never) => match never {},
        };
        *response.status_mut() = status;
        tag_packed(response.headers_mut());
        match page {
            Some(page) if response.headers().contains_key(header::CONTENT_ENCODING) => {
                let (parts, body) = response.into_parts();
                Response::from_parts(parts, page.packed(body).await.into())
            }
            _ => response,
        }
    }
}

/// A long text that is the same for everybody, and packed once.
#[derive(Clone)]
pub(super) struct Page(Arc<Text>);

struct Text {
    plain: Bytes,
    packed: OnceCell<Bytes>,
}

impl Page {
    pub(super) fn new(text: String) -> Self {
        Self(Arc::new(Text { plain: text.into(), packed: OnceCell::new() }))
    }

    /// What it is packed; `packing` packs it, if nothing has.
    async fn packed(&self, packing: Body) -> Bytes {
        // It is in memory, so it can be read.
        let pack = || async { to_bytes(packing, usize::MAX).await.unwrap_or_default() };
        self.0.packed.get_or_init(pack).await.clone()
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let mut response = self.0.plain.clone().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// A packed answer is other bytes, so it has another tag.
fn tag_packed(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONTENT_ENCODING)
        && let Some(tag) = headers.get(header::ETAG).and_then(packed)
    {
        headers.insert(header::ETAG, tag);
    }
}
