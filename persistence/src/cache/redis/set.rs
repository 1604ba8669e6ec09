//! Sets on Redis: sorted by when their members end.

use std::sync::Arc;

use tokio::sync::Notify;

use super::link::Link;
use super::tier::script;
use crate::cache::notice::Notice;
use crate::cache::set::{MAX_MEMBER_BYTES, Member, SharedSet};
use crate::error::StoreError;
use crate::store::BoxFuture;

/// Adds members, removes those that have ended, then tells everybody.
const ADD: &str = "\
for at = 3, #ARGV, 2 do redis.call('ZADD', KEYS[1], 'GT', ARGV[at], ARGV[at + 1]) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', redis.call('TIME')[1])
return redis.call('PUBLISH', ARGV[1], ARGV[2])";

/// Members that one call adds. More are added by several.
const MAX_ADDED: usize = 1_000;

/// A set that all nodes share.
pub(crate) struct RedisSet {
    pub(super) link: Arc<Link>,
    pub(super) name: &'static str,
    /// Told of when somebody adds something.
    pub(super) added: Arc<Notify>,
}

impl RedisSet {
    fn key(&self) -> String {
        self.link.own_name(&format!("set:{}", self.name))
    }

    async fn put(&self, members: Vec<Member>) -> Result<(), StoreError> {
        if members.iter().any(|member| member.name.len() > MAX_MEMBER_BYTES) {
            return Err(StoreError::Invalid("the member's name is too long"));
        }
        for some in members.chunks(MAX_ADDED) {
            let notice = Notice::Added { set: self.name.to_owned() };
            let mut add = script(ADD, &self.key());
            add.arg(self.link.channel()).arg(notice.encode());
            for Member { name, until_s } in some {
                add.arg(*until_s).arg(name);
            }
            self.link.call::<i64>(&add).await.ok_or(away())?;
        }
        Ok(())
    }

    async fn get(&self) -> Result<Vec<Member>, StoreError> {
        let mut range = redis::cmd("ZRANGE");
        range.arg(self.key()).arg(0).arg(-1).arg("WITHSCORES");
        let found = self.link.call::<Vec<(Vec<u8>, f64)>>(&range).await.ok_or(away())?;
        // Whole seconds, far below where a score is not exact any more.
        let member = |(name, score): (Vec<u8>, f64)| Member { name, until_s: score as u64 };
        Ok(found.into_iter().map(member).collect())
    }
}

fn away() -> StoreError {
    StoreError::Io("Redis does not answer".to_owned())
}

impl SharedSet for RedisSet {
    fn place(&self) -> &'static str {
        "Redis"
    }

    /// What has ended is judged by the clock of Redis.
    fn add(&self, members: Vec<Member>, _now_s: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.put(members))
    }

    fn all(&self) -> BoxFuture<'_, Result<Vec<Member>, StoreError>> {
        Box::pin(self.get())
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.added.notified())
    }
}
