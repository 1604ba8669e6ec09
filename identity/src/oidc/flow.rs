//! The steps of a sign-in by an account elsewhere.

use avvy_persistence::records::{Collection, Draft, Fields, Record, RecordKey, RecordWrite};
use base64ct::{Base64UrlUnpadded, Encoding};
use sha2::Sha256;
use sha3::{Digest, Sha3_256};
use std::sync::Arc;
use subtle::ConstantTimeEq;

use super::provider::Provider;
use super::says::short;
use super::url::with_query;
use super::{Oidc, OidcError};
use crate::stored::{damaged, random};
use crate::ways::Way;
use crate::{Asker, Identity, IdentityError, Tokens};

pub(crate) static FLOWS: Collection = Collection { name: "oidc_flows", indexes: &[] };
pub(crate) static TICKETS: Collection = Collection { name: "oidc_tickets", indexes: &[] };

/// Seconds for which a ticket counts.
const TICKET_LIFETIME_S: u64 = 60;

/// The longest code or state that is looked at, in bytes.
const MAX_ANSWER_BYTES: usize = 4_096;

/// A browser on its way to a provider.
#[derive(Clone, PartialEq, Eq)]
pub struct Begun {
    /// Where it goes.
    pub location: String,
    /// What its cookie holds until it is back. Secret.
    pub browser: String,
    /// Seconds for which that counts.
    pub lifetime_s: u64,
    /// Whether the cookie is for encrypted connections alone.
    pub is_secure: bool,
}

/// What a browser brings back from a provider.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct CameBack {
    /// Of which sign-in.
    pub state: String,
    /// What the ID token is fetched with.
    pub code: Option<String>,
    /// Why there is none.
    pub error: Option<String>,
    /// Which provider says so (RFC 9207).
    pub issuer: Option<String>,
    /// What its cookie holds.
    pub browser: Option<String>,
}

/// A sign-in under way, as it is kept.
struct Flow {
    provider: String,
    redirect: String,
    challenge: String,
    nonce: String,
    verifier: String,
    browser: String,
}

impl Flow {
    fn draft(&self, ends_s: u64) -> Draft {
        Draft::new(
            Fields::new()
                .with("provider", self.provider.as_str())
                .with("redirect", self.redirect.as_str())
                .with("challenge", self.challenge.as_str())
                .with("nonce", self.nonce.as_str())
                .with("verifier", self.verifier.as_str())
                .with("browser", self.browser.as_str()),
        )
        .until(ends_s)
    }

    fn read(record: &Record) -> Result<Self, IdentityError> {
        let text = |name: &str| {
            let text = record.body.text(name).map(str::to_owned);
            text.ok_or_else(|| damaged(&FLOWS, &record.key))
        };
        Ok(Self {
            provider: text("provider")?,
            redirect: text("redirect")?,
            challenge: text("challenge")?,
            nonce: text("nonce")?,
            verifier: text("verifier")?,
            browser: text("browser")?,
        })
    }
}

/// What is turned into tokens.
struct Ticket {
    record: Arc<Record>,
    way: Way,
    /// What people call whose account it is.
    name: String,
}

impl Identity {
    /// The names of the providers whose accounts sign in.
    pub fn providers(&self) -> Vec<String> {
        let oidc = self.inner.oidc.iter();
        oidc.flat_map(|oidc| oidc.0.providers.keys().cloned()).collect()
    }

