//! What is another user's: whatever names it, by whatever route.

use serde_json::{Value as Json, json};

use super::common::{Answer, TestServer};
use super::operation::Operation;
use super::people::{Person, Things};

pub async fn start() -> TestServer {
    let rate = avvy_actors::Rate { per_second: 1_000, burst: 10_000 };
    TestServer::with_sessions(|config| config.user.creates = rate).await
}

/// What names something that somebody owns.
fn of_somebodys() -> impl Iterator<Item = Operation> {
    Operation::all().into_iter().filter(|it| it.needs("token") && it.is_named())
}

/// The status of an answer and the code of an error.
pub fn outcome(answer: &Answer) -> (u16, String) {
    let code = if answer.status < 400 { String::new() } else { answer.code() };
    (answer.status, code)
}

fn not_found() -> (u16, String) {
    (404, "not_found".to_owned())
}

/// What an error tells, without what is of the one request.
fn told(answer: &Answer) -> Json {
    let mut told = answer.as_json();
    for name in ["trace_id", "timestamp"] {
        told.as_object_mut().unwrap().remove(name);
    }
    told
}

/// What is private is not there for others, and is for its owner.
#[tokio::test]
async fn nobody_reaches_what_is_anothers() {
    let server = start().await;
    let (mut ada, mut bob) = (Person::new(&server, 1).await, Person::new(&server, 2).await);
    let own = bob.things("private").await;
    let absent = Things::absent();
    for operation in of_somebodys() {
        let (name, body) = (operation.name(), own.body(&operation));
        let theirs = ada.things("private").await;
        let path = theirs.path(&operation, &own);
        let of_theirs = bob.ask(&operation, &path, body.as_ref()).await;
        let nothing = absent.path(&operation, &own);
        let of_nothing = bob.ask(&operation, &nothing, body.as_ref()).await;
        assert_eq!(outcome(&of_nothing), not_found(), "{name}");
        if operation.path == "/api/v1/users/{id}" {
            // Everybody sees of everybody what is for all.
            assert_eq!(of_theirs.status, 200, "{name}");
        } else {
            // Not even whether it is there.
            assert_eq!(outcome(&of_theirs), not_found(), "{name}");
            assert_eq!(told(&of_theirs), told(&of_nothing), "{name}");
        }
        let path = theirs.path(&operation, &theirs);
        let owners = ada.ask(&operation, &path, theirs.body(&operation).as_ref()).await;
        let is_there = owners.status < 300 || owners.status == 409;
        assert!(is_there, "{name} answers its owner {:?}", outcome(&owners));
    }
    server.end().await;
}

/// What is named beside a thing of one's own is as far away: what of a brane or
/// a group a path names, and all that a body names.
#[tokio::test]
async fn nobody_reaches_what_is_anothers_from_their_own() {
    let server = start().await;
    let (mut ada, mut bob) = (Person::new(&server, 1).await, Person::new(&server, 2).await);
    let (theirs, absent) = (ada.things("private").await, Things::absent());
    let mut tried = 0;
    for operation in Operation::all().iter().filter(|it| it.needs("token")) {
        let own = bob.fit(operation).await;
        let mut asked = Vec::new();
        if operation.path.matches('{').count() > 1 {
            let path = |of: &Things| operation.path_with(|before| own.and(of, operation, before));
            asked.push([&theirs, &absent].map(|of| (path(of), own.body(operation))));
        }
        for (field, _) in operation.takes().iter().filter(|(_, schema)| names_things(schema)) {
            if absent.in_body(field).is_none() {
                continue;
            }
            asked.push([&theirs, &absent].map(|of| {
                let mut body = own.body(operation).unwrap();
                body[field] = of.in_body(field).unwrap();
                if field == "child_ids" || field == "gallery_ids" {
                    body["kind"] = json!("group");
                }
                (own.path(operation, &own), Some(body))
            }));
        }
        for [of_theirs, of_nothing] in asked {
            let name = format!("{} {of_theirs:?}", operation.name());
            let of_theirs = bob.ask(operation, &of_theirs.0, of_theirs.1.as_ref()).await;
            let of_nothing = bob.ask(operation, &of_nothing.0, of_nothing.1.as_ref()).await;
            assert!(of_theirs.status >= 400, "{name} answers {}", of_theirs.status);
            assert_eq!(outcome(&of_theirs), outcome(&of_nothing), "{name}");
            assert_eq!(told(&of_theirs), told(&of_nothing), "{name}");
            tried += 1;
        }
    }
    assert!(tried > 0);
    server.end().await;
}

/// Whether the schema of a field is that of ids, or of the end of a portal.
fn names_things(schema: &Json) -> bool {
    let formats = [&schema["format"], &schema["items"]["format"]];
    formats.contains(&&json!("uuid")) || schema["$ref"] == "#/components/schemas/PortalEnd"
}

/// What anybody may do with what is public: copy it, and in a brane what its
/// builders may, who are all there.
const ANYBODY: [&str; 6] = [
    "POST /api/v1/brane/{id}/duplicate",
    "POST /api/v1/brane/{id}/edits",
    "POST /api/v1/brane/{id}/portals",
    "POST /api/v1/brane/{id}/rights",
    "POST /api/v1/prototype/{id}/place",
    "POST /api/v1/prototype/{id}/update",
];

/// What is public is there for others to see, and for its owner to change.
#[tokio::test]
async fn nobody_changes_what_is_anothers() {
    let server = start().await;
    let (mut ada, mut bob) = (Person::new(&server, 1).await, Person::new(&server, 2).await);
    let own = bob.things("private").await;
    let mut refused = 0;
    for operation in of_somebodys() {
        let (name, body) = (operation.name(), own.body(&operation));
        if operation.method == "GET" || name.contains("/auth/") || ANYBODY.contains(&&*name) {
            continue;
        }
        let theirs = ada.things("public").await;
        let path = theirs.path(&operation, &own);
        let answer = bob.ask(&operation, &path, body.as_ref()).await;
        assert_eq!(outcome(&answer), (403, "forbidden".to_owned()), "{name}");
        let path = theirs.path(&operation, &theirs);
        let owners = ada.ask(&operation, &path, theirs.body(&operation).as_ref()).await;
        let may = owners.status < 300 || owners.status == 409;
        assert!(may, "{name} answers its owner {:?}", outcome(&owners));
        refused += 1;
    }
    assert!(refused > 0);
    server.end().await;
}
