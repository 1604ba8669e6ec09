//! The writing side of one connection: a queue in front of a socket.
//!
//! Whoever has a message for a client writes it straight to the socket, from
//! its own thread, when nothing waits before it. What the kernel does not
//! take stays in a queue that the connection's task empties when the socket
//! can take more. So a delivery costs one system call and no task switch.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use avvy_actors::{Backlog, Wire};
use avvy_protocol::close::CloseCode;
use avvy_protocol::frame::Frame;
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use rustix::net::{self, SendAncillaryBuffer, SendFlags, Shutdown};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Buffers handed to the kernel in one call.
const MAX_SLICES: usize = 16;

/// Bytes up to which several frames are copied together rather than handed to
/// the kernel one by one: a call with one buffer takes 4.7 us where one with two
/// takes 6.4, with thousands of sockets (`cargo xtask bench stadium`).
const MAX_JOINED_BYTES: usize = 2_048;

/// The first byte of a close frame (RFC 6455, section 5.2).
const CLOSE: u8 = 0x88;

/// Bounds of a connection's queue.
#[derive(Clone, Copy, Debug)]
pub struct OutboxLimits {
    /// Queued bytes above which the connection counts as slow.
    pub high_water_bytes: usize,
    /// Queued bytes below which a slow connection may be sent to again.
    pub low_water_bytes: usize,
    /// Queued bytes at which the connection is cut: a peer that makes the
    /// server answer without reading the answers.
    pub max_bytes: usize,
}

/// The shared writing side. See the module.
pub struct Socket {
    /// `None` under TLS: there the connection's task does all writing.
    direct: Option<OwnedWriteHalf>,
    outbox: Mutex<Outbox>,
    /// Bytes of a message that has not ended.
    pub(crate) incoming: AtomicUsize,
    /// Bytes that wait elsewhere for being sent.
    elsewhere: AtomicUsize,
    limits: OutboxLimits,
    /// Wakes the connection's task.
    pub(crate) task: AtomicWaker,
    closing: AtomicBool,
    gone: AtomicBool,
}

#[derive(Default)]
struct Outbox {
    queue: VecDeque<Bytes>,
    queued_bytes: usize,
    /// Set when the high-water mark was passed, until drained.
    high: bool,
}

impl Socket {
    pub(crate) fn new(direct: Option<OwnedWriteHalf>, limits: OutboxLimits) -> Self {
        Self {
            direct,
            outbox: Mutex::default(),
            incoming: AtomicUsize::new(0),
            elsewhere: AtomicUsize::new(0),
            limits,
            task: AtomicWaker::new(),
            closing: AtomicBool::new(false),
            gone: AtomicBool::new(false),
        }
    }

    /// Whether a close frame was queued.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Whether the connection is to be dropped at once.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Queues a frame's bytes. Nothing follows a close frame.
    pub(crate) fn send_raw(&self, bytes: &[u8]) {
        let outbox = self.outbox();
        if self.is_closing() {
            return;
        }
        if bytes.first() == Some(&CLOSE) {
            self.closing.store(true, Ordering::Release);
        }
        self.send_bytes(outbox, std::iter::once(&Bytes::copy_from_slice(bytes)));
    }

    /// Tells the peer that nothing follows; for a connection without TLS.
    pub(crate) fn shut_down(&self) -> io::Result<()> {
        let Some(direct) = &self.direct else { return Ok(()) };
        let socket: &TcpStream = direct.as_ref();
        Ok(net::shutdown(socket, Shutdown::Write)?)
    }

