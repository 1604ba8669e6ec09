//! Rights over real sockets and over REST: what a ruling gives and takes counts
//! for the next edit, wherever it comes from, and those concerned are told.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::{SystemTime, UNIX_EPOCH};

use avvy_model::{
    BraneId, Code, DeleteMode, Edit, GrantId, Handle, MovePatch, Operation, Parts, Reach, Role,
    RoleName, Ruling, Sanction, Target, Transform, UserId, Verb, Verbs, Visibility,
};
use avvy_protocol::{
    Audience, Channel, ClientMessage, OwnRights, PeopleRequest, ServerMessage, SignalSend,
};
use common::ws::Ws;
use common::{Client, TestServer};
use serde_json::{Value as Json, json};
use uuid::Uuid;

/// The brane's owner.
const OWNER: u128 = 1;
const GUEST: u128 = 2;

fn guest() -> UserId {
    common::ws::user(GUEST)
}

/// A session in a brane that numbers its edits.
struct Person {
    ws: Ws,
    channel: Channel,
    counter: u64,
}

impl Person {
    async fn join(server: &TestServer, user: u128, brane: BraneId) -> Self {
        let mut ws = Ws::welcomed(server, user).await;
        let channel = ws.join(brane, user).await;
        Self { ws, channel, counter: 0 }
    }

    /// Submits an edit; gives the code for which it is refused.
    async fn submit(&mut self, edit: Edit) -> Option<Code> {
        self.counter += 1;
        self.ws.submit(self.channel, self.counter, edit).await;
        self.ws.refusal().await
    }

    async fn edit(&mut self, operation: Operation) -> Option<Code> {
        self.submit(Edit::One(operation)).await
    }

    async fn rule(&mut self, ruling: Ruling) {
        let refused = self.submit(Edit::Rule(Box::new(ruling.clone()))).await;
        assert_eq!(refused, None, "{ruling:?}");
    }

    /// What the session is told next of its own rights.
    async fn rights(&mut self) -> OwnRights {
        match self.ws.until(|m| matches!(m, ServerMessage::Rights(_))).await {
            ServerMessage::Rights(own) => *own,
            other => panic!("{other:?}"),
        }
    }

    /// Why the session is let go of.
    async fn left(&mut self) -> Option<Code> {
        match self.ws.until(|m| matches!(m, ServerMessage::Left { .. })).await {
            ServerMessage::Left { code, .. } => code,
            other => panic!("{other:?}"),
        }
    }
}

fn create() -> Operation {
    Operation::Create {
        id: avvy_model::ObjectId::new(Uuid::new_v4()),
        parent: Target::Handle(Handle::ROOT),
        kind: avvy_model::Kind::Group,
        transform: Transform::IDENTITY,
        props: avvy_model::Props::default(),
    }
}

fn shift(handle: u32) -> Operation {
    let patch = MovePatch::new(Parts::POSITION, Transform::IDENTITY);
    Operation::Move { target: Target::Handle(Handle(handle)), patch }
}

fn delete(handle: u32) -> Operation {
    Operation::Delete { target: Target::Handle(Handle(handle)), mode: DeleteMode::Subtree }
}

/// What REST answers to one edit of the guest's: status, and the code of the
/// refusal or of the error.
async fn by_rest(client: &mut Client, brane: BraneId, edit: Json) -> (u16, String) {
    let mut edit = edit;
    edit["n"] = json!(1);
    let body = json!({"client": Uuid::new_v4().to_string(), "edits": [edit]});
    let path = format!("/api/v1/brane/{brane}/edits");
    let headers = [("accept", "application/json"), ("content-type", "application/json")];
    let answer = client.ask("POST", &path, &headers, body.to_string().as_bytes()).await;
    let json = answer.as_json();
    let code = json["outcomes"][0]["code"].as_str().or(json["code"].as_str());
    (answer.status, code.unwrap_or_default().to_owned())
}

async fn client_of(server: &TestServer, user: u128) -> Client {
    let mut client = server.client().await;
    client.token = Some(server.token_for(user, Role::Owner, 1_000));
    client
}

