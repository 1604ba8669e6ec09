//! A process whose wall clock is off: its questions for the time are answered
//! by a library (libfaketime) that `cargo xtask test` has fetched.

use super::program::fetched;

/// The environment of a process whose wall clock is off by so many seconds. Its
/// monotonic clock is as it should be.
///
/// # Panics
/// When the library is not there.
pub fn wall_clock_off_by(seconds: i64) -> [(&'static str, String); 3] {
    let folders = std::fs::read_dir(fetched("faketime/0.9.10/usr/lib"));
    let libraries = folders.into_iter().flatten().flatten();
    let mut libraries = libraries.map(|entry| entry.path().join("faketime/libfaketime.so.1"));
    let library = libraries.find(|path| path.exists());
    let library = library.expect("`cargo xtask test` fetches libfaketime");
    [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME", format!("{seconds:+}")),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
}