    /// Sends a browser to a provider. `challenge` is the SHA-256 of the app's
    /// secret, in base64url.
    ///
    /// # Errors
    /// `NotOffered`, `Oidc`.
    pub async fn begin_oidc(
        &self,
        provider: &str,
        redirect: &str,
        challenge: &str,
        now_s: u64,
    ) -> Result<Begun, IdentityError> {
        let (oidc, provider) = self.oidc(provider)?;
        let options = &oidc.0.options;
        if !options.redirects.iter().any(|one| one == redirect) {
            return Err(OidcError::Redirect.into());
        }
        let mut hash = [0; 32];
        if Base64UrlUnpadded::decode(challenge, &mut hash).map(<[u8]>::len) != Ok(32) {
            return Err(OidcError::Challenge.into());
        }
        let known = provider.known().await?;
        let (state, browser) = (secret()?, secret()?);
        let flow = Flow {
            provider: provider.options().name.clone(),
            redirect: redirect.to_owned(),
            challenge: challenge.to_owned(),
            nonce: secret()?,
            verifier: secret()?,
            browser: name_of(&browser).to_string(),
        };
        let ends_s = now_s + options.flow_lifetime_s;
        let create = RecordWrite::create(&FLOWS, name_of(&state), flow.draft(ends_s));
        if self.stored.commit(vec![create], now_s).await?.is_err() {
            return Err(IdentityError::Unavailable("a state was drawn twice"));
        }
        let location = with_query(
            &known.says.authorization_endpoint,
            &[
                ("response_type", "code"),
                ("client_id", &provider.options().client_id),
                ("redirect_uri", &oidc.callback(&flow.provider)),
                ("scope", &scope(&provider.options().scopes)),
                ("state", &state),
                ("nonce", &flow.nonce),
                ("code_challenge", &s256(&flow.verifier)),
                ("code_challenge_method", "S256"),
            ],
        );
        let is_secure = options.callback.starts_with("https:");
        Ok(Begun { location, browser, lifetime_s: options.flow_lifetime_s, is_secure })
    }

    /// Takes what a browser brings back from a provider, and says where it goes
    /// on: to the app, with a `ticket`, or with the code of an `error` that is
    /// for the app to show.
    ///
    /// # Errors
    /// `NotOffered`; `Oidc` when the browser is not one that was sent away.
    pub async fn finish_oidc(
        &self,
        provider: &str,
        back: CameBack,
        now_s: u64,
    ) -> Result<String, IdentityError> {
        let (oidc, provider) = self.oidc(provider)?;
        let flow = Flow::read(&*self.take_flow(&back.state, now_s).await?)?;
        let cookie =
            back.browser.as_deref().map(name_of).map_or(String::new(), |name| name.to_string());
        if !bool::from(cookie.as_bytes().ct_eq(flow.browser.as_bytes())) {
            return Err(OidcError::WrongBrowser.into());
        }
        match self.come_back(&oidc, provider, &flow, &back, now_s).await {
            Ok(ticket) => Ok(with_query(&flow.redirect, &[("ticket", &ticket)])),
            Err(error) => {
                tracing::info!(provider = flow.provider, %error, "a sign-in elsewhere came to nothing");
                Ok(with_query(&flow.redirect, &[("error", error.code().name())]))
            }
        }
    }

    async fn come_back(
        &self,
        oidc: &Oidc,
        provider: &Provider,
        flow: &Flow,
        back: &CameBack,
        now_s: u64,
    ) -> Result<String, IdentityError> {
        if flow.provider != provider.options().name {
            return Err(OidcError::WrongProvider.into());
        }
        if let Some(said) = &back.issuer
            && !provider.known().await?.says.issuer.is(said)
        {
            return Err(OidcError::WrongProvider.into());
        }
        if let Some(error) = &back.error {
            return Err(OidcError::Refused(short(error)).into());
        }
        let code = back.code.as_deref().filter(|code| code.len() <= MAX_ANSWER_BYTES);
        let code = code.ok_or_else(|| OidcError::Refused("there is no code".to_owned()))?;
        let (callback, signatures) = (oidc.callback(&flow.provider), oidc.0.signatures.as_ref());
        let said = provider
            .redeem(code, &flow.verifier, &callback, &flow.nonce, signatures, now_s)
            .await?;
        let ticket = secret()?;
        let body = Fields::new()
            .with("issuer", said.issuer.as_str())
            .with("subject", said.subject.as_str())
            .with("name", said.name.unwrap_or_default())
            .with("challenge", flow.challenge.as_str());
        let draft = Draft::new(body).until(now_s + TICKET_LIFETIME_S);
        let create = RecordWrite::create(&TICKETS, name_of(&ticket), draft);
        match self.stored.commit(vec![create], now_s).await? {
            Ok(_) => Ok(ticket),
            Err(_) => Err(IdentityError::Unavailable("a ticket was drawn twice")),
        }
    }

