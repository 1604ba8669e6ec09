//! Signatures of wallets: ECDSA over secp256k1, from which the key that signed
//! is recovered.

use std::fmt;
use std::str::FromStr;

use k256::ecdsa::{RecoveryId, Signature as Ecdsa, VerifyingKey};
use sha3::{Digest, Keccak256};

use super::Address;

/// The text is not a signature that a wallet would make.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a signature: 0x and 65 bytes in hexadecimal, s in its lower half, v 0, 1, 27 or 28")]
pub struct InvalidSignature;

/// A signature as wallets give it for `personal_sign`: r and s, 32 bytes each,
/// and v.
///
/// - **v** says which of two keys signed. Ethereum's own clients write 27 or 28
///   there; some hardware wallets write 0 or 1. Both are taken. The numbers of
///   transactions (EIP-155, from 35 on) are not: no message is signed so.
/// - **s** is in the lower half of its range (EIP-2), as every wallet makes it.
///   With its mirror image each signature would have a second spelling.
/// - The short form of EIP-2098 (64 bytes) is refused: wallets give the long one.
#[derive(Clone, PartialEq, Eq)]
pub struct Signature {
    rs: Ecdsa,
    id: RecoveryId,
}

impl Signature {
    /// Takes the 65 bytes.
    ///
    /// # Errors
    /// [`InvalidSignature`] for an r or s out of range, an s in the upper half,
    /// and another v.
    pub fn from_bytes(bytes: &[u8; 65]) -> Result<Self, InvalidSignature> {
        let is_odd = match bytes[64] {
            0 | 27 => false,
            1 | 28 => true,
            _ => return Err(InvalidSignature),
        };
        let rs = Ecdsa::from_slice(&bytes[..64]).map_err(|_| InvalidSignature)?;
        if rs.normalize_s() != rs {
            return Err(InvalidSignature);
        }
        // An x beyond the order of the curve would be v 2 or 3: nobody has one.
        Ok(Self { rs, id: RecoveryId::new(is_odd, false) })
    }

    /// Which account has signed this message (EIP-191, version 0x45). Any
    /// signature is one of somebody: whoever asks compares.
    ///
    /// # Errors
    /// [`InvalidSignature`] if there is no such key.
    pub fn signer(&self, message: &str) -> Result<Address, InvalidSignature> {
        let key = VerifyingKey::recover_from_prehash(&message_hash(message), &self.rs, self.id);
        key.map(|key| Address::of(&key)).map_err(|_| InvalidSignature)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature")
    }
}

/// `0x` and 130 hexadecimal digits in any case.
impl FromStr for Signature {
    type Err = InvalidSignature;

    fn from_str(text: &str) -> Result<Self, InvalidSignature> {
        let digits = text.strip_prefix("0x").ok_or(InvalidSignature)?;
        Self::from_bytes(&hex(digits).ok_or(InvalidSignature)?)
    }
}

/// What is signed of a message: EIP-191, version 0x45 (`E`, `personal_sign`).
fn message_hash(message: &str) -> [u8; 32] {
    let head = format!("\x19Ethereum Signed Message:\n{}", message.len());
    Keccak256::new_with_prefix(head).chain_update(message).finalize().into()
}

/// Exactly so many bytes, in hexadecimal digits of any case.
pub(super) fn hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    if digits.len() != 2 * N {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use k256::ecdsa::SigningKey;
    use k256::ecdsa::signature::hazmat::PrehashSigner;
    use proptest::prelude::*;

    use super::*;

    /// The first example of `personal_sign` that wallets document: the key is
    /// the Keccak-256 hash of "cow", the message "hello world".
    fn cow() -> SigningKey {
        SigningKey::from_slice(&Keccak256::digest("cow")).unwrap()
    }

    fn sign(key: &SigningKey, message: &str) -> [u8; 65] {
        let (rs, id): (Ecdsa, RecoveryId) = key.sign_prehash(&message_hash(message)).unwrap();
        let mut bytes = [27 + u8::from(id.is_y_odd()); 65];
        bytes[..64].copy_from_slice(&rs.to_bytes());
        bytes
    }

    #[test]
    fn knows_the_account_of_a_key() {
        let address = Address::of(cow().verifying_key());
        assert_eq!(address.to_string(), "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826");
    }

    /// EIP-191's hash of "Hello World", as it is published with ethers and
    /// web3.js.
    #[test]
    fn hashes_as_eip_191() {
        let hash = "a1de988600a42c4b4ab089b619297c17d53cffae5d5120d82d8a92d0bb3b78f2";
        assert_eq!(message_hash("Hello World"), hex::<32>(hash).unwrap());
    }

    #[test]
    fn takes_the_numbers_of_all_wallets() {
        let message = "hello";
        let signed = sign(&cow(), message);
        let signer = |v| {
            let mut bytes = signed;
            bytes[64] = v;
            Signature::from_bytes(&bytes)?.signer(message)
        };
        let (good, other) = (signed[64], 55 - signed[64]);
        let cow = Address::of(cow().verifying_key());
        assert_eq!((signer(good), signer(good - 27)), (Ok(cow), Ok(cow)));
        assert_eq!(signer(other), signer(other - 27));
        assert_ne!(signer(other), Ok(cow));
        for v in (2..27).chain(29..=255) {
            assert_eq!(signer(v), Err(InvalidSignature), "{v}");
        }
    }

    #[test]
    fn refuses_the_mirror_image() {
        let bytes = sign(&cow(), "hello");
        let rs = Ecdsa::from_slice(&bytes[..64]).unwrap();
        let (r, s) = rs.split_scalars();
        let mirrored = Ecdsa::from_scalars(r.to_bytes(), (-*s).to_bytes()).unwrap();
        let mut other = [55 - bytes[64]; 65];
        other[..64].copy_from_slice(&mirrored.to_bytes());
        assert_eq!(Signature::from_bytes(&other), Err(InvalidSignature));
    }

    #[test]
    fn refuses_numbers_out_of_range() {
        let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
        let one = format!("{:064x}", 1);
        let zero = "0".repeat(64);
        for (r, s) in [(&*zero, &*one), (&one, &zero), (order, &one), (&one, order)] {
            assert_eq!(format!("0x{r}{s}1b").parse::<Signature>(), Err(InvalidSignature));
        }
    }

    #[test]
    fn refuses_other_texts() {
        let good = format!("0x{}1b", "1".repeat(128));
        assert!(good.parse::<Signature>().is_ok());
        let short = &good[..130];
        let cases = [
            "",
            "0x",
            &good[2..],
            short,
            &format!("{good}00"),
            &good.replace('b', "g"),
            &good.replace("0x", "0X"),
        ];
        for text in cases {
            assert_eq!(text.parse::<Signature>(), Err(InvalidSignature), "{text}");
        }
    }

    proptest! {
        #[test]
        fn finds_who_signed(secret: [u8; 32], message in "\\PC{0,100}", other in "\\PC{0,100}") {
            let Ok(key) = SigningKey::from_slice(&secret) else { return Ok(()) };
            let signature = Signature::from_bytes(&sign(&key, &message)).unwrap();
            let address = Address::of(key.verifying_key());
            prop_assert_eq!(signature.signer(&message), Ok(address));
            prop_assert_eq!(signature.signer(&other) == Ok(address), other == message);
        }
    }
}
