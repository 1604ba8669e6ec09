//! WebSocket frames made once for many sockets (RFC 6455, section 5.2).
//!
//! A server's frames are not masked, so the same bytes fit every connection.

use bytes::Bytes;

use crate::clip;
use crate::close::CloseCode;

/// FIN with the opcode of a binary message.
const BINARY: u8 = 0x82;
/// FIN with the opcode of a close.
const CLOSE: u8 = 0x88;
/// Bytes of payload that a control frame may have.
const MAX_CONTROL: usize = 125;

/// A whole frame, header and payload, or several that go out together. Cloning
/// shares the bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    wire: Bytes,
}

impl Frame {
    /// A binary message in one frame.
    pub fn binary(payload: &[u8]) -> Self {
        Self::new(BINARY, payload)
    }

    /// A close with its code and a reason for people, cut at 123 bytes.
    pub fn close(code: CloseCode, reason: &str) -> Self {
        let reason = clip(reason, MAX_CONTROL - 2).as_bytes();
        let payload = [&code.number().to_be_bytes(), reason].concat();
        Self::new(CLOSE, &payload)
    }

    /// The bytes for the socket.
    pub fn as_wire(&self) -> &Bytes {
        &self.wire
    }

    /// Several frames as one run of bytes, for sockets that get all of them:
    /// one buffer costs the kernel less than several.
    pub fn joined(frames: &[Self]) -> Self {
        let wires: Vec<&[u8]> = frames.iter().map(|frame| &*frame.wire).collect();
        Self { wire: wires.concat().into() }
    }

    /// The bytes inside; if these are several frames, inside the first.
    pub fn payload(&self) -> &[u8] {
        self.payloads().next().unwrap_or_default()
    }

    /// The bytes inside each of the frames.
    pub fn payloads(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest: &[u8] = &self.wire;
        std::iter::from_fn(move || {
            let (payload, after) = split(rest)?;
            rest = after;
            Some(payload)
        })
    }

    fn new(first: u8, payload: &[u8]) -> Self {
        let mut wire = Vec::with_capacity(payload.len() + 10);
        wire.push(first);
        match payload.len() {
            len @ 0..=125 => wire.push(len as u8),
            len @ 126..=0xffff => {
                wire.push(126);
                wire.extend_from_slice(&(len as u16).to_be_bytes());
            }
            len => {
                wire.push(127);
                wire.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        wire.extend_from_slice(payload);
        Self { wire: wire.into() }
    }
}

/// Splits the first of frames without a mask off: its payload and the rest.
fn split(wire: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = wire.split_at_checked(2)?;
    let (len, rest) = match head[1] {
        126 => rest
            .split_first_chunk()
            .map(|(len, rest)| (u64::from(u16::from_be_bytes(*len)), rest))?,
        127 => rest.split_first_chunk().map(|(len, rest)| (u64::from_be_bytes(*len), rest))?,
        len => (u64::from(len), rest),
    };
    rest.split_at_checked(usize::try_from(len).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_has_the_three_lengths() {
        for (len, header) in [
            (0, vec![0x82, 0]),
            (125, vec![0x82, 125]),
            (126, vec![0x82, 126, 0, 126]),
            (65_535, vec![0x82, 126, 255, 255]),
            (65_536, vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let payload = vec![7; len];
            let frame = Frame::binary(&payload);
            assert_eq!(frame.as_wire()[..header.len()], header);
            assert_eq!(frame.payload(), payload);
            assert_eq!(frame.as_wire().len(), header.len() + len);
        }
    }

    #[test]
    fn joined_frames_are_the_bytes_of_all() {
        let payloads = [vec![1; 3], vec![], vec![2; 126], vec![3; 70_000]];
        let frames: Vec<Frame> = payloads.iter().map(|payload| Frame::binary(payload)).collect();
        let joined = Frame::joined(&frames);
        let wires: Vec<&[u8]> = frames.iter().map(|frame| &**frame.as_wire()).collect();
        assert_eq!(joined.as_wire()[..], wires.concat());
        assert!(joined.payloads().eq(&payloads));
        assert_eq!(joined.payload(), payloads[0]);
    }

    #[test]
    fn a_close_is_a_control_frame_whatever_its_reason() {
        let frame = Frame::close(CloseCode::SlowConsumer, &"ä".repeat(200));
        assert_eq!(frame.as_wire()[0], 0x88);
        assert!(frame.payload().len() <= 125);
        assert_eq!(frame.payload()[..2], CloseCode::SlowConsumer.number().to_be_bytes());
        assert!(std::str::from_utf8(&frame.payload()[2..]).is_ok());
    }
}
