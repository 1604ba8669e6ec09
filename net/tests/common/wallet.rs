//! A wallet that signs what it is shown.

use k256::ecdsa::signature::hazmat::PrehashSigner;
use k256::ecdsa::{RecoveryId, SigningKey};
use serde_json::{Value as Json, json};
use sha3::{Digest, Keccak256};

pub struct Wallet(SigningKey);

impl Wallet {
    pub fn new(nth: u8) -> Self {
        Self(SigningKey::from_slice(&[nth; 32]).unwrap())
    }

    pub fn address(&self) -> String {
        let point = self.0.verifying_key().to_sec1_point(false);
        let hash = Keccak256::digest(&point.as_bytes()[1..]);
        avvy_auth::wallet::Address::new(hash[12..].try_into().unwrap()).to_string()
    }

    pub fn sign(&self, message: &str) -> Json {
        let head = format!("\x19Ethereum Signed Message:\n{}", message.len());
        let hash = Keccak256::new_with_prefix(head).chain_update(message).finalize();
        let (signature, recovery): (k256::ecdsa::Signature, RecoveryId) =
            self.0.sign_prehash(&hash).unwrap();
        let bytes = [&signature.to_bytes()[..], &[27 + recovery.to_byte()]].concat();
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        json!({"message": message, "signature": format!("0x{digits}")})
    }
}
