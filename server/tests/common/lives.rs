//! What has become of a brane, and how it changes.

use serde_json::{Value, json};

use super::Server;

/// Makes a public brane.
pub fn brane(server: &Server) -> String {
    let asked = json!({"name": "Hall", "visibility": "public"});
    let (status, brane) = server.post_own("/api/v1/brane", &asked);
    assert_eq!(status, 201, "{brane}");
    brane["id"].as_str().unwrap().to_owned()
}

/// What has become of a brane, as whoever has this token is told: its `life`, or
/// the code of the refusal.
pub fn life_for(server: &Server, brane: &str, token: &str) -> String {
    let (_, body) = server.request("GET", &format!("/api/v1/brane/{brane}"), token);
    let told: Value = serde_json::from_str(&body).unwrap();
    let life = told["life"].as_str().or(told["code"].as_str());
    life.unwrap_or_else(|| panic!("{told}")).to_owned()
}

/// The same for the server's own user.
pub fn life(server: &Server, brane: &str) -> String {
    life_for(server, brane, &server.token)
}

/// Asks for a change by the server's own user, of whatever version.
pub fn change(server: &Server, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let headers = format!(
        "content-type: application/json\r\nif-match: *\r\nauthorization: Bearer {}\r\n",
        server.token
    );
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (status, body) = server.send(method, &format!("/api/v1/brane/{path}"), &headers, &body);
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

/// The same, which has to be done.
pub fn changed(server: &Server, method: &str, path: &str, body: &Value) {
    let (status, answer) = change(server, method, path, body);
    assert_eq!(status, 200, "{answer}");
}
