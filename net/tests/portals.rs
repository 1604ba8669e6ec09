//! Portals over a real server: what makes them, what is shown of them, and
//! where they lead for whom.

#![allow(clippy::unwrap_used)]

mod common;

use avvy_actors::{BraneRecord, Life};
use avvy_model::{BraneId, Role, Visibility};
use avvy_protocol::{FlushItem, ServerMessage, WireChange};
use common::ws::Ws;
use common::{Client, TestServer};
use serde_json::{Value as Json, json};
use uuid::Uuid;

const OWNER: u128 = 1;
const GUEST: u128 = 2;

/// So many metres along x.
fn at(x: f64) -> Json {
    json!([1., 0., 0., x, 0., 1., 0., 0., 0., 0., 1., 0., 0., 0., 0., 1.])
}

fn path(brane: BraneId) -> String {
    format!("/api/v1/brane/{brane}/portals")
}

async fn as_user(server: &TestServer, user: u128) -> Client {
    let mut client = server.client().await;
    client.token = Some(server.token_for(user, Role::Owner, 1_000));
    client
}

/// Makes a portal; gives its id and that of its exit.
async fn make(client: &mut Client, brane: BraneId, body: Json) -> (String, Json) {
    let (status, made) = client.json("POST", &path(brane), Some(body)).await;
    assert_eq!(status, 201, "{made}");
    (made["id"].as_str().unwrap().to_owned(), made["exit"].clone())
}

async fn way(client: &mut Client, brane: BraneId, portal: &str) -> Json {
    let (status, way) = client.json("GET", &format!("{}/{portal}", path(brane)), None).await;
    assert_eq!(status, 200, "{way}");
    way
}

/// How many objects there are, the root included.
async fn count(client: &mut Client, brane: BraneId) -> usize {
    let (_, page) = client.json("GET", &format!("/api/v1/brane/{brane}/objects"), None).await;
    page["objects"].as_array().unwrap().len()
}

/// An edit of the rights or of an object, which is taken.
async fn edit(client: &mut Client, brane: BraneId, mut edit: Json) {
    edit["n"] = json!(1);
    let body = json!({"client": Uuid::new_v4().to_string(), "edits": [edit]});
    let path = format!("/api/v1/brane/{brane}/edits");
    let (_, answer) = client.json("POST", &path, Some(body)).await;
    assert!(answer["outcomes"][0]["seq"].is_u64(), "{answer}");
}

#[tokio::test]
async fn a_two_way_portal_leads_there_and_back() {
    let server = TestServer::start().await;
    let (hall, yard) =
        (server.brane(Visibility::Public).await, server.brane(Visibility::Public).await);
    let mut viewer = Ws::welcomed(&server, GUEST).await;
    viewer.join(yard, GUEST).await;
    let mut client = as_user(&server, GUEST).await;
    let to = json!({"brane": yard.to_string(), "transform": at(7.), "props": {"lit": true}});
    let asked = json!({"transform": at(2.), "to": to, "two_way": true});
    let (portal, exit) = make(&mut client, hall, asked).await;
    let exit = exit.as_str().unwrap().to_owned();

    // Those who are there see it like any edit.
    let flush = viewer.until(|message| matches!(message, ServerMessage::Flush(_))).await;
    let ServerMessage::Flush(flush) = flush else { panic!("{flush:?}") };
    let [FlushItem::Event(event)] = flush.items.as_slice() else { panic!("{flush:?}") };
    assert!(matches!(event.changes.as_slice(), [WireChange::Created(_)]), "{event:?}");

    let there = way(&mut client, hall, &portal).await;
    let expected = json!({"state": "open", "brane": yard.to_string(), "exit": exit,
        "transform": at(7.), "way": "two"});
    assert_eq!(there, expected);
    let back = way(&mut client, yard, &exit).await;
    let expected = json!({"state": "open", "brane": hall.to_string(), "exit": portal,
        "transform": at(2.), "way": "two"});
    assert_eq!(back, expected);
    let (_, listed) = client.json("GET", &path(yard), None).await;
    let one = json!({"handle": 1, "id": exit, "to": hall.to_string(), "exit": portal,
        "transform": at(7.)});
    assert_eq!(listed, json!({"portals": [one]}));

    // It is one-way as soon as the way back leads elsewhere.
    let elsewhere = json!({"op": "update", "t": 1, "set": {"portal": yard.to_string()}});
    edit(&mut client, yard, elsewhere).await;
    assert_eq!(way(&mut client, hall, &portal).await["way"], json!("one"));
    edit(&mut client, yard, json!({"op": "delete", "t": 1, "mode": "subtree"})).await;
    let without = way(&mut client, hall, &portal).await;
    assert_eq!(without, json!({"state": "open", "brane": yard.to_string(), "way": "one"}));
    server.end().await;
}

