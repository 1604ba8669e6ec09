//! The health probe: one edit in a brane of the probe's own, all the way
//! through apply, fan-out and the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use avvy_flow::SessionKey;
use avvy_model::{
    BraneId, ClientId, Code, Counter, Edit, Handle, NumberedEdit, Operation, PropKey, PropsPatch,
    Role, Target, UserId, Value, ValueLimits,
};
use avvy_persistence::{BraneRecord, Store, StoreError};
use avvy_protocol::{Channel, Join, ServerMessage, Update};
use ractor::ActorRef;
use tokio::sync::mpsc;

use crate::brane::{BraneHandle, BraneMsg};
use crate::clock;
use crate::members::Guest;
use crate::wire::Inbox;

/// The probe's brane, unless this is a node of a fleet.
pub(crate) const BRANE: BraneId =
    BraneId::from_bytes(0x6176_7679_0000_4000_8000_7072_6f62_6500_u128.to_be_bytes());

/// Messages that may wait for the probe; a brane of one edit sends few.
const INBOX: usize = 256;

/// How long the probe's edit took.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    /// Until it came back by fan-out, in microseconds.
    pub fan_out_us: u64,
    /// Until it was durable, in microseconds.
    pub durable_us: u64,
}

/// The probe of one system.
pub(crate) struct Probe {
    brane: BraneId,
    user: UserId,
    client: ClientId,
    /// The number of the last edit.
    last: AtomicU64,
}

impl Probe {
    /// Makes sure that the probe's brane is there. It is private and belongs
    /// to nobody who can sign in.
    pub(crate) async fn prepare(store: &dyn Store, brane: BraneId) -> Result<Self, StoreError> {
        let id = brane.uuid();
        let probe = Self {
            brane,
            user: UserId::new(id),
            client: ClientId::new(id),
            last: AtomicU64::new(0),
        };
        store
            .create_brane(BraneRecord {
                name: "health probe".to_owned(),
                ..BraneRecord::new(probe.brane, probe.user, 0)
            })
            .await?;
        Ok(probe)
    }

    pub(crate) fn brane(&self) -> BraneId {
        self.brane
    }

    /// Waits for as long as it takes. Dropping this ends it: the session
    /// leaves the brane either way.
    pub(crate) async fn run(
        &self,
        handle: &BraneHandle,
        session: SessionKey,
    ) -> Result<Report, Code> {
        let (inbox, messages) = mpsc::channel(INBOX);
        let join = BraneMsg::Join {
            number: 0,
            session,
            wire: Arc::new(Inbox(inbox)),
            guest: Guest { user: self.user, ceiling: Role::Owner, is_named: true },
            join: Join {
                brane: self.brane,
                client: self.client,
                known: false,
                resume: None,
                area: None,
            },
            permit: None,
        };
        handle.actor.send_message(join).map_err(|_| Code::Unavailable)?;
        let _leaves = Leaves { actor: &handle.actor, session };
        self.edit(handle, session, messages).await
    }

    async fn edit(
        &self,
        handle: &BraneHandle,
        session: SessionKey,
        mut messages: mpsc::Receiver<ServerMessage>,
    ) -> Result<Report, Code> {
        let counter = self.next_counter();
        let update = BraneMsg::Update {
            session,
            update: self.update(handle.channel, counter),
            permit: None,
        };
        let sent_us = clock::monotonic_us();
        handle.actor.send_message(update).map_err(|_| Code::Unavailable)?;
        let mut seq = None;
        let mut fan_out_us = None;
        while let Some(message) = messages.recv().await {
            let us = clock::monotonic_us() - sent_us;
            let durable = match message {
                ServerMessage::Applied { edits, .. } => {
                    seq = edits.iter().find(|(c, _)| *c == counter).map(|(_, seq)| *seq).or(seq);
                    continue;
                }
                ServerMessage::Refused { edits, .. } => {
                    return Err(edits.first().map_or(Code::Internal, |edit| edit.code));
                }
                ServerMessage::Error(error) => return Err(error.code),
                ServerMessage::Flush(flush) => {
                    if seq.is_some_and(|seq| flush.to >= seq) {
                        fan_out_us.get_or_insert(us);
                    }
                    flush.durable
                }
                ServerMessage::Durable { durable, .. } => durable.seq,
                ServerMessage::Welcome(_)
                | ServerMessage::Refreshed { .. }
                | ServerMessage::Expiring { .. }
                | ServerMessage::Joined(_)
                | ServerMessage::Left { .. }
                | ServerMessage::Rewind { .. }
                | ServerMessage::Snapshot(_)
                | ServerMessage::View(_)
                | ServerMessage::Level { .. }
                | ServerMessage::AreaFlush(_)
                | ServerMessage::VersionComplete { .. }
                | ServerMessage::Hash { .. }
                | ServerMessage::Rights(_)
                | ServerMessage::Changed(_)
                | ServerMessage::People(_)
                | ServerMessage::Pong { .. } => continue,
            };
            if let (Some(seq), Some(fan_out_us)) = (seq, fan_out_us)
                && durable >= seq
            {
                return Ok(Report { fan_out_us, durable_us: us });
            }
        }
        Err(Code::Unavailable)
    }

    /// The clock gives numbers that rise over restarts without a memory of
    /// one's own; two probes may be in the same millisecond.
    fn next_counter(&self) -> Counter {
        let now = clock::unix_ms();
        let next = |last: u64| Some(now.max(last + 1));
        let last = self.last.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        Counter(now.max(last.unwrap_or_default() + 1))
    }

    fn update(&self, channel: Channel, counter: Counter) -> Update {
        let limits = ValueLimits::default();
        // Both are within the default limits.
        let patch = PropKey::new("probe", &limits)
            .and_then(|key| PropsPatch::new(vec![(key, Some(Value::int(counter.0 as i64)))]))
            .unwrap_or_default();
        let operation = Operation::Update { target: Target::Handle(Handle::ROOT), patch };
        let edits = vec![NumberedEdit { counter, edit: Edit::One(operation) }];
        Update { channel, trace: None, edits }
    }
}

/// A session in a brane that nobody else looks after: it leaves when this is
/// dropped, also when whoever waits for it stops waiting.
pub(crate) struct Leaves<'a> {
    pub(crate) actor: &'a ActorRef<BraneMsg>,
    pub(crate) session: SessionKey,
}

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        // If the brane is gone, so is the session.
        let leave = BraneMsg::Leave { session: self.session, farewell: None };
        let _ = self.actor.send_message(leave);
    }
}
