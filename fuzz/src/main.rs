//! The fuzzer: libFuzzer around the target that `AVVY_FUZZ_TARGET` names.
//! `cargo xtask fuzz` builds and runs it. The target's seeds are written to the
//! folder that `AVVY_FUZZ_SEEDS` names, if it does.

#![no_main]
#![allow(unsafe_code, reason = "libFuzzer calls this program from C")]

use std::path::Path;
use std::sync::LazyLock;

use avvy_fuzz::{TARGETS, Target};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("AVVY_FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|target| target.name == name);
    found.unwrap_or_else(|| panic!("AVVY_FUZZ_TARGET is {name:?}, which is no target"))
});

libfuzzer_sys::fuzz_target!(init: write_seeds(), |bytes: &[u8]| (TARGET.run)(bytes));

/// Before the fuzzer reads what there is.
fn write_seeds() {
    let Some(folder) = std::env::var_os("AVVY_FUZZ_SEEDS") else { return };
    for (number, seed) in (TARGET.seeds)().into_iter().enumerate() {
        let file = Path::new(&folder).join(format!("seed-{number:05}"));
        std::fs::write(&file, seed).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
}
