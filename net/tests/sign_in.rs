//! Signing in, staying so, and signing out, over HTTP.

#![allow(clippy::unwrap_used)]

mod common;

use avvy_model::Role;
use avvy_net::NetConfig;
use avvy_protocol::close::CloseCode;
use avvy_protocol::rest::{Format, encode};
use avvy_protocol::{ClientMessage, ServerMessage};
use common::wallet::Wallet;
use common::ws::Ws;
use common::{Client, TestServer};
use serde_json::{Value as Json, json};

const DEV: &str = "/api/v1/auth/dev";
const REFRESH: &str = "/api/v1/auth/refresh";
const CHALLENGE: &str = "/api/v1/auth/challenge";
const WALLET: &str = "/api/v1/auth/wallet";
const WALLETS: &str = "/api/v1/auth/wallets";
const SESSIONS: &str = "/api/v1/auth/sessions";

async fn client(server: &TestServer) -> Client {
    let mut client = server.client().await;
    client.token = None;
    client
}

fn text(body: &Json, key: &str) -> String {
    body[key].as_str().unwrap_or_else(|| panic!("{key} in {body}")).to_owned()
}

async fn good(client: &mut Client, method: &str, path: &str, body: Option<Json>) -> Json {
    let (status, body) = client.json(method, path, body).await;
    assert_eq!(status, 200, "{method} {path}: {body}");
    body
}

async fn refused(client: &mut Client, path: &str, body: Json) -> (u16, String) {
    let (status, body) = client.json("POST", path, Some(body)).await;
    (status, text(&body, "code"))
}

