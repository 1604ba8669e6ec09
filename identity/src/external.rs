//! Tokens of other issuers that count here.

use std::collections::BTreeMap;
use std::sync::Arc;

use avvy_auth::external::{ExternalIssuer, JwksCachePolicy, OtherIssuers, Signatures, Unverified};
use avvy_auth::{Claims, TokenError};

use crate::fetch::Fetch;
use crate::issuer_keys::IssuerKeys;

/// Another issuer, and where its keys are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct External {
    /// Whose tokens count, and what they let do.
    pub policy: ExternalIssuer,
    /// Where its keys are: `https`, or `http` on this machine.
    pub jwks_url: String,
}

/// Judges tokens of other issuers. Cloning shares it.
#[derive(Clone)]
pub struct ExternalTokens {
    issuers: Arc<BTreeMap<String, One>>,
    signatures: Arc<dyn Signatures + Send + Sync>,
}

struct One {
    policy: ExternalIssuer,
    keys: Arc<IssuerKeys>,
}

impl ExternalTokens {
    /// Of these issuers, whose keys are fetched as the policy has it.
    pub fn new(
        issuers: Vec<External>,
        policy: JwksCachePolicy,
        fetch: &Arc<dyn Fetch>,
        signatures: Arc<dyn Signatures + Send + Sync>,
    ) -> Self {
        let one = |external: External| {
            let External { policy: of, jwks_url } = external;
            let keys = IssuerKeys::new(&of.issuer, &jwks_url, policy, Arc::clone(fetch));
            (of.issuer.clone(), One { policy: of, keys })
        };
        Self { issuers: Arc::new(issuers.into_iter().map(one).collect()), signatures }
    }

    /// Of nobody.
    pub fn none() -> Self {
        Self { issuers: Arc::default(), signatures: Arc::new(Nobody) }
    }

    /// Fetches the keys that a token needs, if it is of one of these issuers
    /// and they are not there. Within a bound of time; whether they came is told
    /// by the judgement.
    pub async fn prepare(&self, token: &str) {
        if let Some((one, kid)) = self.of(token) {
            one.keys.prepare(&kid).await;
        }
    }

    /// Fetches all keys that are not there, at a start.
    pub async fn warm(&self) {
        for one in self.issuers.values() {
            // No key has no name.
            one.keys.prepare("").await;
        }
    }

    fn of(&self, token: &str) -> Option<(&One, String)> {
        if self.issuers.is_empty() {
            return None;
        }
        let unverified = Unverified::read(token).ok()?;
        let one = self.issuers.get(&unverified.issuer)?;
        Some((one, unverified.kid.unwrap_or_default()))
    }
}

/// Of nobody nothing is verified.
struct Nobody;

impl Signatures for Nobody {
    fn rs256(&self, _: &[u8], _: &[u8], _: &[u8], _: &[u8]) -> bool {
        false
    }

    fn es256(&self, _: &[u8; 65], _: &[u8], _: &[u8]) -> bool {
        false
    }
}

impl OtherIssuers for ExternalTokens {
    fn verify(&self, token: &str, now_s: u64) -> Option<Result<Claims, TokenError>> {
        let (one, kid) = self.of(token)?;
        let judged = one
            .keys
            .judge(&kid, |jwks| one.policy.verify(token, jwks, self.signatures.as_ref(), now_s));
        Some(judged.unwrap_or(Err(TokenError::KeysAway)))
    }
}
