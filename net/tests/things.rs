//! Things outside of branes by HTTP: objects, prototypes, users, search, and the
//! way into a brane and back.

#![allow(clippy::unwrap_used)]

mod common;

use avvy_model::Role;
use common::{Answer, Client, TestServer};
use serde_json::{Value as Json, json};
use uuid::Uuid;

/// A change under a key of its own.
async fn change(client: &mut Client, method: &str, path: &str, body: Json) -> Answer {
    let key = Uuid::new_v4().to_string();
    under(client, method, path, body, &[("idempotency-key", &key)]).await
}

/// The same, of whatever version is there.
async fn patch(client: &mut Client, path: &str, body: Json) -> Answer {
    let key = Uuid::new_v4().to_string();
    under(client, "PATCH", path, body, &[("idempotency-key", &key), ("if-match", "*")]).await
}

async fn under(
    client: &mut Client,
    method: &str,
    path: &str,
    body: Json,
    headers: &[(&str, &str)],
) -> Answer {
    let json = "application/json";
    let headers = [&[("content-type", json), ("accept", json)], headers].concat();
    let body = if body.is_null() { String::new() } else { body.to_string() };
    client.ask(method, &format!("/api/v1{path}"), &headers, body.as_bytes()).await
}

async fn get(client: &mut Client, path: &str) -> (u16, Json) {
    client.json("GET", &format!("/api/v1{path}"), None).await
}

fn id(answer: &Answer) -> String {
    assert!((200..300).contains(&answer.status), "{answer:?}");
    answer.as_json()["id"].as_str().unwrap().to_owned()
}

/// Two users on a server.
async fn two(server: &TestServer) -> (Client, Client) {
    let (ada, mut bob) = (server.client().await, server.client().await);
    bob.token = Some(server.token_for(2, Role::Owner, 1_000));
    (ada, bob)
}

#[tokio::test]
async fn an_object_is_made_changed_published_and_drafted_anew() {
    let server = TestServer::start().await;
    let (mut ada, mut bob) = two(&server).await;
    let leaf = change(&mut ada, "POST", "/object", json!({"kind": "block", "name": "Leaf"})).await;
    assert_eq!(leaf.status, 201);
    let leaf = id(&leaf);
    let asked = json!({
        "kind": "group", "name": "Tree", "tags": ["wood"], "child_ids": [leaf], "props": {"a": 1},
    });
    let tree = change(&mut ada, "POST", "/object", asked).await;
    assert_eq!(tree.header("location").unwrap(), format!("/api/v1/object/{}", id(&tree)));
    let path = format!("/object/{}", id(&tree));
    let (status, seen) = get(&mut ada, &path).await;
    assert_eq!((status, &seen), (200, &tree.as_json()));
    assert_eq!((&seen["child_ids"][0], &seen["props"]["a"]), (&json!(leaf), &json!(1)));
    assert_eq!(get(&mut bob, &path).await.0, 404);
    // A change names the version that it is for.
    let rename = json!({"name": "Oak"});
    let key = Uuid::new_v4().to_string();
    let bare = under(&mut ada, "PATCH", &path, rename.clone(), &[("idempotency-key", &key)]).await;
    assert_eq!((bare.status, bare.code().as_str()), (428, "precondition_required"));
    let tag = tree.header("etag").unwrap().to_owned();
    let key = Uuid::new_v4().to_string();
    let headers = [("idempotency-key", key.as_str()), ("if-match", &tag)];
    let changed = under(&mut ada, "PATCH", &path, rename.clone(), &headers).await;
    assert_eq!((changed.status, &changed.as_json()["name"]), (200, &json!("Oak")));
    let key = Uuid::new_v4().to_string();
    let headers = [("idempotency-key", key.as_str()), ("if-match", &tag)];
    let stale = under(&mut ada, "PATCH", &path, rename.clone(), &headers).await;
    assert_eq!((stale.status, stale.code().as_str()), (412, "precondition_failed"));
    // Published it stays as it is.
    let public = change(&mut ada, "POST", &format!("{path}/publish"), Json::Null).await;
    assert_eq!((public.status, &public.as_json()["visibility"]), (200, &json!("public")));
    assert_eq!(get(&mut bob, &path).await.0, 200);
    let theirs = patch(&mut bob, &path, rename.clone()).await;
    assert_eq!((theirs.status, theirs.code().as_str()), (403, "forbidden"));
    let draft = patch(&mut ada, &path, json!({"name": "Elm"})).await;
    assert_eq!((draft.status, &draft.as_json()["version"]), (201, &json!(2)));
    let (_, versions) = get(&mut ada, &format!("{path}/versions")).await;
    assert_eq!(versions["things"].as_array().unwrap().len(), 2);
    let (_, versions) = get(&mut bob, &format!("{path}/versions")).await;
    assert_eq!(versions["things"].as_array().unwrap().len(), 1);
    let gone = change(&mut ada, "DELETE", &path, Json::Null).await;
    assert_eq!(gone.status, 204);
    assert_eq!(get(&mut ada, &path).await.0, 404);
    server.end().await;
}

