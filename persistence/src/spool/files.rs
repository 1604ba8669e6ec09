//! The files of a spool.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::archive::{Archive, put_damaged};
use super::format::{
    HEADER_BYTES, Segment, header, put_record, read_record, read_segment, record_bytes,
};
use super::{Drained, Settled, SpoolOptions, SpoolStatus};
use crate::chunk::{AppendRefusal, ChunkWrite};
use crate::error::{Place, StoreError};

const LOCK: &str = "avvyland.lock";
const SUFFIX: &str = ".spool";

/// A file with chunks that wait.
struct Waiting {
    number: u64,
    /// The length of what is good, header included.
    bytes: u64,
    /// Its chunks that are not settled.
    chunks: u64,
}

/// The files of a spool that this process has, until it is dropped.
pub(super) struct Files {
    options: SpoolOptions,
    /// Oldest first.
    waiting: VecDeque<Waiting>,
    /// Where in the oldest the first chunk lies that is not settled.
    front: u64,
    /// The newest, while it may grow.
    open: Option<File>,
    last_number: u64,
    status: SpoolStatus,
    archive: Archive,
    _lock: File,
}

impl Files {
    pub(super) fn open(options: &SpoolOptions) -> Result<Self, StoreError> {
        let failed = failed(&options.directory);
        make_private(&options.directory).map_err(&failed)?;
        let lock = private(&options.directory.join(LOCK)).map_err(&failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::InUse(options.directory.clone()));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let mut files = Self {
            options: options.clone(),
            waiting: VecDeque::new(),
            front: HEADER_BYTES as u64,
            open: None,
            last_number: 0,
            status: SpoolStatus::default(),
            archive: Archive::default(),
            _lock: lock,
        };
        files.find().map_err(&failed)?;
        files.status.found = files.chunks();
        Ok(files)
    }

    /// Looks through what is there.
    fn find(&mut self) -> io::Result<()> {
        let numbers = numbers(&self.options.directory)?;
        self.last_number = numbers.last().copied().unwrap_or(0);
        for number in numbers {
            let bytes = fs::read(self.path(number))?;
            let mut found = read_segment(&bytes);
            if found.good_bytes > 0 && found.number != number {
                found = Segment {
                    torn: Some("it has another's name".to_owned()),
                    ..Segment::default()
                };
            }
            if let Some(why) = &found.torn {
                self.cut(number, &bytes, found.good_bytes, why)?;
            }
            match found.chunks.len() as u64 {
                0 => fs::remove_file(self.path(number))?,
                chunks => {
                    self.waiting.push_back(Waiting { number, bytes: found.good_bytes, chunks });
                }
            }
        }
        self.sync_directory()
    }

    /// Cuts what is not good off the end of a file, and puts it aside. In the
    /// newest it is most likely what was being written when a process died;
    /// anywhere else it was whole once.
    fn cut(&mut self, number: u64, bytes: &[u8], good: u64, why: &str) -> io::Result<()> {
        let rest = &bytes[usize::try_from(good).unwrap_or(bytes.len()).min(bytes.len())..];
        let file = self.path(number);
        if number == self.last_number {
            self.status.cut += 1;
            tracing::warn!(file = %file.display(), bytes = rest.len(), why,
                "the end of a spool is not whole: it is put aside");
        } else {
            self.status.damaged += 1;
            tracing::error!(file = %file.display(), bytes = rest.len(), why,
                "a spool is damaged: what follows is put aside");
        }
        if !rest.is_empty() {
            put_damaged(&self.options.directory, number, good, rest)?;
        }
        let file = OpenOptions::new().write(true).open(file)?;
        file.set_len(good)?;
        file.sync_all()
    }

    pub(super) fn status(&self) -> SpoolStatus {
        SpoolStatus { chunks: self.chunks(), bytes: self.bytes(), ..self.status }
    }

    fn chunks(&self) -> u64 {
        self.waiting.iter().map(|file| file.chunks).sum()
    }

    fn bytes(&self) -> u64 {
        self.waiting.iter().map(|file| file.bytes).sum()
    }

    pub(super) fn append(&mut self, chunks: &[ChunkWrite]) -> Result<(), StoreError> {
        if chunks.is_empty() {
            return Ok(());
        }
        if chunks.iter().any(|chunk| chunk.check().is_err()) {
            return Err(StoreError::Invalid("the chunk is empty or too long"));
        }
        let more: u64 = chunks.iter().map(record_bytes).sum();
        let max = self.options.max_bytes;
        if self.bytes() + more + HEADER_BYTES as u64 > max {
            return Err(StoreError::Full(format!("the spool holds {max} bytes")));
        }
        let failed = failed(&self.options.directory);
        let result = self.write(chunks);
        if result.is_err() {
            // Whether it is on the device is not known, nor whether the next
            // sync would tell. So nothing more is added to this file.
            if let (Some(file), Some(newest)) = (self.open.take(), self.waiting.back()) {
                // What cannot be cut now is cut when the spool is next opened.
                let _ = file.set_len(newest.bytes).and_then(|()| file.sync_all());
            }
            if let Some(Waiting { number, chunks: 0, .. }) = self.waiting.back() {
                self.remove(*number);
                self.waiting.pop_back();
            }
        }
        result.map_err(failed)
    }

