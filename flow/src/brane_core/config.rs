//! What a brane is opened with.

use avvy_brane::{Clients, World};
use avvy_model::{Seq, WorldLimits};

use crate::flush_window::FlushWindowConfig;
use crate::lineage::Lineage;

/// Bounds and habits of one brane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BraneConfig {
    /// How windows are cut.
    pub flush: FlushWindowConfig,
    /// What the world refuses to grow beyond.
    pub limits: WorldLimits,
    /// Sessions that may have joined. Default 4,096; one more is refused with
    /// `brane_full`.
    pub max_sessions: usize,
    /// Bytes of journal that are not durable yet, at which edits are refused
    /// as `unavailable`. Default 64 MiB. One edit may exceed it.
    pub max_journal_bytes: usize,
    /// Accepted edits that the fan-out has not finished yet, at which edits
    /// are refused as `unavailable`. Default 65,536.
    pub max_unpublished_edits: u64,
    /// A copy that lacks more edits than this gets the difference of the
    /// worlds instead of a replay. Default 100,000.
    pub replay_max_edits: u64,
    /// For so long after the last viewer of a part has gone it is still noted
    /// what each part shows, so that who comes back is replayed what it
    /// missed, in milliseconds. Default 60,000. Meanwhile windows cost as much
    /// as if somebody saw a part.
    pub part_linger_ms: u32,
    /// Objects that enter views whole at a window's end. Default
    /// [`avvy_brane::MAX_CROSSED`], and never more. Who would have to be shown
    /// more begins anew, near its middle.
    pub max_crossed: usize,
    /// Edits after which a snapshot is stored. Default 200,000. Fewer make
    /// the brane open faster and the store busier.
    pub snapshot_every_edits: u64,
    /// Bytes of journal after which a snapshot is stored. Default 64 MiB.
    pub snapshot_every_bytes: u64,
    /// The pause after a snapshot that could not be stored, in milliseconds.
    /// Default 30,000.
    pub snapshot_retry_ms: u32,
    /// When more editors than this wait for a durable watermark and a window
    /// is about to go out anyway, they learn it from that. Default 16. More
    /// make the answer faster and cost a write each.
    pub durable_tells: usize,
    /// The share of the time that goes to finding what sessions see that look
    /// elsewhere, in percent. Default 25. Beyond it they wait.
    pub view_budget_percent: u32,
    /// Viewers of parts that the fan-out hands something to at a time; see
    /// [`crate::FanOutConfig::turn_sessions`].
    pub turn_sessions: usize,
}

impl Default for BraneConfig {
    fn default() -> Self {
        Self {
            flush: FlushWindowConfig::default(),
            limits: WorldLimits::default(),
            max_sessions: 4_096,
            max_journal_bytes: 64 * 1024 * 1024,
            max_unpublished_edits: 65_536,
            replay_max_edits: 100_000,
            part_linger_ms: 60_000,
            max_crossed: avvy_brane::MAX_CROSSED,
            snapshot_every_edits: 200_000,
            snapshot_every_bytes: 64 * 1024 * 1024,
            snapshot_retry_ms: 30_000,
            durable_tells: 16,
            view_budget_percent: 25,
            turn_sessions: crate::FanOutConfig::default().turn_sessions,
        }
    }
}

/// A brane as the store has it, see [`crate::recovery`].
pub struct Recovered {
    /// The world at `head`.
    pub world: World,
    /// The outcomes at `head`.
    pub clients: Clients,
    /// The epochs, with the one that begins now at `head`.
    pub lineage: Lineage,
    /// The last durable edit.
    pub head: Seq,
    /// Where the windows begin that the fan-out was given for replay; `head`
    /// when there are none.
    pub floor: Seq,
    /// The last edit in the newest stored snapshot.
    pub snapshot: Seq,
}
