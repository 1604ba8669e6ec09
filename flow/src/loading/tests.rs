use avvy_brane::journal;
use avvy_model::{
    Change, ClientId, Counter, EditId, Epoch, Event, Grid, Handle, Kind, Object, ObjectAt,
    ObjectId, Position, Props, Transform,
};
use avvy_protocol::Channel;
use uuid::Uuid;

use super::*;
use crate::lineage::Lineage;

const BRANE: BraneId = BraneId::from_bytes([1; 16]);
const USER: UserId = UserId::from_bytes([2; 16]);

/// What a store would hold: chunks of one edit each, and snapshots, oldest first.
#[derive(Clone, Default)]
struct Shelf {
    chunks: Vec<JournalChunk>,
    snapshots: Vec<(u64, Vec<Vec<u8>>)>,
    head: u64,
    /// The ends of chunks that the store calls damaged.
    damaged: Vec<u64>,
    /// The last edit before the oldest chunk kept.
    oldest: u64,
    /// The store answers nothing about the journal up to here.
    away_until: u64,
}

impl Shelf {
    /// A journal of `head` edits with snapshots.
    fn new(head: u64, snapshots: &[u64]) -> Self {
        let chunks: Vec<_> = (0..head).map(|from| chunk(from, from + 1)).collect();
        let snapshots = snapshots.iter().map(|at| (*at, snapshot_at(&chunks, *at))).collect();
        Self { chunks, snapshots, head, ..Self::default() }
    }

    /// Spoils a byte of a snapshot's last part.
    fn spoil_snapshot(&mut self, nth: usize) {
        let part = self.snapshots[nth].1.last_mut().expect("it has parts");
        part[0] ^= 0xff;
    }

    /// Forgets the journal up to an edit.
    fn compact(mut self, oldest: u64) -> Self {
        self.oldest = oldest;
        self
    }

    fn read(&self, after: u64) -> Result<Vec<JournalChunk>, ReadFailure> {
        if after < self.away_until {
            return Err(ReadFailure::Away("nobody answers".to_owned()));
        }
        if after < self.oldest {
            return Err(ReadFailure::Compacted { oldest: Seq(self.oldest) });
        }
        let mut read = Vec::new();
        for chunk in self.chunks.iter().filter(|chunk| chunk.to.0 > after).take(2) {
            if self.damaged.contains(&chunk.to.0) {
                if read.is_empty() {
                    return Err(ReadFailure::Damaged(format!("chunk {}", chunk.to)));
                }
                break;
            }
            read.push(chunk.clone());
        }
        Ok(read)
    }

    fn loading(&self, tail_edits: u64) -> Loading {
        self.loading_within(tail_edits, 1_000_000)
    }

    fn loading_within(&self, tail_edits: u64, max_bytes: usize) -> Loading {
        let snapshots = self.snapshots.iter().enumerate().rev().map(|(id, (at, parts))| {
            SnapshotSource { id: id as u64, at: Seq(*at), parts: parts.len() as u32 }
        });
        let sources = Sources {
            brane: BRANE,
            owner: USER,
            grid: Grid::default(),
            snapshots: snapshots.collect(),
            head: Seq(self.head),
        };
        let tail = TailBounds { max_windows: 99, max_bytes };
        Loading::new(sources, LoadConfig { limits: WorldLimits::default(), tail, tail_edits })
    }

    /// Loads the brane: objects without the root, the floor, and what was warned of.
    fn load(&self, tail_edits: u64) -> Loaded {
        let mut loading = self.loading(tail_edits);
        let mut warnings = Vec::new();
        for _ in 0..1_000 {
            let taken = match loading.need() {
                Need::Nothing => {
                    let recovery = loading.finish().expect("nothing is needed");
                    assert_eq!(recovery.head(), Seq(self.head));
                    let lineage = Lineage::new(vec![(Epoch(1), Seq(0))]).expect("rising");
                    let (recovered, _) = recovery.finish(Channel(0), lineage);
                    let objects = recovered.world.len() as u64 - 1;
                    return Loaded { result: Ok((objects, recovered.floor.0)), warnings };
                }
                Need::Part { snapshot, index } => {
                    let part = &self.snapshots[snapshot as usize].1[index as usize];
                    loading.part(part, &mut warnings)
                }
                Need::Chunks { after } => match self.read(after.0) {
                    Ok(chunks) => loading.chunks(&chunks, &mut warnings),
                    Err(failure) => loading.failed(failure, &mut warnings),
                },
            };
            if let Err(error) = taken {
                assert_eq!(loading.need(), Need::Nothing);
                assert!(loading.finish().is_none());
                return Loaded { result: Err(error), warnings };
            }
        }
        panic!("the loading does not end");
    }
}

struct Loaded {
    result: Result<(u64, u64), LoadError>,
    warnings: Vec<LoadWarning>,
}

