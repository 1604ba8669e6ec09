//! `moves`: a brane of 100,000 objects goes from one node of a fleet to the
//! other while it is edited, because the node ends and because it is killed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use avvy_client::machine::MachineOptions;
use avvy_client::net::{Brane, Client, ClientOptions};
use avvy_model::{BraneId, Edit, Handle, Kind, ObjectId, Operation, Props, Target, Transform};
use avvy_persistence::testing::mongod::{MongoSet, fresh_database};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::timeout;

use super::report::round;
use super::room::{median, options};
use super::{Figure, Report, Setup};
use crate::draw::Draw;
use crate::process::{Server, free_port};

const OBJECTS: usize = 100_000;
const EDITORS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(60);
/// How long editors are at work before something happens, and after it.
const WORK: Duration = Duration::from_secs(2);

/// Takes the figures.
pub(super) fn run(setup: &Setup) -> Result<Report> {
    let mut report = Report::new("moves", setup);
    let set = MongoSet::start(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut away = [Vec::new(), Vec::new()];
    for nth in 0..setup.rounds {
        for (is_killed, away) in [false, true].into_iter().zip(&mut away) {
            let name = format!("moves-{nth}-{is_killed}");
            let pair = Pair::start(setup, &set, &name)?;
            away.push(runtime.block_on(pair.lose_one(setup, is_killed))?.as_secs_f64() * 1e3);
        }
    }
    let [ended, killed] = away;
    report.show(Figure::new("away when a node ends, ms", median(ended.clone())).at_most(500.0));
    let lease_ms = 5_000.0;
    let figure = Figure::new("away when a node is killed, ms", median(killed.clone()));
    // The lease, and then the opening.
    report.show(figure.at_most(lease_ms + 500.0));
    report.raw("objects", setup.size(OBJECTS, 1_000));
    report.raw("lease_ms", lease_ms);
    report.raw("hand_over_away_ms", round(median(ended.clone())));
    report.raw("fail_over_away_ms", round(median(killed.clone())));
    report.raw("hand_over_rounds_ms", rounds(&ended));
    report.raw("fail_over_rounds_ms", rounds(&killed));
    Ok(report)
}

fn rounds(values: &[f64]) -> Value {
    values.iter().map(|value| round(*value)).collect()
}

/// Two nodes, of which the first has the brane.
struct Pair {
    one: Server,
    two: Server,
    brane: BraneId,
    token: String,
}

impl Pair {
    fn start(setup: &Setup, set: &MongoSet, name: &str) -> Result<Self> {
        let database = fresh_database();
        let key = setup.scratch.join(format!("{name}.pem"));
        let objects = setup.size(OBJECTS, 1_000).to_string();
        let start = |name: String| -> Result<Server> {
            let address = free_port()?;
            let (uri, at) = (set.uri(), format!("http://{address}"));
            let settings = [
                ("AVVY_STORE_KIND", "mongodb"),
                ("AVVY_STORE_URI", uri.as_str()),
                ("AVVY_STORE_DATABASE", database.as_str()),
                ("AVVY_FLEET_ADDRESS", at.as_str()),
                // Tokens of one are good at the other.
                ("AVVY_AUTH_KEY_FILE", key.to_str().context("a path that is text")?),
                ("AVVY_SERVER_DEMO_OBJECTS", objects.as_str()),
            ];
            let options = options(setup, &name, &settings);
            Server::start_at(&options, address)
        };
        let (one, two) = (start(format!("{name}-one"))?, start(format!("{name}-two"))?);
        let (brane, token) = running(&one)?;
        Ok(Self { one, two, brane, token })
    }

    /// Ends the first node while the brane is edited. Gives the longest that
    /// an edit waited for being applied.
    async fn lose_one(self, setup: &Setup, is_killed: bool) -> Result<Duration> {
        let Self { one, two, brane, token } = self;
        let (stop, stopping) = watch::channel(false);
        let mut editors = tokio::task::JoinSet::new();
        for _ in 0..EDITORS {
            let brane = join([&one, &two], &token, brane).await?;
            editors.spawn(edit(brane, setup.draw(), stopping.clone()));
        }
        tokio::time::sleep(WORK).await;
        tokio::task::spawn_blocking(move || match is_killed {
            true => one.kill().map_err(anyhow::Error::from),
            false => one.stop(),
        })
        .await??;
        tokio::time::sleep(WORK).await;
        let _ = stop.send(true);
        let mut longest = Duration::ZERO;
        while let Some(waited) = editors.join_next().await {
            longest = longest.max(waited??);
        }
        two.stop()?;
        Ok(longest)
    }
}

/// The brane that a server makes at its first start, and the token that it
/// leaves for developers.
fn running(server: &Server) -> Result<(BraneId, String)> {
    let running: Value =
        serde_json::from_slice(&std::fs::read(server.data().join("running.json"))?)?;
    let text = |name: &str| running[name].as_str().with_context(|| format!("there is no {name}"));
    let brane = text("demo_brane")?.parse().ok().context("the brane has no id")?;
    Ok((brane, text("token")?.to_owned()))
}

async fn join(nodes: [&Server; 2], token: &str, brane: BraneId) -> Result<Brane> {
    let [first, other] = nodes.map(|node| format!("http://{}", node.address()));
    let options = ClientOptions {
        reconnect_first_ms: 20,
        reconnect_max_ms: 200,
        other_addresses: vec![other],
        machine: MachineOptions { answer_timeout_ms: 120_000, ..MachineOptions::default() },
        ..ClientOptions::default()
    };
    let client = timeout(PATIENCE, Client::connect(&first, token, options)).await??;
    Ok(timeout(PATIENCE, client.join(brane)).await??)
}

/// Edits, one after the other is applied. In the end all have to be durable.
async fn edit(brane: Brane, mut draw: Draw, mut stop: watch::Receiver<bool>) -> Result<Duration> {
    let (mut edits, mut longest) = (Vec::new(), Duration::ZERO);
    while !*stop.borrow_and_update() {
        let began = Instant::now();
        let create = Operation::Create {
            id: ObjectId::new(draw.uuid()),
            parent: Target::Handle(Handle::ROOT),
            kind: Kind::Block,
            transform: Transform::IDENTITY,
            props: Props::default(),
        };
        let mut edit = brane.submit(Edit::One(create)).await?;
        timeout(PATIENCE, edit.applied()).await??;
        longest = longest.max(began.elapsed());
        edits.push(edit);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for edit in edits {
        timeout(PATIENCE, edit.durable()).await??;
    }
    Ok(longest)
}
