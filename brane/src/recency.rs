//! Which of a user's clients was silent for the longest.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use avvy_model::{ClientId, UserId};

/// By the first byte of the user's id. A copy shares all shards, and copies
/// one when somebody in it writes.
const SHARDS: usize = 256;

/// Each user's clients that have written and are not here, the one that was
/// heard least recently first.
///
/// When the log is read, a client is heard that is queued already. That costs
/// nothing here: it is found out when the client's turn comes.
#[derive(Clone)]
pub(crate) struct Recency(Vec<Arc<BTreeMap<UserId, Queue>>>);

/// Each with a time at which it was heard, which does not fall.
type Queue = VecDeque<(u64, ClientId)>;

impl Recency {
    pub(crate) fn new() -> Self {
        Self(vec![Arc::default(); SHARDS])
    }

    /// This client was heard now, and is not queued.
    pub(crate) fn push(&mut self, user: UserId, client: ClientId, now_ms: u64) {
        let queue = self.queue(user);
        let last_ms = queue.back().map_or(0, |(ms, _)| *ms);
        queue.push_back((now_ms.max(last_ms), client));
    }

    /// This client was heard at some time, and is not queued.
    pub(crate) fn insert(&mut self, user: UserId, client: ClientId, ms: u64) {
        put(self.queue(user), client, ms);
    }

    pub(crate) fn remove(&mut self, user: UserId, client: ClientId) {
        let users = Arc::make_mut(&mut self.0[shard(user)]);
        let Some(queue) = users.get_mut(&user) else { return };
        queue.retain(|(_, other)| *other != client);
        if queue.is_empty() {
            users.remove(&user);
        }
    }

    /// Takes this user's clients beyond `max` out, by when they were heard.
    pub(crate) fn take_surplus(
        &mut self,
        user: UserId,
        max: usize,
        heard_ms: impl Fn(ClientId) -> u64,
    ) -> Vec<ClientId> {
        let len = self.0[shard(user)].get(&user).map_or(0, VecDeque::len);
        let mut taken = Vec::new();
        if len <= max {
            return taken;
        }
        let queue = self.queue(user);
        // Ends: what is put back has its time right when it comes again.
        while queue.len() > max {
            let Some((ms, client)) = queue.pop_front() else { break };
            match heard_ms(client) {
                later_ms if later_ms > ms => put(queue, client, later_ms),
                _ => taken.push(client),
            }
        }
        taken
    }

    fn queue(&mut self, user: UserId) -> &mut Queue {
        Arc::make_mut(&mut self.0[shard(user)]).entry(user).or_default()
    }
}

/// Before those that were heard at the same time.
fn put(queue: &mut Queue, client: ClientId, ms: u64) {
    let at = queue.partition_point(|(other_ms, _)| *other_ms < ms);
    queue.insert(at, (ms, client));
}

fn shard(user: UserId) -> usize {
    usize::from(user.to_bytes()[0])
}
