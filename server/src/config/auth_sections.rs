//! Whose tokens count, and how people sign in: the settings, and what they may
//! be together.

use std::path::PathBuf;

use avvy_model::Role;
use serde::{Deserialize, Serialize};

use super::rules::{Broken, list};
use super::sections::section;
use super::{Config, Secret};
use crate::fetch::is_here;

/// The fewest days for which a key signs tokens.
const MIN_KEY_DAYS: u32 = (avvy_auth::MIN_PERIOD_S / 86_400) as u32;

/// The most other issuers, providers, and places to go back to.
const MAX_LISTED: usize = 64;

section! {
    /// Whose tokens count.
    Auth {
        /// `iss` of the tokens.
        issuer: String = "avvyland".to_owned(),
        /// `aud` of the tokens.
        audience: String = "avvyland".to_owned(),
        /// File of the issuer's keys.
        key_file: PathBuf = PathBuf::from("auth-key.pem"),
        /// Whether servers that share a MongoDB have their keys there.
        keys_in_store: bool = true,
        /// A secret under which they are encrypted there; empty: they are not.
        key_secret: Secret = Secret::default(),
        /// How long a key signs before the next one does, in days; 0: for ever.
        key_rotation_days: u32 = 30,
        /// Whether a start writes a token that lets anybody who can read it in.
        development_tokens: bool = true,
        /// Whether anybody can sign in as whoever they say.
        development_sign_in: bool = false,
        /// How long a token that a command makes counts, in seconds.
        token_lifetime_s: u64 = 12 * 3_600,
        /// How long a token counts that a sign-in gives, in seconds.
        access_token_lifetime_s: u64 = 900,
        /// How long a sign-in lasts that is not used, in seconds.
        sign_in_idle_s: u64 = 14 * 86_400,
        /// How long a sign-in lasts at most, in seconds.
        sign_in_lifetime_s: u64 = 90 * 86_400,
        /// How long a refresh token may come again, in seconds.
        refresh_repeat_s: u64 = 10,
        /// Sign-ins of one user that last at a time.
        max_sign_ins_per_user: u32 = 64,
        /// How far clocks of issuer and verifier may differ, in seconds.
        clock_leeway_s: u64 = 5,
        /// How often it is looked what others have revoked, in milliseconds.
        revocation_poll_ms: u64 = 1_000,
        /// The site whose wallets sign in; empty: none do.
        site: String = String::new(),
        /// The chains of those wallets.
        chains: Vec<u64> = vec![1],
        /// How long what a wallet is asked can be answered, in seconds.
        challenge_lifetime_s: u64 = 300,
        /// How long a new way in takes none away that was there before, in seconds.
        new_way_in_s: u64 = 86_400,
        /// Failures of an account that have no consequence.
        lock_out_free: u32 = 10,
        /// Failures of an address that have no consequence.
        lock_out_free_per_address: u32 = 50,
        /// How long the first failure beyond locks out, in milliseconds.
        lock_out_first_ms: u64 = 1_000,
        /// How long one locks out at most, in milliseconds.
        lock_out_longest_ms: u64 = 900_000,
        /// In what time one failure is forgotten, in milliseconds.
        lock_out_decay_ms: u64 = 60_000,
        /// Accounts, and addresses, whose failures are remembered.
        lock_out_subjects: u32 = 65_536,
        /// New users that come from one address at once.
        new_users_burst: u32 = 300,
        /// New users that come from one address in an hour, in the long run.
        new_users_per_hour: u32 = 1_200,
        /// Other issuers whose tokens count.
        external: Vec<ExternalIssuer> = Vec::new(),
        /// Providers whose accounts sign in.
        providers: Vec<OidcProvider> = Vec::new(),
        /// The address at which browsers find this server; empty: unknown.
        public_url: String = String::new(),
        /// Where apps may have their users sent back to.
        redirects: Vec<String> = Vec::new(),
        /// How long a browser may be away at a provider, in seconds.
        provider_away_s: u64 = 600,
        /// How old an issuer's keys are when they are fetched anew, in seconds.
        keys_refresh_s: u64 = 3_600,
        /// How old they are when nothing is judged by them any more, in seconds.
        keys_max_stale_s: u64 = 86_400,
        /// The shortest pause between two fetches, in milliseconds.
        keys_pause_ms: u64 = 10_000,
        /// The longest such pause while fetches fail, in milliseconds.
        keys_max_pause_ms: u64 = 600_000,
        /// How long another server may take to answer, in milliseconds.
        fetch_timeout_ms: u64 = 5_000,
        /// PEM file of the certificates that other servers' lead to; empty: the
        /// public authorities.
        ca_file: PathBuf = PathBuf::new(),
    }
}

