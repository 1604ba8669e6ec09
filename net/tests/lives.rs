//! What becomes of a brane: changes of its record, archives, deletion.

#![allow(clippy::unwrap_used)]

mod common;

use avvy_model::{BraneId, Code, Edit, Role, Ruling, Visibility};
use avvy_net::NetConfig;
use avvy_protocol::{BraneChanged, ServerMessage};
use common::ws::{Ws, user};
use common::{Answer, Client, TestServer};
use serde_json::{Value as Json, json};

const JSON: (&str, &str) = ("content-type", "application/json");

/// A client of this user's, whose token allows this.
async fn client(server: &TestServer, id: u128, ceiling: Role) -> Client {
    let mut client = server.client().await;
    client.token = Some(server.token_for(id, ceiling, 1_000));
    client
}

/// Changes a brane of any version.
async fn patch(client: &mut Client, brane: BraneId, body: Json) -> Answer {
    let path = format!("/api/v1/brane/{brane}");
    client.ask("PATCH", &path, &[JSON, ("if-match", "*")], body.to_string().as_bytes()).await
}

/// Asks for what takes no body.
async fn ask(client: &mut Client, method: &str, path: &str) -> Answer {
    client.ask(method, &format!("/api/v1{path}"), &[("accept", "application/json")], b"").await
}

fn told(answer: &Answer) -> (u16, String) {
    (answer.status, if answer.status < 400 { String::new() } else { answer.code() })
}

async fn changed(ws: &mut Ws) -> BraneChanged {
    match ws.until(|m| matches!(m, ServerMessage::Changed(_) | ServerMessage::Left { .. })).await {
        ServerMessage::Changed(changed) => *changed,
        other => panic!("{other:?}"),
    }
}

async fn left(ws: &mut Ws) -> Option<Code> {
    match ws.until(|m| matches!(m, ServerMessage::Left { .. })).await {
        ServerMessage::Left { code, .. } => code,
        _ => unreachable!(),
    }
}

async fn found(client: &mut Client, words: &str) -> usize {
    let answer = ask(client, "GET", &format!("/entity/search?q={words}&kind=brane")).await;
    answer.as_json()["things"].as_array().unwrap().len()
}

