//! Copies of branes over a real server: what is in them, who may make them,
//! and that nothing else comes along.

#![allow(clippy::unwrap_used)]

mod common;

use avvy_actors::{BraneRecord, Life, SystemConfig};
use avvy_model::{BraneId, Role, Visibility};
use avvy_net::NetConfig;
use common::{Client, TestServer};
use serde_json::{Value as Json, json};
use uuid::Uuid;

const OWNER: u128 = 1;
const GUEST: u128 = 2;

async fn as_user(server: &TestServer, user: u128) -> Client {
    let mut client = server.client().await;
    client.token = Some(server.token_for(user, Role::Owner, 1_000));
    client
}

fn path(brane: &str) -> String {
    format!("/api/v1/brane/{brane}")
}

async fn duplicate(client: &mut Client, brane: BraneId, body: Json) -> (u16, Json) {
    client.json("POST", &format!("{}/duplicate", path(&brane.to_string())), Some(body)).await
}

async fn objects(client: &mut Client, brane: &str) -> Vec<Json> {
    let (status, page) = client.json("GET", &format!("{}/objects", path(brane)), None).await;
    assert_eq!(status, 200, "{page}");
    page["objects"].as_array().unwrap().clone()
}

/// Edits that are taken.
async fn edit(client: &mut Client, brane: &str, edits: Vec<Json>) {
    let mut edits = edits;
    for (edit, n) in edits.iter_mut().zip(1..) {
        edit["n"] = json!(n);
    }
    let body = json!({"client": Uuid::new_v4().to_string(), "edits": edits});
    let (_, answer) = client.json("POST", &format!("{}/edits", path(brane)), Some(body)).await;
    let outcomes = answer["outcomes"].as_array().unwrap();
    assert!(outcomes.iter().all(|outcome| outcome["seq"].is_u64()), "{answer}");
}

/// A group that came after what is in it, something attached, and a portal.
async fn furnish(client: &mut Client, brane: BraneId) -> [String; 3] {
    let ids = [0; 3].map(|_| Uuid::new_v4().to_string());
    let [lamp, wall, gate] = &ids;
    let attached = json!({"to": wall, "slot": 2});
    let gate_props = json!({"portal": brane.to_string(), "portal_exit": lamp});
    let edits = vec![
        json!({"op": "create", "id": lamp, "parent": 0, "kind": "block", "props": {"lit": true}}),
        json!({"op": "create", "id": wall, "parent": 0, "kind": "group", "props": {"slots": [2]}}),
        json!({"op": "create", "id": gate, "parent": 0, "kind": "block", "props": gate_props}),
        json!({"op": "reparent", "t": lamp, "parent": wall}),
        json!({"op": "update", "t": gate, "set": {"attached": attached}}),
        json!({"op": "update", "t": 0, "set": {"sky": "red", "cell_size": 50}}),
    ];
    edit(client, &brane.to_string(), edits).await;
    ids
}

#[tokio::test]
async fn a_copy_holds_the_same_and_goes_its_own_way() {
    let server = TestServer::start().await;
    let brane = server.brane(Visibility::Public).await;
    let mut owner = as_user(&server, OWNER).await;
    furnish(&mut owner, brane).await;
    let guest_id = common::ws::user(GUEST).to_string();
    let ban = json!({"op": "ban", "user": guest_id});
    edit(&mut owner, &brane.to_string(), vec![ban]).await;

    let (status, copy) = duplicate(&mut owner, brane, json!({"visibility": "public"})).await;
    assert_eq!(status, 201, "{copy}");
    assert_eq!((&copy["name"], &copy["kind"]), (&json!("test"), &json!("personal")));
    let id = copy["id"].as_str().unwrap();
    assert_eq!(owner.json("GET", &path(id), None).await, (200, copy.clone()));

    let (before, after) =
        (objects(&mut owner, &brane.to_string()).await, objects(&mut owner, id).await);
    assert_eq!((before.len(), after.len()), (4, 4));
    let of = |key: &str| after.iter().find(|object| object["props"].get(key).is_some()).unwrap();
    let (lamp, wall, gate) = (of("lit"), of("slots"), of("portal"));
    assert_eq!(after[0]["id"], json!(id));
    assert_eq!(after[0]["props"], json!({"sky": "red", "cell_size": 50}));
    assert_eq!((&lamp["parent"], &wall["parent"]), (&wall["id"], &json!(id)));
    assert_eq!(gate["props"]["attached"], json!({"to": wall["id"], "slot": 2}));
    assert_eq!(gate["props"]["portal"], json!(id));
    assert_eq!(gate["props"]["portal_exit"], lamp["id"]);
    for object in &after {
        assert!(before.iter().all(|old| old["id"] != object["id"]), "{object}");
        assert_eq!(object["owner"], before[0]["owner"]);
    }

    // Nobody is banned there, and what is done there is done there alone.
    let mut guest = as_user(&server, GUEST).await;
    let create = json!({"op": "create", "id": Uuid::new_v4().to_string(), "parent": 0,
        "kind": "block"});
    edit(&mut guest, id, vec![create]).await;
    let counts =
        (objects(&mut owner, id).await.len(), objects(&mut owner, &brane.to_string()).await);
    assert_eq!((counts.0, counts.1), (5, before));
    server.end().await;
}

