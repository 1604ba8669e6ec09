//! Reads what stands behind the `?` of a request, for whoever throws any text
//! at it.

use avvy_model::UserId;
use axum::extract::Query;
use axum::http::Uri;
use serde::de::DeserializeOwned;

use super::body::Page;
use super::{branes, entities, instances, oidc, things, users};

/// The most entries of a page.
const MAX_ITEMS: u32 = 1_000;

type Read = fn(&Uri);

/// By their numbers: the path, and what reads its query. New ones come last, as
/// corpora go by these.
const ROUTES: &[(&str, Read)] = &[
    ("/api/v1/brane", branes),
    ("/api/v1/brane/{id}/objects", objects),
    ("/api/v1/prototype/{id}/versions", places),
    ("/api/v1/entity/search", search),
    ("/api/v1/users/me/inventory", inventory),
    ("/api/v1/prototype/{id}/update", update),
    ("/api/v1/auth/oidc/{provider}/start", start),
    ("/api/v1/auth/oidc/{provider}/callback", callback),
];

/// Reads a query of this route. Panics when a promise is broken.
pub fn query(route: u8, query: &str) {
    let uri = Uri::builder().path_and_query(format!("/?{query}")).build();
    if let (Some((_, read)), Ok(uri)) = (ROUTES.get(usize::from(route)), uri) {
        read(&uri);
    }
}

/// The number and the path of each.
pub fn routes() -> impl Iterator<Item = (u8, &'static str)> {
    (0..).zip(ROUTES.iter().map(|(path, _)| *path))
}

fn read<T: DeserializeOwned>(uri: &Uri) -> Option<T> {
    Query::try_from_uri(uri).ok().map(|Query(read)| read)
}

/// A page has a length that may be.
fn page<T: DeserializeOwned>(uri: &Uri) -> Option<Page<T>> {
    let page: Page<T> = read(uri)?;
    let limit = page.limit(MAX_ITEMS).ok()?;
    assert!((1..=MAX_ITEMS).contains(&limit), "{limit}");
    Some(page)
}

/// A page of a list whose places only the server understands.
fn places(uri: &Uri) {
    if let Some(page) = page(uri) {
        let _ = things::cursor(&page);
    }
}

fn branes(uri: &Uri) {
    if let Some(wanted) = read::<branes::Wanted>(uri) {
        let _ = branes::filter_of(wanted.state.as_deref(), UserId::from_bytes([0; 16]));
    }
    let after = page::<String>(uri).and_then(|page| page.after);
    let Some(place) = after.and_then(|text| branes::read_cursor(&text).ok()) else { return };
    assert_eq!(branes::read_cursor(&branes::write_cursor(place)).ok(), Some(place));
}

fn objects(uri: &Uri) {
    page::<u32>(uri);
}

fn search(uri: &Uri) {
    places(uri);
    read::<entities::Wanted>(uri);
}

fn inventory(uri: &Uri) {
    places(uri);
    read::<users::Wanted>(uri);
}

fn update(uri: &Uri) {
    read::<instances::Where>(uri);
}

fn start(uri: &Uri) {
    read::<oidc::Start>(uri);
}

fn callback(uri: &Uri) {
    read::<oidc::Back>(uri);
}