#[tokio::test]
async fn of_two_who_change_one_version_one_does() {
    let server = TestServer::start().await;
    let brane = server.brane(Visibility::Public).await;
    let (mut one, mut other) = (server.client().await, server.client().await);
    let path = format!("/api/v1/brane/{brane}");
    let answer = one.ask("PATCH", &path, &[JSON], b"{}").await;
    assert_eq!(told(&answer), (428, "precondition_required".to_owned()));
    let tag = one.ask("GET", &path, &[], b"").await.header("etag").unwrap().to_owned();
    let body = json!({"name": "Hall", "description": "two\nlines", "tags": ["a", "b"]}).to_string();
    let headers = [JSON, ("accept", "application/json"), ("if-match", tag.as_str())];
    let answer = one.ask("PATCH", &path, &headers, body.as_bytes()).await;
    let shown = answer.as_json();
    assert_eq!(
        (answer.status, &shown["name"], &shown["version"]),
        (200, &json!("Hall"), &json!(2))
    );
    assert_eq!((&shown["tags"], &shown["life"]), (&json!(["a", "b"]), &json!("active")));
    assert_ne!(answer.header("etag"), Some(tag.as_str()));
    let answer = other.ask("PATCH", &path, &headers, br#"{"name": "Shed"}"#).await;
    assert_eq!(told(&answer), (412, "precondition_failed".to_owned()));
    // What is not said stays, and nothing changed is no version.
    assert_eq!(patch(&mut other, brane, json!({"name": "Hall"})).await.status, 200);
    let again = other.ask("GET", &path, &[("accept", "application/json")], b"").await.as_json();
    assert_eq!(again, shown);
    for bad in [
        json!({"name": ""}),
        json!({"name": "a\nb"}),
        json!({"tags": ["two words"]}),
        json!({"description": "\r"}),
        json!({"kind": "castle"}),
        json!({"visibility": "secret"}),
    ] {
        let answer = patch(&mut other, brane, bad.clone()).await;
        assert_eq!(told(&answer), (400, "malformed".to_owned()), "{bad}");
    }
    server.end().await;
}

#[tokio::test]
async fn who_may_not_see_it_any_more_leaves() {
    let server = TestServer::start().await;
    let brane = server.brane(Visibility::Public).await;
    let mut owner = Ws::welcomed(&server, 1).await;
    let channel = owner.join(brane, 1).await;
    let mut builder = Ws::welcomed(&server, 2).await;
    builder.join(brane, 2).await;
    let mut stranger = Ws::welcomed(&server, 3).await;
    stranger.join(brane, 3).await;
    let appointed = Ruling::Appoint { user: user(2), role: Some(Role::Builder.into()) };
    owner.submit(channel, 1, Edit::Rule(Box::new(appointed))).await;
    owner.until(|m| matches!(m, ServerMessage::Applied { .. })).await;

    let mut rest = server.client().await;
    assert_eq!(patch(&mut rest, brane, json!({"name": "Quiet hall"})).await.status, 200);
    for ws in [&mut owner, &mut builder, &mut stranger] {
        let told = changed(ws).await;
        assert_eq!((told.name.as_str(), told.version), ("Quiet hall", 2));
    }
    assert_eq!(found(&mut rest, "quiet").await, 1);
    assert_eq!(patch(&mut rest, brane, json!({"visibility": "private"})).await.status, 200);
    assert_eq!(left(&mut stranger).await, Some(Code::NotFound));
    for ws in [&mut owner, &mut builder] {
        assert_eq!(changed(ws).await.visibility, Visibility::Private);
    }
    assert_eq!(found(&mut rest, "quiet").await, 0);
    stranger.ask_to_join(brane, 3).await;
    assert_eq!(stranger.error().await.code, Code::NotFound);
    let mut outside = client(&server, 3, Role::Owner).await;
    let answer = ask(&mut outside, "GET", &format!("/brane/{brane}")).await;
    assert_eq!(answer.status, 404);
    // Those who are let in again are.
    assert_eq!(patch(&mut rest, brane, json!({"visibility": "unlisted"})).await.status, 200);
    stranger.join(brane, 3).await;
    assert_eq!(server.system.status().await.unwrap().branes[0].visibility, Visibility::Unlisted);
    server.end().await;
}

#[tokio::test]
async fn an_archived_brane_is_kept_and_closed() {
    let server = TestServer::start().await;
    let brane = server.brane(Visibility::Public).await;
    let next = server.brane(Visibility::Public).await;
    let mut ws = Ws::welcomed(&server, 2).await;
    let channel = ws.join(brane, 2).await;
    ws.group(channel, 1).await;
    ws.until(|m| matches!(m, ServerMessage::Applied { .. })).await;
    let mut rest = server.client().await;
    let path = format!("/api/v1/brane/{brane}/archive");
    for successor in [brane.to_string(), "00000000-0000-4000-8000-000000000009".to_owned()] {
        let body = json!({"successor": successor}).to_string();
        let answer = rest.ask("POST", &path, &[JSON], body.as_bytes()).await;
        assert_eq!(told(&answer), (400, "malformed".to_owned()));
    }
    let body = json!({"successor": next.to_string()}).to_string();
    for _ in 0..2 {
        let headers = [JSON, ("accept", "application/json")];
        let answer = rest.ask("POST", &path, &headers, body.as_bytes()).await;
        let shown = answer.as_json();
        assert_eq!((answer.status, &shown["life"]), (200, &json!("archived")), "{shown}");
        assert_eq!((&shown["successor"], &shown["version"]), (&json!(next.to_string()), &json!(2)));
    }
    assert_eq!(left(&mut ws).await, Some(Code::BraneArchived));
    ws.ask_to_join(brane, 2).await;
    assert_eq!(ws.error().await.code, Code::BraneArchived);
    let gone = (410, "brane_archived".to_owned());
    let mut other = client(&server, 2, Role::Owner).await;
    for part in ["objects", "rights"] {
        assert_eq!(told(&ask(&mut other, "GET", &format!("/brane/{brane}/{part}")).await), gone);
    }
    assert_eq!(told(&patch(&mut rest, brane, json!({"name": "x"})).await), gone);
    let shown = ask(&mut other, "GET", &format!("/brane/{brane}")).await;
    assert_eq!(shown.as_json()["life"], json!("archived"));
    assert_eq!(found(&mut rest, "test").await, 0);
    let restored = ask(&mut rest, "POST", &format!("/brane/{brane}/restore")).await.as_json();
    assert_eq!((&restored["life"], restored.get("since")), (&json!("active"), None));
    ws.join(brane, 2).await;
    let page = ask(&mut other, "GET", &format!("/brane/{brane}/objects")).await.as_json();
    assert_eq!(page["objects"].as_array().unwrap().len(), 2, "what was built is there");
    assert_eq!(found(&mut rest, "test").await, 1);
    server.end().await;
}

#[tokio::test]
async fn a_deleted_brane_is_there_for_its_owner_until_it_is_purged() {
    let server = TestServer::with_sessions(|system| {
        (system.restorable_ms, system.max_branes_per_user) = (0, 2);
    })
    .await;
    let brane = server.brane(Visibility::Public).await;
    let mut ws = Ws::welcomed(&server, 2).await;
    ws.join(brane, 2).await;
    let (mut rest, mut other) = (server.client().await, client(&server, 2, Role::Owner).await);
    let path = format!("/brane/{brane}");
    assert_eq!(told(&ask(&mut other, "DELETE", &path).await), (403, "forbidden".to_owned()));
    let deleted = ask(&mut rest, "DELETE", &path).await.as_json();
    assert_eq!(deleted["life"], json!("deleted"));
    assert_eq!(deleted["since"], deleted["purge_from"]);
    assert_eq!(left(&mut ws).await, Some(Code::BraneDeleted));
    ws.ask_to_join(brane, 2).await;
    assert_eq!(ws.error().await.code, Code::NotFound);
    assert_eq!(ask(&mut other, "GET", &path).await.status, 404);
    assert_eq!(ask(&mut rest, "GET", &path).await.as_json()["life"], json!("deleted"));
    assert_eq!(found(&mut rest, "test").await, 0);
    // It takes room again only when it is restored.
    server.brane(Visibility::Public).await;
    let last = server.brane(Visibility::Public).await;
    let restore = format!("{path}/restore");
    let answer = ask(&mut rest, "POST", &restore).await;
    assert_eq!(told(&answer), (409, "too_many_branes".to_owned()));
    assert_eq!(ask(&mut rest, "DELETE", &format!("/brane/{last}")).await.status, 200);
    assert_eq!(ask(&mut rest, "POST", &restore).await.status, 200);
    ws.join(brane, 2).await;

    assert_eq!(ask(&mut rest, "DELETE", &path).await.status, 200);
    assert_eq!(left(&mut ws).await, Some(Code::BraneDeleted));
    server.store.purge_brane(brane, u64::MAX >> 1).await.unwrap();
    for (method, path) in [("GET", &path), ("POST", &restore), ("DELETE", &path)] {
        assert_eq!(told(&ask(&mut rest, method, path).await), (404, "not_found".to_owned()));
    }
    let again = json!({"id": brane.to_string(), "name": "test"}).to_string();
    let answer = rest.ask("POST", "/api/v1/brane", &[JSON], again.as_bytes()).await;
    assert_eq!(told(&answer), (409, "exists".to_owned()), "the id is never given out again");
    server.end().await;
}

/// Nobody needs to have kept the ids of what is to be restored.
#[tokio::test]
async fn owners_find_what_they_archived_and_deleted() {
    let server = TestServer::start().await;
    let (mut owner, mut other) = (server.client().await, client(&server, 2, Role::Owner).await);
    let mut expected = [Vec::new(), Vec::new(), Vec::new()];
    for nth in 0..9 {
        let brane = server.brane(Visibility::Public).await.to_string();
        let (method, end) = [("GET", ""), ("POST", "/archive"), ("DELETE", "")][nth % 3];
        let answer = ask(&mut owner, method, &format!("/brane/{brane}{end}")).await;
        assert_eq!(answer.status, 200);
        expected[nth % 3].push(brane);
    }
    expected.iter_mut().for_each(|ids| ids.sort());
    let [active, archived, deleted] = expected;
    for (query, expected) in [
        ("", &active),
        ("&state=active", &active),
        ("&state=archived", &archived),
        ("&state=deleted", &deleted),
    ] {
        let (found, pages) = listed(&mut owner, query).await;
        assert_eq!((&found, pages), (expected, 2), "{query}");
        let (found, _) = listed(&mut other, query).await;
        assert_eq!(found.len(), if expected == &active { 3 } else { 0 }, "{query}");
    }
    let refused = ask(&mut owner, "GET", "/brane?state=purged").await;
    assert_eq!(told(&refused), (400, "malformed".to_owned()));

    // What is listed is what can be restored; who has read a page goes on from there.
    let page = ask(&mut owner, "GET", "/brane?state=deleted&limit=1").await.as_json();
    let first = &page["branes"][0];
    assert_eq!((&first["id"], &first["life"]), (&json!(deleted[0]), &json!("deleted")));
    assert!(first["purge_from"].is_u64(), "{first}");
    let restore = format!("/brane/{}/restore", deleted[0]);
    assert_eq!(ask(&mut owner, "POST", &restore).await.status, 200);
    let next = page["next"].as_str().unwrap();
    let path = format!("/brane?state=deleted&after={next}");
    let rest = ask(&mut owner, "GET", &path).await.as_json();
    assert_eq!(ids(&rest), deleted[1..], "nothing is passed over");
    server.end().await;
}

fn ids(page: &Json) -> Vec<String> {
    let branes = page["branes"].as_array().unwrap().iter();
    branes.map(|brane| brane["id"].as_str().unwrap().to_owned()).collect()
}

/// The ids of a listing, and in how many pages they came.
async fn listed(client: &mut Client, query: &str) -> (Vec<String>, usize) {
    let (mut found, mut pages, mut after) = (Vec::new(), 0, String::new());
    loop {
        let path = format!("/brane?limit=2{query}{after}");
        let page = ask(client, "GET", &path).await.as_json();
        found.extend(ids(&page));
        pages += 1;
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return (found, pages),
        }
    }
}

