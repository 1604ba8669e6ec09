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
    /// The wallet that the message names.
    pub(crate) fn wallet(&self) -> Address {
        self.message.parts().address
    }

    /// Whether that has signed it.
    pub(crate) fn is_by_its_wallet(&self) -> bool {
        let signer = self.signature.signer(self.message.as_str());
        signer.is_ok_and(|signer| signer == self.wallet())
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
        self.inner.guard.judge(signed, asker, self.signed_in(signed, asker)).await
    }

    async fn signed_in(&self, signed: &Signed, asker: &Asker) -> Result<Tokens, IdentityError> {
        let answer = self.answer(Wanted::SignIn, signed, asker.now_s).await?;
        let way = Way::Wallet(answer.wallet);
        // Before the nonce is gone: who has to wait sends the same again.
        let comer = self.comer(&way, asker).await?;
        self.take_challenge(&answer.challenge, asker.now_s).await?;
        self.sign_in(&way, &short(answer.wallet), comer, asker).await
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
        let proof = self.prove(Wanted::Attach(user), signed, now_s);
        let wallet = self.inner.guard.judge(signed, asker, proof).await?;
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
        let proof = self.may_detach(user, wallet, signed, asker.now_s);
        let by = self.inner.guard.judge(signed, asker, proof).await?;
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
