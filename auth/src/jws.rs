//! The compact form of a signature (RFC 7515, section 7.1) with EdDSA
//! (RFC 8037): `base64url(header) . base64url(payload) . base64url(signature)`.
//!
//! Own code, as a token needs little of it, and the general JWT libraries
//! read the system's clock, keep a global provider of cryptography, and bring
//! RSA and ECDSA with them. The algorithm is that of the key, so a token has no
//! way to choose another one.

use base64ct::{Base64UrlUnpadded, Encoding};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::{Keys, MAX_TOKEN_BYTES, TokenError};

/// Signs a payload. The header holds `alg`, `kid` and `typ`.
pub fn sign(keys: &Keys, payload: &[u8]) -> String {
    let header = format!(r#"{{"alg":"EdDSA","kid":"{}","typ":"JWT"}}"#, keys.public().kid());
    let mut token = Base64UrlUnpadded::encode_string(header.as_bytes());
    token.push('.');
    token.push_str(&Base64UrlUnpadded::encode_string(payload));
    let signature = keys.sign(token.as_bytes());
    token.push('.');
    token.push_str(&Base64UrlUnpadded::encode_string(&signature));
    token
}

/// A token in its three parts; nothing of it is verified.
pub struct Compact<'a> {
    signed: &'a str,
    header: &'a str,
    payload: &'a str,
    signature: &'a str,
}

impl<'a> Compact<'a> {
    /// Cuts a token at its dots, if it is not too long to be looked at.
    pub fn read(token: &'a str) -> Result<Self, TokenError> {
        if token.is_empty() {
            return Err(TokenError::Missing);
        }
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        if payload.contains('.') {
            return Err(TokenError::Malformed);
        }
        Ok(Self { signed, header, payload, signature })
    }

    /// Reads the header; refuses every type but these and every extension that
    /// would have to be understood. Keys and addresses of keys in the header
    /// (`jwk`, `jku`, `x5c`, `x5u`) are never looked at.
    pub fn header(&self, types: &[&str]) -> Result<Header, TokenError> {
        let header: Header = json(self.header)?;
        let is_of = |typ: &String| types.iter().any(|of| typ.eq_ignore_ascii_case(of));
        if header.crit.is_some() || !header.typ.as_ref().is_none_or(is_of) {
            return Err(TokenError::Malformed);
        }
        Ok(header)
    }

    /// Gives the payload if what is signed and the signature are as they
    /// should be.
    pub fn payload_if(
        &self,
        is_good: impl FnOnce(&[u8], &[u8]) -> bool,
    ) -> Result<Vec<u8>, TokenError> {
        if !is_good(self.signed.as_bytes(), &base64url(self.signature)?) {
            return Err(TokenError::BadSignature);
        }
        base64url(self.payload)
    }

    /// What is signed: header and payload.
    pub const fn signed(&self) -> &'a str {
        self.signed
    }
}

/// What is looked at in a header. A member that is there twice is refused.
#[derive(Deserialize)]
pub struct Header {
    /// The algorithm that it says it is signed with.
    pub alg: String,
    /// The name of the key.
    pub kid: Option<String>,
    typ: Option<String>,
    crit: Option<IgnoredAny>,
}

fn json<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, TokenError> {
    serde_json::from_slice(&base64url(part)?).map_err(|_| TokenError::Malformed)
}

/// Without padding and in the one canonical form only.
fn base64url(part: &str) -> Result<Vec<u8>, TokenError> {
    Base64UrlUnpadded::decode_vec(part).map_err(|_| TokenError::Malformed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::PublicKey;

    /// RFC 8037, appendix A.4: the header is `{"alg":"EdDSA"}`.
    const RFC_TOKEN: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.\
        hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

    fn verify(token: &Compact<'_>, key: &PublicKey) -> Result<Vec<u8>, TokenError> {
        token.payload_if(|message, signature| key.verifies(message, signature))
    }

    fn rfc_keys() -> Keys {
        let secret = base64url("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        Keys::generate(secret.try_into().unwrap())
    }

    #[test]
    fn verifies_the_example_of_rfc_8037() {
        let token = Compact::read(RFC_TOKEN).unwrap();
        assert_eq!(token.header(&["JWT"]).unwrap().kid, None);
        let payload = verify(&token, rfc_keys().public()).unwrap();
        assert_eq!(payload, b"Example of Ed25519 signing");
    }

    #[test]
    fn signs_as_rfc_8037_does() {
        let (signed, signature) = RFC_TOKEN.rsplit_once('.').unwrap();
        let own = Base64UrlUnpadded::encode_string(&rfc_keys().sign(signed.as_bytes()));
        assert_eq!(own, signature);
    }

    #[test]
    fn reads_what_it_signed() {
        let keys = Keys::generate([3; 32]);
        let token = sign(&keys, b"payload");
        let token = Compact::read(&token).unwrap();
        let header = token.header(&["jwt"]).unwrap();
        assert_eq!((&*header.alg, header.kid.as_deref()), ("EdDSA", Some(keys.public().kid())));
        assert_eq!(verify(&token, keys.public()).unwrap(), b"payload");
        assert_eq!(token.header(&["at+jwt"]).err(), Some(TokenError::Malformed));
    }

    #[test]
    fn refuses_a_second_spelling_of_one_signature() {
        let keys = Keys::generate([3; 32]);
        let token = sign(&keys, b"payload");
        let last = token.chars().last().unwrap();
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        for other in alphabet.chars().filter(|c| *c != last) {
            let mut changed = token.clone();
            changed.pop();
            changed.push(other);
            assert!(verify(&Compact::read(&changed).unwrap(), keys.public()).is_err());
        }
    }

    #[test]
    fn refuses_what_is_not_three_parts() {
        assert_eq!(Compact::read("").err(), Some(TokenError::Missing));
        for text in [".", "a", "a.b", "a.b.c.d", "....."] {
            let refused = Compact::read(text).err();
            assert_eq!(refused, Some(TokenError::Malformed), "{text:?}");
        }
    }
}
