//! Just enough HTTP to ask a server something from the command line.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use avvy_protocol::rest::{ErrorMessageResponse, Format, decode};
use serde::de::DeserializeOwned;

/// The longest that the server may take. Whoever waits sits before a terminal.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of an answer, at most: a thousand branes with the longest names.
const MAX_ANSWER_BYTES: u64 = 4 * 1024 * 1024;

/// Asks the server whose REST API is below this address, such as
/// `http://127.0.0.1:7878`. With a body it is a POST.
///
/// # Errors
/// When the server does not answer, or refuses.
pub fn ask<T: DeserializeOwned>(
    server: &str,
    path: &str,
    token: &str,
    body: Option<&[u8]>,
) -> Result<T> {
    let (scheme, rest) = server.split_once("://").context("the address needs http://")?;
    ensure!(scheme == "http", "this cannot be asked by {scheme}");
    let (authority, base) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let has_port = authority.rsplit(':').next().is_some_and(|port| port.parse::<u16>().is_ok());
    let target = if has_port { authority.to_owned() } else { format!("{authority}:80") };
    let address = target.to_socket_addrs()?.next().context("the address leads nowhere")?;
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let (method, length) = body.map_or(("GET", 0), |body| ("POST", body.len()));
    let form = Format::Cbor.media_type();
    // Version 1.0: the answer comes in one piece and ends with the connection.
    let head = format!(
        "{method} {base}{path} HTTP/1.0\r\nHost: {authority}\r\nAccept: {form}\r\n\
         Content-Type: {form}\r\nContent-Length: {length}\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), body.unwrap_or_default()].concat())?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
    read_answer(&answer)
}

/// The body of an answer of status 200, or why it is another one.
pub(crate) fn read_answer<T: DeserializeOwned>(answer: &[u8]) -> Result<T> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.context("the answer is not HTTP")?;
    let (head, body) = (String::from_utf8_lossy(&answer[..end]), &answer[end + 4..]);
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status == "200" {
        return decode(body, Format::Cbor, body.len()).map_err(|error| anyhow::anyhow!("{error}"));
    }
    let error = decode::<ErrorMessageResponse>(body, Format::Cbor, body.len());
    match error {
        Ok(ErrorMessageResponse { code, details: Some(details), .. }) => {
            bail!("the server refuses: {code}: {details}")
        }
        Ok(error) => bail!("the server refuses: {}", error.code),
        Err(_) => bail!("the server refuses: status {status}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use avvy_protocol::rest::BranePage;

    use super::*;

    #[test]
    fn says_what_the_answer_was_instead() {
        for (answer, reason) in [
            ("", "not HTTP"),
            ("SSH-2.0", "not HTTP"),
            ("HTTP/1.0 404 Not Found\r\n\r\n<html>", "status 404"),
            ("HTTP/1.0 200 OK\r\n\r\n<html>", "malformed"),
        ] {
            let error = read_answer::<BranePage>(answer.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(reason), "{answer:?}: {error}");
        }
        let error = ask::<BranePage>("https://example.org", "/", "t", None).unwrap_err();
        assert!(error.to_string().contains("by https"), "{error}");
    }
}