/// What was answered before is answered again only to whom it is the answer.
#[tokio::test]
async fn reading_again_shows_each_what_is_theirs_to_see_now() {
    let server = TestServer::start().await;
    let (mut ada, mut bob) = two(&server).await;
    let made = change(&mut ada, "POST", "/object", json!({"kind": "block", "name": "Oak"})).await;
    let path = format!("/object/{}", id(&made));
    let in_cbor = format!("/api/v1{path}");
    for _ in 0..2 {
        assert_eq!(get(&mut ada, &path).await, (200, made.as_json()));
        assert_eq!(get(&mut bob, &path).await.0, 404);
        assert_eq!(get(&mut ada, &path.replace("object", "prototype")).await.0, 404);
        let cbor = ada.ask("GET", &in_cbor, &[("accept", "application/cbor")], b"").await;
        assert_eq!(cbor.header("content-type"), Some("application/cbor"));
        assert_ne!(cbor.header("etag"), made.header("etag"));
    }
    let changed = patch(&mut ada, &path, json!({"name": "Elm"})).await;
    assert_eq!(get(&mut ada, &path).await, (200, changed.as_json()));
    change(&mut ada, "POST", &format!("{path}/publish"), Json::Null).await;
    let draft = patch(&mut ada, &path, json!({"name": "Ash"})).await;
    for _ in 0..2 {
        // The draft after it is its owner's alone.
        assert_eq!(get(&mut ada, &path).await.1["next_id"], json!(id(&draft)));
        let (status, seen) = get(&mut bob, &path).await;
        assert_eq!((status, &seen["name"], &seen["next_id"]), (200, &json!("Elm"), &Json::Null));
    }
    change(&mut ada, "DELETE", &path, Json::Null).await;
    assert_eq!(get(&mut bob, &path).await.0, 404);
    server.end().await;
}

/// The owner sees more of a thing than others, so a tag of one is none of the
/// other: a cache that both read through would give one what is the other's.
#[tokio::test]
async fn a_tag_is_good_for_those_who_see_the_same() {
    let server = TestServer::start().await;
    let (mut ada, mut bob) = two(&server).await;
    let objects =
        change(&mut ada, "POST", "/object", json!({"kind": "block", "name": "Oak"})).await;
    let lamps = change(&mut ada, "POST", "/prototype", json!({"name": "Lamp"})).await;
    let paths = [format!("/object/{}", id(&objects)), format!("/prototype/{}", id(&lamps))];
    for path in paths {
        let public = change(&mut ada, "POST", &format!("{path}/publish"), Json::Null).await;
        // The draft of the next version is the owner's alone to know.
        match path.starts_with("/object") {
            true => patch(&mut ada, &path, json!({"name": "Ash"})).await,
            false => change(&mut ada, "POST", &format!("{path}/versions"), Json::Null).await,
        };
        let path = format!("/api/v1{path}");
        let json = ("accept", "application/json");
        let own = ada.ask("GET", &path, &[json], b"").await;
        let others = bob.ask("GET", &path, &[json], b"").await;
        assert_ne!(own.body, others.body);
        let [own, others, public] = [&own, &others, &public].map(|it| it.header("etag").unwrap());
        assert!(own != others && own != public, "{own} {others} {public}");
        for (is_adas, known, expected) in
            [(true, own, 304), (true, others, 200), (false, others, 304), (false, own, 200)]
        {
            let client = if is_adas { &mut ada } else { &mut bob };
            let answer = client.ask("GET", &path, &[json, ("if-none-match", known)], b"").await;
            assert_eq!(answer.status, expected, "{known}");
        }
        // A change asks for the version alone.
        let key = Uuid::new_v4().to_string();
        let gone = [("idempotency-key", key.as_str()), ("if-match", own)];
        assert_eq!(ada.ask("DELETE", &path, &gone, b"").await.status, 204);
    }
    server.end().await;
}

