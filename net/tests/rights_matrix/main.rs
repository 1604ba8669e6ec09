//! Every role, every kind of edit, every route, every way in: who may do what is
//! decided in one place, so it is the same whichever way an edit comes.

#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod routes;
mod rows;

use avvy_actors::SystemConfig;
use avvy_model::{
    BraneId, Code, Counter, Edit, NumberedEdit, Operation, Role, RoleName, Ruling, UserId, Verb,
    Verbs, Visibility,
};
use avvy_net::NetConfig;
use avvy_protocol::rest::{EditResult, Format, SubmitResponse, decode};
use avvy_protocol::{Channel, ClientMessage, Update, codec, json};
use common::ws::{Ws, user};
use common::{Client, PATIENCE, TestServer};
use futures_util::future::join_all;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use rows::{HALL, create, custom, ground, refusal, rows};

const OWNER: u128 = 1;
const ADMIN: &str = "0123456789abcdef0123456789abcdef";

/// The ways by which an edit comes in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    WebSocket,
    WebSocketBatch,
    Edits,
    EditsBatch,
    RightsRoute,
}

/// Those by which an edit of this kind can come.
fn ways(edit: &Edit) -> &'static [Way] {
    match edit {
        Edit::One(_) => &[Way::WebSocket, Way::WebSocketBatch, Way::Edits, Way::EditsBatch],
        Edit::Batch(_) | Edit::Follow(_) => &[Way::WebSocket, Way::Edits],
        Edit::Rule(_) => &[Way::WebSocket, Way::Edits, Way::RightsRoute],
    }
}

impl Way {
    const ALL: [Self; 5] =
        [Self::WebSocket, Self::WebSocketBatch, Self::Edits, Self::EditsBatch, Self::RightsRoute];

    /// By which route of HTTP it is.
    const fn route(self) -> Option<&'static str> {
        match self {
            Self::WebSocket | Self::WebSocketBatch => None,
            Self::Edits | Self::EditsBatch => Some("/brane/{id}/edits"),
            Self::RightsRoute => Some("/brane/{id}/rights"),
        }
    }
}

/// An edit in JSON, with the number 1.
fn as_json(edit: Edit) -> Json {
    let edits = vec![NumberedEdit { counter: Counter(1), edit }];
    let update = Update { channel: Channel(0), trace: None, edits };
    let cbor = codec::encode_client(&ClientMessage::Update(update));
    json::from_cbor(&ciborium::from_reader(&cbor[..]).unwrap())["edits"][0].take()
}

/// Somebody with a role, by each way.
struct Person {
    user: UserId,
    ws: Ws,
    channel: Channel,
    rest: Client,
    counter: u64,
    brane: BraneId,
}

impl Person {
    async fn by(&mut self, way: Way, edit: Edit) -> Option<Code> {
        let edit = match way {
            Way::WebSocketBatch | Way::EditsBatch => Edit::Batch(edit.operations().to_vec()),
            Way::WebSocket | Way::Edits | Way::RightsRoute => edit,
        };
        match way.route() {
            None => self.say(edit).await,
            Some(route) => self.post(route, as_json(edit)).await,
        }
    }

    async fn rule(&mut self, ruling: Ruling) {
        assert_eq!(self.say(Edit::Rule(Box::new(ruling))).await, None);
    }

    async fn say(&mut self, edit: Edit) -> Option<Code> {
        self.counter += 1;
        self.ws.submit(self.channel, self.counter, edit).await;
        self.ws.refusal().await
    }

