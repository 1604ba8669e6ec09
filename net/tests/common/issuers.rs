//! Other issuers that mean no good, each by what its keys are asked for.

use std::sync::Arc;

use avvy_auth::external::{ExternalIssuer, JwksCachePolicy, Signatures, Subjects};
use avvy_identity::{
    BoxFuture, External, ExternalTokens, Fetch, FetchError, FetchRequest, Fetched,
};
use avvy_model::Role;

/// What each of them says instead of its keys.
pub const HOSTILE: [&str; 5] = ["long", "nested", "redirecting", "secret", "silent"];

pub fn external() -> ExternalTokens {
    let policy = JwksCachePolicy {
        refresh_ms: 3_600_000,
        max_stale_ms: 3_600_000,
        pause_ms: 3_600_000,
        max_pause_ms: 3_600_000,
        timeout_ms: 200,
    };
    let one = |name: &str| External {
        policy: ExternalIssuer {
            issuer: name.to_owned(),
            audience: "test".to_owned(),
            leeway_s: 5,
            subjects: Subjects::Computed,
            role: Role::Owner,
        },
        jwks_url: format!("https://id.example/{name}"),
    };
    let fetch = Arc::new(Says) as Arc<dyn Fetch>;
    ExternalTokens::new(HOSTILE.map(one).to_vec(), policy, &fetch, Arc::new(OfAnybody))
}

struct Says;

impl Fetch for Says {
    fn fetch(&self, request: FetchRequest) -> BoxFuture<'_, Result<Fetched, FetchError>> {
        Box::pin(async move {
            let (status, body) = match request.url.rsplit('/').next() {
                Some("long") => (200, format!("{{\"keys\":[]{}}}", " ".repeat(1 << 20))),
                Some("nested") => (200, "[".repeat(60_000)),
                Some("redirecting") => (302, r#"{"keys":[]}"#.to_owned()),
                Some("secret") => {
                    (200, r#"{"keys":[{"kty":"oct","kid":"k","k":"AA"}]}"#.to_owned())
                }
                _ => std::future::pending().await,
            };
            Ok(Fetched { status, body: body.into_bytes() })
        })
    }
}

/// Every signature would do.
struct OfAnybody;

impl Signatures for OfAnybody {
    fn rs256(&self, _: &[u8], _: &[u8], _: &[u8], _: &[u8]) -> bool {
        true
    }

    fn es256(&self, _: &[u8; 65], _: &[u8], _: &[u8]) -> bool {
        true
    }
}
