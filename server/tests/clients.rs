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
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let python = std::env::var_os("AVVYLAND_PYTHON")
        .map_or_else(|| root.join(".cache/venv/bin/python"), PathBuf::from);
    assert!(python.exists(), "no Python environment; `cargo xtask test` makes it");
    let scenario = Command::new(python)
        .args(["-B", "tests/scenario.py", "--url", &format!("ws://{}/ws", server.address())])
        .args(["--token", &server.token, "--brane", &server.demo_brane])
        .current_dir(root.join("client/python"))
        .output()
        .unwrap();
    assert!(
        scenario.status.success(),
        "{}{}",
        String::from_utf8_lossy(&scenario.stdout),
        String::from_utf8_lossy(&scenario.stderr)
    );
    assert_eq!(server.drain().code(), Some(0));
}
