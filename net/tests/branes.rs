//! Branes over REST: create, list, read, edit.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use avvy_model::Role;
use avvy_net::NetConfig;
use avvy_protocol::rest::{BraneBody, BranePage, CreateBrane, Format, ObjectPage, encode};
use common::{Client, PATIENCE, TestServer};
use serde_json::{Value as Json, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use uuid::Uuid;

async fn create(client: &mut Client, body: Json) -> Json {
    let (status, brane) = client.json("POST", "/api/v1/brane", Some(body)).await;
    assert_eq!(status, 201, "{brane}");
    brane
}

fn path_of(brane: &Json) -> String {
    format!("/api/v1/brane/{}", brane["id"].as_str().unwrap())
}

#[tokio::test]
async fn creates_reads_and_lists_in_json() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let asked = json!({"name": "Hall", "kind": "showcase", "visibility": "public"});
    let hall = create(&mut client, asked).await;
    assert_eq!((&hall["name"], &hall["kind"]), (&json!("Hall"), &json!("showcase")));
    assert!(hall["timestamp"].as_u64().unwrap() > 1_700_000_000);
    let study = create(&mut client, json!({"name": "Study"})).await;
    assert_eq!((&study["kind"], &study["visibility"]), (&json!("personal"), &json!("private")));

    assert_eq!(client.json("GET", &path_of(&study), None).await, (200, study.clone()));
    let (_, page) = client.json("GET", "/api/v1/brane", None).await;
    assert_eq!(page["branes"].as_array().unwrap().len(), 2);
    assert_eq!(page.get("next"), None);

    // Another user finds the public one only, and no trace of the other.
    client.token = Some(server.token_for(2, Role::Builder, 1_000));
    let (_, page) = client.json("GET", "/api/v1/brane", None).await;
    assert_eq!(page["branes"], json!([hall]));
    for path in ["", "/objects"] {
        let (status, _) = client.json("GET", &format!("{}{path}", path_of(&study)), None).await;
        assert_eq!(status, 404);
    }
    server.end().await;
}

#[tokio::test]
async fn speaks_cbor_when_nothing_is_said() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let asked = CreateBrane {
        id: None,
        name: "Yard".to_owned(),
        kind: "public".to_owned(),
        visibility: avvy_model::Visibility::Public,
        cell_size: None,
    };
    let body = encode(&asked, Format::Cbor);
    let answer = client.ask("POST", "/api/v1/brane", &[], &body).await;
    let yard: BraneBody = answer.as_cbor();
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("location"), Some(format!("/api/v1/brane/{}", yard.id).as_str()));
    let page: BranePage = client.ask("GET", "/api/v1/brane", &[], b"").await.as_cbor();
    assert_eq!(page.branes, [yard]);
    server.end().await;
}

#[tokio::test]
async fn a_repeated_request_creates_once() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let asked = json!({"id": Uuid::new_v4().to_string(), "name": "Once"});
    let brane = create(&mut client, asked.clone()).await;
    assert_eq!(client.json("POST", "/api/v1/brane", Some(asked.clone())).await, (200, brane));
    let mut other = asked.clone();
    other["name"] = json!("Twice");
    let (status, error) = client.json("POST", "/api/v1/brane", Some(other)).await;
    assert_eq!((status, &error["code"]), (409, &json!("exists")));
    client.token = Some(server.token_for(2, Role::Owner, 1_000));
    let (status, error) = client.json("POST", "/api/v1/brane", Some(asked)).await;
    assert_eq!((status, &error["code"]), (409, &json!("exists")));
    server.end().await;
}

#[tokio::test]
async fn a_brane_begins_with_the_cells_that_were_asked_for() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let asked = json!({"id": Uuid::new_v4().to_string(), "name": "Plain", "cell_size": 50});
    let brane = create(&mut client, asked.clone()).await;
    let objects = format!("{}/objects", path_of(&brane));
    let (_, page) = client.json("GET", &objects, None).await;
    assert_eq!(page["objects"][0]["props"], json!({"cell_size": 50.0}));
    assert_eq!(client.json("POST", "/api/v1/brane", Some(asked.clone())).await, (200, brane));
    for size in [json!(16), json!(null)] {
        let mut other = asked.clone();
        other["cell_size"] = size;
        let (status, error) = client.json("POST", "/api/v1/brane", Some(other)).await;
        assert_eq!((status, &error["code"]), (409, &json!("exists")));
    }
    for size in [json!(0), json!(0.05), json!(10_001), json!(-50), json!("large")] {
        let asked = json!({"name": "Odd", "cell_size": size});
        let (status, error) = client.json("POST", "/api/v1/brane", Some(asked)).await;
        assert_eq!((status, &error["code"]), (400, &json!("malformed")), "{size}");
    }
    // The one that goes without saying is not written down.
    let usual = create(&mut client, json!({"name": "Usual", "cell_size": 16})).await;
    let (_, page) = client.json("GET", &format!("{}/objects", path_of(&usual)), None).await;
    assert_eq!(page["objects"][0]["props"], json!({}));
    server.end().await;
}

