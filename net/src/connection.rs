//! One WebSocket connection: reads messages and hands them to the session,
//! empties the queue of the writing side.
//!
//! A hand-written future instead of two tasks with buffers of their own: most
//! connections are idle most of the time, and what an idle one holds decides
//! how many a machine can hold.

use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use avvy_actors::{SessionPort, Wire};
use avvy_model::Code;
use avvy_protocol::close::CloseCode;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode as Number;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig, WebSocketContext};

use crate::fragments::Fragments;
use crate::http_stream::Place;
use crate::socket::{OutboxLimits, Socket};

/// Bytes asked of the kernel in one read, and what an idle connection keeps
/// for it. Most messages of a busy client are smaller.
const READ_CHUNK: usize = 512;

/// Bytes of the largest message before the client was welcomed. A hello with
/// the largest token has 8.5 KiB.
const MAX_HELLO_BYTES: usize = 16 * 1024;

/// A connection that has read a longer frame lets go of its buffer, which has
/// grown with it, when nothing more is to be read.
const KEPT_BUFFER: u64 = 16 * 1024;

/// Messages taken from one connection before others get their turn.
const MESSAGES_PER_TURN: usize = 32;

/// The byte stream under a connection.
pub(crate) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// The reading side; under TLS, where one state serves both ways, all of it.
enum Reader {
    Plain(OwnedReadHalf),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Reader {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(half) => Pin::new(half).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, buffer),
        }
    }
}

/// A connection after its upgrade to WebSocket.
pub(crate) struct Connection {
    place: Place,
    reader: Reader,
    socket: Arc<Socket>,
    context: WebSocketContext,
    fragments: Fragments,
    /// Bytes of the largest message, as far as that counts.
    max_message_bytes: usize,
    is_trusted: bool,
    /// Whether the peer was told that nothing follows.
    is_shut_down: bool,
}

impl Connection {
    /// Takes over a stream of which `already_read` was read too much during the upgrade.
    pub(crate) fn new(
        transport: Transport,
        place: Place,
        already_read: Bytes,
        max_message_bytes: usize,
        outbox: OutboxLimits,
    ) -> Self {
        let (reader, direct) = match transport {
            Transport::Plain(stream) => {
                let (reader, writer) = stream.into_split();
                (Reader::Plain(reader), Some(writer))
            }
            Transport::Tls(stream) => (Reader::Tls(stream), None),
        };
        let mut fragments = Fragments::default();
        fragments.feed(&already_read);
        Self {
            place,
            reader,
            fragments,
            socket: Arc::new(Socket::new(direct, outbox)),
            context: WebSocketContext::from_partially_read(
                // A copy: the bytes lie in a buffer of the HTTP side that is
                // many times larger, and would stay with the connection.
                already_read.to_vec(),
                Role::Server,
                Some(reading(max_message_bytes.min(MAX_HELLO_BYTES))),
            ),
            max_message_bytes,
            is_trusted: false,
            is_shut_down: false,
        }
    }

    /// The writing side.
    pub(crate) fn socket(&self) -> Arc<Socket> {
        Arc::clone(&self.socket)
    }

    /// Serves the connection until it ends.
    pub(crate) async fn run(mut self, session: SessionPort) {
        poll_fn(|cx| self.poll(cx, &session)).await;
        // First: who sees the end of the connection finds its place free.
        drop(self.place);
        self.socket.cut();
        session.ended();
    }

    /// Ends a connection that gets no session; the peer may take so long to
    /// take the close frame and to end, too.
    pub(crate) fn refuse(mut self, code: Code, patience: Duration) {
        let is_full = code == Code::Unavailable;
        self.socket.close(if is_full { CloseCode::Overloaded } else { CloseCode::Internal });
        tokio::spawn(timeout(
            patience,
            poll_fn(move |cx| {
                self.socket.task.register(cx.waker());
                self.poll_end(cx)
            }),
        ));
    }