    /// Writes what is queued, as long as `write` takes it. `Ready(true)` when
    /// the queue has just fallen below the low-water mark after having been
    /// above the high one.
    pub(crate) fn pump(
        &self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(&mut Context<'_>, &[IoSlice<'_>]) -> Poll<io::Result<usize>>,
    ) -> io::Result<Drained> {
        let mut outbox = self.outbox();
        while !outbox.queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let count = outbox.slices(&mut slices);
            match write(cx, &slices[..count]) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(n)) => outbox.advance(n),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        if outbox.queue.is_empty() && outbox.queue.capacity() > MAX_SLICES {
            outbox.queue = VecDeque::new();
        }
        let drained = outbox.high && outbox.queued_bytes <= self.limits.low_water_bytes;
        if drained {
            outbox.high = false;
        }
        Ok(Drained { below_low_water: drained, empty: outbox.queue.is_empty() })
    }

    /// [`Self::pump`] for a connection without TLS.
    pub(crate) fn pump_direct(
        &self,
        cx: &mut Context<'_>,
        half: &OwnedReadHalf,
    ) -> io::Result<Drained> {
        self.pump(cx, |cx, slices| {
            let Some(direct) = &self.direct else { return Poll::Pending };
            loop {
                ready!(half.as_ref().poll_write_ready(cx))?;
                match direct.try_write_vectored(slices) {
                    // The readiness was stale; asking again registers the waker.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => return Poll::Ready(result),
                }
            }
        })
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        // No code under this lock can panic halfway through a change.
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send_bytes<'a>(
        &self,
        mut outbox: MutexGuard<'_, Outbox>,
        frames: impl ExactSizeIterator<Item = &'a Bytes> + Clone,
    ) -> Backlog {
        if self.is_gone() {
            return Backlog::Gone;
        }
        let mut taken = 0;
        if let (true, Some(direct)) = (outbox.queue.is_empty(), &self.direct) {
            taken = match try_write(direct, frames.clone()) {
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(_) => {
                    drop(outbox);
                    self.cut();
                    return Backlog::Gone;
                }
            };
        }
        let queue_was_empty = outbox.queue.is_empty();
        for frame in frames {
            if taken >= frame.len() {
                taken -= frame.len();
                continue;
            }
            let rest = frame.slice(taken..);
            taken = 0;
            outbox.queued_bytes += rest.len();
            outbox.queue.push_back(rest);
        }
        self.judge(outbox, queue_was_empty)
    }

    fn judge(&self, mut outbox: MutexGuard<'_, Outbox>, queue_was_empty: bool) -> Backlog {
        let queued = outbox.queued_bytes;
        if queued == 0 {
            return Backlog::Low;
        }
        outbox.high |= queued > self.limits.high_water_bytes;
        let backlog = if outbox.high { Backlog::High } else { Backlog::Low };
        drop(outbox);
        if queued > self.limits.max_bytes {
            self.cut();
            return Backlog::Gone;
        }
        if queue_was_empty {
            self.task.wake();
        }
        backlog
    }
}

/// What [`Socket::pump`] found.
pub(crate) struct Drained {
    /// The queue was above its high-water mark and now is below the low one.
    pub below_low_water: bool,
    /// Nothing is left.
    pub empty: bool,
}

impl Wire for Socket {
    fn send(&self, frames: &[Frame]) -> Backlog {
        // Under the lock, or one that closes could come between.
        let outbox = self.outbox();
        if self.is_closing() {
            return Backlog::Gone;
        }
        self.send_bytes(outbox, frames.iter().map(Frame::as_wire))
    }

    fn is_full(&self) -> bool {
        self.outbox().high
    }

    fn held_bytes(&self) -> usize {
        let beside = [&self.incoming, &self.elsewhere].map(|bytes| bytes.load(Ordering::Relaxed));
        self.outbox().queued_bytes + beside.iter().sum::<usize>()
    }

    fn hold(&self, bytes: usize) {
        self.elsewhere.fetch_add(bytes, Ordering::Relaxed);
    }

