//! Who writes under which client id, and what became of their last edits, so
//! that an edit sent again is answered and not applied again.
//!
//! Who writes is remembered until it was silent for too long, or until its
//! user has written under too many other ids since. Who has joined is not
//! forgotten. The log says who wrote and when, but not who joined: after a
//! crash, of the clients of a user who has too many another one may be
//! forgotten than before. It is answered so, and nothing is applied twice.
//!
//! Those under which the server makes transfers ([`ClientId::of_transfers`]) are
//! others: what became of a transfer has to be known until its end, whenever that
//! is. There is one for each user, which is forgotten neither for its silence nor
//! for what else the user does, but only when 65,536 other users
//! have had a transfer since.
//!
//! Clients come and go by the clock that the caller passes in. Nothing that a
//! snapshot or a comparison sees depends on it otherwise.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use avvy_model::{ClientId, Code, Counter, EditId, Refusal, Seq, UserId, WorldLimits};

use crate::recency::Recency;

/// By the first byte of the id, so that going through the shards in order goes
/// through the clients in order. A copy shares all shards, and copies one when
/// somebody in it writes.
const SHARDS: usize = 256;

/// Users of whose transfers it is remembered what became.
const MAX_TRANSFERRING: usize = 65_536;

/// In whose queue the clients of transfers are.
const TRANSFERS: UserId = UserId::from_bytes([0xff; 16]);

/// What became of an edit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// It is in the log.
    Applied(Seq),
    /// It is not, and never will be under this number.
    Refused(Refusal),
}

/// What to do with an edit that comes in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Admission {
    /// Its number is above all the client's others: apply it.
    New,
    /// It came before: give this answer again.
    Known(Outcome),
    /// Neither: [`Code::OutcomeUnknown`] or [`Code::ClientUnknown`].
    Refused(Code),
}

/// The clients of one brane. Cloning shares all but a few hundred pointers.
#[derive(Clone)]
pub struct Clients {
    shards: Vec<Arc<BTreeMap<ClientId, Arc<Client>>>>,
    /// Follows from the clients, but for the order of those heard at one time.
    recency: Recency,
    max_outcomes: usize,
    max_per_user: usize,
    memory_ms: u64,
}

/// One client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Client {
    pub(crate) user: UserId,
    /// Of its last edit or join.
    pub(crate) seen_ms: u64,
    /// Sessions that have joined under its id.
    here: u32,
    /// The highest number that has an outcome; 0 before the first.
    pub(crate) highest: Counter,
    /// By rising number.
    outcomes: VecDeque<(Counter, Packed)>,
}

/// An [`Outcome`] in eight bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Packed(u64);

