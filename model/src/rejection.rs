//! What a refusal of the store amounts to.

/// Why the store will never take an opening's chunks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rejection {
    /// The brane was opened again since. Whoever holds it now has the log.
    Superseded,
    /// What the store has of the brane is damaged.
    Damaged,
    /// No chunk of a sound opening looks so. The next opening would write the
    /// same again, so the brane stays closed until somebody has looked.
    Broken,
}
