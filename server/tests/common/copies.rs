//! A brane to copy, and whether a copy holds what it does.

use serde_json::{Value, json};
use uuid::Uuid;

use super::Server;

/// Objects with properties of about 16 KB: each goes into the journal, so a
/// copy takes a while.
const OBJECTS: usize = 600;
const PER_REQUEST: usize = 30;

/// Makes a brane with much in it.
pub fn large_brane(server: &Server) -> String {
    let (status, brane) = server.post_own("/api/v1/brane", &json!({"name": "Large"}));
    assert_eq!(status, 201, "{brane}");
    let brane = brane["id"].as_str().unwrap().to_owned();
    for request in 0..OBJECTS / PER_REQUEST {
        let edits = (0..PER_REQUEST).map(|n| {
            let number = request * PER_REQUEST + n;
            let props = json!({"number": number, "a": "a".repeat(8_000), "b": "b".repeat(8_000)});
            json!({"n": n + 1, "op": "create", "id": Uuid::new_v4().to_string(), "parent": 0,
                "kind": "block", "props": props})
        });
        let client = Uuid::new_v4().to_string();
        let body = json!({"client": client, "edits": edits.collect::<Vec<_>>()});
        let (status, answer) = server.post_own(&format!("/api/v1/brane/{brane}/edits"), &body);
        assert_eq!(status, 200, "{answer}");
    }
    brane
}

/// Asks for a copy under this id.
pub fn copy(server: &Server, brane: &str, id: &str) -> (u16, Value) {
    try_copy(server, brane, id).unwrap()
}

/// The same; `None` if the server ends before it has answered.
pub fn try_copy(server: &Server, brane: &str, id: &str) -> Option<(u16, Value)> {
    server.try_post_own(&format!("/api/v1/brane/{brane}/duplicate"), &json!({"id": id}))
}

/// The numbers of all that is in it, in order.
pub fn numbers(server: &Server, brane: &str) -> Vec<u64> {
    let (mut numbers, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/brane/{brane}/objects?limit=1000{after}");
        let (status, page) = server.get(&path);
        assert_eq!(status, 200, "{page}");
        let objects = page["objects"].as_array().unwrap().iter();
        numbers.extend(objects.filter_map(|object| object["props"]["number"].as_u64()));
        let Some(next) = page["next"].as_u64() else { break };
        after = format!("&after={next}");
    }
    numbers.sort_unstable();
    numbers
}

/// Fails unless the copy is whole.
pub fn expect_whole(server: &Server, copy: &str) {
    assert_eq!(numbers(server, copy), (0..OBJECTS as u64).collect::<Vec<_>>());
}
