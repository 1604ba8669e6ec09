//! What the load has seen.

use crate::histogram::Histogram;

/// Counts since the last [`Tally::restart`].
#[derive(Clone, Default)]
pub struct Tally {
    /// From sending a move to its arrival at one session, for every delivery
    /// of a move to a session, the sender's own included.
    pub latency: Histogram,
    /// From sending a move to its sender's being told that it is durable.
    pub durable: Histogram,
    /// From when an edit was due to when it was sent: how well the load
    /// itself keeps up.
    pub send_lag: Histogram,
    /// From when a session began to come back to when it was live.
    pub to_live: Histogram,
    /// Joins that were told to come later.
    pub told_later: u64,
    /// Times a session was sent to another node.
    pub moved: u64,
    /// Edits that were due while their sender was on its way there: not sent.
    pub held_back: u64,
    /// Moves delivered to sessions.
    pub deliveries: u64,
    /// Windows delivered to sessions.
    pub windows: u64,
    /// Bytes read from all sockets.
    pub bytes: u64,
    /// Edits sent.
    pub sent: u64,
    /// Edits that got a place in the log.
    pub applied: u64,
    /// Edits whose sender was told that they are durable.
    pub durable_edits: u64,
    /// Edits sent since the crowd is there, the making of objects included.
    pub all_sent: u64,
    /// Those of them whose sender was told that they are durable.
    pub all_durable: u64,
    /// Edits refused.
    pub refused: u64,
    /// Moves of their own that walkers sent since the crowd is there, and
    /// those of them that they saw: what is in the middle of a view is in it.
    pub own_sent: u64,
    /// See there.
    pub own_seen: u64,
    /// Times a walker came to another cell.
    pub crossings: u64,
    /// Parts of steps from one view to another.
    pub steps: u64,
    /// Edits that a session did not get though it was live.
    pub missed: u64,
    /// Times a live session was given a snapshot or rewound.
    pub resyncs: u64,
    /// Windows that a slow session got later, from the ring.
    pub replayed: u64,
    /// Sessions that ended, with the close code (0: cut).
    pub ended: Vec<u16>,
}

impl Tally {
    /// Starts the counts and latencies of a measuring window. What must never
    /// happen at all goes on being counted.
    pub fn restart(&mut self) {
        *self = Self {
            all_sent: self.all_sent,
            all_durable: self.all_durable,
            own_sent: self.own_sent,
            own_seen: self.own_seen,
            missed: self.missed,
            resyncs: self.resyncs,
            refused: self.refused,
            ended: std::mem::take(&mut self.ended),
            ..Self::default()
        };
    }
}
