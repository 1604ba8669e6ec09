//! The rows of the matrix that are routes: every one that changes something is
//! here, with who may use it, as the API's document has them.

use std::collections::BTreeSet;

use avvy_model::{Followed, Handle, PropsPatch, UserId, Verb};
use avvy_protocol::{FlushItem, ServerMessage, WireChange};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::common::TestServer;
use super::common::ws::Heard;
use super::{Cast, Person, Way, casts, person, server};

const OPENAPI: &str = include_str!("../../../docs/openapi.json");

/// A route of its own by which what is in a brane changes.
struct Deed {
    /// By `POST`.
    route: &'static str,
    /// What it takes.
    verb: Verb,
    /// What whoever is there sees of it.
    seen: fn(&WireChange) -> bool,
}

const DEEDS: [Deed; 5] = [
    Deed { route: "/object/{id}/place", verb: Verb::Create, seen: is_creation },
    Deed { route: "/object/take", verb: Verb::Delete, seen: is_deletion },
    Deed { route: "/prototype/{id}/place", verb: Verb::Create, seen: is_creation },
    Deed { route: "/prototype/{id}/update", verb: Verb::Configure, seen: is_followed },
    Deed { route: "/brane/{id}/portals", verb: Verb::Create, seen: is_creation },
];

fn is_creation(change: &WireChange) -> bool {
    matches!(change, WireChange::Created(_))
}

fn is_deletion(change: &WireChange) -> bool {
    matches!(change, WireChange::Deleted { .. })
}

fn is_followed(change: &WireChange) -> bool {
    let names_followed =
        |patch: &PropsPatch| patch.entries().iter().any(|(key, _)| Followed::is_key(key.as_str()));
    matches!(change, WireChange::Updated { handle: Handle::ROOT, patch } if names_followed(patch))
}

/// Whose it is to change a brane's record, or what becomes of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Whose {
    /// Whoever may configure it; others are refused by this code.
    Configures(&'static str),
    /// Its owner's alone, whatever role others have.
    Owner,
    /// Whoever runs the server, whatever role anybody has.
    Operator,
}

