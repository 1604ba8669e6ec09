//! What somebody who signs in sends, and what other issuers say.

use avvy_auth::external::{ExternalIssuer, Jwks, MAX_JWKS_KEYS, Signatures, Subjects, Unverified};
use avvy_auth::wallet::{MAX_MESSAGE_BYTES, SignInMessage, Signature};
use avvy_identity::{Description, OidcError};
use avvy_model::Role;

/// A message that a wallet has signed, and the signature behind it, in hex,
/// after a NUL.
pub fn sign_in(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (text, signature) = text.split_once('\0').unwrap_or((text, ""));
    let signature = signature.parse::<Signature>();
    let Ok(message) = SignInMessage::parse(text) else { return };
    assert!(text.len() <= MAX_MESSAGE_BYTES);
    assert_eq!(message.as_str(), text);
    let again = message.parts().clone().build();
    assert_eq!(again.as_ref(), Ok(&message), "one meaning has one text");
    if let Ok(signature) = signature {
        let once = signature.signer(text);
        assert_eq!(once, signature.signer(text));
    }
}

/// The keys of another issuer.
pub fn jwks(bytes: &[u8]) {
    let Ok(jwks) = Jwks::parse(bytes) else { return };
    let skipped: usize = jwks.skipped().values().sum();
    assert!(jwks.len() + skipped <= MAX_JWKS_KEYS);
}

const ISSUER: &str = "https://id.example/organizations/v2.0";

/// What a provider says of itself, behind a byte that says whether it has
/// tenants: nothing goes where others can read it.
pub fn discovery(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let has_tenants = first % 2 == 1;
    let Ok(read) = Description::read(bytes, ISSUER, has_tenants) else { return };
    for place in [&read.authorization_endpoint, &read.token_endpoint, &read.jwks_uri] {
        assert!(place.starts_with("https://") && place.is_ascii(), "{place}");
    }
    assert_eq!(read.issuer.is(ISSUER), !has_tenants);
}

/// The answer of a token endpoint, behind its status.
pub fn token_answer(bytes: &[u8]) {
    let Some((status, body)) = bytes.split_first_chunk::<2>() else { return };
    let status = u16::from_be_bytes(*status);
    match avvy_identity::id_token(status, body) {
        Ok(_) => assert_eq!(status, 200),
        Err(OidcError::Refused(why)) => assert!(why.len() <= 64 && why.is_ascii()),
        Err(_) => {}
    }
}

/// An ID token whose signature is good, so that all that it says is looked at.
pub fn id_token(bytes: &[u8]) {
    let Ok(token) = std::str::from_utf8(bytes) else { return };
    let policy = ExternalIssuer {
        issuer: "https://id.example".to_owned(),
        audience: "us".to_owned(),
        leeway_s: 5,
        subjects: Subjects::Computed,
        role: Role::Visitor,
    };
    let n = "_".repeat(341) + "w";
    let jwks = format!(r#"{{"keys":[{{"kty":"RSA","kid":"k","e":"AQAB","n":"{n}"}}]}}"#);
    let jwks = Jwks::parse(jwks.as_bytes()).expect("a set of keys");
    assert_eq!(jwks.len(), 1);
    let Ok(said) = policy.verify_id_token(token, &jwks, &OfAnybody, 1_767_225_600) else { return };
    let unverified = Unverified::read(token).expect("it was read");
    assert_eq!((unverified.issuer, unverified.kid), (said.issuer, Some("k".to_owned())));
    assert!(!said.subject.is_empty() && said.subject.len() <= 255);
    assert!(said.name.is_none_or(|name| name.len() <= 255));
}

/// Takes every signature for good.
struct OfAnybody;

impl Signatures for OfAnybody {
    fn rs256(&self, _: &[u8], _: &[u8], _: &[u8], _: &[u8]) -> bool {
        true
    }

    fn es256(&self, _: &[u8; 65], _: &[u8], _: &[u8]) -> bool {
        true
    }
}