/// Whoever is shown what has become of a brane is told why it does not change.
#[tokio::test]
async fn a_change_of_what_is_closed_is_answered_as_it_is_shown() {
    let server = TestServer::start().await;
    let brane = server.brane(Visibility::Private).await;
    let (mut owner, mut other) = (server.client().await, client(&server, 2, Role::Owner).await);
    let path = format!("/brane/{brane}");
    for (method, end, code) in
        [("POST", "/archive", "brane_archived"), ("DELETE", "", "brane_deleted")]
    {
        assert_eq!(ask(&mut owner, method, &format!("{path}{end}")).await.status, 200);
        let answer = patch(&mut owner, brane, json!({"name": "Hall"})).await;
        assert_eq!(told(&answer), (410, code.to_owned()));
        let answer = patch(&mut other, brane, json!({"name": "Hall"})).await;
        assert_eq!(told(&answer), (404, "not_found".to_owned()));
    }
    server.end().await;
}

/// What each role, under each ceiling, may do to a brane's record.
#[tokio::test]
async fn roles_and_tokens_say_who_changes_a_brane() {
    let server = TestServer::start().await;
    let brane = server.brane(Visibility::Public).await;
    let mut owner = Ws::welcomed(&server, 1).await;
    let channel = owner.join(brane, 1).await;
    let roles = [(10, Role::Visitor), (11, Role::Editor), (12, Role::Builder), (13, Role::Owner)];
    for (counter, (id, role)) in (1..).zip(roles) {
        let appointed = Ruling::Appoint { user: user(id), role: Some(role.into()) };
        owner.submit(channel, counter, Edit::Rule(Box::new(appointed))).await;
        owner.until(|m| matches!(m, ServerMessage::Applied { .. })).await;
    }
    for (id, role) in roles.into_iter().chain([(1, Role::Owner)]) {
        for ceiling in Role::ALL {
            let mut who = client(&server, id, ceiling).await;
            let may_say = role == Role::Owner && ceiling == Role::Owner;
            let is_owner = id == 1 && ceiling == Role::Owner;
            let status = |may: bool| if may { 200 } else { 403 };
            let what = format!("{id} {role:?} {ceiling:?}");
            let said = patch(&mut who, brane, json!({"description": what.clone()})).await;
            assert_eq!(said.status, status(may_say), "a description by {what}");
            for seen in [json!({"visibility": "public"}), json!({"kind": "showcase"})] {
                let answer = patch(&mut who, brane, seen).await;
                assert_eq!(answer.status, status(is_owner), "who sees it by {what}");
            }
            for (method, part) in [("POST", "/archive"), ("POST", "/restore"), ("DELETE", "")] {
                let answer = ask(&mut who, method, &format!("/brane/{brane}{part}")).await;
                assert_eq!(answer.status, status(is_owner), "{method} {part} by {what}");
            }
            if is_owner {
                let restored = ask(&mut who, "POST", &format!("/brane/{brane}/restore")).await;
                assert_eq!(restored.status, 200);
            }
        }
    }
    server.end().await;
}

