//! Messages and signatures of wallets: the published vectors, and what people
//! send who mean no good.
//!
//! `vectors/siwe-*.json` holds what the test vectors of the reference
//! implementation say (spruceid/siwe, MIT or Apache-2.0: `parsing_positive`,
//! `parsing_negative`, `invalid_uris`, `verification_positive` and
//! `verification_negative`), each refused message with the error that it gets
//! here.
#![allow(clippy::unwrap_used)]

use avvy_auth::rate::RetryAfterMs;
use avvy_auth::wallet::{
    Address, Challenge, Challenges, InvalidSignature, MAX_MESSAGE_BYTES, MessageError,
    MessageParts, ProofError, Purpose, SignInMessage, Signature, Site, Timestamp, Wallets,
};
use avvy_model::{Code, UserId};
use k256::ecdsa::signature::hazmat::PrehashSigner;
use k256::ecdsa::{RecoveryId, SigningKey};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha3::{Digest, Keccak256};
use uuid::Uuid;

const NOW_S: u64 = 1_800_000_000;
const USER: UserId = UserId::new(Uuid::from_u128(0x6f1a_7ac0_0d10_4b5e_9d5e_2f1d_6a1f_9f01));

fn vectors(text: &str) -> Vec<(String, Value)> {
    let all: serde_json::Map<String, Value> = serde_json::from_str(text).unwrap();
    all.into_iter().collect()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str().map(|text| text.parse().unwrap())
}

/// A message as the vectors spell one.
fn parts(fields: &Value) -> MessageParts {
    let chain_id = &fields["chainId"];
    let uris = fields["resources"].as_array();
    MessageParts {
        scheme: None,
        domain: text(&fields["domain"]).unwrap(),
        address: fields["address"].as_str().unwrap().parse().unwrap(),
        statement: text(&fields["statement"]),
        uri: text(&fields["uri"]).unwrap(),
        chain_id: chain_id.as_u64().unwrap_or_else(|| chain_id.as_str().unwrap().parse().unwrap()),
        nonce: text(&fields["nonce"]).unwrap(),
        issued_at: time(&fields["issuedAt"]).unwrap(),
        expiration_time: time(&fields["expirationTime"]),
        not_before: time(&fields["notBefore"]),
        request_id: text(&fields["requestId"]),
        resources: uris.map(|uris| uris.iter().filter_map(text).collect()),
    }
}

#[test]
fn reads_and_writes_the_published_messages() {
    let vectors = vectors(include_str!("vectors/siwe-parsed.json"));
    assert_eq!(vectors.len(), 8);
    for (name, vector) in vectors {
        let written = vector["message"].as_str().unwrap();
        let read = SignInMessage::parse(written).unwrap();
        assert_eq!(read.parts(), &parts(&vector["fields"]), "{name}");
        assert_eq!(parts(&vector["fields"]).build().unwrap().as_str(), written, "{name}");
    }
}

#[test]
fn refuses_the_published_messages_that_are_none() {
    let vectors = vectors(include_str!("vectors/siwe-refused.json"));
    assert_eq!(vectors.len(), 48);
    for (name, vector) in vectors {
        let refused = SignInMessage::parse(vector["message"].as_str().unwrap()).unwrap_err();
        assert_eq!(format!("{refused:?}"), vector["error"].as_str().unwrap(), "{name}");
    }
}

#[test]
fn knows_who_signed_the_published_messages() {
    let vectors = vectors(include_str!("vectors/siwe-signed.json"));
    assert_eq!(vectors.len(), 6);
    for (name, vector) in vectors {
        let message = parts(&vector).build().unwrap();
        let signature = vector["signature"].as_str().unwrap().parse::<Signature>();
        let signer = signature.and_then(|signature| signature.signer(message.as_str()));
        let is_theirs = signer == Ok(message.parts().address);
        assert_eq!(is_theirs, vector["signed"].as_bool().unwrap(), "{name}: {signer:?}");
    }
}

