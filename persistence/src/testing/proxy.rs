//! A network between two programs that can be made to fail.
//!
//! A [`Proxy`] listens on a free port of this machine and hands on what comes
//! to another one. What it does with it, its [`Way`], can be changed at any
//! time and holds for the connections that are there as well as for new ones.
//! It runs in a thread of its own, which ends with it, so tests with and
//! without a runtime can have one.
//!
//! It is bounded: [`MAX_CONNECTIONS`], and of each direction of one
//! [`MAX_PIECES`] pieces of [`PIECE`] bytes. Beyond, it reads no more, so the
//! sender is slowed by TCP itself.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// Connections at a time. Further ones wait to be accepted.
pub const MAX_CONNECTIONS: usize = 256;
/// The most bytes that are handed on at once.
pub const PIECE: usize = 16 * 1024;
/// Pieces of one direction that are on their way.
pub const MAX_PIECES: usize = 256;

/// What becomes of what is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// It arrives.
    Open {
        /// So much later, in each direction.
        delay: Duration,
        /// Not more than this, in bytes a second of one direction of one
        /// connection; 0: as fast as it comes.
        bytes_per_second: u64,
    },
    /// It waits, and arrives when the way is open again: a network that is
    /// away for less than TCP takes to give up.
    Held,
    /// Connections are made and stay, and everything sent is swallowed: half
    /// open. Those that have lost something are reset when this ends.
    Swallowing,
    /// Connections are reset, and new ones at once.
    Cut,
}

impl Way {
    /// As if there were no proxy.
    pub const CLEAR: Self = Self::Open { delay: Duration::ZERO, bytes_per_second: 0 };

    /// Clear, but everything arrives so much later.
    pub const fn delayed(delay: Duration) -> Self {
        Self::Open { delay, bytes_per_second: 0 }
    }

    /// Clear, but not faster than this.
    pub const fn throttled(bytes_per_second: u64) -> Self {
        Self::Open { delay: Duration::ZERO, bytes_per_second }
    }
}

/// What a proxy has seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Connections that were accepted.
    pub accepted: u64,
    /// Connections that are there.
    pub open: u64,
    /// Connections that were reset.
    pub reset: u64,
    /// Bytes that arrived, of both directions.
    pub passed: u64,
    /// Bytes that were swallowed, of both directions.
    pub swallowed: u64,
}

#[derive(Default)]
struct Counters {
    accepted: AtomicU64,
    ended: AtomicU64,
    reset: AtomicU64,
    passed: AtomicU64,
    swallowed: AtomicU64,
}

/// A proxy, until it is dropped.
pub struct Proxy {
    address: SocketAddr,
    way: watch::Sender<Way>,
    counters: Arc<Counters>,
    /// Its end ends the thread.
    end: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Proxy {
    /// Starts one before this address, which need not be there yet. Its way is
    /// clear.
    ///
    /// # Panics
    /// When there is no port or no thread for it.
    pub fn start(target: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        listener.set_nonblocking(true).expect("a listener can be made not to block");
        let address = listener.local_addr().expect("a listener has an address");
        let (way, ways) = watch::channel(Way::CLEAR);
        let (end, ends) = oneshot::channel();
        let counters = Arc::new(Counters::default());
        let relay = Relay { target, ways, counters: Arc::clone(&counters) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime can be made");
        let thread = std::thread::spawn(move || {
            // What is still connected when it ends goes with the runtime.
            let served = runtime.block_on(async {
                tokio::select! {
                    served = relay.serve(listener) => served,
                    _ = ends => Ok(()),
                }
            });
            served.expect("connections can be accepted");
        });
        Self { address, way, counters, end: Some(end), thread: Some(thread) }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How MongoDB is reached through it: a client is told by a replica set
    /// where its members are, and would go there past the proxy.
    pub fn direct_mongodb(&self) -> String {
        format!("mongodb://{}/?directConnection=true", self.address)
    }

    /// Changes what becomes of what is sent, from now on.
    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// What it does now.
    pub fn way(&self) -> Way {
        *self.way.borrow()
    }

    /// What it has seen so far.
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        // Read in this order, as one that has ended was accepted before.
        let ended = read(&self.counters.ended);
        let accepted = read(&self.counters.accepted);
        Counts {
            accepted,
            open: accepted - ended,
            reset: read(&self.counters.reset),
            passed: read(&self.counters.passed),
            swallowed: read(&self.counters.swallowed),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // It panics only for lack of files, which its test then sees.
            let _ = thread.join();
        }
    }
}

#[derive(Clone)]
struct Relay {
    target: SocketAddr,
    ways: watch::Receiver<Way>,
    counters: Arc<Counters>,
}

impl Relay {
    async fn serve(&self, listener: std::net::TcpListener) -> io::Result<()> {
        let listener = TcpListener::from_std(listener)?;
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return Ok(()) };
            let (near, _) = listener.accept().await?;
            self.counters.accepted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(self.clone().connection(near, place));
        }
    }

