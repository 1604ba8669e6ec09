//! Every role, every verb, every way in: who may do what is decided in one
//! place, so it is the same whichever way an edit comes.

#![allow(clippy::unwrap_used)]

mod common;

use avvy_model::{
    BraneId, Code, DeleteMode, Edit, Handle, Kind, MovePatch, ObjectId, Operation, Parts, PropKey,
    Props, PropsPatch, Role, Ruling, Target, Transform, Value, ValueLimits, Verb, Visibility,
};
use avvy_protocol::rest::{EditResult, Format, SubmitResponse, decode};
use avvy_protocol::{Channel, ServerMessage};
use common::ws::{Ws, user};
use common::{Client, TestServer};
use serde_json::{Value as Json, json};
use uuid::Uuid;

const OWNER: u128 = 1;
const OPENAPI: &str = include_str!("../../docs/openapi.json");

/// The ways by which an edit comes in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    WebSocket,
    WebSocketBatch,
    Edits,
    EditsBatch,
    RightsRoute,
}

const WAYS: [Way; 5] =
    [Way::WebSocket, Way::WebSocketBatch, Way::Edits, Way::EditsBatch, Way::RightsRoute];

impl Way {
    /// Whether what needs this verb can come by it at all.
    fn takes(self, verb: Verb) -> bool {
        match self {
            Self::WebSocket | Self::Edits => true,
            Self::WebSocketBatch | Self::EditsBatch => verb != Verb::Govern,
            Self::RightsRoute => verb == Verb::Govern,
        }
    }
}

/// What needs a verb, as a session says it and as JSON. No wildcard: a verb
/// without a row does not compile.
fn edit_of(verb: Verb, target: u32) -> (Edit, Json) {
    let id = ObjectId::new(Uuid::new_v4());
    let here = Target::Handle(Handle(target));
    let root = Target::Handle(Handle::ROOT);
    match verb {
        Verb::Create => (
            Edit::One(Operation::Create {
                id,
                parent: root,
                kind: Kind::Group,
                transform: Transform::IDENTITY,
                props: Props::default(),
            }),
            json!({"op": "create", "id": id.to_string(), "parent": 0, "kind": "group"}),
        ),
        Verb::Move => (
            Edit::One(Operation::Move {
                target: here,
                patch: MovePatch::new(Parts::POSITION, Transform::IDENTITY),
            }),
            json!({"op": "move", "t": target, "position": [0, 0, 0]}),
        ),
        Verb::Edit => {
            (Edit::One(update(here)), json!({"op": "update", "t": target, "set": {"lit": true}}))
        }
        Verb::Delete => (
            Edit::One(Operation::Delete { target: here, mode: DeleteMode::Subtree }),
            json!({"op": "delete", "t": target, "mode": "subtree"}),
        ),
        Verb::Configure => {
            (Edit::One(update(root)), json!({"op": "update", "t": 0, "set": {"lit": true}}))
        }
        Verb::Govern => (
            Edit::Rule(Box::new(Ruling::Appoint { user: user(99), role: None })),
            json!({"op": "appoint", "user": user(99).to_string()}),
        ),
    }
}

fn update(target: Target) -> Operation {
    let key = PropKey::new("lit", &ValueLimits::NONE).unwrap();
    let patch = PropsPatch::new(vec![(key, Some(Value::int(1)))]).unwrap();
    Operation::Update { target, patch }
}

/// Somebody with a role, by each way.
struct Person {
    ws: Ws,
    channel: Channel,
    rest: Client,
    counter: u64,
    brane: BraneId,
}

impl Person {
    async fn by(&mut self, way: Way, (edit, json): (Edit, Json)) -> Option<Code> {
        match way {
            Way::WebSocket => self.say(edit).await,
            Way::WebSocketBatch => self.say(Edit::Batch(edit.operations().to_vec())).await,
            Way::Edits => self.post("edits", json).await,
            Way::EditsBatch => self.post("edits", json!({"op": "batch", "ops": [json]})).await,
            Way::RightsRoute => self.post("rights", json).await,
        }
    }

    async fn say(&mut self, edit: Edit) -> Option<Code> {
        self.counter += 1;
        self.ws.submit(self.channel, self.counter, edit).await;
        let is_outcome = |m: &ServerMessage| {
            matches!(m, ServerMessage::Applied { .. } | ServerMessage::Refused { .. })
        };
        match self.ws.until(is_outcome).await {
            ServerMessage::Refused { edits, .. } => Some(edits[0].code),
            _ => None,
        }
    }

