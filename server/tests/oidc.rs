//! Signing in by an account elsewhere, at a real provider: every redirect is
//! followed as a browser would, with cookies.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding};
use common::Server;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// What the provider believes the server's address to be.
const PUBLIC: &str = "http://localhost:1";
const APP: &str = "https://app.example/back";
/// The app's secret, and what it promises with.
const VERIFIER: &str = "the-secret-that-the-app-keeps-until-it-is-back";

fn challenge() -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, VERIFIER.as_bytes());
    Base64UrlUnpadded::encode_string(hash.as_ref())
}

/// A provider as a process of its own.
struct Provider {
    child: Child,
    issuer: String,
    /// It would end if nobody listened.
    _says: BufReader<ChildStdout>,
}

impl Provider {
    fn start() -> Self {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
        let modules = root.join(".cache/oidc-provider/node_modules");
        assert!(modules.exists(), "no OpenID provider; `cargo xtask test` fetches it");
        let mut child = Command::new("node")
            .arg(root.join("server/tests/provider/provider.mjs"))
            .args([modules.to_str().unwrap(), &format!("{PUBLIC}/api/v1/auth/oidc/local/callback")])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut issuer = String::new();
        let mut says = BufReader::new(child.stdout.take().unwrap());
        says.read_line(&mut issuer).unwrap();
        Self { child, issuer: issuer.trim().to_owned(), _says: says }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn server(provider: &Provider, client: &str, directory: &tempfile::TempDir) -> Server {
    let issuer = &provider.issuer;
    let providers = format!(
        "[{{ name = 'local', issuer = '{issuer}', client_id = '{client}', \
         client_secret = 'a secret: with signs +/%', scopes = ['profile'] }}]"
    );
    let settings = [
        ("AVVY_AUTH_PROVIDERS", providers.as_str()),
        ("AVVY_AUTH_PUBLIC_URL", PUBLIC),
        ("AVVY_AUTH_DEVELOPMENT_SIGN_IN", "true"),
        ("AVVY_AUTH_REDIRECTS", "['https://app.example/back', 'https://app.example/?page=in']"),
    ];
    Server::start_with(&directory.path().join("data"), &settings)
}

/// An answer: status, headers, body.
struct Answer {
    status: u16,
    location: String,
    cookies: Vec<String>,
    body: String,
}

impl Answer {
    fn code(&self) -> (u16, String) {
        let body: Value = serde_json::from_str(&self.body).unwrap();
        (self.status, body["code"].as_str().unwrap().to_owned())
    }
}

/// A browser with its cookies, by host and port.
struct Browser {
    /// Where what is at [`PUBLIC`] is found.
    server: String,
    jars: BTreeMap<String, BTreeMap<String, String>>,
}

impl Browser {
    fn new(server: &Server) -> Self {
        Self { server: server.address().to_owned(), jars: BTreeMap::new() }
    }

    fn get(&mut self, url: &str) -> Answer {
        let (_, rest) = url.split_once("://").unwrap();
        let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let jar = self.jars.entry(host.to_owned()).or_default();
        let cookies: Vec<_> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let address = if url.starts_with(PUBLIC) { self.server.as_str() } else { host };
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let cookies = cookies.join("; ");
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: {host}\r\ncookie: {cookies}\r\n\
             accept: application/json, */*;q=0.5\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = Vec::new();
        // A reset is an end, too.
        let _ = stream.read_to_end(&mut answer);
        let answer = read(&String::from_utf8_lossy(&answer));
        for cookie in &answer.cookies {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            match value {
                "" => jar.remove(name),
                value => jar.insert(name.to_owned(), value.to_owned()),
            };
        }
        answer
    }

    /// Goes on until an answer leads to one of these, or nowhere.
    fn follow(&mut self, url: &str, until: &[&str]) -> String {
        let mut url = url.to_owned();
        for _ in 0..20 {
            if until.iter().any(|end| url.starts_with(end)) {
                return url;
            }
            let answer = self.get(&url);
            assert!(
                (300..400).contains(&answer.status),
                "{url}: {} {}",
                answer.status,
                answer.body
            );
            let origin = url.split('/').take(3).collect::<Vec<_>>().join("/");
            url = match answer.location.starts_with('/') {
                true => format!("{origin}{}", answer.location),
                false => answer.location,
            };
        }
        panic!("it goes round and round: {url}");
    }
}

fn read(answer: &str) -> Answer {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let headers = |wanted: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(": "));
        let found = lines.filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.to_owned()).collect::<Vec<_>>()
    };
    let location = headers("location").into_iter().next().unwrap_or_default();
    Answer { status, location, cookies: headers("set-cookie"), body: body.to_owned() }
}

fn begin(redirect: &str, challenge: &str) -> String {
    let redirect: String = redirect.bytes().map(|byte| format!("%{byte:02X}")).collect();
    format!("{PUBLIC}/api/v1/auth/oidc/local/start?redirect_to={redirect}&challenge={challenge}")
}

fn param(url: &str, name: &str) -> Option<String> {
    let query = url.split_once('?')?.1;
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}

fn redeem(server: &Server, ticket: &str, verifier: &str) -> (u16, Value) {
    server.post("/api/v1/auth/oidc/token", &json!({"ticket": ticket, "verifier": verifier}))
}

#[test]
fn an_account_elsewhere_signs_in_the_same_user_each_time() {
    let (provider, directory) = (Provider::start(), tempfile::tempdir().unwrap());
    for client in ["avvyland", "by-form"] {
        let directory = tempfile::tempdir_in(&directory).unwrap();
        let server = server(&provider, client, &directory);
        let mut users = Vec::new();
        for redirect in [APP, "https://app.example/?page=in"] {
            let mut browser = Browser::new(&server);
            let back = browser.follow(&begin(redirect, &challenge()), &["https://app.example"]);
            assert!(back.starts_with(redirect), "{back}");
            let ticket = param(&back, "ticket").unwrap();
            // Who finds the ticket in a log has no use for it, and takes it away.
            if users.is_empty() {
                let (status, body) = redeem(&server, &ticket, "another secret");
                assert_eq!((status, body["code"].as_str()), (403, Some("proof_invalid")));
                let (status, _) = redeem(&server, &ticket, VERIFIER);
                assert_eq!(status, 403, "it is gone then");
                let mut browser = Browser::new(&server);
                let back = browser.follow(&begin(redirect, &challenge()), &[redirect]);
                users.push(redeem(&server, &param(&back, "ticket").unwrap(), VERIFIER));
            } else {
                users.push(redeem(&server, &ticket, VERIFIER));
                let (status, _) = redeem(&server, &ticket, VERIFIER);
                assert_eq!(status, 403, "once");
            }
        }
        assert!(users.iter().all(|(status, _)| *status == 200), "{users:?}");
        assert_eq!(users[0].1["user"], users[1].1["user"]);
        assert_eq!((&users[0].1["is_new"], &users[1].1["is_new"]), (&json!(true), &json!(false)));
        let token = users[0].1["access_token"].as_str().unwrap();
        let (status, sessions) = server.request("GET", "/api/v1/auth/sessions", token);
        assert!(status == 200 && sessions.contains(&provider.issuer), "{sessions}");
        assert_eq!(server.drain().code(), Some(0));
    }
}

#[test]
fn an_account_comes_to_a_user_and_goes() {
    let (provider, directory) = (Provider::start(), tempfile::tempdir().unwrap());
    let server = server(&provider, "avvyland", &directory);
    let ask = |method: &str, path: &str, token: &str| {
        let (status, body) = server.request(method, &format!("/api/v1/auth/{path}"), token);
        (status, serde_json::from_str::<Value>(&body).unwrap())
    };
    let ticket = || {
        let back = Browser::new(&server).follow(&begin(APP, &challenge()), &[APP]);
        param(&back, "ticket").unwrap()
    };
    let (_, ada) = server.post("/api/v1/auth/dev", &json!({"name": "ada"}));
    let token = ada["access_token"].as_str().unwrap();
    let attach = |ticket: &str, token: &str| {
        let body = json!({"ticket": ticket, "verifier": VERIFIER});
        server.post_as("/api/v1/auth/accounts", &body, token)
    };
    let (status, all) = attach(&ticket(), token);
    assert_eq!((status, all["accounts"][0]["issuer"].as_str()), (200, Some(&*provider.issuer)));
    assert_eq!(ask("GET", "accounts", token), (200, all.clone()));
    let (_, by_account) = redeem(&server, &ticket(), VERIFIER);
    assert_eq!((&by_account["user"], &by_account["is_new"]), (&ada["user"], &json!(false)));
    // Nobody else has it, or takes it away.
    let (_, bob) = server.post("/api/v1/auth/dev", &json!({"name": "bob"}));
    let bob = bob["access_token"].as_str().unwrap();
    assert_eq!(attach(&ticket(), bob).0, 409);
    assert_eq!(attach("made up", bob).0, 403);
    let path = format!("accounts/{}", all["accounts"][0]["id"].as_str().unwrap());
    assert_eq!(ask("DELETE", &path, bob).0, 404);
    assert_eq!(ask("DELETE", "accounts/..%2Fx", token).0, 404);
    assert_eq!(ask("DELETE", &path, token), (200, json!({"accounts": []})));
    let ended = by_account["access_token"].as_str().unwrap();
    assert_eq!(ask("GET", "accounts", ended).0, 401);
    let (_, by_account) = redeem(&server, &ticket(), VERIFIER);
    assert_eq!(by_account["is_new"], json!(true), "it is somebody else's now");
    assert_eq!(server.drain().code(), Some(0));
}

#[test]
fn nobody_is_sent_elsewhere_or_signed_in_to_the_account_of_another() {
    let (provider, directory) = (Provider::start(), tempfile::tempdir().unwrap());
    let server = server(&provider, "avvyland", &directory);
    let invalid = (403, "proof_invalid".to_owned());
    // Where to, byte by byte.
    for redirect in [
        "https://evil.example/",
        "https://app.example/back/",
        "https://app.example/back?x=y",
        "https://app.example/back#x",
        "https://app.example@evil.example/back",
        "//app.example/back",
        "javascript:alert(1)",
        "https://app.example/back\r\nset-cookie: a=b",
        "",
    ] {
        let refused = Browser::new(&server).get(&begin(redirect, &challenge()));
        assert_eq!(refused.code(), (400, "malformed".to_owned()), "{redirect:?}");
        assert!(refused.location.is_empty() && refused.cookies.is_empty());
    }
    for challenge in ["", "short", &"!".repeat(43), &"A".repeat(44)] {
        let refused = Browser::new(&server).get(&begin(APP, challenge));
        assert_eq!(refused.code(), (400, "malformed".to_owned()), "{challenge:?}");
    }
    let nowhere = PUBLIC.to_owned() + "/api/v1/auth/oidc/nobody/start?redirect_to=x&challenge=y";
    assert_eq!(Browser::new(&server).get(&nowhere).code(), (404, "not_found".to_owned()));

    // A thief ends the sign-in in the browser of another: it has no cookie.
    let callback = format!("{PUBLIC}/api/v1/auth/oidc/local/callback");
    let (mut thief, mut victim) = (Browser::new(&server), Browser::new(&server));
    let back = thief.follow(&begin(APP, &challenge()), &[&callback]);
    assert!(param(&back, "code").is_some() && param(&back, "state").is_some(), "{back}");
    assert_eq!(victim.get(&back).code(), invalid, "another browser");
    assert_eq!(thief.get(&back).code(), invalid, "the state is used up");
    // With a cookie of a sign-in of its own, too.
    let back = thief.follow(&begin(APP, &challenge()), &[&callback]);
    victim.follow(&begin(APP, &challenge()), &[&callback]);
    assert_eq!(victim.get(&back).code(), invalid);
    // A code that another sign-in got: PKCE has the provider refuse it.
    let mut browser = Browser::new(&server);
    let mine = browser.follow(&begin(APP, &challenge()), &[&callback]);
    let mine_state = param(&mine, "state").unwrap();
    let theirs = Browser::new(&server).follow(&begin(APP, &challenge()), &[&callback]);
    let code = param(&theirs, "code").unwrap();
    let mixed = format!("{callback}?code={code}&state={mine_state}");
    let sent_on = browser.get(&mixed);
    assert_eq!(sent_on.location, format!("{APP}?error=proof_invalid"));
    // Another provider's answer (RFC 9207), made-up states, and none at all.
    let mut browser = Browser::new(&server);
    let back = browser.follow(&begin(APP, &challenge()), &[&callback]);
    let (code, state) = (param(&back, "code").unwrap(), param(&back, "state").unwrap());
    let mixed = format!("{callback}?code={code}&state={state}&iss=https%3A%2F%2Fevil.example");
    assert_eq!(browser.get(&mixed).location, format!("{APP}?error=proof_invalid"));
    for query in ["code=x&state=y", "code=x", "state=", "error=access_denied&state=z", ""] {
        assert_eq!(browser.get(&format!("{callback}?{query}")).code(), invalid, "{query}");
    }
    // The person says no, or the provider does.
    let mut browser = Browser::new(&server);
    let start = browser.get(&begin(APP, &challenge()));
    let no = browser.follow(&format!("{}&login_hint=refuse", start.location), &["https://app"]);
    assert_eq!(no, format!("{APP}?error=proof_invalid"));
    let long = format!("{callback}?code={}&state=y", "x".repeat(9_000));
    let refused = browser.get(&long);
    assert!([400, 403, 414].contains(&refused.status), "{}", refused.status);
    assert_eq!(redeem(&server, &"x".repeat(9_000), VERIFIER).0, 403);
    assert_eq!(server.drain().code(), Some(0));
}

#[test]
fn a_provider_that_is_away_is_told_and_asked_again_later() {
    let directory = tempfile::tempdir().unwrap();
    let provider = Provider::start();
    let server = server(&provider, "avvyland", &directory);
    drop(provider);
    let refused = Browser::new(&server).get(&begin(APP, &challenge()));
    assert_eq!(refused.code(), (503, "unavailable".to_owned()));
    assert_eq!(server.drain().code(), Some(0));
}
