//! The byte stream under HTTP: what a connection may take of the server's
//! places and time.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};

use crate::connection::Transport;

/// One of the places that [`crate::NetConfig::max_connections`] gives out, and
/// one of the address's own. They are free again when this is dropped.
pub(crate) struct Place {
    _of_all: OwnedSemaphorePermit,
    _of_address: OwnedSemaphorePermit,
}

impl Place {
    pub(crate) const fn new(
        of_all: OwnedSemaphorePermit,
        of_address: OwnedSemaphorePermit,
    ) -> Self {
        Self { _of_all: of_all, _of_address: of_address }
    }
}

/// A stream of HTTP. It fails with `TimedOut` when its peer has taken nothing
/// for a while although there is something to take: a peer that asks and
/// never reads would hold its place for ever.
pub(crate) struct HttpStream {
    // Dropped first: who sees the end of the stream finds its place free.
    place: Place,
    transport: Transport,
    write_timeout: Duration,
    /// When the patience with a write ends; `None` while none waits.
    gives_up: Option<Pin<Box<Sleep>>>,
}

impl HttpStream {
    pub(crate) const fn new(transport: Transport, place: Place, write_timeout: Duration) -> Self {
        Self { place, transport, write_timeout, gives_up: None }
    }

    /// What an upgrade takes over.
    pub(crate) fn into_parts(self) -> (Transport, Place) {
        (self.transport, self.place)
    }

    /// Lets a write wait, but not for ever.
    fn patiently<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut Transport>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(written) = write(Pin::new(&mut self.transport), cx) {
            self.gives_up = None;
            return Poll::Ready(written);
        }
        let gives_up = self.gives_up.get_or_insert_with(|| Box::pin(sleep(self.write_timeout)));
        gives_up.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for HttpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().transport).poll_read(cx, buffer)
    }
}

impl AsyncWrite for HttpStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().patiently(cx, |transport, cx| transport.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().patiently(cx, |transport, cx| transport.poll_write_vectored(cx, slices))
    }

    // Without it, bodies are copied into a buffer of the connection, whole.
    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().patiently(cx, |transport, cx| transport.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().patiently(cx, |transport, cx| transport.poll_shutdown(cx))
    }
}
