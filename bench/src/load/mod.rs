//! The load: thousands of WebSocket sessions in one thread, on raw sockets.
//!
//! It has to take ten million deliveries a second on one core and still tell
//! the delay of each, so it does as little as can be: one buffer for all
//! sockets, and each window taken apart once ([`windows`]).

mod moved;
pub mod poller;
pub mod reads;
mod schedule;
mod session;
pub mod stamp;
mod storm;
mod tally;
pub mod visitor;
mod walk;
pub mod websocket;
pub mod windows;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use avvy_model::{
    BraneId, ClientId, Counter, Edit, Handle, Kind, NumberedEdit, ObjectId, Operation, Props,
    Target, Transform,
};
use avvy_protocol::codec::encode_client;
use avvy_protocol::{ClientMessage, Update};

use crate::draw::Draw;
use poller::Poller;
use schedule::Schedule;
use session::{Phase, Session, Shared};
use stamp::Stamp;
pub use tally::Tally;
use walk::Stride;
pub use walk::Walk;

/// Sessions that may be on their way in at once.
const COMING: usize = 200;
/// How long everybody may take to come in, per thousand sessions.
const COME_IN: Duration = Duration::from_secs(20);
/// How long edits may take to become durable and known to all at the end.
const SETTLE: Duration = Duration::from_secs(20);
/// A session that says nothing for this long pings, in microseconds.
const PING_EVERY_US: u64 = 8_000_000;
/// Sessions read between two looks at who has to send.
const READS_BETWEEN_SENDS: usize = 16;

/// What the load sends.
#[derive(Clone, Debug)]
pub struct Work {
    /// How many of the sessions send, from the first on.
    pub senders: usize,
    /// Edits a second, of all together.
    pub edits_per_s: f64,
}

/// Many sessions in one brane.
pub struct Crowd {
    poller: Poller,
    sessions: Vec<Session>,
    shared: Shared,
    clock: Instant,
    draw: Draw,
    ready: Vec<usize>,
    next_ping_us: u64,
    ping_from: usize,
    walk: Option<Walk>,
}

impl Crowd {
    /// Nobody yet.
    ///
    /// # Errors
    /// When the system has no more files.
    pub fn new(brane: BraneId, draw: Draw) -> Result<Self> {
        Ok(Self {
            poller: Poller::new()?,
            sessions: Vec::new(),
            shared: Shared::new(brane),
            clock: Instant::now(),
            draw,
            ready: Vec::new(),
            next_ping_us: 0,
            ping_from: 0,
            walk: None,
        })
    }

    /// The sessions see only what is near them, and walk.
    pub fn walk(&mut self, walk: Walk) {
        self.walk = Some(walk);
    }

    /// The last session reads nothing from here on.
    ///
    /// # Errors
    /// As the system says.
    pub fn stall_last(&mut self) -> Result<()> {
        if let Some(last) = self.sessions.last() {
            self.poller.remove(&last.stream)?;
            // What the kernel takes for it would hide for a while that it does not read.
            rustix::net::sockopt::set_socket_recv_buffer_size(&last.stream, 4_096)?;
        }
        Ok(())
    }

    /// The last session goes away without a word.
    pub fn drop_last(&mut self) {
        self.sessions.pop();
    }

    /// Lets one session in for each token and waits until all of them are live.
    ///
    /// # Errors
    /// When the server does not let one in, or it takes too long.
    pub fn join(&mut self, server: SocketAddr, tokens: &[String]) -> Result<()> {
        let deadline = Instant::now() + COME_IN * (1 + tokens.len() as u32 / 1_000);
        let first = self.sessions.len();
        let count = tokens.len();
        let mut tokens = tokens.iter();
        loop {
            let coming = self.sessions[first..].iter().filter(|s| s.phase != Phase::Live).count();
            if coming == 0 && self.sessions.len() - first == count {
                return Ok(());
            }
            for token in tokens.by_ref().take(COMING.saturating_sub(coming)) {
                self.open(server, token)?;
            }
            ensure!(Instant::now() < deadline, "{coming} sessions do not come in");
            if self.shared.tally.told_later > 0 {
                self.join_again(self.sessions.len())?;
            }
            self.turn(Duration::from_millis(10), None)?;
        }
    }

