//! What the files of a spool hold. Pure.
//!
//! A file begins with a header of 24 bytes: `"AVVYspl1"`, its number (u64) and
//! the checksum of both. Then come records: the length of the body (u32), the
//! brane (16 bytes), epoch, from, to and time (u64 each), a checksum (u64) and
//! the body. Numbers are little-endian. The checksum is over the number of the
//! file, the record's place in it, all fields and the body, so neither a record
//! at another place nor a piece of an older file counts as good.

use std::io::Read;

use avvy_model::{BraneId, Epoch, Seq};
use bytes::Bytes;

use crate::checksum::Header;
use crate::chunk::{ChunkWrite, MAX_CHUNK_BYTES};

const MAGIC: &[u8; 8] = b"AVVYspl1";
/// The length of a file's header.
pub(super) const HEADER_BYTES: usize = 24;
/// The length of a record without its body.
const RECORD_BYTES: usize = 60;

/// What was read of a file: a good beginning, and why it is not longer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Segment {
    /// The file's number.
    pub number: u64,
    /// The chunks, in order.
    pub chunks: Vec<ChunkWrite>,
    /// The length of what is good, header included.
    pub good_bytes: u64,
    /// What is wrong with what follows, if anything does.
    pub torn: Option<String>,
}

/// Reads the bytes of a file, as far as they are what was written.
pub fn read_segment(bytes: &[u8]) -> Segment {
    let mut chunks = Vec::new();
    let Walk { number, good_bytes, torn } = walk(&mut &bytes[..], |chunk| chunks.push(chunk));
    Segment { number, chunks, good_bytes, torn }
}

/// What a walk through a file came to.
pub(super) struct Walk {
    pub(super) number: u64,
    /// The length of what is good, header included.
    pub(super) good_bytes: u64,
    /// What is wrong with what follows, if anything does.
    pub(super) torn: Option<String>,
}

/// Reads a file, as far as it is what was written, one chunk at a time.
pub(super) fn walk(from: &mut impl Read, mut visit: impl FnMut(ChunkWrite)) -> Walk {
    let number = match read_header(from) {
        Ok(number) => number,
        Err(why) => return Walk { number: 0, good_bytes: 0, torn: Some(why) },
    };
    let mut good_bytes = HEADER_BYTES as u64;
    let torn = loop {
        match read_record(from, number, good_bytes) {
            Ok(Some(chunk)) => {
                good_bytes += record_bytes(&chunk);
                visit(chunk);
            }
            Ok(None) => break None,
            Err(why) => break Some(why),
        }
    };
    Walk { number, good_bytes, torn }
}

/// The bytes of a file with these chunks.
pub fn write_segment(number: u64, chunks: &[ChunkWrite]) -> Vec<u8> {
    let mut bytes = header(number).to_vec();
    for chunk in chunks {
        let at = bytes.len() as u64;
        put_record(&mut bytes, number, at, chunk);
    }
    bytes
}

/// A file's header.
pub(super) fn header(number: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..16].copy_from_slice(&number.to_le_bytes());
    header[16..].copy_from_slice(&header_checksum(number).to_le_bytes());
    header
}

fn header_checksum(number: u64) -> u64 {
    Header::new(MAGIC).number(number).seal(&[])
}

/// Reads a file's header: its number.
pub(super) fn read_header(from: &mut impl Read) -> Result<u64, String> {
    let mut header = [0; HEADER_BYTES];
    if !fill(from, &mut header)? {
        return Err("the file is empty".to_owned());
    }
    let (magic, numbers) = header.split_at(8);
    let number = u64_at(numbers, 0);
    if magic != MAGIC || u64_at(numbers, 8) != header_checksum(number) {
        return Err("its header is not that of a spool".to_owned());
    }
    Ok(number)
}

/// The length of a chunk's record.
pub(super) fn record_bytes(chunk: &ChunkWrite) -> u64 {
    (RECORD_BYTES + chunk.body.len()) as u64
}

/// Adds a chunk's record, which will lie `at` a place of a file.
pub(super) fn put_record(to: &mut Vec<u8>, number: u64, at: u64, chunk: &ChunkWrite) {
    // A chunk's bound is far below.
    to.extend_from_slice(&u32::try_from(chunk.body.len()).unwrap_or(u32::MAX).to_le_bytes());
    to.extend_from_slice(&chunk.brane.to_bytes());
    for field in [chunk.epoch.0, chunk.from.0, chunk.to.0, chunk.at_ms] {
        to.extend_from_slice(&field.to_le_bytes());
    }
    to.extend_from_slice(&checksum(number, at, chunk).to_le_bytes());
    to.extend_from_slice(&chunk.body);
}