/// The three examples of the EIP.
#[test]
fn reads_the_examples_of_eip_4361() {
    for (site, scheme, domain) in [
        ("example.com", None, "example.com"),
        ("example.com:3388", None, "example.com:3388"),
        ("https://example.com", Some("https"), "example.com"),
    ] {
        let written = format!(
            "{site} wants you to sign in with your Ethereum account:\n\
             0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2\n\n\
             I accept the ExampleOrg Terms of Service: https://example.com/tos\n\n\
             URI: https://example.com/login\nVersion: 1\nChain ID: 1\nNonce: 32891756\n\
             Issued At: 2021-09-30T16:25:24Z\nResources:\n\
             - ipfs://bafybeiemxf5abjwjbikoz4mc3a3dla6ual3jsgpdr4cjr3oz3evfyavhwq/\n\
             - https://example.com/my-web2-claim.json"
        );
        let read = SignInMessage::parse(&*written).unwrap();
        assert_eq!((read.parts().scheme.as_deref(), &*read.parts().domain), (scheme, domain));
        assert_eq!(read.parts().clone().build().unwrap(), read);
    }
}

/// Every optional part, and each of them alone.
#[test]
fn reads_each_optional_part() {
    let all = |part: &str| {
        let has = |name| part == name || part == "all";
        MessageParts {
            scheme: has("scheme").then(|| "http".to_owned()),
            statement: has("statement").then(|| "Hello!".to_owned()),
            expiration_time: has("expires").then(|| Timestamp::at(NOW_S).unwrap()),
            not_before: has("starts").then(|| Timestamp::at(1).unwrap()),
            request_id: has("id").then(|| "a%20b@c".to_owned()),
            resources: has("resources").then(|| vec!["urn:a".to_owned()]),
            ..plain()
        }
    };
    for part in ["scheme", "statement", "expires", "starts", "id", "resources", "all", "none"] {
        let built = all(part).build().unwrap();
        assert_eq!(SignInMessage::parse(built.as_str()).unwrap().parts(), &all(part), "{part}");
    }
    let (resources, nothing) = (Some(vec![]), Some(String::new()));
    let empty =
        MessageParts { resources, statement: nothing.clone(), request_id: nothing, ..plain() };
    assert_eq!(empty.clone().build().unwrap().parts(), &empty);
}

fn plain() -> MessageParts {
    MessageParts {
        scheme: None,
        domain: "example.org".to_owned(),
        address: Address::new([7; 20]),
        statement: None,
        uri: "https://example.org".to_owned(),
        chain_id: 1,
        nonce: "32891756".to_owned(),
        issued_at: Timestamp::at(NOW_S).unwrap(),
        expiration_time: None,
        not_before: None,
        request_id: None,
        resources: None,
    }
}

#[test]
fn refuses_what_is_not_of_its_form() {
    use MessageError::{
        ChainId, Domain, Lines, Nonce, RequestId, Statement, TooLong, Uri, Version,
    };
    let good = MessageParts { request_id: Some("id".to_owned()), ..plain() };
    let good = good.build().unwrap().as_str().to_owned();
    let cases = [
        (String::new(), Lines),
        (good.replace('\n', "\r\n"), Lines),
        (format!("{good}\n"), Lines),
        (format!("\n{good}"), Lines),
        (format!("{good}\nResources: "), Lines),
        (format!("{good}\nResources:\n"), Lines),
        (format!("{good}\nResources:\n-"), Lines),
        (format!("{good}\nRequest ID: other"), Lines),
        (good.replace("account:", "account"), Lines),
        (good.replace("wants", "Wants"), Lines),
        (good.replace("Chain ID: 1", "Chain Id: 1"), Lines),
        (good.replace("Chain ID: 1", "Chain ID: 01"), ChainId),
        (good.replace("Chain ID: 1", "Chain ID: +1"), ChainId),
        (good.replace("Chain ID: 1", "Chain ID: 18446744073709551616"), ChainId),
        (good.replace("Version: 1", "Version: 10"), Version),
        (good.replace("Version: 1", "Version: 1 "), Version),
        (good.replace("32891756", "3289175é"), Nonce),
        (good.replace("32891756", "3289175-6"), Nonce),
        (good.replace("ID: id", "ID: i/d"), RequestId),
        (good.replace("\n\n\n", "\n\n<b>\n\n"), Statement),
        (good.replace("example.org wants", "https:// wants"), Domain),
        (good.replace("example.org wants", "1s://example.org wants"), Domain),
        (good.replace("example.org wants", "a b wants"), Domain),
        (good.replace("URI: https", "URI: <https"), Uri),
        (good.clone() + &"a".repeat(MAX_MESSAGE_BYTES), TooLong),
    ];
    for (text, expected) in cases {
        assert_eq!(SignInMessage::parse(&*text), Err(expected), "{text}");
    }
}

