//! Which core a thread runs on, and how many files a process may open.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// One core for what is measured, another for who measures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cores {
    /// The server's, and the bare programs'.
    pub server: usize,
    /// The load's.
    pub load: usize,
}

impl Cores {
    /// The first two cores that this process may use; the same one twice when
    /// there is only one, and then the figures say little.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn choose() -> io::Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
        let server = cores.next().unwrap_or(0);
        Ok(Self { server, load: cores.next().unwrap_or(server) })
    }

    /// Whether server and load have a core each.
    pub const fn are_apart(self) -> bool {
        self.server != self.load
    }
}

/// Keeps the calling thread, and the threads and processes that it starts
/// from now on, on one core.
///
/// # Errors
/// When there is no such core for this process.
pub fn pin(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

/// Starts something on a core: what `start` starts inherits it; the calling
/// thread itself goes back to where it was.
///
/// # Errors
/// When there is no such core for this process, or `start` fails.
pub fn on_core<T>(core: usize, start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let before = sched_getaffinity(None)?;
    pin(core)?;
    let started = start();
    sched_setaffinity(None, &before)?;
    started
}

/// Raises the number of files that this process, and those that it starts,
/// may have open: as far as allowed, and further where that is allowed. Gives
/// the number.
pub fn raise_file_limit(wanted: u64) -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let most = maximum.unwrap_or(u64::MAX);
    let raised = Rlimit { current: Some(wanted), maximum: Some(wanted.max(most)) };
    if current.is_some_and(|n| n >= wanted) || setrlimit(Resource::Nofile, raised).is_ok() {
        return wanted.max(current.unwrap_or(u64::MAX));
    }
    let raised = Rlimit { current: Some(most), maximum };
    let _ = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_thread_goes_back_to_where_it_was() {
        let before = sched_getaffinity(None).unwrap();
        let core = Cores::choose().unwrap().server;
        let inside = on_core(core, || Ok(sched_getaffinity(None)?)).unwrap();
        assert_eq!(inside.count(), 1);
        assert!(inside.is_set(core));
        assert_eq!(sched_getaffinity(None).unwrap(), before);
    }
}