/// What is done to a brane as a whole: by which method and route, with which
/// body.
const LIVES: [(&str, &str, &str, Whose); 9] = [
    ("PATCH", "/brane/{id}", r#"{"description": "new"}"#, Whose::Configures("forbidden")),
    ("PATCH", "/brane/{id}", r#"{"visibility": "unlisted"}"#, Whose::Owner),
    ("PATCH", "/brane/{id}", r#"{"kind": "showcase"}"#, Whose::Owner),
    ("POST", "/brane/{id}/duplicate", "{}", Whose::Configures("not_permitted")),
    ("POST", "/brane/{id}/archive", "{}", Whose::Owner),
    ("POST", "/brane/{id}/restore", "null", Whose::Owner),
    ("DELETE", "/brane/{id}", "null", Whose::Owner),
    ("POST", "/admin/brane/{id}/archive", "{}", Whose::Operator),
    ("POST", "/admin/brane/{id}/restore", "null", Whose::Operator),
];

/// What changes no brane that is there: people, their tokens, and their things.
const ELSEWHERE: [&str; 28] = [
    "POST /admin/users/{id}/sign-out",
    "POST /auth/accounts",
    "DELETE /auth/accounts/{id}",
    "POST /auth/challenge",
    "POST /auth/dev",
    "POST /auth/oidc/token",
    "POST /auth/refresh",
    "DELETE /auth/sessions/{id}",
    "POST /auth/sign-out",
    "POST /auth/sign-out-everywhere",
    "POST /auth/wallet",
    "POST /auth/wallets",
    "DELETE /auth/wallets/{address}",
    "POST /brane",
    "POST /object",
    "DELETE /object/{id}",
    "PATCH /object/{id}",
    "POST /object/{id}/gallery",
    "DELETE /object/{id}/gallery/{prototype}",
    "POST /object/{id}/publish",
    "POST /prototype",
    "DELETE /prototype/{id}",
    "PATCH /prototype/{id}",
    "POST /prototype/{id}/deprecate",
    "POST /prototype/{id}/publish",
    "POST /prototype/{id}/versions",
    "POST /token/revoke",
    "PATCH /users/me",
];

impl Person {
    /// A change under a key of its own: the status, and what is told.
    async fn change(&mut self, method: &str, path: &str, body: &Json) -> (u16, Json) {
        let key = Uuid::new_v4().to_string();
        let json = "application/json";
        let headers = [
            ("content-type", json),
            ("accept", json),
            ("idempotency-key", &*key),
            ("if-match", "*"),
        ];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let path = format!("/api/v1{path}");
        let answer = self.rest.ask(method, &path, &headers, body.as_bytes()).await;
        (answer.status, answer.as_json())
    }

    /// Makes something, and gives its id.
    async fn make(&mut self, path: &str, body: Json) -> String {
        let (status, made) = self.change("POST", path, &body).await;
        assert_eq!(status, 201, "{path}: {made}");
        made["id"].as_str().unwrap_or_default().to_owned()
    }

    /// Makes a version of a prototype that everybody sees.
    async fn publish(&mut self, id: &str) {
        let path = format!("/prototype/{id}/publish");
        let (status, told) = self.change("POST", &path, &Json::Null).await;
        assert_eq!(status, 200, "{told}");
    }

    /// Whether they hear of such a change, done by this user, as long as they are
    /// served.
    async fn sees(&mut self, by: UserId, change: fn(&WireChange) -> bool) -> bool {
        let is_it = |item: &FlushItem| {
            matches!(item, FlushItem::Event(event)
                if event.by == by && event.changes.iter().any(change))
        };
        loop {
            match self.ws.hear().await {
                Heard::Message(ServerMessage::Flush(flush)) if flush.items.iter().any(is_it) => {
                    return true;
                }
                Heard::Message(_) | Heard::Pong => {}
                Heard::Closed(_) | Heard::End | Heard::Reset => return false,
            }
        }
    }
}

#[tokio::test]
async fn every_role_may_what_its_verbs_say_by_every_other_route() {
    let server = server().await;
    for cast in casts(&server).await {
        try_every_deed(&server, cast).await;
    }
    server.end().await;
}

async fn try_every_deed(server: &TestServer, cast: Cast) {
    let Cast { brane, role, verbs, mut who, mut owner } = cast;
    let to = json!({"brane": brane.to_string()});
    // What is to be placed, what is to be taken, and what the brane follows.
    let own = who.make("/object", json!({"kind": "block", "name": "Chair"})).await;
    let fresh = who.make("/prototype", json!({"name": "Stool"})).await;
    who.publish(&fresh).await;
    let left = owner.make("/object", json!({"kind": "block", "name": "Vase"})).await;
    let (status, told) = owner.change("POST", &format!("/object/{left}/place"), &to).await;
    assert_eq!(status, 200, "{told}");
    let lamp = owner.make("/prototype", json!({"name": "Lamp"})).await;
    owner.publish(&lamp).await;
    owner.make(&format!("/prototype/{lamp}/place"), to.clone()).await;
    let next = owner.make(&format!("/prototype/{lamp}/versions"), Json::Null).await;
    owner.publish(&next).await;
    let mut viewer = person(server, 2, brane).await;
    for Deed { route, verb, seen } in DEEDS {
        let (path, body) = match route {
            "/object/{id}/place" => (route.replace("{id}", &own), to.clone()),
            "/object/take" => {
                (route.to_owned(), json!({"brane": brane.to_string(), "object": left}))
            }
            "/prototype/{id}/place" => (route.replace("{id}", &fresh), to.clone()),
            "/prototype/{id}/update" => (route.replace("{id}", &next), to.clone()),
            _ => (route.replace("{id}", &brane.to_string()), json!({"to": to})),
        };
        let (status, told) = who.change("POST", &path, &body).await;
        if verbs.contains(verb) {
            assert!((200..300).contains(&status), "{role} {path}: {told}");
            assert!(viewer.sees(who.user, seen).await, "nobody sees {path} by {role}");
        } else {
            let refused = (403, &json!("not_permitted"));
            assert_eq!((status, &told["code"]), refused, "{role} {path}");
        }
    }
}

#[tokio::test]
async fn a_brane_as_a_whole_is_for_those_whose_it_is() {
    let server = server().await;
    for cast in casts(&server).await {
        try_every_life(cast).await;
    }
    server.end().await;
}

async fn try_every_life(cast: Cast) {
    let Cast { brane, role, verbs, mut who, mut owner } = cast;
    let path = |route: &str| route.replace("{id}", &brane.to_string());
    let (archive, restore) = (path("/brane/{id}/archive"), path("/brane/{id}/restore"));
    for (method, route, body, whose) in LIVES {
        if route.ends_with("/restore") {
            assert_eq!(owner.change("POST", &archive, &Json::Null).await.0, 200);
        }
        let body = serde_json::from_str(body).unwrap();
        let (status, told) = who.change(method, &path(route), &body).await;
        let refused = match whose {
            Whose::Configures(code) => (!verbs.contains(Verb::Configure)).then_some(code),
            Whose::Owner => (who.user != owner.user).then_some("forbidden"),
            Whose::Operator => Some("not_authenticated"),
        };
        let what = format!("{role} {method} {route} {body}: {told}");
        assert_eq!(told["code"].as_str(), refused, "{what}");
        assert_eq!((200..300).contains(&status), refused.is_none(), "{what}");
        assert_eq!(owner.change("POST", &restore, &Json::Null).await.0, 200);
    }
}

/// The method and path of everything that is for changes, with the name of what
/// it takes.
fn changes() -> Vec<(String, String)> {
    let document: Json = serde_json::from_str(OPENAPI).unwrap();
    let mut changes = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, told) in methods.as_object().unwrap() {
            if matches!(method.as_str(), "get" | "head" | "options") {
                continue;
            }
            let body = &told["requestBody"]["content"]["application/json"]["schema"]["$ref"];
            let body = body.as_str().and_then(|name| name.rsplit('/').next()).unwrap_or_default();
            let path = path.strip_prefix("/api/v1").unwrap();
            changes.push((format!("{} {path}", method.to_uppercase()), body.to_owned()));
        }
    }
    changes
}

/// A new route needs a row in [`DEEDS`] or [`LIVES`], or is a new [`Way`], if it
/// changes a brane that is there.
#[test]
fn every_route_has_a_row() {
    let found: BTreeSet<String> = changes().into_iter().map(|(route, _)| route).collect();
    let ways = Way::ALL.into_iter().filter_map(Way::route);
    let posted = ways.chain(DEEDS.iter().map(|deed| deed.route));
    let rows: Vec<String> = posted
        .map(|route| format!("POST {route}"))
        .chain(LIVES.iter().map(|(method, route, ..)| format!("{method} {route}")))
        .collect();
    let here: BTreeSet<String> = rows.into_iter().collect();
    let elsewhere = BTreeSet::from(ELSEWHERE.map(str::to_owned));
    assert!(here.is_disjoint(&elsewhere));
    assert_eq!(found, here.union(&elsewhere).cloned().collect());
}

/// What names a brane is not [`ELSEWHERE`].
#[test]
fn no_route_that_names_a_brane_is_elsewhere() {
    let document: Json = serde_json::from_str(OPENAPI).unwrap();
    for (route, body) in changes() {
        let fields = &document["components"]["schemas"][&body]["properties"];
        let names_brane = route.contains("/brane/{id}")
            || fields.get("brane").is_some()
            || fields["to"].to_string().contains("PortalEnd")
            || body == "SubmitEdits";
        assert!(!(names_brane && ELSEWHERE.contains(&&*route)), "{route}");
    }
}
