//! The commands on a machine that lacks what they need.

#![allow(clippy::unwrap_used, missing_docs)]
#![cfg(target_os = "linux")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// What a command says, on a machine where only these programs are.
fn says(command: &str, programs: &Path) -> String {
    let xtask = env!("CARGO_BIN_EXE_xtask");
    let output = Command::new(xtask).arg(command).env("PATH", programs).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn who_lacks_make_is_told_what_to_install() {
    let programs = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bare");
    let _ = fs::remove_dir_all(&programs);
    fs::create_dir(&programs).unwrap();
    let needed = "make is needed (Debian: apt-get install make)";
    let told = says("run", &programs);
    assert_eq!(told, format!("xtask: {needed}\n"), "nobody who could install it");

    // Root, and a package archive that cannot be reached.
    for (program, script) in [("id", "echo 0"), ("apt-get", "exit 100")] {
        let program = programs.join(program);
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    }
    let told = says("run", &programs);
    assert!(told.starts_with(&format!("xtask: {needed}")), "{told}");
}

#[test]
fn nothing_is_installed_for_a_command_that_is_none() {
    let told = says("rum", Path::new("/nowhere"));
    assert!(told.starts_with("xtask: there is no command \"rum\""), "{told}");
}
