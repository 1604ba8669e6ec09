//! What wallets are asked to sign.
//!
//! A challenge is a record of `challenges` under its nonce: `challenge`, the JSON
//! of [`avvy_auth::wallet::Challenge`]. It ends by itself, and is taken once: by
//! whoever removes it, on whatever node.

use std::sync::Arc;

use avvy_auth::wallet::{Address, Challenge, ProofError, Purpose, SignInMessage, Signature, Site};
use avvy_model::UserId;
use avvy_persistence::records::{Collection, Draft, Fields, Record, RecordKey, RecordWrite};

use crate::stored::{damaged, random};
use crate::{Identity, IdentityError, Signed};

pub(crate) static CHALLENGES: Collection = Collection { name: "challenges", indexes: &[] };

/// What a wallet is to be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// To sign in.
    SignIn,
    /// To sign in this user from now on.
    Attach(UserId),
    /// To have a wallet of this user sign in no more.
    Detach(UserId, Address),
}

impl Wanted {
    const fn purpose(self) -> Purpose {
        match self {
            Self::SignIn => Purpose::SignIn,
            Self::Attach(user) => Purpose::Attach(user),
            Self::Detach(user, wallet) => Purpose::Detach(user, wallet),
        }
    }
}

/// A question to a wallet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// Names it; in the message.
    pub nonce: String,
    /// What the wallet is to sign.
    pub message: String,
    /// From when on it cannot be answered any more, in Unix seconds.
    pub ends_s: u64,
}

/// What a wallet has answered, and proves.
pub(crate) struct Answer {
    pub(crate) wallet: Address,
    pub(crate) challenge: Arc<Record>,
}

impl Identity {
    /// Asks a wallet, on a chain (EIP-155; the first that is served if `None`).
    ///
    /// # Errors
    /// `NotOffered`, or `Malformed` for a chain that is not served.
    pub async fn challenge(
        &self,
        wanted: Wanted,
        wallet: Address,
        chain: Option<u64>,
        now_s: u64,
    ) -> Result<Asked, IdentityError> {
        let site = self.site()?;
        let chain = chain.or(site.chains.first().copied());
        let chain = chain.filter(|chain| site.chains.contains(chain));
        let chain =
            chain.ok_or(IdentityError::Malformed("chain_id: not a chain that is served"))?;
        let lifetime_s = self.options().challenge_lifetime_s;
        let challenge = Challenge::new(wanted.purpose(), random()?, now_s, lifetime_s);
        let message = challenge
            .message(site, wallet, chain)
            .map_err(|error| IdentityError::Proof(error.into()))?;
        let json = serde_json::to_string(&challenge).expect("a challenge always has a JSON form");
        let draft = Draft::new(Fields::new().with("challenge", json)).until(challenge.expires_s());
        let create = RecordWrite::create(&CHALLENGES, key(challenge.nonce())?, draft);
        if self.stored.commit(vec![create], now_s).await?.is_err() {
            return Err(IdentityError::Unavailable("a nonce was drawn twice"));
        }
        Ok(Asked {
            nonce: challenge.nonce().to_owned(),
            message: message.as_str().to_owned(),
            ends_s: challenge.expires_s(),
        })
    }

    /// Which wallet has answered what it was asked for this purpose.
    pub(crate) async fn prove(
        &self,
        wanted: Wanted,
        signed: &Signed,
        now_s: u64,
    ) -> Result<Address, IdentityError> {
        let answer = self.answer(wanted, signed, now_s).await?;
        self.take_challenge(&answer.challenge, now_s).await?;
        Ok(answer.wallet)
    }

    /// The same; the challenge is open still. After a wrong answer it is gone.
    pub(crate) async fn answer(
        &self,
        wanted: Wanted,
        signed: &Signed,
        now_s: u64,
    ) -> Result<Answer, IdentityError> {
        let site = self.site()?;
        let nonce = &signed.message.parts().nonce;
        let key = key(nonce).map_err(|_| ProofError::UnknownNonce)?;
        let found = self.stored.fresh(&CHALLENGES, key, now_s).await?;
        let record = found.ok_or(ProofError::UnknownNonce)?;
        let json = record.body.text("challenge").and_then(|json| serde_json::from_str(json).ok());
        let challenge: Challenge = json.ok_or_else(|| damaged(&CHALLENGES, &record.key))?;
        let proof = if challenge.purpose() == wanted.purpose() {
            challenge.prove(&signed.message, &signed.signature, site, now_s)
        } else {
            Err(ProofError::WrongPurpose)
        };
        match proof {
            Ok(wallet) => Ok(Answer { wallet, challenge: record }),
            Err(error) => {
                // Whoever takes it, and if nobody can: the answer was wrong.
                let _ = self.take_challenge(&record, now_s).await;
                Err(error.into())
            }
        }
    }

    /// Takes a challenge, which counts for one answer.
    pub(crate) async fn take_challenge(
        &self,
        challenge: &Record,
        now_s: u64,
    ) -> Result<(), IdentityError> {
        let is_ours = self.stored.take(&CHALLENGES, challenge, now_s).await?;
        if is_ours { Ok(()) } else { Err(ProofError::UnknownNonce.into()) }
    }

    pub(crate) fn site(&self) -> Result<&Site, IdentityError> {
        self.options().site.as_ref().ok_or(IdentityError::NotOffered)
    }
}

/// The key of a nonce, if it can be one of ours.
fn key(nonce: &str) -> Result<RecordKey, IdentityError> {
    let key = RecordKey::new(nonce).filter(|key| key.as_str().len() == 32);
    key.ok_or(IdentityError::Malformed("the nonce is none of ours"))
}

impl Signed {
    /// Reads what a wallet has signed, and its signature (0x and 130 hexadecimal
    /// digits).
    ///
    /// # Errors
    /// `Proof`.
    pub fn read(message: &str, signature: &str) -> Result<Self, IdentityError> {
        let message = SignInMessage::parse(message).map_err(ProofError::from)?;
        let signature = signature.parse::<Signature>().map_err(ProofError::from)?;
        Ok(Self { message, signature })
    }
}
