//! What a memory store holds: the stored things themselves, without faults.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use avvy_model::{BraneId, Epoch, Seq};
use bytes::Bytes;

use super::fleet::Nodes;
use super::records::RecordTables;
use crate::chain::Chain;
use crate::checksum;
use crate::chunk::{AppendRefusal, Chunk, ChunkWrite};
use crate::error::{Place, StoreError};
use crate::hold::Hold;
use crate::judge::{Judgement, judge};
use crate::lineage::{self, Lineage};
use crate::record::{BraneCursor, BraneRecord};
use crate::report::Cut;
use crate::scan::{Link, Scan, Verdict};
use crate::snapshot::{SnapshotId, SnapshotInfo, SnapshotStart};
use crate::store::Opened;

/// What is wrong with an entry that was spoiled.
pub(super) const SPOILED: &str = "its checksum is wrong";

/// A chunk with its checksum.
pub(super) struct Stored {
    pub(super) write: ChunkWrite,
    pub(super) checksum: u64,
}

impl Stored {
    pub(super) fn chunk(&self) -> Result<Chunk, String> {
        let ChunkWrite { epoch, from, to, at_ms, ref body, .. } = self.write;
        match self.write.checksum() == self.checksum {
            true => Ok(Chunk { epoch, from, to, at_ms, body: body.clone() }),
            false => Err("its checksum is wrong".into()),
        }
    }

    pub(super) fn link(&self) -> Link {
        match self.chunk() {
            Ok(Chunk { epoch, from, to, .. }) => Link::Good { epoch, from, to },
            Err(why) => Link::Bad { from: self.write.from, to: self.write.to, why },
        }
    }
}

/// A snapshot's parts, each with its checksum.
pub(super) struct Parts {
    pub(super) start: SnapshotStart,
    pub(super) parts: BTreeMap<u32, (Bytes, u64)>,
}

/// A finished snapshot.
pub(super) struct Finished {
    pub(super) info: SnapshotInfo,
    pub(super) parts: Parts,
    /// Its entry is not what was written.
    pub(super) is_spoiled: bool,
}

pub(super) struct Brane {
    pub(super) record: BraneRecord,
    pub(super) epoch: Epoch,
    pub(super) head: Seq,
    pub(super) lineage: Lineage,
    /// By their last edit.
    pub(super) chunks: BTreeMap<Seq, Stored>,
    pub(super) unfinished: Option<(SnapshotId, Parts)>,
    pub(super) snapshots: BTreeMap<SnapshotId, Finished>,
    /// Its head is not what was written.
    pub(super) is_spoiled: bool,
    pub(super) cuts: Vec<Cut>,
    pub(super) hold: Hold,
}

impl Brane {
    /// The snapshots whose entries are whole, newest first.
    pub(super) fn newest_first(&self) -> Vec<SnapshotInfo> {
        let whole = self.snapshots.values().filter(|found| !found.is_spoiled);
        let mut infos: Vec<_> = whole.map(|found| found.info).collect();
        infos.sort_unstable_by_key(|info| Reverse((info.at, info.id)));
        infos
    }

    /// The last edit that the newest snapshot includes.
    pub(super) fn covered(&self) -> Seq {
        self.newest_first().first().map_or(Seq(0), |info| info.at)
    }

    /// The brane's own entry, or that of the first snapshot, that is not what
    /// was written.
    pub(super) fn spoiled(&self) -> Option<Place> {
        if self.is_spoiled {
            return Some(Place::Brane(self.record.id));
        }
        let spoiled = self.snapshots.values().find(|found| found.is_spoiled)?;
        Some(Place::Snapshot { brane: self.record.id, snapshot: spoiled.info.id })
    }
}

#[derive(Default)]
pub(super) struct State {
    pub(super) branes: BTreeMap<BraneId, Brane>,
    pub(super) order: BTreeSet<BraneCursor>,
    pub(super) meta: BTreeMap<String, Bytes>,
    pub(super) last_snapshot: u64,
    pub(super) fleet: Nodes,
    pub(super) records: RecordTables,
}