    /// Turns a ticket into tokens, once, for the app whose secret this is.
    ///
    /// # Errors
    /// `Oidc`; `TooManyNew`, after which the ticket counts still.
    pub async fn redeem_ticket(
        &self,
        ticket: &str,
        verifier: &str,
        asker: &Asker,
    ) -> Result<Tokens, IdentityError> {
        let ticket = self.ticket(ticket, verifier, asker.now_s).await?;
        // Before it is gone: who has to wait sends the same again.
        let comer = self.comer(&ticket.way, asker).await?;
        self.take_ticket(&ticket.record, asker.now_s).await?;
        self.sign_in(&ticket.way, &ticket.name, comer, asker).await
    }

    /// Takes a ticket. Of whose account it was.
    pub(crate) async fn way_by_ticket(
        &self,
        ticket: &str,
        verifier: &str,
        now_s: u64,
    ) -> Result<Way, IdentityError> {
        let ticket = self.ticket(ticket, verifier, now_s).await?;
        self.take_ticket(&ticket.record, now_s).await?;
        Ok(ticket.way)
    }

    /// What a ticket is for. It is gone if the secret is not that of its app.
    async fn ticket(
        &self,
        ticket: &str,
        verifier: &str,
        now_s: u64,
    ) -> Result<Ticket, IdentityError> {
        let found = self.kept(&TICKETS, ticket, now_s).await?;
        let record = found.ok_or(OidcError::UnknownTicket)?;
        let text = |name: &str| {
            let text = record.body.text(name).map(str::to_owned);
            text.ok_or_else(|| damaged(&TICKETS, &record.key))
        };
        let promised = text("challenge")?;
        if !bool::from(s256(verifier).as_bytes().ct_eq(promised.as_bytes())) {
            self.take_ticket(&record, now_s).await?;
            return Err(OidcError::UnknownTicket.into());
        }
        let way = Way::Account { issuer: text("issuer")?, subject: text("subject")? };
        Ok(Ticket { way, name: text("name")?, record: Arc::clone(&record) })
    }

    async fn take_ticket(&self, ticket: &Record, now_s: u64) -> Result<(), IdentityError> {
        let is_ours = self.stored.take(&TICKETS, ticket, now_s).await?;
        if is_ours { Ok(()) } else { Err(OidcError::UnknownTicket.into()) }
    }

    async fn take_flow(&self, state: &str, now_s: u64) -> Result<Arc<Record>, IdentityError> {
        let found = self.kept(&FLOWS, state, now_s).await?;
        let record = found.ok_or(OidcError::UnknownState)?;
        let is_ours = self.stored.take(&FLOWS, &record, now_s).await?;
        if is_ours { Ok(record) } else { Err(OidcError::UnknownState.into()) }
    }

    /// What is kept under the hash of a secret.
    async fn kept(
        &self,
        of: &'static Collection,
        secret: &str,
        now_s: u64,
    ) -> Result<Option<Arc<Record>>, IdentityError> {
        if secret.len() > MAX_ANSWER_BYTES {
            return Ok(None);
        }
        self.stored.fresh(of, name_of(secret), now_s).await
    }

    fn oidc(&self, provider: &str) -> Result<(Oidc, &Provider), IdentityError> {
        let oidc = self.inner.oidc.as_ref().ok_or(IdentityError::NotOffered)?;
        let provider = oidc.0.providers.get(provider).ok_or(IdentityError::NotOffered)?;
        Ok((oidc.clone(), provider))
    }
}

impl Oidc {
    fn callback(&self, provider: &str) -> String {
        format!("{}/{provider}/callback", self.0.options.callback)
    }
}

/// 32 random bytes, as text for addresses.
fn secret() -> Result<String, IdentityError> {
    Ok(Base64UrlUnpadded::encode_string(&random::<32>()?))
}

/// Under what something is kept that a secret names: whoever reads the store
/// learns no secret.
fn name_of(secret: &str) -> RecordKey {
    let hash = Sha3_256::new_with_prefix(b"avvyland sign-in\0").chain_update(secret);
    RecordKey::hex(&hash.finalize()).expect("32 bytes have a key")
}

/// `S256` of RFC 7636.
fn s256(verifier: &str) -> String {
    Base64UrlUnpadded::encode_string(&Sha256::digest(verifier))
}

fn scope(more: &[String]) -> String {
    let more = more.iter().map(String::as_str).filter(|scope| *scope != "openid");
    std::iter::once("openid").chain(more).collect::<Vec<_>>().join(" ")
}
