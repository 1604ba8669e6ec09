//! Tokens and keys of other issuers: the published vectors, good tokens of
//! each algorithm, and those that people make who should not be able to.
//!
//! `vectors/rfc7515.json` holds the keys and tokens of RFC 7515, appendices A.2
//! and A.3. The keys are published, so nothing of ours is ever signed by them.
#![allow(clippy::unwrap_used)]

/// What the server verifies with.
#[path = "../../server/src/external_signatures.rs"]
mod external_signatures;

use avvy_auth::external::{
    ExternalIssuer, ExternalKey, Jwks, JwksError, MAX_JWKS_BYTES, MAX_JWKS_KEYS, Signatures,
    SkippedKey, Subjects, Unverified,
};
use avvy_auth::{Claims, Issuer, Keys, MAX_LIFETIME_S, MAX_TOKEN_BYTES, Policy, TokenError};
use avvy_model::{Role, UserId};
use base64ct::{Base64UrlUnpadded, Encoding};
use ed25519_dalek::{Signer, SigningKey};
use external_signatures::RingSignatures;
use proptest::prelude::*;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::rsa::{KeyPairComponents, PublicKeyComponents};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use serde_json::{Value, json};
use uuid::Uuid;

const NOW_S: u64 = 1_800_000_000;
const USER: &str = "6f1a7ac0-0d10-4b5e-9d5e-2f1d6a1f9f01";
const SECRET: [u8; 32] = [42; 32];

fn text(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

fn bytes(text: &Value) -> Vec<u8> {
    Base64UrlUnpadded::decode_vec(text.as_str().unwrap()).unwrap()
}

fn rfc() -> Value {
    serde_json::from_str(include_str!("vectors/rfc7515.json")).unwrap()
}

/// The public half of a key of the RFC, under this name.
fn public(key: &str, kid: &str) -> Value {
    let mut jwk = rfc()[key].take();
    let object = jwk.as_object_mut().unwrap();
    object.retain(|name, _| matches!(&**name, "kty" | "crv" | "x" | "y" | "n" | "e"));
    object.insert("kid".to_owned(), kid.into());
    jwk
}

fn ed25519(kid: &str) -> Value {
    let x = text(&Keys::generate(SECRET).public().to_bytes());
    json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid})
}

fn set(keys: &[Value]) -> Vec<u8> {
    serde_json::to_vec(&json!({"keys": keys})).unwrap()
}

fn jwks() -> Jwks {
    Jwks::parse(&set(&[public("rsa", "r"), public("ec", "p"), ed25519("e")])).unwrap()
}

fn policy() -> ExternalIssuer {
    ExternalIssuer {
        issuer: "https://id.example".to_owned(),
        audience: "avvyland".to_owned(),
        leeway_s: 5,
        subjects: Subjects::Computed,
        role: Role::Builder,
    }
}

fn payload() -> Value {
    json!({
        "iss": "https://id.example", "sub": "auth0|7", "aud": ["avvyland", "other"],
        "exp": NOW_S + 600, "iat": NOW_S, "jti": "a", "name": "Ada", "azp": "web", "scope": "x",
    })
}

/// Signs as the algorithm of the key says, whatever the header says.
fn sign(key: &str, message: &[u8]) -> Vec<u8> {
    let rfc = rfc();
    match key {
        "e" => SigningKey::from_bytes(&SECRET).sign(message).to_bytes().to_vec(),
        "p" => {
            let (d, [x, y]) = (bytes(&rfc["ec"]["d"]), ["x", "y"].map(|n| bytes(&rfc["ec"][n])));
            let point = [vec![4], x, y].concat();
            let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
            let pair =
                EcdsaKeyPair::from_private_key_and_public_key(algorithm, &d, &point, &random);
            pair.unwrap().sign(&random, message).unwrap().as_ref().to_vec()
        }
        _ => {
            let part = |name: &str| bytes(&rfc["rsa"][name]);
            let pair = RsaKeyPair::from_components(&KeyPairComponents {
                public_key: PublicKeyComponents { n: part("n"), e: part("e") },
                d: part("d"),
                p: part("p"),
                q: part("q"),
                dP: part("dp"),
                dQ: part("dq"),
                qInv: part("qi"),
            });
            let pair = pair.unwrap();
            let mut signature = vec![0; pair.public().modulus_len()];
            let random = SystemRandom::new();
            pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
            signature
        }
    }
}