    async fn post(&mut self, route: &str, mut edit: Json) -> Option<Code> {
        edit["n"] = json!(1);
        let body = json!({"client": Uuid::new_v4().to_string(), "edits": [edit]}).to_string();
        let path = format!("/api/v1/brane/{}/{route}", self.brane);
        let headers = [("content-type", "application/json")];
        let answer = self.rest.ask("POST", &path, &headers, body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{route} {}", answer.text());
        let told: SubmitResponse = decode(&answer.body, Format::Json, usize::MAX).unwrap();
        match told.outcomes[0].result {
            EditResult::Applied(_) => None,
            EditResult::Refused(refusal) => Some(refusal.code),
        }
    }
}

/// Somebody of this role; the owner is there already.
async fn appointed(
    server: &TestServer,
    owner: &mut Person,
    nth: u128,
    role: Role,
    brane: BraneId,
) -> Person {
    let id = if role == Role::Owner { OWNER } else { 10 + nth };
    let who = joined_as(server, id, 100 + nth, brane).await;
    if role != Role::Owner {
        let appointed = Ruling::Appoint { user: user(id), role: Some(role.into()) };
        assert_eq!(owner.say(Edit::Rule(Box::new(appointed))).await, None);
    }
    who
}

#[tokio::test]
async fn every_role_may_what_its_verbs_say_by_every_way() {
    let server = TestServer::start().await;
    let brane = server.brane(Visibility::Public).await;
    let mut owner = person(&server, OWNER, brane).await;
    let mut created = 0;
    let mut judged = 0;
    for (nth, role) in Role::ALL.into_iter().enumerate() {
        let mut who = appointed(&server, &mut owner, nth as u128, role, brane).await;
        for way in WAYS {
            for verb in Verb::ALL.into_iter().filter(|verb| way.takes(*verb)) {
                // What it does it to is there and everybody's.
                assert_eq!(owner.say(edit_of(Verb::Create, 0).0).await, None);
                created += 1;
                let may = role.verbs().contains(verb);
                let refused = who.by(way, edit_of(verb, created)).await;
                let expected = (!may).then_some(Code::NotPermitted);
                assert_eq!(refused, expected, "{role:?} {verb:?} by {way:?}");
                created += u32::from(may && verb == Verb::Create);
                judged += 1;
            }
        }
    }
    assert_eq!(judged, Role::ALL.len() * (2 * Verb::ALL.len() + 2 * (Verb::ALL.len() - 1) + 1));
    server.end().await;
}

/// What changes a brane by a route of its own, with the verb that it takes.
const DEEDS: [(&str, Verb); 5] = [
    ("/object/{id}/place", Verb::Create),
    ("/object/take", Verb::Delete),
    ("/prototype/{id}/place", Verb::Create),
    ("/prototype/{id}/update", Verb::Configure),
    ("/brane/{id}/portals", Verb::Create),
];

impl Person {
    /// A change under a key of its own: the status, and what is told.
    async fn change(&mut self, path: &str, body: Json) -> (u16, Json) {
        let key = Uuid::new_v4().to_string();
        let json = "application/json";
        let headers = [("content-type", json), ("accept", json), ("idempotency-key", &*key)];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let path = format!("/api/v1{path}");
        let answer = self.rest.ask("POST", &path, &headers, body.as_bytes()).await;
        (answer.status, answer.as_json())
    }

    /// Makes something of its own, and gives its id.
    async fn make(&mut self, path: &str, body: Json) -> String {
        let (status, made) = self.change(path, body).await;
        assert_eq!(status, 201, "{path}: {made}");
        made["id"].as_str().unwrap().to_owned()
    }

    /// Makes a version of a prototype that everybody sees.
    async fn publish(&mut self, id: &str) {
        let (status, told) = self.change(&format!("/prototype/{id}/publish"), Json::Null).await;
        assert_eq!(status, 200, "{told}");
    }
}

#[tokio::test]
async fn every_role_may_what_its_verbs_say_by_every_other_route() {
    let server = TestServer::start().await;
    let brane = server.brane(Visibility::Public).await;
    let mut owner = person(&server, OWNER, brane).await;
    let to = json!({"brane": brane.to_string()});
    // What the brane follows, in two versions.
    let mut lamp = owner.make("/prototype", json!({"name": "Lamp"})).await;
    owner.publish(&lamp).await;
    let (status, told) = owner.change(&format!("/prototype/{lamp}/place"), to.clone()).await;
    assert_eq!(status, 201, "{told}");
    for (nth, role) in Role::ALL.into_iter().enumerate() {
        let mut who = appointed(&server, &mut owner, nth as u128, role, brane).await;
        let own = who.make("/object", json!({"kind": "block", "name": "Chair"})).await;
        let fresh = who.make("/prototype", json!({"name": "Stool"})).await;
        who.publish(&fresh).await;
        let next = owner.make(&format!("/prototype/{lamp}/versions"), Json::Null).await;
        owner.publish(&next).await;
        lamp = next;
        let left = owner.make("/object", json!({"kind": "block", "name": "Vase"})).await;
        owner.change(&format!("/object/{left}/place"), to.clone()).await;
        for (route, verb) in DEEDS {
            let (path, body) = match route {
                "/object/{id}/place" => (route.replace("{id}", &own), to.clone()),
                "/object/take" => {
                    (route.to_owned(), json!({"brane": brane.to_string(), "object": left}))
                }
                "/prototype/{id}/place" => (route.replace("{id}", &fresh), to.clone()),
                "/prototype/{id}/update" => (route.replace("{id}", &lamp), to.clone()),
                _ => (route.replace("{id}", &brane.to_string()), json!({"to": to})),
            };
            let (status, told) = who.change(&path, body).await;
            match role.verbs().contains(verb) {
                true => assert!((200..300).contains(&status), "{role:?} {path}: {told}"),
                false => {
                    let refused = (403, &json!("not_permitted"));
                    assert_eq!((status, &told["code"]), refused, "{role:?} {path}");
                }
            }
        }
    }
    server.end().await;
}

/// A new route of that kind needs a row in [`DEEDS`].
#[test]
fn every_route_that_changes_a_named_brane_is_a_deed() {
    let document: Json = serde_json::from_str(OPENAPI).unwrap();
    let schemas = &document["components"]["schemas"];
    let mut deeds = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let body = &methods["post"]["requestBody"]["content"]["application/json"]["schema"];
        let Some(name) = body["$ref"].as_str().and_then(|name| name.rsplit('/').next()) else {
            continue;
        };
        let fields = &schemas[name]["properties"];
        if fields.get("brane").is_some() || fields["to"].to_string().contains("PortalEnd") {
            deeds.push(path.strip_prefix("/api/v1").unwrap().to_owned());
        }
    }
    let mut rows = DEEDS.map(|(route, _)| route.to_owned()).to_vec();
    rows.sort();
    deeds.sort();
    assert_eq!(deeds, rows);
}

