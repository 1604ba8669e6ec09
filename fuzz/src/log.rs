//! What is read back from a store. Its checksums find what the device did to
//! it; this is about bytes whose checksum is right.

use avvy_brane::{journal, snapshot};
use avvy_model::WorldLimits;

use crate::pieces;

/// A chunk of the journal.
pub fn journal(bytes: &[u8]) {
    let Ok(events) = journal::decode(bytes) else { return };
    let again = journal::decode(&journal::encode(&events));
    assert_eq!(again.as_ref(), Ok(&events));
}

/// A snapshot in parts.
pub fn snapshot(bytes: &[u8]) {
    let mut decoder = snapshot::Decoder::new(&WorldLimits::default());
    for part in pieces(bytes) {
        if decoder.feed(part).is_err() {
            return;
        }
    }
    let Ok(mut restored) = decoder.finish() else { return };
    let hash = restored.world.state_hash();
    let parts =
        snapshot::Encoder::new(restored.world.freeze(), restored.clients, restored.position, hash);
    let mut again = snapshot::Decoder::new(&WorldLimits::default());
    let mut parts = parts;
    while let Some(part) = parts.next_part() {
        again.feed(&part).expect("what is written can be read");
    }
    let mut again = again.finish().expect("what is written is whole");
    assert_eq!((again.world.state_hash(), again.position), (hash, restored.position));
}