impl State {
    pub(super) fn brane(&self, id: BraneId) -> Result<&Brane, StoreError> {
        self.branes.get(&id).ok_or(StoreError::UnknownBrane(id))
    }

    pub(super) fn brane_mut(&mut self, id: BraneId) -> Result<&mut Brane, StoreError> {
        let brane = self.branes.get_mut(&id).ok_or(StoreError::UnknownBrane(id))?;
        if brane.is_spoiled {
            return Err(StoreError::Damaged { place: Place::Brane(id), why: SPOILED.into() });
        }
        Ok(brane)
    }

    pub(super) fn create(&mut self, record: BraneRecord) -> Result<(), StoreError> {
        if let Some(brane) = self.branes.get(&record.id) {
            let same = brane.record == record;
            return if same { Ok(()) } else { Err(StoreError::BraneExists(record.id)) };
        }
        self.order.insert(record.cursor());
        let brane = Brane {
            epoch: Epoch(0),
            head: Seq(0),
            lineage: Vec::new(),
            chunks: BTreeMap::new(),
            unfinished: None,
            snapshots: BTreeMap::new(),
            is_spoiled: false,
            cuts: Vec::new(),
            hold: Hold::default(),
            record,
        };
        self.branes.insert(brane.record.id, brane);
        Ok(())
    }

    pub(super) fn open(&mut self, id: BraneId) -> Result<Opened, StoreError> {
        let brane = self.brane_mut(id)?;
        brane.epoch = brane.epoch.next();
        let covered = brane.covered();
        let mut damage = None;
        let mut found = |found| {
            damage.get_or_insert(found);
        };
        let mut scan = Scan::new(id, covered, covered);
        for stored in brane.chunks.range(covered.next()..).map(|(_, stored)| stored) {
            scan.feed(stored.link(), &mut found);
        }
        let verdict = scan.finish(brane.head, &mut found);
        if let Some(damage) = damage {
            return Err(StoreError::Damaged { place: damage.place, why: damage.why });
        }
        let torn = match verdict {
            Verdict::Whole => None,
            Verdict::Torn(torn) => {
                if let Some(place) = brane.spoiled() {
                    return Err(StoreError::Damaged { place, why: SPOILED.into() });
                }
                brane.chunks.split_off(&torn.kept.next());
                brane.head = torn.kept;
                brane.cuts.push(Cut { epoch: brane.epoch, torn: torn.clone() });
                Some(torn)
            }
        };
        lineage::push(&mut brane.lineage, brane.epoch, brane.head);
        Ok(Opened {
            record: brane.record.clone(),
            epoch: brane.epoch,
            lineage: brane.lineage.clone(),
            head: brane.head,
            snapshots: brane.newest_first(),
            torn,
        })
    }

    pub(super) fn append(&mut self, write: ChunkWrite) -> Result<(), AppendRefusal> {
        write.check()?;
        let brane = self.branes.get_mut(&write.brane).ok_or(AppendRefusal::UnknownBrane)?;
        if brane.is_spoiled {
            return Err(AppendRefusal::Damaged);
        }
        let checksum = write.checksum();
        let is_there = || {
            let stored = brane.chunks.get(&write.to);
            let is_it = stored.is_some_and(|stored| {
                stored.checksum == checksum
                    && (stored.write.epoch, stored.write.from) == (write.epoch, write.from)
            });
            Ok::<_, Infallible>(is_it)
        };
        let judged = judge(&write, brane.epoch, brane.head, is_there);
        match judged.unwrap_or_else(|never| match never {})? {
            Judgement::Stored => {}
            Judgement::New => {
                brane.head = write.to;
                brane.chunks.insert(write.to, Stored { write, checksum });
            }
        }
        Ok(())
    }

