//! Redis behind TLS and a password.

use std::fs;

use avvy_persistence::cache::redis::{Redis, RedisOptions};
use avvy_persistence::testing::redis_server::RedisServer;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::help::{Node, Truth, calm, hasty, patient, until};

/// A server whose certificate is for these names, with one user.
struct Secured {
    server: RedisServer,
    /// The certificate of the authority, as PEM.
    ca: Vec<u8>,
    _folder: tempfile::TempDir,
}

impl Secured {
    fn start(names: &[&str]) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &ca).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (certificate_file, key_file) = (folder.path().join("cert"), folder.path().join("key"));
        fs::write(&certificate_file, certificate.pem()).unwrap();
        fs::write(&key_file, key.serialize_pem()).unwrap();
        let users = "--user avvy on >open#sesame ~* &* +@all --user default off";
        let users: Vec<&str> = users.split(' ').collect();
        let server = RedisServer::with_tls(&certificate_file, &key_file, &users);
        Self { server, ca: ca.pem().into_bytes(), _folder: folder }
    }

    fn url(&self, credentials: &str, host: &str) -> String {
        format!("rediss://{credentials}@{host}:{}/", self.server.port())
    }
}

const GOOD: &str = "avvy:open%23sesame";

/// Two nodes share what one has loaded, and hear each other.
#[tokio::test]
async fn values_and_notices_go_through_tls_with_a_user_and_a_password() {
    let secured = Secured::start(&["localhost", "127.0.0.1"]);
    for host in ["localhost", "127.0.0.1"] {
        let url = secured.url(GOOD, host);
        let redis = RedisOptions { tls_ca: Some(secured.ca.clone()), ..patient(&url) };
        let truth = Truth::new();
        let a = Node::listening(&truth, redis.clone(), calm()).await;
        let b = Node::listening(&truth, redis, calm()).await;
        let first = a.write(1).await;
        until(|| b.shared().notices == 1).await;
        assert_eq!((a.get(1).await, b.get(1).await), (first, first));
        let second = b.write(1).await;
        until(|| a.shared().notices == 2).await;
        assert_eq!(a.get(1).await, second);
        assert_eq!((a.shared().failures, b.shared().failures), (0, 0));
    }
}

/// What is not proven is not used; the store is asked.
#[tokio::test]
async fn without_a_good_certificate_or_password_nothing_is_shared() {
    let (secured, other) = (Secured::start(&["localhost"]), Secured::start(&["localhost"]));
    let own = Some(secured.ca.clone());
    let cases = [
        ("another authority", secured.url(GOOD, "localhost"), Some(other.ca.clone())),
        ("the public authorities", secured.url(GOOD, "localhost"), None),
        ("another name", secured.url(GOOD, "127.0.0.1"), own.clone()),
        ("another password", secured.url("avvy:sesame", "localhost"), own.clone()),
        ("another user", secured.url("default:open%23sesame", "localhost"), own.clone()),
        ("no TLS", secured.url(GOOD, "localhost").replace("rediss", "redis"), own.clone()),
    ];
    for (case, url, tls_ca) in cases {
        let truth = Truth::new();
        let redis = RedisOptions { tls_ca, timeout: patient(&url).timeout, ..hasty(&url) };
        let node = Node::new(&truth, redis, calm());
        for key in 1..=3 {
            let value = truth.change(key);
            assert_eq!(node.get(key).await, value);
        }
        let shared = node.shared();
        assert!(!shared.is_up && shared.connects == 0, "{case}: {shared:?}");
        assert_eq!(shared.failures, 3, "{case}");
    }
}

#[tokio::test]
async fn certificates_that_are_none_are_told_at_once() {
    let url = "rediss://user:sesame@host:1/";
    let pem = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec();
    let wrong = Redis::new(RedisOptions { tls_ca: Some(pem), ..RedisOptions::at(url) });
    let wrong = wrong.err().unwrap().to_string();
    assert!(!wrong.contains("sesame"), "{wrong}");
    assert!(!format!("{:?}", RedisOptions::at(url)).contains("sesame"));
}
