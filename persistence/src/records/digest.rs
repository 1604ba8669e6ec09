//! One number for all records of a store.

use xxhash_rust::xxh3::Xxh3;

use super::contract::Records;
use super::judge::Id;
use crate::error::StoreError;

/// How many records there are, and a hash of all that is in them: equal for
/// stores of any kind that hold the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RecordsDigest {
    /// How many, those that have expired included.
    pub count: u64,
    /// XXH3 over the checksums, which cover everything, in the order of
    /// collections and keys.
    pub hash: u64,
}

/// Reads all records of a store.
///
/// # Errors
/// `Damaged` at the first record that is.
pub async fn digest(records: &dyn Records) -> Result<RecordsDigest, StoreError> {
    let (mut hash, mut count) = (Xxh3::new(), 0);
    let mut after: Option<Id> = None;
    loop {
        let some = records.scan(after).await?;
        let Some(last) = some.last() else { break };
        after = Some((last.of.clone(), last.record.key.clone()));
        count += some.len() as u64;
        some.iter().for_each(|found| hash.update(&found.sealed().checksum.to_le_bytes()));
    }
    Ok(RecordsDigest { count, hash: hash.digest() })
}