#[tokio::test]
async fn a_prototype_has_versions_and_a_gallery_offers_it() {
    let server = TestServer::start().await;
    let (mut ada, mut bob) = two(&server).await;
    let hash = "5a".repeat(32);
    let asked = json!({"name": "Lamp", "defaults": {"lit": true}, "models": [hash]});
    let lamp = change(&mut ada, "POST", "/prototype", asked).await;
    assert_eq!((lamp.status, &lamp.as_json()["models"][0]), (201, &json!(hash)));
    let path = format!("/prototype/{}", id(&lamp));
    let next = change(&mut ada, "POST", &format!("{path}/versions"), Json::Null).await;
    assert_eq!((next.status, next.code().as_str()), (409, "not_published"));
    let changed = patch(&mut ada, &path, json!({"defaults": {"lit": false}})).await;
    assert_eq!(changed.as_json()["defaults"]["lit"], json!(false));
    change(&mut ada, "POST", &format!("{path}/publish"), json!({"visibility": "public"})).await;
    let late = patch(&mut ada, &path, json!({"name": "x"})).await;
    assert_eq!((late.status, late.code().as_str()), (409, "published"));
    let next = change(&mut ada, "POST", &format!("{path}/versions"), Json::Null).await;
    assert_eq!((next.status, &next.as_json()["version"]), (201, &json!(2)));
    // Others put it into their galleries.
    let group = change(&mut bob, "POST", "/object", json!({"kind": "group", "name": "G"})).await;
    let gallery = format!("/object/{}/gallery", id(&group));
    let put = change(&mut bob, "POST", &gallery, json!({"prototype": id(&lamp)})).await;
    assert_eq!((put.status, &put.as_json()["gallery_ids"][0]), (200, &json!(id(&lamp))));
    let draft = change(&mut bob, "POST", &gallery, json!({"prototype": id(&next)})).await;
    assert_eq!((draft.status, draft.code().as_str()), (404, "not_found"));
    let out = change(&mut bob, "DELETE", &format!("{gallery}/{}", id(&lamp)), Json::Null).await;
    assert_eq!((out.status, &out.as_json()["gallery_ids"]), (200, &json!([])));
    // It is found, until nobody should take it any more.
    let found = async |client: &mut Client| {
        let (status, page) = get(client, "/entity/search?q=lam&kind=prototype").await;
        assert_eq!(status, 200, "{page}");
        page["things"].as_array().unwrap().len()
    };
    assert_eq!(found(&mut bob).await, 1);
    let old = json!({"is_deprecated": true});
    let old = change(&mut ada, "POST", &format!("{path}/deprecate"), old).await;
    assert_eq!((old.status, &old.as_json()["is_deprecated"]), (200, &json!(true)));
    assert_eq!(found(&mut bob).await, 0);
    assert_eq!(change(&mut ada, "DELETE", &path, Json::Null).await.status, 204);
    assert_eq!(get(&mut bob, &path).await.0, 404);
    assert_eq!(get(&mut ada, &path).await.1["is_deleted"], json!(true));
    server.end().await;
}

