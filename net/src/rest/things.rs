//! What the routes of things outside of branes share, and `/api/v1/object`.

use avvy_auth::Claims;
use avvy_catalog::{
    Changed, Cursor, GalleryEdit, Label, LabelPatch, Moved, NewObject, ObjectPatch, Place, Refused,
    Stored, Thing, What,
};
use avvy_model::{Code, ObjectId, PrototypeId, Role, Transform, UserId};
use avvy_protocol::rest::{
    CreateObject, MovedBody, OwnObjectBody, PatchObject, PlaceObject, Publish, PutIntoGallery,
    TakeObject, ThingBody, ThingPage,
};
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use avvy_actors::Verb;

use super::auth::Caller;
use super::body::{Page, Payload, body, body_or_default};
use super::conditional::{IfMatch, MustMatch};
use super::edge::Arrival;
use super::route::{AFTER, LIMIT, Match, Route};
use super::{App, Failure};
use crate::time::unix_s;

/// What a change of something of one's own can be refused with.
pub(super) const OWN: &[Code] =
    &[Code::Forbidden, Code::InTransfer, Code::Conflict, Code::Exists, Code::Damaged];

/// What something new can be refused with.
pub(super) const ROOM: &[Code] = &[
    Code::TooManyOwnObjects,
    Code::TooManyOwnBytes,
    Code::TooManyPrototypes,
    Code::TooManyDrafts,
    Code::TreeTooLarge,
];

/// What properties and places can be refused with.
const VALUES: &[Code] =
    &[Code::ValueMalformed, Code::ValueTooLarge, Code::PropsTooLarge, Code::OutOfRange];

/// What children and galleries can be refused with.
const TREE: &[Code] = &[
    Code::ParentNotGroup,
    Code::InGroup,
    Code::Published,
    Code::Cycle,
    Code::TooDeep,
    Code::GalleryFull,
];

/// What an edit in a brane can be refused with.
pub(super) const IN_BRANE: &[Code] = &[
    Code::Forbidden,
    Code::Banned,
    Code::NotPermitted,
    Code::BraneArchived,
    Code::BraneDeleted,
    Code::Moved,
    Code::ParentNotFound,
    Code::ParentNotGroup,
    Code::ObjectExists,
    Code::OutOfRange,
    Code::TooDeep,
    Code::TooManyObjects,
    Code::HandlesExhausted,
    Code::BraneTooLarge,
    Code::EditTooLarge,
    Code::BraneFull,
    Code::TouchesTooMany,
    Code::CellTaken,
    Code::FootprintInvalid,
    Code::TooManyCells,
    Code::CarrierNotFound,
    Code::SlotNotFound,
    Code::SlotTaken,
    Code::InterfaceInvalid,
    Code::Cycle,
];

