//! A provider that says whatever a test has it say.

use std::sync::{Arc, Mutex};

use avvy_auth::external::{JwksCachePolicy, Signatures};
use avvy_identity::{
    BoxFuture, CameBack, Fetch, FetchError, FetchRequest, Fetched, Identity, IdentityError, Oidc,
    OidcOptions, ProviderOptions, Tokens,
};
use base64ct::{Base64UrlUnpadded, Encoding};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use super::{NOW_S, at};

pub const ISSUER: &str = "https://id.example";
pub const APP: &str = "https://app.example/back";
/// The app's secret, and what it promises with.
pub const VERIFIER: &str = "the secret that the app keeps until it is back";

pub fn challenge() -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, VERIFIER.as_bytes());
    Base64UrlUnpadded::encode_string(hash.as_ref())
}

/// What it says.
#[derive(Clone)]
pub struct Says {
    pub description: Value,
    pub keys: Value,
    /// The header and the claims of the next ID token.
    pub header: Value,
    pub claims: Value,
    /// Instead of all that.
    pub instead: Option<Result<Fetched, FetchError>>,
}

pub struct Provider {
    key: Ed25519KeyPair,
    says: Mutex<Says>,
    asked: Mutex<Vec<String>>,
}

impl Provider {
    pub fn new() -> Arc<Self> {
        let key = Ed25519KeyPair::from_seed_unchecked(&[3; 32]).unwrap();
        let x = Base64UrlUnpadded::encode_string(key.public_key().as_ref());
        let says = Says {
            description: json!({
                "issuer": ISSUER,
                "authorization_endpoint": format!("{ISSUER}/authorize"),
                "token_endpoint": format!("{ISSUER}/token"),
                "jwks_uri": format!("{ISSUER}/keys"),
            }),
            keys: json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "k"}]}),
            header: json!({"alg": "EdDSA", "kid": "k"}),
            claims: Value::Null,
            instead: None,
        };
        Arc::new(Self { key, says: Mutex::new(says), asked: Mutex::default() })
    }

    /// By whose accounts people sign in, as the settings have it.
    pub fn options(issuer: &str, tenants: &[&str]) -> OidcOptions {
        OidcOptions {
            providers: vec![ProviderOptions {
                name: "local".to_owned(),
                issuer: issuer.to_owned(),
                tenants: tenants.iter().map(|&tenant| tenant.to_owned()).collect(),
                client_id: "us".to_owned(),
                client_secret: "secret".to_owned(),
                scopes: Vec::new(),
            }],
            callback: "https://example.org/api/v1/auth/oidc".to_owned(),
            redirects: vec![APP.to_owned()],
            flow_lifetime_s: 600,
            leeway_s: 5,
            keys: JwksCachePolicy {
                refresh_ms: 3_600_000,
                max_stale_ms: 86_400_000,
                pause_ms: 10_000,
                max_pause_ms: 60_000,
                timeout_ms: 5_000,
            },
        }
    }

    pub fn oidc(self: &Arc<Self>, options: OidcOptions) -> Oidc {
        let fetch = Arc::clone(self) as Arc<dyn Fetch>;
        Oidc::new(options, &fetch, Arc::new(OfNobody))
    }

    pub fn say(&self, change: impl FnOnce(&mut Says)) {
        change(&mut self.says.lock().unwrap());
    }

    /// The addresses that were asked.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn token(&self, says: &Says) -> String {
        let part = |value: &Value| Base64UrlUnpadded::encode_string(value.to_string().as_bytes());
        let message = format!("{}.{}", part(&says.header), part(&says.claims));
        let signature = self.key.sign(message.as_bytes());
        format!("{message}.{}", Base64UrlUnpadded::encode_string(signature.as_ref()))
    }
}

impl Fetch for Provider {
    fn fetch(&self, request: FetchRequest) -> BoxFuture<'_, Result<Fetched, FetchError>> {
        self.asked.lock().unwrap().push(request.url.clone());
        let says = self.says.lock().unwrap().clone();
        Box::pin(async move {
            if let Some(instead) = says.instead {
                return instead;
            }
            let body = match request.url.rsplit('/').next() {
                Some("openid-configuration") => says.description.to_string(),
                Some("keys") => says.keys.to_string(),
                _ => json!({"id_token": self.token(&says)}).to_string(),
            };
            Ok(Fetched { status: 200, body: body.into_bytes() })
        })
    }
}

struct OfNobody;

impl Signatures for OfNobody {
    fn rs256(&self, _: &[u8], _: &[u8], _: &[u8], _: &[u8]) -> bool {
        false
    }

    fn es256(&self, _: &[u8; 65], _: &[u8], _: &[u8]) -> bool {
        false
    }
}

pub fn param(url: &str, name: &str) -> Option<String> {
    let pairs = url.split_once('?')?.1.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}

/// A browser that was sent away.
pub struct Away {
    pub nonce: String,
    pub back: CameBack,
}

pub async fn away(people: &Identity) -> Away {
    let begun = people.begin_oidc("local", APP, &challenge(), NOW_S).await.unwrap();
    let [nonce, state] = ["nonce", "state"].map(|name| param(&begun.location, name).unwrap());
    let (code, browser) = (Some("code".to_owned()), Some(begun.browser));
    Away { nonce, back: CameBack { state, code, browser, ..CameBack::default() } }
}

/// What the provider says of this account, to this sign-in.
pub fn claims(subject: &str, nonce: &str) -> Value {
    json!({
        "iss": ISSUER, "aud": "us", "sub": subject, "nonce": nonce, "name": "Ada",
        "iat": NOW_S, "exp": NOW_S + 600,
    })
}

/// Where a browser goes on to that has signed in to this account.
pub async fn back(people: &Identity, provider: &Provider, subject: &str) -> String {
    let Away { nonce, back } = away(people).await;
    provider.say(|says| says.claims = claims(subject, &nonce));
    people.finish_oidc("local", back, NOW_S).await.unwrap()
}

pub async fn ticket(people: &Identity, provider: &Provider, subject: &str) -> String {
    let location = back(people, provider, subject).await;
    param(&location, "ticket").unwrap_or_else(|| panic!("{location}"))
}

pub async fn by_account(
    people: &Identity,
    provider: &Provider,
    subject: &str,
) -> Result<Tokens, IdentityError> {
    let ticket = ticket(people, provider, subject).await;
    people.redeem_ticket(&ticket, VERIFIER, &at(NOW_S)).await
}
