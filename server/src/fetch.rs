//! How other servers are asked: issuers for their keys, providers for what they
//! say of somebody. One request to a connection, none of it kept.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use avvy_identity::{BoxFuture, Fetch, FetchError, FetchRequest, Fetched};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::{Method, Request, Uri, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Bytes of the head of an answer, at most; less is not possible.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Asks by HTTP/1.1, encrypted unless the server is on this machine.
#[derive(Clone)]
pub struct HttpFetch {
    tls: TlsConnector,
}

impl HttpFetch {
    /// Certificates have to lead to one in this PEM file; if it is empty, to a
    /// public authority.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn new(ca_file: &Path) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        if ca_file.as_os_str().is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        } else {
            let read = CertificateDer::pem_file_iter(ca_file)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .with_context(|| format!("auth.ca_file {}", ca_file.display()))?;
            for certificate in read {
                roots.add(certificate).context("auth.ca_file")?;
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)) })
    }

    async fn ask(&self, request: FetchRequest) -> Result<Fetched, FetchError> {
        let uri: Uri = request.url.parse().map_err(failed("its address is none"))?;
        let host = uri.host().ok_or_else(|| FetchError("its address names no host".to_owned()))?;
        let is_tls = is_encrypted(&uri)?;
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((bare, port)).await.map_err(failed("cannot be reached"))?;
        if !is_tls {
            return exchange(stream, &uri, request).await;
        }
        let name = ServerName::try_from(bare.to_owned()).map_err(failed("its host is none"))?;
        let stream = self.tls.connect(name, stream).await.map_err(failed("TLS"))?;
        exchange(stream, &uri, request).await
    }
}

impl Fetch for HttpFetch {
    fn fetch(&self, request: FetchRequest) -> BoxFuture<'_, Result<Fetched, FetchError>> {
        Box::pin(self.ask(request))
    }
}

/// Whether an address is `https`; `http` only leads to this machine.
fn is_encrypted(uri: &Uri) -> Result<bool, FetchError> {
    match uri.scheme_str() {
        Some("https") => Ok(true),
        Some("http") if uri.host().is_some_and(is_here) => Ok(false),
        _ => Err(FetchError("it is not asked by https".to_owned())),
    }
}

/// Whether a host is this machine.
pub fn is_here(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

async fn exchange<S>(stream: S, uri: &Uri, request: FetchRequest) -> Result<Fetched, FetchError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .handshake::<_, Full<Bytes>>(TokioIo::new(stream))
        .await
        .map_err(failed("speaks no HTTP"))?;
    let max_bytes = request.max_bytes;
    let request = asked(uri, request)?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(failed("gives no answer"))?;
        let status = answer.status().as_u16();
        let (mut incoming, mut body) = (answer.into_body(), Vec::new());
        while let Some(frame) = incoming.frame().await {
            let Ok(data) = frame.map_err(failed("its answer breaks off"))?.into_data() else {
                continue;
            };
            if body.len() + data.len() > max_bytes {
                return Err(FetchError(format!("its answer has more than {max_bytes} bytes")));
            }
            body.extend_from_slice(&data);
        }
        Ok(Fetched { status, body })
    };
    let (mut answer, mut connection) = (Box::pin(answer), Box::pin(connection));
    tokio::select! {
        answer = &mut answer => answer,
        // What has come by then is still to be read.
        _ = &mut connection => answer.await,
    }
}

fn asked(uri: &Uri, request: FetchRequest) -> Result<Request<Full<Bytes>>, FetchError> {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let host = uri.authority().map_or("", |authority| authority.as_str());
    let method = if request.form.is_some() { Method::POST } else { Method::GET };
    let mut asked = Request::builder()
        .method(method)
        .uri(target)
        .header(header::HOST, host)
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, concat!("avvyland/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close");
    if request.form.is_some() {
        asked = asked.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    }
    if let Some(authorization) = &request.authorization {
        asked = asked.header(header::AUTHORIZATION, authorization);
    }
    let body = Full::new(Bytes::from(request.form.unwrap_or_default()));
    asked.body(body).map_err(failed("cannot be asked so"))
}

/// What went wrong, in words. Neither what was asked nor what came is in it.
fn failed<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> FetchError {
    move |error| FetchError(format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpListener;

    use super::*;

    /// What is heard of a server that answers so, of 1,000 bytes at most.
    async fn heard(answer: String) -> Result<Fetched, FetchError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            while stream.read_line(&mut line).await.is_ok_and(|read| read > 2) {}
            // Whoever has heard enough hangs up.
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        });
        let request = FetchRequest { url, form: None, authorization: None, max_bytes: 1_000 };
        let heard = HttpFetch::new(Path::new("")).unwrap().fetch(request).await;
        serving.abort();
        heard
    }

    #[tokio::test]
    async fn others_are_listened_to_within_bounds_and_followed_nowhere() {
        let ok = "HTTP/1.1 200 OK\r\n";
        let whole = heard(format!("{ok}content-length: 1000\r\n\r\n{}", "x".repeat(1_000))).await;
        assert_eq!(whole, Ok(Fetched { status: 200, body: vec![b'x'; 1_000] }));
        let away = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0";
        let away = heard(format!("{away}\r\n\r\n")).await;
        assert_eq!(away, Ok(Fetched { status: 302, body: Vec::new() }), "told, not followed");
        let chunks = format!("{ok}transfer-encoding: chunked\r\n\r\n");
        for (what, bad) in [
            ("long", format!("{ok}content-length: 1001\r\n\r\n{}", "x".repeat(1_001))),
            ("without end", format!("{ok}\r\n{}", "x".repeat(1 << 20))),
            ("chunks", chunks.clone() + &"1\r\nx\r\n".repeat(100_000)),
            ("a chunk that lies", chunks + "ffffffffffffffff0\r\nx"),
            ("a long head", format!("{ok}x: {}\r\n\r\n", "y".repeat(1 << 20))),
            ("many headers", format!("{ok}{}\r\n", "x: y\r\n".repeat(10_000))),
            ("broken off", format!("{ok}content-length: 10\r\n\r\nx")),
            ("no HTTP", "SSH-2.0-OpenSSH\r\n\r\n".to_owned()),
            ("nothing", String::new()),
        ] {
            assert!(heard(bad).await.is_err(), "{what}");
        }
    }

    #[test]
    fn nothing_goes_out_in_the_clear() {
        let is = |text: &str| is_encrypted(&text.parse().unwrap()).ok();
        assert_eq!(is("https://example.org/a"), Some(true));
        for here in ["http://localhost:1/a", "http://127.0.0.1/", "http://[::1]:80/"] {
            assert_eq!(is(here), Some(false), "{here}");
        }
        for bad in
            ["http://example.org/", "http://localhost.example.org/", "ftp://localhost/", "/a"]
        {
            assert_eq!(is(bad), None, "{bad}");
        }
    }
}