    fn write(&mut self, chunks: &[ChunkWrite]) -> io::Result<()> {
        if self.waiting.back().is_none_or(|newest| newest.bytes >= self.options.file_bytes) {
            self.open = None;
        }
        if self.open.is_none() {
            self.begin()?;
        }
        let (Some(file), Some(newest)) = (&mut self.open, self.waiting.back_mut()) else {
            return Err(io::Error::other("no file is open"));
        };
        let mut bytes = Vec::new();
        for chunk in chunks {
            let at = newest.bytes + bytes.len() as u64;
            put_record(&mut bytes, newest.number, at, chunk);
        }
        file.write_all(&bytes)?;
        file.sync_data()?;
        newest.bytes += bytes.len() as u64;
        newest.chunks += chunks.len() as u64;
        Ok(())
    }

    /// Begins the next file.
    fn begin(&mut self) -> io::Result<()> {
        self.last_number += 1;
        let path = self.path(self.last_number);
        let new = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path);
        let mut file = new?;
        let (number, bytes) = (self.last_number, HEADER_BYTES as u64);
        // Should the next steps fail, it is removed with all that is in none.
        self.waiting.push_back(Waiting { number, bytes, chunks: 0 });
        file.write_all(&header(number))?;
        self.sync_directory()?;
        self.open = Some(file);
        Ok(())
    }

    pub(super) fn peek(
        &self,
        max_chunks: usize,
        max_bytes: usize,
    ) -> Result<Vec<ChunkWrite>, StoreError> {
        let mut found = Vec::new();
        let mut room = max_bytes;
        for (nth, file) in self.waiting.iter().enumerate() {
            let at = if nth == 0 { self.front } else { HEADER_BYTES as u64 };
            if !self.read(file, at, max_chunks, &mut room, &mut found)? {
                break;
            }
        }
        Ok(found)
    }

    /// Reads chunks of one file from a place on; false when there are enough.
    fn read(
        &self,
        file: &Waiting,
        mut at: u64,
        max_chunks: usize,
        room: &mut usize,
        found: &mut Vec<ChunkWrite>,
    ) -> Result<bool, StoreError> {
        let path = self.path(file.number);
        let begin = || {
            let mut opened = File::open(&path)?;
            opened.seek(SeekFrom::Start(at))?;
            Ok(BufReader::new(opened.take(file.bytes.saturating_sub(at))))
        };
        let mut reader = begin().map_err(failed(&self.options.directory))?;
        while at < file.bytes {
            if found.len() >= max_chunks {
                return Ok(false);
            }
            let damaged = |why| {
                let place = Place::File(path.display().to_string());
                StoreError::Damaged { place, why }
            };
            let read = read_record(&mut reader, file.number, at).map_err(damaged)?;
            let chunk = read.ok_or_else(|| damaged(format!("at {at}: it ends too early")))?;
            if !found.is_empty() && chunk.body.len() > *room {
                return Ok(false);
            }
            at += record_bytes(&chunk);
            *room = room.saturating_sub(chunk.body.len());
            found.push(chunk);
        }
        Ok(true)
    }

    pub(super) fn settle(
        &mut self,
        answers: &[Result<(), AppendRefusal>],
    ) -> Result<Drained, StoreError> {
        let chunks = self.peek(answers.len(), usize::MAX)?;
        let settled = |(chunk, answer)| match Settled::of(chunk, answer) {
            Settled::Stored => None,
            Settled::Lost(_) => Some(chunk),
        };
        let lost = chunks.iter().zip(answers.iter().copied()).filter_map(settled);
        let lost: Vec<&ChunkWrite> = lost.collect();
        self.archive
            .put(&self.options.directory, &lost)
            .map_err(failed(&self.options.directory))?;
        let archived = lost.len() as u64;
        let drained = Drained { stored: chunks.len() as u64 - archived, archived };
        self.status.stored += drained.stored;
        self.status.archived += drained.archived;
        for chunk in &chunks {
            self.pass(record_bytes(chunk));
        }
        Ok(drained)
    }

    /// Goes past the first chunk, and removes its file if it was the last.
    fn pass(&mut self, bytes: u64) {
        let Some(oldest) = self.waiting.front_mut() else { return };
        self.front += bytes;
        oldest.chunks = oldest.chunks.saturating_sub(1);
        if self.front < oldest.bytes {
            return;
        }
        let number = oldest.number;
        self.waiting.pop_front();
        self.front = HEADER_BYTES as u64;
        if self.waiting.is_empty() {
            self.open = None;
        }
        // What stays is drained again, which changes nothing.
        self.remove(number);
    }

    fn remove(&self, number: u64) {
        if let Err(error) = fs::remove_file(self.path(number)) {
            tracing::warn!(%error, number, "a file of the spool cannot be removed");
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.options.directory.join(format!("{number:020}{SUFFIX}"))
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.options.directory)?.sync_all()
    }
}

/// What waits in a spool, without taking it; nothing if there is none. Of one
/// that a process has it is what was there a moment ago.
///
/// # Errors
/// `Io`.
pub fn look(spool: &Path) -> Result<Vec<Segment>, StoreError> {
    let found = match numbers(spool) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        found => found.map_err(failed(spool))?,
    };
    let mut segments = Vec::new();
    for number in found {
        match fs::read(spool.join(format!("{number:020}{SUFFIX}"))) {
            Ok(bytes) => segments.push(read_segment(&bytes)),
            // It is settled by now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(spool)(error)),
        }
    }
    Ok(segments)
}

/// The numbers of the files, ascending.
fn numbers(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)?.parse::<u64>().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// What a failure of the device is to the caller.
fn failed(directory: &Path) -> impl Fn(io::Error) -> StoreError + use<> {
    let directory = directory.display().to_string();
    move |error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            StoreError::Full(directory.clone())
        }
        _ => StoreError::Io(format!("{directory}: {error}")),
    }
}

/// Makes a directory that nobody else may look into.
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path)
}
