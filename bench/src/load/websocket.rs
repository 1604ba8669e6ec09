//! The client's side of RFC 6455, as far as a server of ours uses it: whole
//! messages in one frame each, no extensions.

use anyhow::{Result, bail, ensure};

/// The example key of RFC 6455, section 1.3. A fresh one per connection would
/// prove nothing here.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What the server must answer to it.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// Not zero, so that the server has to unmask.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A message or control frame.
#[derive(PartialEq, Eq, Debug)]
pub enum Message<'a> {
    /// A binary message.
    Binary(&'a [u8]),
    /// A ping, to be answered.
    Ping(&'a [u8]),
    /// A pong.
    Pong,
    /// The end, with its code; 1005 when there is none.
    Close(u16),
}

/// The request that opens a WebSocket with a token.
pub fn request(host: &str, token: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\
         Authorization: Bearer {token}\r\n\r\n"
    )
}

/// Bytes of the answer to the request, when it is whole.
///
/// # Errors
/// When it is another answer than 101 with the right key.
pub fn response(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        ensure!(bytes.len() < 16 * 1024, "an answer without end");
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&bytes[..end]);
    let is_right = text.starts_with("HTTP/1.1 101") && text.contains(ACCEPT);
    ensure!(is_right, "no WebSocket: {text}");
    Ok(Some(end + 4))
}

/// The frame at the front and its length; `None` when it is not whole.
///
/// # Errors
/// When it is masked, in parts or of another kind than a server of ours sends.
#[inline]
pub fn frame(bytes: &[u8]) -> Result<Option<(Message<'_>, usize)>> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    let (header, len) = match (second, rest) {
        (0..=125, _) => (2, usize::from(*second)),
        (126, [a, b, ..]) => (4, usize::from(u16::from_be_bytes([*a, *b]))),
        (127, [a, b, c, d, e, f, g, h, ..]) => {
            (10, u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) as usize)
        }
        (126 | 127, _) => return Ok(None),
        _ => bail!("a masked frame"),
    };
    let Some(payload) = bytes.get(header..).and_then(|rest| rest.get(..len)) else {
        return Ok(None);
    };
    let message = match first {
        0x82 => Message::Binary(payload),
        0x89 => Message::Ping(payload),
        0x8a => Message::Pong,
        0x88 => Message::Close(match payload {
            [a, b, ..] => u16::from_be_bytes([*a, *b]),
            _ => 1005,
        }),
        other => bail!("a frame that begins with {other:#x}"),
    };
    Ok(Some((message, header + len)))
}

/// Appends a masked binary message.
pub fn write_binary(payload: &[u8], out: &mut Vec<u8>) {
    write_frame(0x82, payload, out);
}

/// Appends the answer to a ping.
pub fn write_pong(payload: &[u8], out: &mut Vec<u8>) {
    write_frame(0x8a, payload, out);
}

fn write_frame(first: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(first);
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn frames_are_cut_where_they_end() {
        for len in [0usize, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![7; len];
            let wire = avvy_protocol::frame::Frame::binary(&payload).as_wire().to_vec();
            for short in [0, 1, wire.len() - 1] {
                assert_eq!(frame(&wire[..short.min(wire.len() - 1)]).unwrap(), None);
            }
            let more = [&wire[..], b"more"].concat();
            let (message, end) = frame(&more).unwrap().unwrap();
            assert_eq!((message, end), (Message::Binary(&payload), wire.len()));
        }
    }

    #[test]
    fn control_frames_are_told_apart() {
        assert_eq!(frame(&[0x88, 2, 0x0f, 0xa0]).unwrap(), Some((Message::Close(4000), 4)));
        assert_eq!(frame(&[0x89, 1, 9]).unwrap(), Some((Message::Ping(&[9]), 3)));
        assert_eq!(frame(&[0x8a, 0]).unwrap(), Some((Message::Pong, 2)));
        assert!(frame(&[0x82, 0x81, 0, 0, 0, 0, 1]).is_err());
        assert!(frame(&[0x02, 0]).is_err());
    }

    #[test]
    fn what_is_written_is_masked() {
        let mut out = Vec::new();
        write_binary(&[0; 130], &mut out);
        assert_eq!(out[..4], [0x82, 0xfe, 0, 130]);
        assert_eq!(out[4..8], MASK);
        assert_eq!(out[8..12], MASK);
        assert_eq!(out.len(), 138);
    }
}