    async fn post(&mut self, route: &str, edit: Json) -> Option<Code> {
        let body = json!({"client": Uuid::new_v4().to_string(), "edits": [edit]}).to_string();
        let path = format!("/api/v1{}", route.replace("{id}", &self.brane.to_string()));
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

/// A server of which one address, and one user, may ask for as much as they
/// like, and as late.
async fn server() -> TestServer {
    let net = NetConfig {
        requests_burst: 1_000_000,
        header_read_timeout: PATIENCE,
        admin_token: Some(ADMIN.to_owned()),
        ..NetConfig::default()
    };
    let mut system = SystemConfig::default();
    system.user.creates.burst = 1_000_000;
    TestServer::tuned(net, system, 0, None).await
}

/// Somebody who has a role in a brane, and its owner.
struct Cast {
    brane: BraneId,
    /// What the role is called, for people.
    role: String,
    verbs: Verbs,
    who: Person,
    owner: Person,
}

/// One for each role, each in a brane of its own: for those that every brane
/// knows; for each verb one that the brane has made for it; and the owner's own.
/// Everybody else has none there.
async fn casts(server: &TestServer) -> Vec<Cast> {
    let known = Role::ALL.map(|role| (RoleName::from(role), role.verbs()));
    let own = Verb::ALL.map(|verb| (RoleName::Custom(custom(verb.name())), Verbs::of(&[verb])));
    let mut casts = Vec::new();
    for ((role, verbs), id) in known.into_iter().chain(own).zip(10..) {
        let (brane, mut owner) = brane(server).await;
        if let RoleName::Custom(name) = &role {
            owner.rule(Ruling::Role { name: name.clone(), verbs: Some(verbs) }).await;
        }
        owner.rule(Ruling::Appoint { user: user(id), role: Some(role.clone()) }).await;
        let who = person(server, id, brane).await;
        casts.push(Cast { brane, role: role.to_string(), verbs, who, owner });
    }
    let (brane, owner) = brane(server).await;
    let who = joined_as(server, OWNER, 100, brane).await;
    let (role, verbs) = ("the owner".to_owned(), Role::Owner.verbs());
    casts.push(Cast { brane, role, verbs, who, owner });
    casts
}

/// A brane of the owner's in which others may do nothing.
async fn brane(server: &TestServer) -> (BraneId, Person) {
    let brane = server.brane(Visibility::Public).await;
    let mut owner = person(server, OWNER, brane).await;
    owner.rule(Ruling::Everybody { role: Role::Visitor.into() }).await;
    (brane, owner)
}

#[tokio::test]
async fn every_role_may_what_its_verbs_say_by_every_way() {
    let server = server().await;
    join_all(casts(&server).await.into_iter().map(try_every_edit)).await;
    server.end().await;
}

async fn try_every_edit(cast: Cast) {
    let Cast { role, verbs, mut who, mut owner, .. } = cast;
    assert_eq!(owner.say(Edit::One(create())).await, None);
    let mut last = HALL;
    for nth in 0..rows(HALL).len() {
        for way in ways(&rows(HALL)[nth]) {
            // What it is done to is there, and the owner's.
            assert_eq!(owner.say(Edit::One(create())).await, None);
            last.0 += 1;
            let edit = rows(last).swap_remove(nth);
            if let Some(ruling) = ground(&edit) {
                owner.rule(ruling).await;
            }
            let refused = who.by(*way, edit.clone()).await;
            assert_eq!(refused, refusal(&edit, verbs), "{role} by {way:?}: {edit:?}");
            let is_creation = matches!(edit, Edit::One(Operation::Create { .. }));
            last.0 += u32::from(is_creation && refused.is_none());
        }
    }
}

/// The edits route takes rulings; the route of rulings takes nothing else.
#[tokio::test]
async fn the_route_of_rulings_takes_no_other_edits() {
    let server = TestServer::start().await;
    let brane = server.brane(Visibility::Public).await;
    let mut owner = person(&server, OWNER, brane).await;
    let edits = [as_json(Edit::One(create()))];
    let body = json!({"client": Uuid::new_v4().to_string(), "edits": edits}).to_string();
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
    let rights = "/brane/{id}/rights";
    let banned = json!({"n": 1, "op": "ban", "user": user(3).to_string()});
    assert_eq!(owner.post(rights, banned).await, None);
    let grant = json!({"n": 1, "op": "grant", "grant": Uuid::new_v4().to_string(),
        "to": user(2).to_string(), "verbs": ["move"], "region": {"min": [0, 0, 0], "max": [1, 1, 1]}});
    assert_eq!(owner.post(rights, grant).await, None);

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
    Person { user: user(id), ws, channel, rest, counter: 0, brane }
}