/// Whatever its owner does with it.
#[tokio::test]
async fn what_an_operator_archived_only_an_operator_opens() {
    let admin = "0123456789abcdef0123456789abcdef".to_owned();
    let config = NetConfig { admin_token: Some(admin.clone()), ..NetConfig::default() };
    let server = TestServer::with(config).await;
    let (brane, next) =
        (server.brane(Visibility::Public).await, server.brane(Visibility::Public).await);
    let (mut owner, mut operator) = (server.client().await, server.client().await);
    operator.token = None;
    let headers = [("accept", "application/json"), ("x-admin-token", admin.as_str())];
    let mut operate = async |what: &str| {
        let path = format!("/api/v1/admin/brane/{brane}/{what}");
        operator.ask("POST", &path, &headers, b"").await.as_json()
    };
    let path = format!("/brane/{brane}");
    let [archive, restore] = ["archive", "restore"].map(|what| format!("{path}/{what}"));

    let archived = ask(&mut owner, "POST", &archive).await.as_json();
    assert_eq!((&archived["life"], archived.get("by_operator")), (&json!("archived"), None));
    let closed = operate("archive").await;
    assert_eq!((&closed["by_operator"], &closed["version"]), (&json!(true), &json!(3)));
    assert_eq!(closed["since"], archived["since"]);
    let refused = (403, "archived_by_operator".to_owned());
    for path in [&archive, &restore] {
        assert_eq!(told(&ask(&mut owner, "POST", path).await), refused);
    }
    let successor = json!({"successor": next.to_string()}).to_string();
    let path_of_archive = format!("/api/v1{archive}");
    let named = owner.ask("POST", &path_of_archive, &[JSON], successor.as_bytes()).await;
    assert_eq!(told(&named), refused);
    assert_eq!(ask(&mut owner, "GET", &path).await.as_json(), closed, "its owner sees by whom");

    // It can be deleted, and comes back by an operator alone.
    let deleted = ask(&mut owner, "DELETE", &path).await.as_json();
    assert_eq!((&deleted["life"], &deleted["by_operator"]), (&json!("deleted"), &json!(true)));
    assert_eq!(told(&ask(&mut owner, "POST", &restore).await), refused);
    let restored = operate("restore").await;
    assert_eq!((&restored["life"], restored.get("by_operator")), (&json!("active"), None));
    for path in [&archive, &restore] {
        assert_eq!(ask(&mut owner, "POST", path).await.status, 200);
    }
    server.end().await;
}

