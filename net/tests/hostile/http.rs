//! Requests that lie, and forms that are not spoken.

use crate::cases::{Case, answer_to, answered, case};
use crate::common::TestServer;

/// A brane that is not there.
const NOWHERE: &str = "/api/v1/brane/6f1b7f7c-8a43-4a52-9f39-0d8c0c1f2a11";
const BRANES: &str = "/api/v1/brane";
const JSON: (&str, &str) = ("content-type", "application/json");
const GZIP: (&str, &str) = ("content-encoding", "gzip");
/// Ten bytes of zeros, packed as a bomb would be.
const BOMB: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x63\x80\x03\0\x9c\x3c\xf6\xe3\x0a\0\0\0";

pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = heads().into_iter().map(raw).collect();
    cases.extend(lengths().into_iter().map(posted));
    cases.extend(paths().into_iter().map(asked));
    cases.extend(bodies());
    cases.extend(upgrades());
    cases.extend([accepts_gzip(), accepts_nothing()]);
    cases
}

/// Bytes where a request should be.
fn raw((name, bytes): (&'static str, Vec<u8>)) -> Case {
    case(name, move |server| {
        let bytes = bytes.clone();
        Box::pin(async move { answer_to(server, &bytes).await })
    })
}

/// A `GET` of a path.
fn asked((name, path): (&'static str, String)) -> Case {
    case(name, move |server| {
        let path = path.clone();
        Box::pin(async move { answered(&server.client().await.ask("GET", &path, &[], b"").await) })
    })
}

/// The rest of a `POST` that has a token: headers and body.
fn posted((name, rest): (&'static str, Vec<u8>)) -> Case {
    case(name, move |server| {
        let rest = rest.clone();
        Box::pin(async move {
            let head = format!(
                "POST {BRANES} HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\n",
                server.token()
            );
            answer_to(server, &[head.as_bytes(), &rest].concat()).await
        })
    })
}

fn heads() -> Vec<(&'static str, Vec<u8>)> {
    let get = |rest: &str| format!("GET /livez HTTP/1.1\r\nhost: test\r\n{rest}\r\n").into_bytes();
    let many: String = (0..100).map(|n| format!("x-{n}: y\r\n")).collect();
    vec![
        ("http-bytes", [&[0xff, 0xfe, 0][..], b"\r\n\r\n"].concat()),
        ("http-tls-hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS\r\n\r\n".to_vec()),
        ("http-2-preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("http-version", b"GET /livez HTTP/9.9\r\nhost: test\r\n\r\n".to_vec()),
        ("http-no-version", b"GET /livez\r\n\r\n".to_vec()),
        ("http-method-of-bytes", b"G\0T /livez HTTP/1.1\r\n\r\n".to_vec()),
        ("http-header-without-colon", get("nonsense\r\n")),
        ("http-header-of-bytes", get("x\0y: z\r\n")),
        ("http-header-value-of-bytes", get("x: \u{1}\r\n")),
        ("http-space-before-colon", get("content-length : 3\r\n")),
        ("http-folded-header", get("x: y\r\n z\r\n")),
        (
            "http-long-line",
            format!("GET /{} HTTP/1.1\r\nhost: test\r\n\r\n", "a".repeat(20_000)).into_bytes(),
        ),
        ("http-long-header", get(&format!("x: {}\r\n", "y".repeat(20_000)))),
        ("http-many-headers", get(&many)),
    ]
}

/// What is said of a body, and what comes.
fn lengths() -> Vec<(&'static str, Vec<u8>)> {
    let chunked = |body: &[u8]| [b"transfer-encoding: chunked\r\n\r\n".as_slice(), body].concat();
    let length = |said: &str, body: &str| format!("content-length: {said}\r\n\r\n{body}").into();
    let chunk = [&b"10000\r\n"[..], &[b'x'; 0x10000], b"\r\n"].concat();
    vec![
        ("length-negative", length("-1", "")),
        ("length-no-number", length("ten", "")),
        ("length-of-20-digits", length("99999999999999999999", "")),
        ("length-over", length("1048577", "")),
        ("length-64-bits", length("18446744073709551615", "")),
        ("length-twice", length("2\r\ncontent-length: 3", "{}}")),
        ("length-too-short", length("1", "{}")),
        (
            "length-and-chunks",
            b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(),
        ),
        ("coding-unknown", b"transfer-encoding: snails\r\n\r\n".to_vec()),
        ("coding-gzip-chunked", b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n".to_vec()),
        ("coding-chunked-twice", b"transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n".to_vec()),
        ("coding-chunked-first", b"transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n".to_vec()),
        ("chunk-size-no-number", chunked(b"xyz\r\n")),
        ("chunk-size-huge", chunked(b"ffffffffffffffffff\r\n")),
        ("chunk-longer-than-said", chunked(b"1\r\nabc\r\n0\r\n\r\n")),
        ("chunk-extension-long", chunked(&[&b"1;"[..], &[b'x'; 40_000], b"\r\n"].concat())),
        ("chunk-trailer-long", chunked(&[&b"0\r\nx: "[..], &[b'x'; 40_000], b"\r\n\r\n"].concat())),
        ("chunks-too-small", chunked(&b"1\r\nx\r\n".repeat(4_097))),
        ("chunks-over", chunked(&chunk.repeat(17))),
    ]
}

fn paths() -> Vec<(&'static str, String)> {
    let objects = |query: &str| format!("{NOWHERE}/objects?{query}");
    vec![
        ("path-unknown", "/api/v1/nothing".into()),
        ("path-upwards", "/api/v1/../../etc/passwd".into()),
        ("path-upwards-in-percent", "/api/v1/brane/%2e%2e%2fetc".into()),
        ("path-zero-byte", format!("{BRANES}/%00")),
        ("path-not-utf8", format!("{BRANES}/%ff%fe")),
        ("path-id-that-is-none", format!("{BRANES}/seven")),
        ("path-id-long", format!("{BRANES}/{}", "7".repeat(4_000))),
        ("path-brane-of-nobody", NOWHERE.into()),
        ("query-limit-zero", objects("limit=0")),
        ("query-limit-negative", objects("limit=-1")),
        ("query-limit-fraction", objects("limit=1.5")),
        ("query-limit-huge", objects("limit=99999999999")),
        ("query-limit-twice", objects("limit=1&limit=2")),
        ("query-after-no-handle", objects("after=x")),
        ("query-after-no-page", format!("{BRANES}?after=1-2-3")),
        ("query-not-utf8", format!("{BRANES}?after=%ff")),
    ]
}

fn bodies() -> Vec<Case> {
    let deep = |open: &str, close: &str| {
        format!("{{\"name\": {}{}}}", open.repeat(10_000), close.repeat(10_000)).into_bytes()
    };
    let huge = |head: u8| [b"\xa1\x64name", &[head][..], &[0xff; 8]].concat();
    let id = "6f1b7f7c-8a43-4a52-9f39-0d8c0c1f2a11";
    let json: [(&str, Vec<u8>); 12] = [
        ("json-nothing", vec![]),
        ("json-cut", b"{\"name\": \"x\"".to_vec()),
        ("json-more-behind", b"{\"name\": \"x\"} {}".to_vec()),
        ("json-no-object", b"[\"x\"]".to_vec()),
        ("json-key-twice", b"{\"name\": \"x\", \"name\": \"y\"}".to_vec()),
        ("json-deep-arrays", deep("[", "]")),
        ("json-deep-objects", deep("{\"a\":", "}")),
        ("json-not-utf8", b"{\"name\": \"\xff\xfe\"}".to_vec()),
        ("json-half-a-pair", b"{\"name\": \"\\ud800\"}".to_vec()),
        ("json-wrong-kind", b"{\"name\": 7}".to_vec()),
        ("json-id-that-is-none", b"{\"name\": \"x\", \"id\": \"seven\"}".to_vec()),
        (
            "json-id-of-version-1",
            format!("{{\"name\": \"x\", \"id\": \"{}\"}}", id.replace("-4a52", "-1a52")).into(),
        ),
    ];
    let cbor: [(&str, Vec<u8>); 8] = [
        ("body-of-nothing", vec![]),
        ("body-key-twice", b"\xa2\x64name\x61x\x64name\x61y".to_vec()),
        ("body-deep", [b"\xa1\x64name", &[0x81; 10_000][..], &[0]].concat()),
        ("body-huge-text", huge(0x7b)),
        ("body-huge-map", huge(0xbb)),
        ("body-more-behind", b"\xa1\x64name\x61x\x00".to_vec()),
        ("body-wrong-kind", b"\xa1\x64name\x07".to_vec()),
        ("body-text-not-utf8", b"\xa1\x64name\x61\xff".to_vec()),
    ];
    let edits = |edits: &str| format!("{{\"client\": \"{id}\", \"edits\": {edits}}}").into_bytes();
    let edits: [(&str, Vec<u8>); 4] = [
        ("json-edits-none", edits("[]")),
        ("json-edit-number-fraction", edits("[{\"n\": 1.5, \"op\": \"move\"}]")),
        ("json-edit-number-huge", edits("[{\"n\": 1e300, \"op\": \"move\"}]")),
        ("json-client-that-is-none", b"{\"client\": \"x\", \"edits\": []}".to_vec()),
    ];
    let json = json.into_iter().map(|(name, body)| sent(name, BRANES, &[JSON], body));
    let cbor = cbor.into_iter().map(|(name, body)| sent(name, BRANES, &[], body));
    let edits = edits.into_iter().map(|(name, body)| {
        sent(name, "/api/v1/brane/6f1b7f7c-8a43-4a52-9f39-0d8c0c1f2a11/edits", &[JSON], body)
    });
    let other = [
        sent("body-of-another-form", BRANES, &[("content-type", "text/plain")], b"x".to_vec()),
        sent("body-gzip", BRANES, &[GZIP], BOMB.to_vec()),
        sent("json-gzip", BRANES, &[JSON, GZIP], BOMB.to_vec()),
        sent(
            "body-deflate-and-gzip",
            BRANES,
            &[("content-encoding", "deflate, gzip")],
            BOMB.to_vec(),
        ),
    ];
    json.chain(cbor).chain(edits).chain(other).collect()
}

fn sent(
    name: &'static str,
    path: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: Vec<u8>,
) -> Case {
    case(name, move |server| {
        let body = body.clone();
        Box::pin(
            async move { answered(&server.client().await.ask("POST", path, headers, &body).await) },
        )
    })
}

const UPGRADE: (&str, &str) = ("upgrade", "websocket");
const CONNECTION: (&str, &str) = ("connection", "upgrade");
const VERSION: (&str, &str) = ("sec-websocket-version", "13");
const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");

/// Handshakes of WebSockets.
fn upgrades() -> Vec<Case> {
    let upgrade = |name, headers: &'static [(&'static str, &'static str)]| {
        case(name, move |server| {
            Box::pin(async move {
                let answer = server.client().await.ask("GET", "/ws", headers, b"").await;
                for name in ["sec-websocket-extensions", "sec-websocket-protocol"] {
                    assert_eq!(answer.header(name), None, "what is offered is not taken");
                }
                answered(&answer)
            })
        })
    };
    vec![
        upgrade("upgrade-of-nothing", &[]),
        upgrade("upgrade-without-key", &[UPGRADE, CONNECTION, VERSION]),
        upgrade("upgrade-key-short", &[UPGRADE, CONNECTION, VERSION, ("sec-websocket-key", "x")]),
        upgrade("upgrade-version-12", &[UPGRADE, CONNECTION, ("sec-websocket-version", "12"), KEY]),
        upgrade("upgrade-to-http-2", &[("upgrade", "h2c"), CONNECTION, VERSION, KEY]),
        upgrade(
            "upgrade-offers-deflate",
            &[
                UPGRADE,
                CONNECTION,
                VERSION,
                KEY,
                ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits"),
            ],
        ),
        upgrade(
            "upgrade-offers-protocols",
            &[UPGRADE, CONNECTION, VERSION, KEY, ("sec-websocket-protocol", "mqtt, soap")],
        ),
        case("upgrade-by-post", |server| {
            Box::pin(async move {
                let headers = [UPGRADE, CONNECTION, VERSION, KEY];
                answered(&server.client().await.ask("POST", "/ws", &headers, b"").await)
            })
        }),
    ]
}

/// Nothing is packed for anybody.
fn accepts_gzip() -> Case {
    case("accepts-gzip", |server: &TestServer| {
        Box::pin(async move {
            let gzip = [("accept-encoding", "gzip, br, deflate")];
            let answer = server.client().await.ask("GET", BRANES, &gzip, b"").await;
            assert_eq!(answer.header("content-encoding"), None);
            answered(&answer)
        })
    })
}

fn accepts_nothing() -> Case {
    case("accepts-no-form", |server: &TestServer| {
        Box::pin(async move {
            let image = [("accept", "image/png")];
            answered(&server.client().await.ask("GET", BRANES, &image, b"").await)
        })
    })
}
