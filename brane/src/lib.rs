//! brane.
