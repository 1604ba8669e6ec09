//! The file of the keys that sign tokens, and how they take turns while the
//! server runs.
//!
//! Where several servers share a store the keys are there, and the file is this
//! server's copy: for the commands that need a key and no server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use avvy_actors::System;
use avvy_auth::{Issuer, KeyRing, Keys, Policy};
use avvy_identity::{Identity, KeyStore};
use tokio::task::spawn_blocking;
use tracing::{error, info};

use crate::{clock, data_dir};

/// The longest pause between two looks at the time, which may be set anew.
const MAX_PAUSE_S: u64 = 3_600;

/// A ring of keys and the file that holds it.
#[derive(Clone)]
pub struct KeyFile {
    file: PathBuf,
    ring: KeyRing,
    /// Where it comes from, if not from the file.
    store: Option<KeyStore>,
}

impl KeyFile {
    /// Reads the keys that others have made.
    ///
    /// # Errors
    /// When there is no such file, it holds no keys, or others may read it.
    pub fn read(file: &Path) -> Result<Self> {
        let text = data_dir::read_secret(file)?
            .with_context(|| format!("there is no key at {}", file.display()))?;
        Self::parse(file, &text)
    }

    /// Reads the keys, or makes the first one, and does what is due.
    ///
    /// # Errors
    /// When the file cannot be read or written, holds no keys, or others may
    /// read it.
    pub fn open(file: &Path, period_s: u64) -> Result<Self> {
        let mut this = match data_dir::read_secret(file)? {
            Some(text) => {
                let this = Self::parse(file, &text)?;
                // A key without times has the time of the first look.
                if period_s > 0 && this.ring.to_text() != text {
                    this.write()?;
                }
                this
            }
            None => {
                let first = Keys::generate(data_dir::random()?);
                let ring = KeyRing::new(first, clock::unix_s());
                let this = Self { file: file.to_owned(), ring, store: None };
                this.write()?;
                this
            }
        };
        this.advance(period_s)?;
        Ok(this)
    }

    /// Takes the keys of a store, and does what is due. If it has none yet, they
    /// are those of the file, if there is one.
    ///
    /// # Errors
    /// When the store has keys that cannot be read, or the file cannot be read or
    /// written, or others may read it.
    pub async fn follow(file: &Path, period_s: u64, store: KeyStore) -> Result<Self> {
        let found = data_dir::read_secret(file)?;
        let found = found.map(|text| Self::parse(file, &text)).transpose()?;
        let own = found.as_ref().map(|own| &own.ring);
        let ring = store.advance(own, period_s, clock::unix_s()).await;
        let ring = ring.context("the keys of tokens are in the store")?;
        let this = Self { file: file.to_owned(), ring, store: Some(store) };
        if found.is_none_or(|own| own.ring.to_text() != this.ring.to_text()) {
            this.write()?;
        }
        Ok(this)
    }

    /// The keys.
    pub const fn ring(&self) -> &KeyRing {
        &self.ring
    }

    fn parse(file: &Path, text: &str) -> Result<Self> {
        let ring = KeyRing::from_text(text, clock::unix_s());
        let ring = ring.with_context(|| format!("{} holds no keys", file.display()))?;
        Ok(Self { file: file.to_owned(), ring, store: None })
    }

    /// Does what is due, wherever the keys are, and says whether they changed.
    async fn turn(self, period_s: u64) -> Result<(Self, bool)> {
        let mut next = self;
        let turn = match next.store.clone() {
            None => spawn_blocking(move || next.advance(period_s).map(|changed| (next, changed))),
            Some(store) => {
                let ring = store.advance(None, period_s, clock::unix_s()).await?;
                spawn_blocking(move || {
                    let changed = ring.to_text() != next.ring.to_text();
                    next.ring = ring;
                    if changed {
                        next.write()?;
                    }
                    Ok((next, changed))
                })
            }
        };
        turn.await.context("a turn has panicked")?
    }

    /// Does what is due. Nothing is used that is not in the file.
    fn advance(&mut self, period_s: u64) -> Result<bool> {
        let mut next = self.clone();
        let changed = next.ring.advance(clock::unix_s(), period_s, data_dir::random()?);
        if changed {
            next.write()?;
            *self = next;
        }
        Ok(changed)
    }

    fn write(&self) -> Result<()> {
        data_dir::write_secret(&self.file, &self.ring.to_text())
    }
}

/// Has keys take turns. Runs until it is aborted.
pub async fn rotate(
    mut keys: KeyFile,
    policy: Policy,
    period_s: u64,
    system: System,
    identity: Identity,
) {
    loop {
        let now_s = clock::unix_s();
        let due_s = keys.ring.due_s(period_s).unwrap_or(u64::MAX);
        let pause_s = due_s.saturating_sub(now_s).clamp(1, MAX_PAUSE_S);
        tokio::time::sleep(Duration::from_secs(pause_s)).await;
        match keys.clone().turn(period_s).await {
            Ok((_, false)) => {}
            Ok((next, true)) => {
                keys = next;
                let issuer = Issuer::new(keys.ring.clone(), policy.clone());
                system.replace_verifier(issuer.verifier());
                identity.replace_issuer(issuer);
                info!(kid = keys.ring.present().public().kid(), "the keys of tokens have changed");
            }
            Err(error) => {
                // The keys that there are go on.
                error!(error = format!("{error:#}"), "keys could not take turns");
                tokio::time::sleep(Duration::from_secs(MAX_PAUSE_S)).await;
            }
        }
    }
}
