//! Clients that were written from the protocol's document alone.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::path::PathBuf;
use std::process::Command;

use common::Server;

/// The Python client joins, edits, is cut off, resumes, and ends with the
/// server's state hash.
#[test]
fn the_python_client_follows_a_brane() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&directory.path().join("data"));
    runs(&server, "tests/scenario.py");
    assert_eq!(server.drain().code(), Some(0));
}

/// Whatever walkers do, their copies are what their views show. The server
/// remembers so little that some who come back begin anew.
#[test]
fn walkers_see_what_is_there_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let settings = [("AVVY_BRANE_RING_WINDOWS", "50")];
    let server = Server::start_with(&directory.path().join("data"), &settings);
    runs(&server, "tests/walkers.py");
    assert_eq!(server.drain().code(), Some(0));
}

/// Runs a program of the Python client in the demo brane.
fn runs(server: &Server, program: &str) {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let python = std::env::var_os("AVVYLAND_PYTHON")
        .map_or_else(|| root.join(".cache/venv/bin/python"), PathBuf::from);
    assert!(python.exists(), "no Python environment; `cargo xtask test` makes it");
    let ran = Command::new(python)
        .args(["-B", program, "--url", &format!("ws://{}/ws", server.address())])
        .args(["--token", &server.token, "--brane", &server.demo_brane])
        .current_dir(root.join("client/python"))
        .output()
        .unwrap();
    assert!(
        ran.status.success(),
        "{}{}",
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr)
    );
}