impl Loaded {
    /// Ends of snapshots fallen back from, and beginnings of journal done without.
    fn warned(&self) -> (Vec<u64>, Vec<(u64, u64)>) {
        let mut warned = (Vec::new(), Vec::new());
        for warning in &self.warnings {
            match warning {
                LoadWarning::FallingBack { at, .. } => warned.0.push(at.0),
                LoadWarning::EarlierJournal { from, to, .. } => warned.1.push((from.0, to.0)),
            }
        }
        warned
    }

    #[track_caller]
    fn expect(&self, objects: u64, floor: u64, back: &[u64], without: &[(u64, u64)]) {
        assert_eq!(self.result, Ok((objects, floor)));
        assert_eq!(self.warned(), (back.to_vec(), without.to_vec()));
    }

    #[track_caller]
    fn expect_damage(&self, why: &str) {
        match &self.result {
            Err(LoadError::Damaged(found)) => assert!(found.contains(why), "{found:?}"),
            other => panic!("{other:?}"),
        }
    }
}

fn chunk(from: u64, to: u64) -> JournalChunk {
    let events: Vec<_> = (from + 1..=to).map(creation).collect();
    let body = journal::encode(&events).into();
    JournalChunk { epoch: Epoch(1), from: Seq(from), to: Seq(to), at_ms: to, body }
}

fn creation(seq: u64) -> Event {
    let object = Object {
        id: ObjectId::new(Uuid::from_u128(seq.into())),
        parent: Handle::ROOT,
        kind: Kind::Block,
        owner: USER,
        transform: Transform::IDENTITY,
        props: Props::default(),
    };
    let created = Change::Created(Box::new(ObjectAt { handle: Handle(seq as u32), object }));
    Event {
        seq: Seq(seq),
        at_ms: seq,
        by: USER,
        edit: EditId { client: ClientId::from_bytes([3; 16]), counter: Counter(seq) },
        trace: None,
        changes: [created].into_iter().collect(),
    }
}

fn snapshot_at(chunks: &[JournalChunk], at: u64) -> Vec<Vec<u8>> {
    let limits = WorldLimits::default();
    let bounds = TailBounds { max_windows: 0, max_bytes: 0 };
    let mut recovery =
        Recovery::new(World::new(BRANE, USER), Clients::new(&limits), Seq(0), bounds);
    for chunk in chunks.iter().filter(|chunk| chunk.to.0 <= at) {
        recovery.chunk(chunk).expect("sound");
    }
    let lineage = Lineage::new(vec![(Epoch(1), Seq(0))]).expect("rising");
    let (recovered, _) = recovery.finish(Channel(0), lineage);
    let mut world = recovered.world;
    let hash = world.state_hash();
    let position = Position { epoch: Epoch(1), seq: Seq(at) };
    let mut encoder = snapshot::Encoder::new(world.freeze(), recovered.clients, position, hash);
    std::iter::from_fn(|| encoder.next_part()).collect()
}

#[test]
fn a_brane_opens_from_its_newest_snapshot_or_from_nothing() {
    Shelf::new(0, &[]).load(9).expect(0, 0, &[], &[]);
    Shelf::new(7, &[]).load(9).expect(7, 0, &[], &[]);
    Shelf::new(7, &[2, 5]).load(0).expect(7, 5, &[], &[]);
    Shelf::new(7, &[2, 5]).load(2).expect(7, 3, &[], &[]);
    Shelf::new(7, &[7]).load(100).expect(7, 0, &[], &[]);
}

#[test]
fn a_journal_of_which_nothing_is_kept_is_no_damage() {
    for tail_edits in [0, 3, 100] {
        Shelf::new(7, &[7]).compact(7).load(tail_edits).expect(7, 7, &[], &[]);
        Shelf::new(7, &[6, 7]).compact(6).load(tail_edits).result.expect("opens");
    }
    Shelf::new(9, &[7]).compact(4).load(100).expect(9, 4, &[], &[]);
    Shelf::new(9, &[7]).compact(4).load(1).expect(9, 6, &[], &[]);
}

#[test]
fn what_a_snapshot_includes_may_be_damaged_or_out_of_reach() {
    let mut shelf = Shelf::new(9, &[6]);
    shelf.damaged = vec![4];
    shelf.load(100).expect(9, 6, &[], &[(3, 6)]);
    shelf.load(3).expect(9, 6, &[], &[(3, 6)]);
    shelf.load(2).expect(9, 4, &[], &[]);
    let mut shelf = Shelf::new(9, &[6]);
    shelf.away_until = 6;
    shelf.load(100).expect(9, 6, &[], &[(0, 6)]);
    let mut shelf = Shelf::new(9, &[6]);
    shelf.chunks[3].body = shelf.chunks[3].body.slice(..5);
    shelf.load(100).expect(9, 6, &[], &[(3, 6)]);
    let mut shelf = Shelf::new(9, &[6]);
    shelf.chunks.drain(2..5);
    shelf.load(100).expect(9, 5, &[], &[]);
}

