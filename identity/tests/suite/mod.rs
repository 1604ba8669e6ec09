//! What holds of people on every store.

#![allow(clippy::unwrap_used)]
#![allow(dead_code, reason = "each test binary uses its part")]

mod accounts;
mod keys;
pub mod provider;
mod races;
mod sessions;
mod users;
mod wallets;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use avvy_auth::lockout::LockOutPolicy;
use avvy_auth::wallet::{Address, Site};
use avvy_auth::{Claims, Issuer, Keys, Policy, Revocation, Revoked, TokenError};
use avvy_identity::{
    Asker, ExternalTokens, Identity, IdentityError, IdentityOptions, Oidc, Parts, Revocations,
    Signed, Tokens, Wanted,
};
use avvy_model::{Code, UserId};
use avvy_persistence::BoxFuture;
use avvy_persistence::records::Records;
use k256::ecdsa::signature::hazmat::PrehashSigner;
use k256::ecdsa::{RecoveryId, SigningKey};
use sha3::{Digest, Keccak256};
use uuid::Uuid;

pub const NOW_S: u64 = 1_800_000_000;

/// Runs every case on records of its own.
pub async fn run(fresh: impl AsyncFn() -> Arc<dyn Records>) {
    users::run(&Kit::new(fresh().await)).await;
    let all = [accounts::CASES, sessions::CASES, wallets::CASES, keys::CASES, races::CASES];
    for case in all.into_iter().flatten() {
        case(Kit::new(fresh().await)).await;
    }
}

/// A case: a name would only repeat that of the function, which a panic shows.
pub type Case = fn(Kit) -> std::pin::Pin<Box<dyn Future<Output = ()>>>;

/// What is revoked, in memory.
#[derive(Default)]
pub struct Memory(pub Mutex<Revoked>);

impl Revocations for Memory {
    fn signed_out_s(&self, user: UserId) -> Option<u64> {
        self.0.lock().unwrap().signed_out_s(user)
    }

    fn revoke(&self, revocation: Revocation) -> BoxFuture<'_, Result<u64, Code>> {
        self.0.lock().unwrap().add(revocation);
        Box::pin(async move { Ok(revocation.until_s()) })
    }
}

pub struct Kit {
    pub identity: Identity,
    pub records: Arc<dyn Records>,
    pub revoked: Arc<Memory>,
    issuer: Issuer,
}

impl Kit {
    pub fn new(records: Arc<dyn Records>) -> Self {
        Self::with(records, |_| {})
    }

    pub fn with(records: Arc<dyn Records>, tune: impl FnOnce(&mut IdentityOptions)) -> Self {
        Self::made(records, None, tune)
    }

    /// With accounts elsewhere, too.
    pub fn by_accounts(records: Arc<dyn Records>, oidc: Oidc) -> Self {
        Self::made(records, Some(oidc), |_| {})
    }

    /// The same people, by accounts elsewhere, too.
    pub fn and_accounts(&self, oidc: Oidc) -> Self {
        let options = self.identity.options().clone();
        Self::made(self.records.clone(), Some(oidc), |made| *made = options)
    }

    /// Where so many come from one address at once, and one in every second.
    pub fn with_newcomers(self, burst: u32) -> Self {
        Self::with(self.records, |options| {
            options.newcomers = LockOutPolicy::rate(burst, 1_000, 16);
        })
    }

    fn made(
        records: Arc<dyn Records>,
        oidc: Option<Oidc>,
        tune: impl FnOnce(&mut IdentityOptions),
    ) -> Self {
        let policy = Policy { issuer: "test".to_owned(), audience: "test".to_owned(), leeway_s: 5 };
        let issuer = Issuer::new(Keys::generate([7; 32]), policy);
        let revoked = Arc::<Memory>::default();
        let mut options = IdentityOptions {
            site: Some(Site {
                scheme: "https".to_owned(),
                domain: "example.org".to_owned(),
                chains: vec![1, 10],
                leeway_s: 5,
            }),
            development: true,
            max_sign_ins: 4,
            ..IdentityOptions::default()
        };
        tune(&mut options);
        let parts = Parts {
            records: records.clone(),
            issuer: issuer.clone(),
            revocations: revoked.clone(),
            external: ExternalTokens::none(),
            oidc,
            options,
        };
        Self { identity: Identity::new(parts), records, revoked, issuer }
    }