/// Reads the record `at` a place of a file; nothing if the file ends there.
pub(super) fn read_record(
    from: &mut impl Read,
    number: u64,
    at: u64,
) -> Result<Option<ChunkWrite>, String> {
    let mut head = [0; RECORD_BYTES];
    if !fill(from, &mut head)? {
        return Ok(None);
    }
    let (length, fields) = head.split_at(4);
    let length = length.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    if length > MAX_CHUNK_BYTES {
        return Err(format!("at {at}: its length is {length}"));
    }
    let (brane, fields) = fields.split_at(16);
    let mut id = [0; 16];
    id.copy_from_slice(brane);
    let mut body = Vec::new();
    // Grows as it is read, whatever the length says.
    let read = from.take(length as u64).read_to_end(&mut body);
    if read.map_err(|error| error.to_string())? < length {
        return Err(format!("at {at}: it ends within a chunk"));
    }
    let chunk = ChunkWrite {
        brane: BraneId::from_bytes(id),
        epoch: Epoch(u64_at(fields, 0)),
        from: Seq(u64_at(fields, 8)),
        to: Seq(u64_at(fields, 16)),
        at_ms: u64_at(fields, 24),
        body: Bytes::from(body),
    };
    if u64_at(fields, 32) != checksum(number, at, &chunk) {
        return Err(format!("at {at}: its checksum is wrong"));
    }
    Ok(Some(chunk))
}

fn checksum(number: u64, at: u64, chunk: &ChunkWrite) -> u64 {
    Header::new(b"AVVYspoo")
        .number(number)
        .number(at)
        .number(chunk.checksum())
        .number(chunk.body.len() as u64)
        .seal(&[])
}

/// Fills a buffer; false if there is nothing at all.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> Result<bool, String> {
    let mut found = Vec::with_capacity(buffer.len());
    let read = from.take(buffer.len() as u64).read_to_end(&mut found);
    match read.map_err(|error| error.to_string())? {
        0 => Ok(false),
        length if length < buffer.len() => Err("it ends within a header".to_owned()),
        _ => {
            buffer.copy_from_slice(&found);
            Ok(true)
        }
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(from: u64) -> ChunkWrite {
        ChunkWrite {
            brane: BraneId::from_bytes([7; 16]),
            epoch: Epoch(3),
            from: Seq(from),
            to: Seq(from + 2),
            at_ms: 5,
            body: vec![from as u8; 3 + from as usize].into(),
        }
    }

    fn image() -> (Vec<ChunkWrite>, Vec<u8>) {
        let chunks: Vec<_> = (0..5).map(chunk).collect();
        let bytes = write_segment(9, &chunks);
        (chunks, bytes)
    }

    #[test]
    fn what_is_written_is_read() {
        let (chunks, bytes) = image();
        let good_bytes = bytes.len() as u64;
        assert_eq!(read_segment(&bytes), Segment { number: 9, chunks, good_bytes, torn: None });
        assert_eq!(read_segment(&[]).torn.as_deref(), Some("the file is empty"));
    }

    /// Cut anywhere, a file is a good beginning, and says that it is cut unless
    /// it is cut between records.
    #[test]
    fn cut_anywhere_it_is_a_good_beginning() {
        let (chunks, bytes) = image();
        let mut ends = vec![HEADER_BYTES as u64];
        chunks.iter().for_each(|chunk| ends.push(ends[ends.len() - 1] + record_bytes(chunk)));
        for length in 0..bytes.len() {
            let read = read_segment(&bytes[..length]);
            let whole = ends.iter().filter(|end| **end <= length as u64).count();
            assert_eq!(read.chunks, chunks[..whole.saturating_sub(1)], "{length}");
            assert_eq!(read.torn.is_none(), ends.contains(&(length as u64)), "{length}");
        }
    }

    /// Changed anywhere, it is a good beginning that ends before the change.
    #[test]
    fn changed_anywhere_it_ends_there() {
        let (chunks, bytes) = image();
        for at in 0..bytes.len() {
            let mut spoiled = bytes.clone();
            spoiled[at] ^= 0x40;
            let read = read_segment(&spoiled);
            assert!(read.torn.is_some() && read.good_bytes <= at as u64, "{at}: {read:?}");
            assert_eq!(read.chunks, chunks[..read.chunks.len()], "{at}");
        }
    }

    #[test]
    fn a_record_counts_only_in_its_place() {
        let (_, bytes) = image();
        let first = &bytes[HEADER_BYTES..HEADER_BYTES + RECORD_BYTES + 3];
        let moved = [&bytes[..], first].concat();
        assert_eq!(read_segment(&moved).chunks.len(), 5);
        let elsewhere = [&header(8)[..], &bytes[HEADER_BYTES..]].concat();
        assert_eq!(read_segment(&elsewhere).chunks.len(), 0);
    }
}
