//! A brane under test: its effects are sorted as a driver would.

mod durability;
mod edits;
mod joins;
mod rights;
mod snapshots;
mod windows;

use avvy_brane::{Clients, World};
use avvy_model::{
    BraneId, ClientId, Code, Counter, Edit, Epoch, Handle, Kind, MovePatch, NumberedEdit, ObjectId,
    Operation, Parts as Members, Position, Principal, Props, Role, Seq, Target, Transform, UserId,
};
use avvy_protocol::{Channel, Join, OwnRights, RefusedEdit, Resume, ServerMessage, Update};
use uuid::Uuid;

use super::*;
use crate::group_commit::JournalChunk;
use crate::people::Voice;

const CHANNEL: Channel = Channel(7);
const ONE: SessionKey = SessionKey(1);
const TWO: SessionKey = SessionKey(2);

fn brane_id() -> BraneId {
    BraneId::new(Uuid::from_u128(1))
}

fn user(n: u128) -> UserId {
    UserId::new(Uuid::from_u128(0x1000 + n))
}

fn client(n: u128) -> ClientId {
    ClientId::new(Uuid::from_u128(0x2000 + n))
}

fn at(epoch: u64, seq: u64) -> Position {
    Position { epoch: Epoch(epoch), seq: Seq(seq) }
}

fn create(n: u128) -> Edit {
    Edit::One(Operation::Create {
        id: ObjectId::new(Uuid::from_u128(0x3000 + n)),
        parent: Target::Handle(Handle::ROOT),
        kind: Kind::Block,
        transform: Transform::IDENTITY,
        props: Props::default(),
    })
}

/// Moves the object to `x` tenths of a millimetre.
fn shift(handle: u32, x: i32) -> Edit {
    let mut to = Transform::IDENTITY;
    to.position = [x, 0, 0];
    let patch = MovePatch::new(Members::POSITION, to);
    Edit::One(Operation::Move { target: Target::Handle(Handle(handle)), patch })
}

/// An edit that is always refused.
fn delete_root() -> Edit {
    let target = Target::Handle(Handle::ROOT);
    Edit::One(Operation::Delete { target, mode: avvy_model::DeleteMode::Subtree })
}

/// What a driver would have done, until somebody looks.
#[derive(Default)]
struct Done {
    journal: Vec<JournalChunk>,
    windows: Vec<Window>,
    attached: Vec<Attach>,
    aims: Vec<(SessionKey, Option<View>)>,
    shown: Vec<Show>,
    detached: Vec<SessionKey>,
    refused: Vec<(SessionKey, Code)>,
    expelled: Vec<(SessionKey, Code)>,
    voices: Vec<(SessionKey, Voice)>,
    /// Of `brane.rights`.
    rights: Vec<(SessionKey, OwnRights)>,
    told: Vec<(SessionKey, ServerMessage)>,
    durable: Vec<(Position, Vec<SessionKey>)>,
    snapshots: Vec<SnapshotJob>,
    wakes: Vec<u64>,
}

struct Bench {
    core: BraneCore,
    now: Now,
    done: Done,
    effects: Vec<BraneEffect>,
    /// Range of the last chunk, for the check that publishing follows it.
    journaled: Seq,
    /// Whether the fan-out is done at once.
    eager: bool,
}

impl Bench {
    fn new() -> Self {
        Self::with(BraneConfig::default())
    }

    fn with(config: BraneConfig) -> Self {
        let recovered = Recovered {
            world: World::new(brane_id(), user(0)),
            clients: Clients::new(&config.limits),
            lineage: Lineage::new(vec![(Epoch(1), Seq(0))]).expect("rising"),
            head: Seq(0),
            floor: Seq(0),
            snapshot: Seq(0),
        };
        Self::open(recovered, config)
    }

    fn open(recovered: Recovered, config: BraneConfig) -> Self {
        let journaled = recovered.head;
        let now = Now { us: 1_000_000_000, unix_ms: 1_700_000_000_000 };
        Self {
            core: BraneCore::open(brane_id(), CHANNEL, recovered, config, now),
            now,
            done: Done::default(),
            effects: Vec::new(),
            journaled,
            eager: true,
        }
    }

    /// A brane in which two builders have joined.
    fn joined() -> Self {
        Self::joined_with(BraneConfig::default())
    }

    fn joined_with(config: BraneConfig) -> Self {
        let mut bench = Self::with(config);
        bench.join(ONE, None);
        bench.join(TWO, None);
        bench.done = Done::default();
        bench
    }

    fn input(&mut self, input: BraneInput) -> &mut Self {
        self.core.handle(self.now, input, &mut self.effects);
        let mut published = None;
        for effect in std::mem::take(&mut self.effects) {
            published = self.perform(effect).or(published);
        }
        if let Some(published) = published.filter(|_| self.eager) {
            self.ready(published);
        }
        self
    }

