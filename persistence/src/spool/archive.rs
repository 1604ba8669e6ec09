//! What the store refused for good, for people to look at.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use avvy_model::{BraneId, Epoch, Seq};

use super::format::{header, put_record, walk};
use crate::chunk::ChunkWrite;
use crate::error::StoreError;

/// The directory in a spool's.
pub(super) const ARCHIVE: &str = "archive";
/// The number of every file of the archive.
const NUMBER: u64 = 0;

/// A file of the archive: a brane's edits that were accepted under an epoch
/// and never stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Archived {
    /// Where it is.
    pub file: PathBuf,
    /// Whose edits, and under which epoch. `None` if nothing can be read.
    pub of: Option<(BraneId, Epoch)>,
    /// The last edit before the first.
    pub from: Seq,
    /// The last edit.
    pub to: Seq,
    /// How many chunks can be read.
    pub chunks: u64,
    /// The length of their bodies.
    pub bytes: u64,
    /// What is wrong with what follows them, if anything is.
    pub torn: Option<String>,
}

/// Lists what is archived beside a spool, also one that a process has; nothing
/// if there is no spool.
///
/// # Errors
/// `Io`.
pub fn archived(spool: &Path) -> Result<Vec<Archived>, StoreError> {
    let directory = spool.join(ARCHIVE);
    let failed = |error: io::Error| StoreError::Io(format!("{}: {error}", directory.display()));
    let entries = match fs::read_dir(&directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in entries {
        files.push(entry.map_err(failed)?.path());
    }
    files.sort_unstable();
    files.into_iter().map(|file| report(&file).map_err(failed)).collect()
}

fn report(file: &Path) -> io::Result<Archived> {
    let mut found = Archived {
        file: file.to_owned(),
        of: None,
        from: Seq(0),
        to: Seq(0),
        chunks: 0,
        bytes: 0,
        torn: None,
    };
    let walk = walk(&mut BufReader::new(File::open(file)?), |chunk| {
        if found.of.is_none() {
            found.of = Some((chunk.brane, chunk.epoch));
            found.from = chunk.from;
        }
        found.to = chunk.to;
        found.chunks += 1;
        found.bytes += chunk.body.len() as u64;
    });
    found.torn = walk.torn;
    Ok(found)
}

/// The archive of a spool that this process has.
#[derive(Default)]
pub(super) struct Archive {
    /// Where the files end that it has written to.
    ends: BTreeMap<(BraneId, Epoch), End>,
}

/// The length of what is good in a file, and the last edit in it.
#[derive(Clone, Copy, Default)]
struct End {
    bytes: u64,
    to: Seq,
}

impl Archive {
    /// Appends chunks to the files of their branes, durably.
    pub(super) fn put(&mut self, spool: &Path, chunks: &[&ChunkWrite]) -> io::Result<()> {
        if chunks.is_empty() {
            return Ok(());
        }
        let directory = make(spool)?;
        let mut tails: BTreeMap<(BraneId, Epoch), Vec<&ChunkWrite>> = BTreeMap::new();
        for chunk in chunks {
            tails.entry((chunk.brane, chunk.epoch)).or_default().push(chunk);
        }
        for (key, tail) in tails {
            let (brane, epoch) = key;
            let path = directory.join(format!("{brane}-{epoch}.spool"));
            // Not known any more, should it fail.
            let end = self.ends.remove(&key).map_or_else(|| end_of(&path), Ok)?;
            self.ends.insert(key, append(&path, end, &tail)?);
            tracing::error!(%brane, %epoch, chunks = tail.len(), file = %path.display(),
                "edits that the store refuses for good are archived");
        }
        File::open(&directory)?.sync_all()
    }
}

/// Where a file ends, as far as it is whole.
fn end_of(path: &Path) -> io::Result<End> {
    let mut end = End::default();
    let file = private(path)?;
    end.bytes = walk(&mut BufReader::new(file), |chunk| end.to = chunk.to).good_bytes;
    Ok(end)
}

/// What an earlier attempt has left half is cut, and what it has left whole
/// is not written again.
fn append(path: &Path, end: End, tail: &[&ChunkWrite]) -> io::Result<End> {
    let End { bytes: begin, mut to } = end;
    let mut bytes = Vec::new();
    if begin == 0 {
        bytes.extend_from_slice(&header(NUMBER));
    }
    for chunk in tail {
        if chunk.to > to {
            to = chunk.to;
            let at = begin + bytes.len() as u64;
            put_record(&mut bytes, NUMBER, at, chunk);
        }
    }
    let mut file = private(path)?;
    file.set_len(begin)?;
    file.seek(SeekFrom::Start(begin))?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    Ok(End { bytes: begin + bytes.len() as u64, to })
}

/// Puts the rest of a file aside, durably.
pub(super) fn put_damaged(spool: &Path, number: u64, from: u64, rest: &[u8]) -> io::Result<()> {
    let directory = make(spool)?;
    let mut file = private(&directory.join(format!("{number:020}-{from}.damaged")))?;
    file.set_len(0)?;
    file.write_all(rest)?;
    file.sync_all()?;
    File::open(&directory)?.sync_all()
}

fn make(spool: &Path) -> io::Result<PathBuf> {
    let directory = spool.join(ARCHIVE);
    super::files::make_private(&directory)?;
    File::open(spool)?.sync_all()?;
    Ok(directory)
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path)
}
