//! A database that is not what was written.

use std::fs;
use std::sync::{LazyLock, Mutex, PoisonError};

use avvy_model::{BraneId, Epoch, Seq, UserId};
use avvy_persistence::cache::{Model, RecordsByKey};
use avvy_persistence::records::{
    Collection, Commit, CommitId, Cursor, Draft, Fields, Index, IndexKey, RecordKey, RecordWrite,
    Records,
};
use avvy_persistence::spool::{read_segment, write_segment};
use avvy_persistence::sqlite::{SqliteOptions, SqliteReader, SqliteStore};
use avvy_persistence::{
    BraneFilter, BraneKind, BraneRecord, ChunkWrite, SnapshotStart, Store, StoreError,
};
use bytes::Bytes;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

/// The files that are spoiled: journal and parts.
const FILES: [&str; 2] = ["avvyland.sqlite", "snapshots.sqlite"];
/// Bytes of the header of a patch.
const PATCH_HEAD: usize = 4;

struct Fixture {
    folder: TempDir,
    images: [Vec<u8>; 2],
    runtime: Runtime,
}

/// Held by whoever reads the one directory.
static FIXTURE: LazyLock<Mutex<Fixture>> = LazyLock::new(|| Mutex::new(Fixture::new()));

/// Reads all of a small database of which bytes were changed. The input is
/// patches: where (three bytes, big endian; the highest bit says in which
/// file), how many bytes (one), the bytes. What comes back is what was
/// written, or an error.
pub fn store(bytes: &[u8]) {
    let fixture = FIXTURE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut images = fixture.images.clone();
    let mut rest = bytes;
    while let Some((&[a, b, c, length], behind)) = rest.split_first_chunk::<PATCH_HEAD>() {
        let (patch, behind) = behind.split_at(usize::from(length).min(behind.len()));
        let image = &mut images[usize::from(a >> 7)];
        let at = u32::from_be_bytes([0, a & 0x7f, b, c]) as usize % image.len();
        let patch = &patch[..patch.len().min(image.len() - at)];
        image[at..at + patch.len()].copy_from_slice(patch);
        rest = behind;
    }
    let folder = fixture.folder.path();
    for (file, image) in FILES.iter().zip(images) {
        fs::write(folder.join(file), image).expect("a temporary file can be written");
    }
    let Ok(reader) = SqliteReader::open(&SqliteOptions::at(folder)) else { return };
    fixture.runtime.block_on(async {
        read(&reader).await;
        let _ = reader.close().await;
    });
}

/// Whatever it finds, it is the truth or an error.
async fn read(store: &dyn Store) {
    let _ = store.verify_store().await;
    let _ = store.meta("key").await;
    let Ok(page) = store.branes(BraneFilter::All, None, 100).await else { return };
    for found in page.branes {
        let nth = found.id.to_bytes()[0];
        assert_eq!(found, record(nth), "a record that was not written");
        let Ok(report) = store.verify_brane(found.id).await else { continue };
        if let Ok(chunks) = store.read_chunks(found.id, Seq(0), usize::MAX).await {
            for chunk in chunks {
                assert_eq!(chunk.body, body(nth, chunk.to), "a chunk that was not written");
            }
        }
        for snapshot in report.snapshots {
            for index in 0..snapshot.parts.min(4) {
                let part = store.read_snapshot_part(found.id, snapshot.id, index).await;
                let is_true = part.is_ok_and(|part| part != body(nth, Seq(u64::from(index))));
                assert!(!is_true, "a part that was not written");
            }
        }
    }
}

/// The chunks of a spool, the bytes of its file, and where its checksums are.
static SPOOL: LazyLock<(Vec<ChunkWrite>, Vec<u8>, Vec<usize>)> = LazyLock::new(|| {
    let chunk = |at: u64| ChunkWrite {
        brane: BraneId::from_bytes([(at % 3) as u8; 16]),
        epoch: Epoch(7),
        from: Seq(at),
        to: Seq(at + 1),
        at_ms: at,
        body: body(at as u8, Seq(at)),
    };
    let chunks: Vec<ChunkWrite> = (0..12).map(chunk).collect();
    let bytes = write_segment(3, &chunks);
    // A checksum is the end of the header, and of each record before its body.
    let ends =
        (0..chunks.len()).map(|n| write_segment(3, &chunks[..=n]).len() - chunks[n].body.len());
    let sums = std::iter::once(24).chain(ends).map(|end| end - 8).collect();
    (chunks, bytes, sums)
});

