//! `/api/v1/brane/{id}/portals`: portals of a brane, and where they lead.

use avvy_actors::{Located, Verb, Way, WriteRequest};
use avvy_auth::Claims;
use avvy_model::{
    BraneId, ClientId, Code, Counter, DeleteMode, Edit, Handle, Kind, NumberedEdit, ObjectId,
    Operation, Portal, Props, PropsPatch, Target, Transform,
};
use avvy_protocol::rest::{
    CreatePortal, NewPortalBody, PortalBody, PortalEnd, PortalPage, WayBody,
};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::auth::Caller;
use super::body::{BraneOf, Page, Payload, body};
use super::edge::{Arrival, take_requests};
use super::route::{AFTER, ASKING_A_BRANE, Kind as Of, LIMIT, Param, Route};
use super::things::{IN_BRANE, may_change, place};
use super::{App, Failure};

pub(super) fn routes() -> Vec<Route> {
    let after = Param { kind: Of::Number(0, u32::MAX), ..AFTER };
    vec![
        Route::get("/brane/{id}/portals", list, "The portals of a brane, by handle.")
            .reads(&[after, LIMIT])
            .answers::<PortalPage>(StatusCode::OK, "A page.")
            .fails(ASKING_A_BRANE),
        Route::get("/brane/{id}/portals/{object}", read_one, "Where a portal leads now.")
            .answers::<WayBody>(StatusCode::OK, "As far as the caller may know.")
            .fails(ASKING_A_BRANE)
            .fails(&[Code::ObjectNotFound]),
        Route::post("/brane/{id}/portals", create, "Makes a portal, and its other end.")
            .takes::<CreatePortal>()
            .answers::<NewPortalBody>(StatusCode::CREATED, "All of it is there.")
            .fails(IN_BRANE)
            .fails(&[Code::ValueTooLarge, Code::ValueMalformed, Code::PropsTooLarge])
            .fails(&[Code::Damaged]),
    ]
}

async fn list(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    BraneOf(brane): BraneOf,
    page: Page<u32>,
) -> Result<Response, Failure> {
    let max = page.limit(app.config.max_page_items)? as usize;
    app.system.account(&claims).take(Verb::Page)?;
    let mut found = app.system.portals(brane, &claims, page.after.map(Handle), max + 1).await?;
    let is_last = found.len() <= max;
    found.truncate(max);
    let next = found.last().map(|portal| portal.handle).filter(|_| !is_last);
    let portals = found.iter().filter_map(portal_body).collect();
    Ok(arrival.reply(StatusCode::OK, &PortalPage { portals, next }))
}

fn portal_body(Located { handle, object, place }: &Located) -> Option<PortalBody> {
    let Portal { to, exit } = Portal::of(&object.props)?;
    let transform = place.map(|place| place.to_matrix());
    Some(PortalBody { handle: *handle, id: object.id, to, exit, transform })
}

