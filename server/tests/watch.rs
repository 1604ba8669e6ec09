//! `avvyland watch`: what happens in a brane, seen by whoever is there.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use avvy_model::{Code, TraceId};
use avvy_protocol::ErrorMessage;
use avvy_protocol::rest::{BranePage, ErrorMessageResponse, Format, encode};
use common::{Server, avvyland, binary};
use serde_json::{Value, json};
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(60);

struct Watcher {
    child: Child,
    lines: Receiver<Value>,
}

impl Watcher {
    /// Watches with this token, given in the environment.
    fn start(server: &Server, token: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(binary())
            .args(["watch", "--url", &server.url])
            .args(arguments)
            .env("AVVYLAND_TOKEN", token)
            .current_dir(server.data.parent().unwrap())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let printed = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in printed.map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).unwrap());
            }
        });
        Self { child, lines }
    }

    /// The next line about such an event.
    fn until(&self, event: &str) -> Value {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no {event}"));
            if line["event"] == event {
                return line;
            }
        }
    }

    /// Its exit code and what it says of its end.
    fn end(mut self) -> (Option<i32>, String) {
        let mut told = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
        (self.child.wait().unwrap().code(), told)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // Already ended, unless a test failed halfway.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A token and the user's id.
fn sign_in(server: &Server, name: &str) -> (String, String) {
    let (status, signed) = server.post("/api/v1/auth/dev", &json!({"name": name}));
    assert_eq!(status, 200, "{signed}");
    let text = |key: &str| signed[key].as_str().unwrap().to_owned();
    (text("access_token"), text("user"))
}

/// What became of one edit.
fn edit(server: &Server, brane: &str, token: &str, mut edit: Value) -> Value {
    edit["n"] = json!(1);
    let body = json!({"client": Uuid::new_v4().to_string(), "edits": [edit]});
    let (status, answer) = server.post_as(&format!("/api/v1/brane/{brane}/edits"), &body, token);
    assert_eq!(status, 200, "{answer}");
    answer["outcomes"][0].clone()
}

fn block() -> Value {
    let id = Uuid::new_v4().to_string();
    json!({"op": "create", "id": id, "parent": 0, "kind": "block", "props": {"name": "stool"}})
}

#[test]
fn whoever_watches_sees_edits_rights_and_the_branes_end() {
    let directory = tempfile::tempdir().unwrap();
    let setting = [("AVVY_AUTH_DEVELOPMENT_SIGN_IN", "true")];
    let server = Server::start_with(&directory.path().join("data"), &setting);
    let ((ada, ada_id), (bob, bob_id)) = (sign_in(&server, "ada"), sign_in(&server, "bob"));
    let hall = json!({"name": "Hall", "kind": "showcase", "visibility": "private"});
    let (_, made) = server.post_as("/api/v1/brane", &hall, &ada);
    let hall = made["id"].as_str().unwrap().to_owned();
    let appoint = |role| {
        let ruling = json!({"op": "appoint", "user": bob_id, "role": role});
        assert!(edit(&server, &hall, &ada, ruling)["seq"].is_number());
    };
    appoint("builder");
    let watcher = Watcher::start(&server, &bob, &["--brane", &hall]);
    assert_eq!(watcher.until("live")["at"], json!([1, 1]));
    assert_eq!(watcher.until("rights")["role"], "builder");
    assert_eq!(watcher.until("here")["user"], bob_id.as_str());

    edit(&server, &hall, &ada, block());
    let created = watcher.until("created");
    assert_eq!((&created["seq"], &created["by"]), (&json!(2), &json!(ada_id)));
    assert_eq!((&created["handle"], &created["props"]["name"]), (&json!(1), &json!("stool")));
    edit(&server, &hall, &bob, json!({"op": "move", "t": 1, "position": [1, 2, 3]}));
    let moved = watcher.until("moved");
    assert_eq!(
        moved,
        json!({"event": "moved", "seq": 3, "handle": 1, "position": [1.0, 2.0, 3.0]})
    );
    let second = Watcher::start(&server, &ada, &["--brane", &hall, "--events", "1"]);
    assert_eq!(watcher.until("came")["user"], ada_id.as_str());
    assert_eq!(second.end(), (Some(0), String::new()));
    assert_eq!(watcher.until("left")["user"], ada_id.as_str());

    appoint("visitor");
    assert_eq!(watcher.until("rights")["verbs"], json!([]));
    assert_eq!(watcher.until("skipped"), json!({"event": "skipped", "seq": 4, "edits": 1}));
    assert_eq!(edit(&server, &hall, &bob, block())["code"], "not_permitted");
    let as_ada = format!("authorization: Bearer {ada}\r\ncontent-type: application/json\r\n");
    let path = format!("/api/v1/brane/{hall}");
    let named = format!("{as_ada}if-match: *\r\n");
    assert_eq!(server.send("PATCH", &path, &named, r#"{"name": "Lobby"}"#).0, 200);
    assert_eq!(watcher.until("changed")["name"], "Lobby");
    assert_eq!(server.request("DELETE", &path, &ada).0, 200);
    assert_eq!(watcher.until("closed")["code"], "brane_deleted");
    let (code, told) = watcher.end();
    assert_eq!((code, told.as_str()), (Some(1), "avvyland: the brane is left: brane_deleted\n"));
    assert_eq!(server.drain().code(), Some(0));
}

#[test]
fn it_ends_when_it_is_told_to_or_nobody_reads() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let server = Server::start(&data);
    for bound in [["--events", "2"], ["--seconds", "1"]] {
        let output = avvyland(&[&["watch"], &bound[..]].concat(), &data);
        assert_eq!(output.status.code(), Some(0), "{bound:?} {output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
    }
    let watcher = Watcher::start(&server, &server.token, &[]);
    watcher.until("live");
    let pid = watcher.child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(watcher.end(), (Some(0), String::new()));

    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(binary());
    let unread = command.args(["watch", "--data"]).arg(&data).stdout(writer).output().unwrap();
    assert_eq!((unread.status.code(), unread.stderr.len()), (Some(0), 0), "{unread:?}");
    assert_eq!(server.drain().code(), Some(0));
}

#[test]
fn who_is_not_let_in_is_told_why() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&directory.path().join("data"));
    let nowhere = Uuid::new_v4().to_string();
    let cases = [
        ("a.b.c", server.demo_brane.as_str(), "4502 not_authenticated: No token"),
        (server.token.as_str(), nowhere.as_str(), "not_found"),
    ];
    for (token, brane, why) in cases {
        let (code, told) = Watcher::start(&server, token, &["--brane", brane]).end();
        assert!(code == Some(1) && told.contains(why), "{code:?} {told}");
    }
    assert_eq!(server.drain().code(), Some(0));
}

/// A server of which each connection is answered so.
fn impostor(answer: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            // Whoever has heard enough hangs up.
            let _ = stream.write_all(&answer);
        }
    });
    url
}