/// Operators see every brane, and can close one and open it again.
#[tokio::test]
async fn operators_close_what_is_not_theirs() {
    let admin = "0123456789abcdef0123456789abcdef".to_owned();
    let config = NetConfig { admin_token: Some(admin.clone()), ..NetConfig::default() };
    let server = TestServer::with(config).await;
    let brane = server.brane(Visibility::Private).await;
    let mut ws = Ws::welcomed(&server, 1).await;
    ws.join(brane, 1).await;
    let mut operator = server.client().await;
    operator.token = None;
    let path = format!("/api/v1/admin/brane/{brane}");
    let answer = operator.ask("GET", &path, &[], b"").await;
    assert_eq!(told(&answer), (401, "not_authenticated".to_owned()));
    let headers = [("accept", "application/json"), ("x-admin-token", admin.as_str())];
    let life = |answer: Answer| (answer.status, answer.as_json()["life"].clone());
    let seen = life(operator.ask("GET", &path, &headers, b"").await);
    assert_eq!(seen, (200, json!("active")));
    let archived = operator.ask("POST", &format!("{path}/archive"), &headers, b"").await;
    assert_eq!(life(archived), (200, json!("archived")));
    assert_eq!(left(&mut ws).await, Some(Code::BraneArchived));
    let mut owner = server.client().await;
    assert_eq!(ask(&mut owner, "DELETE", &format!("/brane/{brane}")).await.status, 200);
    server.store.purge_brane(brane, u64::MAX >> 1).await.unwrap();
    let seen = life(operator.ask("GET", &path, &headers, b"").await);
    assert_eq!(seen, (200, json!("purged")));
    let restored = operator.ask("POST", &format!("{path}/restore"), &headers, b"").await;
    assert_eq!(told(&restored), (404, "not_found".to_owned()));
    server.end().await;
}
