//! Tokens of other issuers, whose keys the server fetches from a real one.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use avvy_client::net::{Client, ClientOptions};
use base64ct::{Base64UrlUnpadded, Encoding};
use common::Server;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::rsa::{KeyPairComponents, PublicKeyComponents};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);
const HOUR_MS: &str = "3600000";

/// An issuer's key set on a port of its own.
struct Keys {
    url: String,
    body: Arc<Mutex<(u16, String)>>,
    asked: Arc<AtomicUsize>,
}

impl Keys {
    fn serve(keys: &[Value]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let body = Arc::new(Mutex::new((200, json!({"keys": keys}).to_string())));
        let asked = Arc::new(AtomicUsize::new(0));
        let (says, counted) = (Arc::clone(&body), Arc::clone(&asked));
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                counted.fetch_add(1, Ordering::SeqCst);
                let (status, body) = says.lock().unwrap().clone();
                answer(stream, status, &body);
            }
        });
        Self { url, body, asked }
    }

    fn say(&self, status: u16, body: &str) {
        *self.body.lock().unwrap() = (status, body.to_owned());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn answer(mut stream: TcpStream, status: u16, body: &str) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n"
    );
    // Whoever has heard enough hangs up.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
}

/// The keys of RFC 7515, which are published, and one of ours.
fn rfc() -> Value {
    serde_json::from_str(include_str!("../../auth/tests/vectors/rfc7515.json")).unwrap()
}

fn bytes(text: &Value) -> Vec<u8> {
    Base64UrlUnpadded::decode_vec(text.as_str().unwrap()).unwrap()
}

fn text(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

fn ed25519(nth: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[nth; 32]).unwrap()
}

fn public(key: &str, kid: &str) -> Value {
    if key == "ed" {
        let x = text(ed25519(7).public_key().as_ref());
        return json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "use": "sig"});
    }
    let mut jwk = rfc()[key].take();
    let object = jwk.as_object_mut().unwrap();
    object.retain(|name, _| matches!(&**name, "kty" | "crv" | "x" | "y" | "n" | "e"));
    object.insert("kid".to_owned(), kid.into());
    jwk
}

fn all_keys() -> Vec<Value> {
    vec![public("rsa", "r"), public("ec", "p"), public("ed", "e")]
}

fn sign(key: &str, message: &[u8]) -> Vec<u8> {
    let (rfc, random) = (rfc(), SystemRandom::new());
    match key {
        "ed" => ed25519(7).sign(message).as_ref().to_vec(),
        "ec" => {
            let part = |name: &str| bytes(&rfc["ec"][name]);
            let point = [vec![4], part("x"), part("y")].concat();
            let (algorithm, d) = (&ECDSA_P256_SHA256_FIXED_SIGNING, part("d"));
            let pair =
                EcdsaKeyPair::from_private_key_and_public_key(algorithm, &d, &point, &random);
            pair.unwrap().sign(&random, message).unwrap().as_ref().to_vec()
        }
        "rsa" => {
            let part = |name: &str| bytes(&rfc["rsa"][name]);
            let pair = RsaKeyPair::from_components(&KeyPairComponents {
                public_key: PublicKeyComponents { n: part("n"), e: part("e") },
                d: part("d"),
                p: part("p"),
                q: part("q"),
                dP: part("dp"),
                dQ: part("dq"),
                qInv: part("qi"),
            })
            .unwrap();
            let mut signature = vec![0; pair.public().modulus_len()];
            pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
            signature
        }
        // As if the public key were a shared secret.
        _ => {
            let secret = bytes(&rfc["rsa"]["n"]);
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), message).as_ref().to_vec()
        }
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn payload(issuer: &str) -> Value {
    json!({"iss": issuer, "sub": "someone|7", "aud": "avvy", "iat": now_s(), "exp": now_s() + 600})
}

fn token(key: &str, header: &Value, payload: &Value) -> String {
    let part = |value: &Value| text(value.to_string().as_bytes());
    let message = format!("{}.{}", part(header), part(payload));
    format!("{message}.{}", text(&sign(key, message.as_bytes())))
}

fn external(issuer: &str, keys: &Keys, role: &str) -> String {
    let url = &keys.url;
    format!("{{ issuer = '{issuer}', audience = 'avvy', jwks_url = '{url}', role = '{role}' }}")
}

