//! Making tokens, and judging them.

use serde::Serialize;

use crate::claims::Payload;
use crate::jws::{self, Compact};
use crate::key::Jwk;
use crate::signed::Signed;
use crate::{Claims, KeyRing, MAX_LIFETIME_S, PublicKey, TokenError};

/// Bytes of the longest token that is looked at.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Whose tokens count, and for whom they are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// `iss` of every token, compared byte by byte.
    pub issuer: String,
    /// `aud` of every token, or one of them.
    pub audience: String,
    /// How far, in seconds, the clocks of issuer and verifier may differ: a
    /// token counts so much before its `iat` and `nbf` and after its `exp`.
    pub leeway_s: u64,
}

/// Makes tokens.
#[derive(Clone, Debug)]
pub struct Issuer {
    ring: KeyRing,
    policy: Policy,
}

impl Issuer {
    /// Makes tokens of `policy`, signed by the present key of a ring.
    pub fn new(ring: impl Into<KeyRing>, policy: Policy) -> Self {
        Self { ring: ring.into(), policy }
    }

    /// Makes the token that says this. Says nothing about whether it is true:
    /// that is the caller's matter.
    pub fn issue(&self, claims: &Claims) -> String {
        let payload = Payload::new(claims, &self.policy.issuer, &self.policy.audience);
        let json = serde_json::to_vec(&payload).expect("texts and numbers always have a JSON form");
        jws::sign(self.ring.present(), &json)
    }

    /// What judges this issuer's tokens, by every key of the ring.
    pub fn verifier(&self) -> Verifier {
        Verifier::new(self.policy.clone(), self.ring.public_keys())
    }
}

/// Judges tokens.
#[derive(Clone, Debug)]
pub struct Verifier {
    policy: Policy,
    keys: Vec<PublicKey>,
}

impl Verifier {
    /// Accepts tokens of `policy` signed by one of `keys`, such as those of
    /// [`KeyRing::public_keys`].
    pub const fn new(policy: Policy, keys: Vec<PublicKey>) -> Self {
        Self { policy, keys }
    }

    /// Judges a token at a time (Unix seconds) and gives what it says.
    ///
    /// The length is looked at first, the signature before the claims, and
    /// the key is one of ours by the name that the token gives, so nothing in
    /// a token chooses how it is verified.
    ///
    /// # Errors
    /// The first [`TokenError`] that is found.
    pub fn verify(&self, token: &str, now_s: u64) -> Result<Claims, TokenError> {
        self.read(token)?.judge(self.policy.leeway_s, now_s)
    }

    /// Judges all of a token but whether it is its time.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn read(&self, token: &str) -> Result<Signed, TokenError> {
        let compact = Compact::read(token)?;
        let header = compact.header(&["JWT"])?;
        if header.alg != "EdDSA" {
            return Err(TokenError::WrongAlgorithm);
        }
        let key = self.key(header.kid)?;
        let json = compact.payload_if(|message, signature| key.verifies(message, signature))?;
        let payload: Payload = serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)?;
        self.judge(&payload)?;
        let nbf_s = payload.nbf;
        Ok(Signed { claims: payload.claims()?, nbf_s })
    }

    /// The public keys as a JWK Set (RFC 7517, section 5), for others who
    /// judge these tokens.
    pub fn jwks(&self) -> String {
        #[derive(Serialize)]
        struct JwkSet<'a> {
            keys: Vec<Jwk<'a>>,
        }
        let keys = self.keys.iter().map(PublicKey::to_jwk).collect();
        serde_json::to_string(&JwkSet { keys }).expect("texts always have a JSON form")
    }

    /// How much longer than it says a token counts, in seconds.
    pub const fn leeway_s(&self) -> u64 {
        self.policy.leeway_s
    }

    fn key(&self, kid: Option<String>) -> Result<&PublicKey, TokenError> {
        let kid = kid.ok_or(TokenError::UnknownKey)?;
        self.keys.iter().find(|key| key.kid() == kid).ok_or(TokenError::UnknownKey)
    }

    fn judge(&self, payload: &Payload) -> Result<(), TokenError> {
        let Policy { issuer, audience, .. } = &self.policy;
        if payload.iss != *issuer {
            return Err(TokenError::WrongIssuer);
        }
        if !payload.aud.holds(audience) {
            return Err(TokenError::WrongAudience);
        }
        Ok(())
    }
}

/// Whether a token that says this counts at this time. All in Unix seconds.
pub fn judge_times(
    iat: u64,
    nbf: Option<u64>,
    exp: u64,
    leeway_s: u64,
    now_s: u64,
) -> Result<(), TokenError> {
    let latest_start_s = now_s.saturating_add(leeway_s);
    if exp <= iat {
        return Err(TokenError::Malformed);
    }
    if exp - iat > MAX_LIFETIME_S {
        return Err(TokenError::TooLasting);
    }
    if iat > latest_start_s || nbf.is_some_and(|nbf| nbf > latest_start_s) {
        return Err(TokenError::NotYetValid);
    }
    if now_s >= exp.saturating_add(leeway_s) {
        return Err(TokenError::Expired);
    }
    Ok(())
}