    async fn connection(self, mut near: TcpStream, _place: OwnedSemaphorePermit) {
        if self.carry(&mut near).await.is_err() {
            // Nobody is told twice.
            let _ = near.set_zero_linger();
            self.counters.reset.fetch_add(1, Ordering::SeqCst);
        }
        drop(near);
        self.counters.ended.fetch_add(1, Ordering::SeqCst);
    }

    /// Hands on until both sides have said all. Otherwise the connection is to
    /// be reset; that to the other side is already.
    async fn carry(&self, near: &mut TcpStream) -> Result<(), Broken> {
        let mut ways = self.ways.clone();
        let cut = ways.wait_for(|way| *way == Way::Cut);
        tokio::select! {
            biased;
            _ = cut => Err(Broken),
            carried = self.connect_and_carry(near) => carried,
        }
    }

    async fn connect_and_carry(&self, near: &mut TcpStream) -> Result<(), Broken> {
        self.reachable().await?;
        let mut far = TcpStream::connect(self.target).await?;
        // However this ends but well, and also when it is dropped halfway.
        far.set_zero_linger()?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let lost = AtomicBool::new(false);
        let (near_in, near_out) = near.split();
        let (far_in, far_out) = far.split();
        let both = async {
            tokio::try_join!(
                self.one_way(near_in, far_out, &lost),
                self.one_way(far_in, near_out, &lost)
            )
        };
        tokio::select! {
            biased;
            broken = self.over_with_losses(&lost) => Err(broken),
            carried = both => carried.map(drop),
        }
    }

    /// Waits until something can be sent, if nothing was lost until then.
    async fn reachable(&self) -> Result<(), Broken> {
        let (mut ways, mut is_whole) = (self.ways.clone(), true);
        loop {
            let way = *ways.borrow_and_update();
            match way {
                Way::Held => {}
                Way::Swallowing => is_whole = false,
                Way::Open { .. } | Way::Cut => return is_whole.then_some(()).ok_or(Broken),
            }
            ways.changed().await?;
        }
    }

    /// Waits for the time after something was swallowed.
    async fn over_with_losses(&self, lost: &AtomicBool) -> Broken {
        let mut ways = self.ways.clone();
        while ways.changed().await.is_ok() {
            let way = *ways.borrow_and_update();
            if way != Way::Swallowing && lost.load(Ordering::SeqCst) {
                break;
            }
        }
        Broken
    }

    async fn one_way(
        &self,
        from: ReadHalf<'_>,
        to: WriteHalf<'_>,
        lost: &AtomicBool,
    ) -> Result<(), Broken> {
        let (pieces, waiting) = mpsc::channel(MAX_PIECES);
        tokio::try_join!(self.take(from, pieces), self.give(waiting, to, lost))?;
        Ok(())
    }

    async fn take(
        &self,
        mut from: ReadHalf<'_>,
        pieces: mpsc::Sender<(Instant, Vec<u8>)>,
    ) -> Result<(), Broken> {
        let mut buffer = vec![0; PIECE];
        loop {
            let count = from.read(&mut buffer).await?;
            if count == 0 {
                return Ok(());
            }
            let delay = match *self.ways.borrow() {
                Way::Open { delay, .. } => delay,
                Way::Held | Way::Swallowing | Way::Cut => Duration::ZERO,
            };
            let piece = (Instant::now() + delay, buffer[..count].to_vec());
            pieces.send(piece).await.map_err(|_| Broken)?;
        }
    }

    async fn give(
        &self,
        mut waiting: mpsc::Receiver<(Instant, Vec<u8>)>,
        mut to: WriteHalf<'_>,
        lost: &AtomicBool,
    ) -> Result<(), Broken> {
        while let Some((due, piece)) = waiting.recv().await {
            sleep_until(due).await;
            let Some(bytes_per_second) = self.passes(lost).await? else {
                self.counters.swallowed.fetch_add(piece.len() as u64, Ordering::SeqCst);
                continue;
            };
            to.write_all(&piece).await?;
            self.counters.passed.fetch_add(piece.len() as u64, Ordering::SeqCst);
            if bytes_per_second > 0 {
                let took = piece.len() as f64 / bytes_per_second as f64;
                sleep(Duration::from_secs_f64(took)).await;
            }
        }
        // The end of what was said is something said, too.
        if self.passes(lost).await?.is_none() {
            std::future::pending::<()>().await;
        }
        Ok(to.shutdown().await?)
    }

    /// Waits until it is known whether something passes, and how fast; `None`
    /// if it is swallowed.
    async fn passes(&self, lost: &AtomicBool) -> Result<Option<u64>, Broken> {
        let mut ways = self.ways.clone();
        loop {
            let way = *ways.borrow_and_update();
            match way {
                Way::Open { bytes_per_second, .. } => return Ok(Some(bytes_per_second)),
                Way::Swallowing => {
                    lost.store(true, Ordering::SeqCst);
                    return Ok(None);
                }
                Way::Held => ways.changed().await?,
                Way::Cut => return Err(Broken),
            }
        }
    }
}

/// A connection that is to be reset.
struct Broken;

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self
    }
}

impl From<watch::error::RecvError> for Broken {
    fn from(_: watch::error::RecvError) -> Self {
        Self
    }
}

#[cfg(test)]
mod tests;
