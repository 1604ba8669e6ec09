//! One run: people, a network, a process and its disk, and a driver that lets
//! things happen to them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use avvy_model::{BraneId, Role, Seq, UserId, Visibility};
use avvy_persistence::memory::{Fault, MemoryDisk, Operation};
use avvy_persistence::{BraneKind, BraneRecord, Place, Store, StoreError};

use crate::client::{Outside, Person};
use crate::env::{Env, Event, Story};
use crate::net::Net;
use crate::reference::Reference;
use crate::rng::Rng;
use crate::server::{Ctx, Process};
use crate::setup::Setup;

/// Events of one moment, beyond which it has no end.
const MOMENT_EVENTS: u64 = 100_000;

/// The world of a run.
pub(crate) struct Sim {
    pub(crate) env: Env,
    pub(crate) net: Net,
    pub(crate) references: BTreeMap<BraneId, Reference>,
    pub(crate) people: Vec<Person>,
    pub(crate) process: Option<Process>,
    pub(crate) fates: Arc<Mutex<Fates>>,
    pub(crate) users: BTreeMap<UserId, Role>,
    pub(crate) owners: BTreeMap<BraneId, UserId>,
    pub(crate) disk: MemoryDisk,
    processes: u64,
}

/// What happens to store operations.
pub(crate) struct Fates {
    rng: Rng,
    fail_ppm: u64,
    cut_ppm: u64,
    counts: Vec<&'static str>,
    /// What the store says of a fault, if it is not a failing device.
    answer: Option<StoreError>,
}

impl Sim {
    /// Draws a run.
    pub(crate) fn new(seed: u64, story: Story) -> Self {
        let mut rng = Rng::new(seed);
        let setup = Setup::draw(&mut rng);
        let mut env = Env::new(rng, setup, story);
        let owner = env.rng.user_id();
        let mut users = BTreeMap::from([(owner, Role::Owner)]);
        // One has a token for all, and a role like others.
        for role in [Role::Builder, Role::Owner, Role::Visitor] {
            users.insert(env.rng.user_id(), role);
        }
        let branes: Vec<BraneId> = (0..env.setup.branes).map(|_| env.rng.brane_id()).collect();
        let owners = branes.iter().map(|brane| (*brane, owner)).collect();
        let references =
            branes.iter().map(|brane| (*brane, Reference::new(*brane, owner, users.clone())));
        let references = references.collect();
        let disk = MemoryDisk::new();
        create(&disk, &branes, owner);
        let fates = Arc::new(Mutex::new(Fates {
            rng: Rng::new(env.rng.next()),
            fail_ppm: env.setup.store_fail_ppm,
            cut_ppm: env.setup.store_cut_ppm,
            counts: Vec::new(),
            answer: None,
        }));
        let plan = Arc::clone(&fates);
        disk.plan(move |operation, _nth| {
            plan.lock().unwrap_or_else(PoisonError::into_inner).draw(operation)
        });
        let mut sim = Self {
            env,
            net: Net::default(),
            references,
            people: Vec::new(),
            process: None,
            fates,
            users,
            owners,
            disk,
            processes: 0,
        };
        sim.boot();
        for index in 0..sim.env.setup.clients as usize {
            let person = sim.draw_person(index);
            sim.people.push(person);
            let at_us = sim.env.rng.below(50_000);
            sim.env.after(at_us, Event::Connect(index));
        }
        sim
    }

    /// Somebody new.
    pub(crate) fn draw_person(&mut self, index: usize) -> Person {
        let weight = |role: Role| match role {
            Role::Owner => 3,
            Role::Editor | Role::Builder => 4,
            Role::Visitor => 1,
        };
        let users = self.users.iter().flat_map(|(user, role)| vec![*user; weight(*role)]);
        let users: Vec<UserId> = users.collect();
        let user = self.env.rng.pick(&users).copied();
        let user = user.unwrap_or_else(|| UserId::from_bytes([0; 16]));
        let mut branes: Vec<BraneId> = self.references.keys().copied().collect();
        if branes.len() > 1 && self.env.rng.below(2) == 0 {
            let gone = self.env.rng.below(branes.len() as u64) as usize;
            branes.remove(gone);
        }
        Person::new(&mut self.env, index, user, branes)
    }

