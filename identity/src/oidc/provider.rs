//! One provider: what it says of itself, and what it is asked.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use avvy_auth::TokenError;
use avvy_auth::external::{
    ExternalIssuer, IdToken, JwksCachePolicy, Signatures, Subjects, Unverified,
};
use avvy_model::Role;
use base64ct::{Base64, Encoding};
use tokio::time::Instant;
use tracing::warn;

use super::says::{Description, IssuerName, MAX_ANSWER_BYTES, id_token};
use super::url::{encoded, form};
use super::{OidcError, OidcOptions, ProviderOptions};
use crate::fetch::{Fetch, FetchRequest, good};
use crate::issuer_keys::IssuerKeys;

/// How long what a provider says of itself is taken to hold.
const DISCOVERY_KEPT: Duration = Duration::from_secs(3_600);

/// What is known of a provider.
pub(super) struct Known {
    pub(super) says: Description,
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
    /// after a failure no sooner than the policy's pause; meanwhile what it said
    /// before counts, as its keys do.
    pub(super) async fn known(&self) -> Result<Arc<Known>, OidcError> {
        if let Some(known) = self.kept(DISCOVERY_KEPT) {
            return Ok(known);
        }
        let _asking = self.asking.lock().await;
        if let Some(known) = self.kept(DISCOVERY_KEPT) {
            return Ok(known);
        }
        let before = self.kept(Duration::from_millis(self.policy.max_stale_ms));
        let pause = Duration::from_millis(self.policy.pause_ms);
        if self.state().failed.is_some_and(|failed| failed.elapsed() < pause) {
            let just_now = || OidcError::Provider("it could not be asked just now".to_owned());
            return before.ok_or_else(just_now);
        }
        // Before the first answer: who is dropped here has tried, too.
        self.state().failed = Some(Instant::now());
        match self.discover(before.as_deref()).await {
            Ok(known) => {
                let known = Arc::new(known);
                *self.state() = State { known: Some(Arc::clone(&known)), failed: None };
                Ok(known)
            }
            Err(error) => {
                warn!(provider = self.options.name, %error, "a provider cannot be asked");
                before.ok_or(error)
            }
        }
    }

    /// What the provider said so long ago at most.
    fn kept(&self, age: Duration) -> Option<Arc<Known>> {
        self.state().known.clone().filter(|known| known.since.elapsed() < age)
    }

    async fn discover(&self, before: Option<&Known>) -> Result<Known, OidcError> {
        let ProviderOptions { issuer, tenants, .. } = &self.options;
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let body = good(self.ask(FetchRequest::get(&url, MAX_ANSWER_BYTES)).await?)?;
        let says = Description::read(&body, issuer, !tenants.is_empty())?;
        // Keys stay, with the pauses between their fetches, while they are where
        // they were.
        let same = before.filter(|before| before.says.jwks_uri == says.jwks_uri);
        let keys = same.map_or_else(
            || IssuerKeys::new(issuer, &says.jwks_uri, self.policy, Arc::clone(&self.fetch)),
            |before| Arc::clone(&before.keys),
        );
        Ok(Known { says, keys, since: Instant::now() })
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
        let token = id_token(answer.status, &answer.body)?;
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
        let Unverified { issuer, kid } = Unverified::read(token)?;
        if !self.lets_in(&known.says.issuer, &issuer) {
            return Err(TokenError::WrongIssuer.into());
        }
        let kid = kid.unwrap_or_default();
        known.keys.prepare(&kid).await;
        let policy = ExternalIssuer {
            issuer,
            audience: self.options.client_id.clone(),
            leeway_s: self.leeway_s,
            subjects: Subjects::Computed,
            // It lets nobody do anything here.
            role: Role::Visitor,
        };
        let judged = known.keys.judge(&kid, |jwks| {
            let of = jwks.issuer_of(&kid);
            match of.is_none_or(|of| known.says.issuer.is_signed_by(of, &policy.issuer)) {
                true => policy.verify_id_token(token, jwks, signatures, now_s),
                false => Err(TokenError::WrongIssuer),
            }
        });
        let said = judged.unwrap_or(Err(TokenError::KeysAway))?;
        if known
            .says
            .issuer
            .tenant(&said.issuer)
            .is_some_and(|of| said.tenant.as_deref() != Some(of))
        {
            return Err(TokenError::WrongIssuer.into());
        }
        if said.is_of(nonce) { Ok(said) } else { Err(OidcError::WrongNonce) }
    }

    /// Whether the accounts of an issuer sign in: of the provider, or of those of
    /// its tenants that the settings name.
    fn lets_in(&self, provider: &IssuerName, issuer: &str) -> bool {
        let is_named =
            |tenant: &str| self.options.tenants.iter().any(|it| it == "*" || it == tenant);
        provider.is(issuer) && provider.tenant(issuer).is_none_or(is_named)
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
        if client_secret.is_empty() || known.says.is_by_form {
            pairs.push(("client_id", client_id));
        }
        if !client_secret.is_empty() {
            if known.says.is_by_form {
                pairs.push(("client_secret", client_secret));
            } else {
                // RFC 6749, section 2.3.1: each is encoded as in a form before.
                let both = format!("{}:{}", encoded(client_id), encoded(client_secret));
                authorization = Some(format!("Basic {}", Base64::encode_string(both.as_bytes())));
            }
        }
        FetchRequest {
            url: known.says.token_endpoint.clone(),
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