pub(super) fn routes() -> Vec<Route> {
    let changed = "The object as it is now.";
    let drafted = "It is published: this is the draft of its next version, `Location` its path.";
    vec![
        Route::post("/object", create, "Makes an object in the caller's inventory.")
            .takes::<CreateObject>()
            .answers::<OwnObjectBody>(StatusCode::CREATED, "It was made; `Location` is its path.")
            .fails(OWN)
            .fails(ROOM)
            .fails(VALUES)
            .fails(TREE)
            .fails(&[Code::NotFound])
            .tagged(),
        Route::get("/object/{id}", read, "An object outside of branes.")
            .answers::<OwnObjectBody>(StatusCode::OK, "The object.")
            .fails(&[Code::Damaged])
            .tagged(),
        Route::patch("/object/{id}", update, "Changes an object of the caller's own.")
            .matched(Match::Required)
            .takes::<PatchObject>()
            .answers::<OwnObjectBody>(StatusCode::OK, changed)
            .answers::<OwnObjectBody>(StatusCode::CREATED, drafted)
            .fails(OWN)
            .fails(ROOM)
            .fails(VALUES)
            .fails(TREE)
            .fails(&[Code::Superseded]),
        Route::delete("/object/{id}", delete, "Deletes an object with all that is in it.")
            .matched(Match::Accepted)
            .ends(StatusCode::NO_CONTENT, "It is gone.")
            .fails(OWN)
            .fails(&[Code::Published, Code::TreeTooLarge]),
        Route::post(
            "/object/{id}/publish",
            publish,
            "Shows an object to others, as it is for good.",
        )
        .matched(Match::Accepted)
        .may_take::<Publish>()
        .answers::<OwnObjectBody>(StatusCode::OK, changed)
        .fails(OWN)
        .fails(&[Code::Published, Code::InGroup, Code::TreeTooLarge]),
        Route::get("/object/{id}/versions", versions, "The versions of an object, oldest first.")
            .reads(&[AFTER, LIMIT])
            .answers::<ThingPage>(StatusCode::OK, "Those that the caller may see.")
            .fails(&[Code::Damaged]),
        Route::post("/object/{id}/gallery", put, "Puts a prototype into a group's gallery.")
            .matched(Match::Accepted)
            .takes::<PutIntoGallery>()
            .answers::<OwnObjectBody>(StatusCode::OK, changed)
            .answers::<OwnObjectBody>(StatusCode::CREATED, drafted)
            .fails(OWN)
            .fails(ROOM)
            .fails(&[Code::ParentNotGroup, Code::GalleryFull, Code::Superseded]),
        Route::delete(
            "/object/{id}/gallery/{prototype}",
            remove,
            "Takes a prototype out of a group's gallery.",
        )
        .matched(Match::Accepted)
        .answers::<OwnObjectBody>(StatusCode::OK, changed)
        .answers::<OwnObjectBody>(StatusCode::CREATED, drafted)
        .fails(OWN)
        .fails(ROOM)
        .fails(&[Code::ParentNotGroup, Code::Superseded]),
        Route::post("/object/{id}/place", place_one, "Moves an object of one's own into a brane.")
            .takes::<PlaceObject>()
            .answers::<MovedBody>(StatusCode::OK, "It is there, and no longer in the inventory.")
            .fails(OWN)
            .fails(IN_BRANE)
            .fails(&[Code::InGroup, Code::Published, Code::TreeTooLarge])
            .fails(&[Code::ValueTooLarge, Code::PropsTooLarge]),
        Route::post("/object/take", take, "Moves an object of a brane into one's inventory.")
            .takes::<TakeObject>()
            .answers::<MovedBody>(StatusCode::OK, "It is in the inventory, and no longer there.")
            .fails(OWN)
            .fails(ROOM)
            .fails(IN_BRANE)
            .fails(&[Code::ObjectNotFound, Code::RootProtected]),
    ]
}

async fn place_one(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    IdOf(id): IdOf,
    payload: Payload,
) -> Result<Response, Failure> {
    let PlaceObject { brane, parent, transform } = body(&app, &payload)?;
    may_change(&app, &claims)?;
    let to = Place { brane, parent, transform: transform.map(place).transpose()? };
    let (transfer, system) = (arrival.draw("transfer"), &app.system);
    let moved = app.catalog.place(system, &claims, transfer, id, to, unix_s()).await?;
    Ok(arrival.reply(StatusCode::OK, &moved_body(moved)))
}

async fn take(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    payload: Payload,
) -> Result<Response, Failure> {
    let TakeObject { brane, object } = body(&app, &payload)?;
    may_change(&app, &claims)?;
    let (transfer, system) = (arrival.draw("transfer"), &app.system);
    let moved = app.catalog.take(system, &claims, transfer, brane, object, unix_s()).await?;
    Ok(arrival.reply(StatusCode::OK, &moved_body(moved)))
}

fn moved_body(moved: Moved) -> MovedBody {
    let objects = moved.objects.into_iter().map(ObjectId::new).collect();
    MovedBody { brane: moved.brane, objects }
}

async fn create(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    payload: Payload,
) -> Result<Response, Failure> {
    let asked: CreateObject = body(&app, &payload)?;
    may_change(&app, &claims)?;
    let CreateObject { kind, name, description, tags, props, .. } = asked;
    let new = NewObject {
        kind,
        label: Label { name, description, tags },
        transform: asked.transform.map_or(Ok(Transform::IDENTITY), place)?,
        props,
        children: asked.child_ids.into_iter().map(ObjectId::uuid).collect(),
        gallery: asked.gallery_ids.into_iter().map(PrototypeId::uuid).collect(),
    };
    let id = arrival.draw("object");
    let made = app.catalog.create_object(claims.user, id, new, unix_s()).await?;
    let answer = show(&arrival, StatusCode::CREATED, &made, claims.user)?;
    Ok(located(answer, "object", made.thing.id))
}