    pub(super) fn read_chunks(
        &self,
        id: BraneId,
        after: Seq,
        max_bytes: usize,
    ) -> Result<Vec<Chunk>, StoreError> {
        let brane = self.brane(id)?;
        let mut chain = Chain::new(id, after, brane.head, brane.covered(), max_bytes);
        for (to, stored) in brane.chunks.range(after.next()..) {
            if !chain.take(*to, stored.chunk())? {
                break;
            }
        }
        chain.finish()
    }

    pub(super) fn begin(&mut self, start: SnapshotStart) -> Result<SnapshotId, StoreError> {
        let id = SnapshotId(self.last_snapshot + 1);
        let brane = self.brane_mut(start.brane)?;
        if start.epoch != brane.epoch {
            return Err(StoreError::StaleEpoch { current: brane.epoch });
        }
        brane.unfinished = Some((id, Parts { start, parts: BTreeMap::new() }));
        self.last_snapshot = id.0;
        Ok(id)
    }

    pub(super) fn put_part(
        &mut self,
        brane: BraneId,
        snapshot: SnapshotId,
        index: u32,
        body: Bytes,
    ) -> Result<(), StoreError> {
        match &mut self.brane_mut(brane)?.unfinished {
            Some((id, parts)) if *id == snapshot => {
                let sum = checksum::part(brane, snapshot, index, &body);
                parts.parts.insert(index, (body, sum));
                Ok(())
            }
            _ => Err(StoreError::UnknownSnapshot { brane, snapshot }),
        }
    }

    pub(super) fn finish(
        &mut self,
        id: BraneId,
        snapshot: SnapshotId,
        parts: u32,
    ) -> Result<(), StoreError> {
        let brane = self.brane_mut(id)?;
        if brane.snapshots.contains_key(&snapshot) {
            return Ok(());
        }
        let unknown = StoreError::UnknownSnapshot { brane: id, snapshot };
        let Some((_, put)) = brane.unfinished.as_ref().filter(|(id, _)| *id == snapshot) else {
            return Err(unknown);
        };
        if put.start.epoch != brane.epoch {
            return Err(StoreError::StaleEpoch { current: brane.epoch });
        }
        if put.start.at > brane.head {
            return Err(StoreError::SnapshotAhead { head: brane.head });
        }
        let found = (0..).zip(put.parts.keys()).take_while(|(nth, key)| nth == *key).count();
        let found = u32::try_from(found).unwrap_or(u32::MAX);
        if found != parts || put.parts.len() != found as usize {
            return Err(StoreError::SnapshotIncomplete { found, expected: parts });
        }
        let (_, put) = brane.unfinished.take().ok_or(unknown)?;
        let SnapshotStart { epoch, at, taken_ms, .. } = put.start;
        let bytes = put.parts.values().map(|(body, _)| body.len() as u64).sum();
        let info = SnapshotInfo { id: snapshot, epoch, at, parts, bytes, taken_ms };
        brane.snapshots.insert(snapshot, Finished { info, parts: put, is_spoiled: false });
        Ok(())
    }

    pub(super) fn read_part(
        &self,
        brane: BraneId,
        snapshot: SnapshotId,
        index: u32,
    ) -> Result<Bytes, StoreError> {
        let unknown = StoreError::UnknownSnapshot { brane, snapshot };
        let found = self.brane(brane)?.snapshots.get(&snapshot).ok_or(unknown.clone())?;
        if found.is_spoiled {
            let place = Place::Snapshot { brane, snapshot };
            return Err(StoreError::Damaged { place, why: SPOILED.into() });
        }
        if index >= found.info.parts {
            return Err(unknown);
        }
        let place = Place::Part { brane, snapshot, index };
        match found.parts.parts.get(&index) {
            None => Err(StoreError::Damaged { place, why: "missing".into() }),
            Some((body, sum)) if checksum::part(brane, snapshot, index, body) == *sum => {
                Ok(body.clone())
            }
            Some(_) => Err(StoreError::Damaged { place, why: "its checksum is wrong".into() }),
        }
    }
}
