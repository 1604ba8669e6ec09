//! Signing in by a wallet, and the wallets of a user.

use avvy_auth::Claims;
use avvy_auth::wallet::{Address, ProofError, SignInMessage, Signature, WalletError};
use avvy_model::UserId;

use crate::sessions::JustNow;
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
    /// Whether it is for the wallet's owner alone to fail so: by what the wallet
    /// has signed for this site just now.
    fn is_owners(&self, error: &IdentityError) -> bool {
        let is_wrong_answer =
            matches!(error, IdentityError::Proof(error) if error.is_wrong_answer());
        is_wrong_answer && self.is_by_its_wallet()
    }

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
    /// `Proof`, `LockedOut`, `NotOffered`; `TooManyNew`, after which the same
    /// counts still.
    pub async fn sign_in_by_wallet(
        &self,
        signed: &Signed,
        asker: &Asker,
    ) -> Result<Tokens, IdentityError> {
        let account = Way::Wallet(signed.message.parts().address).key();
        self.inner.guard.check(&account, asker)?;
        let outcome = self.signed_in(signed, asker).await;
        self.inner.guard.count(&account, asker, |error| signed.is_owners(error), outcome)
    }

    async fn signed_in(&self, signed: &Signed, asker: &Asker) -> Result<Tokens, IdentityError> {
        self.site()?;
        let way = Way::Wallet(signed.message.parts().address);
        // Whether it has a user is not for others to find out.
        if !signed.is_by_its_wallet() {
            self.prove(Wanted::SignIn, signed, asker.now_s).await?;
            return Err(ProofError::WrongSigner.into());
        }
        // Before the nonce is gone: who has to wait sends the same again.
        let comer = self.comer(&way, asker).await?;
        let wallet = self.prove(Wanted::SignIn, signed, asker.now_s).await?;
        self.sign_in(&way, &short(wallet), comer, asker).await
    }

    /// The wallets that sign in a user.
    ///
    /// # Errors
    /// As the store has them.
    pub async fn wallets(&self, user: UserId, now_s: u64) -> Result<Vec<Address>, IdentityError> {
        Ok(self.ways_of(user, now_s).await?.wallets().iter().collect())
    }

    /// Lets the wallet that has signed so sign in the user of a token. For who has
    /// signed in just now: as long ago at most as a wallet has time to answer, by
    /// what still signs in the user.
    ///
    /// # Errors
    /// `NotJustNow`, `Proof`, `Wallet`, `WayTaken`, `LockedOut`, `NotOffered`.
    pub async fn attach_wallet(
        &self,
        claims: &Claims,
        signed: &Signed,
        asker: &Asker,
    ) -> Result<Vec<Address>, IdentityError> {
        let (user, now_s) = (claims.user, asker.now_s);
        let by = self.signed_in_just_now(claims, now_s).await?;
        let account = Way::Wallet(signed.message.parts().address).key();
        self.inner.guard.check(&account, asker)?;
        let outcome = self.prove(Wanted::Attach(user), signed, now_s).await;
        let wallet =
            self.inner.guard.count(&account, asker, |error| signed.is_owners(error), outcome)?;
        let ways = self.attach(user, &Way::Wallet(wallet), &by, now_s).await?;
        Ok(ways.wallets().iter().collect())
    }

    /// Has a wallet sign in this user no more, as one of the user's wallets has
    /// signed that has been the user's for as long or for
    /// [`crate::IdentityOptions::new_way_in_s`]; the sign-ins that it began end.
    ///
    /// # Errors
    /// `Proof`, `TooNew`, `Wallet`, `LockedOut`, `NotOffered`.
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
        let by =
            self.inner.guard.count(&account, asker, |error| signed.is_owners(error), outcome)?;
        let by = JustNow::signed(Way::Wallet(by).key());
        let left = self.detach(user, &Way::Wallet(wallet).key(), &by, asker.now_s).await?;
        Ok(left.wallets().iter().collect())
    }

    /// The same without a signature, for who has signed in just now, as an account
    /// is detached.
    ///
    /// # Errors
    /// `NotJustNow`, `TooNew`, `Wallet`.
    pub async fn detach_wallet_just_now(
        &self,
        claims: &Claims,
        wallet: Address,
        now_s: u64,
    ) -> Result<Vec<Address>, IdentityError> {
        let way = Way::Wallet(wallet).key();
        let left = self.detach_just_now(claims, &way, now_s).await?;
        Ok(left.wallets().iter().collect())
    }

    async fn may_detach(
        &self,
        user: UserId,
        wallet: Address,
        signed: &Signed,
        now_s: u64,
    ) -> Result<Address, IdentityError> {
        let by = self.prove(Wanted::Detach(user, wallet), signed, now_s).await?;
        let wallets = self.ways_of(user, now_s).await?.wallets();
        if !wallets.has(wallet) {
            return Err(WalletError::NotAttached.into());
        }
        if wallets.has(by) { Ok(by) } else { Err(ProofError::WrongSigner.into()) }
    }
}