/// Who the subjects of another issuer are.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SubjectKind {
    /// Users of their own.
    #[default]
    Computed,
    /// Users of this server, by their ids.
    Users,
}

/// Another issuer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalIssuer {
    /// `iss` of its tokens.
    pub issuer: String,
    /// `aud` of its tokens.
    pub audience: String,
    /// Where its keys are.
    pub jwks_url: String,
    /// The most that its tokens let somebody do.
    pub role: String,
    /// Who its subjects are.
    #[serde(default)]
    pub subjects: SubjectKind,
}

/// A provider whose accounts sign in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcProvider {
    /// Its name in paths.
    pub name: String,
    /// Its issuer.
    pub issuer: String,
    /// Of one with tenants: the ids of those whose accounts sign in, or `*`.
    #[serde(default)]
    pub tenants: Vec<String>,
    /// By what it knows this server.
    pub client_id: String,
    /// The secret that goes with it.
    #[serde(default)]
    pub client_secret: Secret,
    /// What is asked for besides `openid`.
    #[serde(default)]
    pub scopes: Vec<String>,
}

pub(super) fn auth(config: &Config) -> Broken {
    let mut broken = tokens(config);
    broken.extend(sign_in(config));
    broken.extend(others(config));
    broken.extend(providers(config));
    broken
}

fn tokens(config: &Config) -> Broken {
    let auth = &config.auth;
    let no_text = "must not be empty".to_owned();
    let secret = auth.key_secret.0.len();
    list([
        (auth.issuer.is_empty(), "auth.issuer", no_text.clone()),
        (auth.audience.is_empty(), "auth.audience", no_text.clone()),
        (auth.key_file.as_os_str().is_empty(), "auth.key_file", no_text),
        (
            (1..avvy_identity::MIN_SECRET_BYTES).contains(&secret),
            "auth.key_secret",
            format!("must have {} bytes at least", avvy_identity::MIN_SECRET_BYTES),
        ),
        (
            (1..MIN_KEY_DAYS).contains(&auth.key_rotation_days),
            "auth.key_rotation_days",
            format!("is {}, must be 0 (never) or at least {MIN_KEY_DAYS}", auth.key_rotation_days),
        ),
        (
            auth.development_tokens && !config.server.bind.ip().is_loopback(),
            "auth.development_tokens",
            format!(
                "is true while server.bind ({}) is open to others: set it to false, and make \
                 tokens with `avvyland token`",
                config.server.bind
            ),
        ),
    ])
}

fn sign_in(config: &Config) -> Broken {
    let auth = &config.auth;
    let is_site = auth.site.is_empty() || is_origin(&auth.site);
    list([
        (
            auth.development_sign_in && !config.server.bind.ip().is_loopback(),
            "auth.development_sign_in",
            format!(
                "is true while server.bind ({}) is open to others: anybody could be anyone",
                config.server.bind
            ),
        ),
        (
            auth.access_token_lifetime_s > auth.sign_in_idle_s,
            "auth.access_token_lifetime_s",
            format!(
                "is {}, longer than auth.sign_in_idle_s, which is {}",
                auth.access_token_lifetime_s, auth.sign_in_idle_s
            ),
        ),
        (
            auth.sign_in_idle_s > auth.sign_in_lifetime_s,
            "auth.sign_in_idle_s",
            format!(
                "is {}, longer than auth.sign_in_lifetime_s, which is {}",
                auth.sign_in_idle_s, auth.sign_in_lifetime_s
            ),
        ),
        (
            !is_site,
            "auth.site",
            format!("is {:?}, must be an origin, such as https://example.org", auth.site),
        ),
        (
            auth.chains.is_empty() || auth.chains.len() > MAX_LISTED || auth.chains.contains(&0),
            "auth.chains",
            format!("must name 1 to {MAX_LISTED} chains (EIP-155), from 1 on"),
        ),
        (
            auth.lock_out_first_ms > auth.lock_out_longest_ms,
            "auth.lock_out_first_ms",
            format!(
                "is {}, longer than auth.lock_out_longest_ms, which is {}",
                auth.lock_out_first_ms, auth.lock_out_longest_ms
            ),
        ),
    ])
}