    /// Lets everything happen up to this time.
    pub(crate) fn run_until(&mut self, until_us: u64) {
        let (mut moment_us, mut events) = (self.env.now_us, 0);
        while let Some(event) = self.env.next(until_us) {
            events = if self.env.now_us == moment_us { events + 1 } else { 0 };
            moment_us = self.env.now_us;
            self.env.check(events < MOMENT_EVENTS, || "time stands still".to_owned());
            self.on_event(event);
            if self.env.failure().is_some() {
                return;
            }
        }
    }

    /// The process is gone, with everything that is not on the disk.
    pub(crate) fn crash(&mut self) {
        if self.process.take().is_none() {
            return;
        }
        self.env.trace(|| "the process is gone".to_owned());
        self.disk.cut_power();
        let conns: Vec<_> = self.net.conns.keys().copied().collect();
        for conn in conns {
            // Some clients see a reset at once, others wait for an answer.
            let notice_us = if self.env.rng.below(4) == 0 { 30_000_000 } else { 50_000 };
            self.net.cut(&mut self.env, conn, notice_us);
            self.net.server_lets_go(conn);
        }
        let pause_us = self.env.rng.range(10_000, 2_000_000);
        self.env.after(pause_us, Event::Boot);
    }

    pub(crate) fn outside(&mut self) -> (Outside<'_>, &mut Vec<Person>) {
        let Self { env, net, references, people, .. } = self;
        (Outside { env, net, references }, people)
    }

    pub(crate) fn with_process<T>(
        &mut self,
        act: impl FnOnce(&mut Process, &mut Ctx<'_>) -> T,
    ) -> Option<T> {
        let Self { env, net, references, process, .. } = self;
        let process = process.as_mut()?;
        Some(act(process, &mut Ctx { env, net, references }))
    }

    /// No store operation goes wrong from now on.
    pub(crate) fn heal(&mut self) {
        let fates = &mut *self.fates.lock().unwrap_or_else(PoisonError::into_inner);
        (fates.fail_ppm, fates.cut_ppm) = (0, 0);
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Boot => self.boot(),
            Event::Connect(index) => self.connect(index),
            Event::ToClient(conn) => {
                let index = self.net.conns.get(&conn).map(|conn| conn.client);
                self.with_person(index, |person, outside| person.read(outside, conn));
            }
            Event::ClientNotices(conn) => {
                let index = self.net.conns.get(&conn).map(|conn| conn.client);
                self.with_person(index, |person, outside| {
                    if person.conn == Some(conn) {
                        person.disconnected(outside, None);
                    }
                });
            }
            Event::Wake(index) => {
                self.with_person(Some(index), |person, outside| person.wake(outside));
            }
            Event::Resume(index) => {
                self.with_person(Some(index), |person, outside| {
                    person.paused = false;
                    if let Some(conn) = person.conn {
                        person.read(outside, conn);
                    }
                });
            }
            Event::Cut(conn) => {
                if self.net.conns.contains_key(&conn) {
                    self.env.count("connection cut while catching up");
                    let notice_us = *self.env.rng.pick(&[1_000, 100_000]).unwrap_or(&1_000);
                    self.net.cut(&mut self.env, conn, notice_us);
                }
            }
            Event::ServerNotices(conn) if self.process.is_none() => {
                self.net.server_lets_go(conn);
            }
            event => {
                self.with_process(|process, ctx| process.on_event(ctx, event));
            }
        }
        self.after_event();
    }

    /// What has to happen after anything has.
    fn after_event(&mut self) {
        let kinds =
            std::mem::take(&mut self.fates.lock().unwrap_or_else(PoisonError::into_inner).counts);
        for kind in kinds {
            self.env.trace(|| format!("fault: {kind}"));
            self.env.count(kind);
        }
        if self.process.as_ref().is_some_and(Process::is_dead) {
            self.env.count("power cut at a store operation");
            self.crash();
        }
        // Clients' reading makes room in sockets.
        let drained = self.net.pump(&mut self.env);
        self.with_process(|process, ctx| {
            for session in drained {
                process.on_drained(ctx, session);
            }
        });
    }