#[tokio::test]
async fn people_see_of_each_other_what_is_for_all() {
    let server = TestServer::start().await;
    let (mut ada, mut bob) = two(&server).await;
    let (status, me) = get(&mut ada, "/users/me").await;
    assert_eq!(status, 200, "{me}");
    let changed = patch(&mut ada, "/users/me", json!({"name": "Ada", "about": "Tables"})).await;
    assert_eq!((changed.status, &changed.as_json()["name"]), (200, &json!("Ada")));
    let path = format!("/users/{}", me["id"].as_str().unwrap());
    let (_, seen) = get(&mut bob, &path).await;
    assert_eq!((&seen["name"], &seen["about"]), (&json!("Ada"), &json!("Tables")));
    assert_eq!(get(&mut bob, &format!("/users/{}", Uuid::new_v4())).await.0, 404);
    assert_eq!(get(&mut bob, "/users/nobody").await.0, 404);
    let long = patch(&mut ada, "/users/me", json!({"name": "n".repeat(81)})).await;
    assert_eq!((long.status, long.code().as_str()), (400, "malformed"));
    // What one owns, and how much.
    for kind in ["block", "group"] {
        change(&mut ada, "POST", "/object", json!({"kind": kind, "name": kind})).await;
    }
    let (_, all) = get(&mut ada, "/users/me/inventory").await;
    assert_eq!(all["things"].as_array().unwrap().len(), 2);
    let (_, groups) = get(&mut ada, "/users/me/inventory?kind=group").await;
    assert_eq!(groups["things"][0]["name"], json!("group"));
    assert_eq!(get(&mut ada, "/users/me/inventory?kind=castle").await.0, 400);
    assert_eq!(get(&mut ada, "/users/me/inventory?after=x").await.0, 400);
    let (_, usage) = get(&mut ada, "/users/me/usage").await;
    assert_eq!((&usage["objects"], &usage["max_objects"]), (&json!(2), &json!(10_000)));
    let (_, none) = get(&mut bob, "/users/me/inventory").await;
    assert_eq!(none["things"], json!([]));
    server.end().await;
}

#[tokio::test]
async fn things_go_into_a_brane_and_come_back() {
    let server = TestServer::start().await;
    let (mut ada, mut bob) = two(&server).await;
    let brane = change(&mut ada, "POST", "/brane", json!({"name": "Hall"})).await;
    let brane = id(&brane);
    let block = json!({"kind": "block", "name": "Chair", "props": {"legs": 4}});
    let chair = id(&change(&mut ada, "POST", "/object", block).await);
    let path = format!("/object/{chair}/place");
    let to = json!({"brane": brane});
    let key = Uuid::new_v4().to_string();
    for _ in 0..2 {
        let headers = [("idempotency-key", key.as_str())];
        let placed = under(&mut ada, "POST", &path, to.clone(), &headers).await;
        assert_eq!((placed.status, &placed.as_json()["objects"]), (200, &json!([chair])));
    }
    let objects = format!("/brane/{brane}/objects");
    let (_, there) = get(&mut ada, &objects).await;
    let there = there["objects"].as_array().unwrap().clone();
    assert_eq!(there.len(), 2);
    let there = there.iter().find(|object| object["id"] == json!(chair)).unwrap();
    assert_eq!((&there["props"]["legs"], &there["props"]["name"]), (&json!(4), &json!("Chair")));
    assert_eq!(get(&mut ada, &format!("/object/{chair}")).await.0, 404);
    let from = json!({"brane": brane, "object": chair});
    let theirs = change(&mut bob, "POST", "/object/take", from.clone()).await;
    assert_eq!((theirs.status, theirs.code().as_str()), (404, "not_found"));
    let taken = change(&mut ada, "POST", "/object/take", from).await;
    assert_eq!(taken.status, 200, "{taken:?}");
    let (_, back) = get(&mut ada, &format!("/object/{chair}")).await;
    assert_eq!((&back["name"], &back["props"]), (&json!("Chair"), &json!({"legs": 4})));
    server.end().await;
}

