//! Addresses of accounts, with the checksum of EIP-55.

use std::fmt;
use std::str::FromStr;

use k256::ecdsa::VerifyingKey;
use serde::{Deserialize, Serialize};
use sha3::{Digest, Keccak256};

/// The text is not an address with its checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not 0x and 40 hexadecimal digits in the capitals of EIP-55")]
pub struct InvalidAddress;

/// An account: the last 20 bytes of the Keccak-256 hash of its public key.
///
/// Its one text is that of EIP-55: `0x` and 40 hexadecimal digits, of whose
/// letters those are capitals where the hash of the text says so. Another
/// spelling is refused, as a mistyped address would be.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address([u8; 20]);

impl Address {
    /// The account of these bytes.
    pub const fn new(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn to_bytes(self) -> [u8; 20] {
        self.0
    }

    /// The account of a public key (Yellow Paper, appendix F).
    pub(super) fn of(key: &VerifyingKey) -> Self {
        let point = key.to_sec1_point(false);
        // Without the byte that says that the point is not compressed.
        let hash = Keccak256::digest(&point.as_bytes()[1..]);
        let mut address = [0; 20];
        address.copy_from_slice(&hash[12..]);
        Self(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let nibbles = |byte: &u8| [byte >> 4, byte & 15];
        let mut text = [0; 40];
        for (place, nibble) in text.iter_mut().zip(self.0.iter().flat_map(nibbles)) {
            *place = DIGITS[usize::from(nibble)];
        }
        let hash = Keccak256::digest(text);
        for (place, nibble) in text.iter_mut().zip(hash.iter().flat_map(nibbles)) {
            if nibble >= 8 {
                place.make_ascii_uppercase();
            }
        }
        write!(f, "0x{}", std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

impl TryFrom<String> for Address {
    type Error = InvalidAddress;

    fn try_from(text: String) -> Result<Self, InvalidAddress> {
        text.parse()
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let digits = text.strip_prefix("0x").ok_or(InvalidAddress)?;
        let address = Self(super::signature::hex(digits).ok_or(InvalidAddress)?);
        if address.to_string() == text { Ok(address) } else { Err(InvalidAddress) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    /// The test cases of EIP-55.
    const VECTORS: [&str; 8] = [
        "0x52908400098527886E0F7030069857D2E4169EE7",
        "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
        "0xde709f2102306220921060314715629080e2fb77",
        "0x27b1fdb04752bbc536007a920d24acb045561c26",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ];

    #[test]
    fn has_the_capitals_of_eip_55() {
        for text in VECTORS {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn refuses_other_spellings() {
        for text in VECTORS {
            let digits = &text[2..];
            let upper = format!("0x{}", digits.to_uppercase());
            let lower = format!("0x{}", digits.to_lowercase());
            for other in [upper, lower].iter().filter(|other| *other != text) {
                assert_eq!(other.parse::<Address>(), Err(InvalidAddress), "{other}");
            }
            let cases = [
                digits,
                &format!("0X{digits}"),
                &text[..41],
                &format!("{text}0"),
                &format!(" {text}"),
            ];
            for case in cases {
                assert_eq!(case.parse::<Address>(), Err(InvalidAddress), "{case}");
            }
        }
        assert_eq!("0x".parse::<Address>(), Err(InvalidAddress));
        assert_eq!(format!("0x{}", "é".repeat(20)).parse::<Address>(), Err(InvalidAddress));
    }

    proptest! {
        #[test]
        fn comes_back_as_it_was(bytes: [u8; 20], place in 2..42_usize) {
            let text = Address::new(bytes).to_string();
            prop_assert_eq!(text.parse(), Ok(Address::new(bytes)));
            let mut other = text.clone().into_bytes();
            other[place] ^= 0x20;
            let other = String::from_utf8(other).unwrap();
            prop_assert_eq!(other.parse::<Address>(), Err(InvalidAddress));
        }
    }
}