fn others(config: &Config) -> Broken {
    let auth = &config.auth;
    let mut broken = list([
        (
            auth.keys_refresh_s > auth.keys_max_stale_s,
            "auth.keys_refresh_s",
            format!(
                "is {}, longer than auth.keys_max_stale_s, which is {}",
                auth.keys_refresh_s, auth.keys_max_stale_s
            ),
        ),
        (
            auth.keys_pause_ms > auth.keys_max_pause_ms,
            "auth.keys_pause_ms",
            format!(
                "is {}, longer than auth.keys_max_pause_ms, which is {}",
                auth.keys_pause_ms, auth.keys_max_pause_ms
            ),
        ),
        (
            auth.external.len() > MAX_LISTED,
            "auth.external",
            format!("names more than {MAX_LISTED} issuers"),
        ),
    ]);
    let wrong = auth.external.iter().enumerate().find_map(|(nth, one)| {
        let before = &auth.external[..nth];
        Some((one, one.wrong(&auth.issuer, before)?))
    });
    if let Some((one, wrong)) = wrong {
        broken.push(("auth.external", format!("{:?}: {wrong}", one.issuer)));
    }
    broken
}

fn providers(config: &Config) -> Broken {
    let auth = &config.auth;
    let odd = auth.redirects.iter().find(|redirect| !is_redirect(redirect));
    let mut broken = list([
        (
            !auth.public_url.is_empty() && !is_origin(&auth.public_url),
            "auth.public_url",
            format!("is {:?}, must be an origin, such as https://example.org", auth.public_url),
        ),
        (
            auth.public_url.is_empty() && !auth.providers.is_empty(),
            "auth.public_url",
            "is empty, and auth.providers have to know where to send browsers back to".to_owned(),
        ),
        (
            odd.is_some() || auth.redirects.len() > MAX_LISTED,
            "auth.redirects",
            match odd {
                Some(odd) => format!("{odd:?} is no address that a browser can be sent to"),
                None => format!("names more than {MAX_LISTED} addresses"),
            },
        ),
        (
            auth.providers.len() > MAX_LISTED,
            "auth.providers",
            format!("names more than {MAX_LISTED} providers"),
        ),
    ]);
    let wrong = auth.providers.iter().enumerate().find_map(|(nth, one)| {
        let before = &auth.providers[..nth];
        Some((one, one.wrong(before)?))
    });
    if let Some((one, wrong)) = wrong {
        broken.push(("auth.providers", format!("{:?}: {wrong}", one.name)));
    }
    broken
}

impl OidcProvider {
    fn wrong(&self, before: &[Self]) -> Option<&'static str> {
        let is_letter =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=32).contains(&self.name.len()) || !self.name.bytes().all(is_letter) {
            return Some("name must be 1 to 32 small letters, digits and -");
        }
        if before.iter().any(|other| other.name == self.name) {
            return Some("there is a provider of this name");
        }
        if !is_asked_safely(&self.issuer) {
            return Some("issuer must be https, or http on this machine");
        }
        if self.tenants.len() > MAX_LISTED || !self.tenants.iter().all(|it| is_tenant(it)) {
            return Some("tenants must be UUIDs in small letters, or *");
        }
        if self.client_id.is_empty() {
            return Some("client_id must not be empty");
        }
        None
    }
}

/// Whether it is the id of a tenant, in its one form, or stands for all.
fn is_tenant(text: &str) -> bool {
    text == "*" || uuid::Uuid::try_parse(text).is_ok_and(|id| id.to_string() == text)
}

/// Whether a browser can be sent there: an address with its scheme, which runs no
/// script, and nothing that would end a header.
fn is_redirect(text: &str) -> bool {
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|letter: char| letter.is_ascii_lowercase())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    };
    let has_scheme = text.split_once("://").is_some_and(|(scheme, _)| is_scheme(scheme));
    has_scheme && text.bytes().all(|byte| byte.is_ascii_graphic())
}

impl ExternalIssuer {
    fn wrong(&self, own: &str, before: &[Self]) -> Option<&'static str> {
        if self.issuer.is_empty() || self.audience.is_empty() {
            return Some("issuer and audience must not be empty");
        }
        if self.issuer == own || before.iter().any(|other| other.issuer == self.issuer) {
            return Some("there is an issuer of this name");
        }
        if !is_asked_safely(&self.jwks_url) {
            return Some("jwks_url must be https, or http on this machine");
        }
        match Role::from_name(&self.role) {
            Some(_) => None,
            None => Some("role must be visitor, editor, builder or owner"),
        }
    }
}

/// Whether it is scheme and authority, and no more.
pub(super) fn is_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:[]".contains(&byte);
    ["http", "https"].contains(&scheme) && !authority.is_empty() && authority.bytes().all(is_letter)
}

/// Whether nobody on the way can change what is said there.
pub(super) fn is_asked_safely(url: &str) -> bool {
    let Ok(uri) = url.parse::<hyper::Uri>() else { return false };
    match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(_)) => true,
        (Some("http"), Some(host)) => is_here(host),
        _ => false,
    }
}
