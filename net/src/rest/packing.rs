//! Packing of answers (gzip), for those who can take it.

use std::convert::Infallible;
use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Context, Poll};

use axum::body::{Body, HttpBody, to_bytes};
use axum::http::{self, HeaderMap, HeaderValue, Request, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
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
            Ok(response) => response.map(Turns::of),
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

/// Frames of a packed body that come in one go, each of 4 KiB at most.
const TURN_FRAMES: u8 = 8;

/// A body that lets others have their turn: to pack a megabyte in one go keeps a
/// thread from the branes for milliseconds.
struct Turns {
    body: Body,
    /// How many more come before others have their turn.
    frames: u8,
}

impl Turns {
    fn of<B>(body: B) -> Body
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        Body::new(Self { body: Body::new(body), frames: TURN_FRAMES })
    }
}

impl HttpBody for Turns {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.frames == 0 {
            self.frames = TURN_FRAMES;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let frame = task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.frames -= 1;
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::future::poll_fn;
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn others_have_their_turn_while_a_long_answer_is_packed() {
        let text: String = (0..200_000_u32).map(|n| n.to_string()).collect();
        let gzip = vec![HeaderValue::from_static("gzip")];
        let packed = Packing { above_bytes: 1 }.pack(text.into_response(), gzip).await;
        let mut body = pin!(to_bytes(packed.into_body(), usize::MAX));
        let mut turns = 0;
        let bytes = poll_fn(|cx| {
            let polled = body.as_mut().poll(cx);
            turns += usize::from(polled.is_pending());
            polled
        });
        let bytes = bytes.await.unwrap();
        assert!(bytes.starts_with(b"\x1f\x8b"));
        let due = bytes.len() / (4_096 * usize::from(TURN_FRAMES));
        assert!(turns >= due && due > 5, "{turns} of {due}");
    }
}
