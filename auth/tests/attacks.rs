//! Tokens made by people who should not be able to make them, each with the
//! answer that it gets.
#![allow(clippy::unwrap_used)]

use avvy_auth::{
    Claims, Issuer, KeyRing, Keys, MAX_LIFETIME_S, MAX_SIGN_IN_TOKEN_S, MAX_TOKEN_BYTES, Policy,
    Revocation, TokenError, Verifier,
};
use avvy_model::{BraneId, Code, Role, UserId};
use base64ct::{Base64UrlUnpadded, Encoding};
use ed25519_dalek::{Signer, SigningKey};
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use uuid::Uuid;

const NOW_S: u64 = 1_800_000_000;
const SECRET: [u8; 32] = [42; 32];
const USER: &str = "6f1a7ac0-0d10-4b5e-9d5e-2f1d6a1f9f01";
const TOKEN: &str = "0b5c2d60-3c4e-4f8a-8b1d-4a8f0b9c7e02";

fn policy() -> Policy {
    Policy { issuer: "avvyland".into(), audience: "avvyland".into(), leeway_s: 5 }
}

fn issuer() -> Issuer {
    Issuer::new(Keys::generate(SECRET), policy())
}

fn verify(token: &str) -> Result<Claims, TokenError> {
    issuer().verifier().verify(token, NOW_S)
}

fn claims() -> Claims {
    Claims {
        user: USER.parse().unwrap(),
        role: Role::Builder,
        name: Some("Ada".into()),
        branes: vec![BraneId::new(Uuid::from_u128(5))],
        token: TOKEN.parse().unwrap(),
        session: Some(Uuid::from_u128(0x4000_8000_0000_0000_0007)),
        issued_s: NOW_S,
        expires_s: NOW_S + 3_600,
    }
}

/// Header and payload as given, signed by our own key as if it were good.
fn signed(header: &str, payload: &[u8]) -> String {
    let part = Base64UrlUnpadded::encode_string;
    let message = format!("{}.{}", part(header.as_bytes()), part(payload));
    let signature = SigningKey::from_bytes(&SECRET).sign(message.as_bytes());
    format!("{message}.{}", part(&signature.to_bytes()))
}

fn kid() -> String {
    Keys::generate(SECRET).public().kid().to_owned()
}