fn token(key: &str, header: &Value, payload: &Value) -> String {
    let message =
        format!("{}.{}", text(header.to_string().as_bytes()), text(payload.to_string().as_bytes()));
    format!("{message}.{}", text(&sign(key, message.as_bytes())))
}

fn verify(token: &str) -> Result<Claims, TokenError> {
    policy().verify(token, &jwks(), &RingSignatures, NOW_S)
}

/// The good payload with one member set, or taken away.
fn with(name: &str, value: Value) -> Result<Claims, TokenError> {
    let mut changed = payload();
    match value {
        Value::Null => drop(changed.as_object_mut().unwrap().remove(name)),
        value => changed[name] = value,
    }
    verify(&token("e", &json!({"alg": "EdDSA", "kid": "e"}), &changed))
}

#[test]
fn verifies_the_examples_of_rfc_7515() {
    let rfc = rfc();
    for (name, key) in [("rs256", "r"), ("es256", "p")] {
        let token = rfc[name].as_str().unwrap();
        let (message, signature) = token.rsplit_once('.').unwrap();
        let signature = Base64UrlUnpadded::decode_vec(signature).unwrap();
        let fits = |message: &[u8]| match jwks().get(key).unwrap() {
            ExternalKey::Rsa { modulus, exponent } => {
                RingSignatures.rs256(modulus, exponent, message, &signature)
            }
            ExternalKey::P256 { point } => RingSignatures.es256(point, message, &signature),
            ExternalKey::Ed25519(_) => panic!("none of these"),
        };
        assert!(fits(message.as_bytes()) && !fits(b"other"), "{name}");
    }
}

#[test]
fn a_good_token_of_each_algorithm_counts() {
    let mut users = Vec::new();
    for (key, alg) in [("r", "RS256"), ("p", "ES256"), ("e", "EdDSA"), ("e", "Ed25519")] {
        for typ in ["JWT", "at+jwt", "application/at+jwt"] {
            let header = json!({"alg": alg, "kid": key, "typ": typ});
            let claims = verify(&token(key, &header, &payload())).unwrap();
            assert_eq!((claims.role, claims.name.as_deref()), (Role::Builder, Some("Ada")));
            assert_eq!((claims.issued_s, claims.expires_s), (NOW_S, NOW_S + 600));
            assert!(claims.branes.is_empty());
            users.push((claims.user, claims.token));
        }
    }
    users.dedup();
    assert_eq!(users.len(), 1, "the same user and the same token, however it is signed");
}

#[test]
fn the_key_decides_the_algorithm() {
    let algs =
        ["none", "None", "", "HS256", "RS256", "ES256", "EdDSA", "Ed25519", "PS256", "RS512"];
    for (key, own) in [("r", &["RS256"][..]), ("p", &["ES256"]), ("e", &["EdDSA", "Ed25519"])] {
        for alg in algs {
            let token = token(key, &json!({"alg": alg, "kid": key}), &payload());
            let expected = if own.contains(&alg) { None } else { Some(TokenError::WrongAlgorithm) };
            assert_eq!(verify(&token).err(), expected, "{key} {alg}");
            let (unsigned, _) = token.rsplit_once('.').unwrap();
            let refused = verify(&format!("{unsigned}.")).err();
            let expected = expected.or(Some(TokenError::BadSignature));
            assert_eq!(refused, expected, "{key} {alg} without a signature");
        }
    }
}

/// RS256's public key taken as the secret of HS256, in each form in which a
/// library could hold it.
#[test]
fn a_public_key_is_no_secret() {
    let secrets = [bytes(&rfc()["rsa"]["n"]), public("rsa", "r").to_string().into_bytes()];
    for (secret, alg) in secrets.iter().flat_map(|secret| [(secret, "HS256"), (secret, "RS256")]) {
        let header = json!({"alg": alg, "kid": "r"}).to_string();
        let message =
            format!("{}.{}", text(header.as_bytes()), text(payload().to_string().as_bytes()));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
        let expected =
            if alg == "HS256" { TokenError::WrongAlgorithm } else { TokenError::BadSignature };
        assert_eq!(verify(&format!("{message}.{}", text(tag.as_ref()))), Err(expected));
    }
}

