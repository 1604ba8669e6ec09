//! Which brane of which server a command means, and with what token.

use anyhow::{Context, Result, bail, ensure};
use avvy_client::net::ClientOptions;
use avvy_model::BraneId;

use crate::cli::Whereabouts;
use crate::data_dir::Running;
use crate::find_brane;

/// Where a token may be given.
const TOKEN_VARIABLE: &str = "AVVYLAND_TOKEN";

/// The brane that is meant, and how to come in.
pub(crate) struct Target {
    /// Of the server, as `ws://host`.
    url: String,
    /// Of other nodes of its fleet, in the same form.
    others: Vec<String>,
    pub(crate) token: String,
    pub(crate) brane: BraneId,
}

impl Target {
    /// What the arguments say; for the rest what the server on `--data` has left
    /// there, but only for that server: a token of it is nobody else's business.
    ///
    /// # Errors
    /// When something is missing, or the server does not name a brane.
    pub(crate) fn find(arguments: &Whereabouts) -> Result<Self> {
        let running = Running::read(&arguments.data);
        let url = match (&arguments.url, &running) {
            (Some(url), _) => url.clone(),
            (None, Ok(running)) => running.url.clone(),
            (None, Err(error)) => bail!("{error:#}"),
        };
        let url = websocket_url(&url)?;
        let others =
            arguments.also.iter().map(|url| websocket_url(url)).collect::<Result<Vec<_>>>()?;
        let running = running
            .ok()
            .filter(|running| websocket_url(&running.url).is_ok_and(|running| running == url));
        let running = running.as_ref();
        let token = given(arguments).or_else(|| running.and_then(|r| r.token.clone()));
        let token = token.context(
            "no token: give one with --token or AVVYLAND_TOKEN, or run the server with auth.development_tokens",
        )?;
        let brane =
            arguments.brane.or_else(|| running.and_then(|r| r.demo_brane).map(BraneId::new));
        let brane = match brane {
            Some(brane) => brane,
            None => first_public(&url, &others, &token)?,
        };
        Ok(Self { url, others, token, brane })
    }

    /// The WebSocket of the server.
    pub(crate) fn address(&self) -> String {
        format!("{}/ws", self.url)
    }

    /// How to connect: to the others, too.
    pub(crate) fn client(&self) -> ClientOptions {
        let other_addresses = self.others.iter().map(|url| format!("{url}/ws")).collect();
        ClientOptions { other_addresses, ..ClientOptions::default() }
    }
}

/// The token that was given for this server, whichever it is. In the
/// environment it is in no list of processes.
fn given(arguments: &Whereabouts) -> Option<String> {
    let set = || std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty());
    arguments.token.clone().or_else(set)
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
        "{url}: there is no TLS here; use a plain port (http:// or ws://) of the server"
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
            Target::find(&Whereabouts {
                url: url.map(str::to_owned),
                also: vec!["http://192.0.2.8:7878".to_owned()],
                token: None,
                brane: None,
                data: data.path().to_owned(),
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
