//! A server whose way to MongoDB is slow, broken or gone for a while.

use std::time::{Duration, Instant};

use avvy_client::machine::MachineOptions;
use avvy_client::net::{Brane, Client, ClientOptions, EditError, Pending, draw_object_id};
use avvy_model::{
    BraneId, Code, Edit, Handle, Kind, Operation, PropKey, Props, Target, Transform, Value,
    ValueLimits,
};
use avvy_persistence::testing::mongod::{MongoSet, fresh_database};
use avvy_persistence::testing::proxy::Way;
use tempfile::TempDir;

use crate::common::Server;
use crate::{BINARY, play};

const PATIENCE: Duration = Duration::from_secs(60);

/// A server, and its database behind a proxy.
struct Site {
    server: Server,
    set: MongoSet,
    directory: TempDir,
}

impl Site {
    fn start(more: &[(&str, &str)]) -> Self {
        let set = MongoSet::start_behind_proxies(1);
        let (uri, database) = (set.uri(), fresh_database());
        let directory = tempfile::tempdir().unwrap();
        let own = [
            ("AVVY_STORE_KIND", "mongodb"),
            ("AVVY_STORE_URI", &uri),
            ("AVVY_STORE_DATABASE", &database),
            ("AVVY_STORE_OPERATION_TIMEOUT_MS", "2000"),
            ("AVVY_STORE_RETRY_MAX_MS", "500"),
        ];
        let settings = [&own[..], more].concat();
        let data = directory.path().join("data");
        let server = Server::start_program(BINARY.as_ref(), &data, &settings);
        Self { server, set, directory }
    }

    fn set(&self, way: Way) {
        self.set.proxy(0).set(way);
    }

    fn play(&self, users: u32, seconds: u32) -> serde_json::Value {
        play(users, seconds, &self.directory.path().join("data"))
    }

    /// A number of `/metrics`.
    fn metric(&self, name: &str) -> u64 {
        let text = self.server.text("/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    /// Waits until a number of `/metrics` is as it should be.
    fn until(&self, name: &str, wanted: impl Fn(u64) -> bool) {
        let began = Instant::now();
        while !wanted(self.metric(name)) {
            assert!(began.elapsed() < PATIENCE, "{name} is {}", self.metric(name));
            // Who asks all the time is sent away.
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    fn drains(self) {
        assert_eq!(self.server.drain().code(), Some(0));
    }
}

#[test]
fn a_slow_database_gets_larger_groups() {
    let site = Site::start(&[("AVVY_STORE_OPERATION_TIMEOUT_MS", "60000")]);
    site.set(Way::delayed(Duration::from_millis(100)));
    let (chunks, commits) = ("avvy_journal_chunks_total", "avvy_commits_total");
    let before = [chunks, commits].map(|name| site.metric(name));
    // Nothing is refused or lost: the load is taken, 5 edits/s of each.
    let summary = site.play(20, 4);
    let edits = summary["edits"].as_u64().unwrap();
    assert!(edits >= 20 * 5 * 4 / 2, "{summary}");
    let [chunks, commits] = [site.metric(chunks) - before[0], site.metric(commits) - before[1]];
    // Each takes several round trips. What is accepted meanwhile is one more.
    assert!(chunks >= 4 * commits, "{chunks} chunks in {commits} commits");
    site.drains();
}

/// Builders edit, and for so long nothing reaches the database.
fn is_away(way: Way, away: Duration) {
    let site = Site::start(&[]);
    let lag = "avvy_durable_lag_edits";
    let seconds = u32::try_from(away.as_secs()).unwrap() + 4;
    let summary = std::thread::scope(|scope| {
        let playing = scope.spawn(|| site.play(10, seconds));
        site.until("avvy_journal_chunks_total", |chunks| chunks >= 20);
        site.set(way);
        let began = Instant::now();
        site.until(lag, |edits| edits >= 100);
        // Edits keep being taken all the time, and none becomes durable.
        let durable = site.metric("avvy_journal_chunks_total");
        std::thread::park_timeout(away.saturating_sub(began.elapsed()));
        assert_eq!(site.metric("avvy_journal_chunks_total"), durable);
        site.set(Way::CLEAR);
        playing.join().unwrap()
    });
    assert_eq!((&summary["reconnects"], &summary["resyncs"]), (&0.into(), &0.into()), "{summary}");
    site.until(lag, |edits| edits == 0);
    // Another copy sees the same line: what was drained is in order.
    site.play(4, 1);
    site.drains();
}

#[test]
fn a_database_that_is_gone_for_20_s_is_caught_up_with() {
    is_away(Way::Cut, Duration::from_secs(20));
}

#[test]
fn a_database_that_is_silent_for_8_s_is_caught_up_with() {
    is_away(Way::Swallowing, Duration::from_secs(8));
}

/// An object that takes much room in the journal.
fn creation() -> Edit {
    let limits = ValueLimits::default();
    let entry = (PropKey::new("text", &limits).unwrap(), Value::text(&"x".repeat(8_000)));
    Edit::One(Operation::Create {
        id: draw_object_id(),
        parent: Target::Handle(Handle::ROOT),
        kind: Kind::Block,
        transform: Transform::IDENTITY,
        props: Props::from_entries(vec![entry], &limits).unwrap(),
    })
}

async fn taken(brane: &Brane) -> Result<Pending, EditError> {
    let mut pending = brane.submit(creation()).await.unwrap();
    pending.applied().await.map(|_| pending)
}

#[test]
fn beyond_the_bound_edits_are_refused_and_taken_again_afterwards() {
    let bound = "1048576";
    let site = Site::start(&[
        ("AVVY_STORE_QUEUE_BYTES", bound),
        ("AVVY_STORE_MAX_COMMIT_BYTES", bound),
        ("AVVY_BRANE_JOURNAL_PENDING_BYTES", bound),
    ]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let url = format!("ws://{}/ws", site.server.address());
        let machine = MachineOptions::default();
        let options = ClientOptions { machine, ..ClientOptions::default() };
        let client = Client::connect(&url, &site.server.token, options).await.unwrap();
        let brane = BraneId::new(site.server.demo_brane.parse().unwrap());
        let brane = client.join(brane).await.unwrap();
        let before = taken(&brane).await.unwrap();
        before.durable().await.unwrap();
        site.set(Way::Cut);
        let mut waiting = Vec::new();
        let refused = loop {
            match taken(&brane).await {
                Ok(pending) => waiting.push(pending),
                Err(error) => break error,
            }
        };
        assert!(
            matches!(refused, EditError::Refused(refusal) if refusal.code == Code::Unavailable),
            "{refused}"
        );
        assert!(waiting.len() > 50, "{} were taken", waiting.len());
        site.set(Way::CLEAR);
        let mut last = None;
        for pending in waiting {
            let at = pending.durable().await.unwrap();
            assert!(last < Some(at), "{at} comes after {last:?}");
            last = Some(at);
        }
        let after = taken(&brane).await.unwrap().durable().await.unwrap();
        // What was refused has no place in the log.
        assert_eq!((after.epoch, after.seq.0), (last.unwrap().epoch, last.unwrap().seq.0 + 1));
        client.close().await;
    });
    site.drains();
}