    fn perform(&mut self, effect: BraneEffect) -> Option<Seq> {
        match effect {
            BraneEffect::Journal(chunk) => {
                assert_eq!(chunk.from, self.journaled, "chunks join");
                self.journaled = chunk.to;
                self.done.journal.push(chunk);
            }
            BraneEffect::Publish(window) => {
                assert!(window.flush.to <= self.journaled, "journal before publish");
                let to = window.flush.to;
                self.done.windows.push(window);
                return Some(to);
            }
            BraneEffect::Attach(attach) => self.done.attached.push(*attach),
            BraneEffect::Aim { session, goal } => self.done.aims.push((session, goal)),
            BraneEffect::Show(show) => self.done.shown.push(*show),
            BraneEffect::Detach { session } => self.done.detached.push(session),
            BraneEffect::Refuse { session, code } => self.done.refused.push((session, code)),
            BraneEffect::Expel { session, code } => self.done.expelled.push((session, code)),
            BraneEffect::Voice { session, voice } => self.done.voices.push((session, voice)),
            BraneEffect::Tell { session, message: ServerMessage::Rights(own) } => {
                self.done.rights.push((session, *own));
            }
            BraneEffect::Tell { session, message } => self.done.told.push((session, message)),
            BraneEffect::Durable { at, waiting } => self.done.durable.push((at, waiting)),
            BraneEffect::Snapshot(job) => self.done.snapshots.push(*job),
            BraneEffect::WakeAt(at_us) => self.done.wakes.push(at_us),
        }
        None
    }

    fn ready(&mut self, published: Seq) -> &mut Self {
        self.input(BraneInput::FanOutReady { published, floor: Seq(0), paced: false })
    }

    fn pass_us(&mut self, us: u64) -> &mut Self {
        self.now.us += us;
        self.now.unix_ms += us / 1_000;
        self
    }

    fn tick(&mut self) -> &mut Self {
        self.input(BraneInput::Tick)
    }

    fn join(&mut self, session: SessionKey, resume: Option<Resume>) -> &mut Self {
        let principal =
            Principal { user: user(session.0.into()), ceiling: Role::Builder, invited: true };
        self.join_as(session, principal, resume)
    }

    fn join_as(
        &mut self,
        session: SessionKey,
        principal: Principal,
        resume: Option<Resume>,
    ) -> &mut Self {
        let client = client(session.0.into());
        let join = Join { brane: brane_id(), client, known: false, resume, area: None };
        self.input(BraneInput::Join { session, principal, join })
    }

    fn resume(&mut self, session: SessionKey, version: Position) -> &mut Self {
        self.join(session, Some(Resume { version, touched: Some(vec![Handle(9)]), scope: None }))
    }

    fn update<const N: usize>(
        &mut self,
        session: SessionKey,
        edits: [(u64, Edit); N],
    ) -> &mut Self {
        let numbered = |(counter, edit)| NumberedEdit { counter: Counter(counter), edit };
        let edits = edits.into_iter().map(numbered).collect();
        let update = Update { channel: CHANNEL, trace: None, edits };
        self.input(BraneInput::Update { session, update })
    }

    fn durable(&mut self, seq: u64) -> &mut Self {
        self.input(BraneInput::Durable { epoch: Epoch(1), seq: Seq(seq) })
    }

    fn take(&mut self) -> Done {
        std::mem::take(&mut self.done)
    }

    /// The ranges of the windows published since the last look.
    fn ranges(&mut self) -> Vec<(u64, u64)> {
        let windows = self.take().windows;
        windows.iter().map(|window| (window.flush.from.0, window.flush.to.0)).collect()
    }
}

/// The refusals told, as numbers.
fn refusals(done: &Done) -> Vec<(u64, Code)> {
    let edits = |message: &ServerMessage| match message {
        ServerMessage::Refused { edits, .. } => edits.clone(),
        _ => Vec::new(),
    };
    let refused = done.told.iter().flat_map(|(_, message)| edits(message));
    refused.map(|RefusedEdit { counter, code, .. }| (counter.0, code)).collect()
}

fn acks(window: &Window) -> Vec<(u64, Vec<(u64, u64)>)> {
    let edits = |edits: &[(Counter, Seq)]| edits.iter().map(|(c, s)| (c.0, s.0)).collect();
    window.acks.iter().map(|(session, acked)| (session.0, edits(acked))).collect()
}

fn applied(counter: u64, seq: u64) -> ServerMessage {
    ServerMessage::Applied { channel: CHANNEL, edits: vec![(Counter(counter), Seq(seq))] }
}
