//! What is said to a server over sockets: whatever it is, it answers with what
//! can be read, and ends the connection.

use avvy_protocol::codec::decode_server;
use uuid::Uuid;

use crate::server::{ADMIN, BRANE, OBJECT, PROTOTYPE, Server, server};
use crate::{api, pieces};

/// What stands for a token that counts.
const TOKEN: &str = "{T}";
/// What stands for an `Idempotency-Key` that was not there yet.
const KEY: &str = "{K}";

/// A request: its head, and after it its body. The end of the head is added,
/// and the length of the body where the head says none.
pub fn http(bytes: &[u8]) {
    let server = server();
    let Some(request) = request(&server, bytes) else { return };
    let answer = server.ask(&request, false);
    if answer.starts_with(b"HTTP/1.") {
        let is_right = matches!(status(&answer), 101..=499 | 501 | 503 | 504);
        assert!(is_right, "{}", String::from_utf8_lossy(&answer));
    } else {
        assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    }
    server.restore();
}

/// What is said for this input; `None` for one without a body.
fn request(server: &Server, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut parts = pieces(bytes);
    let (head, body) = (parts.next()?, parts.next()?);
    let lower = head.to_ascii_lowercase();
    let says = |name: &str| lower.windows(name.len()).any(|part| part == name.as_bytes());
    let mut request = replace(head, TOKEN.as_bytes(), server.token().as_bytes());
    request = replace(&request, KEY.as_bytes(), server.draw().to_string().as_bytes());
    if !says("content-length") && !says("transfer-encoding") {
        request.extend_from_slice(format!("\r\ncontent-length: {}", body.len()).as_bytes());
    }
    request.extend_from_slice(b"\r\nconnection: close\r\n\r\n");
    request.extend_from_slice(body);
    Some(request)
}

fn status(answer: &[u8]) -> u16 {
    let digits = answer.get(9..12).and_then(|digits| str::from_utf8(digits).ok());
    digits.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// A request of each route with all that it reads, and the example of its body.
pub fn http_seeds() -> Vec<Vec<u8>> {
    api::operations().iter().map(seed).collect()
}

fn seed(operation: &api::Operation) -> Vec<u8> {
    let (path, query) = (path(operation), operation.query());
    let mark = if query.is_empty() { "" } else { "?" };
    let mut head = format!("{} {path}{mark}{query} HTTP/1.1\r\nhost: localhost", operation.method);
    let mut say = |name: &str, value: &str| head += &format!("\r\n{name}: {value}");
    if operation.is_for("token") {
        say("authorization", &format!("Bearer {TOKEN}"));
    }
    if operation.is_for("admin") {
        say("x-admin-token", ADMIN);
    }
    for parameter in operation.parameters().filter(|parameter| parameter.place == "header") {
        let value = match parameter.name {
            "Idempotency-Key" => KEY,
            "If-None-Match" => "\"1.cbor\"",
            _ => "*",
        };
        say(parameter.name, value);
    }
    say("accept", "application/json");
    let mut body = String::new();
    if let Some(example) = operation.request() {
        say("content-type", "application/json");
        let brane = format!("\"brane\":\"{}\"", Uuid::from_u128(BRANE));
        body = example.to_string().replace(&format!("\"brane\":\"{}\"", api::BRANE), &brane);
    }
    let piece = |text: &str| [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat();
    [piece(&head), piece(&body)].concat()
}

/// The path, with names of what is there where there is something.
fn path(operation: &api::Operation) -> String {
    let family = operation.path.trim_start_matches("/api/v1");
    let id = match family.split('/').nth(1) {
        Some("object") => OBJECT,
        Some("prototype") => PROTOTYPE,
        _ if family.contains("/users/") => BRANE + 1,
        _ => BRANE,
    };
    let names = [
        ("{id}", Uuid::from_u128(id).to_string()),
        ("{object}", Uuid::from_u128(OBJECT).to_string()),
        ("{prototype}", Uuid::from_u128(PROTOTYPE).to_string()),
        ("{address}", api::WALLET.to_owned()),
        ("{provider}", "google".to_owned()),
    ];
    let path = operation.path.clone();
    names.into_iter().fold(path, |path, (name, value)| path.replace(name, &value))
}

/// What follows the upgrade to a WebSocket.
pub fn websocket(bytes: &[u8]) {
    let server = server();
    let upgrade = format!(
        "GET /ws HTTP/1.1\r\nhost: fuzz\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         authorization: Bearer {}\r\n\r\n",
        server.token()
    );
    let answer = server.ask(&[upgrade.as_bytes(), bytes].concat(), true);
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let Some(end) = end else {
        // A reset can take the answer with it.
        return assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    };
    let mut rest = &answer[end + 4..];
    while let Some((opcode, payload, behind)) = frame(rest) {
        match opcode {
            0x82 => drop(decode_server(payload).expect("the server says messages")),
            0x88 => assert!(behind.is_empty(), "something follows the end"),
            0x8a => {}
            other => panic!("a frame that begins with {other:#x}"),
        }
        rest = behind;
    }
}

/// The frame at the front: its first byte, its payload, and what follows. The
/// last one may be cut.
fn frame(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[first, length], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = match length {
        126 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        127 => {
            let (length, rest) = rest.split_first_chunk::<8>()?;
            (u64::from_be_bytes(*length) as usize, rest)
        }
        short => {
            assert!(short < 126, "the server masks nothing");
            (usize::from(short), rest)
        }
    };
    let (payload, rest) = rest.split_at_checked(length)?;
    Some((first, payload, rest))
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    match bytes.windows(from.len()).position(|part| part == from) {
        Some(at) => [&bytes[..at], to, &bytes[at + from.len()..]].concat(),
        None => bytes.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No seed is turned away before its route has looked at it.
    #[test]
    fn seeds_reach_their_routes() {
        for (operation, seed) in api::operations().iter().zip(http_seeds()) {
            let server = server();
            let request = request(&server, &seed).expect("a seed has two parts");
            let answer = String::from_utf8_lossy(&server.ask(&request, false)).into_owned();
            let is_reached = !matches!(status(answer.as_bytes()), 401 | 405 | 413 | 415 | 431)
                && !answer.contains("there is no such path");
            // This one refuses what is no refresh token so.
            let is_reached = is_reached || operation.path.ends_with("/refresh");
            assert!(is_reached, "{} {}: {answer}", operation.method, operation.path);
            server.restore();
        }
    }
}