#[tokio::test]
async fn a_right_that_is_taken_is_gone_for_the_next_edit() {
    let server = TestServer::start().await;
    let brane = server.brane(Visibility::Public).await;
    let mut owner = Person::join(&server, OWNER, brane).await;
    assert_eq!(owner.rights().await.verbs, Verbs::ALL);
    let mut rest = client_of(&server, GUEST).await;
    let mut guest_there = Person::join(&server, GUEST, brane).await;
    let own = guest_there.rights().await;
    assert_eq!((own.role, own.verbs), (Role::Builder.into(), Role::Builder.verbs()));
    for _ in 0..2 {
        assert_eq!(guest_there.edit(create()).await, None);
    }
    assert_eq!(
        guest_there
            .submit(Edit::Rule(Box::new(Ruling::Everybody { role: Role::Visitor.into() })))
            .await,
        Some(Code::NotPermitted)
    );

    owner.rule(Ruling::Everybody { role: Role::Visitor.into() }).await;
    let own = guest_there.rights().await;
    assert_eq!((own.role, own.verbs), (Role::Visitor.into(), Verbs::NONE));
    let batch = Edit::Batch(vec![create(), create()]);
    for edit in [Edit::One(create()), Edit::One(delete(1)), batch] {
        assert_eq!(guest_there.submit(edit).await, Some(Code::NotPermitted));
    }
    let moved = json!({"op": "move", "t": 1, "position": [1, 2, 3]});
    assert_eq!(by_rest(&mut rest, brane, moved.clone()).await, (200, "not_permitted".to_owned()));

    let id = GrantId::new(Uuid::new_v4());
    let verbs = Verbs::of(&[Verb::Move]);
    let reach = Reach { within: Some(Handle(1)), ..Reach::default() };
    let grant = Ruling::Grant { id, to: guest(), verbs, reach, until_ms: None };
    owner.rule(grant.clone()).await;
    assert_eq!(guest_there.rights().await.grants.len(), 1);
    assert_eq!(guest_there.edit(shift(1)).await, None);
    assert_eq!(guest_there.edit(shift(2)).await, Some(Code::NotPermitted));
    assert_eq!(guest_there.edit(delete(1)).await, Some(Code::NotPermitted));
    assert_eq!(by_rest(&mut rest, brane, moved.clone()).await.1, "");
    owner.rule(Ruling::Revoke { id }).await;
    assert!(guest_there.rights().await.grants.is_empty());
    assert_eq!(guest_there.edit(shift(1)).await, Some(Code::NotPermitted));
    assert_eq!(by_rest(&mut rest, brane, moved).await.1, "not_permitted");
    server.end().await;
}

#[tokio::test]
async fn who_is_banned_is_let_go_of_and_kept_out() {
    let server = TestServer::start().await;
    let brane = server.brane(Visibility::Public).await;
    let mut owner = Person::join(&server, OWNER, brane).await;
    let mut rest = client_of(&server, GUEST).await;
    let mut guest_there = Person::join(&server, GUEST, brane).await;
    owner.rule(Ruling::Ban { user: guest(), ban: Some(Sanction { until_ms: None }) }).await;
    assert_eq!(guest_there.left().await, Some(Code::Banned));
    // The connection goes on, without this brane.
    guest_there.ws.group(guest_there.channel, 9).await;
    assert_eq!(guest_there.ws.error().await.code, Code::NotJoined);
    guest_there.ws.ask_to_join(brane, GUEST).await;
    let error = guest_there.ws.error().await;
    assert_eq!((error.code, error.operation.as_deref()), (Code::Banned, Some("brane.join")));
    let created =
        json!({"op": "create", "id": Uuid::new_v4().to_string(), "parent": 0, "kind": "group"});
    assert_eq!(by_rest(&mut rest, brane, created).await, (403, "banned".to_owned()));
    let path = format!("/api/v1/brane/{brane}/objects");
    let seen = rest.ask("GET", &path, &[("accept", "application/json")], b"").await;
    assert_eq!((seen.status, seen.code()), (403, "banned".to_owned()));

    owner.rule(Ruling::Ban { user: guest(), ban: None }).await;
    guest_there.ws.join(brane, GUEST).await;
    assert_eq!(rest.ask("GET", &path, &[], b"").await.status, 200);
    server.end().await;
}

