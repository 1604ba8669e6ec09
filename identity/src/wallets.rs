//! Signing in by a wallet, and the wallets of a user.

use avvy_auth::wallet::{Address, ProofError, SignInMessage, Signature, WalletError};
use avvy_model::UserId;

use crate::ways::{Way, short};
use crate::{Asker, Identity, IdentityError, Tokens, Wanted};

/// A message and a wallet's signature of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signed {
    /// The message, as it was signed.
    pub message: SignInMessage,
    /// The signature.
    pub signature: Signature,
}

impl Signed {
    /// Whether the wallet that the message names has signed it.
    fn is_by_its_wallet(&self) -> bool {
        let signer = self.signature.signer(self.message.as_str());
        signer.is_ok_and(|signer| signer == self.message.parts().address)
    }
}

impl Identity {
    /// Signs in by what a wallet has signed. Whoever comes first by it is a new
    /// user.
    ///
    /// # Errors
    /// `Proof`, `LockedOut`, `NotOffered`.
    pub async fn sign_in_by_wallet(
        &self,
        signed: &Signed,
        asker: &Asker,
    ) -> Result<Tokens, IdentityError> {
        let account = Way::Wallet(signed.message.parts().address).key();
        self.inner.guard.check(&account, asker)?;
        let outcome = self.signed_in(signed, asker).await;
        self.inner.guard.count(&account, asker, || signed.is_by_its_wallet(), outcome)
    }

    async fn signed_in(&self, signed: &Signed, asker: &Asker) -> Result<Tokens, IdentityError> {
        let wallet = self.prove(Wanted::SignIn, signed, asker.now_s).await?;
        self.sign_in(&Way::Wallet(wallet), &short(wallet), asker).await
    }

    /// The wallets that sign in a user.
    ///
    /// # Errors
    /// As the store has them.
    pub async fn wallets(&self, user: UserId, now_s: u64) -> Result<Vec<Address>, IdentityError> {
        Ok(self.ways_of(user, now_s).await?.wallets().iter().collect())
    }

    /// Lets the wallet that has signed so sign in this user.
    ///
    /// # Errors
    /// `Proof`, `Wallet`, `WayTaken`, `LockedOut`, `NotOffered`.
    pub async fn attach_wallet(
        &self,
        user: UserId,
        signed: &Signed,
        asker: &Asker,
    ) -> Result<Vec<Address>, IdentityError> {
        let account = Way::Wallet(signed.message.parts().address).key();
        self.inner.guard.check(&account, asker)?;
        let outcome = self.prove(Wanted::Attach(user), signed, asker.now_s).await;
        let wallet =
            self.inner.guard.count(&account, asker, || signed.is_by_its_wallet(), outcome)?;
        let ways = self.attach(user, &Way::Wallet(wallet), &short(wallet), asker.now_s).await?;
        Ok(ways.wallets().iter().collect())
    }

    /// Has a wallet sign in this user no more, as one of the user's wallets has
    /// signed; the sign-ins that it began end.
    ///
    /// # Errors
    /// `Proof`, `Wallet`, `LockedOut`, `NotOffered`.
    pub async fn detach_wallet(
        &self,
        user: UserId,
        wallet: Address,
        signed: &Signed,
        asker: &Asker,
    ) -> Result<Vec<Address>, IdentityError> {
        let account = Way::Wallet(signed.message.parts().address).key();
        self.inner.guard.check(&account, asker)?;
        let outcome = self.may_detach(user, wallet, signed, asker.now_s).await;
        self.inner.guard.count(&account, asker, || signed.is_by_its_wallet(), outcome)?;
        let left = self.detach(user, &Way::Wallet(wallet).key(), asker.now_s).await?;
        Ok(left.wallets().iter().collect())
    }

    async fn may_detach(
        &self,
        user: UserId,
        wallet: Address,
        signed: &Signed,
        now_s: u64,
    ) -> Result<(), IdentityError> {
        let by = self.prove(Wanted::Detach(user, wallet), signed, now_s).await?;
        let wallets = self.ways_of(user, now_s).await?.wallets();
        if !wallets.has(wallet) {
            return Err(WalletError::NotAttached.into());
        }
        if wallets.has(by) { Ok(()) } else { Err(ProofError::WrongSigner.into()) }
    }
}