    fn open(&mut self, server: SocketAddr, token: &str) -> Result<()> {
        let client = ClientId::new(self.draw.uuid());
        let object = ObjectId::new(self.draw.uuid());
        let number = self.sessions.len();
        let mut session = Session::open(server, token, client, object)
            .with_context(|| format!("session {number}"))?;
        session.walker = self.walk.as_ref().map(|walk| (number as u32, walk.area(number)));
        self.poller.add(&session.stream, self.sessions.len())?;
        self.sessions.push(session);
        Ok(())
    }

    /// Makes an object for each of the first `senders` sessions that has none.
    ///
    /// # Errors
    /// When the server does not make them in time.
    pub fn create_objects(&mut self, senders: usize) -> Result<()> {
        for number in 0..senders.min(self.sessions.len()) {
            if self.sessions[number].object.is_none() {
                self.create(number)?;
            }
        }
        let deadline = Instant::now() + SETTLE;
        loop {
            let created = &self.shared.windows.created;
            let mut missing = 0;
            for session in &mut self.sessions[..senders] {
                session.object =
                    session.object.or_else(|| created.get(&session.object_id).copied());
                missing += usize::from(session.object.is_none());
            }
            if missing == 0 {
                return self.settle();
            }
            ensure!(Instant::now() < deadline, "{missing} objects were not made");
            self.turn(Duration::from_millis(10), None)?;
        }
    }

    fn create(&mut self, number: usize) -> Result<()> {
        let now_us = self.now_us();
        let session = &mut self.sessions[number];
        let operation = Operation::Create {
            id: session.object_id,
            parent: Target::Handle(Handle::ROOT),
            kind: Kind::Block,
            transform: self.walk.as_ref().map_or(Transform::IDENTITY, |walk| walk.start(number)),
            props: Props::default(),
        };
        let counter = session.counter.next();
        let edits = vec![NumberedEdit { counter, edit: Edit::One(operation) }];
        let update = Update { channel: session.channel, trace: None, edits };
        self.shared.tally.all_sent += 1;
        session.send_edit(&encode_client(&ClientMessage::Update(update)), now_us)
    }

    /// Works for so long. Counts go on from where they were.
    ///
    /// # Errors
    /// When a session ends or is told nonsense.
    pub fn work(&mut self, work: &Work, time: Duration) -> Result<()> {
        let senders: Vec<_> = (0..work.senders).collect();
        let start_us = self.now_us();
        let end_us = start_us + time.as_micros() as u64;
        let mut schedule = Schedule::new(&mut self.draw, &senders, work.edits_per_s, start_us);
        while self.now_us() < end_us {
            self.send_due(&mut schedule, end_us)?;
            let wake_us = schedule.due_us().min(end_us);
            let timeout = Duration::from_micros(wake_us.saturating_sub(self.now_us()));
            self.turn(timeout, Some((&mut schedule, end_us)))?;
        }
        Ok(())
    }