#[tokio::test]
async fn who_is_muted_says_nothing_and_edits() {
    let server = TestServer::start().await;
    let brane = server.brane(Visibility::Public).await;
    let mut owner = Person::join(&server, OWNER, brane).await;
    let mut guest_there = Person::join(&server, GUEST, brane).await;
    guest_there.rights().await;
    let signal = || {
        let (to, kind, channel) = (Audience::All, "wave".to_owned(), guest_there.channel);
        ClientMessage::People(PeopleRequest::Signal(SignalSend { channel, to, kind, body: None }))
    };
    let signal = signal();
    owner.rule(Ruling::Mute { user: guest(), mute: Some(Sanction { until_ms: None }) }).await;
    assert!(guest_there.rights().await.mute.is_some());
    guest_there.ws.say(&signal).await;
    assert_eq!(guest_there.ws.error().await.code, Code::Muted);
    assert_eq!(guest_there.edit(create()).await, None);
    owner.rule(Ruling::Mute { user: guest(), mute: None }).await;
    assert!(guest_there.rights().await.mute.is_none());
    guest_there.ws.say(&signal).await;
    owner.ws.until(|m| matches!(m, ServerMessage::People(_))).await;
    server.end().await;
}

#[tokio::test]
async fn a_private_brane_is_there_for_who_has_a_role_in_it() {
    let server = TestServer::start().await;
    let brane = server.brane(Visibility::Private).await;
    let mut owner = Person::join(&server, OWNER, brane).await;
    let mut rest = client_of(&server, GUEST).await;
    let mut ws = Ws::welcomed(&server, GUEST).await;
    let record = format!("/api/v1/brane/{brane}");
    ws.ask_to_join(brane, GUEST).await;
    assert_eq!(ws.error().await.code, Code::NotFound);
    assert_eq!(rest.ask("GET", &record, &[], b"").await.status, 404);
    let stranger = json!({"op": "delete", "t": 1, "mode": "subtree"});
    assert_eq!(by_rest(&mut rest, brane, stranger.clone()).await, (404, "not_found".to_owned()));

    let appoint = |role: Option<RoleName>| Ruling::Appoint { user: guest(), role };
    owner.rule(appoint(Some(Role::Editor.into()))).await;
    let channel = ws.join(brane, GUEST).await;
    let mut guest_there = Person { ws, channel, counter: 0 };
    assert_eq!(guest_there.rights().await.role, Role::Editor.into());
    assert_eq!(guest_there.edit(create()).await, Some(Code::NotPermitted));
    assert_eq!(rest.ask("GET", &record, &[], b"").await.status, 200);
    assert_eq!(by_rest(&mut rest, brane, stranger).await, (200, "not_permitted".to_owned()));

    owner.rule(appoint(None)).await;
    assert_eq!(guest_there.left().await, Some(Code::NotFound));
    assert_eq!(rest.ask("GET", &record, &[], b"").await.status, 404);
    server.end().await;
}

#[tokio::test]
async fn rights_outlive_the_server() {
    let server = TestServer::start().await;
    let brane = server.brane(Visibility::Public).await;
    let mut owner = Person::join(&server, OWNER, brane).await;
    owner.rule(Ruling::Everybody { role: Role::Visitor.into() }).await;
    owner.rule(Ruling::Appoint { user: guest(), role: Some(Role::Editor.into()) }).await;
    drop(owner);
    let disk = server.disk.clone();
    server.end().await;
    let server = TestServer::again(&disk).await;
    let mut guest_there = Person::join(&server, GUEST, brane).await;
    assert_eq!(guest_there.rights().await.role, Role::Editor.into());
    let mut other = Person::join(&server, 3, brane).await;
    assert_eq!(other.rights().await.role, Role::Visitor.into());
    assert_eq!(other.edit(create()).await, Some(Code::NotPermitted));
    server.end().await;
}

