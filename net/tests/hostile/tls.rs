//! What a server with a certificate is told instead of TLS.

use std::time::Duration;

use avvy_net::tls;
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;

use crate::cases::{Case, case};
use crate::common::TestServer;

pub fn cases() -> Vec<Case> {
    // A handshake's record and its message, each of which says to be longer
    // than what follows.
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let said: [(&str, Vec<u8>); 6] = [
        ("tls-nothing", vec![]),
        ("tls-plain-http", b"GET /livez HTTP/1.1\r\nhost: test\r\n\r\n".to_vec()),
        ("tls-bytes", vec![0xa5; 64 * 1024]),
        ("tls-cut-hello", hello.to_vec()),
        ("tls-record-too-large", [b"\x16\x03\x01\xff\xff".as_slice(), &[1; 0xffff]].concat()),
        (
            "tls-hello-of-16-megabytes",
            [b"\x16\x03\x01\x40\x00\x01\xff\xff\xff".as_slice(), &[0; 0x3ffc]].concat(),
        ),
    ];
    let acceptor = acceptor();
    let mut cases: Vec<Case> = said
        .into_iter()
        .map(|(name, bytes)| {
            case(name, move |server| {
                let bytes = bytes.clone();
                Box::pin(async move {
                    let mut client = server.client().await;
                    client.say(&bytes).await;
                    ended(&mut client).await
                })
            })
        })
        .collect();
    cases.push(case("tls-byte-by-byte", |server| Box::pin(byte_by_byte(server))));
    let soon = Duration::from_secs(2);
    let tune =
        |case: Case| case.tuned(|net, _| net.tls_handshake_timeout = soon).over(acceptor.clone());
    cases.into_iter().map(tune).collect()
}

/// An alert of TLS at most, and the end.
async fn ended(client: &mut crate::common::Client) -> String {
    if client.ended().await { "cut".to_owned() } else { "served".to_owned() }
}

async fn byte_by_byte(server: &TestServer) -> String {
    let mut client = server.client().await;
    for byte in b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".iter().chain(&[0; 500]) {
        if client.stream.get_mut().write_all(&[*byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    ended(&mut client).await
}

fn acceptor() -> TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    tls::acceptor(&certificate, &key).unwrap()
}
