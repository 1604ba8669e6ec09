//! `GET /api/v1/brane/{id}/objects`: what is in a brane, page by page.

use std::sync::Arc;

use avvy_actors::{Held, Limit, Verb, View};
use avvy_model::{Code, Followed, Handle};
use avvy_protocol::rest::{ObjectBody, ObjectPage, encode};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::auth::Caller;
use super::body::{BraneOf, Page};
use super::edge::Arrival;
use super::route::{AFTER, ASKING_A_BRANE, Kind, LIMIT, Param, Route};
use super::{App, Failure};

/// Bytes of properties after which a page ends before its limit.
const PAGE_PROPS_BYTES: usize = 256 * 1024;

pub(super) fn routes() -> Vec<Route> {
    let after = Param { kind: Kind::Number(0, u32::MAX), ..AFTER };
    vec![
        Route::get("/brane/{id}/objects", list, "What is in a brane, by handle.")
            .reads(&[after, LIMIT])
            .answers::<ObjectPage>(StatusCode::OK, "A page of one moment.")
            .fails(ASKING_A_BRANE),
    ]
}

/// Each page is of one moment, which it names; the next page may be of a
/// later one.
pub(super) async fn list(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    BraneOf(brane): BraneOf,
    page: Page<u32>,
) -> Result<Response, Failure> {
    let limit = page.limit(app.config.max_page_items)?;
    let account = app.system.account(&claims);
    account.take(Verb::Page)?;
    let own = account.hold_page().ok_or(Code::RateLimited)?;
    let of_address = arrival.address.hold_page().ok_or_else(|| {
        app.met(Limit::PagesOfAddress);
        Code::RateLimited
    })?;
    let permit = Arc::clone(&app.pages).acquire_owned().await.map_err(|_| Code::Unavailable)?;
    let view = app.system.view(brane, &claims).await?;
    // Milliseconds of work that the branes' threads have better use for.
    let encoded = tokio::task::spawn_blocking(move || {
        let bytes = encode(&object_page(&view, page.after, limit), arrival.format);
        Bytes::from_owner(Body { bytes, _own: own, _shared: [of_address, permit] })
    });
    let body = encoded.await.map_err(|_| Code::Internal)?;
    Ok(arrival.encoded(StatusCode::OK, body))
}

/// A page on its way. The next may be made when its last byte has gone out.
struct Body {
    bytes: Vec<u8>,
    /// The user's place.
    _own: Held,
    /// The address's, and one of all.
    _shared: [OwnedSemaphorePermit; 2],
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn object_page(view: &View, after: Option<u32>, limit: u32) -> ObjectPage {
    let mut page = ObjectPage { at: view.at, objects: Vec::new(), next: None };
    let start = match after {
        None => Handle::ROOT,
        Some(after) => match after.checked_add(1) {
            Some(next) => Handle(next),
            None => return page,
        },
    };
    let followed = view.world.root_props().into_iter().flat_map(Followed::all).collect();
    let mut props_bytes = 0;
    for (handle, object) in view.world.iter_from(start) {
        if page.objects.len() >= limit as usize || props_bytes >= PAGE_PROPS_BYTES {
            page.next = page.objects.last().map(|object| object.handle);
            break;
        }
        // Every object of a world has its parent in it.
        let parent = view.world.get(object.parent).map_or(object.id, |parent| parent.id);
        let body = ObjectBody::new(handle, object, parent, &followed);
        let props = [Some(&body.props), body.in_effect.as_ref()];
        props_bytes += props.into_iter().flatten().map(|p| p.as_bytes().len()).sum::<usize>();
        page.objects.push(body);
    }
    page
}
