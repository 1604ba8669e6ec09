//! What a wallet is asked to sign, and whether what comes back proves it.

use std::collections::{BTreeMap, BTreeSet};

use avvy_model::{Code, UserId};
use serde::{Deserialize, Serialize};

use super::{Address, InvalidSignature, MessageError, MessageParts, Signature};
use super::{SignInMessage, Timestamp};
use crate::rate::RetryAfterMs;

/// Why a signed message proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProofError {
    /// The text is no message of EIP-4361.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The signature is none.
    #[error(transparent)]
    Signature(#[from] InvalidSignature),
    /// Nobody was given this nonce, or it was used, or has expired.
    #[error("the nonce is not known, or not any more")]
    UnknownNonce,
    /// It was given out for something else.
    #[error("the nonce was given out for something else")]
    WrongPurpose,
    /// Made for another site: domain, scheme or URI.
    #[error("the message is for another site")]
    WrongSite,
    /// Made for a chain that is not served.
    #[error("the message is for another chain")]
    WrongChain,
    /// The person was shown another text than that of the purpose.
    #[error("the message says something else")]
    WrongStatement,
    /// It was made later than now, or is not valid yet.
    #[error("the message is not valid yet")]
    NotYetValid,
    /// Its time is over.
    #[error("the message has expired")]
    Expired,
    /// Another account has signed it than it names.
    #[error("the message was signed by another account")]
    WrongSigner,
}

impl ProofError {
    /// Whether it counts against who sent it. What is no message says nothing, and
    /// no nonce can be guessed: one that is not known is most likely of somebody
    /// who waited for too long, as a message is that has expired.
    pub const fn is_failure(self) -> bool {
        !matches!(self, Self::Message(_) | Self::UnknownNonce | Self::Expired)
    }

    /// Whether what was signed is an answer to an open question of this site,
    /// and wrong. Anybody can have what was signed before or for another site,
    /// and try it again and again.
    pub const fn is_wrong_answer(self) -> bool {
        match self {
            Self::WrongChain | Self::WrongStatement | Self::NotYetValid => true,
            Self::Message(_)
            | Self::Signature(_)
            | Self::UnknownNonce
            | Self::Expired
            | Self::WrongPurpose
            | Self::WrongSite
            | Self::WrongSigner => false,
        }
    }

    /// The code that the asker is told.
    pub const fn code(self) -> Code {
        match self {
            Self::Message(_) | Self::Signature(_) => Code::Malformed,
            Self::UnknownNonce
            | Self::WrongPurpose
            | Self::WrongSite
            | Self::WrongChain
            | Self::WrongStatement
            | Self::NotYetValid
            | Self::Expired
            | Self::WrongSigner => Code::ProofInvalid,
        }
    }
}

/// The site that asks wallets to sign.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Site {
    /// `https`, or `http` on a machine of one's own.
    pub scheme: String,
    /// The authority in the address bar, such as `example.org` or
    /// `localhost:8443`.
    pub domain: String,
    /// The chains (EIP-155) whose accounts are served; others are refused.
    pub chains: Vec<u64>,
    /// How far, in seconds, the clocks of whoever makes and checks a message
    /// may differ.
    pub leeway_s: u64,
}

impl Site {
    /// The origin: scheme and domain.
    fn origin(&self) -> String {
        format!("{}://{}", self.scheme, self.domain)
    }

    /// Whether a URI is within the site.
    fn holds(&self, uri: &str) -> bool {
        let rest = uri.strip_prefix(&self.origin());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']))
    }
}

/// What a wallet signs for. The statement that the person reads names it, so
/// that nobody attaches their wallet to the account of another while they
/// believe to sign in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Purpose {
    /// To sign in.
    SignIn,
    /// To let the wallet sign in as this user.
    Attach(UserId),
    /// To have a wallet sign in as this user no more. Any wallet of the user
    /// can ask for it, as the one that goes may be lost, or another's by now.
    Detach(UserId, Address),
}

impl Purpose {
    /// What the person reads.
    pub fn statement(self) -> String {
        match self {
            Self::SignIn => "Sign in to Avvyland.".to_owned(),
            Self::Attach(user) => format!("Let this wallet sign in to Avvyland as user {user}."),
            Self::Detach(user, wallet) => {
                format!("Have {wallet} sign in to Avvyland as user {user} no more.")
            }
        }
    }
}

/// A question to a wallet. Kept under its nonce until it is answered, once, or
/// over; by [`Challenges`] on one server, by what several share elsewhere, as
/// long as that gives it out once.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Challenge {
    purpose: Purpose,
    nonce: String,
    issued_s: u64,
    expires_s: u64,
}

impl Challenge {
    /// Asks from `now_s` (Unix seconds) on, for `lifetime_s`. `random` is 16
    /// bytes from a cryptographic random source.
    pub fn new(purpose: Purpose, random: [u8; 16], now_s: u64, lifetime_s: u64) -> Self {
        let nonce = random.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { purpose, nonce, issued_s: now_s, expires_s: now_s.saturating_add(lifetime_s) }
    }

    /// Names it: letters and digits.
    pub fn nonce(&self) -> &str {
        &self.nonce
    }

    /// What it is for.
    pub const fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// The Unix second from which it cannot be answered any more.
    pub const fn expires_s(&self) -> u64 {
        self.expires_s
    }

