//! `GET /api/v1/openapi.json`: what the routes are, in OpenAPI 3.1.
//!
//! Written from the very values that the router is made of ([`Route`]), once at
//! the start. `docs/openapi.json` is the same, held to it by a test.

pub(super) mod examples;
mod failures;
mod page;

use std::collections::BTreeMap;

use avvy_protocol::rest::schema::drawn_id;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::{Map, Value as Json, json};

use super::App;
use super::packing::Page;
use super::route::{Access, Answer, Form, Kind, Match, Param, Repeat, Route};

/// Both forms of the document, made once.
pub(super) struct Document {
    json: Page,
    page: Page,
}

impl Document {
    pub(super) fn of(routes: &[Route]) -> Self {
        let document = openapi(routes);
        Self { page: Page::new(page::of(&document)), json: Page::new(document.to_string()) }
    }
}

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/openapi.json", json, "This document.")
            .open()
            .shows("application/json", "OpenAPI 3.1."),
        Route::get("/docs", html, "This document for people.")
            .open()
            .shows("text/html; charset=utf-8", "A page that needs nothing else."),
    ]
}

async fn json(State(app): State<App>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], app.document.json.clone())
}

async fn html(State(app): State<App>) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, app.document.page.clone())
}

const ABOUT: &str = "Bodies are CBOR; JSON where `Content-Type` and `Accept` say so. \
    `docs/API.md` tells what holds for all routes, `protocol/PROTOCOL.md` the WebSocket.";

/// The document.
pub(super) fn openapi(routes: &[Route]) -> Json {
    let mut paths: BTreeMap<&str, Map<String, Json>> = BTreeMap::new();
    let mut schemas = BTreeMap::new();
    for route in routes {
        let method = route.method.as_str().to_lowercase();
        paths.entry(&route.path).or_default().insert(method, operation(route));
        schemas.extend(route.schemas.iter().cloned());
    }
    let error = failures::schema();
    schemas.extend(error);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Avvyland",
            "description": ABOUT,
            "license": {"name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT"},
            "version": env!("CARGO_PKG_VERSION"),
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": failures::general(),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "admin": {"type": "apiKey", "in": "header", "name": "X-Admin-Token"},
            },
        },
    })
}

fn operation(route: &Route) -> Json {
    let mut responses = failures::of(route);
    for answer in &route.answers {
        responses.insert(answer.status.as_u16().to_string(), response(answer, route));
    }
    if route.is_tagged && route.method == "GET" {
        let meaning = "It is what `If-None-Match` names.";
        responses.insert("304".to_owned(), json!({"description": meaning}));
    }
    let mut operation = json!({
        "operationId": operation_id(route),
        "tags": [family(route)],
        "summary": route.summary,
        "parameters": parameters(route),
        "responses": responses,
        "security": match route.access {
            Access::Token => json!([{"token": []}]),
            Access::Admin => json!([{"admin": []}]),
            Access::Anyone => json!([]),
        },
    });
    if let Some((schema, is_required)) = &route.takes {
        let example = examples::of_request(&route.path).or_else(|| examples::of(schema));
        let content = shown_by(schema, example);
        operation["requestBody"] = json!({"required": is_required, "content": content});
    }
    operation
}

/// `post_brane_id_edits`.
fn operation_id(route: &Route) -> String {
    let words = route.path.split(|c: char| !c.is_ascii_alphanumeric());
    let words = words.filter(|word| !matches!(*word, "" | "api" | "v1"));
    let method = route.method.as_str().to_lowercase();
    [method.as_str()].into_iter().chain(words).collect::<Vec<_>>().join("_")
}

/// What the route is listed under: the first part of its path.
fn family(route: &Route) -> &str {
    let path = route.path.strip_prefix(super::route::API).unwrap_or("/server");
    path.split('/').nth(1).unwrap_or_default()
}

fn response(answer: &Answer, route: &Route) -> Json {
    let mut response = json!({"description": answer.meaning});
    match &answer.form {
        Form::Schema(schema) => response["content"] = content(schema),
        Form::Text(media_type) => {
            response["content"] = json!({*media_type: {"schema": {}}});
        }
        Form::None => {}
    }
    if route.is_tagged && answer.status.is_success() {
        let tag = json!({"description": "Its version.", "schema": {"type": "string"}});
        response["headers"] = json!({"ETag": tag});
    }
    response
}

