//! Just enough HTTP to set up a server: one request per connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use avvy_model::{BraneId, Visibility};
use avvy_protocol::rest::{self, CreateBrane, Format};

const TIMEOUT: Duration = Duration::from_secs(10);

/// The answer to a request.
pub struct Answer {
    /// Such as 200.
    pub status: u16,
    /// Everything after the headers.
    pub body: Vec<u8>,
}

/// Asks and reads the whole answer. `head` is method and path, and further
/// headers in lines of their own.
///
/// # Errors
/// When nobody answers in ten seconds, or not in HTTP.
pub fn ask(server: SocketAddr, head: &str, body: &[u8]) -> Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&server, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let (request_line, headers) = head.split_once("\r\n").unwrap_or((head, ""));
    let separator = if headers.is_empty() { "" } else { "\r\n" };
    let length = body.len();
    let request = format!(
        "{request_line} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\
         Content-Length: {length}\r\n{headers}{separator}\r\n"
    );
    stream.write_all(&[request.as_bytes(), body].concat())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.context("the answer has no end of headers")?;
    let status = std::str::from_utf8(&answer[..end])?.split(' ').nth(1).context("no status")?;
    Ok(Answer { status: status.parse()?, body: answer[end + 4..].to_vec() })
}

/// Makes a public brane.
///
/// # Errors
/// When the server does not.
pub fn create_brane(server: SocketAddr, token: &str, id: BraneId) -> Result<()> {
    let body = CreateBrane {
        id: Some(id),
        name: "Benchmark".to_owned(),
        kind: "public".to_owned(),
        visibility: Visibility::Public,
        cell_size: None,
    };
    let head = format!(
        "POST /api/v1/brane\r\nAuthorization: Bearer {token}\r\nContent-Type: application/cbor"
    );
    let answer = ask(server, &head, &rest::encode(&body, Format::Cbor))?;
    let text = String::from_utf8_lossy(&answer.body);
    ensure!(answer.status == 201, "creating a brane: {} {text}", answer.status);
    Ok(())
}

/// The value of a counter without labels in `/metrics`; `None` when it is not
/// there.
///
/// # Errors
/// When the server does not answer.
pub fn metric(server: SocketAddr, name: &str) -> Result<Option<f64>> {
    let answer = ask(server, "GET /metrics", b"")?;
    let text = String::from_utf8_lossy(&answer.body);
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
    Ok(text.lines().find_map(value))
}
