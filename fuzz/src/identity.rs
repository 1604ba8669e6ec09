//! What somebody who signs in sends, and what another issuer publishes.

use avvy_auth::external::{Jwks, MAX_JWKS_KEYS};
use avvy_auth::wallet::{MAX_MESSAGE_BYTES, SignInMessage, Signature};

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
