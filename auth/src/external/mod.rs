//! Tokens of other issuers.
//!
//! Another issuer has a policy of its own ([`ExternalIssuer`]) and keys of its
//! own ([`Jwks`]), and neither ever judges the token of anybody else: whose a
//! token says it is ([`Unverified`]) only decides by which of them it is
//! judged, and that claim is judged with the rest.
//!
//! Such a token says less than ours: no role, and a subject that is a name
//! within its issuer. The policy says what that makes of its bearer.
//!
//! RS256 and ES256 are verified by what implements [`Signatures`]: there is no
//! well-kept pure implementation of RSA without an open advisory
//! (RUSTSEC-2023-0071), and those that there are draw random numbers.

mod cache;
mod jwks;

use avvy_model::{Role, UserId};
use serde::Deserialize;
use sha3::{Digest, Sha3_256};
use subtle::ConstantTimeEq;
use uuid::{Builder, Uuid};

pub use cache::{Ask, JwksCache, JwksCachePolicy};
pub use jwks::{ExternalKey, Jwks, JwksError, MAX_JWKS_BYTES, MAX_JWKS_KEYS, SkippedKey};

use crate::claims::{Audience, version_4};
use crate::jws::Compact;
use crate::{Claims, TokenError};

/// Bytes of the longest subject (OpenID Connect Core, section 2).
const MAX_SUBJECT_BYTES: usize = 255;

/// Bytes of the longest name that is taken over.
const MAX_NAME_BYTES: usize = 255;

/// Algorithms that a header may name. What a key is decides which one counts.
const ALGORITHMS: [&str; 4] = ["EdDSA", "Ed25519", "RS256", "ES256"];

/// Types that a header may name: JWTs, and access tokens (RFC 9068).
const TYPES: [&str; 3] = ["JWT", "at+jwt", "application/at+jwt"];

/// Verifies signatures by keys of others.
pub trait Signatures {
    /// RSASSA-PKCS1-v1_5 with SHA-256. The numbers are big endian, the modulus
    /// has 2,048 to 8,192 bits.
    fn rs256(&self, modulus: &[u8], exponent: &[u8], message: &[u8], signature: &[u8]) -> bool;

    /// ECDSA on P-256 with SHA-256. The point is in the uncompressed form of
    /// SEC 1 and need not be on the curve; the signature is r and s, 32 bytes
    /// each.
    fn es256(&self, point: &[u8; 65], message: &[u8], signature: &[u8]) -> bool;
}

/// Judges tokens of other issuers.
pub trait OtherIssuers: Send + Sync {
    /// What a token says at a time (Unix seconds), if it counts; `None`: it is
    /// of none of them.
    fn verify(&self, token: &str, now_s: u64) -> Option<Result<Claims, TokenError>>;
}

/// Who the subjects of an issuer are here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subjects {
    /// Users of their own: each has an id that is computed from issuer and
    /// subject. The same everywhere and at all times, without anything being
    /// stored; nobody's who is here by another way, as nobody chooses it. If
    /// the issuer changes its name its subjects are others.
    Computed,
    /// Our users: the subject is the id of a user. For issuers of one's own
    /// alone, as they can be anybody then.
    UserIds,
}

/// Whose tokens count, for whom they are, and what they let do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExternalIssuer {
    /// `iss` of every token, compared byte by byte.
    pub issuer: String,
    /// `aud` of every token, or one of them.
    pub audience: String,
    /// How far, in seconds, the clocks of issuer and verifier may differ.
    pub leeway_s: u64,
    /// Who its subjects are here.
    pub subjects: Subjects,
    /// The most that a token lets its bearer do in any brane.
    pub role: Role,
}

impl ExternalIssuer {
    /// Judges a token at a time (Unix seconds) by the issuer's keys, and gives
    /// what it says in our terms.
    ///
    /// The algorithm is that of the key, and the key is one of the issuer's by
    /// the name that the token gives. Keys that a token brings along are not
    /// looked at.
    ///
    /// # Errors
    /// The first [`TokenError`] that is found. After
    /// [`TokenError::UnknownKey`] the keys may have to be fetched anew:
    /// [`JwksCache`] says whether.
    pub fn verify(
        &self,
        token: &str,
        jwks: &Jwks,
        signatures: &(impl Signatures + ?Sized),
        now_s: u64,
    ) -> Result<Claims, TokenError> {
        let compact = Compact::read(token)?;
        let payload = self.payload(&compact, &TYPES, jwks, signatures, now_s)?;
        self.claims(payload, compact.signed())
    }

    /// Judges an ID token, by which its issuer tells this audience who somebody
    /// is, in the same way. Nobody comes in by it.
    ///
    /// # Errors
    /// The first [`TokenError`] that is found.
    pub fn verify_id_token(
        &self,
        token: &str,
        jwks: &Jwks,
        signatures: &(impl Signatures + ?Sized),
        now_s: u64,
    ) -> Result<IdToken, TokenError> {
        let compact = Compact::read(token)?;
        let payload = self.payload(&compact, &TYPES[..1], jwks, signatures, now_s)?;
        // One for several audiences says who asked for it (OpenID Connect Core
        // 1.0, section 3.1.3.7).
        let is_many = matches!(&payload.aud, Audience::Many(all) if all.len() > 1);
        match payload.azp.as_ref() {
            Some(party) if *party != self.audience => return Err(TokenError::WrongAudience),
            None if is_many => return Err(TokenError::WrongAudience),
            _ => {}
        }
        let Payload { iss: issuer, sub: subject, name, nonce, tid: tenant, .. } = payload;
        if subject.is_empty() || subject.len() > MAX_SUBJECT_BYTES {
            return Err(TokenError::Malformed);
        }
        let name = name.filter(|name| name.len() <= MAX_NAME_BYTES);
        Ok(IdToken { issuer, tenant, subject, name, nonce })
    }