#[tokio::test]
async fn lists_page_by_page() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    for n in 0..7 {
        create(&mut client, json!({"name": format!("brane {n}")})).await;
    }
    let (mut names, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/brane?limit=3{after}");
        let (status, page) = client.json("GET", &path, None).await;
        assert_eq!(status, 200, "{page}");
        let branes = page["branes"].as_array().unwrap();
        assert!(branes.len() <= 3);
        names.extend(branes.iter().map(|brane| brane["name"].as_str().unwrap().to_owned()));
        match page.get("next") {
            Some(next) => after = format!("&after={}", next.as_str().unwrap()),
            None => break,
        }
    }
    names.sort();
    assert_eq!(names, (0..7).map(|n| format!("brane {n}")).collect::<Vec<_>>());
    for query in ["limit=0", "limit=-1", "limit=many", "after=here"] {
        let (status, error) = client.json("GET", &format!("/api/v1/brane?{query}"), None).await;
        assert_eq!((status, &error["code"]), (400, &json!("malformed")), "{query}");
    }
    server.end().await;
}

#[tokio::test]
async fn edits_are_applied_refused_and_read_back() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let brane = create(&mut client, json!({"name": "Workshop"})).await;
    let edits = format!("{}/edits", path_of(&brane));
    let writer = Uuid::new_v4().to_string();
    let lamp = Uuid::new_v4().to_string();
    let matrix = [1.0, 0.0, 0.0, 2.5, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, -1.0, 0.0, 0.0, 0.0, 1.0];
    let submitted = json!({"client": writer, "edits": [
        {"n": 1, "op": "create", "id": lamp, "parent": 0, "kind": "block",
            "transform": matrix, "props": {"name": "Lamp", "lit": true}},
        {"n": 2, "op": "update", "t": 77, "set": {"name": "Nothing"}},
        {"n": 3, "op": "dance", "t": 0},
        {"n": 4, "op": "move", "t": lamp, "position": [1, 2, 3.5]},
        {"n": 5, "op": "batch", "ops": [
            {"op": "update", "t": lamp, "set": {"lit": false}},
            {"op": "delete", "t": 99, "mode": "subtree"}]},
    ]});
    let (status, answer) = client.json("POST", &edits, Some(submitted.clone())).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["durable"], json!(true));
    assert_eq!(
        answer["outcomes"],
        json!([
            {"n": 1, "seq": 1},
            {"n": 2, "code": "object_not_found"},
            {"n": 3, "code": "unknown_operation"},
            {"n": 4, "seq": 2},
            {"n": 5, "code": "object_not_found", "operation": 1},
        ])
    );

    // The same numbers again: the same outcomes, and nothing is done twice.
    let (_, again) = client.json("POST", &edits, Some(submitted)).await;
    assert_eq!(again["outcomes"], answer["outcomes"]);

    let (status, page) = client.json("GET", &format!("{}/objects", path_of(&brane)), None).await;
    assert_eq!(status, 200);
    assert_eq!(page["at"], json!([answer["epoch"], 2]));
    let [root, object] = page["objects"].as_array().unwrap().as_slice() else { panic!("{page}") };
    assert_eq!((&root["id"], &root["parent"]), (&brane["id"], &brane["id"]));
    assert_eq!((&object["id"], &object["parent"]), (&json!(lamp), &brane["id"]));
    assert_eq!(object["props"], json!({"name": "Lamp", "lit": true}));
    let place = [3, 7, 11].map(|i| object["transform"][i].as_f64().unwrap());
    assert_eq!(place, [1.0, 2.0, 3.5]);
    server.end().await;
}