#[tokio::test]
async fn instances_follow_their_prototype_from_version_to_version() {
    let server = TestServer::start().await;
    let (mut ada, _) = two(&server).await;
    let brane = id(&change(&mut ada, "POST", "/brane", json!({"name": "Hall"})).await);
    let lamp = json!({"name": "Lamp", "defaults": {"lit": true}});
    let lamp = id(&change(&mut ada, "POST", "/prototype", lamp).await);
    let path = format!("/prototype/{lamp}");
    let to = json!({"brane": brane});
    let draft = change(&mut ada, "POST", &format!("{path}/place"), to.clone()).await;
    assert_eq!((draft.status, draft.code().as_str()), (409, "not_published"));
    change(&mut ada, "POST", &format!("{path}/publish"), Json::Null).await;
    let preview = format!("{path}/update?brane={brane}");
    assert_eq!(get(&mut ada, &preview).await.1["code"], json!("prototype_not_followed"));
    for instances in 1..3 {
        let placed = change(&mut ada, "POST", &format!("{path}/place"), to.clone()).await;
        assert_eq!(placed.status, 201, "{placed:?}");
        let (_, followed) = get(&mut ada, &preview).await;
        assert_eq!((&followed["instances"], &followed["version"]), (&json!(instances), &json!(1)));
    }
    let next = id(&change(&mut ada, "POST", &format!("{path}/versions"), Json::Null).await);
    let path = format!("/prototype/{next}");
    patch(&mut ada, &path, json!({"defaults": {"lit": false}})).await;
    change(&mut ada, "POST", &format!("{path}/publish"), Json::Null).await;
    // Who asks for the new version is told how many it would change, and that
    // they follow the old one until it is done.
    let told = |instances: u64, version: u64, version_id: &str| {
        json!({
            "prototype": lamp, "version_id": version_id, "version": version,
            "instances": instances,
        })
    };
    let preview = format!("{path}/update?brane={brane}");
    for _ in 0..2 {
        assert_eq!(get(&mut ada, &preview).await, (200, told(2, 1, &lamp)));
    }
    let updated = change(&mut ada, "POST", &format!("{path}/update"), to).await;
    assert_eq!((updated.status, updated.as_json()), (200, told(2, 2, &next)));
    assert_eq!(get(&mut ada, &preview).await, (200, told(2, 2, &next)));
    server.end().await;
}

/// Whoever has instances of somebody else's prototype is offered the newest
/// version that is there for them, and how many instances an update changes.
#[tokio::test]
async fn who_has_instances_finds_out_about_a_new_version() {
    let server = TestServer::start().await;
    let (mut ada, mut bob) = two(&server).await;
    let public = json!({"visibility": "public"});
    let lamp = id(&change(&mut ada, "POST", "/prototype", json!({"name": "Lamp"})).await);
    let path = format!("/prototype/{lamp}");
    change(&mut ada, "POST", &format!("{path}/publish"), public.clone()).await;
    let hall = json!({"name": "Hall", "visibility": "private"});
    let brane = id(&change(&mut bob, "POST", "/brane", hall).await);
    let offers = format!("/brane/{brane}/prototypes");
    assert_eq!(get(&mut bob, &offers).await, (200, json!({"prototypes": []})));
    let to = json!({"brane": brane});
    for _ in 0..2 {
        change(&mut bob, "POST", &format!("{path}/place"), to.clone()).await;
    }
    let current = |version_id: &str, version: u32| {
        json!({
            "prototype": lamp, "version_id": version_id, "version": version, "instances": 2,
        })
    };
    let told = |offer: Json| (200, json!({"prototypes": [offer]}));
    assert_eq!(get(&mut bob, &offers).await, told(current(&lamp, 1)));
    let next = id(&change(&mut ada, "POST", &format!("{path}/versions"), Json::Null).await);
    assert_eq!(get(&mut bob, &offers).await, told(current(&lamp, 1)), "it is a draft");
    let newer = format!("/prototype/{next}");
    change(&mut ada, "POST", &format!("{newer}/publish"), public).await;
    let mut offer = current(&lamp, 1);
    offer["latest"] = json!({"id": next, "version": 2});
    assert_eq!(get(&mut bob, &offers).await, told(offer.clone()));
    for is_deprecated in [true, false] {
        let deprecated = json!({"is_deprecated": is_deprecated});
        change(&mut ada, "POST", &format!("{newer}/deprecate"), deprecated).await;
        let expected = if is_deprecated { current(&lamp, 1) } else { offer.clone() };
        assert_eq!(get(&mut bob, &offers).await, told(expected));
    }
    // Whose prototype it is has nothing to see in the brane.
    assert_eq!(get(&mut ada, &offers).await.0, 404);
    let updated = change(&mut bob, "POST", &format!("{newer}/update"), to).await;
    assert_eq!(updated.status, 200, "{updated:?}");
    assert_eq!(get(&mut bob, &offers).await, told(current(&next, 2)));
    server.end().await;
}