#[test]
fn the_header_chooses_no_key() {
    for kid in ["", "x", "../../etc/passwd", "' OR 1=1 --", "R", "r\0"] {
        let refused = verify(&token("r", &json!({"alg": "RS256", "kid": kid}), &payload()));
        assert_eq!(refused, Err(TokenError::UnknownKey), "{kid}");
    }
    let nameless = verify(&token("r", &json!({"alg": "RS256"}), &payload()));
    assert_eq!(nameless, Err(TokenError::UnknownKey));
    for extra in ["jwk", "jku", "x5c", "x5u"] {
        let mut header = json!({"alg": "EdDSA", "kid": "mine"});
        header[extra] =
            if extra == "jwk" { ed25519("mine") } else { "https://evil.example".into() };
        let refused = verify(&token("e", &header, &payload()));
        assert_eq!(refused, Err(TokenError::UnknownKey), "{extra}");
    }
    // Signed by one key under the name of another.
    for (signs, named, alg) in [("e", "r", "RS256"), ("r", "p", "ES256"), ("p", "e", "EdDSA")] {
        let refused = verify(&token(signs, &json!({"alg": alg, "kid": named}), &payload()));
        assert_eq!(refused, Err(TokenError::BadSignature), "{signs} as {named}");
    }
    for extension in [json!({"crit": ["b64"]}), json!({"crit": []}), json!({"typ": "logout+jwt"})] {
        let mut header = json!({"alg": "EdDSA", "kid": "e"});
        header.as_object_mut().unwrap().extend(extension.as_object().unwrap().clone());
        let refused = verify(&token("e", &header, &payload()));
        assert_eq!(refused, Err(TokenError::Malformed), "{extension}");
    }
}

/// Two issuers whose keys have the same names: neither speaks for the other,
/// nor for ours.
#[test]
fn nobody_speaks_for_another_issuer() {
    let other = ExternalIssuer { issuer: "https://evil.example".to_owned(), ..policy() };
    let theirs = Jwks::parse(&set(&[public("ec", "e"), ed25519("p")])).unwrap();
    let header = json!({"alg": "ES256", "kid": "e"});
    // Signed by the other one, as if it were of the first.
    let forged = token("p", &header, &payload());
    assert_eq!(Unverified::read(&forged).unwrap().issuer, policy().issuer);
    assert_eq!(verify(&forged), Err(TokenError::WrongAlgorithm));
    let judged = other.verify(&forged, &theirs, &RingSignatures, NOW_S);
    assert_eq!(judged, Err(TokenError::WrongIssuer), "though the signature fits");
    let mut honest = payload();
    honest["iss"] = "https://evil.example".into();
    let honest = token("p", &header, &honest);
    let judged = other.verify(&honest, &theirs, &RingSignatures, NOW_S).unwrap();
    let ours = verify(&token("e", &json!({"alg": "EdDSA", "kid": "e"}), &payload())).unwrap();
    assert_ne!(judged.user, ours.user, "the same subject of another issuer is another user");
    assert_ne!(judged.token, ours.token);

    let policy = Policy { issuer: "avvyland".into(), audience: "avvyland".into(), leeway_s: 5 };
    let own = Issuer::new(Keys::generate(SECRET), policy);
    let token = own.issue(&Claims { role: Role::Owner, ..ours.clone() });
    let seen = Unverified::read(&token).unwrap();
    assert_eq!(seen.issuer, "avvyland");
    let named = Jwks::parse(&set(&[ed25519(&seen.kid.unwrap())])).unwrap();
    let judged = self::policy().verify(&token, &named, &RingSignatures, NOW_S);
    assert_eq!(judged, Err(TokenError::WrongIssuer));
    // With the one key that both would have.
    let mut claims = payload();
    claims["iss"] = "avvyland".into();
    let kid = Keys::generate(SECRET).public().kid().to_owned();
    let forged = self::token("e", &json!({"alg": "EdDSA", "kid": kid}), &claims);
    let judged = own.verifier().verify(&forged, NOW_S);
    assert_eq!(judged, Err(TokenError::Malformed), "not of our form");
}