/// What comes back when the server starts again is the whole of it.
#[tokio::test]
async fn a_copy_outlives_the_server() {
    let server = TestServer::start().await;
    let brane = server.brane(Visibility::Public).await;
    let mut owner = as_user(&server, OWNER).await;
    furnish(&mut owner, brane).await;
    let (_, copy) = duplicate(&mut owner, brane, json!({"name": "Second"})).await;
    let id = copy["id"].as_str().unwrap();
    let before = objects(&mut owner, id).await;
    let disk = server.disk.clone();
    server.end().await;
    let server = TestServer::again(&disk).await;
    let mut owner = as_user(&server, OWNER).await;
    assert_eq!(owner.json("GET", &path(id), None).await, (200, copy.clone()));
    assert_eq!(objects(&mut owner, id).await, before);
    server.end().await;
}

#[tokio::test]
async fn it_takes_the_right_to_configure() {
    let server = TestServer::start().await;
    let brane = server.brane(Visibility::Public).await;
    let mut owner = as_user(&server, OWNER).await;
    let mut guest = as_user(&server, GUEST).await;
    let guest_id = common::ws::user(GUEST).to_string();
    for (role, expected) in [("visitor", 403), ("editor", 403), ("builder", 403), ("owner", 201)] {
        let appoint = json!({"op": "appoint", "user": guest_id, "role": role});
        edit(&mut owner, &brane.to_string(), vec![appoint]).await;
        let (status, answer) = duplicate(&mut guest, brane, json!({})).await;
        assert_eq!(status, expected, "{role}: {answer}");
        if status == 201 {
            assert_eq!(answer["owner"], json!(guest_id));
        }
    }
    // Not even the owner by a token that allows less.
    owner.token = Some(server.token_for(OWNER, Role::Builder, 1_000));
    let (status, refused) = duplicate(&mut owner, brane, json!({})).await;
    assert_eq!((status, &refused["code"]), (403, &json!("not_permitted")));
    let private = server.brane(Visibility::Private).await;
    for hidden in [private, BraneId::new(Uuid::new_v4())] {
        let (status, refused) = duplicate(&mut guest, hidden, json!({})).await;
        assert_eq!((status, &refused["code"]), (404, &json!("not_found")));
    }
    server.end().await;
}

#[tokio::test]
async fn copies_count_as_branes() {
    let system = SystemConfig { max_branes_per_user: 2, ..SystemConfig::default() };
    let server = TestServer::tuned(NetConfig::default(), system, 0, None).await;
    let brane = server.brane(Visibility::Public).await;
    let mut owner = as_user(&server, OWNER).await;
    assert_eq!(duplicate(&mut owner, brane, json!({})).await.0, 201);
    let (status, refused) = duplicate(&mut owner, brane, json!({})).await;
    assert_eq!((status, &refused["code"]), (409, &json!("too_many_branes")));
    // Nothing is left of it.
    let (_, page) = owner.json("GET", "/api/v1/brane", None).await;
    assert_eq!(page["branes"].as_array().unwrap().len(), 2);
    server.end().await;
}

/// What is still being written, or never was finished, nobody finds or restores.
#[tokio::test]
async fn half_a_copy_is_none() {
    let server = TestServer::start().await;
    let id = BraneId::new(Uuid::new_v4());
    let life = Life::Doomed { since_ms: 1, purge_ms: u64::MAX >> 1 };
    let record = BraneRecord { life, ..BraneRecord::new(id, common::ws::user(OWNER), 1) };
    server.system.create_brane(record).await.unwrap();
    let mut owner = as_user(&server, OWNER).await;
    let path = path(&id.to_string());
    for (method, path) in [
        ("GET", path.clone()),
        ("GET", format!("{path}/objects")),
        ("POST", format!("{path}/restore")),
        ("POST", format!("{path}/archive")),
        ("DELETE", path),
    ] {
        let answer = owner.ask(method, &path, &[], b"").await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"), "{method} {path}");
    }
    server.end().await;
}

#[tokio::test]
async fn a_copy_is_made_once() {
    let server = TestServer::start().await;
    let brane = server.brane(Visibility::Public).await;
    let mut owner = as_user(&server, OWNER).await;
    let asked = json!({"id": Uuid::new_v4().to_string(), "name": "Second"});
    let (status, copy) = duplicate(&mut owner, brane, asked.clone()).await;
    assert_eq!((status, &copy["id"]), (201, &asked["id"]));
    assert_eq!(duplicate(&mut owner, brane, asked.clone()).await, (200, copy));
    let other = json!({"id": asked["id"], "name": "Third"});
    let (status, refused) = duplicate(&mut owner, brane, other).await;
    assert_eq!((status, &refused["code"]), (409, &json!("exists")));
    let nil = json!({"id": Uuid::nil().to_string()});
    let (status, refused) = duplicate(&mut owner, brane, nil).await;
    assert_eq!((status, &refused["code"]), (400, &json!("malformed")));
    server.end().await;
}