    /// Only listens, for so long.
    ///
    /// # Errors
    /// When a session ends or is told nonsense.
    pub fn listen(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now())
            && !left.is_zero()
        {
            self.turn(left.min(Duration::from_millis(100)), None)?;
        }
        Ok(())
    }

    /// Waits until every edit is durable or refused and every session has
    /// everything. What is missing in the end is in [`Self::lost`].
    ///
    /// # Errors
    /// When a session ends or is told nonsense.
    pub fn settle(&mut self) -> Result<()> {
        let deadline = Instant::now() + SETTLE;
        while self.unsettled() > 0 && Instant::now() < deadline {
            self.turn(Duration::from_millis(5), None)?;
        }
        Ok(())
    }

    /// Deliveries and durable acknowledgements that are still to come.
    fn unsettled(&self) -> u64 {
        let head = self.sessions.iter().map(|session| session.at.seq.0).max().unwrap_or(0);
        let behind = |session: &Session| head - session.at.seq.0 + session.outstanding() as u64;
        self.sessions.iter().map(behind).sum()
    }

    /// Deliveries that did not come though they were due, moves of a sender
    /// that came out of order, and edits that are neither durable nor
    /// refused. Counts since the crowd is there; only means something when
    /// settled.
    pub fn lost(&self) -> u64 {
        let Tally { missed, own_sent, own_seen, .. } = &self.shared.tally;
        missed + own_sent.abs_diff(*own_seen) + self.shared.windows.out_of_order + self.unsettled()
    }

    /// Where they are.
    pub const fn brane(&self) -> BraneId {
        self.shared.brane
    }

    /// What was seen.
    pub const fn tally(&mut self) -> &mut Tally {
        &mut self.shared.tally
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    fn now_us(&self) -> u64 {
        self.clock.elapsed().as_micros() as u64
    }

    fn send_due(&mut self, schedule: &mut Schedule, end_us: u64) -> Result<()> {
        loop {
            let due_us = schedule.due_us();
            let now_us = self.now_us();
            if due_us > now_us || due_us >= end_us {
                return Ok(());
            }
            self.shared.tally.send_lag.record((now_us - due_us) as u32);
            self.send_move(schedule.take(), now_us)?;
        }
    }

    fn send_move(&mut self, sender: usize, now_us: u64) -> Result<()> {
        let session = &mut self.sessions[sender];
        if session.is_away() {
            self.shared.tally.held_back += 1;
            return Ok(());
        }
        let object = session.object.context("a sender without an object")?;
        // Counter 1 made the object.
        let counter = Counter(session.counter.0 + 1);
        let number = counter.0 as u32 - 1;
        let stamp = Stamp { sent_us: now_us as u32, sender: sender as u32, number };
        let update = match &mut self.walk {
            None => stamp.update(session.channel, object, counter),
            Some(walk) => {
                let Stride { position, look } = walk.stride(sender, now_us);
                self.shared.tally.own_sent += 1;
                if let Some(area) = look {
                    self.shared.tally.crossings += 1;
                    let (channel, area) = (session.channel, Some(area));
                    session.send(&encode_client(&ClientMessage::View { channel, area }))?;
                }
                stamp.walk(session.channel, object, counter, position)
            }
        };
        session.send_edit(&update, now_us)?;
        self.shared.tally.sent += 1;
        self.shared.tally.all_sent += 1;
        if session.has_unsent() {
            self.poller.wait_to_write(&session.stream, sender, true)?;
        }
        Ok(())
    }

    /// Waits for sockets and serves those that are ready; sends what is due
    /// in between.
    fn turn(&mut self, timeout: Duration, mut work: Option<(&mut Schedule, u64)>) -> Result<()> {
        let mut ready = std::mem::take(&mut self.ready);
        self.poller.wait(timeout, &mut ready)?;
        for some in ready.chunks(READS_BETWEEN_SENDS) {
            for &number in some {
                self.serve(number)?;
            }
            if let Some((schedule, end_us)) = &mut work {
                self.send_due(schedule, *end_us)?;
            }
        }
        self.ready = ready;
        self.follow_moved()?;
        self.ping_the_silent()
    }

    fn serve(&mut self, number: usize) -> Result<()> {
        let clock = self.clock;
        let session = &mut self.sessions[number];
        if session.has_unsent() {
            session.push()?;
            if !session.has_unsent() {
                self.poller.wait_to_write(&session.stream, number, false)?;
            }
        }
        let now = || clock.elapsed().as_micros() as u64;
        let outcome = session.read(now, &mut self.shared);
        outcome.with_context(|| format!("session {number}"))?;
        if matches!(session.phase, Phase::Moved { .. }) {
            // The server is about to cut it.
            self.poller.remove(&session.stream)?;
        }
        Ok(())
    }

    /// Looks at a twentieth of the sessions every 50 ms.
    fn ping_the_silent(&mut self) -> Result<()> {
        let now_us = self.now_us();
        if now_us < self.next_ping_us {
            return Ok(());
        }
        self.next_ping_us = now_us + 50_000;
        let message = encode_client(&ClientMessage::Ping { nonce: 0 });
        let count = self.sessions.len();
        for _ in 0..count.div_ceil(20) {
            self.ping_from = (self.ping_from + 1) % count.max(1);
            let session = &mut self.sessions[self.ping_from];
            let is_in = matches!(session.phase, Phase::Loading | Phase::Live);
            if is_in && now_us > session.spoke_us + PING_EVERY_US {
                session.spoke_us = now_us;
                session.send(&message)?;
            }
        }
        Ok(())
    }

    /// Ends without a word, as a process that is killed.
    pub fn leave(self) {}

    /// Fails unless every session is live.
    ///
    /// # Errors
    /// When one is not.
    pub fn check_live(&self) -> Result<()> {
        match self.sessions.iter().position(|session| session.phase != Phase::Live) {
            Some(number) => bail!("session {number} is not live"),
            None => Ok(()),
        }
    }
}