#[test]
fn claims_are_judged() {
    use TokenError::{Expired, Malformed, NotYetValid, TooLasting, WrongAudience, WrongIssuer};
    let cases = [
        ("iss", json!("https://id.example/"), WrongIssuer),
        ("iss", json!("HTTPS://id.example"), WrongIssuer),
        ("iss", Value::Null, Malformed),
        ("aud", json!("other"), WrongAudience),
        ("aud", json!([]), WrongAudience),
        ("aud", Value::Null, Malformed),
        ("exp", json!(NOW_S - 5), Malformed),
        ("exp", json!(NOW_S), Malformed),
        ("exp", json!(-1), Malformed),
        ("exp", json!(1e300), Malformed),
        ("exp", json!(NOW_S + MAX_LIFETIME_S + 1), TooLasting),
        ("exp", Value::Null, Malformed),
        ("iat", json!(NOW_S + 6), NotYetValid),
        ("iat", Value::Null, Malformed),
        ("nbf", json!(NOW_S + 6), NotYetValid),
        ("sub", json!(""), Malformed),
        ("sub", json!("a".repeat(256)), Malformed),
        ("sub", json!(7), Malformed),
        ("sub", Value::Null, Malformed),
    ];
    for (name, value, expected) in cases {
        assert_eq!(with(name, value.clone()).err(), Some(expected), "{name} {value}");
    }
    let header = json!({"alg": "EdDSA", "kid": "e"});
    let late =
        policy().verify(&token("e", &header, &payload()), &jwks(), &RingSignatures, NOW_S + 605);
    assert_eq!(late, Err(Expired));
    for (name, value) in
        [("aud", json!("avvyland")), ("nbf", json!(NOW_S + 5)), ("jti", Value::Null)]
    {
        assert!(with(name, value).is_ok(), "{name}");
    }
    assert_eq!(with("name", json!("a".repeat(256))).unwrap().name, None);
    assert_eq!(with("role", json!("owner")).unwrap().role, Role::Builder, "the policy decides");
    for token in ["", "a.b.c", &"a".repeat(MAX_TOKEN_BYTES + 1)] {
        assert!(verify(token).is_err() && Unverified::read(token).is_err());
    }
}

#[test]
fn a_subject_is_always_the_same_user() {
    let user = |sub: &str| with("sub", json!(sub)).unwrap().user;
    assert_eq!(user("auth0|7"), user("auth0|7"));
    assert_ne!(user("auth0|7"), user("auth0|8"));
    // What it is computed from is for ever: a change would make others of all.
    assert_eq!(user("auth0|7").to_string(), "5ca82af0-50ee-48f9-83fa-18d328c98b3d");
    assert_eq!(user(USER).uuid().get_version_num(), 4);
    assert_ne!(user(USER).to_string(), USER, "nobody names one of our users");
    let named = with("jti", json!("a")).unwrap().token;
    assert_eq!(with("name", json!("Bob")).unwrap().token, named, "named by its jti");
    assert_ne!(with("jti", json!("b")).unwrap().token, named);
    assert_ne!(with("jti", Value::Null).unwrap().token, named);
}

#[test]
fn an_issuer_of_our_own_names_our_users() {
    let own = ExternalIssuer { subjects: Subjects::UserIds, ..policy() };
    let judge = |sub: &str| {
        let mut payload = payload();
        payload["sub"] = sub.into();
        let token = token("e", &json!({"alg": "EdDSA", "kid": "e"}), &payload);
        own.verify(&token, &jwks(), &RingSignatures, NOW_S).map(|claims| claims.user)
    };
    assert_eq!(judge(USER), Ok(USER.parse::<UserId>().unwrap()));
    for sub in ["auth0|7", "6f1a7ac0-0d10-1b5e-9d5e-2f1d6a1f9f01", &Uuid::nil().to_string()] {
        assert_eq!(judge(sub), Err(TokenError::Malformed), "{sub}");
    }
}