    /// Another node on the same records, which hears at once what is revoked.
    pub fn other_node(&self) -> Identity {
        self.node_on(self.records.clone())
    }

    /// The same over records of its own.
    pub fn node_on(&self, records: Arc<dyn Records>) -> Identity {
        Identity::new(Parts {
            records,
            issuer: self.issuer.clone(),
            revocations: self.revoked.clone(),
            external: ExternalTokens::none(),
            oidc: None,
            options: self.identity.options().clone(),
        })
    }

    /// What an access token says now, if it counts.
    pub fn claims(&self, token: &str, now_s: u64) -> Result<Claims, Option<TokenError>> {
        let claims = self.issuer.verifier().verify(token, now_s).map_err(Some)?;
        if self.revoked.0.lock().unwrap().covers(&claims) { Err(None) } else { Ok(claims) }
    }

    /// Whose tokens these are.
    pub fn of(&self, tokens: &Tokens) -> Claims {
        self.claims(&tokens.access, NOW_S).unwrap()
    }

    /// Has everybody forget what need not be known then.
    pub fn forget(&self, now_s: u64) {
        self.revoked.0.lock().unwrap().forget(now_s);
    }

    pub async fn dev(&self, name: &str) -> Tokens {
        self.identity.sign_in_for_development(name, &at(NOW_S)).await.unwrap()
    }

    /// What this wallet answers when it is asked for this.
    pub async fn ask(&self, wallet: &Wallet, wanted: Wanted) -> Signed {
        let asked = self.identity.challenge(wanted, wallet.address, None, NOW_S).await.unwrap();
        wallet.sign(&asked.message)
    }

    pub async fn by_wallet(&self, wallet: &Wallet) -> Result<Tokens, IdentityError> {
        let signed = self.ask(wallet, Wanted::SignIn).await;
        self.identity.sign_in_by_wallet(&signed, &at(NOW_S)).await
    }
}

/// Somebody at one address, at this second.
pub fn at(now_s: u64) -> Asker {
    from(1, now_s)
}

/// Somebody at the nth address.
pub fn from(nth: u8, now_s: u64) -> Asker {
    Asker {
        address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, nth)),
        agent: Some("test".to_owned()),
        now_s,
        now_ms: now_s * 1_000,
    }
}

pub fn user(nth: u8) -> UserId {
    UserId::new(Uuid::from_u128(0x4000_8000_0000_0000_0000 | u128::from(nth)))
}

/// A wallet and its key.
pub struct Wallet {
    key: SigningKey,
    pub address: Address,
}

impl Wallet {
    pub fn new(nth: u8) -> Self {
        let key = SigningKey::from_slice(&[nth; 32]).unwrap();
        let point = key.verifying_key().to_sec1_point(false);
        let hash = Keccak256::digest(&point.as_bytes()[1..]);
        Self { key, address: Address::new(hash[12..].try_into().unwrap()) }
    }

    /// As `personal_sign` does.
    pub fn sign_text(&self, message: &str) -> String {
        let head = format!("\x19Ethereum Signed Message:\n{}", message.len());
        let hash = Keccak256::new_with_prefix(head).chain_update(message).finalize();
        let (signature, recovery): (k256::ecdsa::Signature, RecoveryId) =
            self.key.sign_prehash(&hash).unwrap();
        let bytes = [&signature.to_bytes()[..], &[27 + recovery.to_byte()]].concat();
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("0x{digits}")
    }

    pub fn sign(&self, message: &str) -> Signed {
        Signed::read(message, &self.sign_text(message)).unwrap()
    }
}
