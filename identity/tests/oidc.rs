//! Providers that say what they should not, and browsers that come back with what
//! they were not given.

#![allow(clippy::unwrap_used)]

mod suite;

use std::sync::Arc;
use std::time::Duration;

use avvy_identity::{CameBack, FetchError, Fetched, Identity, OidcError};
use avvy_model::Code;
use avvy_persistence::memory::MemoryStore;
use serde_json::{Value, json};
use suite::provider::{
    APP, Away, ISSUER, Provider, VERIFIER, away, back, by_account, challenge, claims, param,
};
use suite::{Kit, NOW_S, at};

const INVALID: &str = "https://app.example/back?error=proof_invalid";
const AWAY: &str = "https://app.example/back?error=unavailable";

fn people_of(provider: &Arc<Provider>, issuer: &str, tenants: &[&str]) -> Identity {
    let oidc = provider.oidc(Provider::options(issuer, tenants));
    Kit::by_accounts(Arc::new(MemoryStore::new()), oidc).identity
}

fn start() -> (Arc<Provider>, Identity) {
    let provider = Provider::new();
    let people = people_of(&provider, ISSUER, &[]);
    (provider, people)
}

/// Where the browser goes that comes back after this was changed in the claims.
async fn said(people: &Identity, provider: &Provider, change: impl FnOnce(&mut Value)) -> String {
    let Away { nonce, back } = away(people).await;
    let mut claims = claims("ada", &nonce);
    change(&mut claims);
    provider.say(|says| says.claims = claims);
    people.finish_oidc("local", back, NOW_S).await.unwrap()
}

#[tokio::test]
async fn a_token_of_another_sign_in_signs_nobody_in() {
    let (provider, people) = start();
    assert!(said(&people, &provider, |_| {}).await.starts_with("https://app.example/back?ticket="));
    // What somebody else was given, none, and what looks like none.
    let theirs = away(&people).await.nonce;
    for nonce in [json!(theirs), json!(""), json!("x"), Value::Null, json!(7)] {
        let at = said(&people, &provider, |claims| claims["nonce"] = nonce.clone()).await;
        assert_eq!(at, INVALID, "{nonce}");
    }
    let cases = [
        ("iss", json!("https://evil.example")),
        ("iss", json!(format!("{ISSUER}/"))),
        ("aud", json!("them")),
        ("aud", json!(["us", "them"])),
        ("azp", json!("them")),
        ("exp", json!(NOW_S - 60)),
        ("iat", json!(NOW_S + 3_600)),
        ("sub", json!("")),
        ("sub", json!("x".repeat(256))),
        ("sub", Value::Null),
    ];
    for (name, value) in cases {
        let at = said(&people, &provider, |claims| claims[name] = value.clone()).await;
        assert_eq!(at, INVALID, "{name}: {value}");
    }
    for header in [
        json!({"alg": "none", "kid": "k"}),
        json!({"alg": "HS256", "kid": "k"}),
        json!({"alg": "EdDSA", "kid": "../k"}),
        json!({"alg": "EdDSA"}),
        json!({"alg": "EdDSA", "kid": "k", "typ": "at+jwt"}),
    ] {
        provider.say(|says| says.header = header.clone());
        assert_eq!(said(&people, &provider, |_| {}).await, INVALID, "{header}");
    }
}

#[tokio::test]
async fn a_state_is_of_one_browser_and_counts_once() {
    let (provider, people) = start();
    let finish = async |back: CameBack| {
        people.finish_oidc("local", back, NOW_S).await.map_err(|error| error.code())
    };
    let (mine, theirs) = (away(&people).await, away(&people).await);
    provider.say(|says| says.claims = claims("ada", &mine.nonce));
    for state in ["", "x", &"x".repeat(9_000), &mine.back.browser.clone().unwrap()] {
        let forged = CameBack { state: state.to_owned(), ..mine.back.clone() };
        assert_eq!(finish(forged).await, Err(Code::ProofInvalid));
    }
    // That of another browser: neither of the two is signed in by it.
    let stolen = CameBack { state: theirs.back.state.clone(), ..mine.back.clone() };
    assert_eq!(finish(stolen).await, Err(Code::ProofInvalid));
    assert_eq!(finish(theirs.back).await, Err(Code::ProofInvalid), "it is used up");
    for browser in [None, Some(String::new()), Some("x".to_owned())] {
        let Away { back, .. } = away(&people).await;
        assert_eq!(finish(CameBack { browser, ..back }).await, Err(Code::ProofInvalid));
    }
    // At once: one of them has it.
    let (left, right) = tokio::join!(finish(mine.back.clone()), finish(mine.back.clone()));
    assert!(left.is_ok() != right.is_ok(), "{left:?} {right:?}");
    assert!(left.or(right).is_ok_and(|at| at.contains("ticket=")));
    // It waits only for so long.
    let late = away(&people).await.back;
    let late = people.finish_oidc("local", late, NOW_S + 600).await.map_err(|error| error.code());
    assert_eq!(late, Err(Code::ProofInvalid));
}

