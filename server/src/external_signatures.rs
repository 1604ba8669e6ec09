//! Signatures of other issuers' tokens, verified by `ring`, which TLS brings
//! along anyway.

use avvy_auth::external::Signatures;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};

/// RS256 and ES256 of `ring`.
#[derive(Clone, Copy, Debug)]
pub struct RingSignatures;

impl Signatures for RingSignatures {
    fn rs256(&self, modulus: &[u8], exponent: &[u8], message: &[u8], signature: &[u8]) -> bool {
        let key = RsaPublicKeyComponents { n: modulus, e: exponent };
        key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
    }

    fn es256(&self, point: &[u8; 65], message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
    }
}