#[test]
fn nobody_writes_a_line_into_a_part() {
    let line = "x\nURI: https://evil.example\nVersion: 1";
    let parts = [
        MessageParts { statement: Some(format!("{line}\n")), ..plain() },
        MessageParts {
            statement: Some("Hello\n\nURI: a:b\nVersion: 1\nChain ID: 1".to_owned()),
            ..plain()
        },
        MessageParts { domain: format!("a wants you\n{line}"), ..plain() },
        MessageParts { domain: "https://a".to_owned(), ..plain() },
        MessageParts { uri: line.to_owned(), ..plain() },
        MessageParts { nonce: format!("12345678{line}"), ..plain() },
        MessageParts { request_id: Some("a\nResources:\n- a:b".to_owned()), ..plain() },
        MessageParts { resources: Some(vec!["a:b\n- c:d".to_owned()]), ..plain() },
    ];
    for parts in parts {
        assert!(parts.clone().build().is_err(), "{parts:?}");
    }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_slice(&[seed; 32]).unwrap()
}

fn sign(key: &SigningKey, message: &str) -> Signature {
    let head = format!("\x19Ethereum Signed Message:\n{}", message.len());
    let hash = Keccak256::new_with_prefix(head).chain_update(message).finalize();
    let (rs, id): (k256::ecdsa::Signature, RecoveryId) = key.sign_prehash(&hash).unwrap();
    let mut bytes = [27 + u8::from(id.is_y_odd()); 65];
    bytes[..64].copy_from_slice(&rs.to_bytes());
    Signature::from_bytes(&bytes).unwrap()
}

/// Whose key this is.
fn account(key: &SigningKey) -> Address {
    sign(key, "").signer("").unwrap()
}

fn site() -> Site {
    Site {
        scheme: "https".to_owned(),
        domain: "example.org".to_owned(),
        chains: vec![1, 137],
        leeway_s: 5,
    }
}

fn challenge() -> Challenge {
    Challenge::new(Purpose::SignIn, [9; 16], NOW_S, 300)
}

#[test]
fn a_signed_message_proves_the_account() {
    let owner = key(1);
    let lost = Address::new([7; 20]);
    for purpose in [Purpose::SignIn, Purpose::Attach(USER), Purpose::Detach(USER, lost)] {
        let challenge = Challenge::new(purpose, [9; 16], NOW_S, 300);
        for chain in [1, 137] {
            let message = challenge.message(&site(), account(&owner), chain).unwrap();
            assert!(message.as_str().contains(&format!("\n\n{}\n\n", purpose.statement())));
            let signature = sign(&owner, message.as_str());
            let proved = challenge.prove(&message, &signature, &site(), NOW_S + 60);
            assert_eq!(proved, Ok(account(&owner)));
        }
    }
    let local = Site { scheme: "http".to_owned(), domain: "localhost:7878".to_owned(), ..site() };
    let message = challenge().message(&local, account(&owner), 1).unwrap();
    assert!(message.as_str().starts_with("http://localhost:7878 wants"));
    let signature = sign(&owner, message.as_str());
    assert_eq!(challenge().prove(&message, &signature, &local, NOW_S), Ok(account(&owner)));
}

/// The good message, changed and signed again by its account.
fn answered(change: impl Fn(&mut MessageParts), now_s: u64) -> Result<Address, ProofError> {
    let owner = key(1);
    let message = challenge().message(&site(), account(&owner), 1).unwrap();
    let mut parts = message.parts().clone();
    change(&mut parts);
    let message = parts.build().unwrap();
    challenge().prove(&message, &sign(&owner, message.as_str()), &site(), now_s)
}

