//! Answers about things that were encoded before.
//!
//! What a version of a thing looks like to its owner never changes, nor what it
//! looks like to all others. So whoever asks for it again is given the same
//! bytes; who may see it, and which version it has, was asked anew. Nothing is
//! to be invalidated: no version of a thing comes twice.

use std::sync::{Mutex, MutexGuard, PoisonError};

use avvy_catalog::{Sight, Stored};
use avvy_protocol::rest::{Format, encode};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;
use uuid::Uuid;

use super::Failure;
use super::conditional::Seen;
use super::edge::Arrival;

/// How many are kept at most.
const PLACES: usize = 1_024;

/// The longest that is kept, in bytes: with all places, 4 MiB.
const MAX_BYTES: usize = 4_096;

/// What an answer is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Name {
    id: Uuid,
    seen: Seen,
}

impl Name {
    fn place(self) -> usize {
        let Seen { is_own, format, .. } = self.seen;
        let variant = u64::from(is_own) << 1 | u64::from(format == Format::Json);
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
        let format = arrival.format;
        let seen = Seen { version: sight.version(), is_own: sight.is_own, format };
        let name = Name { id: sight.id, seen };
        arrival.tagged(StatusCode::OK, seen, || {
            if let Some(bytes) = self.get(name) {
                return Ok(bytes);
            }
            let bytes = Bytes::from(encode(&body(&sight.stored()?)?, format));
            self.keep(name, &bytes);
            Ok(bytes)
        })
    }

    fn get(&self, name: Name) -> Option<Bytes> {
        let place = lock(&self.0[name.place()]);
        let (of, bytes) = place.as_ref()?;
        (*of == name).then(|| bytes.clone())
    }

    fn keep(&self, name: Name, bytes: &Bytes) {
        if bytes.len() <= MAX_BYTES {
            // A copy: what was encoded may have room for twice as much.
            *lock(&self.0[name.place()]) = Some((name, Bytes::copy_from_slice(bytes)));
        }
    }
}

fn lock(place: &Place) -> MutexGuard<'_, Option<(Name, Bytes)>> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use avvy_catalog::{Catalog, CatalogLimits, Label, Prototype};
    use avvy_model::UserId;
    use avvy_persistence::memory::MemoryStore;
    use axum::http::{HeaderMap, header};

    use super::*;

    const SEEN: Seen = Seen { version: 1, is_own: true, format: Format::Cbor };
    const NAME: Name = Name { id: Uuid::from_u128(7), seen: SEEN };

    #[test]
    fn only_the_very_answer_is_given_again() {
        let (shown, bytes) = (Shown::default(), Bytes::from_static(b"bytes"));
        assert_eq!(shown.get(NAME), None);
        shown.keep(NAME, &bytes);
        assert_eq!(shown.get(NAME), Some(bytes));
        let others = [
            Name { id: Uuid::from_u128(8), ..NAME },
            Name { id: Uuid::from_u128(7 + PLACES as u128), ..NAME },
            Name { seen: Seen { version: 2, ..SEEN }, ..NAME },
            Name { seen: Seen { is_own: false, ..SEEN }, ..NAME },
            Name { seen: Seen { format: Format::Json, ..SEEN }, ..NAME },
        ];
        assert!(others.into_iter().all(|name| shown.get(name).is_none()));
    }

    #[tokio::test]
    async fn what_is_known_is_not_encoded() {
        let catalog = Catalog::new(Arc::new(MemoryStore::new()), CatalogLimits::default());
        let user = UserId::new(Uuid::from_u128(1));
        let (label, what) =
            (Label { name: "Lamp".to_owned(), ..Label::default() }, Prototype::default());
        let made = catalog.create_prototype(user, NAME.id, label, what, 1).await.unwrap();
        let sight = catalog.sight(made.thing.id, user, 1).await.unwrap();
        let any = HeaderMap::from_iter([(header::IF_NONE_MATCH, "*".parse().unwrap())]);
        let never = |_: &Stored| -> Result<u8, Failure> { panic!("it is encoded") };
        let answer = Shown::default().answer(&Arrival::with(any), &sight, never).unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_MODIFIED);
    }

    #[test]
    fn keeps_no_more_than_the_bytes() {
        let shown = Shown::default();
        let mut roomy = Vec::with_capacity(1 << 20);
        roomy.push(7);
        shown.keep(NAME, &Bytes::from(roomy));
        let kept = shown.get(NAME).unwrap();
        drop(shown);
        assert!(kept.try_into_mut().unwrap().capacity() <= MAX_BYTES);
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
