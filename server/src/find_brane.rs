//! Finds a brane to build in, at a server of which only the address is known.

use anyhow::{Context, Result, bail, ensure};
use avvy_model::{BraneId, Visibility};
use avvy_protocol::rest::BranePage;

use crate::http;

/// Pages that are read, at most: a million branes.
const MAX_PAGES: usize = 1_000;

/// The oldest public brane of the server whose REST API is below this address,
/// such as `http://127.0.0.1:7878`.
///
/// # Errors
/// When the server does not answer, refuses the token, or has no public brane.
pub fn first_public(server: &str, token: &str) -> Result<BraneId> {
    let mut after = String::new();
    for _ in 0..MAX_PAGES {
        let path = format!("/api/v1/brane?limit=1000{after}");
        let page: Result<BranePage> = http::ask(server, &path, token, None);
        let page = page.context("no brane was found: give one with --brane")?;
        let found = page.branes.iter().find(|brane| brane.visibility == Visibility::Public);
        if let Some(brane) = found {
            return Ok(brane.id);
        }
        let Some(next) = page.next else { break };
        // It becomes part of a request.
        ensure!(next.bytes().all(|byte| byte.is_ascii_graphic()), "the server's pages have no end");
        after = format!("&after={next}");
    }
    bail!("the server has no public brane: give one with --brane")
}