async fn read(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    IdOf(id): IdOf,
) -> Result<Response, Failure> {
    let sight = app.catalog.sight(id, claims.user, unix_s()).await?.object()?;
    app.shown.answer(&arrival, &sight, |stored| object_body(stored, claims.user))
}

async fn update(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    IdOf(id): IdOf,
    MustMatch(condition): MustMatch,
    payload: Payload,
) -> Result<Response, Failure> {
    let asked: PatchObject = body(&app, &payload)?;
    may_change(&app, &claims)?;
    let version = version_for(&app, &condition, id, claims.user).await?;
    let PatchObject { name, description, tags, transform, props, child_ids, gallery_ids } = asked;
    let patch = ObjectPatch {
        label: LabelPatch { name, description, tags },
        transform: transform.map(place).transpose()?,
        props,
        children: child_ids.map(|ids| ids.into_iter().map(ObjectId::uuid).collect()),
        gallery: gallery_ids.map(|ids| ids.into_iter().map(PrototypeId::uuid).collect()),
    };
    let draft = arrival.draw("draft");
    let changed =
        app.catalog.update_object(claims.user, id, version, patch, draft, unix_s()).await?;
    show_changed(&arrival, &changed, claims.user)
}

async fn delete(
    State(app): State<App>,
    Caller(claims): Caller,
    IdOf(id): IdOf,
    condition: IfMatch,
) -> Result<Response, Failure> {
    may_change(&app, &claims)?;
    let version = version_for(&app, &condition, id, claims.user).await?;
    app.catalog.delete_object(claims.user, id, version, unix_s()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn publish(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    IdOf(id): IdOf,
    condition: IfMatch,
    payload: Payload,
) -> Result<Response, Failure> {
    let Publish { visibility } = body_or_default(&app, &payload)?;
    may_change(&app, &claims)?;
    let version = version_for(&app, &condition, id, claims.user).await?;
    let stored = app.catalog.publish_object(claims.user, id, version, visibility, unix_s()).await?;
    show(&arrival, StatusCode::OK, &stored, claims.user)
}

async fn versions(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    IdOf(id): IdOf,
    page: Page<String>,
) -> Result<Response, Failure> {
    list_versions(&app, &claims, &arrival, id, &page).await
}

async fn put(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    IdOf(id): IdOf,
    condition: IfMatch,
    payload: Payload,
) -> Result<Response, Failure> {
    let PutIntoGallery { prototype, at } = body(&app, &payload)?;
    let at = at.map_or(usize::MAX, |at| at as usize);
    let edit = GalleryEdit::Put { prototype: prototype.uuid(), at };
    edit_gallery(&app, &claims, &arrival, id, &condition, edit).await
}

async fn remove(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    ids: Result<Path<(String, String)>, axum::extract::rejection::PathRejection>,
    condition: IfMatch,
) -> Result<Response, Failure> {
    let Path((group, prototype)) = ids.map_err(|_| Code::NotFound)?;
    let id = |text: String| text.parse::<ObjectId>().map_err(|_| Code::NotFound);
    let (group, prototype) = (id(group)?.uuid(), id(prototype)?.uuid());
    let edit = GalleryEdit::Remove(prototype);
    edit_gallery(&app, &claims, &arrival, group, &condition, edit).await
}

async fn edit_gallery(
    app: &App,
    claims: &Claims,
    arrival: &Arrival,
    group: Uuid,
    condition: &IfMatch,
    edit: GalleryEdit,
) -> Result<Response, Failure> {
    may_change(app, claims)?;
    let version = version_for(app, condition, group, claims.user).await?;
    let draft = arrival.draw("draft");
    let changed =
        app.catalog.edit_gallery(claims.user, group, version, edit, draft, unix_s()).await?;
    show_changed(arrival, &changed, claims.user)
}

fn show_changed(arrival: &Arrival, changed: &Changed, user: UserId) -> Result<Response, Failure> {
    if changed.is_new {
        let answer = show(arrival, StatusCode::CREATED, &changed.stored, user)?;
        return Ok(located(answer, "object", changed.stored.thing.id));
    }
    show(arrival, StatusCode::OK, &changed.stored, user)
}

/// An object as this user may see it.
fn show(
    arrival: &Arrival,
    status: StatusCode,
    stored: &Stored,
    user: UserId,
) -> Result<Response, Failure> {
    let is_own = stored.thing.owner == user;
    Ok(arrival.seen(status, stored.version, is_own, &object_body(stored, user)?))
}

fn object_body(stored: &Stored, user: UserId) -> Result<OwnObjectBody, Failure> {
    let Thing { label, chain, .. } = &stored.thing;
    let What::Object(object) = &stored.thing.what else { return Err(Code::NotFound.into()) };
    Ok(OwnObjectBody {
        id: ObjectId::new(stored.thing.id),
        kind: object.kind,
        owner: stored.thing.owner,
        name: label.name.clone(),
        description: label.description.clone(),
        tags: label.tags.clone(),
        visibility: stored.thing.visibility,
        version: chain.number,
        previous_id: chain.previous.map(ObjectId::new),
        next_id: stored.thing.next_for(user).map(ObjectId::new),
        parent_id: object.parent.map(ObjectId::new),
        child_ids: object.children.iter().copied().map(ObjectId::new).collect(),
        gallery_ids: object.gallery.iter().copied().map(PrototypeId::new).collect(),
        transform: object.transform.to_matrix(),
        props: object.props.clone(),
        created: stored.thing.created_s,
        timestamp: stored.thing.changed_s,
    })
}

/// A page of the versions of a thing.
pub(super) async fn list_versions(
    app: &App,
    claims: &Claims,
    arrival: &Arrival,
    id: Uuid,
    page: &Page<String>,
) -> Result<Response, Failure> {
    let (after, limit) = (cursor(page)?, page.limit(app.config.max_page_items)?);
    app.system.account(claims).take(Verb::Page)?;
    let found = app.catalog.versions(id, claims.user, after, limit, unix_s()).await?;
    let body = ThingPage {
        things: found.things.iter().map(|stored| thing_body(&stored.thing)).collect(),
        next: found.next.map(|next| next.to_text()),
    };
    Ok(arrival.reply(StatusCode::OK, &body))
}

/// A thing on a list.
pub(super) fn thing_body(thing: &Thing) -> ThingBody {
    let Label { name, description, tags } = thing.label.clone();
    ThingBody {
        kind: thing.kind().name().to_owned(),
        id: ObjectId::new(thing.id),
        owner: thing.owner,
        name,
        description,
        tags,
        visibility: thing.visibility,
        version: Some(thing.chain.number),
        timestamp: thing.changed_s,
    }
}

/// Where a page begins.
pub(super) fn cursor(page: &Page<String>) -> Result<Option<Cursor>, Failure> {
    let read = |text: &String| {
        let malformed = || Failure::new(Code::Malformed).details("after: the `next` of a page");
        Cursor::from_text(text).ok_or_else(malformed)
    };
    page.after.as_ref().map(read).transpose()
}

/// The version that a change is for, if it names any.
pub(super) async fn version_for(
    app: &App,
    condition: &IfMatch,
    id: Uuid,
    user: UserId,
) -> Result<Option<u64>, Failure> {
    if !condition.is_there() {
        return Ok(None);
    }
    let version = app.catalog.thing(id, user, unix_s()).await?.version;
    condition.check(version)?;
    Ok(Some(version))
}

/// Holds a change to what the token allows, and to the rate of the user.
pub(super) fn may_change(app: &App, claims: &Claims) -> Result<(), Failure> {
    if claims.role == Role::Visitor {
        return Err(Failure::new(Code::Forbidden).details("a visitor's token changes nothing"));
    }
    app.system.account(claims).take_edits(1)?;
    Ok(())
}

/// The answer with the path of what was made.
pub(super) fn located(mut answer: Response, family: &str, id: Uuid) -> Response {
    // A path of ASCII is a header's value; it cannot fail.
    if let Ok(path) = HeaderValue::try_from(format!("/api/v1/{family}/{id}")) {
        answer.headers_mut().insert(header::LOCATION, path);
    }
    answer
}

/// The place of a matrix.
pub(super) fn place(matrix: [f64; 16]) -> Result<Transform, Failure> {
    Transform::from_matrix(&matrix).map_err(|_| Code::OutOfRange.into())
}

/// The id of the path. What is none names nothing.
pub(super) struct IdOf(pub(super) Uuid);

impl FromRequestParts<App> for IdOf {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let id = Path::<String>::from_request_parts(parts, app).await.ok();
        let id = id.and_then(|Path(id)| id.parse::<ObjectId>().ok());
        id.map(|id| Self(id.uuid())).ok_or(Code::NotFound.into())
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        let failure = Self::new(refused.code);
        match refused.details {
            Some(details) => failure.details(details),
            None => failure,
        }
    }
}
