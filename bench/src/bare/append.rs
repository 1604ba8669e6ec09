//! Bytes appended to a file and synced, at a rate: the least that a durable
//! acknowledgement can wait for.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::histogram::Histogram;
use crate::machine;

/// Appends `bytes` to `file` and syncs (`fdatasync`), `per_s` times a second
/// for so long, in a thread on `core`. Gives how long each took.
///
/// # Errors
/// When the file cannot be written.
pub fn append(
    file: &Path,
    bytes: usize,
    per_s: f64,
    time: Duration,
    core: usize,
) -> Result<Histogram> {
    let mut file = File::options().create(true).append(true).open(file)?;
    let work = move || -> Result<Histogram> {
        let bytes = vec![0x5a; bytes];
        let mut latency = Histogram::default();
        let started = Instant::now();
        for number in 0.. {
            let due = started + Duration::from_secs_f64(f64::from(number) / per_s);
            if due > started + time {
                break;
            }
            sleep_until(due);
            let begun = Instant::now();
            file.write_all(&bytes)?;
            file.sync_data()?;
            latency.record(begun.elapsed().as_micros() as u32);
        }
        Ok(latency)
    };
    let thread = machine::on_core(core, || Ok(std::thread::spawn(work)))?;
    thread.join().unwrap_or_else(|_| anyhow::bail!("the appending thread panicked"))
}

#[expect(clippy::disallowed_methods, reason = "no runtime here; this thread only waits")]
fn sleep_until(due: Instant) {
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
}
