//! `avvyland revoke`: has a running server end tokens before their time.

use anyhow::{Context, Result, anyhow, ensure};
use avvy_auth::{Claims, Issuer};
use avvy_model::{Role, UserId};
use avvy_protocol::rest::{self, Format, RevokeTokens, RevokedBody};
use uuid::Uuid;

use crate::config::Sources;
use crate::data_dir::Running;
use crate::{cli, clock, http, output, token};

/// How long the token counts that the server is asked with, in seconds.
const LIFETIME_S: u64 = 60;

/// Asks the server, and says until when it remembers.
///
/// # Errors
/// When there is no key or no server, or the server refuses.
pub fn run(arguments: &cli::Revoke) -> Result<()> {
    let config = Sources::gather(arguments.config.as_deref(), arguments.arguments())
        .and_then(|sources| sources.load())
        .map_err(|problems| anyhow!("{problems}"))?;
    let issuer = token::issuer(&config)?;
    let now_s = clock::unix_s();
    let (user, asked) = meant(arguments, &issuer, now_s)?;
    let server = match &arguments.url {
        Some(url) => url.clone(),
        None => Running::read(&config.server.data_dir)?.url,
    };
    // A token of the user's own, as everybody revokes their own.
    let token = issuer.issue(&Claims {
        user,
        role: Role::Visitor,
        name: None,
        branes: Vec::new(),
        session: None,
        token: Uuid::new_v4(),
        issued_s: now_s,
        expires_s: now_s + LIFETIME_S,
    });
    let body = rest::encode(&asked, Format::Cbor);
    let answer: RevokedBody =
        http::ask(server.trim_end_matches('/'), "/api/v1/token/revoke", &token, Some(&body))?;
    output::say(format_args!("Revoked, and remembered until {} (Unix time).", answer.until))
}

/// Whose tokens, and which of them.
fn meant(arguments: &cli::Revoke, issuer: &Issuer, now_s: u64) -> Result<(UserId, RevokeTokens)> {
    let nothing = RevokeTokens::default();
    let of_whom = || arguments.user.context("whose? give --user");
    match (&arguments.token, arguments.before) {
        (None, before) => {
            let before = Some(before.unwrap_or(now_s + 1));
            Ok((of_whom()?, RevokeTokens { before, ..nothing }))
        }
        (Some(token), _) if token.contains('.') => {
            let claims = issuer.verifier().verify(token, now_s);
            let claims = claims.context("the token does not count anyway")?;
            let is_theirs = arguments.user.is_none_or(|user| user == claims.user);
            ensure!(is_theirs, "the token is of another user: {}", claims.user);
            Ok((claims.user, RevokeTokens { token: Some(token.clone()), ..nothing }))
        }
        (Some(id), _) => Ok((of_whom()?, RevokeTokens { id: Some(id.clone()), ..nothing })),
    }
}
