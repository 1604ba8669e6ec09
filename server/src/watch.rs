//! `avvyland watch`: what happens in a brane, one line of JSON each.

mod lines;

use std::future::pending;
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, bail};
use avvy_client::net::{Client, ClientError, ClientOptions, ConnectError, Ended, WorldChange};
use avvy_protocol::close::CloseCode;
use tokio::sync::mpsc;

use crate::whereabouts::Target;
use crate::{cli, output};
use lines::Lines;

/// Changes that may wait to be printed. Beyond, the command fails.
const BACKLOG: usize = 16_384;

const NO_SIGNALS: &str = "signals cannot be caught";

/// Prints what happens until it is to end.
///
/// # Errors
/// When there is no server, or it does not let the watcher in, or no longer.
pub fn run(arguments: &cli::Watch) -> Result<()> {
    let target = Target::find(&arguments.place)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let watched = runtime.block_on(watch(target, arguments));
    // What waits for a reader that does not read is not waited for.
    runtime.shutdown_background();
    watched.or_else(|error| if nobody_reads(&error) { Ok(()) } else { Err(error) })
}

async fn watch(target: Target, arguments: &cli::Watch) -> Result<()> {
    let mut over = pin!(async {
        match arguments.seconds {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => pending().await,
        }
    });
    let mut interrupted = pin!(tokio::signal::ctrl_c());
    let client = tokio::select! {
        client = connect(&target) => client?,
        () = &mut over => bail!("no connection by the end of --seconds"),
        interrupted = &mut interrupted => return interrupted.context(NO_SIGNALS),
    };
    let news = client.subscribe(target.brane).await?;
    let showing = tokio::spawn(show(news, arguments.events));
    let joining = async {
        client.join(target.brane).await?.follow().await?;
        pending::<Result<(), ClientError>>().await
    };
    let ended = tokio::select! {
        shown = showing => shown?,
        joined = joining => joined.map_err(Error::from),
        () = over => Ok(()),
        interrupted = interrupted => interrupted.context(NO_SIGNALS),
    };
    client.close().await;
    ended
}

async fn connect(target: &Target) -> Result<Client> {
    let options = ClientOptions { subscriber_backlog: BACKLOG, ..target.client() };
    let client = Client::connect(&target.address(), &target.token, options).await;
    client.map_err(|error| match error {
        ConnectError::Closed(ended) => anyhow!(meaning(&ended)),
        error => error.into(),
    })
}

/// Prints the news, so many lines of it at most.
async fn show(mut news: mpsc::Receiver<WorldChange>, most: Option<u64>) -> Result<()> {
    let mut lines = Lines::default();
    let mut printed = 0;
    let mut down = None;
    while let Some(change) = news.recv().await {
        for line in lines.of(&change) {
            output::say(line)?;
            printed += 1;
            if most == Some(printed) {
                return Ok(());
            }
        }
        if let WorldChange::Closed { code: Some(code) } = change {
            bail!("the brane is left: {code}");
        }
        down = if let WorldChange::Down(ended) = change { Some(ended) } else { None };
    }
    match down {
        Some(ended) => bail!(meaning(&ended)),
        None => bail!("more happens than can be printed"),
    }
}

/// How a connection ended, for people.
fn meaning(ended: &Ended) -> String {
    match ended.code.and_then(CloseCode::from_number) {
        Some(code) => format!("closed by the server: {ended}: {}", code.meaning()),
        None => format!("no connection: {}", ended.reason),
    }
}

fn nobody_reads(error: &Error) -> bool {
    let cause = error.root_cause().downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == ErrorKind::BrokenPipe)
}
