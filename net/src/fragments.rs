//! The pieces of messages. A message may come in any number of them, and the
//! WebSocket context puts it together without a word; so that small and empty
//! ones are not free, they are counted here, before the context sees them. So
//! is what the context holds of a message that has not ended.

/// Bytes from which on a piece is worth its head.
const SMALL: u64 = 1_024;

const FIN: u8 = 0x80;
/// Of the opcodes that are no part of a message.
const CONTROL: u8 = 0x08;
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
    /// Whether a message has begun of which a piece is still to come.
    is_begun: bool,
    /// Bytes of the message that has not ended, as far as they have come.
    held: u64,
    /// Bytes of the longest frame since [`Self::rest`].
    longest: u64,
}

impl Fragments {
    /// The next bytes of the stream.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.left > 0 {
                let skipped = self.left.min(bytes.len() as u64);
                self.left -= skipped;
                bytes = &bytes[skipped as usize..];
                self.came(skipped);
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
                self.longest = self.longest.max(length);
                self.filled = 0;
                self.came(0);
            }
        }
    }

    /// Small pieces since the last call, other than the last of a message.
    pub(crate) fn take(&mut self) -> u32 {
        std::mem::take(&mut self.small)
    }

    /// Bytes of the message that has not ended.
    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    /// Whether nothing has come of a further frame or message, and one was
    /// longer than this since the last time.
    pub(crate) fn rest(&mut self, length: u64) -> bool {
        let rests = self.filled == 0 && self.left == 0 && !self.is_begun && self.longest > length;
        if rests {
            self.longest = 0;
        }
        rests
    }

    /// So many bytes of a frame have come.
    fn came(&mut self, bytes: u64) {
        if self.head[0] & CONTROL != 0 {
            return;
        }
        self.held += bytes;
        if self.left == 0 {
            self.is_begun = self.head[0] & FIN == 0;
        }
        if self.left == 0 && !self.is_begun {
            self.held = 0;
        }
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
    fn knows_what_is_held_of_a_message_and_when_nothing_is() {
        let mut fragments = Fragments::default();
        fragments.feed(&frame(2, 2_000));
        assert_eq!(fragments.held(), 2_004, "with the mask");
        assert!(!fragments.rest(1_999), "the message goes on");
        fragments.feed(&frame(FIN | 9, 4));
        let last = frame(FIN, 3_000);
        let (begin, end) = last.split_at(1_000);
        fragments.feed(begin);
        assert_eq!(fragments.held(), 2_004 + 996);
        fragments.feed(&[end, &[0x82]].concat());
        assert!(fragments.held() == 0 && !fragments.rest(1_999), "another frame has begun");
        fragments.feed(&[MASKED, 0, 0, 0, 0]);
        assert!(!fragments.rest(3_000) && fragments.rest(2_999) && !fragments.rest(2_999));
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
