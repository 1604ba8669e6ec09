//! Kills the server while something goes into a brane or comes out: afterwards
//! it is in one of the two, as a whole.
#![allow(clippy::unwrap_used)]

mod common;

use std::thread;
use std::time::Instant;

use common::Server;
use serde_json::{Value, json};
use uuid::Uuid;

const ROUNDS: u32 = 24;

/// Makes what has an id; gives it.
fn make(server: &Server, path: &str, body: &Value) -> String {
    let (status, made) = change(server, path, body);
    assert_eq!(status, 201, "{path}: {made}");
    made["id"].as_str().unwrap().to_owned()
}

fn change(server: &Server, path: &str, body: &Value) -> (u16, Value) {
    server.try_keyed(path, body, &Uuid::new_v4().to_string()).unwrap()
}

/// Moves an object in or out.
fn ask(server: &Server, brane: &str, object: &str, goes_out: bool) -> Option<(u16, Value)> {
    let (path, body) = match goes_out {
        true => (format!("/api/v1/object/{object}/place"), json!({"brane": brane})),
        false => ("/api/v1/object/take".to_owned(), json!({"brane": brane, "object": object})),
    };
    server.try_keyed(&path, &body, &Uuid::new_v4().to_string())
}

/// Whether they are all in the brane; they are all in one of the two.
fn are_placed(server: &Server, brane: &str, objects: &[String]) -> bool {
    let (_, page) = server.get(&format!("/api/v1/brane/{brane}/objects"));
    let there: Vec<&Value> = page["objects"].as_array().unwrap().iter().collect();
    let is_there = |id: &String| there.iter().any(|object| object["id"] == json!(id));
    let placed: Vec<bool> = objects.iter().map(is_there).collect();
    for (id, is_there) in objects.iter().zip(&placed) {
        let (status, own) = server.get(&format!("/api/v1/object/{id}"));
        assert_eq!(status == 200, !is_there, "{id} is in both or in none: {own}");
    }
    assert!(placed.iter().all(|is_there| *is_there == placed[0]), "half of it: {placed:?}");
    placed[0]
}

#[test]
fn killed_on_the_way_it_is_here_or_there() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let mut server = Server::start(&data);
    let brane = make(&server, "/api/v1/brane", &json!({"name": "Hall"}));
    let leaf = make(&server, "/api/v1/object", &json!({"kind": "block", "name": "Leaf"}));
    let tree = json!({"kind": "group", "name": "Tree", "child_ids": [leaf]});
    let tree = make(&server, "/api/v1/object", &tree);
    let other = make(&server, "/api/v1/object", &json!({"kind": "block", "name": "Other"}));
    let all = [tree.clone(), leaf];
    let began = Instant::now();
    assert_eq!(ask(&server, &brane, &tree, true).unwrap().0, 200);
    let took = began.elapsed();
    let (mut done, mut undone, mut is_placed, mut is_other_placed) = (0, 0, true, false);
    for round in 0..ROUNDS {
        // From at once to when it has long been answered.
        let pause = took * round / (ROUNDS / 2);
        let goes_out = !is_placed;
        thread::scope(|scope| {
            let asked = scope.spawn(|| ask(&server, &brane, &tree, goes_out));
            thread::park_timeout(pause);
            server.signal("-KILL");
            asked.join().unwrap()
        });
        server.wait();
        server = Server::start(&data);
        // The user's next transfer ends what is left of the one before.
        let moved = ask(&server, &brane, &other, !is_other_placed).unwrap();
        assert_eq!(moved.0, 200, "round {round}: {}", moved.1);
        is_other_placed = !is_other_placed;
        let was_placed = is_placed;
        is_placed = are_placed(&server, &brane, &all);
        *if was_placed == is_placed { &mut undone } else { &mut done } += 1;
        assert_eq!(are_placed(&server, &brane, std::slice::from_ref(&other)), is_other_placed);
    }
    eprintln!("{done} were done and {undone} were not; one takes {took:?}");
    assert!(server.drain().success());
}