    fn let_go(&self, bytes: usize) {
        self.elsewhere.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn close(&self, code: CloseCode) {
        let outbox = self.outbox();
        if !self.closing.swap(true, Ordering::AcqRel) {
            let frame = Frame::close(code, code.name());
            self.send_bytes(outbox, std::iter::once(frame.as_wire()));
            self.task.wake();
        }
    }

    fn cut(&self) {
        self.gone.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl Outbox {
    fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        for (slice, bytes) in slices.iter_mut().zip(&self.queue) {
            *slice = IoSlice::new(bytes);
            count += 1;
        }
        count
    }

    fn advance(&mut self, mut written: usize) {
        self.queued_bytes -= written;
        while written > 0 {
            let Some(front) = self.queue.front_mut() else { return };
            if front.len() > written {
                *front = front.slice(written..);
                return;
            }
            written -= front.len();
            self.queue.pop_front();
        }
    }
}

/// Asks the kernel itself and not the runtime, which would look up first what
/// it knows of the socket: a memory access more for each of thousands of
/// sockets. What the kernel does not take is queued, and the connection's task
/// then waits in the runtime's way.
fn try_write<'a>(
    socket: &OwnedWriteHalf,
    mut frames: impl ExactSizeIterator<Item = &'a Bytes> + Clone,
) -> io::Result<usize> {
    let socket: &TcpStream = socket.as_ref();
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    if frames.len() == 1
        && let Some(one) = frames.next()
    {
        return Ok(net::send(socket, one, flags)?);
    }
    let bytes: usize = frames.clone().map(Bytes::len).sum();
    if bytes <= MAX_JOINED_BYTES {
        let mut joined = [0; MAX_JOINED_BYTES];
        let mut free = &mut joined[..bytes];
        for frame in frames {
            let (place, rest) = free.split_at_mut(frame.len());
            place.copy_from_slice(frame);
            free = rest;
        }
        return Ok(net::send(socket, &joined[..bytes], flags)?);
    }
    let mut slices = [IoSlice::new(&[]); MAX_SLICES];
    let count = frames.len().min(MAX_SLICES);
    for (slice, frame) in slices.iter_mut().zip(frames) {
        *slice = IoSlice::new(frame);
    }
    Ok(net::sendmsg(socket, &slices[..count], &mut SendAncillaryBuffer::default(), flags)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;

    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    const LIMITS: OutboxLimits =
        OutboxLimits { high_water_bytes: 1 << 20, low_water_bytes: 1 << 10, max_bytes: 1 << 24 };

    /// What a peer reads up to the end.
    async fn read_by_the_peer(talk: impl FnOnce(Arc<Socket>)) -> Vec<u8> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (_reader, writer) = listener.accept().await.unwrap().0.into_split();
        let socket = Arc::new(Socket::new(Some(writer), LIMITS));
        talk(Arc::clone(&socket));
        socket.shut_down().unwrap();
        let mut read = Vec::new();
        peer.read_to_end(&mut read).await.unwrap();
        read
    }

    #[tokio::test]
    async fn what_waits_elsewhere_is_held_too() {
        let held = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&held);
        read_by_the_peer(move |socket| {
            socket.hold(300);
            socket.let_go(100);
            socket.incoming.store(7, Ordering::Relaxed);
            seen.store(socket.held_bytes(), Ordering::Relaxed);
        })
        .await;
        assert_eq!(held.load(Ordering::Relaxed), 207);
    }

    /// However little of several frames the kernel takes at once.
    #[tokio::test]
    async fn frames_arrive_in_their_order_and_are_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let narrow = TcpSocket::new_v4().unwrap();
        narrow.set_recv_buffer_size(2_048).unwrap();
        let mut peer = narrow.connect(listener.local_addr().unwrap()).await.unwrap();
        let stream = listener.accept().await.unwrap().0;
        net::sockopt::set_socket_send_buffer_size(&stream, 2_048).unwrap();
        let (reader, writer) = stream.into_split();
        let socket = Arc::new(Socket::new(Some(writer), LIMITS));
        // Alone, joined, and more than are joined or handed over in one call.
        let frames: Vec<Vec<Frame>> = (0..2_000_usize)
            .map(|n| {
                (0..n % 21).map(|m| Frame::binary(&vec![n as u8; (n * 7 + m) % 300])).collect()
            })
            .collect();
        let expected: Vec<u8> =
            frames.iter().flatten().flat_map(|frame| frame.as_wire().to_vec()).collect();
        let sender = {
            let socket = Arc::clone(&socket);
            std::thread::spawn(move || {
                for frames in frames {
                    assert_ne!(socket.send(&frames), Backlog::Gone);
                }
            })
        };
        let pumping = poll_fn(|cx| {
            socket.task.register(cx.waker());
            socket.pump_direct(cx, &reader).map_or_else(Poll::Ready, |_| Poll::Pending)
        });
        let mut read = vec![0; expected.len()];
        tokio::select! {
            error = pumping => panic!("{error}"),
            done = peer.read_exact(&mut read) => assert_eq!(done.unwrap(), expected.len()),
        }
        assert!(read == expected, "other bytes");
        assert_eq!(socket.held_bytes(), 0);
        sender.join().unwrap();
    }

    #[tokio::test]
    async fn nothing_follows_a_close_frame_whoever_sends_meanwhile() {
        let (data, raw_close) = (Frame::binary(b"x"), [CLOSE, 2, 3, 0xe8]);
        for round in 0..200 {
            let frame = data.clone();
            let read = read_by_the_peer(|socket| {
                let sender = Arc::clone(&socket);
                let sender = std::thread::spawn(move || {
                    while sender.send(std::slice::from_ref(&frame)) != Backlog::Gone {}
                });
                match round % 2 {
                    0 => socket.close(CloseCode::GoingAway),
                    _ => socket.send_raw(&raw_close),
                }
                sender.join().unwrap();
            })
            .await;
            let closes = read.chunks(3).position(|frame| frame[0] == CLOSE).unwrap() * 3;
            let payload = usize::from(read[closes + 1]);
            assert_eq!(read.len(), closes + 2 + payload, "round {round}");
        }
    }
}
