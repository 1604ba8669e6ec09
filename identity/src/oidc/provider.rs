//! One provider: what it says of itself, and what it is asked.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use avvy_auth::external::{
    ExternalIssuer, IdToken, JwksCachePolicy, Signatures, Subjects, Unverified,
};
use avvy_model::Role;
use base64ct::{Base64, Encoding};
use serde::Deserialize;

use super::url::{encoded, form};
use super::{OidcError, OidcOptions, ProviderOptions};
use crate::fetch::{Fetch, FetchRequest, good};
use crate::issuer_keys::IssuerKeys;

/// Bytes of the largest description of a provider, or answer with tokens.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// How long what a provider says of itself is taken to hold.
const DISCOVERY_KEPT: Duration = Duration::from_secs(3_600);

/// What a provider says of itself (OpenID Connect Discovery 1.0, section 3).
/// What is not known is passed over.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

/// The answer of a token endpoint (RFC 6749, section 5).
#[derive(Deserialize)]
struct TokenAnswer {
    id_token: Option<String>,
    error: Option<String>,
}

/// What is known of a provider.
pub(super) struct Known {
    pub(super) authorization_endpoint: String,
    token_endpoint: String,
    /// The secret goes into the form, not into a header.
    is_by_form: bool,
    keys: Arc<IssuerKeys>,
    since: Instant,
}

/// A provider.
pub(super) struct Provider {
    options: ProviderOptions,
    leeway_s: u64,
    policy: JwksCachePolicy,
    fetch: Arc<dyn Fetch>,
    state: Mutex<State>,
    /// Held by who asks what it says of itself.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    known: Option<Arc<Known>>,
    /// When asking failed last.
    failed: Option<Instant>,
}

impl Provider {
    pub(super) fn new(options: ProviderOptions, of: &OidcOptions, fetch: Arc<dyn Fetch>) -> Self {
        let (state, asking) = Default::default();
        Self { options, leeway_s: of.leeway_s, policy: of.keys, fetch, state, asking }
    }

    pub(super) const fn options(&self) -> &ProviderOptions {
        &self.options
    }

    /// What the provider says of itself. Asked for again after an hour, and
    /// after a failure no sooner than the policy's pause.
    pub(super) async fn known(&self) -> Result<Arc<Known>, OidcError> {
        if let Some(known) = self.kept() {
            return Ok(known);
        }
        let _asking = self.asking.lock().await;
        if let Some(known) = self.kept() {
            return Ok(known);
        }
        let pause = Duration::from_millis(self.policy.pause_ms);
        if self.state().failed.is_some_and(|failed| failed.elapsed() < pause) {
            return Err(OidcError::Provider("it could not be asked just now".to_owned()));
        }
        // Before the first answer: who is dropped here has tried, too.
        self.state().failed = Some(Instant::now());
        let known = Arc::new(self.discover().await?);
        *self.state() = State { known: Some(Arc::clone(&known)), failed: None };
        Ok(known)
    }

    fn kept(&self) -> Option<Arc<Known>> {
        self.state().known.clone().filter(|known| known.since.elapsed() < DISCOVERY_KEPT)
    }

    async fn discover(&self) -> Result<Known, OidcError> {
        let issuer = &self.options.issuer;
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let body = good(self.ask(FetchRequest::get(&url, MAX_ANSWER_BYTES)).await?)?;
        let read: Discovery = serde_json::from_slice(&body).map_err(|_| {
            OidcError::Provider("what it says of itself is no description".to_owned())
        })?;
        if read.issuer != *issuer {
            return Err(OidcError::Provider(format!("says that it is {:?}", read.issuer)));
        }
        let methods = read.token_endpoint_auth_methods_supported;
        let has = |methods: &Vec<String>, name: &str| methods.iter().any(|method| method == name);
        let is_by_form = methods.is_some_and(|methods| {
            !has(&methods, "client_secret_basic") && has(&methods, "client_secret_post")
        });
        let keys = IssuerKeys::new(issuer, &read.jwks_uri, self.policy, Arc::clone(&self.fetch));
        Ok(Known {
            authorization_endpoint: read.authorization_endpoint,
            token_endpoint: read.token_endpoint,
            is_by_form,
            keys,
            since: Instant::now(),
        })
    }

    /// Turns a code into what the ID token says, which is of this sign-in.
    pub(super) async fn redeem(
        &self,
        code: &str,
        verifier: &str,
        callback: &str,
        nonce: &str,
        signatures: &(dyn Signatures + Send + Sync),
        now_s: u64,
    ) -> Result<IdToken, OidcError> {
        let known = self.known().await?;
        let request = self.token_request(&known, code, verifier, callback);
        let answer = self.ask(request).await?;
        let read: TokenAnswer = serde_json::from_slice(&answer.body)
            .map_err(|_| OidcError::Provider(format!("status {}", answer.status)))?;
        if let Some(error) = read.error {
            return Err(OidcError::Refused(short(&error)));
        }
        let token = read.id_token.filter(|_| answer.status == 200);
        let token = token.ok_or_else(|| OidcError::Provider("gives no ID token".to_owned()))?;
        self.judge(&known, &token, nonce, signatures, now_s).await
    }

    async fn judge(
        &self,
        known: &Known,
        token: &str,
        nonce: &str,
        signatures: &(dyn Signatures + Send + Sync),
        now_s: u64,
    ) -> Result<IdToken, OidcError> {
        let kid = Unverified::read(token)?.kid.unwrap_or_default();
        known.keys.prepare(&kid).await;
        let policy = ExternalIssuer {
            issuer: self.options.issuer.clone(),
            audience: self.options.client_id.clone(),
            leeway_s: self.leeway_s,
            subjects: Subjects::Computed,
            // It lets nobody do anything here.
            role: Role::Visitor,
        };
        let judged =
            known.keys.judge(&kid, |jwks| policy.verify_id_token(token, jwks, signatures, now_s));
        let said = judged.unwrap_or(Err(avvy_auth::TokenError::KeysAway))?;
        if said.is_of(nonce) { Ok(said) } else { Err(OidcError::WrongNonce) }
    }

    fn token_request(
        &self,
        known: &Known,
        code: &str,
        verifier: &str,
        callback: &str,
    ) -> FetchRequest {
        let ProviderOptions { client_id, client_secret, .. } = &self.options;
        let mut pairs = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", callback),
            ("code_verifier", verifier),
        ];
        let mut authorization = None;
        if client_secret.is_empty() || known.is_by_form {
            pairs.push(("client_id", client_id));
        }
        if !client_secret.is_empty() {
            if known.is_by_form {
                pairs.push(("client_secret", client_secret));
            } else {
                // RFC 6749, section 2.3.1: each is encoded as in a form before.
                let both = format!("{}:{}", encoded(client_id), encoded(client_secret));
                authorization = Some(format!("Basic {}", Base64::encode_string(both.as_bytes())));
            }
        }
        FetchRequest {
            url: known.token_endpoint.clone(),
            form: Some(form(&pairs)),
            authorization,
            max_bytes: MAX_ANSWER_BYTES,
        }
    }

    async fn ask(&self, request: FetchRequest) -> Result<crate::fetch::Fetched, OidcError> {
        let limit = Duration::from_millis(self.policy.timeout_ms);
        let answer = tokio::time::timeout(limit, self.fetch.fetch(request)).await;
        Ok(answer.unwrap_or_else(|_| Err(crate::FetchError("no answer in time".to_owned())))?)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a provider says, as far as it is told on.
pub(super) fn short(said: &str) -> String {
    said.chars().filter(|letter| letter.is_ascii_graphic()).take(64).collect()
}