/// What watching such a server ends with.
fn watching(url: &str, more: &[&str]) -> (Option<i32>, String) {
    let line = ["watch", "--url", url, "--token", "a.b.c"];
    let output = Command::new(binary()).args(line).args(more).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_server_that_is_none_of_ours_neither_steers_the_terminal_nor_holds_it_up() {
    let hostile = "\u{1b}]0;mine\u{7}\u{9b}2J\u{202e}";
    let refusal = ErrorMessage {
        code: Code::Forbidden,
        message: String::new(),
        details: Some(hostile.to_owned()),
        trace: TraceId::new(Uuid::nil()),
        retry_after_ms: None,
        operation: None,
        channel: None,
        address: None,
    };
    let body = encode(&ErrorMessageResponse::new(&refusal, 0), Format::Cbor);
    let refused = [b"HTTP/1.0 403 No\r\n\r\n", body.as_slice()].concat();
    let (code, told) = watching(&impostor(refused), &[]);
    assert!(code == Some(1) && told.contains("forbidden: \\u001b]0;mine"), "{code:?} {told}");
    assert!(told.trim_end().chars().all(|c| c.is_ascii_graphic() || c == ' '), "{told}");

    // Pages without end, and one that would ask for something else.
    for next in ["again", "a HTTP/1.0\r\nx: y"] {
        let page = BranePage { branes: Vec::new(), next: Some(next.to_owned()) };
        let page = encode(&page, Format::Cbor);
        let endless = [b"HTTP/1.0 200 OK\r\n\r\n", page.as_slice()].concat();
        let (code, told) = watching(&impostor(endless), &[]);
        assert!(code == Some(1) && told.starts_with("avvyland: the server"), "{code:?} {told}");
    }

    // One that takes connections and says nothing.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", mute.local_addr().unwrap());
    let brane = Uuid::new_v4().to_string();
    let (code, told) = watching(&url, &["--brane", &brane, "--seconds", "1"]);
    assert!(code == Some(1) && told.contains("--seconds"), "{code:?} {told}");
}

#[test]
fn it_comes_back_when_the_server_does_and_says_how_it_ends() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let server = Server::start(&data);
    let (address, token) = (server.address().to_owned(), server.token.clone());
    let watcher = Watcher::start(&server, &token, &["--brane", &server.demo_brane]);
    watcher.until("here");
    server.kill();
    assert_eq!(watcher.until("down")["code"], Value::Null);
    let server = Server::start_at(&address, &data);
    watcher.until("live");
    edit(&server, &server.demo_brane, &server.token, block());
    assert_eq!(watcher.until("created")["props"]["name"], "stool");

    assert!(avvyland(&["revoke", "--token", &token], &data).status.success());
    let down = watcher.until("down");
    assert_eq!((&down["code"], &down["name"]), (&json!(4506), &json!("token_revoked")));
    let (code, told) = watcher.end();
    assert!(code == Some(1) && told.contains("4506 token_revoked"), "{code:?} {told}");
    assert_eq!(server.drain().code(), Some(0));
}
