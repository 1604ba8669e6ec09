//! `avvyland demo`: simulated builders against a running server.

use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use avvy_client::demo::{DemoOptions, Live, run as build};
use avvy_client::net::ClientOptions;
use avvy_model::BraneId;

use crate::data_dir::Running;
use crate::find_brane;
use crate::{cli, output};

/// Runs the builders and prints what came of it. Fails the process when
/// something was lost or copies differ.
///
/// # Errors
/// When there is no server, or the builders cannot join.
pub fn run(arguments: &cli::Demo) -> Result<ExitCode> {
    let target = find(arguments)?;
    let other_addresses = target.others.iter().map(|url| format!("{url}/ws")).collect();
    let options = DemoOptions {
        users: arguments.users,
        edits_per_second: arguments.edits_per_second,
        seconds: arguments.seconds as f64,
        walkers: arguments.walkers,
        client: ClientOptions { other_addresses, ..ClientOptions::default() },
        live: if arguments.json { Live::Off } else { Live::default() },
        ..DemoOptions::new(format!("{}/ws", target.url), target.token, target.brane)
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let summary = runtime.block_on(build(options))?;
    if arguments.json {
        output::say(summary.to_json())?;
    } else {
        output::say(&summary)?;
    }
    Ok(if summary.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where to build.
struct Target {
    /// Of the server, as `ws://host`.
    url: String,
    /// Of other nodes of its fleet, in the same form.
    others: Vec<String>,
    token: String,
    brane: BraneId,
}

/// What the arguments say; for the rest what the server on `--data` has left
/// there, but only for that server: a token of it is nobody else's business.
fn find(arguments: &cli::Demo) -> Result<Target> {
    let running = Running::read(&arguments.data);
    let url = match (&arguments.url, &running) {
        (Some(url), _) => url.clone(),
        (None, Ok(running)) => running.url.clone(),
        (None, Err(error)) => bail!("{error:#}"),
    };
    let url = websocket_url(&url)?;
    let others = arguments.also.iter().map(|url| websocket_url(url)).collect::<Result<Vec<_>>>()?;
    let running = running
        .ok()
        .filter(|running| websocket_url(&running.url).is_ok_and(|running| running == url));
    let running = running.as_ref();
    let token = arguments.token.clone().or_else(|| running.and_then(|r| r.token.clone()));
    let token = token.context(
        "no token: give one with --token, or run the server with auth.development_tokens",
    )?;
    let brane = arguments.brane.or_else(|| running.and_then(|r| r.demo_brane).map(BraneId::new));
    let brane = match brane {
        Some(brane) => brane,
        None => first_public(&url, &others, &token)?,
    };
    Ok(Target { url, others, token, brane })
}

/// The first public brane, as the first node says that can be asked.
fn first_public(url: &str, others: &[String], token: &str) -> Result<BraneId> {
    let ask = |url: &str| find_brane::first_public(&url.replacen("ws", "http", 1), token);
    let mut found = ask(url);
    for url in others {
        found = found.or_else(|_| ask(url));
    }
    found
}

/// `http://host`, `ws://host` and `ws://host/ws` alike, as `ws://host`.
fn websocket_url(url: &str) -> Result<String> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    ensure!(
        matches!(scheme, "http" | "ws"),
        "{url}: the builders speak no TLS; use a plain port (http:// or ws://) of the server"
    );
    let rest = rest.trim_end_matches('/');
    Ok(format!("ws://{}", rest.strip_suffix("/ws").unwrap_or(rest)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_of_every_form_are_one() {
        for url in ["http://h:7", "http://h:7/", "ws://h:7", "ws://h:7/ws", "ws://h:7/ws/", "h:7"] {
            assert_eq!(websocket_url(url).unwrap(), "ws://h:7", "{url}");
        }
        for url in ["https://h:7", "wss://h:7/ws", "ftp://h"] {
            assert!(websocket_url(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_token_is_not_sent_to_another_server() {
        let data = tempfile::tempdir().unwrap();
        let running = Running {
            url: "http://127.0.0.1:7878".to_owned(),
            token: Some("secret".to_owned()),
            demo_brane: Some(uuid::Uuid::from_u128(7)),
            pid: 1,
        };
        running.write(data.path()).unwrap();
        let at = |url: Option<&str>| {
            find(&cli::Demo {
                users: 1,
                edits_per_second: 1.0,
                seconds: 1,
                walkers: 0,
                url: url.map(str::to_owned),
                also: vec!["http://192.0.2.8:7878".to_owned()],
                token: None,
                brane: None,
                data: data.path().to_owned(),
                json: true,
            })
        };
        for own in [None, Some("ws://127.0.0.1:7878/ws")] {
            let target = at(own).unwrap();
            assert_eq!((target.token.as_str(), target.brane.uuid().as_u128()), ("secret", 7));
            assert_eq!(target.others, ["ws://192.0.2.8:7878"]);
        }
        let other = at(Some("ws://192.0.2.7:7878")).err().unwrap();
        assert!(other.to_string().starts_with("no token"), "{other}");
    }
}
