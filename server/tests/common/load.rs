//! People who build, and what became of each of their edits.

#![allow(clippy::unwrap_used, missing_docs, dead_code)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use avvy_client::net::{Brane, Pending, WorldChange, draw_object_id};
use avvy_model::{
    BraneId, Edit, Epoch, Handle, Kind, Operation, Position, Props, Target, Transform,
};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::common::Server;

/// Longer than the store is ever away.
const PATIENCE: Duration = Duration::from_secs(120);
/// Edits of a builder that are not durable; then it waits, as its client does.
const IN_FLIGHT: usize = 256;
/// From one edit of a builder to the next.
const PACE: Duration = Duration::from_millis(40);

/// An edit that makes an object.
pub fn block() -> Edit {
    Edit::One(Operation::Create {
        id: draw_object_id(),
        parent: Target::Handle(Handle::ROOT),
        kind: Kind::Block,
        transform: Transform::IDENTITY,
        props: Props::default(),
    })
}

/// How many objects a node says that a brane has, or where the brane is.
pub fn count(node: &Server, brane: BraneId) -> Result<usize, (u16, String)> {
    let (mut count, mut after) = (0, String::new());
    loop {
        let path = format!("/api/v1/brane/{brane}/objects?limit=1000{after}");
        let (status, page) = node.get(&path);
        if status != 200 {
            return Err((status, page["address"].as_str().unwrap_or_default().to_owned()));
        }
        count += page["objects"].as_array().unwrap().len();
        match page["next"].as_u64() {
            Some(next) => after = format!("&after={next}"),
            None => return Ok(count),
        }
    }
}

/// Builders at work.
pub struct Load {
    builders: Vec<JoinHandle<Built>>,
    stop: watch::Sender<bool>,
    applied: watch::Sender<usize>,
}

/// What a builder has built.
pub struct Built {
    /// Where its edits are, in the order in which it made them; all durable.
    pub places: Vec<Position>,
    /// The longest time until one was applied, and durable.
    pub longest: [Duration; 2],
    /// How often it was told that something is lost.
    pub rewinds: usize,
    /// How often its copy was replaced or mended.
    pub resyncs: usize,
}

impl Load {
    /// Sets these to work.
    pub fn start(branes: Vec<Brane>) -> Self {
        Self::start_at(PACE, branes)
    }

    /// The same with so long from one edit of a builder to the next.
    pub fn start_at(pace: Duration, branes: Vec<Brane>) -> Self {
        let (stop, stopping) = watch::channel(false);
        let (applied, _) = watch::channel(0);
        let build = |brane| tokio::spawn(build(brane, pace, stopping.clone(), applied.clone()));
        Self { builders: branes.into_iter().map(build).collect(), stop, applied }
    }

    /// Waits until so many more edits were applied.
    pub async fn apply(&self, more: usize) {
        let mut applied = self.applied.subscribe();
        let wanted = *applied.borrow() + more;
        timeout(PATIENCE, applied.wait_for(|count| *count >= wanted)).await.unwrap().unwrap();
    }

    /// Has them stop, and waits until all that they built is durable.
    pub async fn stop(self) -> Vec<Built> {
        self.stop.send(true).unwrap();
        let mut all = Vec::new();
        for builder in self.builders {
            all.push(timeout(2 * PATIENCE, builder).await.unwrap().unwrap());
        }
        all
    }
}

async fn build(
    brane: Brane,
    pace: Duration,
    mut stopping: watch::Receiver<bool>,
    applied: watch::Sender<usize>,
) -> Built {
    let news = brane.subscribe().await.unwrap();
    let (submitted, waiting) = mpsc::channel(IN_FLIGHT);
    let settled = tokio::spawn(settle(waiting));
    let watched = tokio::spawn(note(news));
    let mut pace = interval(pace);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut longest = Duration::ZERO;
    while !*stopping.borrow_and_update() {
        pace.tick().await;
        let began = Instant::now();
        let mut edit = brane.submit(block()).await.unwrap();
        timeout(PATIENCE, edit.applied()).await.unwrap().unwrap();
        longest = longest.max(began.elapsed());
        applied.send_modify(|count| *count += 1);
        submitted.send((began, edit)).await.unwrap();
    }
    drop(submitted);
    let (places, until_durable) = settled.await.unwrap();
    // The news end with it.
    drop(brane);
    let (rewinds, resyncs) = watched.await.unwrap();
    Built { places, longest: [longest, until_durable], rewinds, resyncs }
}

async fn settle(mut waiting: mpsc::Receiver<(Instant, Pending)>) -> (Vec<Position>, Duration) {
    let (mut places, mut longest) = (Vec::new(), Duration::ZERO);
    while let Some((began, edit)) = waiting.recv().await {
        places.push(timeout(PATIENCE, edit.durable()).await.unwrap().unwrap());
        longest = longest.max(began.elapsed());
    }
    (places, longest)
}

async fn note(mut news: mpsc::Receiver<WorldChange>) -> (usize, usize) {
    let (mut rewinds, mut resyncs) = (0, 0);
    while let Some(change) = news.recv().await {
        match change {
            WorldChange::Rewound { .. } => rewinds += 1,
            WorldChange::Live { resynced: true, .. } => resyncs += 1,
            _ => {}
        }
    }
    (rewinds, resyncs)
}

/// What holds of all that was built, whatever happened: each builder's edits
/// are in the order in which it made them, no two in one place, and nobody
/// else's between them. Gives how many there are, and the epochs under which.
pub fn judge(all: &[Built]) -> (usize, BTreeSet<Epoch>) {
    let mut seqs = BTreeSet::new();
    for built in all {
        assert!(!built.places.is_empty(), "a builder has built nothing");
        assert!(built.places.is_sorted_by_key(|at| at.seq), "{:?}", built.places);
        for at in &built.places {
            assert!(seqs.insert(at.seq), "two edits at {at}");
        }
    }
    let (first, last) = (seqs.first().unwrap().0, seqs.last().unwrap().0);
    assert_eq!(last - first + 1, seqs.len() as u64, "edits from {first} to {last}");
    let places = all.iter().flat_map(|built| &built.places);
    (seqs.len(), places.map(|at| at.epoch).collect())
}