#[test]
fn keys_for_other_things_are_passed_over() {
    let with = |key: Value, changes: Value| {
        let mut key = key;
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => drop(key.as_object_mut().unwrap().remove(name)),
                value => key[name] = value.clone(),
            }
        }
        key
    };
    let (rsa, ec, ed) = (public("rsa", "k"), public("ec", "k"), ed25519("k"));
    let n = |bytes: usize, first: u8, last: u8| {
        let mut n = vec![0x55; bytes];
        (n[0], n[bytes - 1]) = (first, last);
        json!({"n": text(&n)})
    };
    let zero = text(&[0; 32]);
    use SkippedKey::{Algorithm, Kind, Malformed, Name, Size, Use};
    let cases = [
        (with(ed.clone(), json!({"kid": null})), Name),
        (with(ed.clone(), json!({"kid": ""})), Name),
        (with(ed.clone(), json!({"kid": "a".repeat(257)})), Name),
        (with(rsa.clone(), json!({"use": "enc"})), Use),
        (with(rsa.clone(), json!({"use": ""})), Use),
        (with(rsa.clone(), json!({"key_ops": ["sign"]})), Use),
        (with(rsa.clone(), json!({"key_ops": []})), Use),
        (with(rsa.clone(), json!({"alg": "RSA-OAEP"})), Algorithm),
        (with(rsa.clone(), json!({"alg": "PS256"})), Algorithm),
        (with(rsa.clone(), json!({"alg": "RS512"})), Algorithm),
        (with(rsa.clone(), json!({"alg": "HS256"})), Algorithm),
        (with(rsa.clone(), json!({"alg": "none"})), Algorithm),
        (with(ec.clone(), json!({"alg": "RS256"})), Algorithm),
        (with(ed.clone(), json!({"alg": "ES256"})), Algorithm),
        (with(ec.clone(), json!({"crv": "P-384"})), Kind),
        (with(ec.clone(), json!({"crv": "secp256k1"})), Kind),
        (with(ec.clone(), json!({"crv": null})), Kind),
        (with(ed.clone(), json!({"crv": "X25519"})), Kind),
        (with(ed.clone(), json!({"kty": "EC"})), Kind),
        (with(ed.clone(), json!({"kty": "AKP"})), Kind),
        (with(rsa.clone(), n(128, 0xff, 1)), Size),
        (with(rsa.clone(), n(256, 0x7f, 1)), Size),
        (with(rsa.clone(), n(256, 0xff, 2)), Size),
        (with(rsa.clone(), n(1_025, 0x01, 1)), Size),
        (with(rsa.clone(), n(257, 0x00, 1)), Malformed),
        (with(rsa.clone(), json!({"n": ""})), Malformed),
        (with(rsa.clone(), json!({"n": null})), Malformed),
        (with(rsa.clone(), json!({"e": "Aw"})), Size),
        (with(rsa.clone(), json!({"e": "AQAA"})), Size),
        (with(rsa.clone(), json!({"e": "AQAAAAE"})), Size),
        (with(rsa.clone(), json!({"e": "AAEAAQ"})), Malformed),
        (with(rsa.clone(), json!({"e": ""})), Malformed),
        (with(rsa.clone(), json!({"n": "a+b/"})), Malformed),
        (with(ec.clone(), json!({"y": null})), Malformed),
        (with(ec.clone(), json!({"x": "AA"})), Malformed),
        (with(ed.clone(), json!({"x": zero})), Malformed),
        (with(ed.clone(), json!({"x": "AA=="})), Malformed),
    ];
    for (key, why) in cases {
        let read = Jwks::parse(&set(&[key.clone(), public("rsa", "other")])).unwrap();
        let skipped: Vec<_> = read.skipped().iter().map(|(why, count)| (*why, *count)).collect();
        assert_eq!((skipped, read.len()), (vec![(why, 1)], 1), "{key}");
        assert!(read.get("other").is_some());
    }
    for fine in [
        with(
            rsa.clone(),
            json!({"alg": "RS256", "use": "sig", "x5c": ["x"], "key_ops": ["verify"]}),
        ),
        with(rsa.clone(), n(256, 0x80, 1)),
        with(rsa, n(1_024, 0xff, 1)),
        with(ec, json!({"alg": "ES256", "ext": true})),
        with(ed.clone(), json!({"alg": "EdDSA"})),
        with(ed, json!({"alg": "Ed25519"})),
    ] {
        assert_eq!(Jwks::parse(&set(std::slice::from_ref(&fine))).unwrap().len(), 1, "{fine}");
    }
}

