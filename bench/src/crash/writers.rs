//! Writers: the client that everybody uses, with as many edits in flight as
//! it is told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use avvy_client::machine::MachineOptions;
use avvy_client::net::{Brane, Client, ClientOptions};
use avvy_model::{BraneId, Seq};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};

use super::content::{self, NaiveWorld, Script};
use super::oracle::Oracle;
use crate::draw::Draw;

/// How long a restarted server may take until everybody is back and every
/// edit has its outcome.
const SETTLE: Duration = Duration::from_secs(60);

/// The oracle, shared.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Oracle>>);

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Oracle> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All writers.
pub(super) struct Writers {
    branes: Vec<Brane>,
    working: watch::Sender<bool>,
    oracle: Shared,
    /// Held for the connections; each [`Brane`] holds its own, too.
    _clients: Vec<Client>,
}

impl Writers {
    /// Connects one writer for each token, each with so many edits in flight.
    /// They wait until they are told to work.
    pub(super) async fn start(
        address: &str,
        tokens: &[String],
        brane: BraneId,
        in_flight: usize,
        draw: &mut Draw,
        oracle: &Shared,
    ) -> Result<Self> {
        let (working, _) = watch::channel(false);
        let (mut branes, mut clients) = (Vec::new(), Vec::new());
        for token in tokens {
            let client = Client::connect(address, token, options()).await?;
            let joined = client.join(brane).await?;
            let script = Script::new(Draw::new(draw.number()));
            let is_working = working.subscribe();
            tokio::spawn(write(joined.clone(), script, in_flight, is_working, oracle.clone()));
            branes.push(joined);
            clients.push(client);
        }
        Ok(Self { branes, working, oracle: oracle.clone(), _clients: clients })
    }

    /// Lets them write, or pause.
    pub(super) fn work(&self, work: bool) {
        self.working.send_replace(work);
    }

    /// Waits until every edit has its outcome.
    pub(super) async fn settle(&self) -> Result<()> {
        let started = Instant::now();
        loop {
            self.oracle.lock().check()?;
            let outstanding = self.oracle.lock().outstanding();
            if outstanding == 0 {
                return Ok(());
            }
            ensure!(started.elapsed() < SETTLE, "{outstanding} edits get no outcome");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// With nothing under way: checks that every copy and the server have the
    /// same state hash; gives the head of the log and what a copy shows.
    pub(super) async fn compare(&self) -> Result<(Seq, [u8; 16], NaiveWorld)> {
        let mut found: Option<(Seq, [u8; 16])> = None;
        for (number, brane) in self.branes.iter().enumerate() {
            let (seq, ours) = timeout(SETTLE, hash(brane))
                .await
                .with_context(|| format!("writer {number} gets no state hash"))??;
            let expected = *found.get_or_insert((seq, ours));
            ensure!((seq, ours) == expected, "the copy of writer {number} differs from another");
        }
        let (head, hash) = found.context("there is no writer")?;
        let world = self.branes[0].read(|replica| NaiveWorld::of(replica)).await?;
        Ok((head, hash, world))
    }
}

/// The state hash in which server and copy agree.
async fn hash(brane: &Brane) -> Result<(Seq, [u8; 16])> {
    loop {
        let Ok(check) = brane.check().await else {
            // Cut off meanwhile; it comes back by itself.
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        match check.ours {
            Some(ours) if ours == check.theirs => return Ok((check.at.seq, ours)),
            Some(_) => bail!("a copy differs from the server at {}", check.at),
            None => {}
        }
    }
}

async fn write(
    brane: Brane,
    mut script: Script,
    in_flight: usize,
    mut working: watch::Receiver<bool>,
    oracle: Shared,
) {
    let places = Arc::new(Semaphore::new(in_flight));
    loop {
        // Ends with the one who has the sender.
        if working.wait_for(|working| *working).await.is_err() {
            return;
        }
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        if !*working.borrow() {
            continue;
        }
        let content = script.next();
        let key = oracle.lock().submit(content.clone());
        let submitted = match content::edit(&content) {
            Ok(edit) => brane.submit(edit).await.map_err(anyhow::Error::from),
            Err(error) => Err(error),
        };
        let pending = match submitted {
            Ok(pending) => pending,
            Err(error) => return oracle.lock().failed(key, &format!("{error:#}")),
        };
        let oracle = oracle.clone();
        tokio::spawn(async move {
            let _place = place;
            match pending.durable().await {
                Ok(at) => oracle.lock().durable(key, at),
                Err(error) => oracle.lock().failed(key, &error.to_string()),
            }
        });
    }
}

fn options() -> ClientOptions {
    ClientOptions {
        machine: MachineOptions { join_retry_ms: 20, ..MachineOptions::default() },
        reconnect_first_ms: 20,
        reconnect_max_ms: 200,
        ..ClientOptions::default()
    }
}