/// Reads a file of a spool. The input is patches to a good one: where (two
/// bytes, big endian; beyond the end it is cut there), how many bytes (one),
/// the bytes. Checksums stay as they are: they find what went wrong, and not
/// who writes another file on purpose. What comes back is a beginning of what
/// was written. The input is read as a file, too: what is good of that is
/// written again as the same.
pub fn spool(bytes: &[u8]) {
    let (chunks, image, sums) = &*SPOOL;
    let mut spoiled = image.clone();
    let mut rest = bytes;
    while let Some((&[a, b, length], behind)) = rest.split_first_chunk::<3>() {
        let (patch, behind) = behind.split_at(usize::from(length).min(behind.len()));
        let at = usize::from(u16::from_be_bytes([a, b]));
        if at >= image.len() {
            spoiled.truncate(at - image.len());
        } else if at < spoiled.len() {
            let patch = &patch[..patch.len().min(spoiled.len() - at)];
            spoiled[at..at + patch.len()].copy_from_slice(patch);
        }
        rest = behind;
    }
    for sum in sums.iter().map(|sum| *sum..sum + 8) {
        if let Some(bytes) = spoiled.get_mut(sum.clone()) {
            bytes.copy_from_slice(&image[sum]);
        }
    }
    let found = read_segment(&spoiled);
    assert_eq!(found.chunks, chunks[..found.chunks.len()], "chunks that were not written");
    assert!(found.torn.is_some() || found.good_bytes == spoiled.len() as u64, "unread bytes");

    for input in [bytes, &spoiled] {
        let found = read_segment(input);
        let good = &input[..found.good_bytes as usize];
        assert!(good.is_empty() || good == write_segment(found.number, &found.chunks));
    }
}

/// A record as a cache that nodes share holds it, and, where it is text, a place
/// in a listing as somebody sends it who wants the next page.
pub fn record_of_others(bytes: &[u8]) {
    if let Some(record) = RecordsByKey::decode(bytes) {
        let again = RecordsByKey::encode(&record);
        assert_eq!(RecordsByKey::decode(&again), Some(record), "what was read is written");
    }
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Some(cursor) = Cursor::from_text(text) {
        assert_eq!(cursor.to_text(), text, "one place has one text");
    }
}

fn record(nth: u8) -> BraneRecord {
    BraneRecord {
        name: format!("brane {nth}"),
        kind: BraneKind::Showcase,
        ..BraneRecord::new(
            BraneId::from_bytes([nth; 16]),
            UserId::from_bytes([9; 16]),
            u64::from(nth),
        )
    }
}

fn body(nth: u8, to: Seq) -> Bytes {
    vec![nth ^ to.0 as u8; 40 + to.0 as usize].into()
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("there is room for temporary files");
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(fill(folder.path())).expect("a new store takes what it is given");
        let read = |file| fs::read(folder.path().join(file)).expect("the store has its files");
        let images = FILES.map(read);
        Self { folder, images, runtime }
    }
}

async fn fill(folder: &std::path::Path) -> Result<(), StoreError> {
    let store = SqliteStore::open(&SqliteOptions::at(folder))?;
    store.put_meta("key", Bytes::from_static(b"value")).await?;
    for nth in [1, 2] {
        store.create_brane(record(nth)).await?;
        let brane = BraneId::from_bytes([nth; 16]);
        let epoch: Epoch = store.open(brane).await?.epoch;
        for from in 0..4 {
            let (from, to) = (Seq(from), Seq(from + 1));
            let body = body(nth, to);
            store.append(vec![ChunkWrite { brane, epoch, from, to, at_ms: to.0, body }]).await?;
        }
        let start = SnapshotStart { brane, epoch, at: Seq(2), taken_ms: 2 };
        let snapshot = store.begin_snapshot(start).await?;
        for index in 0..2 {
            let body = body(nth, Seq(u64::from(index)));
            store.put_snapshot_part(brane, snapshot, index, body).await?;
        }
        store.finish_snapshot(brane, snapshot, 2).await?;
    }
    // What reads all of them is the inspection.
    let write = |nth: u128| {
        let body = Fields::new().with("list", vec![1_i64.into(), "two".into()]);
        let draft = Draft::new(body).found_by("by_number", IndexKey::new().number(nth as u64));
        RecordWrite::create(&THINGS, RecordKey::from(Uuid::from_u128(nth)), draft)
    };
    let commit = Commit { id: CommitId(Uuid::from_u128(9)), writes: (0..3).map(write).collect() };
    let done = store.commit(commit, 1).await?;
    assert!(done.is_ok(), "a new store takes what it is given: {done:?}");
    store.close().await
}

static THINGS: Collection = Collection { name: "things", indexes: &[Index::unique("by_number")] };