/// What a brane refuses an object with is in the document of every route that
/// makes one.
#[tokio::test]
async fn a_cell_that_is_taken_is_answered_as_it_is_written() {
    let server = TestServer::start().await;
    let (mut ada, _) = two(&server).await;
    let brane = id(&change(&mut ada, "POST", "/brane", json!({"name": "Hall"})).await);
    let exclusive = json!({"n": 1, "op": "update", "t": 0, "set": {"exclusive_cells": true}});
    let edits = json!({"client": Uuid::new_v4().to_string(), "edits": [exclusive]});
    let edited = change(&mut ada, "POST", &format!("/brane/{brane}/edits"), edits).await;
    assert!(edited.as_json()["outcomes"][0]["seq"].is_u64(), "{edited:?}");
    let lamp = json!({"name": "Lamp"});
    let lamp = id(&change(&mut ada, "POST", "/prototype", lamp).await);
    change(&mut ada, "POST", &format!("/prototype/{lamp}/publish"), Json::Null).await;
    let mut chairs = Vec::new();
    for name in ["Chair", "Stool"] {
        let chair = json!({"kind": "block", "name": name});
        chairs.push(id(&change(&mut ada, "POST", "/object", chair).await));
    }
    let to = json!({"brane": brane});
    let place = format!("/object/{}/place", chairs[0]);
    assert_eq!(change(&mut ada, "POST", &place, to.clone()).await.status, 200);
    let document: Json = serde_json::from_str(include_str!("../../docs/openapi.json")).unwrap();
    for (path, route, body) in [
        (format!("/object/{}/place", chairs[1]), "/object/{id}/place", to.clone()),
        (format!("/prototype/{lamp}/place"), "/prototype/{id}/place", to.clone()),
        (format!("/brane/{brane}/portals"), "/brane/{id}/portals", json!({"to": to})),
    ] {
        let refused = change(&mut ada, "POST", &path, body).await;
        assert_eq!((refused.status, refused.code().as_str()), (409, "cell_taken"), "{path}");
        let told = &document["paths"][format!("/api/v1{route}")]["post"]["responses"]["409"];
        assert!(told["description"].as_str().unwrap().contains("`cell_taken`"), "{route}: {told}");
    }
    server.end().await;
}

#[tokio::test]
async fn a_visitors_token_and_a_request_without_a_key_change_nothing() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let asked = json!({"kind": "block", "name": "x"});
    let bare = under(&mut client, "POST", "/object", asked.clone(), &[]).await;
    assert_eq!(bare.status, 400, "{bare:?}");
    client.token = Some(server.token_for(3, Role::Visitor, 1_000));
    let visitor = change(&mut client, "POST", "/object", asked).await;
    assert_eq!((visitor.status, visitor.code().as_str()), (403, "forbidden"));
    server.end().await;
}
