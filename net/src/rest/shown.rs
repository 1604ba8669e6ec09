//! Answers about things that were encoded before.
//!
//! What a version of a thing looks like to its owner never changes, nor what it
//! looks like to all others. So whoever asks for it again is given the same
//! bytes; who may see it, and which version it has, was asked anew.

use std::sync::{Mutex, MutexGuard, PoisonError};

use avvy_catalog::{Sight, Stored};
use avvy_protocol::rest::{Format, encode};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;
use uuid::Uuid;

use super::Failure;
use super::edge::Arrival;

/// How many are kept at most.
const PLACES: usize = 1_024;

/// The longest that is kept, in bytes: with all places, 4 MiB.
const MAX_BYTES: usize = 4_096;

/// What an answer is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Name {
    id: Uuid,
    version: u64,
    is_own: bool,
    format: Format,
}

impl Name {
    fn place(self) -> usize {
        let variant = u64::from(self.is_own) << 1 | u64::from(self.format == Format::Json);
        let (_, drawn) = self.id.as_u64_pair();
        // The remainder is below the number of places.
        ((drawn << 2 | variant) % PLACES as u64) as usize
    }
}

type Place = Mutex<Option<(Name, Bytes)>>;

/// Some of the answers. Each has one place, and one that comes there takes it,
/// so this never grows.
pub(super) struct Shown(Vec<Place>);

impl Default for Shown {
    fn default() -> Self {
        Self((0..PLACES).map(|_| Mutex::default()).collect())
    }
}

impl Shown {
    /// The answer of a thing that somebody may see; `body`, as they see it.
    ///
    /// # Errors
    /// That of `body`; `damaged` if the thing cannot be read.
    pub(super) fn answer<T: Serialize>(
        &self,
        arrival: &Arrival,
        sight: &Sight,
        body: impl FnOnce(&Stored) -> Result<T, Failure>,
    ) -> Result<Response, Failure> {
        let (version, format) = (sight.version(), arrival.format);
        let name = Name { id: sight.id, version, is_own: sight.is_own, format };
        let bytes = match self.get(name) {
            Some(bytes) => bytes,
            None => {
                let bytes = Bytes::from(encode(&body(&sight.stored()?)?, format));
                self.keep(name, &bytes);
                bytes
            }
        };
        Ok(arrival.tagged(StatusCode::OK, version, || bytes))
    }

    fn get(&self, name: Name) -> Option<Bytes> {
        let place = lock(&self.0[name.place()]);
        let (of, bytes) = place.as_ref()?;
        (*of == name).then(|| bytes.clone())
    }

    fn keep(&self, name: Name, bytes: &Bytes) {
        if bytes.len() <= MAX_BYTES {
            *lock(&self.0[name.place()]) = Some((name, bytes.clone()));
        }
    }
}

fn lock(place: &Place) -> MutexGuard<'_, Option<(Name, Bytes)>> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: Name =
        Name { id: Uuid::from_u128(7), version: 1, is_own: true, format: Format::Cbor };

    #[test]
    fn only_the_very_answer_is_given_again() {
        let (shown, bytes) = (Shown::default(), Bytes::from_static(b"bytes"));
        assert_eq!(shown.get(NAME), None);
        shown.keep(NAME, &bytes);
        assert_eq!(shown.get(NAME), Some(bytes));
        let others = [
            Name { id: Uuid::from_u128(8), ..NAME },
            Name { id: Uuid::from_u128(7 + PLACES as u128), ..NAME },
            Name { version: 2, ..NAME },
            Name { is_own: false, ..NAME },
            Name { format: Format::Json, ..NAME },
        ];
        assert!(others.into_iter().all(|name| shown.get(name).is_none()));
    }

    #[test]
    fn never_grows() {
        let (shown, bytes) = (Shown::default(), Bytes::from_static(&[0; MAX_BYTES]));
        let name = |nth| Name { id: Uuid::from_u128(nth), ..NAME };
        (0..4 * PLACES as u128).for_each(|nth| shown.keep(name(nth), &bytes));
        let kept = (0..4 * PLACES as u128).filter(|nth| shown.get(name(*nth)).is_some());
        assert!((1..=PLACES).contains(&kept.count()) && shown.0.len() == PLACES);
        shown.keep(NAME, &Bytes::from_static(&[0; MAX_BYTES + 1]));
        assert_ne!(shown.get(NAME).map(|bytes| bytes.len()), Some(MAX_BYTES + 1));
    }
}