/// A body of this schema, in both forms.
fn content(schema: &str) -> Json {
    shown_by(schema, examples::of(schema))
}

/// The same with this example. It is the JSON of it; CBOR holds the same values.
fn shown_by(schema: &str, example: Option<Json>) -> Json {
    let mut media = json!({"schema": reference(schema)});
    if let Some(example) = example {
        media["example"] = example;
    }
    json!({"application/json": media, "application/cbor": media})
}

fn reference(schema: &str) -> Json {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn parameters(route: &Route) -> Vec<Json> {
    let in_path = route.path.split('/').filter_map(|part| {
        let name = part.strip_prefix('{')?.strip_suffix('}')?;
        let told = route.params.iter().find(|param| param.name == name).copied();
        let param = told.unwrap_or(Param { name: "", meaning: "Its id.", kind: Kind::Id });
        Some(json!({"name": name, "in": "path", "required": true,
            "description": param.meaning, "schema": kind(param.kind)}))
    });
    let is_in_path = |param: &Param| route.path.contains(&format!("{{{}}}", param.name));
    let read = route.params.iter().filter(|param| !is_in_path(param)).map(|param| (param, false));
    let needed = route.needed.iter().map(|param| (param, true));
    let in_query = needed.chain(read).map(|(param, is_required)| {
        json!({"name": param.name, "in": "query", "required": is_required,
            "description": param.meaning, "schema": kind(param.kind)})
    });
    in_path.chain(in_query).chain(header_parameters(route)).collect()
}

fn header_parameters(route: &Route) -> impl Iterator<Item = Json> {
    let header = |name: &str, required: bool, meaning: &str, schema: Json| {
        json!({"name": name, "in": "header", "required": required,
            "description": meaning, "schema": schema})
    };
    let key = (route.repeat != Repeat::Ignored).then(|| {
        let meaning = "The same request with the same key is done once, and answered as then.";
        let is_required = route.repeat == Repeat::Required;
        header("Idempotency-Key", is_required, meaning, json!(drawn_id()))
    });
    let tag = json!({"type": "string", "maxLength": 1_024});
    let if_match = (route.matches != Match::Ignored).then(|| {
        let meaning = "It has to be of a version with this `ETag`.";
        header("If-Match", route.matches == Match::Required, meaning, tag.clone())
    });
    let if_none_match = (route.is_tagged && route.method == "GET").then(|| {
        let meaning = "Answered 304 if it is of a version with this `ETag`.";
        header("If-None-Match", false, meaning, tag)
    });
    [key, if_match, if_none_match].into_iter().flatten()
}

fn kind(kind: Kind) -> Json {
    match kind {
        Kind::Text(most) => json!({"type": "string", "maxLength": most}),
        Kind::Number(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
        Kind::Id => json!({"type": "string", "format": "uuid"}),
        Kind::Flag => json!({"type": "boolean"}),
        Kind::OneOf(values) => json!({"type": "string", "enum": values}),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::all_routes;
    use super::*;

    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");

    /// `AVVY_BLESS=1` writes it.
    #[test]
    fn the_document_in_docs_is_this_one() {
        let document = openapi(&all_routes());
        if std::env::var_os("AVVY_BLESS").is_some() {
            let text = serde_json::to_string_pretty(&document).unwrap();
            std::fs::write(FILE, text + "\n").unwrap();
        }
        let written: Json = serde_json::from_slice(&std::fs::read(FILE).unwrap()).unwrap();
        assert!(written == document, "run the test with AVVY_BLESS=1");
    }

    #[test]
    fn every_body_has_an_example() {
        for route in all_routes() {
            let bodies = route.answers.iter().filter_map(|answer| match &answer.form {
                Form::Schema(name) => Some(name),
                Form::Text(_) | Form::None => None,
            });
            for name in bodies.chain(route.takes.iter().map(|(name, _)| name)) {
                assert!(examples::of(name).is_some(), "{}: {name}", route.path);
            }
        }
    }

    /// Nothing points to what is not there.
    #[test]
    fn every_reference_leads_somewhere() {
        let document = openapi(&all_routes());
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
    }

    #[test]
    fn every_operation_is_told_apart() {
        let routes = all_routes();
        let mut ids: Vec<String> = routes.iter().map(operation_id).collect();
        ids.sort();
        let count = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), count);
        for route in &routes {
            assert!(!route.answers.is_empty(), "{} answers nothing", route.path);
        }
    }
}
