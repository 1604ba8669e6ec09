//! Tokens.

use avvy_auth::{Issuer, Keys, Policy, Verifier, bearer};

/// Judges a token, and the header that would carry it. Nobody but the issuer
/// can make one that counts, so none does.
pub fn token(bytes: &[u8]) {
    if let Ok(token) = bearer(bytes) {
        assert!(verifier().verify(token, NOW_S).is_err(), "a forged token counts");
    }
    if let Ok(token) = std::str::from_utf8(bytes) {
        assert!(verifier().verify(token, NOW_S).is_err(), "a forged token counts");
    }
}

/// 2026-01-01, in Unix seconds.
const NOW_S: u64 = 1_767_225_600;

fn verifier() -> Verifier {
    let policy = Policy { issuer: "i".to_owned(), audience: "a".to_owned(), leeway_s: 5 };
    Issuer::new(Keys::generate([7; 32]), policy).verifier()
}
