//! A simulated user: a [`ClientMachine`] on a connection, and a person who
//! edits. Everything that the machine says is held against the reference.

mod areas;
mod catalogue;
mod edits;
mod judge;
mod people;
mod placing;
mod rulings;
mod viewer;

use std::collections::{BTreeMap, BTreeSet};

use avvy_client::backoff::Backoff;
use avvy_client::machine::{ClientMachine, CopyKind, Input, MachineOptions, Output, Ticket};
use avvy_model::{Area, BraneId, Code, Counter, Edit, EditId, UserId};
use avvy_protocol::codec::{decode_server, encode_client};
use avvy_protocol::{ClientMessage, ServerMessage};

use crate::env::{Env, Event};
use crate::net::{ConnId, Down, Net};
use crate::reference::Reference;
use crate::rng::Rng;
use viewer::{Has, Viewer, Wishes};

/// Where a person stands to the world.
pub(crate) struct Person {
    pub(crate) index: usize,
    pub(crate) user: UserId,
    pub(crate) machine: ClientMachine,
    pub(crate) conn: Option<ConnId>,
    pub(crate) branes: Vec<BraneId>,
    pub(crate) wants: BTreeSet<BraneId>,
    /// Does not read.
    pub(crate) paused: bool,
    /// Reads a message, then nothing for so long, in microseconds; 0: all that
    /// has come.
    pub(crate) trickle_us: u64,
    /// Stays away until this time.
    pub(crate) absent_until_us: u64,
    backoff: Backoff,
    wake_us: Option<u64>,
    /// Submitted edits without a last word, with their numbers.
    open: BTreeMap<Ticket, Submitted>,
    viewers: BTreeMap<BraneId, Viewer>,
    /// What was said at the last join to be there.
    resumes: BTreeMap<BraneId, Option<Has>>,
    /// Whether this is somebody who sees parts of branes.
    roams: bool,
    /// What is to be seen of each brane; nothing: all of it.
    areas: BTreeMap<BraneId, Area>,
    wishes: BTreeMap<BraneId, Wishes>,
    pub(crate) among: BTreeMap<BraneId, people::Among>,
    /// Is being told of a ban: what was sent and has no answer has none.
    shut_out: bool,
}

/// An edit on its way.
struct Submitted {
    submitted_us: u64,
    id: Option<EditId>,
    /// The last news said that it is in the log.
    applied: bool,
}

/// What a person does to the outside.
pub(crate) struct Outside<'a> {
    pub(crate) env: &'a mut Env,
    pub(crate) net: &'a mut Net,
    pub(crate) references: &'a mut BTreeMap<BraneId, Reference>,
}

impl Person {
    pub(crate) fn new(env: &mut Env, index: usize, user: UserId, branes: Vec<BraneId>) -> Self {
        let mut ids = Rng::new(env.rng.next());
        let copy = match env.rng.below(6) {
            0 => CopyKind::Position,
            1 => CopyKind::Whole { max_touched: 3 },
            _ => CopyKind::Whole { max_touched: 65_536 },
        };
        let options = MachineOptions {
            agent: Some("sim".to_owned()),
            copy,
            outcomes_remembered: env.setup.brane.limits.outcomes_per_client as u64,
            answer_timeout_ms: 20_000,
            join_retry_ms: 300,
            ..MachineOptions::default()
        };
        let draw = Box::new(move || ids.client_id());
        let mut machine = ClientMachine::new(options, "token".to_owned(), draw);
        for brane in branes.iter().filter(|_| env.rng.below(4) > 0) {
            machine.follow(*brane, &mut Vec::new());
        }
        Self {
            index,
            user,
            machine,
            conn: None,
            wants: branes.iter().copied().collect(),
            branes,
            paused: false,
            trickle_us: 0,
            absent_until_us: 0,
            backoff: Backoff::new(50, 2_000),
            wake_us: None,
            open: BTreeMap::new(),
            viewers: BTreeMap::new(),
            resumes: BTreeMap::new(),
            roams: env.setup.weights.roam > 0 && env.rng.below(3) > 0,
            areas: BTreeMap::new(),
            wishes: BTreeMap::new(),
            among: BTreeMap::new(),
            shut_out: false,
        }
    }