#[tokio::test]
async fn what_a_provider_says_of_itself_leads_nowhere_else() {
    let own = |path: &str| format!("{ISSUER}/{path}");
    for (name, value) in [
        ("issuer", "https://evil.example".to_owned()),
        ("token_endpoint", "http://127.0.0.1:6379/".to_owned()),
        ("token_endpoint", "http://id.example/token".to_owned()),
        ("token_endpoint", "/token".to_owned()),
        ("jwks_uri", "http://localhost/keys".to_owned()),
        ("jwks_uri", "file:///etc/passwd".to_owned()),
        ("authorization_endpoint", "javascript:alert(1)".to_owned()),
        ("authorization_endpoint", own("a\r\nset-cookie: a=b")),
        ("authorization_endpoint", "https://id.example@evil.example/".to_owned()),
    ] {
        let (provider, people) = start();
        provider.say(|says| says.description[name] = json!(value));
        let refused = people.begin_oidc("local", APP, &challenge(), NOW_S).await.err().unwrap();
        assert_eq!(refused.code(), Code::Unavailable, "{name}: {value}");
        assert_eq!(provider.asked(), [own(".well-known/openid-configuration")]);
    }
}

fn status(status: u16, body: &[u8]) -> Option<Result<Fetched, FetchError>> {
    Some(Ok(Fetched { status, body: body.to_vec() }))
}

#[tokio::test]
async fn hostile_answers_sign_nobody_in() {
    let nested = "[".repeat(60_000);
    let deep = format!("{{\"id_token\":{nested}");
    for body in ["", "null", "{}", "<html>", &nested, &deep, "\u{feff}{}", r#"{"id_token":null}"#] {
        for code in [200, 204, 302, 500] {
            let (provider, people) = start();
            provider.say(|says| says.instead = status(code, body.as_bytes()));
            let refused = people.begin_oidc("local", APP, &challenge(), NOW_S).await.err();
            assert!(matches!(refused.unwrap().code(), Code::Unavailable), "{code}");
            // The same from where codes are taken.
            provider.say(|says| says.instead = None);
            let people = people_of(&provider, ISSUER, &[]);
            let Away { back, .. } = away(&people).await;
            provider.say(|says| says.instead = status(code, body.as_bytes()));
            let at = people.finish_oidc("local", back, NOW_S).await.unwrap();
            assert_eq!(at, AWAY, "{code} {}", &body[..body.len().min(20)]);
        }
    }
    // Keys that are none.
    for keys in [json!({}), json!({"keys": [{"kty": "oct", "k": "AAAA", "kid": "k"}]})] {
        let (provider, people) = start();
        provider.say(|says| says.keys = keys.clone());
        assert_eq!(said(&people, &provider, |_| {}).await, AWAY, "{keys}");
    }
    let (provider, people) = start();
    provider.say(|says| says.keys = json!({"keys": []}));
    assert_eq!(said(&people, &provider, |_| {}).await, INVALID);
}

