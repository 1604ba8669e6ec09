//! Planned faults of the memory store.

/// What a store is asked to do, as fault plans see it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Operation {
    /// `create_brane`.
    CreateBrane,
    /// `update_brane`, `begin_purge`, `purge_brane`.
    ChangeBrane,
    /// `brane`, `branes_by_id`, `branes`, `meta`.
    ReadRecord,
    /// `open`, `open_to_copy`.
    Open,
    /// `read_chunks`.
    ReadChunks,
    /// `append`.
    Append,
    /// `begin_snapshot`.
    BeginSnapshot,
    /// `put_snapshot_part`.
    PutPart,
    /// `finish_snapshot`.
    FinishSnapshot,
    /// `abort_snapshot`.
    AbortSnapshot,
    /// `read_snapshot_part`.
    ReadPart,
    /// `compact`.
    Compact,
    /// `verify_brane`, `verify_store`.
    Verify,
    /// `put_meta`, `replace_meta`.
    PutMeta,
    /// `get`, `get_many`, `list`, `scan` of records.
    ReadRecords,
    /// `commit` and `sweep` of records.
    WriteRecords,
    /// `enter`, `renew`.
    Renew,
    /// Whatever else a fleet asks for.
    Fleet,
}

/// What happens to one operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Fault {
    /// Nothing: it is done and answered.
    #[default]
    None,
    /// `Io`, and nothing was done.
    FailBefore,
    /// `Io`, and all of it was done.
    FailAfter,
    /// `Io`, and of an append only the first chunks were done; other
    /// operations are not done.
    FailWithin {
        /// How many chunks of the group are stored.
        chunks: usize,
    },
    /// The power goes before it is done.
    CutBefore,
    /// The power goes after it is done and before it is answered.
    CutAfter,
    /// The power goes when the first chunks of an append are stored.
    CutWithin {
        /// How many chunks of the group are stored.
        chunks: usize,
    },
}

impl Fault {
    /// Whether the power goes.
    pub(super) const fn cuts(self) -> bool {
        matches!(self, Self::CutBefore | Self::CutAfter | Self::CutWithin { .. })
    }

    /// How many of `chunks` are stored.
    pub(super) fn reach(self, chunks: usize) -> usize {
        match self {
            Self::None | Self::FailAfter | Self::CutAfter => chunks,
            Self::FailBefore | Self::CutBefore => 0,
            Self::FailWithin { chunks: some } | Self::CutWithin { chunks: some } => {
                some.min(chunks)
            }
        }
    }
}

/// Decides what happens to every operation, in the order in which they come.
pub trait FaultPlan: Send + 'static {
    /// The fate of an operation; `nth` counts all operations from 0, across
    /// power cuts.
    fn fate(&mut self, operation: Operation, nth: u64) -> Fault;
}

impl<F: FnMut(Operation, u64) -> Fault + Send + 'static> FaultPlan for F {
    fn fate(&mut self, operation: Operation, nth: u64) -> Fault {
        self(operation, nth)
    }
}
