//! Which errors a route can be answered.

use std::collections::{BTreeMap, BTreeSet};

use avvy_model::Code;
use avvy_protocol::rest::ErrorMessageResponse;
use axum::http::StatusCode;
use serde_json::{Map, Value as Json, json};
use utoipa::{PartialSchema, ToSchema};

use super::super::failure::status_of;
use super::super::route::{API, Access, Match, Named, Repeat, Route};
use super::content;

/// By status.
type Failures = BTreeMap<u16, BTreeSet<Code>>;

/// The schemas of errors.
pub(super) fn schema() -> Vec<Named> {
    let mut schemas = Vec::new();
    ErrorMessageResponse::schemas(&mut schemas);
    schemas.push((ErrorMessageResponse::name().into_owned(), ErrorMessageResponse::schema()));
    schemas
}

/// What every route can be answered: its head alone can be at fault.
fn of_any() -> Failures {
    let mut failures = Failures::new();
    let own =
        [Code::Malformed, Code::RateLimited, Code::Internal, Code::Unavailable, Code::Timeout];
    add(&mut failures, &own);
    insert(&mut failures, StatusCode::NOT_ACCEPTABLE, Code::UnsupportedMediaType);
    insert(&mut failures, StatusCode::NOT_IMPLEMENTED, Code::Malformed);
    failures
}

fn of_route(route: &Route) -> Failures {
    let mut failures = of_any();
    if route.has_own_form() {
        failures.remove(&StatusCode::NOT_ACCEPTABLE.as_u16());
    }
    match route.access {
        Access::Token => add(&mut failures, &TOKEN),
        Access::Admin => {
            add(&mut failures, &[Code::NotFound, Code::NotAuthenticated, Code::TokenInvalid]);
        }
        Access::Anyone => {}
    }
    if route.path.contains('{') {
        add(&mut failures, &[Code::NotFound]);
    }
    if route.takes.is_some() || route.repeat != Repeat::Ignored {
        add(&mut failures, &[Code::TooLarge, Code::UnsupportedMediaType]);
        insert(&mut failures, StatusCode::REQUEST_TIMEOUT, Code::Timeout);
    }
    if route.repeat != Repeat::Ignored {
        add(&mut failures, &[Code::KeyReused, Code::InProgress]);
    }
    match route.matches {
        Match::Ignored => {}
        Match::Accepted => add(&mut failures, &[Code::PreconditionFailed]),
        Match::Required => {
            add(&mut failures, &[Code::PreconditionFailed, Code::PreconditionRequired]);
        }
    }
    add(&mut failures, &route.codes);
    for (status, code) in &route.odd_codes {
        insert(&mut failures, *status, *code);
    }
    failures
}

const TOKEN: [Code; 4] =
    [Code::NotAuthenticated, Code::TokenInvalid, Code::TokenExpired, Code::TokenRevoked];

fn add(failures: &mut Failures, codes: &[Code]) {
    for &code in codes {
        insert(failures, status_of(code), code);
    }
}

fn insert(failures: &mut Failures, status: StatusCode, code: Code) {
    failures.entry(status.as_u16()).or_default().insert(code);
}

/// Those that many routes share, by their names in `components`.
pub(super) fn general() -> Map<String, Json> {
    let mut shared = of_any();
    add(&mut shared, &TOKEN);
    add(&mut shared, &[Code::NotFound, Code::TooLarge, Code::UnsupportedMediaType]);
    add(&mut shared, &[Code::KeyReused, Code::InProgress, Code::PreconditionFailed]);
    insert(&mut shared, StatusCode::REQUEST_TIMEOUT, Code::Timeout);
    let mut shared: Map<_, _> =
        shared.into_iter().map(|(status, codes)| (name(status), response(&codes))).collect();
    shared.insert(name(HEAD_TOO_LONG), json!({"description": "The head is too long: no body."}));
    shared
}

/// What is answered before the request has a route, by what reads its head.
const HEAD_TOO_LONG: u16 = 431;

fn name(status: u16) -> String {
    format!("Error{status}")
}

/// The errors of a route, by status.
pub(super) fn of(route: &Route) -> Map<String, Json> {
    let general = general();
    let tell = |(status, codes): (u16, BTreeSet<Code>)| {
        let (name, response) = (name(status), response(&codes));
        let told = match general.get(&name) == Some(&response) {
            true => json!({"$ref": format!("#/components/responses/{name}")}),
            false => response,
        };
        (status.to_string(), told)
    };
    debug_assert!(route.path.starts_with(API) || route.access == Access::Anyone);
    let mut failures: Map<_, _> = of_route(route).into_iter().map(tell).collect();
    let too_long = format!("#/components/responses/{}", name(HEAD_TOO_LONG));
    failures.insert(HEAD_TOO_LONG.to_string(), json!({ "$ref": too_long }));
    failures
}

fn response(codes: &BTreeSet<Code>) -> Json {
    let names: Vec<String> = codes.iter().map(|code| format!("`{}`", code.name())).collect();
    let mut response = json!({
        "description": names.join(", "),
        "content": content(&ErrorMessageResponse::name()),
    });
    if codes.iter().any(|code| matches!(code, Code::RateLimited | Code::Unavailable)) {
        let seconds = json!({"type": "integer", "minimum": 1});
        let header = json!({"description": "Seconds until trying again helps.", "schema": seconds});
        response["headers"] = json!({"Retry-After": header});
    }
    response
}
