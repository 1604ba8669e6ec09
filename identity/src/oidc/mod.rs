//! Signing in by an account elsewhere: OpenID Connect, code flow with PKCE.
//!
//! 1. An app sends its user's browser to [`Identity::begin_oidc`], with where to
//!    come back to, which has to be one of the places that the settings name,
//!    and the hash of a secret that the app keeps.
//! 2. The browser gets a cookie and goes on to the provider, with a state, a
//!    nonce and the hash of a verifier; all three are kept under the state.
//! 3. It comes back to [`Identity::finish_oidc`] with a code. The state counts
//!    once, and only in the browser with the cookie, so nobody is signed in to
//!    the account of another. The server fetches the ID token with code,
//!    verifier and its own secret, and judges it by the provider's keys.
//! 4. The browser goes back to the app with a ticket, which counts once and for
//!    a minute. The app turns it into tokens with its secret
//!    ([`Identity::redeem_ticket`]): so no token is ever in an address, and a
//!    ticket that leaks there is worth nothing.
//!
//! `oidc_flows` holds what waits for a browser to come back, `oidc_tickets` what
//! waits for an app; both under the hash of the secret that names it.

mod flow;
mod provider;
mod says;
mod url;

use std::collections::BTreeMap;
use std::sync::Arc;

use avvy_auth::TokenError;
use avvy_auth::external::{JwksCachePolicy, Signatures};
use avvy_model::Code;

pub use flow::{Begun, CameBack};
pub use says::{Description, IssuerName, id_token};

use crate::fetch::{Fetch, FetchError};
use provider::Provider;

/// A provider, as the settings name it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProviderOptions {
    /// Its name in paths: small letters, digits and `-`.
    pub name: String,
    /// Its issuer, such as `https://accounts.google.com`; what it says of itself
    /// is at `/.well-known/openid-configuration` below.
    pub issuer: String,
    /// Of a provider each of whose tenants is an issuer, whose accounts sign in:
    /// the ids of tenants, or `*` for all. Empty: it has none.
    pub tenants: Vec<String>,
    /// By what it knows this server.
    pub client_id: String,
    /// The secret that goes with it; empty for a public client.
    pub client_secret: String,
    /// What is asked for; `openid` always is.
    pub scopes: Vec<String>,
}

/// How people sign in by accounts elsewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OidcOptions {
    /// By whose accounts.
    pub providers: Vec<ProviderOptions>,
    /// Where providers send browsers back to, up to the provider's name: such as
    /// `https://example.org/api/v1/auth/oidc`.
    pub callback: String,
    /// Where apps may be sent back to, byte by byte.
    pub redirects: Vec<String>,
    /// Seconds for which a browser may be away.
    pub flow_lifetime_s: u64,
    /// How far, in seconds, clocks may differ.
    pub leeway_s: u64,
    /// When a provider's keys are fetched.
    pub keys: JwksCachePolicy,
}

/// Why nobody is signed in by an account elsewhere.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OidcError {
    /// The place to come back to is none of those that the settings name.
    #[error("redirect_to: none of those that are allowed here")]
    Redirect,
    /// The app's secret is not of its form.
    #[error("challenge: the SHA-256 of the app's secret, in base64url, 43 characters")]
    Challenge,
    /// Nobody was sent away with this state, or they are back already.
    #[error("the state is not known, or not any more")]
    UnknownState,
    /// Another browser was.
    #[error("the sign-in was begun in another browser")]
    WrongBrowser,
    /// The answer is another provider's.
    #[error("the answer is from another provider")]
    WrongProvider,
    /// The ticket is not known, or the app's secret is not the one that was
    /// promised.
    #[error("the ticket is not known, not any more, or not this app's")]
    UnknownTicket,
    /// The provider cannot be asked, or says what nobody can understand.
    #[error("the provider: {0}")]
    Provider(String),
    /// The provider refuses: the person does, or the code is not one of its.
    #[error("the provider refuses: {0}")]
    Refused(String),
    /// The ID token does not count.
    #[error("the ID token: {0}")]
    Token(#[from] TokenError),
    /// The ID token is of another sign-in.
    #[error("the ID token is of another sign-in")]
    WrongNonce,
}

impl OidcError {
    /// The code that the asker is told.
    pub const fn code(&self) -> Code {
        match self {
            Self::Redirect | Self::Challenge => Code::Malformed,
            Self::Provider(_) | Self::Token(TokenError::KeysAway) => Code::Unavailable,
            Self::UnknownState
            | Self::WrongBrowser
            | Self::WrongProvider
            | Self::UnknownTicket
            | Self::Refused(_)
            | Self::Token(_)
            | Self::WrongNonce => Code::ProofInvalid,
        }
    }
}

impl From<FetchError> for OidcError {
    fn from(error: FetchError) -> Self {
        Self::Provider(error.to_string())
    }
}

/// Signing in by accounts elsewhere. Cloning shares it.
#[derive(Clone)]
pub struct Oidc(Arc<Inner>);

struct Inner {
    options: OidcOptions,
    providers: BTreeMap<String, Provider>,
    signatures: Arc<dyn Signatures + Send + Sync>,
}

impl Oidc {
    /// As the settings have it.
    pub fn new(
        options: OidcOptions,
        fetch: &Arc<dyn Fetch>,
        signatures: Arc<dyn Signatures + Send + Sync>,
    ) -> Self {
        let provider = |of: &ProviderOptions| {
            (of.name.clone(), Provider::new(of.clone(), &options, Arc::clone(fetch)))
        };
        let providers = options.providers.iter().map(provider).collect();
        Self(Arc::new(Inner { options, providers, signatures }))
    }
}