#[tokio::test(start_paused = true)]
async fn what_a_provider_said_counts_while_it_is_away() {
    let (provider, people) = start();
    let asked = || provider.asked().iter().filter(|url| url.ends_with("configuration")).count();
    assert!(by_account(&people, &provider, "ada").await.is_ok());
    assert_eq!(asked(), 1);
    tokio::time::advance(Duration::from_secs(3_601)).await;
    provider.say(|says| says.instead = Some(Err(FetchError("away".to_owned()))));
    let begin = async || people.begin_oidc("local", APP, &challenge(), NOW_S).await;
    for _ in 0..3 {
        assert!(begin().await.is_ok());
    }
    assert_eq!(asked(), 2, "asked once, however many come");
    tokio::time::advance(Duration::from_secs(86_400)).await;
    let Err(refused) = begin().await else { panic!("it is too old") };
    assert_eq!(refused.code(), Code::Unavailable);
    provider.say(|says| says.instead = None);
    let Err(refused) = begin().await else { panic!("it is too soon") };
    assert_eq!(refused.code(), Code::Unavailable);
    tokio::time::advance(Duration::from_secs(10)).await;
    assert!(begin().await.is_ok());
}

const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const OTHER: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

fn of(tenant: &str) -> String {
    format!("{ISSUER}/{tenant}/v2.0")
}

/// As Microsoft has it.
fn with_tenants(tenants: &[&str]) -> (Arc<Provider>, Identity) {
    let provider = Provider::new();
    provider.say(|says| says.description["issuer"] = json!(of("{tenantid}")));
    let people = people_of(&provider, &of("organizations"), tenants);
    (provider, people)
}

async fn of_tenant(people: &Identity, provider: &Provider, iss: &str, tid: &str) -> bool {
    let at = said(people, provider, |claims| {
        claims["iss"] = json!(iss);
        claims["tid"] = json!(tid);
    });
    param(&at.await, "ticket").is_some()
}

#[tokio::test]
async fn accounts_of_the_tenants_that_are_named_sign_in() {
    let (provider, people) = with_tenants(&[TENANT]);
    assert!(of_tenant(&people, &provider, &of(TENANT), TENANT).await);
    for (iss, tid) in [
        (of(OTHER), OTHER),
        (of(TENANT), OTHER),
        (of(TENANT), ""),
        (of("organizations"), TENANT),
        (of("{tenantid}"), TENANT),
        (of(&TENANT.to_uppercase()), TENANT),
        (format!("https://evil.example/{TENANT}/v2.0"), TENANT),
    ] {
        assert!(!of_tenant(&people, &provider, &iss, tid).await, "{iss} {tid}");
    }
    let (provider, people) = with_tenants(&["*"]);
    assert!(of_tenant(&people, &provider, &of(OTHER), OTHER).await);
    assert!(!of_tenant(&people, &provider, &of(OTHER), TENANT).await);
    // A key that is one tenant's signs for no other.
    provider.say(|says| says.keys["keys"][0]["issuer"] = json!(of(TENANT)));
    let people = people_of(&provider, &of("organizations"), &["*"]);
    assert!(of_tenant(&people, &provider, &of(TENANT), TENANT).await);
    assert!(!of_tenant(&people, &provider, &of(OTHER), OTHER).await);
    provider.say(|says| says.keys["keys"][0]["issuer"] = json!(of("{tenantid}")));
    let people = people_of(&provider, &of("organizations"), &["*"]);
    assert!(of_tenant(&people, &provider, &of(OTHER), OTHER).await);
}

#[tokio::test]
async fn the_same_subject_in_two_tenants_is_two_people() {
    let (provider, people) = with_tenants(&["*"]);
    let mut users = Vec::new();
    for tenant in [TENANT, OTHER, TENANT] {
        let goes_on = said(&people, &provider, |claims| {
            claims["iss"] = json!(of(tenant));
            claims["tid"] = json!(tenant);
        });
        let ticket = param(&goes_on.await, "ticket").unwrap();
        let tokens = people.redeem_ticket(&ticket, VERIFIER, &at(NOW_S)).await.unwrap();
        users.push(tokens.user);
    }
    assert!(users[0] == users[2] && users[0] != users[1], "{users:?}");
}

#[tokio::test]
async fn a_ticket_is_the_apps_that_asked_for_it() {
    let (provider, people) = start();
    let ticket = param(&back(&people, &provider, "ada").await, "ticket").unwrap();
    let wrong = people.redeem_ticket(&ticket, "another secret", &at(NOW_S)).await;
    assert_eq!(wrong.err(), Some(OidcError::UnknownTicket.into()));
    let right = people.redeem_ticket(&ticket, VERIFIER, &at(NOW_S)).await;
    assert_eq!(right.err(), Some(OidcError::UnknownTicket.into()), "it is gone");
}
