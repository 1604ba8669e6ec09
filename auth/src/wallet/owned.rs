//! The wallets of one user.

use std::collections::BTreeSet;

use avvy_model::Code;
use serde::{Deserialize, Serialize};

use super::Address;

/// Wallets of one user. More would let one account hoard addresses.
pub const MAX_WALLETS: usize = 16;

/// Why a wallet, or an account elsewhere, is not attached or detached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WalletError {
    /// It is the user's already.
    #[error("it is attached already")]
    Attached,
    /// It is not the user's.
    #[error("it is not attached")]
    NotAttached,
    /// The user has [`MAX_WALLETS`] of them.
    #[error("the user has as many as one may have")]
    TooMany,
    /// Without it the user could not sign in any more.
    #[error("it is the user's only way to sign in")]
    OnlyWay,
}

impl WalletError {
    /// The code that the asker is told.
    pub const fn code(self) -> Code {
        match self {
            Self::Attached => Code::Exists,
            Self::NotAttached => Code::NotFound,
            Self::TooMany | Self::OnlyWay => Code::Forbidden,
        }
    }
}

/// The wallets by which a user signs in. That no other user has one of them is
/// for the store to see to, which knows all users.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Wallets(BTreeSet<Address>);

impl Wallets {
    /// Adds one whose owner has proved that it is theirs
    /// ([`super::Purpose::Attach`]).
    ///
    /// # Errors
    /// When it is there, or there are too many.
    pub fn attach(&mut self, address: Address) -> Result<(), WalletError> {
        if self.has(address) {
            return Err(WalletError::Attached);
        }
        if self.0.len() >= MAX_WALLETS {
            return Err(WalletError::TooMany);
        }
        self.0.insert(address);
        Ok(())
    }

    /// Whether it is the user's.
    pub fn has(&self, address: Address) -> bool {
        self.0.contains(&address)
    }

    /// All of them, in the order of their bytes.
    pub fn iter(&self) -> impl Iterator<Item = Address> {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wallet_is_attached_once() {
        let [one, two] = [1, 2].map(|n| Address::new([n; 20]));
        let mut wallets = Wallets::default();
        assert_eq!(wallets.attach(one), Ok(()));
        assert_eq!(wallets.attach(one), Err(WalletError::Attached));
        assert!(wallets.has(one) && !wallets.has(two));
        assert_eq!(wallets.iter().collect::<Vec<_>>(), [one]);
    }

    #[test]
    fn nobody_hoards_wallets() {
        let mut wallets = Wallets::default();
        for n in 0..MAX_WALLETS {
            assert_eq!(wallets.attach(Address::new([n as u8; 20])), Ok(()));
        }
        let refused = wallets.attach(Address::new([99; 20]));
        assert_eq!(refused, Err(WalletError::TooMany));
        assert_eq!(WalletError::TooMany.code(), Code::Forbidden);
    }
}