#[test]
fn a_damaged_snapshot_gives_way_to_the_one_before() {
    let mut shelf = Shelf::new(9, &[2, 4, 8]);
    shelf.spoil_snapshot(2);
    shelf.load(0).expect(9, 4, &[8], &[]);
    shelf.clone().compact(4).load(100).expect(9, 4, &[8], &[]);
    shelf.spoil_snapshot(1);
    shelf.load(0).expect(9, 2, &[8, 4], &[]);
    shelf.spoil_snapshot(0);
    shelf.load(0).expect(9, 0, &[8, 4, 2], &[]);
    shelf.compact(1).load(0).expect_damage("snapshot");
}

#[test]
fn a_snapshot_that_is_not_what_its_entry_says_is_damaged() {
    let mut shelf = Shelf::new(9, &[2, 8]);
    shelf.snapshots[1].1 = shelf.snapshots[0].1.clone();
    shelf.load(0).expect(9, 2, &[8], &[]);
    let mut shelf = Shelf::new(9, &[2, 8]);
    shelf.snapshots[1].1.pop();
    shelf.load(0).expect(9, 2, &[8], &[]);
    let mut shelf = Shelf::new(9, &[2, 8]);
    shelf.head = 7;
    shelf.load(0).expect_damage("it is of 8");
}

#[test]
fn a_fall_back_needs_its_journal() {
    let mut shelf = Shelf::new(9, &[4, 8]);
    shelf.spoil_snapshot(1);
    shelf.clone().compact(6).load(0).expect_damage("snapshot");
    shelf.damaged = vec![7];
    shelf.load(0).expect_damage("snapshot");
}

#[test]
fn damage_behind_the_snapshot_is_found() {
    let mut shelf = Shelf::new(9, &[6]);
    shelf.damaged = vec![8];
    shelf.load(0).expect_damage("chunk 8");
    let mut shelf = Shelf::new(9, &[6]);
    shelf.chunks.pop();
    shelf.load(0).expect_damage("before its head 9");
    let mut shelf = Shelf::new(9, &[6]);
    shelf.chunks.remove(7);
    shelf.load(0).expect_damage("begins at 8");
}

#[test]
fn a_store_that_is_away_is_no_damage() {
    let mut shelf = Shelf::new(9, &[4, 6]);
    shelf.away_until = 8;
    let loaded = shelf.load(0);
    assert_eq!(loaded.result, Err(LoadError::Away("nobody answers".to_owned())));
    assert!(loaded.warnings.is_empty());
    let mut loading = shelf.loading(0);
    let away = ReadFailure::Away("a part".to_owned());
    assert!(matches!(loading.failed(away, &mut Vec::new()), Err(LoadError::Away(_))));
}

#[test]
fn a_missing_part_is_damage() {
    let shelf = Shelf::new(9, &[6]);
    let mut loading = shelf.loading(0);
    let mut warnings = Vec::new();
    let missing = ReadFailure::Damaged("missing".to_owned());
    assert_eq!(loading.failed(missing, &mut warnings), Ok(()));
    assert_eq!(loading.need(), Need::Chunks { after: Seq(0) });
    assert_eq!(warnings.len(), 1);
}

#[test]
fn journal_that_the_fan_out_would_drop_is_not_read() {
    let shelf = Shelf::new(60, &[50]);
    let body = shelf.chunks[9].body.len();
    let mut loading = shelf.loading_within(40, 5 * body + body / 2);
    let (mut asked, mut warnings) = (Vec::new(), Vec::new());
    loop {
        match loading.need() {
            Need::Nothing => break,
            Need::Part { index, .. } => {
                let parts = &shelf.snapshots[0].1;
                let next = loading.next_need();
                assert_eq!(next.is_some(), (index as usize) < parts.len() - 1);
                loading.part(&parts[index as usize], &mut warnings).expect("sound");
                assert!(next.is_none_or(|next| next == loading.need()));
            }
            Need::Chunks { after } => {
                asked.push(after.0);
                let chunks = shelf.read(after.0).expect("sound");
                loading.chunks(&chunks, &mut warnings).expect("sound");
            }
        }
    }
    assert_eq!(asked, [10, 45, 47, 49, 51, 53, 55, 57, 59]);
    let lineage = Lineage::new(vec![(Epoch(1), Seq(0))]).expect("rising");
    let (recovered, windows) = loading.finish().expect("loaded").finish(Channel(0), lineage);
    assert_eq!((recovered.head, recovered.floor, windows.len()), (Seq(60), Seq(55), 5));
}