async fn read_one(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    ids: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, Failure> {
    let Path((brane, object)) = ids.map_err(|_| Code::NotFound)?;
    let brane: BraneId = brane.parse().map_err(|_| Code::NotFound)?;
    app.system.account(&claims).take(Verb::Page)?;
    // What is no id is no object of a brane that the caller may see.
    let object: ObjectId = match object.parse() {
        Ok(object) => object,
        Err(_) => {
            app.system.view(brane, &claims).await?;
            return Err(Code::ObjectNotFound.into());
        }
    };
    let way = app.system.way(brane, &claims, object).await?;
    Ok(arrival.reply(StatusCode::OK, &way_body(way)))
}

fn way_body(way: Way) -> WayBody {
    let told = |state: &str, brane| WayBody {
        state: state.to_owned(),
        brane,
        exit: None,
        transform: None,
        way: None,
        node: None,
    };
    match way {
        Way::Open { brane, exit, is_two_way } => WayBody {
            exit: exit.as_ref().map(|exit| exit.object.id),
            transform: exit.and_then(|exit| exit.place).map(|place| place.to_matrix()),
            way: Some(if is_two_way { "two" } else { "one" }.to_owned()),
            ..told("open", brane)
        },
        Way::Archived(brane) => told("archived", brane),
        Way::Closed(brane) => told("closed", brane),
        Way::Elsewhere { brane, address } => {
            WayBody { node: Some(address), ..told("elsewhere", brane) }
        }
    }
}

/// What is made at one end.
struct End {
    id: ObjectId,
    parent: Option<ObjectId>,
    transform: Option<[f64; 16]>,
    props: Props,
}

impl End {
    /// The edit that makes it lead there.
    fn create(self, app: &App, leads: Option<Portal>) -> Result<Operation, Failure> {
        let entries = leads.map(|portal| portal.entries()).unwrap_or_default();
        let entries = entries.into_iter().map(|(key, value)| (key, Some(value))).collect();
        let patch = PropsPatch::new(entries).map_err(Code::from)?;
        let limits = &app.catalog.limits().values;
        let (props, _) = self.props.patched(&patch, limits).map_err(Code::from)?;
        Ok(Operation::Create {
            id: self.id,
            parent: self.parent.map_or(Target::Handle(Handle::ROOT), Target::Id),
            kind: Kind::Block,
            transform: self.transform.map_or(Ok(Transform::IDENTITY), place)?,
            props,
        })
    }
}

/// The far end first, so that a portal never names an exit that could not be
/// made. It takes a right in each brane, and is no transaction: when the portal
/// itself is refused, the exit is taken away again.
async fn create(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    BraneOf(brane): BraneOf,
    payload: Payload,
) -> Result<Response, Failure> {
    let CreatePortal { parent, transform, props, to, two_way } = body(&app, &payload)?;
    may_change(&app, &claims)?;
    // There is something to be seen here before anything is done there.
    app.system.view(brane, &claims).await?;
    let id = ObjectId::new(arrival.draw("portal"));
    let PortalEnd { brane: far, .. } = to;
    let end = (two_way || to.transform.is_some() || to.parent.is_some()).then(|| End {
        id: ObjectId::new(arrival.draw("exit")),
        parent: to.parent,
        transform: to.transform,
        props: to.props,
    });
    let exit = end.as_ref().map(|end| end.id);
    let near = End { id, parent, transform, props };
    let near = near.create(&app, Some(Portal { to: far, exit }))?;
    if let Some(end) = end {
        let back = two_way.then_some(Portal { to: brane, exit: Some(id) });
        take_requests(&app, &arrival, 1)?;
        let made = end.create(&app, back)?;
        write(&app, &claims, &arrival, far, "far", made).await.map_err(at_far_end)?;
    }
    match (write(&app, &claims, &arrival, brane, "near", near).await, exit) {
        (Ok(()), _) => {}
        // It may have been made; then it has its exit.
        (Err(failure), _) if failure.code() == Code::Timeout => return Err(failure),
        (Err(failure), None) => return Err(failure),
        (Err(failure), Some(exit)) => {
            let target = Target::Id(exit);
            let delete = Operation::Delete { target, mode: DeleteMode::Subtree };
            return match write(&app, &claims, &arrival, far, "undo", delete).await {
                Ok(()) => Err(failure),
                Err(_) => Err(failure.details(format!("its exit {exit} is still in {far}"))),
            };
        }
    }
    Ok(arrival.reply(StatusCode::CREATED, &NewPortalBody { id, to: far, exit }))
}

/// Says at which end something was refused. Who follows to another node's brane
/// would find this end not served there.
fn at_far_end(failure: Failure) -> Failure {
    let code = failure.code();
    let failure = if code == Code::Moved { Failure::new(Code::Unavailable) } else { failure };
    let details = match code {
        Code::Moved => "to: another node serves that brane; make the exit there",
        _ => "to: refused in that brane",
    };
    failure.details(details)
}

/// Makes one edit as the caller. Again under the request's key it is done once.
async fn write(
    app: &App,
    claims: &Claims,
    arrival: &Arrival,
    brane: BraneId,
    purpose: &str,
    operation: Operation,
) -> Result<(), Failure> {
    let edits = vec![NumberedEdit { counter: Counter(1), edit: Edit::One(operation) }];
    let client = ClientId::new(arrival.draw(purpose));
    let request = WriteRequest { client, known: false, edits, trace: arrival.trace };
    let written = app.system.write(brane, claims, request).await?;
    match written.outcomes.first() {
        Some((_, Ok(_))) => Ok(()),
        Some((_, Err(refusal))) => Err(refusal.code.into()),
        None => Err(Code::Internal.into()),
    }
}
