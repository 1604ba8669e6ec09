//! The pieces of messages. A message may come in any number of them, and the
//! WebSocket context puts it together without a word; so that small and empty
//! ones are not free, they are counted here, before the context sees them.

/// Bytes from which on a piece is worth its head.
const SMALL: u64 = 1_024;

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// Follows the frames of a stream of bytes without a look into them. Of bytes
/// that are no frames it makes what it will: the context ends those.
#[derive(Default)]
pub(crate) struct Fragments {
    /// The beginning of a frame, up to its length.
    head: [u8; 10],
    /// How much of it has come.
    filled: usize,
    /// Bytes of mask and payload that are still to come.
    left: u64,
    small: u32,
}

impl Fragments {
    /// The next bytes of the stream.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.left > 0 {
                let skipped = self.left.min(bytes.len() as u64);
                self.left -= skipped;
                bytes = &bytes[skipped as usize..];
                continue;
            }
            bytes = rest;
            self.head[self.filled] = byte;
            self.filled += 1;
            if let Some(length) = self.length() {
                let mask = if self.head[1] & MASKED == 0 { 0 } else { 4 };
                self.left = length.saturating_add(mask);
                let is_small = self.head[0] & FIN == 0 && length < SMALL;
                self.small = self.small.saturating_add(is_small.into());
                self.filled = 0;
            }
        }
    }

    /// Small pieces since the last call, other than the last of a message.
    pub(crate) fn take(&mut self) -> u32 {
        std::mem::take(&mut self.small)
    }

    /// The length of the payload, once the head is whole (RFC 6455, 5.2).
    fn length(&self) -> Option<u64> {
        let [_, short, long @ ..] = &self.head;
        let (needed, length) = match short & !MASKED {
            126 => (4, u64::from(u16::from_be_bytes([long[0], long[1]]))),
            127 => (10, u64::from_be_bytes(*long)),
            short => (2, u64::from(short)),
        };
        (self.filled >= needed).then_some(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(head: u8, length: u16) -> Vec<u8> {
        let mut frame = vec![head, MASKED];
        if length < 126 {
            frame[1] |= length as u8;
        } else {
            frame[1] |= 126;
            frame.extend(length.to_be_bytes());
        }
        // What is in it looks like empty pieces.
        frame.extend(vec![0; usize::from(length) + 4]);
        frame
    }

    #[test]
    fn counts_small_pieces_however_the_bytes_come() {
        let mut long = vec![2, MASKED | 127];
        long.extend(1_024_u64.to_be_bytes());
        long.extend([0; 1_028]);
        let stream = [
            frame(FIN | 2, 3),
            frame(2, 0),
            frame(0, 125),
            frame(FIN | 9, 4),
            frame(0, 126),
            frame(0, 1_023),
            frame(0, 1_024),
            frame(FIN, 0),
            long,
            vec![0, 0],
        ]
        .concat();
        for size in [1, 2, 7, 512, stream.len()] {
            let mut fragments = Fragments::default();
            stream.chunks(size).for_each(|bytes| fragments.feed(bytes));
            assert_eq!(fragments.take(), 5, "{size}");
            assert_eq!(fragments.take(), 0);
        }
    }

    #[test]
    fn takes_what_is_no_frame() {
        let mut fragments = Fragments::default();
        for byte in 0..=u8::MAX {
            fragments.feed(&[byte; 100]);
        }
        fragments.feed(&[0xff; 100]);
    }
}
