//! The keys that sign tokens, where several servers share them.
//!
//! One record of `key_rings`: the text of the ring, in `keys`; or in `sealed`,
//! encrypted under a secret that is not in the database (ChaCha20-Poly1305: 12
//! bytes of nonce, then the rest). Every server reads it again and again, does
//! what is due, and replaces it only as it was read: so all of them have the
//! same ring, whoever came first. A key is in it for a day before it signs, so
//! all have read of it by then.

use std::sync::Arc;

use avvy_auth::{InvalidRing, KeyRing, Keys};
use avvy_persistence::records::{
    Collection, Draft, Fields, Record, RecordKey, RecordWrite, Records,
};
use bytes::Bytes;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha3::{Digest, Sha3_256};

use crate::IdentityError;
use crate::stored::{Stored, TRIES, damaged, random};

pub(crate) static KEY_RINGS: Collection = Collection { name: "key_rings", indexes: &[] };

/// The shortest secret under which keys are encrypted, in bytes.
pub const MIN_SECRET_BYTES: usize = 32;

/// Why the keys cannot be had.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeysError {
    /// They are encrypted, and there is no secret to read them with.
    #[error("the keys are stored encrypted, and there is no secret to read them with")]
    NoSecret,
    /// They are encrypted under another secret, or were changed.
    #[error("the keys are stored under another secret")]
    WrongSecret,
    /// They are no keys.
    #[error("what is stored is no ring of keys: {0}")]
    Invalid(#[from] InvalidRing),
    /// The store failed, or the system.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// The ring of keys in the store.
#[derive(Clone)]
pub struct KeyStore {
    stored: Stored,
    seal: Option<Arc<LessSafeKey>>,
}

/// The ring as it was read.
struct Found {
    ring: KeyRing,
    version: u64,
    is_sealed: bool,
}

impl KeyStore {
    /// In these records; encrypted if there is a secret, which is
    /// [`MIN_SECRET_BYTES`] at least.
    pub fn new(records: Arc<dyn Records>, secret: Option<&str>) -> Self {
        let key = |secret: &str| {
            let key = Sha3_256::new_with_prefix(b"avvyland key ring\0").chain_update(secret);
            let key = UnboundKey::new(&CHACHA20_POLY1305, &key.finalize());
            Arc::new(LessSafeKey::new(key.expect("a hash has the length of a key")))
        };
        Self { stored: Stored(records), seal: secret.map(key) }
    }

    /// The keys, if there are any.
    ///
    /// # Errors
    /// As the store has them, and when they cannot be read.
    pub async fn read(&self, now_s: u64) -> Result<Option<KeyRing>, KeysError> {
        Ok(self.found(now_s).await?.map(|found| found.ring))
    }

    /// The keys, after doing what is due; see [`KeyRing::advance`]. Where there
    /// are none, `first` is stored, or a new one.
    ///
    /// # Errors
    /// As the store has them, and when they cannot be read.
    pub async fn advance(
        &self,
        first: Option<&KeyRing>,
        period_s: u64,
        now_s: u64,
    ) -> Result<KeyRing, KeysError> {
        for _ in 0..TRIES {
            let found = self.found(now_s).await?;
            let (mut ring, version, is_new) = match found {
                Some(Found { ring, version, is_sealed }) => {
                    (ring, Some(version), self.seal.is_some() && !is_sealed)
                }
                None => {
                    let new =
                        || Ok::<_, IdentityError>(KeyRing::new(Keys::generate(random()?), now_s));
                    (first.cloned().map_or_else(new, Ok)?, None, true)
                }
            };
            if !ring.advance(now_s, period_s, random().map_err(KeysError::from)?) && !is_new {
                return Ok(ring);
            }
            let draft = self.draft(&ring)?;
            let write = match version {
                Some(version) => RecordWrite::update(&KEY_RINGS, key(), version, draft),
                None => RecordWrite::create(&KEY_RINGS, key(), draft),
            };
            if self.stored.commit(vec![write], now_s).await?.is_ok() {
                return Ok(ring);
            }
        }
        Err(IdentityError::Unavailable("others change the keys all the time").into())
    }

    async fn found(&self, now_s: u64) -> Result<Option<Found>, KeysError> {
        let Some(record) = self.stored.fresh(&KEY_RINGS, key(), now_s).await? else {
            return Ok(None);
        };
        let (text, is_sealed) = self.text(&record)?;
        let ring = KeyRing::from_text(&text, now_s)?;
        Ok(Some(Found { ring, version: record.version, is_sealed }))
    }

    fn text(&self, record: &Record) -> Result<(String, bool), KeysError> {
        if let Some(text) = record.body.text("keys") {
            return Ok((text.to_owned(), false));
        }
        let sealed = record.body.bytes("sealed").ok_or_else(|| damaged(&KEY_RINGS, &record.key))?;
        let seal = self.seal.as_ref().ok_or(KeysError::NoSecret)?;
        let wrong = KeysError::WrongSecret;
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(wrong.clone())?;
        let mut rest = rest.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let text = seal.open_in_place(nonce, Aad::from(b"ring"), &mut rest);
        let text = text.map_err(|_| wrong.clone())?;
        let text = String::from_utf8(text.to_vec()).map_err(|_| wrong)?;
        Ok((text, true))
    }

    fn draft(&self, ring: &KeyRing) -> Result<Draft, IdentityError> {
        let text = ring.to_text();
        let Some(seal) = &self.seal else {
            return Ok(Draft::new(Fields::new().with("keys", text)));
        };
        let nonce: [u8; NONCE_LEN] = random()?;
        let mut sealed = text.into_bytes();
        let unique = Nonce::assume_unique_for_key(nonce);
        seal.seal_in_place_append_tag(unique, Aad::from(b"ring"), &mut sealed)
            .map_err(|_| IdentityError::Unavailable("the keys could not be encrypted"))?;
        let sealed = Bytes::from([&nonce[..], &sealed].concat());
        Ok(Draft::new(Fields::new().with("sealed", sealed)))
    }
}

/// There is one ring for each database.
fn key() -> RecordKey {
    RecordKey::new("tokens").expect("a word is a key")
}