    /// The message that asks this of an account.
    ///
    /// # Errors
    /// When the site's names are not of their form, or it is after the year
    /// 9999.
    pub fn message(
        &self,
        site: &Site,
        address: Address,
        chain_id: u64,
    ) -> Result<SignInMessage, MessageError> {
        let at = |unix_s| Timestamp::at(unix_s).map_err(|_| MessageError::Time);
        let parts = MessageParts {
            // Wallets take https where none is said; some know nothing else.
            scheme: (site.scheme != "https").then(|| site.scheme.clone()),
            domain: site.domain.clone(),
            address,
            statement: Some(self.purpose.statement()),
            uri: site.origin(),
            chain_id,
            nonce: self.nonce.clone(),
            issued_at: at(self.issued_s)?,
            expiration_time: Some(at(self.expires_s)?),
            not_before: None,
            request_id: None,
            resources: None,
        };
        parts.build()
    }

    /// Which account has answered at `now_s` (Unix seconds), if this is an
    /// answer: for this site, by this nonce, in time, with the statement of
    /// its purpose, and signed by the account that it names. It may be a
    /// message that the client made itself.
    ///
    /// # Errors
    /// The first [`ProofError`] that is found; the signature is looked at last.
    pub fn prove(
        &self,
        message: &SignInMessage,
        signature: &Signature,
        site: &Site,
        now_s: u64,
    ) -> Result<Address, ProofError> {
        let parts = message.parts();
        if parts.nonce != self.nonce {
            return Err(ProofError::UnknownNonce);
        }
        self.judge_site(parts, site)?;
        self.judge_time(parts, site.leeway_s, now_s)?;
        if signature.signer(message.as_str())? != parts.address {
            return Err(ProofError::WrongSigner);
        }
        Ok(parts.address)
    }

    fn judge_site(&self, parts: &MessageParts, site: &Site) -> Result<(), ProofError> {
        let scheme = parts.scheme.as_deref().unwrap_or("https");
        if scheme != site.scheme || parts.domain != site.domain || !site.holds(&parts.uri) {
            return Err(ProofError::WrongSite);
        }
        if !site.chains.contains(&parts.chain_id) {
            return Err(ProofError::WrongChain);
        }
        if parts.statement.as_deref() != Some(&self.purpose.statement()) {
            return Err(ProofError::WrongStatement);
        }
        Ok(())
    }

    /// The message's own times count, and those of the challenge, within
    /// which it was made.
    fn judge_time(
        &self,
        parts: &MessageParts,
        leeway_s: u64,
        now_s: u64,
    ) -> Result<(), ProofError> {
        let latest_s = now_s.saturating_add(leeway_s);
        let starts_s = parts.not_before.as_ref().map_or(0, Timestamp::unix_s);
        if parts.issued_at.unix_s().max(starts_s) > latest_s {
            return Err(ProofError::NotYetValid);
        }
        let is_older = parts.issued_at.unix_s().saturating_add(leeway_s) < self.issued_s;
        let ends_s = parts.expiration_time.as_ref().map_or(u64::MAX, Timestamp::unix_s);
        if is_older || now_s >= self.expires_s || now_s >= ends_s.saturating_add(leeway_s) {
            return Err(ProofError::Expired);
        }
        Ok(())
    }
}

/// The challenges that are not answered yet, of one server. Bounded: beyond,
/// no more are given out until one is over.
#[derive(Clone, Debug)]
pub struct Challenges {
    open: BTreeMap<String, Challenge>,
    /// By when they are over.
    order: BTreeSet<(u64, String)>,
    max_open: usize,
}

impl Challenges {
    /// None yet, and so many at most.
    pub const fn new(max_open: usize) -> Self {
        Self { open: BTreeMap::new(), order: BTreeSet::new(), max_open }
    }

    /// Keeps a challenge that is given out.
    ///
    /// # Errors
    /// How long to wait, if there are too many.
    pub fn give(&mut self, challenge: Challenge, now_s: u64) -> Result<(), RetryAfterMs> {
        while let Some((expires_s, nonce)) = self.order.first().cloned()
            && expires_s <= now_s
        {
            self.remove(&nonce);
        }
        if self.open.len() >= self.max_open {
            let first_s = self.order.first().map_or(u64::MAX, |(expires_s, _)| *expires_s);
            return Err(RetryAfterMs(first_s.saturating_sub(now_s).saturating_mul(1_000)));
        }
        self.order.insert((challenge.expires_s, challenge.nonce.clone()));
        self.open.insert(challenge.nonce.clone(), challenge);
        Ok(())
    }

    /// Takes the challenge that is answered by this nonce. It is gone then,
    /// whatever becomes of the answer.
    ///
    /// # Errors
    /// When there is none, or it is for something else.
    pub fn take(
        &mut self,
        nonce: &str,
        purpose: Purpose,
        now_s: u64,
    ) -> Result<Challenge, ProofError> {
        let challenge = self.remove(nonce).ok_or(ProofError::UnknownNonce)?;
        if challenge.expires_s <= now_s {
            return Err(ProofError::UnknownNonce);
        }
        if challenge.purpose != purpose {
            return Err(ProofError::WrongPurpose);
        }
        Ok(challenge)
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn remove(&mut self, nonce: &str) -> Option<Challenge> {
        let challenge = self.open.remove(nonce)?;
        self.order.remove(&(challenge.expires_s, challenge.nonce.clone()));
        Some(challenge)
    }
}
