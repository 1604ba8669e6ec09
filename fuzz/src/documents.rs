//! What MongoDB gives back.

use avvy_persistence::mongo::fuzzing;

use crate::after;

/// A document of the kind whose number is the first byte.
pub fn documents(bytes: &[u8]) {
    if let Some((kind, document)) = bytes.split_first() {
        fuzzing::document(*kind, document);
    }
}

/// One of each kind.
pub fn seeds() -> Vec<Vec<u8>> {
    fuzzing::documents().map(|(kind, document)| after(kind, &document)).collect()
}
