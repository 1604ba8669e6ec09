//! The public keys of another issuer: a JWK Set (RFC 7517), as it comes from
//! the network.
//!
//! Each key is bound to one algorithm by what it is, so that no token chooses
//! how it is verified. Sets hold keys for other things, too, which are passed
//! over and told ([`Jwks::skipped`]); a set that publishes a secret, or gives
//! one name twice, is refused as a whole.

use std::collections::BTreeMap;

use base64ct::{Base64UrlUnpadded, Encoding};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::PublicKey;

/// Bytes of the largest set that is looked at.
pub const MAX_JWKS_BYTES: usize = 64 * 1024;

/// Keys of the largest set.
pub const MAX_JWKS_KEYS: usize = 64;

/// Bytes of the longest name of a key.
const MAX_KID_BYTES: usize = 256;

/// Bits of the moduli of RSA that are taken. Shorter ones can be factored or
/// soon will be (NIST SP 800-131A), longer ones take a server's time.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// Why a set is refused as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JwksError {
    /// Longer than [`MAX_JWKS_BYTES`].
    #[error("the key set is too long")]
    TooLong,
    /// Not a JWK Set in JSON.
    #[error("the key set is not a JWK Set")]
    Malformed,
    /// More than [`MAX_JWKS_KEYS`] keys.
    #[error("the key set holds too many keys")]
    TooMany,
    /// It publishes a private or a shared key: nobody's signature means
    /// anything any more.
    #[error("the key set holds a secret key")]
    Secret,
    /// Two keys have one name.
    #[error("the key set holds two keys of one name")]
    SameName,
}

/// Why a key of a set is passed over.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, thiserror::Error)]
pub enum SkippedKey {
    /// It has no name, or a long one.
    #[error("has no name (kid) of a bearable length")]
    Name,
    /// Of a kind or curve that is not verified here.
    #[error("is of a kind or curve that is not known here")]
    Kind,
    /// Not for signatures, or not for their verification.
    #[error("is not for the verification of signatures (use, key_ops)")]
    Use,
    /// For another algorithm than the one of its kind here.
    #[error("is for another algorithm (alg)")]
    Algorithm,
    /// An RSA key that is too short or too long, or has an odd exponent.
    #[error("has a modulus or exponent that is not taken")]
    Size,
    /// A number is missing or not of its form.
    #[error("is not well-formed")]
    Malformed,
}

/// A public key, bound to its algorithm.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ExternalKey {
    /// Ed25519: `EdDSA` (RFC 8037), or `Ed25519` (RFC 9864).
    Ed25519(PublicKey),
    /// RSA: `RS256`, PKCS #1 v1.5 with SHA-256 (RFC 7518, section 3.3).
    Rsa {
        /// The modulus, big endian, without zeros in front.
        modulus: Vec<u8>,
        /// The exponent, the same.
        exponent: Vec<u8>,
    },
    /// A point on P-256: `ES256`, ECDSA with SHA-256 (RFC 7518, section 3.4).
    P256 {
        /// In the uncompressed form of SEC 1: 4, x, y.
        point: [u8; 65],
    },
}

impl ExternalKey {
    /// Whether `alg` names its algorithm.
    pub fn is_for(&self, alg: &str) -> bool {
        match self {
            Self::Ed25519(_) => matches!(alg, "EdDSA" | "Ed25519"),
            Self::Rsa { .. } => alg == "RS256",
            Self::P256 { .. } => alg == "ES256",
        }
    }
}

/// The keys of one issuer by which its tokens can be verified.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Jwks {
    keys: BTreeMap<String, (ExternalKey, Option<String>)>,
    skipped: BTreeMap<SkippedKey, usize>,
}

impl Jwks {
    /// Reads a set.
    ///
    /// # Errors
    /// The first [`JwksError`] that is found.
    pub fn parse(bytes: &[u8]) -> Result<Self, JwksError> {
        if bytes.len() > MAX_JWKS_BYTES {
            return Err(JwksError::TooLong);
        }
        let set: RawSet = serde_json::from_slice(bytes).map_err(|_| JwksError::Malformed)?;
        if set.keys.len() > MAX_JWKS_KEYS {
            return Err(JwksError::TooMany);
        }
        if set.keys.iter().any(Raw::is_secret) {
            return Err(JwksError::Secret);
        }
        let mut this = Self::default();
        for raw in &set.keys {
            match raw.key() {
                Ok((kid, key)) => {
                    if this.keys.insert(kid.to_owned(), (key, raw.issuer.clone())).is_some() {
                        return Err(JwksError::SameName);
                    }
                }
                Err(why) => *this.skipped.entry(why).or_default() += 1,
            }
        }
        Ok(this)
    }