    fn with_person(
        &mut self,
        index: Option<usize>,
        act: impl FnOnce(&mut Person, &mut Outside<'_>),
    ) {
        let (mut outside, people) = self.outside();
        if let Some(person) = index.and_then(|index| people.get_mut(index)) {
            act(person, &mut outside);
        }
    }

    fn boot(&mut self) {
        if self.process.is_some() {
            return;
        }
        if self.env.setup.spoils {
            self.spoil();
        }
        self.processes += 1;
        self.env.count("start of the process");
        let store = self.disk.mount();
        let (owners, users) = (self.owners.clone(), self.users.clone());
        let fates = Arc::clone(&self.fates);
        let process = Process::new(&self.env, self.processes, store, fates, owners, users);
        self.process = Some(process);
    }

    /// Spoils the newest snapshots of branes that have another, as a failing
    /// device may.
    fn spoil(&mut self) {
        for brane in self.owners.keys() {
            let Ok(report) = self.disk.report(*brane) else { continue };
            let can_do_without = report.snapshots.len() > 1 && report.damage_count == 0;
            if !can_do_without || self.env.rng.below(2) == 0 {
                continue;
            }
            let (snapshot, parts) = (report.snapshots[0].id, report.snapshots[0].parts);
            let index = self.env.rng.below(u64::from(parts)) as u32;
            if self.disk.damage(&Place::Part { brane: *brane, snapshot, index }) {
                self.env.count("snapshot spoiled");
            }
        }
    }

    fn connect(&mut self, index: usize) {
        let Some(person) = self.people.get(index) else { return };
        let early = self.env.now_us < person.absent_until_us;
        if person.conn.is_some() {
            return;
        }
        if early {
            let at_us = person.absent_until_us;
            return self.env.at(at_us, Event::Connect(index));
        }
        let user = person.user;
        let conn = self.process.is_some().then(|| self.net.connect(&self.env, index));
        if let Some(conn) = conn {
            self.with_process(|process, ctx| process.accept(ctx, conn, user));
        }
        self.with_person(Some(index), |person, outside| person.connected(outside, conn));
    }

    /// The store of the running process, for a look at the end.
    pub(crate) fn head_on_disk(&self, brane: BraneId) -> Option<Seq> {
        let process = self.process.as_ref()?;
        crate::now(process.store().verify_brane(brane)).ok().map(|report| report.head)
    }
}

impl Fates {
    /// What the store says where the memory store says that its device failed.
    pub(crate) fn take_answer(&mut self) -> Option<StoreError> {
        self.answer.take()
    }

    fn draw(&mut self, operation: Operation) -> Fault {
        self.answer = None;
        if self.rng.ppm(self.cut_ppm) {
            let chunks = self.rng.below(4) as usize;
            return match self.rng.below(3) {
                0 => Fault::CutBefore,
                1 => Fault::CutAfter,
                _ => Fault::CutWithin { chunks },
            };
        }
        if !self.rng.ppm(self.fail_ppm) {
            return Fault::None;
        }
        let chunks = self.rng.below(4) as usize;
        let (fault, is_append) = (self.rng.below(3), operation == Operation::Append);
        let (fault, kind) = match (fault, is_append) {
            (0, true) => (Fault::FailBefore, "store error before an append"),
            (1, true) => (Fault::FailAfter, "store error after an append"),
            (_, true) => (Fault::FailWithin { chunks }, "store error within an append"),
            (0, false) => (Fault::FailBefore, "store error before another operation"),
            (_, false) => (Fault::FailAfter, "store error after another operation"),
        };
        self.counts.push(kind);
        if fault == Fault::FailBefore {
            self.draw_answer();
        }
        fault
    }

    /// Why nothing was done.
    fn draw_answer(&mut self) {
        let (kind, answer) = match self.rng.below(3) {
            0 => return,
            1 => ("store overloaded", StoreError::Overloaded),
            _ => ("store full", StoreError::Full("a planned fault".to_owned())),
        };
        self.counts.push(kind);
        self.answer = Some(answer);
    }
}

fn create(disk: &MemoryDisk, branes: &[BraneId], owner: UserId) {
    let store = disk.mount();
    for brane in branes {
        let record = BraneRecord {
            name: "brane".to_owned(),
            kind: BraneKind::Public,
            visibility: Visibility::Public,
            ..BraneRecord::new(*brane, owner, 0)
        };
        // An empty memory store without faults takes any record.
        let _ = crate::now(store.create_brane(record));
    }
}
