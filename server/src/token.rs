//! `avvyland token`: makes a token with the key of the data directory.

use anyhow::{Result, anyhow, ensure};
use avvy_auth::{Claims, Issuer};
use avvy_model::UserId;
use uuid::Uuid;

use crate::config::{Config, Sources};
use crate::key_file::KeyFile;
use crate::{cli, clock, output};

/// Prints a token.
///
/// # Errors
/// When there is no key, or the settings are wrong.
pub fn run(arguments: &cli::Token) -> Result<()> {
    let config = Sources::gather(arguments.config.as_deref(), arguments.arguments())
        .and_then(|sources| sources.load())
        .map_err(|problems| anyhow!("{problems}"))?;
    let issuer = issuer(&config)?;
    let now_s = clock::unix_s();
    let lifetime_s = arguments.hours.map_or(config.auth.token_lifetime_s, |hours| hours * 3_600);
    output::say(issuer.issue(&Claims {
        user: arguments.user.unwrap_or_else(|| UserId::new(Uuid::new_v4())),
        role: arguments.role,
        name: arguments.name.clone(),
        branes: Vec::new(),
        session: None,
        token: Uuid::new_v4(),
        issued_s: now_s,
        expires_s: now_s + lifetime_s,
    }))
}

/// Makes tokens with the key of the data directory.
///
/// # Errors
/// When there is none.
pub(crate) fn issuer(config: &Config) -> Result<Issuer> {
    let key_file = config.auth_key_file();
    ensure!(
        key_file.exists(),
        "there is no key at {}; `avvyland serve` makes one at its first start",
        key_file.display()
    );
    Ok(Issuer::new(KeyFile::read(&key_file)?.ring().clone(), config.token_policy()))
}
