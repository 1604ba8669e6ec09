//! A copy of the world as a client would keep it, written apart from the
//! machines: it checks that everything it is sent joins what it has.

use std::collections::{BTreeMap, BTreeSet};

use avvy_model::{Handle, Object, Position, Seq, StateHash, ValueLimits};
use avvy_protocol::{
    CatchUp, Flush, FlushItem, Joined, MoveRecord, Resume, SnapshotPart, WireChange,
};

#[derive(Default)]
pub struct Replica {
    pub objects: BTreeMap<Handle, Object>,
    /// `None` before the first snapshot is whole.
    pub at: Option<Position>,
    pub durable: Seq,
    /// What changed after which edit, as far as it is not known to be durable.
    touched: BTreeSet<(Seq, Handle)>,
    /// A whole snapshot says nothing about what changed: until this edit is
    /// durable there is no complete count.
    uncounted_to: Seq,
    /// Parts of a snapshot that is not whole. Nothing of it counts before the
    /// last one: a copy between two positions could not be resumed.
    loading: Option<Loading>,
    pub windows: u64,
    pub completes: u64,
}

struct Loading {
    replaces: bool,
    parts: Vec<SnapshotPart>,
    /// What was said of durability meanwhile. It concerns the line that the
    /// copy will be on, not the one that it may still be on.
    durable: Seq,
}

impl Replica {
    /// The connection is gone, and with it what was under way.
    pub fn cut(&mut self) {
        self.loading = None;
    }

    pub fn resume(&self) -> Option<Resume> {
        let version = self.at?;
        let counted = self.uncounted_to <= self.durable;
        let touched = counted.then(|| {
            let handles: BTreeSet<_> = self.touched.iter().map(|(_, handle)| *handle).collect();
            handles.into_iter().collect()
        });
        Some(Resume { version, touched, scope: None })
    }

    pub fn joined(&mut self, joined: &Joined) {
        let replaces = joined.catch_up == CatchUp::Snapshot;
        assert!(replaces || self.at.is_some(), "only a copy can be replayed to or mended");
        self.loading = (joined.catch_up != CatchUp::Replay).then_some(Loading {
            replaces,
            parts: Vec::new(),
            durable: Seq(0),
        });
        self.durable(joined.durable);
    }

    pub fn rewind(&self, to: Position) {
        let at = self.at.expect("only a copy can be rewound");
        assert!(to.seq <= at.seq && to.epoch <= at.epoch, "a rewind goes back");
        assert!(to.seq >= self.durable.min(at.seq), "what was durable is never rewound");
        assert!(self.loading.is_some(), "what mends the copy follows");
    }

    pub fn part(&mut self, part: SnapshotPart) {
        let loading = self.loading.as_mut().expect("parts were announced");
        assert_eq!(part.index as usize, loading.parts.len(), "parts come in order");
        let (last, at) = (part.last, part.at);
        loading.parts.push(part);
        let Some(Loading { replaces, parts, durable }) = self.loading.take_if(|_| last) else {
            return;
        };
        if replaces {
            self.objects.clear();
            self.touched.clear();
            self.uncounted_to = at.seq;
        }
        for part in parts {
            assert_eq!(part.at, at);
            let changed = part.objects.iter().map(|object| object.handle);
            let all = changed.chain(part.gone.iter().copied());
            self.touched.extend(all.map(|handle| (at.seq, handle)));
            for handle in &part.gone {
                self.objects.remove(handle);
            }
            self.objects.extend(part.objects.into_iter().map(|o| (o.handle, o.object)));
        }
        self.at = Some(at);
        self.durable(durable);
    }

    pub fn window(&mut self, flush: &Flush) {
        assert!(self.loading.is_none(), "parts first");
        let at = self.at.expect("a window needs a copy");
        assert_eq!(flush.from, at.seq, "windows join");
        assert!(flush.epoch >= at.epoch && flush.to > flush.from);
        let mut seq = flush.from;
        for item in &flush.items {
            match item {
                FlushItem::Moves(moves) => {
                    for record in moves {
                        seq = seq.next();
                        self.shift(seq, record);
                    }
                }
                FlushItem::Event(event) => {
                    seq = seq.next();
                    event.changes.iter().for_each(|change| self.change(seq, change));
                }
                FlushItem::Skip(count) => seq.0 += count,
            }
        }
        assert_eq!(seq, flush.to, "a window holds what its range says");
        self.at = Some(Position { epoch: flush.epoch, seq: flush.to });
        self.windows += 1;
        self.durable(flush.durable);
    }

    pub fn complete(&mut self, version: Position) {
        assert_eq!(self.at, Some(version), "complete is where the copy stands");
        self.completes += 1;
    }

    pub fn durable(&mut self, durable: Seq) {
        if let Some(loading) = &mut self.loading {
            loading.durable = loading.durable.max(durable);
            return;
        }
        self.durable = self.durable.max(durable);
        self.touched.retain(|(seq, _)| *seq > durable);
    }

    pub fn hash(&self) -> [u8; 16] {
        StateHash::sum(self.objects.iter().map(|(handle, object)| (*handle, object))).to_bytes()
    }

    fn shift(&mut self, seq: Seq, record: &MoveRecord) {
        self.touched.insert((seq, record.handle));
        let object = self.objects.get_mut(&record.handle).expect("a move of what is there");
        object.transform = record.patch.apply(&object.transform);
    }

    fn change(&mut self, seq: Seq, change: &WireChange) {
        match change {
            WireChange::Created(created) => {
                self.touched.insert((seq, created.handle));
                let replaced = self.objects.insert(created.handle, created.object.clone());
                assert!(replaced.is_none(), "a handle is given once");
            }
            WireChange::Updated { handle, patch } => {
                self.touched.insert((seq, *handle));
                let object = self.objects.get_mut(handle).expect("there");
                object.props = object.props.patched(patch, &ValueLimits::NONE).expect("small").0;
            }
            WireChange::Moved(record) => self.shift(seq, record),
            WireChange::Reparented { handle, to } => {
                self.touched.insert((seq, *handle));
                let object = self.objects.get_mut(handle).expect("there");
                (object.parent, object.transform) = (to.parent, to.transform);
            }
            WireChange::Deleted { handles } => {
                for handle in handles {
                    self.touched.insert((seq, *handle));
                    assert!(self.objects.remove(handle).is_some(), "deleted once");
                }
            }
        }
    }
}
