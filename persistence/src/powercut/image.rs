//! The durable image of every file written through the VFS.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

/// What is copied at once. Also the grain in which changes are noted.
pub(super) const BLOCK: u64 = 4096;

/// All files that this process wrote through the VFS.
static FILES: LazyLock<Mutex<HashMap<PathBuf, Arc<Image>>>> = LazyLock::new(Mutex::default);

/// The power of the directories that this process uses.
static POWER: LazyLock<Mutex<HashMap<PathBuf, Arc<Power>>>> = LazyLock::new(Mutex::default);

/// How an operation fails while the power is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The device fails. A sync that fails so has lost what it was to bring to
    /// the device, and the next one does not know of it, as Linux does it.
    Io,
    /// The same, and only syncs count.
    Sync,
    /// There is no room.
    Full,
}

/// What keeps a directory's files writable.
struct Power {
    directory: PathBuf,
    /// How many more writes, truncations, syncs and deletions are done before
    /// the power goes.
    left: AtomicU64,
    /// How many more of them succeed before one fails, and how.
    failing: Mutex<Option<(u64, Failure)>>,
    /// The most bytes that all files of the directory have together.
    room: AtomicU64,
}

impl Power {
    fn spend(&self, is_sync: bool) -> Result<(), Stop> {
        let spend = |left: u64| if left == u64::MAX { Some(left) } else { left.checked_sub(1) };
        self.left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, spend)
            .map_err(|_| Stop::Dead)?;
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        match failing.take() {
            Some((left, Failure::Sync)) if !is_sync => {
                *failing = Some((left, Failure::Sync));
                Ok(())
            }
            Some((0, failure)) => Err(Stop::Failing(failure)),
            Some((left, failure)) => {
                *failing = Some((left - 1, failure));
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Whether a file may grow by so much.
    fn has_room(&self, growth: u64) -> bool {
        let room = self.room.load(Ordering::SeqCst);
        room == u64::MAX || growth == 0 || self.taken() + growth <= room
    }

    /// The bytes of all files of the directory but the images.
    fn taken(&self) -> u64 {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let files = entries.filter(|entry| !entry.file_name().as_bytes().ends_with(b".synced"));
        files.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum()
    }
}

/// A file that is being written, as the image sees it.
pub(super) trait Source {
    /// Its length.
    fn length(&self) -> io::Result<u64>;
    /// Fills the buffer from an offset, with zeros beyond the end.
    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

/// The image of one file.
pub(super) struct Image {
    path: PathBuf,
    power: Arc<Power>,
    changes: Mutex<Changes>,
}

struct Changes {
    /// Blocks written since the last sync.
    blocks: BTreeSet<u64>,
    /// The shortest that the file was since the last sync.
    shortest: u64,
    /// The image is of an earlier file, or of what an earlier process wrote.
    all: bool,
}

/// Why an operation is not done.
pub(super) enum Stop {
    /// The power is gone, or the image could not be written.
    Dead,
    /// This one fails.
    Failing(Failure),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        tracing::error!(%error, "the image of a file could not be written");
        Self::Dead
    }
}

/// The path of a file's image.
pub(super) fn image_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".synced");
    PathBuf::from(name)
}

/// Cuts the power under a directory: from now on every write, sync and
/// deletion of its files that goes through the VFS fails, until
/// [`super::restore`].
pub fn cut(directory: &Path) {
    cut_after(directory, 0);
}

/// Lets the power go after so many more writes, truncations, syncs and
/// deletions of a directory's files.
pub fn cut_after(directory: &Path, operations: u64) {
    power(&resolved(directory)).left.store(operations, Ordering::SeqCst);
}

/// Whether the power under a directory is gone.
pub fn is_cut(directory: &Path) -> bool {
    power(&resolved(directory)).left.load(Ordering::SeqCst) == 0
}

/// Lets one write, truncation, sync or deletion of a directory's files fail,
/// after so many that succeed; `None`: none from now on.
pub fn fail_after(directory: &Path, failing: Option<(u64, Failure)>) {
    let power = power(&resolved(directory));
    *power.failing.lock().unwrap_or_else(PoisonError::into_inner) = failing;
}

/// Whether the failure that was asked for is still to come.
pub fn is_failing(directory: &Path) -> bool {
    let power = power(&resolved(directory));
    let failing = power.failing.lock().unwrap_or_else(PoisonError::into_inner);
    failing.is_some()
}

/// Lets no file of a directory grow beyond so many bytes, all files together;
/// `u64::MAX`: without bound.
pub fn limit(directory: &Path, bytes: u64) {
    power(&resolved(directory)).room.store(bytes, Ordering::SeqCst);
}

/// Forgets the files of a directory; who has them open stays without power.
pub(super) fn forget(directory: &Path) {
    let directory = resolved(directory);
    powers().remove(&directory);
    files().retain(|path, _| path.parent() != Some(&directory));
}

