//! The fuzzer: libFuzzer around the target that `AVVY_FUZZ_TARGET` names.
//! `cargo xtask fuzz` builds and runs it.

#![no_main]
#![allow(unsafe_code, reason = "libFuzzer calls this program from C")]

use std::sync::LazyLock;

use avvy_fuzz::{TARGETS, Target};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("AVVY_FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|target| target.name == name);
    found.unwrap_or_else(|| panic!("AVVY_FUZZ_TARGET is {name:?}, which is no target"))
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (TARGET.run)(bytes));