#[tokio::test]
async fn objects_come_page_by_page() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let brane = create(&mut client, json!({"name": "Warehouse"})).await;
    let crates = (1..=25).map(|n| {
        json!({"n": n, "op": "create", "id": Uuid::new_v4().to_string(), "parent": 0,
            "kind": "block", "props": {"n": n}})
    });
    let edits = json!({"client": Uuid::new_v4().to_string(), "edits": crates.collect::<Vec<_>>()});
    client.json("POST", &format!("{}/edits", path_of(&brane)), Some(edits)).await;

    let (mut handles, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("{}/objects?limit=10{after}", path_of(&brane));
        let page: ObjectPage = client.ask("GET", &path, &[], b"").await.as_cbor();
        handles.extend(page.objects.iter().map(|object| object.handle.0));
        match page.next {
            Some(next) => after = format!("&after={}", next.0),
            None => break,
        }
    }
    assert_eq!(handles, (0..=25).collect::<Vec<_>>());
    let path = format!("{}/objects?after={}", path_of(&brane), u32::MAX);
    let page: ObjectPage = client.ask("GET", &path, &[], b"").await.as_cbor();
    assert!(page.objects.is_empty() && page.next.is_none());
    server.end().await;
}

#[tokio::test]
async fn pages_that_nobody_reads_are_few() {
    let config = NetConfig {
        max_pages: 1,
        request_timeout: Duration::from_millis(500),
        ..NetConfig::default()
    };
    let server = TestServer::with(config).await;
    let mut client = server.client().await;
    let brane = create(&mut client, json!({"name": "Warehouse"})).await;
    let text = "x".repeat(8_000);
    let crates = (1..=20).map(|n| {
        json!({"n": n, "op": "create", "id": Uuid::new_v4().to_string(), "parent": 0,
            "kind": "block", "props": {"a": text, "b": text}})
    });
    let edits = json!({"client": Uuid::new_v4().to_string(), "edits": crates.collect::<Vec<_>>()});
    client.json("POST", &format!("{}/edits", path_of(&brane)), Some(edits)).await;

    let path = format!("{}/objects", path_of(&brane));
    let mut greedy = TcpStream::connect(server.address).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\n\r\n",
        server.token()
    );
    // More answers than the kernel keeps for a reader that does not read.
    greedy.write_all(request.repeat(200).as_bytes()).await.unwrap();
    let waits = async { while client.json("GET", &path, None).await.0 != 504 {} };
    timeout(PATIENCE, waits).await.expect("there is one page at a time");
    drop(greedy);
    let gets = async { while client.json("GET", &path, None).await.0 != 200 {} };
    timeout(PATIENCE, gets).await.expect("the page is free again");
    server.end().await;
}

#[tokio::test]
async fn who_may_not_edit_is_told_so_edit_by_edit() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let brane = create(&mut client, json!({"name": "Gallery", "visibility": "public"})).await;
    let edits = format!("{}/edits", path_of(&brane));
    let body = |client: &str| {
        Some(json!({"client": client, "edits": [
            {"n": 1, "op": "update", "t": 0, "set": {"name": "Mine"}}]}))
    };
    let owner = Uuid::new_v4().to_string();
    let (status, _) = client.json("POST", &edits, body(&owner)).await;
    assert_eq!(status, 200);

    client.token = Some(server.token_for(2, Role::Visitor, 1_000));
    let visitor = Uuid::new_v4().to_string();
    let (status, answer) = client.json("POST", &edits, body(&visitor)).await;
    assert_eq!(status, 200);
    assert_eq!(answer["outcomes"], json!([{"n": 1, "code": "not_permitted"}]));
    let (status, error) = client.json("POST", &edits, body(&owner)).await;
    assert_eq!((status, &error["code"]), (409, &json!("client_taken")));
    let (status, error) = client.json("POST", "/api/v1/brane", Some(json!({"name": "Shop"}))).await;
    assert_eq!((status, &error["code"]), (403, &json!("forbidden")));
    server.end().await;
}

#[tokio::test]
async fn numbers_out_of_order_are_answered_one_by_one() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let brane = create(&mut client, json!({"name": "Attic"})).await;
    let set = |n: u64| json!({"n": n, "op": "update", "t": 0, "set": {"n": n}});
    let edits = json!({"client": Uuid::new_v4().to_string(), "edits": [set(5), set(5), set(4)]});
    let (status, answer) =
        client.json("POST", &format!("{}/edits", path_of(&brane)), Some(edits)).await;
    assert_eq!(status, 200, "{answer}");
    let expected =
        json!([{"n": 4, "code": "outcome_unknown"}, {"n": 5, "seq": 1}, {"n": 5, "seq": 1}]);
    assert_eq!(answer["outcomes"], expected);
    server.end().await;
}