#[tokio::test]
async fn an_exit_stands_where_its_groups_put_it() {
    let server = TestServer::start().await;
    let hall = server.brane(Visibility::Public).await;
    let mut client = as_user(&server, GUEST).await;
    let group = Uuid::new_v4().to_string();
    let create =
        json!({"op": "create", "id": group, "parent": 0, "kind": "group", "transform": at(10.)});
    edit(&mut client, hall, create).await;
    let to = json!({"brane": hall.to_string(), "parent": group, "transform": at(3.)});
    let (portal, exit) = make(&mut client, hall, json!({"to": to})).await;
    let found = way(&mut client, hall, &portal).await;
    assert_eq!((&found["exit"], &found["transform"]), (&exit, &at(13.)));
    // Nothing there leads back, and the exit is no portal.
    assert_eq!(found["way"], json!("one"));
    let (_, listed) = client.json("GET", &path(hall), None).await;
    assert_eq!(listed["portals"].as_array().unwrap().len(), 1);
    let none = client.ask("GET", &format!("{}/{group}", path(hall)), &[], b"").await;
    assert_eq!((none.status, none.code().as_str()), (404, "object_not_found"));
    server.end().await;
}

#[tokio::test]
async fn portals_are_listed_page_by_page() {
    let server = TestServer::start().await;
    let hall = server.brane(Visibility::Public).await;
    let mut client = as_user(&server, GUEST).await;
    let mut made = Vec::new();
    for _ in 0..5 {
        let to = json!({"to": {"brane": Uuid::new_v4().to_string()}});
        made.push(make(&mut client, hall, to).await.0);
    }
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let (_, page) = client.json("GET", &format!("{}?limit=2{after}", path(hall)), None).await;
        let portals = page["portals"].as_array().unwrap();
        assert!(portals.len() <= 2);
        found.extend(portals.iter().map(|portal| portal["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_u64() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(found, made);
    server.end().await;
}

/// Whether a brane is there is not told to who may not see it.
#[tokio::test]
async fn a_private_brane_looks_like_none() {
    let server = TestServer::start().await;
    let (hall, study) =
        (server.brane(Visibility::Public).await, server.brane(Visibility::Private).await);
    let nothing = Uuid::new_v4().to_string();
    let mut owner = as_user(&server, OWNER).await;
    let mut guest = as_user(&server, GUEST).await;
    let to = json!({"brane": study.to_string(), "transform": at(1.)});
    let (portal, _) = make(&mut owner, hall, json!({"to": to, "two_way": true})).await;
    let (dead, _) = make(&mut owner, hall, json!({"to": {"brane": nothing}})).await;
    assert_eq!(way(&mut owner, hall, &portal).await["state"], json!("open"));
    assert_eq!(way(&mut owner, hall, &dead).await, json!({"state": "closed", "brane": nothing}));
    let closed = json!({"state": "closed", "brane": study.to_string()});
    assert_eq!(way(&mut guest, hall, &portal).await, closed);

    // Whoever has a role there may know, and who is banned may not any more.
    let guest_id = common::ws::user(GUEST).to_string();
    edit(&mut owner, study, json!({"op": "appoint", "user": guest_id, "role": "visitor"})).await;
    assert_eq!(way(&mut guest, hall, &portal).await["state"], json!("open"));
    edit(&mut owner, study, json!({"op": "ban", "user": guest_id})).await;
    assert_eq!(way(&mut guest, hall, &portal).await, closed);
    server.end().await;
}

#[tokio::test]
async fn it_takes_a_right_at_both_ends_and_leaves_nothing_half() {
    let server = TestServer::start().await;
    let (hall, yard) =
        (server.brane(Visibility::Public).await, server.brane(Visibility::Public).await);
    let mut owner = as_user(&server, OWNER).await;
    let mut guest = as_user(&server, GUEST).await;
    let asked = |to: BraneId| json!({"to": {"brane": to.to_string(), "transform": at(1.)}, "two_way": true});
    edit(&mut owner, yard, json!({"op": "everybody", "role": "editor"})).await;
    for (here, there) in [(hall, yard), (yard, hall)] {
        let (status, refused) = guest.json("POST", &path(here), Some(asked(there))).await;
        assert_eq!((status, &refused["code"]), (403, &json!("not_permitted")), "{refused}");
        assert_eq!((count(&mut guest, hall).await, count(&mut guest, yard).await), (1, 1));
    }
    let private = server.brane(Visibility::Private).await;
    let (status, refused) = guest.json("POST", &path(hall), Some(asked(private))).await;
    assert_eq!((status, &refused["code"]), (404, &json!("not_found")));
    let (status, _) = guest.json("POST", &path(private), Some(asked(hall))).await;
    assert_eq!((status, count(&mut guest, hall).await), (404, 1));

    // A token that changes nothing makes no portal.
    guest.token = Some(server.token_for(GUEST, Role::Visitor, 1_000));
    let (status, refused) = guest.json("POST", &path(hall), Some(asked(hall))).await;
    assert_eq!((status, &refused["code"]), (403, &json!("forbidden")));
    server.end().await;
}

/// A brane of the owner's that was archived.
async fn archived(
    server: &TestServer,
    visibility: Visibility,
    successor: Option<BraneId>,
) -> BraneId {
    let id = BraneId::new(Uuid::new_v4());
    archived_as(server, id, visibility, successor).await;
    id
}

async fn archived_as(
    server: &TestServer,
    id: BraneId,
    visibility: Visibility,
    successor: Option<BraneId>,
) {
    let life = Life::Archived { since_ms: 1, successor };
    let record = BraneRecord::new(id, common::ws::user(OWNER), 1);
    server.system.create_brane(BraneRecord { visibility, life, ..record }).await.unwrap();
}

/// After a brane is archived a portal leads to what has succeeded it, and says
/// of the end of the row no more than its record does.
#[tokio::test]
async fn a_portal_leads_on_from_an_archived_brane() {
    let server = TestServer::start().await;
    let (hall, yard) =
        (server.brane(Visibility::Public).await, server.brane(Visibility::Public).await);
    let public = archived(&server, Visibility::Public, None).await;
    let private = archived(&server, Visibility::Private, None).await;
    let moved = archived(&server, Visibility::Private, Some(yard)).await;
    let mut row = yard;
    let mut ends = Vec::new();
    for _ in 0..5 {
        row = archived(&server, Visibility::Public, Some(row)).await;
        ends.push(row);
    }
    let (one, two) = (BraneId::new(Uuid::new_v4()), BraneId::new(Uuid::new_v4()));
    archived_as(&server, one, Visibility::Public, Some(two)).await;
    archived_as(&server, two, Visibility::Public, Some(one)).await;

    let mut owner = as_user(&server, OWNER).await;
    let mut guest = as_user(&server, GUEST).await;
    for (to, state, brane, for_guest) in [
        (public, "archived", public, "archived"),
        (private, "archived", private, "closed"),
        (moved, "open", yard, "open"),
        // Four are passed, and not a fifth.
        (ends[3], "open", yard, "open"),
        (ends[4], "archived", ends[0], "archived"),
        (one, "archived", two, "archived"),
    ] {
        let (portal, _) = make(&mut owner, hall, json!({"to": {"brane": to.to_string()}})).await;
        let found = way(&mut owner, hall, &portal).await;
        assert_eq!((&found["state"], &found["brane"]), (&json!(state), &json!(brane.to_string())));
        let found = way(&mut guest, hall, &portal).await;
        assert_eq!(found["state"], json!(for_guest), "{to}");
    }
    server.end().await;
}

/// The same request under one key makes one portal.
#[tokio::test]
async fn a_portal_is_made_once() {
    let server = TestServer::start().await;
    let hall = server.brane(Visibility::Public).await;
    let mut client = as_user(&server, GUEST).await;
    let key = Uuid::new_v4().to_string();
    let body = json!({"to": {"brane": hall.to_string()}, "two_way": true}).to_string();
    let json = "application/json";
    let headers = [("content-type", json), ("accept", json), ("idempotency-key", &key)];
    let first = client.ask("POST", &path(hall), &headers, body.as_bytes()).await;
    let again = client.ask("POST", &path(hall), &headers, body.as_bytes()).await;
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!(first.as_json(), again.as_json());
    assert_eq!(count(&mut client, hall).await, 3);
    server.end().await;
}
