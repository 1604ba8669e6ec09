//! What takes more than one brane, where two nodes serve them.

use serde_json::{Value, json};
use uuid::Uuid;

use super::Pair;
use super::common::Server;
use super::common::copies::{copy, expect_whole, large_brane, numbers};

/// Its first page of objects; whoever is asked first serves the brane.
fn objects(node: &Server, brane: &str) -> (u16, Value) {
    node.get(&format!("/api/v1/brane/{brane}/objects"))
}

/// What one node copied is free for whoever is asked for it.
#[test]
fn a_copy_is_served_by_the_node_that_is_asked() {
    let pair = Pair::start(1);
    let (brane, id) = (large_brane(&pair.one), Uuid::new_v4().to_string());
    assert_eq!(copy(&pair.one, &brane, &id).0, 201);
    expect_whole(&pair.two, &id);
    assert_eq!(numbers(&pair.one, &brane), numbers(&pair.two, &id));
    assert_eq!(objects(&pair.one, &id).0, 421);
}

#[test]
fn a_portal_to_a_brane_elsewhere_names_the_node() {
    let pair = Pair::start(1);
    let [here, there] = [&pair.one, &pair.two].map(|node| {
        let (status, brane) = node.post_own("/api/v1/brane", &json!({"name": "Hall"}));
        assert_eq!(status, 201, "{brane}");
        let brane = brane["id"].as_str().unwrap().to_owned();
        assert_eq!(objects(node, &brane).0, 200);
        brane
    });
    let path = format!("/api/v1/brane/{here}/portals");
    let (status, made) = pair.one.post_own(&path, &json!({"to": {"brane": there}}));
    assert_eq!(status, 201, "{made}");
    let portal = made["id"].as_str().unwrap();
    let (status, way) = pair.one.get(&format!("{path}/{portal}"));
    let told = json!({"state": "elsewhere", "brane": there, "node": pair.two.url});
    assert_eq!((status, way), (200, told));

    // Its exit cannot be made from here, and then there is no portal either.
    let asked = json!({"to": {"brane": there}, "two_way": true});
    let (status, refused) = pair.one.post_own(&path, &asked);
    assert_eq!((status, &refused["code"]), (503, &json!("unavailable")), "{refused}");
    let (_, listed) = pair.one.get(&path);
    assert_eq!(listed["portals"].as_array().unwrap().len(), 1);
}
