//! Finds a brane to build in, at a server of which only the address is known.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use avvy_model::{BraneId, Visibility};
use avvy_protocol::rest::{BranePage, ErrorMessageResponse, Format, decode};

/// The longest that the server may take for a page of its branes. Whoever
/// waits sits before a terminal.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a page, at most: a thousand branes with the longest names.
const MAX_PAGE_BYTES: u64 = 4 * 1024 * 1024;

/// The oldest public brane of the server whose REST API is below this address,
/// such as `http://127.0.0.1:7878`.
///
/// # Errors
/// When the server does not answer, refuses the token, or has no public brane.
pub fn first_public(server: &str, token: &str) -> Result<BraneId> {
    let mut after = String::new();
    loop {
        let path = format!("/api/v1/brane?limit=1000{after}");
        let page: BranePage = get(server, &path, token)?;
        let found = page.branes.iter().find(|brane| brane.visibility == Visibility::Public);
        if let Some(brane) = found {
            return Ok(brane.id);
        }
        after = match page.next {
            Some(next) => format!("&after={next}"),
            None => bail!("the server has no public brane: give one with --brane"),
        };
    }
}

fn get(server: &str, path: &str, token: &str) -> Result<BranePage> {
    let (scheme, rest) = server.split_once("://").context("the address needs http://")?;
    ensure!(scheme == "http", "branes cannot be looked up by {scheme}: give one with --brane");
    let (authority, base) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let has_port = authority.rsplit(':').next().is_some_and(|port| port.parse::<u16>().is_ok());
    let target = if has_port { authority.to_owned() } else { format!("{authority}:80") };
    let address = target.to_socket_addrs()?.next().context("the address leads nowhere")?;
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    // Version 1.0: the answer comes in one piece and ends with the connection.
    write!(
        stream,
        "GET {base}{path} HTTP/1.0\r\nHost: {authority}\r\nAccept: {}\r\n\
         Authorization: Bearer {token}\r\n\r\n",
        Format::Cbor.media_type()
    )?;
    let mut answer = Vec::new();
    stream.take(MAX_PAGE_BYTES).read_to_end(&mut answer)?;
    read_page(&answer)
}

fn read_page(answer: &[u8]) -> Result<BranePage> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.context("the answer is not HTTP")?;
    let (head, body) = (String::from_utf8_lossy(&answer[..end]), &answer[end + 4..]);
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status == "200" {
        return decode(body, Format::Cbor, body.len()).map_err(|error| anyhow::anyhow!("{error}"));
    }
    let error = decode::<ErrorMessageResponse>(body, Format::Cbor, body.len());
    match error {
        Ok(error) => bail!("the server does not list its branes: {}", error.code),
        Err(_) => bail!("the server does not list its branes: status {status}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn says_what_the_answer_was_instead() {
        for (answer, reason) in [
            ("", "not HTTP"),
            ("SSH-2.0", "not HTTP"),
            ("HTTP/1.0 404 Not Found\r\n\r\n<html>", "status 404"),
            ("HTTP/1.0 200 OK\r\n\r\n<html>", "malformed"),
        ] {
            let error = read_page(answer.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(reason), "{answer:?}: {error}");
        }
        let error = first_public("https://example.org", "t").unwrap_err().to_string();
        assert!(error.contains("--brane"), "{error}");
    }
}