    fn payload(
        &self,
        compact: &Compact<'_>,
        types: &[&str],
        jwks: &Jwks,
        signatures: &(impl Signatures + ?Sized),
        now_s: u64,
    ) -> Result<Payload, TokenError> {
        let header = compact.header(types)?;
        if !ALGORITHMS.contains(&&*header.alg) {
            return Err(TokenError::WrongAlgorithm);
        }
        let key = header.kid.as_deref().and_then(|kid| jwks.get(kid));
        let key = key.ok_or(TokenError::UnknownKey)?;
        if !key.is_for(&header.alg) {
            return Err(TokenError::WrongAlgorithm);
        }
        let json = compact.payload_if(|message, signature| match key {
            ExternalKey::Ed25519(key) => key.verifies(message, signature),
            ExternalKey::Rsa { modulus, exponent } => {
                signatures.rs256(modulus, exponent, message, signature)
            }
            ExternalKey::P256 { point } => signatures.es256(point, message, signature),
        })?;
        let payload: Payload = serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)?;
        self.judge(&payload, now_s)?;
        Ok(payload)
    }

    fn judge(&self, payload: &Payload, now_s: u64) -> Result<(), TokenError> {
        if payload.iss != self.issuer {
            return Err(TokenError::WrongIssuer);
        }
        if !payload.aud.holds(&self.audience) {
            return Err(TokenError::WrongAudience);
        }
        let Payload { iat, nbf, exp, .. } = *payload;
        crate::token::judge_times(iat, nbf, exp, self.leeway_s, now_s)
    }

    fn claims(&self, payload: Payload, signed: &str) -> Result<Claims, TokenError> {
        let Payload { sub, jti, name, iat, exp, .. } = payload;
        if sub.is_empty() || sub.len() > MAX_SUBJECT_BYTES {
            return Err(TokenError::Malformed);
        }
        let user = match self.subjects {
            Subjects::Computed => computed("subject", &self.issuer, &sub),
            Subjects::UserIds => version_4(&sub)?,
        };
        Ok(Claims {
            user: UserId::new(user),
            role: self.role,
            name: name.filter(|name| name.len() <= MAX_NAME_BYTES),
            branes: Vec::new(),
            session: None,
            // One without a name of its own is named by all that it says.
            token: computed("token", &self.issuer, jti.as_deref().unwrap_or(signed)),
            issued_s: iat,
            expires_s: exp,
        })
    }
}

/// What a token says of how it is to be judged. Nothing of it is verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unverified {
    /// Whose it says it is.
    pub issuer: String,
    /// The name of its key, if it has one.
    pub kid: Option<String>,
}

impl Unverified {
    /// Looks at a token, to find by whose policy and keys it is to be judged.
    ///
    /// # Errors
    /// When it is no token.
    pub fn read(token: &str) -> Result<Self, TokenError> {
        #[derive(Deserialize)]
        struct Issued {
            iss: String,
        }
        let compact = Compact::read(token)?;
        let kid = compact.header(&TYPES)?.kid;
        let json = compact.payload_if(|_, _| true)?;
        let issued: Issued = serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)?;
        Ok(Self { issuer: issued.iss, kid })
    }
}

/// What is looked at in a payload. `iat` has to be there, as whoever signs out
/// everywhere ends what was made before.
#[derive(Deserialize)]
struct Payload {
    iss: String,
    sub: String,
    aud: Audience,
    exp: u64,
    nbf: Option<u64>,
    iat: u64,
    jti: Option<String>,
    name: Option<String>,
    nonce: Option<String>,
    azp: Option<String>,
    tid: Option<String>,
}

/// What an ID token says (OpenID Connect Core 1.0, section 2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdToken {
    /// Whose it is.
    pub issuer: String,
    /// Whose tenant's account it is, at Microsoft (`tid`).
    pub tenant: Option<String>,
    /// Who it is, to its issuer.
    pub subject: String,
    /// What people call them; proves nothing.
    pub name: Option<String>,
    nonce: Option<String>,
}

impl IdToken {
    /// Whether it is of the sign-in that gave this nonce out.
    pub fn is_of(&self, nonce: &str) -> bool {
        let said = self.nonce.as_deref().unwrap_or_default();
        !nonce.is_empty() && said.as_bytes().ct_eq(nonce.as_bytes()).into()
    }
}

/// An id, in the form of a random one, for a name within an issuer.
fn computed(what: &str, issuer: &str, name: &str) -> Uuid {
    // The lengths keep apart what would read the same when joined.
    let mut hash = Sha3_256::new();
    for part in ["avvyland external", what, issuer, name] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let hash: [u8; 32] = hash.finalize().into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    Builder::from_random_bytes(bytes).into_uuid()
}
