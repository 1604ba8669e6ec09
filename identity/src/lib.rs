//! People: who is here, by what they sign in, and what keeps them signed in.
//!
//! The rules are those of `avvy_auth`; here they meet what is stored. Everything
//! is a [record](avvy_persistence::records), so every store and every node of a
//! fleet will do. What decides who somebody is is read from the store itself,
//! never from a cache. Nothing here knows HTTP.
//!
//! | collection | key | what it is |
//! |---|---|---|
//! | `users` | user | what others see of somebody ([`User`]) |
//! | `ways_in` | way | whom a wallet, or an account elsewhere, signs in |
//! | `ways_of` | user | all such ways of one user |
//! | `families` | session | what keeps somebody signed in ([`SignedIn`]) |
//! | `challenges` | nonce | what a wallet was asked to sign |
//! | `oidc_flows` | hash of a state | a browser that is away at a provider ([`Oidc`]) |
//! | `oidc_tickets` | hash of a ticket | one that has come back |
//! | `key_rings` | `tokens` | the keys that sign tokens, where servers share them ([`KeyStore`]) |

mod accounts;
mod challenges;
mod development;
mod error;
mod external;
mod fetch;
mod guard;
mod issuer_keys;
mod keys;
mod oidc;
pub mod repeats;
mod sessions;
mod stored;
mod users;
mod wallets;
mod ways;

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use avvy_auth::family::FamilyPolicy;
use avvy_auth::lockout::LockOutPolicy;
use avvy_auth::wallet::Site;
use avvy_auth::{Issuer, Revocation};
use avvy_model::{Code, UserId};
use avvy_persistence::records::Records;

pub use accounts::Account;
pub use avvy_persistence::BoxFuture;
pub use challenges::{Asked, Wanted};
pub use error::IdentityError;
pub use external::{External, ExternalTokens};
pub use fetch::{Fetch, FetchError, FetchRequest, Fetched};
pub use keys::{KeyStore, KeysError, MIN_SECRET_BYTES};
pub use oidc::{
    Begun, CameBack, Description, IssuerName, Oidc, OidcError, OidcOptions, ProviderOptions,
    id_token,
};
pub use sessions::{MAX_SIGN_INS, SignedIn, Tokens};
pub use users::{MAX_ABOUT_BYTES, MAX_NAME_BYTES, User, UserChange};
pub use wallets::Signed;

use guard::Guard;
use stored::Stored;

/// What is known and done about tokens that end before their time.
pub trait Revocations: Send + Sync + 'static {
    /// The Unix second before which all of a user's sign-ins have ended.
    fn signed_out_s(&self, user: UserId) -> Option<u64>;

    /// Ends tokens: here at once, elsewhere as soon as it is heard of. Gives the
    /// Unix second until which it is remembered.
    ///
    /// # Errors
    /// `too_large` for a user who has ended too many one by one; `unavailable`
    /// when nothing that outlives this process has it yet.
    fn revoke(&self, revocation: Revocation) -> BoxFuture<'_, Result<u64, Code>>;
}

/// How people sign in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdentityOptions {
    /// Seconds for which an access token counts, at most
    /// [`avvy_auth::MAX_SIGN_IN_TOKEN_S`].
    pub access_lifetime_s: u64,
    /// How long somebody stays signed in.
    pub families: FamilyPolicy,
    /// Sign-ins of one user, about: beyond, those end that were used the
    /// longest time ago. At most [`MAX_SIGN_INS`].
    pub max_sign_ins: usize,
    /// The site for which wallets sign; `None`: they do not.
    pub site: Option<Site>,
    /// Seconds for which what a wallet was asked can be answered.
    pub challenge_lifetime_s: u64,
    /// Seconds for which a way in that came to a user takes none away that was
    /// there before it, and does not stay alone in its place.
    pub new_way_in_s: u64,
    /// Whether anybody is let in as whoever they say.
    pub development: bool,
    /// When an account is locked out.
    pub account_lock_out: LockOutPolicy,
    /// When an address is locked out.
    pub address_lock_out: LockOutPolicy,
    /// How many new users come from one address before more have to wait.
    pub newcomers: LockOutPolicy,
}

impl Default for IdentityOptions {
    fn default() -> Self {
        let lock_out = LockOutPolicy {
            free: 10,
            first_ms: 1_000,
            longest_ms: 900_000,
            decay_ms: 60_000,
            max_subjects: 65_536,
        };
        Self {
            access_lifetime_s: 900,
            families: FamilyPolicy { idle_s: 14 * 86_400, lifetime_s: 90 * 86_400, repeat_s: 10 },
            max_sign_ins: 64,
            site: None,
            challenge_lifetime_s: 300,
            new_way_in_s: 86_400,
            development: false,
            account_lock_out: lock_out,
            address_lock_out: LockOutPolicy { free: 30, ..lock_out },
            newcomers: LockOutPolicy::rate(300, 3_000, 65_536),
        }
    }
}

/// What an [`Identity`] is made of.
pub struct Parts {
    /// Where everything is kept.
    pub records: Arc<dyn Records>,
    /// Who makes the tokens.
    pub issuer: Issuer,
    /// Who ends them.
    pub revocations: Arc<dyn Revocations>,
    /// Who judges tokens of other issuers.
    pub external: ExternalTokens,
    /// How people sign in by accounts elsewhere; `None`: they do not.
    pub oidc: Option<Oidc>,
    /// How people sign in.
    pub options: IdentityOptions,
}

/// Who asks for something without a token, and when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asker {
    /// From where: what counts as one address.
    pub address: IpAddr,
    /// By what program, as it says itself.
    pub agent: Option<String>,
    /// The time, in Unix seconds.
    pub now_s: u64,
    /// The time, in milliseconds of a clock that never goes back.
    pub now_ms: u64,
}

/// The people of a server. Cloning shares it.
#[derive(Clone)]
pub struct Identity {
    stored: Stored,
    inner: Arc<Inner>,
}

struct Inner {
    issuer: RwLock<Arc<Issuer>>,
    revocations: Arc<dyn Revocations>,
    external: ExternalTokens,
    oidc: Option<Oidc>,
    options: IdentityOptions,
    guard: Guard,
}

impl Identity {
    /// Made of these.
    pub fn new(parts: Parts) -> Self {
        let Parts { records, issuer, revocations, external, oidc, options } = parts;
        let guard = Guard::new(&options);
        let issuer = RwLock::new(Arc::new(issuer));
        let inner = Inner { issuer, revocations, external, oidc, options, guard };
        Self { stored: Stored(records), inner: Arc::new(inner) }
    }

    /// Where everything is kept.
    pub fn records(&self) -> &Arc<dyn Records> {
        &self.stored.0
    }

    /// How people sign in.
    pub fn options(&self) -> &IdentityOptions {
        &self.inner.options
    }

    /// Makes tokens by another issuer from now on, as when keys take turns.
    pub fn replace_issuer(&self, issuer: Issuer) {
        *self.inner.issuer.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(issuer);
    }

    /// Fetches what is needed to judge a token of another issuer, if that is not
    /// there.
    pub async fn prepare(&self, token: &str) {
        self.inner.external.prepare(token).await;
    }

    fn issuer(&self) -> Arc<Issuer> {
        Arc::clone(&self.inner.issuer.read().unwrap_or_else(PoisonError::into_inner))
    }
}