#[test]
fn broken_sets_are_refused_as_a_whole() {
    for (key, secret) in [("rsa", "d"), ("rsa", "p"), ("rsa", "qi"), ("ec", "d")] {
        let mut leaked = public(key, "k");
        leaked[secret] = rfc()[key][secret].clone();
        let read = Jwks::parse(&set(&[ed25519("other"), leaked]));
        assert_eq!(read, Err(JwksError::Secret), "{key} {secret}");
    }
    let shared = json!({"kty": "oct", "k": "AyM1", "kid": "k", "alg": "HS256"});
    assert_eq!(Jwks::parse(&set(&[shared])), Err(JwksError::Secret));
    let twice = set(&[public("rsa", "k"), public("ec", "k")]);
    assert_eq!(Jwks::parse(&twice), Err(JwksError::SameName));
    let many: Vec<Value> = (0..=MAX_JWKS_KEYS).map(|nth| ed25519(&nth.to_string())).collect();
    assert_eq!(Jwks::parse(&set(&many)), Err(JwksError::TooMany));
    assert_eq!(Jwks::parse(&set(&many[1..])).unwrap().len(), MAX_JWKS_KEYS);
    let padded = format!("{}{}", r#"{"keys":[]}"#, " ".repeat(MAX_JWKS_BYTES));
    assert_eq!(Jwks::parse(padded.as_bytes()), Err(JwksError::TooLong));
    let malformed: [&[u8]; 9] = [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"{\"keys\":{}}",
        b"{\"keys\":[{}]}",
        b"{\"keys\":[],\"keys\":[]}",
        b"{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"a\",\"kid\":\"b\"}]}",
        b"{\"keys\":[{\"kty\":\"RSA\",\"kid\":7}]}",
    ];
    for bytes in malformed {
        let shown = String::from_utf8_lossy(bytes);
        assert_eq!(Jwks::parse(bytes), Err(JwksError::Malformed), "{shown}");
    }
    assert!(Jwks::parse(b"{\"keys\":[],\"other\":1}").unwrap().is_empty());
}

/// What our own issuer publishes is a set that others can read.
#[test]
fn our_own_keys_can_be_read() {
    let policy = Policy { issuer: "avvyland".into(), audience: "avvyland".into(), leeway_s: 5 };
    let keys = Keys::generate(SECRET);
    let own = Issuer::new(keys.clone(), policy);
    let read = Jwks::parse(own.verifier().jwks().as_bytes()).unwrap();
    assert_eq!(read.get(keys.public().kid()), Some(&ExternalKey::Ed25519(keys.public().clone())));
    assert!(read.skipped().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_changed_token_is_refused(
        place: prop::sample::Index,
        to in "[A-Za-z0-9_.-]",
        key in 0..3_usize,
    ) {
        let (key, alg) = [("r", "RS256"), ("p", "ES256"), ("e", "EdDSA")][key];
        let good = token(key, &json!({"alg": alg, "kid": key}), &payload());
        let place = place.index(good.len());
        let mut changed = good.clone();
        changed.replace_range(place..=place, &to);
        prop_assert!(changed == good || verify(&changed).is_err());
    }

    #[test]
    fn nonsense_is_no_set(
        text in "\\PC{0,200}",
        keys in prop::collection::vec(
            prop::collection::btree_map(
                "kty|kid|n|e|crv|x|y|use|alg",
                "RSA|EC|OKP|P-256|Ed25519|AQAB|[A-Za-z0-9_-]{0,9}",
                0..6,
            ),
            0..4,
        ),
    ) {
        for bytes in [text.into_bytes(), json!({"keys": keys}).to_string().into_bytes()] {
            if let Ok(read) = Jwks::parse(&bytes) {
                prop_assert!(read.is_empty(), "{}", String::from_utf8_lossy(&bytes));
            }
        }
    }
}