    /// Edits that wait for their last word.
    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }

    /// Whether a joined brane's copy is not what the server has yet.
    pub(crate) fn is_catching_up(&self) -> bool {
        let machine = &self.machine;
        self.branes.iter().any(|b| machine.channel(*b).is_some() && !machine.is_live(*b))
    }

    /// Whether a brane is to be joined and is not yet.
    pub(crate) fn waits_to_be_let_in(&self) -> bool {
        self.conn.is_some() && self.wants.iter().any(|b| self.machine.channel(*b).is_none())
    }

    /// What waits, and since when.
    pub(crate) fn unrest(&self) -> String {
        let open: Vec<_> = self
            .open
            .iter()
            .map(|(ticket, s)| (ticket.0, s.id.map(|id| id.counter.0), s.submitted_us, s.applied))
            .collect();
        let stands = self.branes.iter().map(|brane| {
            let machine = &self.machine;
            (machine.is_live(*brane), machine.channel(*brane), machine.position(*brane))
        });
        let stands: Vec<_> = stands.collect();
        let (index, conn) = (self.index, self.conn);
        let sees: Vec<_> = self.viewers.values().map(Viewer::scope).collect();
        let areas = &self.areas;
        format!("client {index}, {conn:?}: open {open:?}, live {stands:?}, {sees:?} of {areas:?}")
    }

    /// The connection is made, or not.
    pub(crate) fn connected(&mut self, outside: &mut Outside<'_>, conn: Option<ConnId>) {
        match conn {
            Some(conn) => {
                self.conn = Some(conn);
                self.viewers.clear();
                self.wishes.clear();
                if outside.env.rng.below(3) == 0 {
                    // It has walked meanwhile, or knows what it wants from the start.
                    self.roam(outside);
                }
                for brane in self.wants.clone() {
                    self.act(outside, |machine, now_ms, out| machine.join(now_ms, brane, out));
                }
                self.feed(outside, Input::Connected { is_secure: false });
            }
            None => self.come_back(outside, None),
        }
    }

    /// Reads what has come.
    pub(crate) fn read(&mut self, outside: &mut Outside<'_>, conn: ConnId) {
        while self.conn == Some(conn) && !self.paused {
            match outside.net.take_down(outside.env, conn) {
                None => return,
                Some(Down::Close(code)) => {
                    outside.env.trace(|| format!("client {} is closed: {code:?}", self.index));
                    self.disconnected(outside, Some(code.number()));
                }
                Some(Down::Frame(frame)) => match decode_server(frame.payload()) {
                    Ok(message) => self.receive(outside, message),
                    Err(error) => {
                        outside.env.fail(|| format!("a server's message cannot be read: {error}"));
                    }
                },
            }
            if self.trickle_us > 0 {
                self.paused = true;
                outside.env.after(self.trickle_us, Event::Resume(self.index));
            }
        }
    }

    /// The connection is gone.
    pub(crate) fn disconnected(&mut self, outside: &mut Outside<'_>, code: Option<u16>) {
        let Some(conn) = self.conn.take() else { return };
        outside.net.client_lets_go(outside.env, conn);
        self.among.clear();
        self.feed(outside, Input::Disconnected);
        self.come_back(outside, code);
    }

    pub(crate) fn wake(&mut self, outside: &mut Outside<'_>) {
        self.wake_us = None;
        self.feed(outside, Input::Tick);
    }

    /// Lets the machine do something.
    pub(crate) fn act<T>(
        &mut self,
        outside: &mut Outside<'_>,
        act: impl FnOnce(&mut ClientMachine, u64, &mut Vec<Output>) -> T,
    ) -> T {
        let mut out = Vec::new();
        let now_ms = self.now_ms(outside.env);
        let answer = act(&mut self.machine, now_ms, &mut out);
        self.perform(outside, out);
        answer
    }

    pub(crate) fn submit(&mut self, outside: &mut Outside<'_>, brane: BraneId, edit: Edit) {
        let submitted_us = outside.env.now_us;
        let mut out = Vec::new();
        let now_ms = self.now_ms(outside.env);
        if let Ok(ticket) = self.machine.submit(now_ms, brane, edit, &mut out) {
            let submitted = Submitted { submitted_us, id: None, applied: false };
            self.open.insert(ticket, submitted);
            outside.env.count("edit submitted");
        }
        self.perform(outside, out);
    }

    fn feed(&mut self, outside: &mut Outside<'_>, input: Input) {
        let mut out = Vec::new();
        self.machine.handle(self.now_ms(outside.env), input, &mut out);
        self.perform(outside, out);
    }

    fn receive(&mut self, outside: &mut Outside<'_>, message: ServerMessage) {
        self.look_at(outside, &message);
        self.shut_out = is_ban(&message);
        self.feed(outside, Input::Message(message));
        self.shut_out = false;
    }

    fn perform(&mut self, outside: &mut Outside<'_>, outputs: Vec<Output>) {
        self.learn_numbers(outside);
        for output in outputs {
            match output {
                Output::Send(message) => self.send(outside, &message),
                Output::Notify(notify) => self.judge(outside, notify),
                Output::Close(reason) => {
                    outside.env.trace(|| format!("client {} gives up: {reason:?}", self.index));
                    outside.env.count("client gives its connection up");
                    self.disconnected(outside, None);
                }
                Output::Go { .. } | Output::Part { .. } => {
                    outside.env.fail(|| "there is no other node to go to".to_owned());
                }
            }
        }
        let Some(wakes_ms) = self.machine.wakes_at() else { return };
        let at_us = wakes_ms.saturating_sub(self.skew_ms()) * 1_000;
        if self.wake_us.is_none_or(|planned_us| at_us < planned_us) {
            self.wake_us = Some(at_us);
            outside.env.at(at_us, Event::Wake(self.index));
        }
    }

    fn send(&mut self, outside: &mut Outside<'_>, message: &ClientMessage) {
        match message {
            ClientMessage::Join(join) => {
                let has = join.resume.as_ref().map(|resume| (resume.version, resume.scope));
                self.resumes.insert(join.brane, has);
                self.wishes.entry(join.brane).or_default().add(join.area);
                if outside.env.rng.below(20) == 0 {
                    self.cut_soon(outside);
                }
            }
            ClientMessage::View { channel, area } => self.wish(*channel, *area),
            ClientMessage::Update(update) => {
                for edit in &update.edits {
                    outside.env.trace(|| format!("client {} sends {}", self.index, edit.counter));
                }
            }
            _ => {}
        }
        if let Some(conn) = self.conn {
            outside.net.up(outside.env, conn, encode_client(message));
        }
    }

    /// Loses the connection in the middle of what has just begun.
    fn cut_soon(&self, outside: &mut Outside<'_>) {
        if let Some(conn) = self.conn.filter(|_| outside.env.setup.weights.cut > 0) {
            let after_us = outside.env.rng.below(10 * outside.env.setup.delay_us);
            outside.env.after(after_us, Event::Cut(conn));
        }
    }

    /// Which numbers the machine has given to which edits.
    fn learn_numbers(&mut self, outside: &mut Outside<'_>) {
        let env = &mut *outside.env;
        for brane in self.branes.clone() {
            let Some(client) = self.machine.client(brane) else { continue };
            let Some(reference) = outside.references.get_mut(&brane) else { continue };
            let mut before = Counter(0);
            for kept in self.machine.edits(brane) {
                let (Some(counter), Some(submitted)) =
                    (kept.counter, self.open.get_mut(&kept.ticket))
                else {
                    continue;
                };
                env.check(counter > before, || format!("number {counter} after {before}"));
                before = counter;
                let id = EditId { client, counter };
                if submitted.id.is_none() {
                    submitted.id = Some(id);
                    reference.intend(env, id, kept.edit.clone());
                }
                env.check(submitted.id == Some(id), || format!("{id:?} had another number"));
            }
        }
    }

    fn come_back(&mut self, outside: &mut Outside<'_>, code: Option<u16>) {
        let random = outside.env.rng.below(1_000) as f64 / 1_000.0;
        let Some(pause_ms) = self.backoff.pause_ms(code, random) else {
            outside.env.fail(|| format!("client {} was told not to come back", self.index));
            return;
        };
        let at_us = (outside.env.now_us + pause_ms * 1_000).max(self.absent_until_us);
        outside.env.at(at_us, Event::Connect(self.index));
    }

    /// Every client's clock begins elsewhere.
    fn skew_ms(&self) -> u64 {
        1_000_000 * (1 + self.index as u64)
    }

    fn now_ms(&self, env: &Env) -> u64 {
        env.now_us / 1_000 + self.skew_ms()
    }
}

fn is_ban(message: &ServerMessage) -> bool {
    match message {
        ServerMessage::Left { code, .. } => *code == Some(Code::Banned),
        ServerMessage::Error(error) => error.code == Code::Banned,
        _ => false,
    }
}
