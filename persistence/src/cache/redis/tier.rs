//! The shared tier on Redis.
//!
//! A key holds a value or a lease. Who finds neither gets a lease, by which
//! alone a value can be put; a write removes whatever is there. So of two
//! reads that a write lies between, the first has nothing to put by. Each of
//! the three is one script, as a script is done whole or not at all.
//!
//! A value that is to end soon is renewed in its place: what was found there,
//! byte by byte, takes the part of the lease, so a write ends that right, too.
//! A key of its own sees that one renews at a time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use redis::Cmd;
use xxhash_rust::xxh3::xxh3_64;

use super::link::Link;
use crate::cache::frame::{Frame, is_lease, lease};
use crate::cache::notice::Notice;
use crate::cache::shared::{Lease, Look, Shared, SharedKey};
use crate::store::BoxFuture;

/// Gives the clock and what is there, and leaves a lease where nothing is.
const LOOK: &str = "\
local now = redis.call('TIME')
local found = redis.call('GET', KEYS[1])
if not found then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return {now[1], now[2], found or ''}";

/// Gives the clock to the first who wants to renew a value.
const RENEW: &str = "\
if not redis.call('SET', KEYS[1], 1, 'NX', 'PX', ARGV[1]) then return {} end
return redis.call('TIME')";

/// Puts a value in place of the lease, if that is there and the value not over.
const FILL: &str = "\
local now = redis.call('TIME')
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if now[1] * 1000 + now[2] / 1000 >= tonumber(ARGV[3]) then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3])
return 1";

/// Removes what is there, then tells everybody.
const GONE: &str = "\
redis.call('DEL', KEYS[1])
return redis.call('PUBLISH', ARGV[1], ARGV[2])";

impl Shared for Link {
    fn look<'a>(&'a self, key: &'a SharedKey, max_stale: Duration) -> BoxFuture<'a, Look> {
        Box::pin(async move {
            let name = self.name(key);
            let nth = self.next_lease.fetch_add(1, Ordering::Relaxed);
            let token = lease(self.process, nth);
            let mut look = script(LOOK, &name);
            look.arg(&token).arg(millis(self.options.lease));
            let answer = self.call::<(String, String, Vec<u8>)>(&look).await;
            answer.and_then(|answer| judge(&name, token, answer, max_stale)).unwrap_or(Look::Away)
        })
    }

    fn renew<'a>(&'a self, key: &'a SharedKey, frame: Vec<u8>) -> BoxFuture<'a, Option<Lease>> {
        Box::pin(async move {
            // Of this value alone: the next one is renewed by whoever is first then.
            let right = format!("{}:renewal:{:016x}", self.name(key), xxh3_64(&frame));
            let mut renew = script(RENEW, &right);
            renew.arg(millis(self.options.lease));
            match &self.call::<Vec<String>>(&renew).await?[..] {
                [seconds, micros] => {
                    Some(Lease { token: frame, asked_ms: clock_ms(seconds, micros)? })
                }
                _ => None,
            }
        })
    }

    fn fill<'a>(
        &'a self,
        key: &'a SharedKey,
        lease: Lease,
        body: Option<Bytes>,
        keep: Duration,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let name = self.name(key);
            let Lease { token, asked_ms } = lease;
            let until_ms = asked_ms.saturating_add(millis(keep));
            let frame = Frame { asked_ms, until_ms, body };
            let mut fill = script(FILL, &name);
            fill.arg(&token).arg(frame.encode(&name)).arg(until_ms);
            // If not, somebody else loads it once more.
            let _ = self.call::<i64>(&fill).await;
        })
    }

    fn gone<'a>(&'a self, key: &'a SharedKey) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let notice = Notice::Gone { kind: key.kind.to_owned(), key: key.text.clone() };
            let mut gone = script(GONE, &self.name(key));
            gone.arg(self.channel()).arg(notice.encode());
            self.call::<i64>(&gone).await.is_some()
        })
    }
}

/// A script with one key; its arguments follow. Sent whole each time: they are
/// short, and Redis keeps what it has compiled.
pub(super) fn script(text: &str, name: &str) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(text).arg(1).arg(name);
    command
}

/// `None` for what nobody can make sense of.
fn judge(
    name: &str,
    token: Vec<u8>,
    (seconds, micros, found): (String, String, Vec<u8>),
    max_stale: Duration,
) -> Option<Look> {
    let now_ms = clock_ms(&seconds, &micros)?;
    if found.is_empty() {
        return Some(Look::Mine(Lease { token, asked_ms: now_ms }));
    }
    if is_lease(&found) {
        return Some(Look::Theirs);
    }
    let frame = Bytes::from(found);
    let Frame { asked_ms, until_ms, body } = Frame::decode(name, &frame)?;
    let until_ms = until_ms.min(asked_ms.saturating_add(millis(max_stale)));
    // A clock that went back makes nothing younger than the bound allows.
    let left = Duration::from_millis(until_ms.saturating_sub(now_ms)).min(max_stale);
    (!left.is_zero()).then(|| Look::Found { body, left, frame: frame.to_vec() })
}

/// What `TIME` says, in milliseconds.
fn clock_ms(seconds: &str, micros: &str) -> Option<u64> {
    let (seconds, micros): (u64, u64) = (seconds.parse().ok()?, micros.parse().ok()?);
    seconds.checked_mul(1_000)?.checked_add(micros / 1_000)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_STALE: Duration = Duration::from_secs(10);

    fn look(now_ms: u64, found: Vec<u8>) -> Option<Look> {
        let now = ((now_ms / 1_000).to_string(), (now_ms % 1_000 * 1_000).to_string(), found);
        judge("k", b"token".to_vec(), now, MAX_STALE)
    }

    fn left(now_ms: u64, asked_ms: u64, until_ms: u64) -> Option<u64> {
        let frame = Frame { asked_ms, until_ms, body: None };
        match look(now_ms, frame.encode("k")) {
            Some(Look::Found { left, .. }) => Some(millis(left)),
            _ => None,
        }
    }

    #[test]
    fn a_reader_holds_a_value_to_its_own_bound_as_well() {
        assert_eq!(left(6_500, 5_000, 9_000), Some(2_500));
        assert_eq!(left(6_500, 5_000, 99_000), Some(8_500));
        assert_eq!(left(9_000, 5_000, 9_000), None);
        assert_eq!(left(15_000, 5_000, 99_000), None);
        assert_eq!(left(0, 5_000, 99_000), Some(10_000));
    }

    #[test]
    fn tells_a_lease_from_a_value_from_nonsense() {
        let mine = Lease { token: b"token".to_vec(), asked_ms: 1_234 };
        assert_eq!(look(1_234, Vec::new()), Some(Look::Mine(mine)));
        assert_eq!(look(0, lease(1, 2)), Some(Look::Theirs));
        assert_eq!(look(0, b"nonsense".to_vec()), None);
        let times = ("x".to_owned(), "0".to_owned(), Vec::new());
        assert_eq!(judge("k", Vec::new(), times, MAX_STALE), None);
    }
}