#[test]
fn a_message_for_something_else_proves_nothing() {
    use ProofError::{UnknownNonce, WrongChain, WrongSigner, WrongSite, WrongStatement};
    type Change = fn(&mut MessageParts);
    let cases: [(Change, ProofError); 13] = [
        (|parts| parts.domain = "evil.example".to_owned(), WrongSite),
        (|parts| parts.domain = "example.org:8443".to_owned(), WrongSite),
        (|parts| parts.domain = "user@example.org".to_owned(), WrongSite),
        (|parts| parts.scheme = Some("http".to_owned()), WrongSite),
        (|parts| parts.uri = "https://evil.example".to_owned(), WrongSite),
        (|parts| parts.uri = "https://example.org.evil.example".to_owned(), WrongSite),
        (|parts| parts.uri = "https://example.org@evil.example".to_owned(), WrongSite),
        (|parts| parts.uri = "http://example.org".to_owned(), WrongSite),
        (|parts| parts.chain_id = 5, WrongChain),
        (|parts| parts.nonce = "0".repeat(32), UnknownNonce),
        (|parts| parts.statement = None, WrongStatement),
        (|parts| parts.statement = Some(Purpose::Attach(USER).statement()), WrongStatement),
        (|parts| parts.address = Address::new([7; 20]), WrongSigner),
    ];
    for (nth, (change, expected)) in cases.into_iter().enumerate() {
        assert_eq!(answered(change, NOW_S), Err(expected), "{nth}");
    }
    let fine: [Change; 3] = [
        |parts| parts.scheme = Some("https".to_owned()),
        |parts| parts.uri = "https://example.org/login?next=%2F#top".to_owned(),
        |parts| parts.resources = Some(vec!["urn:a".to_owned()]),
    ];
    for change in fine {
        assert_eq!(answered(change, NOW_S), Ok(account(&key(1))));
    }
}

#[test]
fn times_are_kept_to_the_leeway() {
    let at = |unix_s| Timestamp::at(unix_s).unwrap();
    let as_it_is = |now_s| answered(|_| {}, now_s).err();
    assert_eq!(as_it_is(NOW_S - 6), Some(ProofError::NotYetValid));
    assert_eq!(as_it_is(NOW_S - 5), None);
    assert_eq!(as_it_is(NOW_S + 299), None);
    assert_eq!(as_it_is(NOW_S + 300), Some(ProofError::Expired), "the server's own time");
    let issued = |unix_s| answered(|parts| parts.issued_at = at(unix_s), NOW_S + 20).err();
    assert_eq!(issued(NOW_S - 6), Some(ProofError::Expired));
    assert_eq!(issued(NOW_S - 5), None);
    assert_eq!(issued(NOW_S + 26), Some(ProofError::NotYetValid));
    let until =
        |unix_s| answered(|parts| parts.expiration_time = Some(at(unix_s)), NOW_S + 20).err();
    assert_eq!(until(NOW_S + 15), Some(ProofError::Expired));
    assert_eq!(until(NOW_S + 16), None);
    assert_eq!(answered(|parts| parts.expiration_time = None, NOW_S), Ok(account(&key(1))));
    let from = |unix_s| answered(|parts| parts.not_before = Some(at(unix_s)), NOW_S).err();
    assert_eq!(from(NOW_S + 6), Some(ProofError::NotYetValid));
    assert_eq!(from(NOW_S + 5), None);
}

#[test]
fn a_signature_of_another_proves_nothing() {
    let (owner, thief) = (key(1), key(2));
    let message = challenge().message(&site(), account(&owner), 1).unwrap();
    let other = challenge().message(&site(), account(&owner), 137).unwrap();
    for signature in [sign(&thief, message.as_str()), sign(&owner, other.as_str())] {
        let proved = challenge().prove(&message, &signature, &site(), NOW_S);
        assert_eq!(proved, Err(ProofError::WrongSigner));
    }
    assert_eq!(ProofError::WrongSigner.code(), Code::ProofInvalid);
    assert_eq!(ProofError::from(InvalidSignature).code(), Code::Malformed);
}

#[test]
fn a_challenge_is_answered_once_in_time_and_for_its_purpose() {
    let mut open = Challenges::new(2);
    let attach = Challenge::new(Purpose::Attach(USER), [1; 16], NOW_S, 300);
    assert_eq!(open.give(challenge(), NOW_S), Ok(()));
    assert_eq!(open.give(attach.clone(), NOW_S + 100), Ok(()));
    let more = Challenge::new(Purpose::SignIn, [2; 16], NOW_S + 100, 300);
    assert_eq!(open.give(more.clone(), NOW_S + 100), Err(RetryAfterMs(200_000)));

    let nonce = challenge().nonce().to_owned();
    assert_eq!(open.take(&nonce, Purpose::SignIn, NOW_S), Ok(challenge()));
    let again = open.take(&nonce, Purpose::SignIn, NOW_S);
    assert_eq!(again, Err(ProofError::UnknownNonce));
    let other = open.take(attach.nonce(), Purpose::SignIn, NOW_S);
    assert_eq!(other, Err(ProofError::WrongPurpose));
    let spent = open.take(attach.nonce(), Purpose::Attach(USER), NOW_S);
    assert_eq!(spent, Err(ProofError::UnknownNonce), "a wrong try is a try");

    assert_eq!(open.give(more.clone(), NOW_S + 100), Ok(()));
    let late = open.take(more.nonce(), Purpose::SignIn, NOW_S + 400);
    assert_eq!(late, Err(ProofError::UnknownNonce));
    assert_eq!(open.give(more.clone(), NOW_S), Ok(()));
    assert_eq!(open.give(attach, NOW_S + 500), Ok(()));
    assert_eq!(open.len(), 1, "what is over is forgotten");
}

