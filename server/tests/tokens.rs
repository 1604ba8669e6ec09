//! Tokens of a running server: who signs them, and who ends them.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::sync::Arc;

use avvy_persistence::Store;
use avvy_persistence::sqlite::{SqliteOptions, SqliteStore};
use common::{Server, revoked};

#[test]
fn whoever_comes_with_many_accounts_keeps_nobody_from_signing_out() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Arc::new(SqliteStore::open(&SqliteOptions::at(&data)).unwrap());
        revoked::fill(Arc::<SqliteStore>::clone(&store)).await;
        store.close().await.unwrap();
    });
    let settings = [("AVVY_AUTH_DEVELOPMENT_SIGN_IN", "true"), ("AVVY_SERVER_DEMO_OBJECTS", "0")];
    revoked::nobody_is_kept_from_signing_out(|| Server::start_with(&data, &settings));
}