fn ask(server: &Server, token: &str) -> (u16, String) {
    let (status, body) = server.request("GET", "/api/v1/brane", token);
    let body: Value = serde_json::from_str(&body).unwrap();
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

fn refused(code: &str) -> (u16, String) {
    (401, code.to_owned())
}

#[test]
fn tokens_of_every_algorithm_count_and_those_of_nobody_do_not() {
    let directory = tempfile::tempdir().unwrap();
    let (mine, theirs) = (Keys::serve(&all_keys()), Keys::serve(&[public("ed", "e2")]));
    let issuers =
        [external("https://id.example", &mine, "editor"), external("other", &theirs, "visitor")];
    let server = Server::start_with(
        &directory.path().join("data"),
        &[
            ("AVVY_AUTH_EXTERNAL", &format!("[{}]", issuers.join(", "))),
            // Keys are fetched once in this test.
            ("AVVY_AUTH_KEYS_PAUSE_MS", HOUR_MS),
            ("AVVY_AUTH_KEYS_MAX_PAUSE_MS", HOUR_MS),
        ],
    );
    let said = payload("https://id.example");
    for (key, alg, kid) in [("rsa", "RS256", "r"), ("ec", "ES256", "p"), ("ed", "EdDSA", "e")] {
        let good = token(key, &json!({"alg": alg, "kid": kid}), &said);
        assert_eq!(ask(&server, &good), (200, String::new()), "{alg}");
    }
    let cases = [
        ("none", token("rsa", &json!({"alg": "none", "kid": "r"}), &said)),
        ("HS256 with the public key", token("hmac", &json!({"alg": "HS256", "kid": "r"}), &said)),
        ("another key's algorithm", token("ec", &json!({"alg": "RS256", "kid": "p"}), &said)),
        ("another key's name", token("ed", &json!({"alg": "EdDSA", "kid": "p"}), &said)),
        ("a path for a name", token("ed", &json!({"alg": "EdDSA", "kid": "../../e"}), &said)),
        ("no name", token("ed", &json!({"alg": "EdDSA"}), &said)),
        (
            "a key that it brings along",
            token("ed", &json!({"alg": "EdDSA", "kid": "x", "jwk": public("ed", "x")}), &said),
        ),
        (
            "another issuer's key",
            token("ed", &json!({"alg": "EdDSA", "kid": "e"}), &payload("other")),
        ),
        ("our issuer", token("ed", &json!({"alg": "EdDSA", "kid": "e"}), &payload("avvyland"))),
        ("nobody's", token("ed", &json!({"alg": "EdDSA", "kid": "e"}), &payload("https://x"))),
    ];
    for (what, bad) in cases {
        assert_eq!(ask(&server, &bad), refused("token_invalid"), "{what}");
    }
    let mut late = said.clone();
    late["iat"] = json!(now_s() - 900);
    late["exp"] = json!(now_s() - 300);
    let late = token("ed", &json!({"alg": "EdDSA", "kid": "e"}), &late);
    assert_eq!(ask(&server, &late), refused("token_expired"));
    let mut elsewhere = said.clone();
    elsewhere["aud"] = json!("another");
    let elsewhere = token("ed", &json!({"alg": "EdDSA", "kid": "e"}), &elsewhere);
    assert_eq!(ask(&server, &elsewhere), refused("token_invalid"));

    // However many names are made up, nobody is asked more often for it.
    for nth in 0..200 {
        let header = json!({"alg": "EdDSA", "kid": format!("made-up-{nth}")});
        assert_eq!(ask(&server, &token("ed", &header, &said)), refused("token_invalid"));
    }
    assert_eq!((mine.asked(), theirs.asked()), (1, 1));
    assert_eq!(server.drain().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bearer_of_another_issuers_token_is_somebody_and_can_be_signed_out() {
    let directory = tempfile::tempdir().unwrap();
    let keys = Keys::serve(&all_keys());
    let issuers = format!("[{}]", external("https://id.example", &keys, "owner"));
    let data = directory.path().join("data");
    let server = Server::start_with(&data, &[("AVVY_AUTH_EXTERNAL", &issuers)]);
    let good = token("ec", &json!({"alg": "ES256", "kid": "p"}), &payload("https://id.example"));
    assert_eq!(ask(&server, &good).0, 200);
    let connecting = Client::connect(&server.url, &good, ClientOptions::default());
    let client = tokio::time::timeout(PATIENCE, connecting).await.unwrap().unwrap();
    let brane = server.demo_brane.parse().unwrap();
    tokio::time::timeout(PATIENCE, client.join(brane)).await.unwrap().unwrap();
    let (status, body) = server.request("POST", "/api/v1/token/revoke", &good);
    assert_eq!(status, 200, "{body}");
    assert_eq!(ask(&server, &good), refused("token_revoked"));
    drop(client);
}

#[test]
fn keys_that_took_turns_are_fetched_and_an_issuer_that_is_away_is_no_reason_to_refuse_for_good() {
    let directory = tempfile::tempdir().unwrap();
    let keys = Keys::serve(&all_keys());
    keys.say(500, "away");
    let issuers = format!("[{}]", external("https://id.example", &keys, "editor"));
    let settings = [("AVVY_AUTH_EXTERNAL", issuers.as_str()), ("AVVY_AUTH_KEYS_PAUSE_MS", "100")];
    let server = Server::start_with(&directory.path().join("data"), &settings);
    let said = payload("https://id.example");
    let by = |kid: &str| token("ed", &json!({"alg": "EdDSA", "kid": kid}), &said);
    assert_eq!(ask(&server, &by("e")), (503, "unavailable".to_owned()));
    keys.say(200, &"[".repeat(1 << 20));
    assert_eq!(ask(&server, &by("e")), (503, "unavailable".to_owned()), "too long, and none");
    keys.say(200, &json!({"keys": all_keys()}).to_string());
    until(|| ask(&server, &by("e")).0 == 200);
    keys.say(200, &json!({"keys": [public("ed", "next")]}).to_string());
    until(|| ask(&server, &by("next")).0 == 200);
    // The former one was taken back.
    assert_eq!(ask(&server, &by("e")), refused("token_invalid"));
    keys.say(500, "away again");
    assert_eq!(ask(&server, &by("next")).0, 200, "what is known counts");
}

fn until(is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "it does not come to be so");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}