fn power(directory: &Path) -> Arc<Power> {
    let mut powers = powers();
    let power = powers.entry(directory.to_owned());
    let new = || Power {
        directory: directory.to_owned(),
        left: AtomicU64::new(u64::MAX),
        failing: Mutex::new(None),
        room: AtomicU64::new(u64::MAX),
    };
    Arc::clone(power.or_insert_with(|| Arc::new(new())))
}

fn powers() -> MutexGuard<'static, HashMap<PathBuf, Arc<Power>>> {
    POWER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// SQLite resolves the paths that it passes.
fn resolved(directory: &Path) -> PathBuf {
    directory.canonicalize().unwrap_or_else(|_| directory.to_owned())
}

/// The image of a file that is opened. What was in the file before this VFS
/// saw it the first time counts as synced.
pub(super) fn of(path: &Path, source: &dyn Source) -> io::Result<Arc<Image>> {
    let mut files = files();
    if let Some(image) = files.get(path) {
        return Ok(Arc::clone(image));
    }
    let changes = Changes { blocks: BTreeSet::new(), shortest: u64::MAX, all: true };
    let power = power(path.parent().unwrap_or(path));
    let image = Image { path: image_path(path), power, changes: Mutex::new(changes) };
    if source.length()? > 0 && !image.path.exists() {
        image.replace(source)?;
    }
    let image = Arc::new(image);
    files.insert(path.to_owned(), Arc::clone(&image));
    Ok(image)
}

/// Notes that a file is deleted; false if that fails.
pub(super) fn delete(path: &Path, synced: bool) -> bool {
    let mut files = files();
    if power(path.parent().unwrap_or(path)).spend(false).is_err() {
        return false;
    }
    files.remove(path);
    if synced {
        // Not there is as good as deleted.
        let _ = fs::remove_file(image_path(path));
    }
    true
}

fn files() -> MutexGuard<'static, HashMap<PathBuf, Arc<Image>>> {
    FILES.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Image {
    /// Notes a write and lets `write` do it, so that no sync comes between.
    pub(super) fn write<T>(
        &self,
        source: &dyn Source,
        offset: u64,
        length: u64,
        write: impl FnOnce() -> T,
    ) -> Result<T, Stop> {
        let mut changes = self.lock();
        self.power.spend(false)?;
        let growth = (offset + length).saturating_sub(source.length()?);
        if !self.power.has_room(growth) {
            return Err(Stop::Failing(Failure::Full));
        }
        let end = (offset + length).div_ceil(BLOCK);
        changes.blocks.extend(offset / BLOCK..end);
        Ok(write())
    }

    /// Notes a truncation and lets `truncate` do it.
    pub(super) fn truncate<T>(&self, length: u64, truncate: impl FnOnce() -> T) -> Result<T, Stop> {
        let mut changes = self.lock();
        self.power.spend(false)?;
        changes.shortest = changes.shortest.min(length);
        Ok(truncate())
    }

    /// Brings the image up to date.
    pub(super) fn sync(&self, source: &dyn Source) -> Result<(), Stop> {
        let mut changes = self.lock();
        if let Err(stop) = self.power.spend(true) {
            if matches!(stop, Stop::Failing(_)) {
                // What was to be synced counts as clean and is not there.
                changes.blocks.clear();
            }
            return Err(stop);
        }
        if changes.all {
            self.replace(source)?;
        } else {
            self.update(source, &changes)?;
        }
        changes.blocks.clear();
        changes.shortest = u64::MAX;
        changes.all = false;
        Ok(())
    }

    /// Copies the whole file beside the image, and puts the copy in its place.
    fn replace(&self, source: &dyn Source) -> io::Result<()> {
        let copy = self.path.with_extension("copied");
        let file = File::create(&copy)?;
        let length = source.length()?;
        for block in 0..length.div_ceil(BLOCK) {
            copy_block(source, &file, block, length)?;
        }
        fs::rename(copy, &self.path)
    }

    /// Copies what changed.
    fn update(&self, source: &dyn Source, changes: &Changes) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(&self.path)?;
        let length = source.length()?;
        if changes.shortest < file.metadata()?.len() {
            file.set_len(changes.shortest)?;
        }
        for block in &changes.blocks {
            copy_block(source, &file, *block, length)?;
        }
        file.set_len(length)
    }

    fn lock(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Copies a block, as far as the file goes.
fn copy_block(source: &dyn Source, image: &File, block: u64, length: u64) -> io::Result<()> {
    let start = block * BLOCK;
    let here = length.saturating_sub(start).min(BLOCK) as usize;
    let mut buffer = [0; BLOCK as usize];
    source.read(&mut buffer[..here], start)?;
    image.write_all_at(&buffer[..here], start)
}
