//! Ed25519 keys and their names.

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding};
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{
    DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, KeypairBytes,
};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// The text or the bytes are not a key of Ed25519 of the kind that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an Ed25519 key (in PEM: PKCS #8, \"BEGIN PRIVATE KEY\" or \"BEGIN PUBLIC KEY\")")]
pub struct InvalidKey;

/// A private key and its public half. Forgets the secret when dropped, and
/// never prints it.
#[derive(Clone)]
pub struct Keys {
    signing: SigningKey,
    public: PublicKey,
}

impl Keys {
    /// Makes a key of 32 bytes that the caller drew from a cryptographic
    /// random source.
    pub fn generate(random: [u8; 32]) -> Self {
        Self::new(SigningKey::from_bytes(&random))
    }

    /// Reads a key in PEM (PKCS #8, RFC 8410), as `openssl genpkey -algorithm
    /// ed25519` writes it.
    ///
    /// # Errors
    /// [`InvalidKey`] for anything else.
    pub fn from_pem(text: &str) -> Result<Self, InvalidKey> {
        SigningKey::from_pkcs8_pem(text).map(Self::new).map_err(|_| InvalidKey)
    }

    /// Writes the key in PEM. The text is secret.
    pub fn to_pem(&self) -> String {
        // Without the public half, which older readers stumble over.
        let bytes = KeypairBytes { secret_key: self.signing.to_bytes(), public_key: None };
        let pem = bytes.to_pkcs8_pem(LineEnding::LF).expect("32 bytes always have a PEM form");
        pem.as_str().to_owned()
    }

    /// The half that verifies.
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.signing.sign(message).to_bytes()
    }

    fn new(signing: SigningKey) -> Self {
        let public = PublicKey::new(signing.verifying_key());
        Self { signing, public }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("kid", &self.public.kid).finish_non_exhaustive()
    }
}

/// A public key as JSON.
#[derive(Serialize)]
pub(crate) struct Jwk<'a> {
    kty: &'static str,
    crv: &'static str,
    x: String,
    kid: &'a str,
    alg: &'static str,
    r#use: &'static str,
}

/// A public key under its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublicKey {
    key: VerifyingKey,
    kid: String,
}

impl PublicKey {
    /// The key whose 32 bytes of RFC 8032 these are.
    ///
    /// # Errors
    /// [`InvalidKey`] when they are no point of the curve, or one under which
    /// signatures mean nothing (of small order).
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, InvalidKey> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| InvalidKey)?;
        if key.is_weak() { Err(InvalidKey) } else { Ok(Self::new(key)) }
    }

    /// Reads a key in PEM (SubjectPublicKeyInfo, RFC 8410).
    ///
    /// # Errors
    /// [`InvalidKey`] for anything else, and for a key of small order.
    pub fn from_pem(text: &str) -> Result<Self, InvalidKey> {
        let key = VerifyingKey::from_public_key_pem(text).map_err(|_| InvalidKey)?;
        Self::from_bytes(key.as_bytes())
    }

    /// Writes the key in PEM.
    pub fn to_pem(&self) -> String {
        self.key.to_public_key_pem(LineEnding::LF).expect("32 bytes always have a PEM form")
    }

    /// The key as a member of a JWK Set (RFC 7517, RFC 8037 section 2).
    pub(crate) fn to_jwk(&self) -> Jwk<'_> {
        let x = Base64UrlUnpadded::encode_string(self.key.as_bytes());
        Jwk { kty: "OKP", crv: "Ed25519", x, kid: &self.kid, alg: "EdDSA", r#use: "sig" }
    }

    /// The 32 bytes of RFC 8032.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// The key's name in the header of a token: its JWK thumbprint (RFC 7638
    /// by SHA-256, RFC 8037 appendix A.3), so that the same key has the same
    /// name everywhere and another key never has it.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Whether the signature fits. Strict (`verify_strict` of the library):
    /// no second encoding of one signature counts.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let signature = Signature::from_slice(signature);
        signature.is_ok_and(|signature| self.key.verify_strict(message, &signature).is_ok())
    }

    fn new(key: VerifyingKey) -> Self {
        let x = Base64UrlUnpadded::encode_string(key.as_bytes());
        let jwk = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        let kid = Base64UrlUnpadded::encode_string(&Sha256::digest(jwk));
        Self { key, kid }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// RFC 8037, appendix A.1.
    const RFC_SECRET: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
    const RFC_PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn bytes(text: &str) -> [u8; 32] {
        Base64UrlUnpadded::decode_vec(text).unwrap().try_into().unwrap()
    }

    #[test]
    fn has_the_public_half_and_name_of_rfc_8037() {
        let keys = Keys::generate(bytes(RFC_SECRET));
        assert_eq!(keys.public().to_bytes(), bytes(RFC_PUBLIC));
        assert_eq!(keys.public().kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert_eq!(&PublicKey::from_bytes(&bytes(RFC_PUBLIC)).unwrap(), keys.public());
    }

    #[test]
    fn reads_the_pem_of_rfc_8410() {
        let text = "-----BEGIN PRIVATE KEY-----\n\
            MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
            -----END PRIVATE KEY-----\n";
        let keys = Keys::from_pem(text).unwrap();
        assert_eq!(keys.to_pem(), text);
        let public = "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";
        let hex: String = keys.public().to_bytes().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, public);
    }

    #[test]
    fn reads_what_it_wrote() {
        let keys = Keys::generate([7; 32]);
        assert_eq!(Keys::from_pem(&keys.to_pem()).unwrap().public(), keys.public());
    }

    /// RFC 8410, section 10.1.
    #[test]
    fn reads_the_public_pem_of_rfc_8410() {
        let text = "-----BEGIN PUBLIC KEY-----\n\
            MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
            -----END PUBLIC KEY-----\n";
        let key = PublicKey::from_pem(text).unwrap();
        assert_eq!((key.to_bytes()[0], key.to_pem().as_str()), (0x19, text));
        assert_eq!(PublicKey::from_pem(&Keys::generate([7; 32]).to_pem()).err(), Some(InvalidKey));
    }

    #[test]
    fn refuses_other_text() {
        for text in ["", "secret", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
            assert_eq!(Keys::from_pem(text).err(), Some(InvalidKey));
        }
    }

    #[test]
    fn refuses_keys_of_small_order() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(PublicKey::from_bytes(&identity).err(), Some(InvalidKey));
    }

    #[test]
    fn never_prints_the_secret() {
        let keys = Keys::generate([7; 32]);
        let printed = format!("{keys:?}");
        assert!(printed.contains(keys.public().kid()) && !printed.contains("7, 7"), "{printed}");
    }
}
