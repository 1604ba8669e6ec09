//! Others who have revoked as much as they may.

use std::sync::Arc;
use std::time::SystemTime;

use avvy_actors::REVOKED;
use avvy_auth::{MAX_SIGN_IN_TOKEN_S, Revocation};
use avvy_model::UserId;
use avvy_persistence::Store;
use avvy_persistence::cache::{Member, MetaSet, SharedSet};
use serde_json::json;
use uuid::Uuid;

use super::Server;

/// Puts it into a store: ten thousand accounts that have all signed out just now,
/// and whatever more there is room for.
pub async fn fill(store: Arc<dyn Store>) {
    let now_s = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let user = || UserId::new(Uuid::new_v4());
    let before = |is_lasting| Revocation::Before { user: user(), issued_s: now_s + 1, is_lasting };
    let ends_s = Some(now_s + MAX_SIGN_IN_TOKEN_S);
    let tokens = (0..12_000).map(|_| Revocation::token(user(), Uuid::new_v4(), ends_s, now_s));
    let lasting = (0..8_000).map(|_| before(true));
    let lately = (0..10_000).map(|_| before(false));
    let all = tokens.chain(lasting).chain(lately);
    let members = all.map(|one| Member { name: one.name(), until_s: one.until_s() }).collect();
    MetaSet::new(store, REVOKED).add(members, now_s).await.unwrap();
}

/// Somebody signs out of a server on such a store, and stays so.
pub fn nobody_is_kept_from_signing_out(start: impl Fn() -> Server) {
    let server = start();
    let (status, tokens) = server.post("/api/v1/auth/dev", &json!({"name": "ada"}));
    assert_eq!(status, 200, "{tokens}");
    let access = tokens["access_token"].as_str().unwrap();
    let (status, body) = server.request("POST", "/api/v1/auth/sign-out-everywhere", access);
    assert_eq!(status, 204, "{body}");
    server.kill();
    let server = start();
    let (status, body) = server.request("GET", "/api/v1/auth/sessions", access);
    assert!(status == 401 && body.contains("token_revoked"), "{status} {body}");
    assert_eq!(server.drain().code(), Some(0));
}