/// What is stored stays readable: this is its form.
#[test]
fn what_is_kept_comes_back() {
    let wallet = Address::new([0xab; 20]);
    let detach = Challenge::new(Purpose::Detach(USER, wallet), [9; 16], NOW_S, 300);
    let kept = json!({
        "purpose": {"Detach": [USER.to_string(), wallet.to_string()]},
        "nonce": "09".repeat(16), "issued_s": NOW_S, "expires_s": NOW_S + 300,
    });
    assert_eq!(serde_json::to_value(&detach).unwrap(), kept);
    assert_eq!(serde_json::from_value::<Challenge>(kept).unwrap(), detach);
    let mut wallets = Wallets::default();
    wallets.attach(wallet).unwrap();
    let kept = json!([wallet.to_string()]);
    assert_eq!(serde_json::to_value(&wallets).unwrap(), kept);
    assert_eq!(serde_json::from_value::<Wallets>(kept).unwrap(), wallets);
    let lower = json!([wallet.to_string().to_lowercase()]);
    assert!(serde_json::from_value::<Wallets>(lower).is_err());
}

proptest! {
    #[test]
    fn whatever_is_read_is_written_as_it_was(
        lines in prop::collection::vec(
            prop_oneof![
                Just("example.org wants you to sign in with your Ethereum account:".to_owned()),
                Just("0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2".to_owned()),
                Just(String::new()),
                Just("URI: a:b".to_owned()),
                Just("Version: 1".to_owned()),
                Just("Chain ID: 7".to_owned()),
                Just("Nonce: abcdefgh".to_owned()),
                Just("Issued At: 2021-09-30T16:25:24.000Z".to_owned()),
                Just("Resources:".to_owned()),
                "\\PC{0,20}",
            ],
            0..14,
        ),
    ) {
        let text = lines.join("\n");
        if let Ok(message) = SignInMessage::parse(&*text) {
            prop_assert_eq!(message.parts().to_string(), text);
        }
    }

    #[test]
    fn whatever_is_built_is_read(
        scheme in prop::option::of("[a-z][a-z0-9+.-]{0,8}"),
        domain in "([a-z]{1,5}@)?[a-z0-9.-]{1,20}(:[0-9]{0,5})?",
        statement in prop::option::of("[ -~]{0,60}"),
        // A path that begins with two slashes would be an authority.
        uri in "[a-z]{1,5}:(//[a-z.]{0,9})?(/[a-z%@:]{1,9}){0,3}(\\?[a-z/]{0,5})?(#[a-z/]{0,5})?",
        chain_id: u64,
        nonce in "[A-Za-z0-9]{6,20}",
        unix_s in 0..253_402_300_800_u64,
        request_id in prop::option::of("[a-z%0-9]{0,9}"),
        resources in prop::option::of(prop::collection::vec("urn:[a-z]{0,9}", 0..4)),
    ) {
        let issued_at = Timestamp::at(unix_s).unwrap();
        let not_before = (unix_s % 2 == 0).then(|| issued_at.clone());
        let expiration_time = (unix_s % 3 == 0).then(|| issued_at.clone());
        let parts = MessageParts {
            scheme, domain, statement, uri, chain_id, nonce, issued_at, request_id, resources,
            not_before, expiration_time, ..plain()
        };
        if let Ok(message) = parts.clone().build() {
            let read = SignInMessage::parse(message.as_str());
            prop_assert_eq!(read.as_ref().map(SignInMessage::parts), Ok(&parts));
        } else {
            let MessageParts { uri, nonce, statement, request_id, .. } = &parts;
            let has_odd = |text: &str| text.contains(|one| "%\"<>\\^`{|}".contains(one));
            let others = [statement, request_id].into_iter().flatten();
            let is_odd = has_odd(uri) || others.into_iter().any(|text| has_odd(text));
            prop_assert!(is_odd || nonce.len() < 8, "{parts:?}");
        }
    }
}
