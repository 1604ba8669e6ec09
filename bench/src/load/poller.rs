//! Waiting for many sockets at once.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

/// Sockets told about in one turn.
const MAX_EVENTS: usize = 1_024;

/// A set of sockets, each under a number of the caller's (Linux's epoll, told
/// again and again as long as there is something to read).
pub struct Poller {
    epoll: OwnedFd,
}

impl Poller {
    /// An empty set.
    ///
    /// # Errors
    /// When the system has no more files.
    pub fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)? })
    }

    /// Takes in a socket. It leaves the set when it is closed.
    ///
    /// # Errors
    /// When the system has no more memory.
    pub fn add(&self, socket: impl AsFd, number: usize) -> io::Result<()> {
        let data = EventData::new_u64(number as u64);
        Ok(epoll::add(&self.epoll, socket, data, EventFlags::IN)?)
    }

    /// Lets go of a socket that stays open.
    ///
    /// # Errors
    /// When the socket is not in the set.
    pub fn remove(&self, socket: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, socket)?)
    }

    /// Says whether the caller waits to write to the socket, too.
    ///
    /// # Errors
    /// When the socket is not in the set.
    pub fn wait_to_write(&self, socket: impl AsFd, number: usize, wait: bool) -> io::Result<()> {
        let out = if wait { EventFlags::OUT } else { EventFlags::empty() };
        let data = EventData::new_u64(number as u64);
        Ok(epoll::modify(&self.epoll, socket, data, EventFlags::IN | out)?)
    }

    /// Waits until a socket can be read or written, or the time is over. The
    /// numbers of those that can go into `ready`.
    ///
    /// # Errors
    /// Never, in practice.
    pub fn wait(&self, timeout: Duration, ready: &mut Vec<usize>) -> io::Result<()> {
        ready.clear();
        let timeout = Timespec {
            tv_sec: timeout.as_secs() as i64,
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        let mut events = [const { MaybeUninit::<Event>::uninit() }; MAX_EVENTS];
        match epoll::wait(&self.epoll, &mut events[..], Some(&timeout)) {
            Ok((events, _)) => ready.extend(events.iter().map(|event| event.data.u64() as usize)),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
