//! What Schemathesis makes up from the document of a running server, in both
//! forms: no answer is missing from the document, none is of another shape, and
//! none is the server's own fault.
//!
//! `AVVYLAND_API_EXAMPLES=500 cargo test -p avvy-net --test schemathesis` looks
//! deeper than the usual 8 examples for each operation and phase.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use avvy_actors::{Rate, SystemConfig};
use avvy_model::{Role, Visibility};
use avvy_net::NetConfig;
use common::TestServer;
use uuid::Uuid;

const ADMIN: &str = "0123456789abcdef0123456789abcdef";

/// What is held to the document. A field too many is no fault here, so not what
/// asks that each odd body be refused.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,\
    unsupported_method,ignored_auth";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_holds_for_cbor() {
    holds_for("application/cbor").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_holds_for_json() {
    holds_for("application/json").await;
}

async fn holds_for(form: &'static str) {
    let server = server().await;
    let brane = server.brane(Visibility::Public).await.to_string();
    // Nobody makes up this user's id.
    let token = server.token_for(Uuid::new_v4().as_u128(), Role::Owner, 1_000);
    let (url, held) = (format!("http://{}", server.address), token.clone());
    let ran = tokio::task::spawn_blocking(move || run(&url, &held, &brane, form)).await.unwrap();
    assert!(
        ran.status.success(),
        "{}{}",
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr)
    );
    // It was let in to the end, and what it asked for was done.
    let mut client = server.client().await;
    client.token = Some(token);
    let (status, page) = client.json("GET", "/api/v1/brane?limit=1000", None).await;
    assert_eq!(status, 200);
    assert!(page["branes"].as_array().unwrap().len() > 5, "{page}");
    server.end().await;
}

/// A server that is as fast as it can be, so that no rate says no.
async fn server() -> TestServer {
    let net = NetConfig {
        admin_token: Some(ADMIN.to_owned()),
        requests_per_second: 1_000_000,
        requests_burst: 1_000_000,
        ..NetConfig::default()
    };
    let mut system = SystemConfig::default();
    let fast = Rate { per_second: 1_000_000, burst: 1_000_000 };
    (system.user.creates, system.user.pages, system.user.refreshes) = (fast, fast, fast);
    system.max_branes_per_user = 1_000_000;
    TestServer::tuned(net, system, 0, None).await
}

fn run(url: &str, token: &str, brane: &str, form: &str) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = std::env::var_os("AVVYLAND_PYTHON")
        .map_or_else(|| root.join("../.cache/venv/bin/python"), PathBuf::from);
    assert!(python.exists(), "no Python environment; `cargo xtask test` makes it");
    let examples = std::env::var("AVVYLAND_API_EXAMPLES").unwrap_or_else(|_| "8".to_owned());
    let place = tempfile::tempdir().unwrap();
    Command::new(python)
        .args(["-B", "-m", "schemathesis.cli", "run", &format!("{url}/api/v1/openapi.json")])
        .args(["--url", url, "--checks", CHECKS, "--phases", "examples,coverage,fuzzing"])
        .args(["--seed", "1", "--generation-deterministic", "--max-examples", &examples])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .args(["--header", &format!("X-Admin-Token: {ADMIN}")])
        .args(["--header", &format!("Accept: {form}")])
        // To sign out would end the rest; what `/ws` becomes is not HTTP.
        .args(["--exclude-path-regex", "revoke|sign-out|^/ws$"])
        .args(["--warnings", "off", "--continue-on-failure"])
        .env("AVVYLAND_BRANE", brane)
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", root.join("tests/schemathesis"))
        .current_dir(place.path())
        .output()
        .unwrap()
}
