//! The settings of the REST API, and what they may be.

use serde::{Deserialize, Serialize};

use super::rules::{Broken, list};
use super::sections::{MIB, section};
use super::{Config, Secret};

/// The shortest token of operators, in bytes: nobody guesses that.
const MIN_ADMIN_TOKEN_BYTES: usize = 32;

section! {
    /// What the REST API does beyond its limits.
    Api {
        /// Origins whose pages may use it, with spaces between them.
        cors_origins: String = String::new(),
        /// The token of `X-Admin-Token`; empty: there are no such routes.
        admin_token: Secret = Secret::default(),
        /// Bytes of an answer above which it is packed for who can take that.
        pack_above_bytes: u64 = 1_024,
        /// Requests with an `Idempotency-Key` of one user in a day.
        keys_per_day: u32 = 10_000,
        /// Bytes of the answers to them that are kept.
        kept_bytes_per_day: u64 = 64 * MIB,
    }
}

impl Api {
    /// The origins, one by one.
    pub fn origins(&self) -> Vec<String> {
        self.cors_origins.split_whitespace().map(str::to_owned).collect()
    }
}

pub(super) fn api(config: &Config) -> Broken {
    let Api { admin_token, .. } = &config.api;
    let odd = config.api.origins().into_iter().find(|origin| !is_origin(origin));
    list([
        (
            odd.is_some(),
            "api.cors_origins",
            format!(
                "{:?} is no origin: https://host, without a path and in small letters, or *",
                odd.unwrap_or_default()
            ),
        ),
        (
            (1..MIN_ADMIN_TOKEN_BYTES).contains(&admin_token.0.len()),
            "api.admin_token",
            format!("is shorter than {MIN_ADMIN_TOKEN_BYTES} bytes, and so could be guessed"),
        ),
        (
            !admin_token.0.bytes().all(|byte| byte.is_ascii_graphic()),
            "api.admin_token",
            "holds what cannot be in a header: use visible ASCII".to_owned(),
        ),
    ])
}

/// Whether a browser writes an origin like this, or it is all of them.
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.:[]".contains(c);
    text == "*" || host.is_some_and(|host| !host.is_empty() && host.chars().all(is_good))
}