fn code(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

async fn sign_in(client: &mut Client, name: &str) -> Json {
    good(client, "POST", DEV, Some(json!({"name": name}))).await
}

#[tokio::test]
async fn tokens_of_a_sign_in_open_the_door_and_are_followed_by_others() {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    let first = sign_in(&mut client, "ada").await;
    assert_eq!(first["is_new"], json!(true));
    let again = sign_in(&mut client, "ada").await;
    assert_eq!((&again["user"], &again["is_new"]), (&first["user"], &json!(false)));
    // Nobody keeps such an answer.
    let body = json!({"name": "ada"}).to_string();
    let headers = [("content-type", "application/json"), ("user-agent", "curl/8")];
    let answer = client.ask("POST", DEV, &headers, body.as_bytes()).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")));

    let next = json!({"refresh_token": first["refresh_token"]});
    let second = good(&mut client, "POST", REFRESH, Some(next.clone())).await;
    assert_eq!(second["session"], first["session"]);
    let mut ws = Ws::open(&server).await;
    ws.greet(&text(&second, "access_token")).await;
    client.token = Some(text(&second, "access_token"));
    let listed = good(&mut client, "GET", SESSIONS, None).await;
    let listed = listed["sessions"].as_array().unwrap();
    assert_eq!(listed.len(), 3);
    let this: Vec<&Json> = listed.iter().filter(|one| one["is_this"] == json!(true)).collect();
    assert_eq!((this.len(), &this[0]["id"]), (1, &first["session"]));
    assert!(listed.iter().any(|one| one["agent"] == json!("curl/8")), "{listed:?}");

    // The first token again, after its successor was used: all of it ends, the
    // WebSocket, too.
    let third = json!({"refresh_token": second["refresh_token"]});
    good(&mut client, "POST", REFRESH, Some(third.clone())).await;
    assert_eq!(refused(&mut client, REFRESH, next).await, code(401, "token_revoked"));
    assert_eq!(ws.closed().await, Some(CloseCode::TokenRevoked));
    assert_eq!(client.ask("GET", SESSIONS, &[], b"").await.status, 401);
    assert_eq!(refused(&mut client, REFRESH, third).await, code(401, "token_invalid"));
    drop((ws, client));
    server.end().await;
}

/// A page whose own name leads to this machine by now (DNS rebinding) asks in the
/// browser of whoever develops here, as a proxy does for anybody.
#[tokio::test]
async fn only_who_means_this_machine_signs_in_by_a_name() {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    let body = json!({"name": "ada"}).to_string();
    let length = body.len();
    let cases = [
        ("host: localhost", 200),
        ("host: LOCALHOST:7878", 200),
        ("host: 127.0.0.1:7878", 200),
        ("host: [::1]:7878", 200),
        ("host: app.localhost", 200),
        ("host: evil.example", 403),
        ("host: evil.example:7878", 403),
        ("host: localhost.evil.example", 403),
        ("host: 127.0.0.1.evil.example", 403),
        ("host: 192.0.2.1", 403),
        ("host: localhost\r\nx-forwarded-for: 192.0.2.1", 403),
        ("host: localhost\r\nforwarded: for=192.0.2.1", 403),
    ];
    for (head, status) in cases {
        let request = format!(
            "POST {DEV} HTTP/1.1\r\n{head}\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        client.say(request.as_bytes()).await;
        let answer = client.answer("POST").await.unwrap();
        assert_eq!(answer.status, status, "{head}");
        if status == 403 {
            assert_eq!(answer.code(), "forbidden");
        }
    }
    drop(client);
    server.end().await;
}

#[tokio::test]
async fn signing_out_closes_what_is_open() {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    let mut signed_in = Vec::new();
    for name in ["ada", "ada", "ada", "bob"] {
        let tokens = sign_in(&mut client, name).await;
        let mut ws = Ws::open(&server).await;
        ws.greet(&text(&tokens, "access_token")).await;
        signed_in.push((tokens, ws));
    }
    let token = |nth: usize, all: &Vec<(Json, Ws)>| Some(text(&all[nth].0, "access_token"));
    client.token = token(0, &signed_in);
    let out = client.ask("POST", "/api/v1/auth/sign-out", &[], b"").await;
    assert_eq!(out.status, 204, "{out:?}");
    assert_eq!(signed_in[0].1.closed().await, Some(CloseCode::TokenRevoked));
    // Another one of one's own, by its id; not somebody else's.
    client.token = token(1, &signed_in);
    let path =
        |nth: usize, all: &Vec<(Json, Ws)>| format!("{SESSIONS}/{}", text(&all[nth].0, "session"));
    let theirs = client.ask("DELETE", &path(3, &signed_in), &[], b"").await;
    assert_eq!((theirs.status, theirs.code().as_str()), (404, "not_found"));
    assert_eq!(client.ask("DELETE", &path(2, &signed_in), &[], b"").await.status, 204);
    assert_eq!(signed_in[2].1.closed().await, Some(CloseCode::TokenRevoked));
    let nonsense = client.ask("DELETE", &format!("{SESSIONS}/x"), &[], b"").await;
    assert_eq!(nonsense.status, 404);

    let all = client.ask("POST", "/api/v1/auth/sign-out-everywhere", &[], b"").await;
    assert_eq!(all.status, 204, "{all:?}");
    assert_eq!(signed_in[1].1.closed().await, Some(CloseCode::TokenRevoked));
    for (tokens, _) in &signed_in[..3] {
        let body = json!({"refresh_token": tokens["refresh_token"]});
        let (status, name) = refused(&mut client, REFRESH, body).await;
        assert_eq!(status, 401, "{name}");
    }
    let (_, theirs) = &mut signed_in[3];
    theirs.say(&ClientMessage::Ping { nonce: 7 }).await;
    theirs.until(|message| matches!(message, ServerMessage::Pong { .. })).await;
    drop((signed_in, client));
    server.end().await;
}

#[tokio::test]
async fn wallets_sign_in_come_and_go() {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    let (first, second) = (Wallet::new(1), Wallet::new(2));
    let ask = json!({"address": first.address()});
    let asked = good(&mut client, "POST", CHALLENGE, Some(ask.clone())).await;
    let signed = first.sign(&text(&asked, "message"));
    let tokens = good(&mut client, "POST", WALLET, Some(signed.clone())).await;
    assert_eq!(tokens["is_new"], json!(true));
    // Once.
    assert_eq!(refused(&mut client, WALLET, signed).await, code(403, "proof_invalid"));
    // Another site's message, another's signature, another's nonce.
    let asked = good(&mut client, "POST", CHALLENGE, Some(ask.clone())).await;
    let foreign = text(&asked, "message").replace("example.org", "example.com");
    let answer = refused(&mut client, WALLET, first.sign(&foreign)).await;
    assert_eq!(answer, code(403, "proof_invalid"));
    let asked = good(&mut client, "POST", CHALLENGE, Some(ask.clone())).await;
    let answer = refused(&mut client, WALLET, second.sign(&text(&asked, "message"))).await;
    assert_eq!(answer, code(403, "proof_invalid"));
    let nonsense = json!({"message": "hello", "signature": format!("0x{}", "0".repeat(130))});
    assert_eq!(refused(&mut client, WALLET, nonsense).await, code(400, "malformed"));

    // Attaching needs a token, and the wallet's word.
    let attach = json!({"address": second.address(), "purpose": "attach"});
    assert_eq!(
        refused(&mut client, CHALLENGE, attach.clone()).await,
        code(401, "not_authenticated")
    );
    client.token = Some(text(&tokens, "access_token"));
    let asked = good(&mut client, "POST", CHALLENGE, Some(attach)).await;
    let signed = second.sign(&text(&asked, "message"));
    let wallets = good(&mut client, "POST", WALLETS, Some(signed)).await;
    assert_eq!(wallets["wallets"].as_array().unwrap().len(), 2);
    let detach = json!({
        "address": first.address(), "purpose": "detach", "wallet": second.address(),
    });
    let asked = good(&mut client, "POST", CHALLENGE, Some(detach)).await;
    let signed = first.sign(&text(&asked, "message"));
    let path = format!("{WALLETS}/{}", second.address());
    let wallets = good(&mut client, "DELETE", &path, Some(signed)).await;
    assert_eq!(wallets, json!({"wallets": [first.address()]}));
    let detach = json!({
        "address": first.address(), "purpose": "detach", "wallet": first.address(),
    });
    let asked = good(&mut client, "POST", CHALLENGE, Some(detach)).await;
    let signed = first.sign(&text(&asked, "message"));
    let path = format!("{WALLETS}/{}", first.address());
    let (status, body) = client.json("DELETE", &path, Some(signed)).await;
    assert_eq!((status, body["code"].as_str()), (403, Some("forbidden")), "the last way in");
    assert_eq!(good(&mut client, "GET", WALLETS, None).await, wallets);
    let odd = json!({"address": first.address(), "purpose": "detach"});
    assert_eq!(refused(&mut client, CHALLENGE, odd).await, code(400, "malformed"));
    let odd = json!({"address": first.address().to_lowercase()});
    assert_eq!(refused(&mut client, CHALLENGE, odd).await, code(400, "malformed"));
    drop(client);
    server.end().await;
}

/// A token that was found is not enough: who attaches has signed in just now, and
/// what was attached takes nothing older away.
#[tokio::test]
async fn nobody_takes_an_account_over_by_a_wallet_of_their_own() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let (owner, thief) = (Wallet::new(1), Wallet::new(2));
    let attach = json!({"address": thief.address(), "purpose": "attach"});
    let asked = good(&mut client, "POST", CHALLENGE, Some(attach.clone())).await;
    let signed = thief.sign(&text(&asked, "message"));
    assert_eq!(refused(&mut client, WALLETS, signed).await, code(403, "forbidden"));
    assert_eq!(good(&mut client, "GET", WALLETS, None).await, json!({"wallets": []}));

    client.token = None;
    let ask = json!({"address": owner.address()});
    let asked = good(&mut client, "POST", CHALLENGE, Some(ask)).await;
    let signed = owner.sign(&text(&asked, "message"));
    let tokens = good(&mut client, "POST", WALLET, Some(signed)).await;
    client.token = Some(text(&tokens, "access_token"));
    // Later by a second, in which times are counted.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let asked = good(&mut client, "POST", CHALLENGE, Some(attach)).await;
    good(&mut client, "POST", WALLETS, Some(thief.sign(&text(&asked, "message")))).await;
    let detach = json!({
        "address": thief.address(), "purpose": "detach", "wallet": owner.address(),
    });
    let asked = good(&mut client, "POST", CHALLENGE, Some(detach)).await;
    let signed = thief.sign(&text(&asked, "message"));
    let path = format!("{WALLETS}/{}", owner.address());
    let (status, body) = client.json("DELETE", &path, Some(signed)).await;
    assert_eq!((status, body["code"].as_str()), (403, Some("forbidden")));
    // The owner has signed in just now, and needs no signature.
    let path = format!("{WALLETS}/{}", thief.address());
    let left = good(&mut client, "DELETE", &path, None).await;
    assert_eq!(left, json!({"wallets": [owner.address()]}));
    drop(client);
    server.end().await;
}

#[tokio::test]
async fn whoever_has_no_token_has_a_rate() {
    let config = NetConfig { sign_ins_per_second: 1, sign_ins_burst: 3, ..NetConfig::default() };
    let server = TestServer::with(config).await;
    let mut client = client(&server).await;
    let address = Wallet::new(1).address();
    for (path, body) in [
        (DEV, json!({"name": "ada"})),
        (CHALLENGE, json!({"address": address})),
        (REFRESH, json!({"refresh_token": "nonsense"})),
    ] {
        // Each of its own: what one has used up is there for the other.
        for _ in 0..3 {
            let (status, _) = client.json("POST", path, Some(body.clone())).await;
            assert_ne!(status, 429, "{path}");
        }
        let body = body.to_string();
        let headers = [("content-type", "application/json")];
        let answer = client.ask("POST", path, &headers, body.as_bytes()).await;
        assert_eq!((answer.status, answer.code().as_str()), (429, "rate_limited"), "{path}");
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    drop(client);
    server.end().await;
}

#[tokio::test]
async fn failures_lock_out_and_say_for_how_long() {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    let (wallet, thief) = (Wallet::new(1), Wallet::new(2));
    let mut last = code(0, "");
    for _ in 0..32 {
        let ask = json!({"address": wallet.address()});
        let asked = good(&mut client, "POST", CHALLENGE, Some(ask)).await;
        let forged = thief.sign(&text(&asked, "message"));
        let (status, body) = client.json("POST", WALLET, Some(forged)).await;
        last = (status, text(&body, "code"));
        if status == 429 {
            assert!(body["retry_after_ms"].as_u64().unwrap() > 0, "{body}");
        }
    }
    assert_eq!(last, code(429, "rate_limited"));
    drop(client);
    server.end().await;
}

/// A browser does not ask first whether a page may send bytes of which it says
/// nothing.
#[tokio::test]
async fn no_page_fails_to_sign_in_for_those_who_look_at_it() {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    let wallet = Wallet::new(1);
    let ask = json!({"address": wallet.address()});
    let asked = good(&mut client, "POST", CHALLENGE, Some(ask.clone())).await;
    let forged = Wallet::new(2).sign(&text(&asked, "message"));
    let body = |body: &Json| encode(body, Format::Cbor);
    let page = ("origin", "https://evil.example");
    for _ in 0..40 {
        let answer = client.ask("POST", WALLET, &[page], &body(&forged)).await;
        assert_eq!((answer.status, answer.code().as_str()), (415, "unsupported_media_type"));
    }
    let refresh = json!({"refresh_token": "x"});
    let ticket = json!({"ticket": "x", "verifier": "x"});
    let dev = json!({"name": "ada"});
    let all = [
        (DEV, &dev, 200),
        (CHALLENGE, &ask, 200),
        (WALLET, &forged, 403),
        (REFRESH, &refresh, 401),
        ("/api/v1/auth/oidc/token", &ticket, 403),
    ];
    for (path, sent, status) in all {
        let answer = client.ask("POST", path, &[page], &body(sent)).await;
        assert_eq!(answer.status, 415, "{path}");
        // It asks first for this, and programs say nothing of pages.
        let said = ("content-type", "application/cbor");
        for headers in [&[page, said][..], &[]] {
            let answer = client.ask("POST", path, headers, &body(sent)).await;
            assert_eq!(answer.status, status, "{path} {headers:?}: {answer:?}");
        }
    }
    drop(client);
    server.end().await;
}

/// Tokens that no sign-in gave end alone.
#[tokio::test]
async fn a_token_of_the_operator_signs_out_by_itself() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let (mine, other) = (server.token(), server.token_for(1, Role::Owner, 900));
    client.token = Some(mine.clone());
    assert_eq!(client.ask("POST", "/api/v1/auth/sign-out", &[], b"").await.status, 204);
    assert_eq!(client.ask("GET", SESSIONS, &[], b"").await.code(), "token_revoked");
    client.token = Some(other);
    let none = good(&mut client, "GET", SESSIONS, None).await;
    assert_eq!(none, json!({"sessions": []}));
    drop(client);
    server.end().await;
}