    /// The key of this name.
    pub fn get(&self, kid: &str) -> Option<&ExternalKey> {
        self.keys.get(kid).map(|(key, _)| key)
    }

    /// For which issuer alone the key of this name signs, if the set says so:
    /// Microsoft's does, as one set is that of all tenants.
    pub fn issuer_of(&self, kid: &str) -> Option<&str> {
        self.keys.get(kid)?.1.as_deref()
    }

    /// How many keys were passed over, and why.
    pub const fn skipped(&self) -> &BTreeMap<SkippedKey, usize> {
        &self.skipped
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

#[derive(Deserialize)]
struct RawSet {
    keys: Vec<Raw>,
}

/// A key as it is written. A member that is there twice is refused, one that is
/// not known is passed over; certificates (`x5c`) and addresses (`x5u`) are not
/// looked at.
#[derive(Deserialize)]
struct Raw {
    kty: String,
    kid: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    issuer: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    d: Option<IgnoredAny>,
    p: Option<IgnoredAny>,
    q: Option<IgnoredAny>,
    dp: Option<IgnoredAny>,
    dq: Option<IgnoredAny>,
    qi: Option<IgnoredAny>,
    oth: Option<IgnoredAny>,
    k: Option<IgnoredAny>,
}

impl Raw {
    fn is_secret(&self) -> bool {
        let Self { d, p, q, dp, dq, qi, oth, k, .. } = self;
        self.kty == "oct" || [d, p, q, dp, dq, qi, oth, k].into_iter().any(Option::is_some)
    }

    fn key(&self) -> Result<(&str, ExternalKey), SkippedKey> {
        let is_name = |kid: &&str| (1..=MAX_KID_BYTES).contains(&kid.len());
        let kid = self.kid.as_deref().filter(is_name).ok_or(SkippedKey::Name)?;
        let verifies = |ops: &Vec<String>| ops.iter().any(|op| op == "verify");
        let is_for_signatures = self.r#use.as_deref().is_none_or(|used| used == "sig");
        if !is_for_signatures || !self.key_ops.as_ref().is_none_or(verifies) {
            return Err(SkippedKey::Use);
        }
        let key = match (&*self.kty, self.crv.as_deref()) {
            ("OKP", Some("Ed25519")) => {
                let key = PublicKey::from_bytes(&number(&self.x)?);
                ExternalKey::Ed25519(key.map_err(|_| SkippedKey::Malformed)?)
            }
            ("EC", Some("P-256")) => {
                let (x, y): ([u8; 32], [u8; 32]) = (number(&self.x)?, number(&self.y)?);
                let mut point = [4; 65];
                point[1..33].copy_from_slice(&x);
                point[33..].copy_from_slice(&y);
                ExternalKey::P256 { point }
            }
            ("RSA", None) => rsa(bytes(&self.n)?, bytes(&self.e)?)?,
            _ => return Err(SkippedKey::Kind),
        };
        if !self.alg.as_deref().is_none_or(|alg| key.is_for(alg)) {
            return Err(SkippedKey::Algorithm);
        }
        Ok((kid, key))
    }
}

fn rsa(modulus: Vec<u8>, exponent: Vec<u8>) -> Result<ExternalKey, SkippedKey> {
    let (Some(first), Some(last)) = (modulus.first(), modulus.last()) else {
        return Err(SkippedKey::Malformed);
    };
    if *first == 0 || exponent.first().is_none_or(|first| *first == 0) {
        return Err(SkippedKey::Malformed);
    }
    let bits = modulus.len() * 8 - first.leading_zeros() as usize;
    // From 65,537 on (FIPS 186-5, section 5.1) to 32 bits, as nobody needs more.
    let is_bearable = exponent.len() <= 4 && {
        let number = exponent.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        number >= 65_537 && number % 2 == 1
    };
    if !RSA_BITS.contains(&bits) || last % 2 == 0 || !is_bearable {
        return Err(SkippedKey::Size);
    }
    Ok(ExternalKey::Rsa { modulus, exponent })
}

fn bytes(text: &Option<String>) -> Result<Vec<u8>, SkippedKey> {
    let text = text.as_ref().ok_or(SkippedKey::Malformed)?;
    Base64UrlUnpadded::decode_vec(text).map_err(|_| SkippedKey::Malformed)
}

/// Exactly so many bytes.
fn number(text: &Option<String>) -> Result<[u8; 32], SkippedKey> {
    bytes(text)?.try_into().map_err(|_| SkippedKey::Malformed)
}