/// Asks again and again until the answer is what is waited for.
async fn until(rest: &mut Client, path: &str, wanted: impl Fn(&Json) -> bool) -> Json {
    let asking = async {
        loop {
            let (status, body) = rest.json("GET", path, None).await;
            match status {
                200 if wanted(&body) => return body,
                200 | 429 => tokio::task::yield_now().await,
                _ => panic!("{status}: {body}"),
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), asking).await.unwrap()
}

fn ids(listing: &Json) -> Vec<String> {
    let branes = listing["branes"].as_array().unwrap();
    branes.iter().map(|brane| brane["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn who_changed_which_right_is_kept() {
    let server = TestServer::start().await;
    let brane = server.brane(Visibility::Public).await;
    let mut owner = Person::join(&server, OWNER, brane).await;
    owner.rule(Ruling::Everybody { role: Role::Visitor.into() }).await;
    owner.rule(Ruling::Appoint { user: guest(), role: Some(Role::Editor.into()) }).await;
    owner.rule(Ruling::Ban { user: guest(), ban: Some(Sanction { until_ms: None }) }).await;
    let path = format!("/api/v1/brane/{brane}/rulings");
    let mut rest = client_of(&server, OWNER).await;
    let all = until(&mut rest, &path, |page| page["rulings"].as_array().unwrap().len() == 3).await;
    let changed = |nth: usize, field: &str| all["rulings"][nth][field].clone();
    assert_eq!(changed(0, "before"), json!({"role": "editor"}));
    assert_eq!(changed(0, "after"), json!({"role": "editor", "ban": {}}));
    assert_eq!(changed(1, "user"), json!(guest().to_string()));
    assert_eq!(changed(2, "changed"), json!("everybody"));
    assert!(all.get("next").is_none());

    // Page by page it is the same.
    let (_, first) = rest.json("GET", &format!("{path}?limit=2"), None).await;
    let next = first["next"].as_str().unwrap();
    let (_, rest_of_it) = rest.json("GET", &format!("{path}?limit=2&after={next}"), None).await;
    assert_eq!(first["rulings"], json!([all["rulings"][0], all["rulings"][1]]));
    assert_eq!(rest_of_it["rulings"], json!([all["rulings"][2]]));

    // Nobody else is told.
    let mut other = client_of(&server, 3).await;
    let (status, refused) = other.json("GET", &path, None).await;
    assert_eq!((status, &refused["code"]), (403, &json!("forbidden")));
    server.end().await;
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// Also where several may rule, and whichever way they do.
#[tokio::test]
async fn a_ruling_has_the_name_of_who_made_it_and_the_time() {
    let server = TestServer::start().await;
    let brane = server.brane(Visibility::Public).await;
    let mut owner = Person::join(&server, OWNER, brane).await;
    let mut deputy = Person::join(&server, GUEST, brane).await;
    let began_ms = unix_ms();
    owner.rule(Ruling::Appoint { user: guest(), role: Some(Role::Owner.into()) }).await;
    let between_ms = unix_ms();
    deputy.rule(Ruling::Everybody { role: Role::Visitor.into() }).await;
    let mut rest = client_of(&server, GUEST).await;
    let (status, code) =
        by_rest(&mut rest, brane, json!({"op": "everybody", "role": "editor"})).await;
    assert_eq!((status, code.as_str()), (200, ""));
    let ended_ms = unix_ms();

    let path = format!("/api/v1/brane/{brane}/rulings");
    let all = until(&mut rest, &path, |page| page["rulings"].as_array().unwrap().len() == 3).await;
    let rulings = all["rulings"].as_array().unwrap();
    let by: Vec<&str> = rulings.iter().map(|ruling| ruling["by"].as_str().unwrap()).collect();
    let (first, second) = (common::ws::user(OWNER).to_string(), guest().to_string());
    assert_eq!(by, [&second, &second, &first]);
    let at_ms: Vec<u64> = rulings.iter().map(|ruling| ruling["at_ms"].as_u64().unwrap()).collect();
    assert!((began_ms..=between_ms).contains(&at_ms[2]), "{began_ms} {between_ms} {at_ms:?}");
    for at_ms in &at_ms[..2] {
        assert!((between_ms..=ended_ms).contains(at_ms), "{between_ms} {ended_ms} {at_ms}");
    }

    // The brane itself says the same of the last ones, the oldest first.
    let (_, rights) = rest.json("GET", &format!("/api/v1/brane/{brane}/rights"), None).await;
    let mut last = rights["table"]["rulings"].as_array().unwrap().clone();
    last.reverse();
    assert_eq!(&last, rulings);
    server.end().await;
}

#[tokio::test]
async fn listings_show_the_private_branes_in_which_one_has_a_role() {
    let server = TestServer::start().await;
    let private = server.brane(Visibility::Private).await;
    let public = server.brane(Visibility::Public).await;
    let mut owner = Person::join(&server, OWNER, private).await;
    let mut rest = client_of(&server, GUEST).await;
    let has = |id: BraneId| move |page: &Json| ids(page).contains(&id.to_string());
    let (_, before) = rest.json("GET", "/api/v1/brane", None).await;
    assert!(has(public)(&before) && !has(private)(&before));
    let appoint = |role| Ruling::Appoint { user: guest(), role };
    owner.rule(appoint(Some(Role::Visitor.into()))).await;
    until(&mut rest, "/api/v1/brane", has(private)).await;
    owner.rule(appoint(None)).await;
    until(&mut rest, "/api/v1/brane", |page| !has(private)(page)).await;
    server.end().await;
}