impl Clients {
    /// Nobody. Takes [`WorldLimits::outcomes_per_client`],
    /// [`WorldLimits::clients_per_user`] and [`WorldLimits::client_memory_ms`].
    pub fn new(limits: &WorldLimits) -> Self {
        Self {
            shards: vec![Arc::default(); SHARDS],
            recency: Recency::new(),
            max_outcomes: limits.outcomes_per_client.max(1),
            max_per_user: limits.clients_per_user.max(1),
            memory_ms: limits.client_memory_ms,
        }
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.len()).sum()
    }

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// At a join, which [`Self::release`] ends. `known` says that an edit of
    /// this client was durable here once, so that it must be remembered or
    /// have been forgotten.
    ///
    /// # Errors
    /// [`Code::ClientTaken`] when another user writes under the id,
    /// [`Code::ClientUnknown`] when it is `known` and forgotten.
    pub fn admit(
        &mut self,
        client: ClientId,
        user: UserId,
        known: bool,
        now_ms: u64,
    ) -> Result<(), Code> {
        match self.get(client) {
            Some(found) if found.user != user => Err(Code::ClientTaken),
            None if known => Err(Code::ClientUnknown),
            _ => {
                let entry = self.entry(client, user, now_ms);
                entry.here += 1;
                if entry.here == 1 && entry.highest > Counter(0) {
                    self.recency.remove(queue(user, client), client);
                }
                Ok(())
            }
        }
    }

    /// When a session of a client has left: one that never wrote need not be
    /// remembered.
    pub fn release(&mut self, client: ClientId, now_ms: u64) {
        let Some(found) = self.get(client).filter(|found| found.here > 0) else { return };
        let user = found.user;
        let entry = self.entry(client, user, now_ms);
        entry.here -= 1;
        if entry.here > 0 {
            return;
        }
        if entry.highest > Counter(0) {
            self.recency.push(queue(user, client), client, now_ms);
            self.forget_surplus(queue(user, client));
        } else {
            Arc::make_mut(&mut self.shards[shard(client)]).remove(&client);
        }
    }

    /// What to do with an edit.
    pub fn check(&self, id: EditId) -> Admission {
        let Some(client) = self.get(id.client) else {
            return Admission::Refused(Code::ClientUnknown);
        };
        if id.counter > client.highest {
            return Admission::New;
        }
        match client.outcomes.binary_search_by_key(&id.counter, |(counter, _)| *counter) {
            Ok(found) => Admission::Known(client.outcomes[found].1.unpack()),
            Err(_) => Admission::Refused(Code::OutcomeUnknown),
        }
    }

    /// Remembers what became of an edit, also when the log is read again. The
    /// first outcome of a number stays.
    pub fn record(&mut self, id: EditId, user: UserId, outcome: Outcome, now_ms: u64) {
        let max_outcomes = self.max_outcomes;
        let client = self.entry(id.client, user, now_ms);
        let was_silent = client.highest == Counter(0);
        let packed = Packed::new(outcome);
        if id.counter > client.highest {
            client.highest = id.counter;
            client.outcomes.push_back((id.counter, packed));
        } else if let Err(at) =
            client.outcomes.binary_search_by_key(&id.counter, |(counter, _)| *counter)
        {
            client.outcomes.insert(at, (id.counter, packed));
        }
        while client.outcomes.len() > max_outcomes {
            client.outcomes.pop_front();
        }
        if was_silent && client.highest > Counter(0) && client.here == 0 {
            let queue = queue(client.user, id.client);
            self.recency.push(queue, id.client, now_ms);
            self.forget_surplus(queue);
        }
    }

    /// Forgets those who were silent for longer than their outcomes are kept.
    pub fn forget(&mut self, now_ms: u64) {
        let oldest = now_ms.saturating_sub(self.memory_ms);
        let is_silent =
            |id: &ClientId, client: &Client| client.seen_ms < oldest && !id.is_of_transfers();
        for shard in &mut self.shards {
            if !shard.iter().any(|(id, client)| client.here > 0 || is_silent(id, client)) {
                continue;
            }
            Arc::make_mut(shard).retain(|id, client| {
                if client.here > 0 {
                    // To be here is a sign of life.
                    let client = Arc::make_mut(client);
                    client.seen_ms = client.seen_ms.max(now_ms);
                }
                let is_forgotten = is_silent(id, client);
                if is_forgotten {
                    self.recency.remove(client.user, *id);
                }
                !is_forgotten
            });
        }
    }

    /// Forgets those of a user's clients that are too many.
    fn forget_surplus(&mut self, user: UserId) {
        let max = if user == TRANSFERS { MAX_TRANSFERRING } else { self.max_per_user };
        let shards = &self.shards;
        let heard_ms = |id: ClientId| shards[shard(id)].get(&id).map_or(0, |client| client.seen_ms);
        for id in self.recency.take_surplus(user, max, heard_ms) {
            Arc::make_mut(&mut self.shards[shard(id)]).remove(&id);
        }
    }

    /// Those who have written, by id.
    pub(crate) fn writers(&self) -> impl Iterator<Item = (ClientId, &Client)> {
        self.writers_after(None)
    }

    /// Those who have written, by id, after this one.
    pub(crate) fn writers_after(
        &self,
        after: Option<ClientId>,
    ) -> impl Iterator<Item = (ClientId, &Client)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let shards = self.shards.iter().skip(after.map_or(0, shard));
        let clients = shards.flat_map(move |shard| shard.range((from, Bound::Unbounded)));
        clients.map(|(id, client)| (*id, &**client)).filter(|(_, c)| c.highest > Counter(0))
    }

    /// Puts a stored client back; `outcomes` by rising number.
    pub(crate) fn restore(
        &mut self,
        id: ClientId,
        user: UserId,
        seen_ms: u64,
        highest: Counter,
        outcomes: Vec<(Counter, Outcome)>,
    ) {
        let surplus = outcomes.len().saturating_sub(self.max_outcomes);
        let kept = outcomes.into_iter().skip(surplus);
        let outcomes = kept.map(|(counter, outcome)| (counter, Packed::new(outcome))).collect();
        let client = Client { user, seen_ms, here: 0, highest, outcomes };
        Arc::make_mut(&mut self.shards[shard(id)]).insert(id, Arc::new(client));
        self.recency.insert(queue(user, id), id, seen_ms);
        self.forget_surplus(queue(user, id));
    }

    fn get(&self, id: ClientId) -> Option<&Client> {
        self.shards[shard(id)].get(&id).map(|client| &**client)
    }

    fn entry(&mut self, id: ClientId, user: UserId, now_ms: u64) -> &mut Client {
        let shard = Arc::make_mut(&mut self.shards[shard(id)]);
        let client = shard.entry(id).or_insert_with(|| Arc::new(Client::new(user)));
        let client = Arc::make_mut(client);
        client.seen_ms = client.seen_ms.max(now_ms);
        client
    }
}

/// Compares what is remembered.
impl PartialEq for Clients {
    fn eq(&self, other: &Self) -> bool {
        self.shards == other.shards
    }
}

impl Eq for Clients {}

impl std::fmt::Debug for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.shards.iter().flat_map(|shard| shard.iter())).finish()
    }
}

impl Client {
    fn new(user: UserId) -> Self {
        Self { user, seen_ms: 0, here: 0, highest: Counter(0), outcomes: VecDeque::new() }
    }

    pub(crate) fn outcomes(&self) -> impl ExactSizeIterator<Item = (Counter, Outcome)> {
        self.outcomes.iter().map(|(counter, packed)| (*counter, packed.unpack()))
    }
}

impl Packed {
    const REFUSED: u64 = 1 << 63;
    const IN_BATCH: u64 = 1 << 62;

    fn new(outcome: Outcome) -> Self {
        Self(match outcome {
            Outcome::Applied(seq) => seq.0 & !Self::REFUSED,
            Outcome::Refused(refusal) => {
                let code = u64::from(refusal.code.number()) << 32;
                let operation = refusal.operation.map_or(0, |n| Self::IN_BATCH | u64::from(n));
                Self::REFUSED | code | operation
            }
        })
    }

    fn unpack(self) -> Outcome {
        if self.0 & Self::REFUSED == 0 {
            return Outcome::Applied(Seq(self.0));
        }
        let code = Code::from_number((self.0 >> 32) as u16).unwrap_or(Code::OutcomeUnknown);
        let operation = (self.0 & Self::IN_BATCH != 0).then_some(self.0 as u32);
        Outcome::Refused(Refusal { code, operation })
    }
}

/// In whose queue a client waits to be forgotten.
fn queue(user: UserId, client: ClientId) -> UserId {
    if client.is_of_transfers() { TRANSFERS } else { user }
}

fn shard(id: ClientId) -> usize {
    usize::from(id.to_bytes()[0])
}
