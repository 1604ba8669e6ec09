//! `avvyland demo`: simulated builders against a running server.

use std::process::ExitCode;

use anyhow::{Context, Result};
use avvy_client::demo::{DemoOptions, Live, run as build};
use avvy_model::BraneId;

use crate::cli;
use crate::data_dir::Running;

/// Runs the builders and prints what came of it. Fails the process when
/// something was lost or copies differ.
///
/// # Errors
/// When there is no server, or the builders cannot join.
pub fn run(arguments: &cli::Demo) -> Result<ExitCode> {
    let running = Running::read(&arguments.data);
    let url = match (&arguments.url, &running) {
        (Some(url), _) => url.clone(),
        (None, Ok(running)) => running.url.clone(),
        (None, Err(_)) => running.as_ref().map_err(|e| anyhow::anyhow!("{e:#}"))?.url.clone(),
    };
    let token = match &arguments.token {
        Some(token) => token.clone(),
        None => running.as_ref().ok().and_then(|running| running.token.clone()).context(
            "no token: give one with --token, or run the server with auth.development_tokens",
        )?,
    };
    let brane = match arguments.brane {
        Some(brane) => brane,
        None => running
            .as_ref()
            .ok()
            .and_then(|running| running.demo_brane)
            .map(BraneId::new)
            .context("no brane: give one with --brane; the server has made no demo brane")?,
    };
    let options = DemoOptions {
        users: arguments.users,
        edits_per_second: arguments.edits_per_second,
        seconds: arguments.seconds as f64,
        live: if arguments.json { Live::Off } else { Live::default() },
        ..DemoOptions::new(websocket_url(&url), token, brane)
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let summary = runtime.block_on(build(options))?;
    if arguments.json {
        println!("{}", summary.to_json());
    } else {
        println!("{summary}");
    }
    Ok(if summary.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `http://host` and `ws://host` alike, with the path of the WebSocket.
fn websocket_url(url: &str) -> String {
    let url = match url.split_once("://") {
        Some(("http", rest)) => format!("ws://{rest}"),
        Some(("https", rest)) => format!("wss://{rest}"),
        _ => url.to_owned(),
    };
    let url = url.trim_end_matches('/');
    if url.ends_with("/ws") { url.to_owned() } else { format!("{url}/ws") }
}
