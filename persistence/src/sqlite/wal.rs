//! Reads a write-ahead log before SQLite does.
//!
//! SQLite ends its recovery at the first frame that does not fit and says
//! nothing. After a power cut that is right: the frames of the commit that was
//! under way may be there in any part. But a commit is only begun when the
//! one before it is on the device, so a frame that does not fit *before*
//! another commit's frames is damage, and with it would go commits that were
//! acknowledged. Here the two are told apart.
//!
//! That needs a log without remains of the same run behind its end: so the
//! log is begun anew whenever the store starts and whenever a commit failed.
//! Format: <https://www.sqlite.org/fileformat2.html#the_write_ahead_log>

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use crate::error::{Place, StoreError};

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// The end of a log that belongs to a commit that was never acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct WalTail {
    /// Frames of commits that are whole.
    pub(super) committed: u64,
    /// Frames behind them that SQLite will drop.
    pub(super) dropped: u64,
}

/// Reads the log of a database. `None` if there is none, or nothing in it.
pub(super) fn inspect(path: &Path) -> Result<Option<WalTail>, StoreError> {
    let failed = |error: io::Error| StoreError::Io(format!("{}: {error}", path.display()));
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut log = Log { input: BufReader::with_capacity(1 << 18, file), path };
    log.inspect().map_err(|fault| match fault {
        Fault::Io(error) => failed(error),
        Fault::Damaged(frame, why) => StoreError::Damaged {
            place: Place::Wal { file: path.to_owned(), frame },
            why: why.to_owned(),
        },
    })
}

enum Fault {
    Io(io::Error),
    Damaged(u64, &'static str),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

struct Log<'a> {
    input: BufReader<File>,
    path: &'a Path,
}

impl Log<'_> {
    fn inspect(&mut self) -> Result<Option<WalTail>, Fault> {
        let mut header = [0; HEADER];
        if !self.fill(&mut header)? || header == [0; HEADER] {
            return Ok(None);
        }
        let big_endian = match word(&header, 0) {
            0x377f_0682 => false,
            0x377f_0683 => true,
            _ => return Err(Fault::Damaged(0, "its magic number is wrong")),
        };
        let page = word(&header, 2) as usize;
        let mut sums = Sums { big_endian, pair: (0, 0) };
        sums.add(&header[..24]);
        if sums.pair != (word(&header, 6), word(&header, 7)) {
            return Err(Fault::Damaged(0, "its checksum is wrong"));
        }
        if !page.is_power_of_two() || !(512..=65_536).contains(&page) {
            return Err(Fault::Damaged(0, "its page size is impossible"));
        }
        self.frames(&header, page, sums).map(Some)
    }

    /// Walks the frames: first those that fit, then, behind the first that
    /// does not, for frames of the same run of the log.
    fn frames(&mut self, header: &[u8], page: usize, mut sums: Sums) -> Result<WalTail, Fault> {
        let mut tail = WalTail { committed: 0, dropped: 0 };
        let mut frame = vec![0; FRAME_HEADER + page];
        let mut number = 0;
        let mut bad = None;
        let mut commits_behind = 0;
        while self.fill(&mut frame)? {
            number += 1;
            let same_run = frame[8..16] == header[16..24];
            let is_commit = word(&frame, 1) != 0;
            if bad.is_none() {
                sums.add(&frame[..8]);
                sums.add(&frame[FRAME_HEADER..]);
                if same_run && sums.pair == (word(&frame, 4), word(&frame, 5)) {
                    tail.committed = if is_commit { number } else { tail.committed };
                    continue;
                }
                bad = Some(number);
            }
            if !same_run {
                continue;
            }
            commits_behind += u32::from(is_commit);
            if commits_behind > 1 {
                let first = bad.unwrap_or(number);
                return Err(Fault::Damaged(first, "its checksum is wrong, and commits follow it"));
            }
            tail.dropped = number - tail.committed;
        }
        if bad.is_none() {
            tail.dropped = number - tail.committed;
        }
        if tail.dropped > 0 {
            tracing::info!(log = %self.path.display(), frames = tail.dropped,
                "dropping the end of a commit that was never acknowledged");
        }
        Ok(tail)
    }

    /// Fills the buffer; false at the end of the file.
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        match self.input.read_exact(buffer) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The log's running checksum, over pairs of 32-bit words.
struct Sums {
    big_endian: bool,
    pair: (u32, u32),
}

impl Sums {
    fn add(&mut self, bytes: &[u8]) {
        let (mut first, mut second) = self.pair;
        for words in bytes.chunks_exact(8) {
            let number = |bytes: &[u8]| match bytes.try_into() {
                Ok(bytes) if self.big_endian => u32::from_be_bytes(bytes),
                Ok(bytes) => u32::from_le_bytes(bytes),
                Err(_) => 0,
            };
            first = first.wrapping_add(number(&words[..4])).wrapping_add(second);
            second = second.wrapping_add(number(&words[4..])).wrapping_add(first);
        }
        self.pair = (first, second);
    }
}

/// The nth big-endian word.
fn word(bytes: &[u8], nth: usize) -> u32 {
    let bytes = bytes.get(nth * 4..nth * 4 + 4).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u32::from_be_bytes)
}
