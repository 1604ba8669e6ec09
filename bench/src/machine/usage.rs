//! What a process has used, from `/proc`.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::time::Duration;

/// One tick of `/proc/PID/stat`. Linux shows 100 a second on every machine
/// that this runs on.
const TICK: Duration = Duration::from_millis(10);

/// The processor time of a process at one moment.
#[derive(Clone, Default, Debug)]
pub struct CpuTime {
    /// Of each thread that is there, in nanoseconds (`schedstat`).
    threads: HashMap<String, u64>,
    /// Of the process with the threads that have ended (`stat`), to a tick.
    whole: Duration,
}

impl CpuTime {
    /// What was used since an earlier moment. To the nanosecond as long as no
    /// thread ended meanwhile, else to a tick.
    pub fn since(&self, earlier: &Self) -> Duration {
        let used = |(thread, now): (&String, &u64)| {
            now.saturating_sub(earlier.threads.get(thread).copied().unwrap_or(0))
        };
        let fine = Duration::from_nanos(self.threads.iter().map(used).sum());
        let coarse = self.whole.saturating_sub(earlier.whole);
        if coarse > fine + 2 * TICK { coarse } else { fine }
    }
}

/// Reads the processor time of a process.
///
/// # Errors
/// When there is no such process.
pub fn cpu_time(pid: u32) -> io::Result<CpuTime> {
    let mut threads = HashMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let entry = entry?;
        // A thread may end between the two.
        let Ok(text) = fs::read_to_string(entry.path().join("schedstat")) else { continue };
        let nanos = text.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        threads.insert(entry.file_name().to_string_lossy().into_owned(), nanos);
    }
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    Ok(CpuTime { threads, whole: ticks(&stat).ok_or(io::ErrorKind::InvalidData)? })
}

/// `utime` and `stime` (fields 14 and 15) of `/proc/PID/stat`. The second
/// field is the program's name in brackets, which may hold anything.
fn ticks(stat: &str) -> Option<Duration> {
    let after_name = &stat[stat.rfind(')')? + 1..];
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let mut field = || fields.next()?.parse::<u32>().ok();
    Some(TICK * (field()? + field()?))
}

/// The memory of a process, in KiB (`smaps_rollup`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
    /// Its share of the pages that it has in memory. This is the figure used.
    pub pss_kib: u64,
    /// Pages that it alone has.
    pub private_kib: u64,
    /// Pages that it has in memory, shared ones in full.
    pub rss_kib: u64,
}

/// Reads the memory of a process. What the kernel keeps for its sockets is
/// not in it.
///
/// # Errors
/// When there is no such process.
pub fn memory(pid: u32) -> io::Result<Memory> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let kib = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()
    };
    let read = || {
        Some(Memory {
            pss_kib: kib("Pss:")?,
            private_kib: kib("Private_Clean:")? + kib("Private_Dirty:")?,
            rss_kib: kib("Rss:")?,
        })
    };
    read().ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ticks_are_found_behind_any_name() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0";
        assert_eq!(ticks(stat), Some(Duration::from_secs(2)));
    }

    #[test]
    fn own_usage_is_seen() {
        let own = std::process::id();
        let before = cpu_time(own).unwrap();
        let started = std::time::Instant::now();
        let mut sum = 0u64;
        while started.elapsed() < Duration::from_millis(60) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let used = cpu_time(own).unwrap().since(&before);
        assert!(used > Duration::from_millis(5), "{used:?}");
        assert!(memory(own).unwrap().pss_kib > 100);
    }
}
