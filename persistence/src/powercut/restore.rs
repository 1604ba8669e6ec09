//! Puts a directory into the state that a power cut leaves.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::image::{self, image_path};

/// What a device writes at once, in bytes.
const SECTOR: usize = 512;

/// What happens to writes that were not synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// All are gone.
    Synced,
    /// Each sector is the new one or the old one, as this seed draws; so are
    /// lengths, creations and deletions. A sector is never half written:
    /// devices promise that, and databases build on it.
    Some {
        /// The same seed draws the same.
        seed: u64,
    },
}

/// What a power cut did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Restored {
    /// Files that are not what they were before.
    pub files: u32,
    /// Unsynced sectors that are gone.
    pub lost: u64,
    /// Unsynced sectors that are there nevertheless.
    pub kept: u64,
}

/// Puts a directory into the state that a power cut leaves. No store may have
/// it open, but for one that was cut off. Only database files and their logs
/// are touched.
///
/// # Errors
/// Those of the file system.
pub fn restore(directory: &Path, keep: Keep) -> io::Result<Restored> {
    image::forget(directory);
    let mut done = Restored::default();
    let seed = match keep {
        Keep::Synced => None,
        Keep::Some { seed } => Some(seed),
    };
    for (nth, path) in (1..).zip(tracked(directory)?) {
        let draw = seed.map(|seed| Draw(seed.wrapping_mul(0x9e37_79b9).wrapping_add(nth)));
        restore_file(&path, draw, &mut done)?;
    }
    Ok(done)
}

/// The database files and logs of a directory, of which the file or the image
/// is there. Indices of logs are removed: they never survive a start.
fn tracked(directory: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let text = path.to_string_lossy();
        let base = text.strip_suffix(".synced").unwrap_or(&text);
        if text.ends_with(".copied") || text.ends_with("-shm") {
            fs::remove_file(&path)?;
        } else if [".sqlite", "-wal", "-journal"].iter().any(|end| base.ends_with(end)) {
            found.insert(PathBuf::from(base));
        }
    }
    Ok(found)
}

fn restore_file(path: &Path, draw: Option<Draw>, done: &mut Restored) -> io::Result<()> {
    let new = read(path)?;
    let old = read(&image_path(path))?;
    if new == old {
        return Ok(());
    }
    done.files += 1;
    let mixed = match draw {
        None => {
            done.lost += differing(old.as_deref(), new.as_deref());
            old
        }
        Some(draw) => mix(old, new, draw, done),
    };
    match mixed {
        Some(bytes) => {
            fs::write(image_path(path), &bytes)?;
            fs::write(path, &bytes)
        }
        None => remove(path).and_then(|()| remove(&image_path(path))),
    }
}

/// How many sectors of the new content are not in the old.
fn differing(old: Option<&[u8]>, new: Option<&[u8]>) -> u64 {
    let old = old.unwrap_or_default().chunks(SECTOR).map(Some).chain(std::iter::repeat(None));
    let new = new.unwrap_or_default().chunks(SECTOR);
    new.zip(old).filter(|(new, old)| Some(*new) != *old).count() as u64
}

/// Draws between the old and the new content of a file.
fn mix(
    old: Option<Vec<u8>>,
    new: Option<Vec<u8>>,
    mut draw: Draw,
    done: &mut Restored,
) -> Option<Vec<u8>> {
    let (old, new) = match (old, new) {
        // Created or deleted, and the directory may know it or not.
        (None, new) if draw.below(2) == 0 => return new.and(None),
        (old, None) => return if draw.below(2) == 0 { old } else { None },
        (old, Some(new)) => (old.unwrap_or_default(), new),
    };
    let length = if draw.below(2) == 0 { old.len() } else { new.len() };
    let mut mixed = old.clone();
    mixed.resize(length, 0);
    for (nth, sector) in mixed.chunks_mut(SECTOR).enumerate() {
        let start = nth * SECTOR;
        let fresh = new.get(start..(start + sector.len()).min(new.len())).unwrap_or_default();
        if fresh == &sector[..fresh.len()] {
            continue;
        }
        if draw.below(2) == 0 {
            done.lost += 1;
        } else {
            sector[..fresh.len()].copy_from_slice(fresh);
            done.kept += 1;
        }
    }
    Some(mixed)
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// A small generator of pseudo-random numbers (SplitMix64).
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }
}