/// A new way to change a brane needs a row in [`WAYS`].
#[test]
fn every_route_that_changes_a_brane_is_a_way() {
    let document: Json = serde_json::from_str(OPENAPI).unwrap();
    let mut ways = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, told) in methods.as_object().unwrap() {
            let body = &told["requestBody"]["content"]["application/json"]["schema"]["$ref"];
            if body == "#/components/schemas/SubmitEdits" {
                ways.push(format!("{method} {path}"));
            }
        }
    }
    ways.sort();
    assert_eq!(ways, ["post /api/v1/brane/{id}/edits", "post /api/v1/brane/{id}/rights"]);
}

/// The edits route takes rulings; the route of rulings takes nothing else.
#[tokio::test]
async fn the_route_of_rulings_takes_no_other_edits() {
    let server = TestServer::start().await;
    let brane = server.brane(Visibility::Public).await;
    let mut owner = person(&server, OWNER, brane).await;
    let (_, mut edit) = edit_of(Verb::Create, 0);
    edit["n"] = json!(1);
    let body = json!({"client": Uuid::new_v4().to_string(), "edits": [edit]}).to_string();
    let path = format!("/api/v1/brane/{brane}/rights");
    let headers = [("content-type", "application/json")];
    let answer = owner.rest.ask("POST", &path, &headers, body.as_bytes()).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "malformed"));
    server.end().await;
}

/// Everybody reads their own; who governs reads the table.
#[tokio::test]
async fn rights_are_told_to_whom_they_concern() {
    let server = TestServer::start().await;
    let brane = server.brane(Visibility::Public).await;
    let mut owner = person(&server, OWNER, brane).await;
    let mut guest = person(&server, 2, brane).await;
    let banned = json!({"op": "ban", "user": user(3).to_string()});
    assert_eq!(owner.by(Way::RightsRoute, (Edit::Batch(Vec::new()), banned)).await, None);
    let grant = json!({"op": "grant", "grant": Uuid::new_v4().to_string(),
        "to": user(2).to_string(), "verbs": ["move"], "region": {"min": [0, 0, 0], "max": [1, 1, 1]}});
    assert_eq!(owner.by(Way::RightsRoute, (Edit::Batch(Vec::new()), grant)).await, None);

    let path = format!("/api/v1/brane/{brane}/rights");
    let (status, own) = guest.rest.json("GET", &path, None).await;
    assert_eq!((status, &own["role"]), (200, &json!("builder")));
    assert_eq!(own["grants"][0]["region"]["max"], json!([1.0, 1.0, 1.0]));
    assert_eq!(own.get("table"), None);
    let (_, all) = owner.rest.json("GET", &path, None).await;
    let table = &all["table"];
    assert_eq!(table["everybody"], json!("builder"));
    assert_eq!(table["people"][0]["user"], json!(user(3).to_string()));
    assert_eq!(table["people"][0]["ban"], json!({}));
    assert_eq!(table["grants"].as_array().unwrap().len(), 1);
    let changed: Vec<&str> = table["rulings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|ruling| ruling["changed"].as_str().unwrap())
        .collect();
    assert_eq!(changed, ["standing", "granted"]);
    server.end().await;
}

async fn person(server: &TestServer, id: u128, brane: BraneId) -> Person {
    joined_as(server, id, id, brane).await
}

/// The same under a client id of its own, as one user can be there twice.
async fn joined_as(server: &TestServer, id: u128, client: u128, brane: BraneId) -> Person {
    let mut ws = Ws::welcomed(server, id).await;
    let channel = ws.join(brane, client).await;
    let mut rest = server.client().await;
    rest.token = Some(server.token_for(id, Role::Owner, 1_000));
    Person { ws, channel, rest, counter: 0, brane }
}
