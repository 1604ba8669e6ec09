//! What the settings of the cache and of Redis may be together.

use super::Config;
use super::rules::{Broken, list};

pub(super) fn cache(config: &Config) -> Broken {
    let cache = &config.cache;
    let longer = |value: u64| {
        format!("is {value}, longer than cache.max_stale_ms, which is {}", cache.max_stale_ms)
    };
    list([
        (cache.ttl_ms > cache.max_stale_ms, "cache.ttl_ms", longer(cache.ttl_ms)),
        (
            cache.missing_ttl_ms > cache.max_stale_ms,
            "cache.missing_ttl_ms",
            longer(cache.missing_ttl_ms),
        ),
    ])
}

pub(super) fn redis(config: &Config) -> Broken {
    let redis = &config.redis;
    let (url, namespace) = (&redis.url.0, &redis.namespace);
    let is_encrypted = url.starts_with("rediss://");
    // No letter of a pattern, nor what parts of names are divided by.
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let is_namespace = (1..=64).contains(&namespace.len()) && namespace.chars().all(is_name);
    list([
        (
            !url.is_empty() && !cfg!(feature = "redis"),
            "redis.url",
            "is set, and this program was built without Redis: build it with `--features redis`"
                .to_owned(),
        ),
        (
            !url.is_empty() && !url.starts_with("redis://") && !is_encrypted,
            "redis.url",
            "must begin with redis:// or rediss:// and name a server".to_owned(),
        ),
        (
            url.contains('#'),
            "redis.url",
            "holds a #: a certificate that is not checked is worth nothing, and a # in a \
             password is written %23"
                .to_owned(),
        ),
        (
            !redis.tls_ca_file.as_os_str().is_empty() && !is_encrypted,
            "redis.tls_ca_file",
            "is set, but redis.url does not begin with rediss://".to_owned(),
        ),
        (
            !is_namespace,
            "redis.namespace",
            format!("is {namespace:?}, must be 1 to 64 letters, digits, -, _ and ."),
        ),
        (
            redis.lease_ms < redis.timeout_ms,
            "redis.lease_ms",
            format!(
                "is {}, shorter than redis.timeout_ms ({}): who got the right to put a value could \
                 have lost it before hearing of it",
                redis.lease_ms, redis.timeout_ms
            ),
        ),
    ])
}
