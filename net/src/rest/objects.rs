//! `GET /api/v1/brane/{id}/objects`: what is in a brane, page by page.

use avvy_actors::View;
use avvy_model::{Code, Handle};
use avvy_protocol::rest::{ObjectBody, ObjectPage, encode};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::auth::Caller;
use super::body::{BraneOf, Page};
use super::edge::Arrival;
use super::{App, Failure};

/// Bytes of properties after which a page ends before its limit.
const PAGE_PROPS_BYTES: usize = 1024 * 1024;

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
    let view = app.system.view(brane, &claims).await?;
    // Milliseconds of work that the branes' threads have better use for.
    let encoded = tokio::task::spawn_blocking(move || {
        encode(&object_page(&view, page.after, limit), arrival.format)
    });
    let body = encoded.await.map_err(|_| Code::Internal)?;
    Ok(arrival.encoded(StatusCode::OK, body))
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
    let mut props_bytes = 0;
    for (handle, object) in view.world.iter_from(start) {
        if page.objects.len() >= limit as usize || props_bytes >= PAGE_PROPS_BYTES {
            page.next = page.objects.last().map(|object| object.handle);
            break;
        }
        props_bytes += object.props.as_bytes().len();
        // Every object of a world has its parent in it.
        let parent = view.world.get(object.parent).map_or(object.id, |parent| parent.id);
        page.objects.push(ObjectBody::new(handle, object, parent));
    }
    page
}