    /// Ready when the connection has ended.
    fn poll(&mut self, cx: &mut Context<'_>, session: &SessionPort) -> Poll<()> {
        self.socket.task.register(cx.waker());
        if self.socket.is_gone() {
            return Poll::Ready(());
        }
        match self.pump(cx) {
            Ok(drained) if drained.below_low_water => session.drained(),
            Ok(_) => {}
            Err(_) => return Poll::Ready(()),
        }
        if self.socket.is_closing() {
            return self.poll_end(cx);
        }
        for _ in 0..MESSAGES_PER_TURN {
            if !session.may_read() {
                return Poll::Pending;
            }
            self.trust(session);
            let read = self.read(cx);
            // Each counts like a message.
            (0..self.fragments.take()).for_each(|_| session.heard());
            if self.socket.is_closing() {
                break;
            }
            match ready!(read) {
                Ok(message) => self.received(message, session),
                Err(end) if self.is_cut(&end, session) => return Poll::Ready(()),
                Err(_) => {}
            }
            if self.socket.is_closing() {
                break;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// After the last word was queued: writes it, says that nothing follows,
    /// and drops what still comes until the peer has ended, too. An end with
    /// unread input would reset the connection, and the last word with it.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Ok(drained) = self.pump(cx) else { return Poll::Ready(()) };
        if drained.empty && self.shut_down(cx).is_err() {
            return Poll::Ready(());
        }
        for _ in 0..MESSAGES_PER_TURN {
            let mut dropped = [0; READ_CHUNK];
            let mut dropped = ReadBuf::new(&mut dropped);
            match ready!(self.reader.poll_read(cx, &mut dropped)) {
                Ok(()) if !dropped.filled().is_empty() => {}
                // Who says nothing more may still listen.
                Ok(()) if !self.is_shut_down => return Poll::Pending,
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads large messages, once the client was welcomed.
    fn trust(&mut self, session: &SessionPort) {
        if !self.is_trusted && session.is_welcomed() {
            self.is_trusted = true;
            let most = self.max_message_bytes;
            self.context.set_config(|config| *config = reading(most));
        }
    }

    fn shut_down(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if std::mem::replace(&mut self.is_shut_down, true) {
            return Ok(());
        }
        match &mut self.reader {
            Reader::Plain(_) => self.socket.shut_down(),
            Reader::Tls(stream) => match Pin::new(&mut **stream).poll_shutdown(cx) {
                Poll::Ready(result) => result,
                Poll::Pending => {
                    self.is_shut_down = false;
                    Ok(())
                }
            },
        }
    }

    fn pump(&mut self, cx: &mut Context<'_>) -> io::Result<crate::socket::Drained> {
        let Self { reader, socket, .. } = self;
        let drained = match reader {
            Reader::Plain(half) => socket.pump_direct(cx, half)?,
            Reader::Tls(stream) => {
                let drained = socket.pump(cx, |cx, slices| {
                    Pin::new(&mut **stream).poll_write_vectored(cx, slices)
                })?;
                if let Poll::Ready(Err(error)) = Pin::new(&mut **stream).poll_flush(cx) {
                    return Err(error);
                }
                drained
            }
        };
        Ok(drained)
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Error>> {
        let Self { reader, socket, context, fragments, .. } = self;
        let read = context.read(&mut Stream { reader, socket, fragments, cx });
        socket.incoming.store(fragments.held() as usize, Ordering::Relaxed);
        match read {
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                // What was read was taken, and pongs are in the queue: a new
                // context is the same without the buffer.
                if self.is_trusted && context.can_write() && fragments.rest(KEPT_BUFFER) {
                    let config = Some(reading(self.max_message_bytes));
                    *context = WebSocketContext::new(Role::Server, config);
                }
                Poll::Pending
            }
            result => Poll::Ready(result),
        }
    }

    fn received(&self, message: Message, session: &SessionPort) {
        match message {
            Message::Binary(payload) => session.receive(&payload),
            Message::Text(_) => session.close(CloseCode::ProtocolError),
            Message::Ping(_) | Message::Pong(_) => session.heard(),
            // So the context names a number that no peer may close with.
            Message::Close(Some(CloseFrame { code: Number::Protocol, .. })) => {
                session.close(CloseCode::ProtocolError);
            }
            // The context answers it with the next read, and nothing is read
            // after the answer.
            Message::Close(_) => session.peer_closes(),
            // Raw frames are not read here.
            Message::Frame(_) => {}
        }
    }

    /// Whether the connection is gone. When not, it ends with a last word.
    fn is_cut(&self, end: &Error, session: &SessionPort) -> bool {
        match end {
            Error::Capacity(CapacityError::MessageTooLong { .. }) => {
                session.close(CloseCode::TooLarge);
            }
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => return true,
            Error::Protocol(_) | Error::Utf8(_) => session.close(CloseCode::ProtocolError),
            _ => return true,
        }
        // The server may have begun to end it by itself.
        !self.socket.is_closing()
    }
}

/// How a context reads messages of so many bytes at most.
fn reading(max_message_bytes: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_CHUNK)
        .write_buffer_size(0)
        .max_message_size(Some(max_message_bytes))
        .max_frame_size(Some(max_message_bytes))
}

/// What the WebSocket context reads from and writes its own frames to.
struct Stream<'a, 'b> {
    reader: &'a mut Reader,
    socket: &'a Socket,
    fragments: &'a mut Fragments,
    cx: &'a mut Context<'b>,
}

impl Read for Stream<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(buffer);
        match self.reader.poll_read(self.cx, &mut buffer) {
            Poll::Ready(Ok(())) => {
                self.fragments.feed(buffer.filled());
                Ok(buffer.filled().len())
            }
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Stream<'_, '_> {
    /// Pongs and the answers to close frames. They go through the queue, so
    /// they never land inside another message.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.send_raw(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use avvy_protocol::frame::Frame;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::Semaphore;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// More than the kernel takes for one connection.
    const MUCH: usize = 64 << 20;

    #[tokio::test]
    async fn who_says_no_more_is_still_sent_what_waits() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let stream = Transport::Plain(listener.accept().await.unwrap().0);
        let permit = || Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let place = Place::new(permit(), permit());
        let outbox =
            OutboxLimits { high_water_bytes: MUCH, low_water_bytes: 0, max_bytes: 2 * MUCH };
        let connection = Connection::new(stream, place, Bytes::new(), 1 << 10, outbox);
        let (socket, frame) = (connection.socket(), Frame::binary(&vec![7; MUCH]));
        socket.send(std::slice::from_ref(&frame));
        assert!(socket.held_bytes() > 0, "the kernel has taken all");
        drop(socket);
        peer.shutdown().await.unwrap();
        connection.refuse(Code::Internal, PATIENCE);
        let mut read = Vec::new();
        timeout(PATIENCE, peer.read_to_end(&mut read)).await.unwrap().unwrap();
        let close = Frame::close(CloseCode::Internal, CloseCode::Internal.name());
        assert_eq!(read.len(), frame.as_wire().len() + close.as_wire().len());
    }
}