fn header() -> String {
    format!(r#"{{"alg":"EdDSA","kid":"{}","typ":"JWT"}}"#, kid())
}

fn payload() -> String {
    format!(
        r#"{{"iss":"avvyland","sub":"{USER}","aud":"avvyland","exp":{},"iat":{NOW_S},"jti":"{TOKEN}","role":"builder"}}"#,
        NOW_S + 60
    )
}

/// The good payload with one text replaced, signed by our key.
fn with(from: &str, to: &str) -> String {
    let changed = payload().replace(from, to);
    assert_ne!(changed, payload(), "{from} is in the payload");
    signed(&header(), changed.as_bytes())
}

#[test]
fn a_good_token_says_what_was_issued() {
    assert_eq!(verify(&issuer().issue(&claims())), Ok(claims()));
    assert!(verify(&signed(&header(), payload().as_bytes())).is_ok());
}

#[test]
fn alg_none_is_refused() {
    let part = Base64UrlUnpadded::encode_string;
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let header = format!(r#"{{"alg":"{alg}","kid":"{}"}}"#, kid());
        let message = format!("{}.{}", part(header.as_bytes()), part(payload().as_bytes()));
        let unsigned = verify(&format!("{message}."));
        assert_eq!(unsigned, Err(TokenError::WrongAlgorithm), "{alg}");
        let signed = verify(&signed(&header, payload().as_bytes()));
        assert_eq!(signed, Err(TokenError::WrongAlgorithm), "{alg}");
    }
}

/// RFC 2104 over SHA-256, for keys of up to 64 bytes.
fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    let pad = |byte: u8| {
        let mut block = [byte; 64];
        for (place, value) in block.iter_mut().zip(key) {
            *place ^= value;
        }
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
}

#[test]
fn hs256_with_the_public_key_as_its_secret_is_refused() {
    let part = Base64UrlUnpadded::encode_string;
    let public = Keys::generate(SECRET).public().to_bytes();
    for alg in ["HS256", "RS256", "ES256", "Ed448", "eddsa"] {
        let header = format!(r#"{{"alg":"{alg}","kid":"{}","typ":"JWT"}}"#, kid());
        let message = format!("{}.{}", part(header.as_bytes()), part(payload().as_bytes()));
        let token = format!("{message}.{}", part(&hmac_sha256(&public, message.as_bytes())));
        assert_eq!(verify(&token), Err(TokenError::WrongAlgorithm), "{alg}");
    }
    // And under the right name of the algorithm, it is no signature.
    let message = format!("{}.{}", part(header().as_bytes()), part(payload().as_bytes()));
    let token = format!("{message}.{}", part(&hmac_sha256(&public, message.as_bytes())));
    assert_eq!(verify(&token), Err(TokenError::BadSignature));
}

#[test]
fn another_key_is_refused_under_its_own_name_and_under_ours() {
    let theirs = Issuer::new(Keys::generate([1; 32]), policy()).issue(&claims());
    assert_eq!(verify(&theirs), Err(TokenError::UnknownKey));

    let (_, rest) = theirs.split_once('.').unwrap();
    let renamed = format!("{}.{rest}", Base64UrlUnpadded::encode_string(header().as_bytes()));
    assert_eq!(verify(&renamed), Err(TokenError::BadSignature));
}

#[test]
fn the_header_chooses_no_key() {
    for kid in ["", "../../etc/passwd", "' OR 1=1 --", "x"] {
        let header = format!(r#"{{"alg":"EdDSA","kid":"{kid}"}}"#);
        let refused = verify(&signed(&header, payload().as_bytes()));
        assert_eq!(refused, Err(TokenError::UnknownKey), "{kid}");
    }
    let nameless = signed(r#"{"alg":"EdDSA"}"#, payload().as_bytes());
    assert_eq!(verify(&nameless), Err(TokenError::UnknownKey));

    // A key that the token brings along is not looked at.
    let other = Keys::generate([1; 32]);
    let x = Base64UrlUnpadded::encode_string(&other.public().to_bytes());
    let header = format!(
        r#"{{"alg":"EdDSA","kid":"{}","jwk":{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}}}"#,
        other.public().kid()
    );
    assert_eq!(verify(&signed(&header, payload().as_bytes())), Err(TokenError::UnknownKey));
}

#[test]
fn extensions_and_other_types_are_refused() {
    for more in [r#""crit":["b64"],"b64":false"#, r#""crit":[]"#, r#""typ":"refresh+jwt""#] {
        let header = format!(r#"{{"alg":"EdDSA","kid":"{}",{more}}}"#, kid());
        let refused = verify(&signed(&header, payload().as_bytes()));
        assert_eq!(refused, Err(TokenError::Malformed), "{more}");
    }
}

#[test]
fn other_issuers_and_audiences_are_refused() {
    let cases = [
        (r#""iss":"avvyland""#, r#""iss":"Avvyland""#, TokenError::WrongIssuer),
        (r#""iss":"avvyland""#, r#""iss":"""#, TokenError::WrongIssuer),
        (r#""aud":"avvyland""#, r#""aud":"elsewhere""#, TokenError::WrongAudience),
        (r#""aud":"avvyland""#, r#""aud":["a","b"]"#, TokenError::WrongAudience),
        (r#""aud":"avvyland""#, r#""aud":[]"#, TokenError::WrongAudience),
    ];
    for (from, to, expected) in cases {
        assert_eq!(verify(&with(from, to)), Err(expected), "{to}");
    }
    assert!(verify(&with(r#""aud":"avvyland""#, r#""aud":["a","avvyland"]"#)).is_ok());
}

#[test]
fn times_are_kept_to_the_leeway() {
    let verifier = issuer().verifier();
    let token = issuer().issue(&claims());
    let (start_s, end_s) = (NOW_S, NOW_S + 3_600);
    let at = |now_s| verifier.verify(&token, now_s).err();
    assert_eq!(at(start_s - 6), Some(TokenError::NotYetValid));
    assert_eq!(at(start_s - 5), None);
    assert_eq!(at(end_s + 4), None);
    assert_eq!(at(end_s + 5), Some(TokenError::Expired));
    assert_eq!(at(u64::MAX), Some(TokenError::Expired));

    let later = |nbf| with(r#""role""#, &format!(r#""nbf":{nbf},"role""#));
    assert_eq!(verify(&later(NOW_S + 6)), Err(TokenError::NotYetValid));
    assert!(verify(&later(NOW_S + 5)).is_ok());
}

/// Signed by our own key, as somebody else who has it may.
#[test]
fn no_token_outlives_its_revocation() {
    let Claims { user, token, .. } = claims();
    for issued_s in [0, NOW_S - 7, NOW_S, NOW_S + 5] {
        let until =
            |life_s| Claims { session: None, issued_s, expires_s: issued_s + life_s, ..claims() };
        for life_s in [MAX_LIFETIME_S + 1, u64::MAX - issued_s] {
            assert_eq!(verify(&issuer().issue(&until(life_s))), Err(TokenError::TooLasting));
        }
        let longest = until(MAX_LIFETIME_S);
        let last_s = longest.expires_s + policy().leeway_s;
        let judged = issuer().verifier().verify(&issuer().issue(&longest), last_s - 1);
        assert_eq!(judged, Ok(longest.clone()));
        let revoked_s = NOW_S.min(last_s);
        let by_name = Revocation::token(user, token, Some(longest.expires_s), revoked_s);
        let before = Revocation::Before { user, issued_s: issued_s + 1, is_lasting: true };
        assert!([by_name, before].iter().all(|one| one.covers(&longest)));
        assert!([by_name, before].iter().all(|one| one.until_s() >= last_s));
        // Whoever revokes by name alone has seen it count.
        if issued_s + MAX_LIFETIME_S > NOW_S {
            assert!(Revocation::token(user, token, None, NOW_S).until_s() >= last_s);
        }
    }
}

/// What is known of sign-ins is forgotten soon.
#[test]
fn no_token_of_a_sign_in_outlives_a_sign_out() {
    let of_an_hour = |life_s| Claims { expires_s: NOW_S + life_s, ..claims() };
    let token = issuer().issue(&of_an_hour(MAX_SIGN_IN_TOKEN_S + 1));
    assert_eq!(verify(&token), Err(TokenError::TooLasting));
    let longest = of_an_hour(MAX_SIGN_IN_TOKEN_S);
    let last_s = longest.expires_s + policy().leeway_s;
    let judged = issuer().verifier().verify(&issuer().issue(&longest), last_s - 1);
    assert_eq!(judged, Ok(longest.clone()));
    let (user, issued_s) = (longest.user, NOW_S + 1);
    let before = Revocation::Before { user, issued_s, is_lasting: false };
    assert!(before.covers(&longest) && before.until_s() >= last_s);
}

#[test]
fn claims_of_the_wrong_form_are_refused() {
    let exp = format!(r#""exp":{}"#, NOW_S + 60);
    let cases = [
        (USER, ""),
        (USER, "admin"),
        (USER, "6f1a7ac00d104b5e9d5e2f1d6a1f9f01"),
        (USER, "6f1a7ac0-0d10-1b5e-9d5e-2f1d6a1f9f01"),
        (USER, "00000000-0000-0000-0000-000000000000"),
        (TOKEN, "7"),
        (r#""role":"builder""#, r#""role":"admin""#),
        (r#""role":"builder""#, r#""role":["builder"]"#),
        (r#","role":"builder""#, ""),
        (r#""role":"builder""#, r#""role":"builder","branes":["x"]"#),
        (&exp, r#""exp":-1"#),
        (&exp, r#""exp":1e400"#),
        (&exp, r#""exp":"9999999999""#),
        (&exp, r#""exp":null"#),
        (&exp, &format!(r#""exp":{NOW_S}"#)),
        (r#""sub":"#, r#""subject":"#),
        (r#""iss":"avvyland","#, ""),
    ];
    for (from, to) in cases {
        assert_eq!(verify(&with(from, to)), Err(TokenError::Malformed), "{from} -> {to}");
    }
}

#[test]
fn duplicate_members_are_refused() {
    let good = payload();
    for member in [r#""role":"owner""#, r#""exp":9999999999"#, r#""sub":"x""#] {
        let doubled = good.replace('}', &format!(",{member}}}"));
        let refused = verify(&signed(&header(), doubled.as_bytes()));
        assert_eq!(refused, Err(TokenError::Malformed), "{member}");
    }
    let doubled = header().replace('}', r#","alg":"EdDSA"}"#);
    assert_eq!(verify(&signed(&doubled, good.as_bytes())), Err(TokenError::Malformed));
}

#[test]
fn what_is_not_json_is_refused() {
    let bytes: [&[u8]; 6] = [b"", b"null", b"[]", b"\xff\xfe", b"{\"iss\":\"\xff\"}", b"{"];
    for bytes in bytes {
        assert_eq!(verify(&signed(&header(), bytes)), Err(TokenError::Malformed), "{bytes:?}");
    }
    let trailing = format!("{}{{}}", payload());
    assert_eq!(verify(&signed(&header(), trailing.as_bytes())), Err(TokenError::Malformed));
    let deep = "[".repeat(5_000);
    assert_eq!(verify(&signed(&header(), deep.as_bytes())), Err(TokenError::Malformed));
}

#[test]
fn a_truncated_token_is_refused_at_every_length() {
    let token = issuer().issue(&claims());
    for length in 0..token.len() {
        assert!(verify(&token[..length]).is_err(), "{length}");
    }
}

#[test]
fn a_changed_token_is_refused_at_every_place() {
    let token = issuer().issue(&claims());
    for place in 0..token.len() {
        let mut changed = token.clone().into_bytes();
        changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(verify(&changed).is_err(), "{place}");
    }
}

#[test]
fn a_long_token_is_refused_before_it_is_read() {
    let fits = "a".repeat(MAX_TOKEN_BYTES);
    assert_eq!(verify(&fits), Err(TokenError::Malformed));
    for length in [MAX_TOKEN_BYTES + 1, 1_000_000] {
        assert_eq!(verify(&"a".repeat(length)), Err(TokenError::TooLong));
    }
}

#[test]
fn every_error_has_its_code() {
    assert_eq!(verify("").unwrap_err().code(), Code::NotAuthenticated);
    assert_eq!(verify("a.b.c").unwrap_err().code(), Code::TokenInvalid);
    let late = issuer().verifier().verify(&issuer().issue(&claims()), u64::MAX);
    assert_eq!(late.unwrap_err().code(), Code::TokenExpired);
}

#[test]
fn keys_can_rotate() {
    let (old, new) = (Keys::generate([1; 32]), Keys::generate([2; 32]));
    let both = Verifier::new(policy(), vec![new.public().clone(), old.public().clone()]);
    for keys in [old, new] {
        let token = Issuer::new(keys, policy()).issue(&claims());
        assert_eq!(both.verify(&token, NOW_S), Ok(claims()));
    }
    assert_eq!(Verifier::new(policy(), vec![]).verify("a.b.c", 0), Err(TokenError::Malformed));
}

/// Through all turns of a ring, a token counts until its own end.
#[test]
fn a_token_outlives_the_key_that_signed_it() {
    const WEEK_S: u64 = 7 * 24 * 3_600;
    let mut ring = KeyRing::new(Keys::generate(SECRET), NOW_S);
    let longest = Claims { session: None, expires_s: NOW_S + MAX_LIFETIME_S, ..claims() };
    let token = Issuer::new(ring.clone(), policy()).issue(&longest);
    let mut turns = 0_u8;
    for now_s in (NOW_S..longest.expires_s).step_by(3_600 * 12) {
        if !ring.advance(now_s, WEEK_S, [turns; 32]) {
            continue;
        }
        turns += 1;
        let verifier = Issuer::new(ring.clone(), policy()).verifier();
        assert_eq!(verifier.verify(&token, now_s).as_ref(), Ok(&longest), "{now_s}");
    }
    assert!(turns > 100);
    assert_ne!(ring.present().public().kid(), kid());
}

/// RFC 8037, appendices A.2 and A.3.
#[test]
fn the_public_keys_are_a_jwk_set() {
    let secret = Base64UrlUnpadded::decode_vec("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A");
    let keys = Keys::generate(secret.unwrap().try_into().unwrap());
    let jwks = Issuer::new(keys, policy()).verifier().jwks();
    let expected = concat!(
        r#"{"keys":[{"kty":"OKP","crv":"Ed25519","#,
        r#""x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","#,
        r#""kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k","alg":"EdDSA","use":"sig"}]}"#
    );
    assert_eq!(jwks, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nonsense_is_refused(text in "\\PC{0,200}", parts in "[A-Za-z0-9_-]{0,80}(\\.[A-Za-z0-9_-]{0,80}){2}") {
        prop_assert!(verify(&text).is_err());
        prop_assert!(verify(&parts).is_err());
    }

    #[test]
    fn whatever_is_issued_is_read(user: u128, token: u128, name: Option<String>, life in 1..1_000_000_u64) {
        let v4 = |bits: u128| uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid();
        let name = name.filter(|name| name.len() < 500);
        let claims = Claims {
            user: UserId::new(v4(user)), token: v4(token), name,
            role: Role::Visitor, branes: vec![], session: None, issued_s: NOW_S, expires_s: NOW_S + life,
        };
        prop_assert_eq!(verify(&issuer().issue(&claims)), Ok(claims));
    }
}
