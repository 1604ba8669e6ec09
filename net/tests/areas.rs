//! Areas over real sockets: what those are sent who see a part of a brane.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use avvy_client::machine::{ClientMachine, Input, MachineOptions, Notify, Output};
use avvy_client::replica::Replica;
use avvy_model::{
    Area, BraneId, ClientId, Edit, Grid, Handle, Kind, MovePatch, ObjectId, Operation, Parts,
    Position, PropKey, Props, Role, Rotation, Scope, Target, Transform, Value, ValueLimits,
    Visibility,
};
use avvy_protocol::codec::encode_server;
use avvy_protocol::{AreaFlush, CatchUp, ServerMessage};
use common::TestServer;
use common::ws::{Heard, Ws, version_4};
use uuid::Uuid;

/// Not a time: nothing here depends on one.
const NOW_MS: u64 = 1;

/// One who is in a brane, over a socket that a test can cut.
struct Seer {
    ws: Ws,
    machine: ClientMachine,
    brane: BraneId,
    /// What came, and was not looked at yet.
    notes: Vec<Notify>,
    /// Bytes of each window of an area that came.
    sizes: Vec<usize>,
}

impl Seer {
    async fn join(server: &TestServer, brane: BraneId, user: u128, area: Option<Area>) -> Self {
        let draw = Box::new(move || ClientId::new(version_4(user)));
        let token = server.token_for(user, Role::Owner, 1_000);
        let options = MachineOptions { look_interval_ms: 0, ..MachineOptions::default() };
        let machine = ClientMachine::new(options, token, draw);
        let ws = Ws::open(server).await;
        let mut seer = Self { ws, machine, brane, notes: Vec::new(), sizes: Vec::new() };
        let mut out = Vec::new();
        seer.machine.handle(NOW_MS, Input::Connected { is_secure: false }, &mut out);
        seer.machine.look(NOW_MS, brane, area, &mut out);
        seer.machine.join(NOW_MS, brane, &mut out);
        seer.say(out).await;
        seer.until(|seer| seer.machine.is_live(brane)).await;
        seer
    }

    async fn cut(&mut self) {
        self.ws.shut_down().await;
        let mut out = Vec::new();
        self.machine.handle(NOW_MS, Input::Disconnected, &mut out);
        self.notes.clear();
    }

    /// A new connection, which joins by itself.
    async fn come_back(&mut self, server: &TestServer) {
        self.ws = Ws::open(server).await;
        let mut out = Vec::new();
        self.machine.handle(NOW_MS, Input::Connected { is_secure: false }, &mut out);
        self.say(out).await;
        self.until(|seer| seer.machine.is_live(seer.brane)).await;
    }

    async fn look(&mut self, area: Option<Area>) {
        let mut out = Vec::new();
        self.machine.look(NOW_MS, self.brane, area, &mut out);
        self.say(out).await;
    }

    async fn say(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Send(message) => self.ws.say(&message).await,
                Output::Notify(Notify::Broken { error, .. }) => panic!("{error}"),
                Output::Notify(notify) => self.notes.push(notify),
                Output::Close(reason) => panic!("{reason:?}"),
                Output::Go { address, .. } | Output::Part { address, .. } => {
                    panic!("sent to {address}")
                }
            }
        }
    }

    async fn turn(&mut self) {
        let message = match self.ws.hear().await {
            Heard::Message(message) => message,
            Heard::Pong => return,
            other => panic!("{other:?}"),
        };
        if let ServerMessage::AreaFlush(flush) = &message {
            self.sizes.push(encode_server(&message, flush.ms).len());
        }
        let mut out = Vec::new();
        self.machine.handle(NOW_MS, Input::Message(message), &mut out);
        self.say(out).await;
    }

    async fn until(&mut self, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            self.turn().await;
        }
    }

    /// Edits, and waits until it is in the log.
    async fn edit(&mut self, operation: Operation) {
        let mut out = Vec::new();
        let edit = Edit::One(operation);
        let ticket = self.machine.submit(NOW_MS, self.brane, edit, &mut out).unwrap();
        self.say(out).await;
        let is_applied =
            |note: &Notify| matches!(note, Notify::Applied { ticket: of, .. } if *of == ticket);
        self.until(|seer| seer.notes.iter().any(is_applied)).await;
        // The window comes in the same write, and may come after it.
        let at = self.notes.iter().find_map(|note| match note {
            Notify::Applied { ticket: of, at, .. } if *of == ticket => Some(*at),
            _ => None,
        });
        self.until(|seer| seer.at().seq >= at.unwrap().seq).await;
    }

    /// Makes an object, under the root or in one; says which it is.
    async fn make(&mut self, kind: Kind, parent: Handle, x_m: f64, props: Props) -> Handle {
        let id = ObjectId::new(Uuid::new_v4());
        let (parent, transform) = (Target::Handle(parent), place(x_m));
        self.edit(Operation::Create { id, parent, kind, transform, props }).await;
        self.copy().find(id).unwrap()
    }

    async fn put(&mut self, handle: Handle, x_m: f64) {
        let patch = MovePatch::new(Parts::POSITION, place(x_m));
        self.edit(Operation::Move { target: Target::Handle(handle), patch }).await;
    }

    fn copy(&self) -> &Replica {
        self.machine.replica(self.brane).unwrap()
    }

    fn at(&self) -> Position {
        self.machine.position(self.brane).unwrap_or_default()
    }

    fn has(&self, handle: Handle) -> bool {
        self.copy().get(handle).is_some()
    }

    /// Waits until all of an area is seen.
    async fn sees(&mut self, area: Area) {
        let wanted = Some(scope(area));
        let scope = |seer: &Self| seer.machine.replica(seer.brane).and_then(Replica::scope);
        self.until(|seer| scope(seer) == wanted).await;
    }

    /// Waits until this and a whole copy stand at the same place, where this
    /// one has to be what its view shows of the other.
    async fn agrees(&mut self, whole: &mut Self) {
        while self.at() != whole.at() {
            if self.at().seq < whole.at().seq { self.turn().await } else { whole.turn().await }
        }
        let brane = self.brane;
        let ours = self.machine.replica_mut(brane).unwrap();
        let scope = ours.scope().unwrap();
        assert_eq!(ours.state_hash(), whole.copy().hash_within(&scope), "at {:?}", whole.at());
    }

    /// The windows since the last look that showed something.
    fn windows(&mut self) -> Vec<std::sync::Arc<AreaFlush>> {
        let windows = self.notes.drain(..).filter_map(|note| match note {
            Notify::AreaFlushed { flush, .. } => Some(flush),
            _ => None,
        });
        let says = |flush: &AreaFlush| {
            !flush.cells.is_empty() || !flush.left.is_empty() || !flush.entered.is_empty()
        };
        windows.filter(|flush| says(flush)).collect()
    }

    /// How the last join began.
    fn catch_up(&self) -> Option<CatchUp> {
        self.notes.iter().rev().find_map(|note| match note {
            Notify::Joined { catch_up, .. } => Some(*catch_up),
            _ => None,
        })
    }
}

fn place(x_m: f64) -> Transform {
    let x = (x_m * 10_000.0) as i32;
    Transform::new([x, 0, 0], Rotation::IDENTITY, [1.0; 3]).unwrap()
}

fn area(x_m: f64, radius_m: f64) -> Area {
    Area::from_metres([x_m, 0.0, 0.0], radius_m).unwrap()
}

fn scope(area: Area) -> Scope {
    let grid = Grid::default();
    Scope { grid, view: grid.view(area) }
}

fn extent(metres: u32) -> Props {
    let limits = ValueLimits::default();
    let bytes = [&[0x1a][..], &metres.to_be_bytes()].concat();
    let entry = (PropKey::new(Grid::EXTENT_KEY, &limits), Value::parse(&bytes, &limits));
    Props::from_entries(vec![(entry.0.unwrap(), entry.1.unwrap())], &limits).unwrap()
}

async fn begin() -> (TestServer, BraneId, Seer) {
    let server = TestServer::start().await;
    let brane = server.brane(Visibility::Public).await;
    let builder = Seer::join(&server, brane, 1, None).await;
    (server, brane, builder)
}

#[tokio::test]
async fn a_view_begins_with_what_is_near_and_grows() {
    let (server, brane, mut builder) = begin().await;
    let mut posts = Vec::new();
    for x_m in [0.0, 40.0, 70.0, 500.0] {
        posts.push(builder.make(Kind::Block, Handle::ROOT, x_m, Props::default()).await);
    }
    let tower = builder.make(Kind::Group, Handle::ROOT, 900.0, extent(30)).await;
    let bell = builder.make(Kind::Block, tower, 5.0, Props::default()).await;
    let mut walker = Seer::join(&server, brane, 2, Some(area(0.0, 60.0))).await;
    let first = walker.copy().scope().unwrap().view;
    assert_eq!(first, scope(area(0.0, 60.0)).view.first());
    let near = [Handle::ROOT, posts[0], tower, bell];
    assert_eq!(walker.copy().handles(), near, "what is near and what is large, at once");
    walker.sees(area(0.0, 60.0)).await;
    let seen: Vec<bool> = posts.iter().map(|post| walker.has(*post)).collect();
    assert_eq!(seen, [true, true, true, false]);
    let reaches: Vec<u32> = walker
        .notes
        .iter()
        .filter_map(|note| match note {
            Notify::Viewed { scope, .. } => Some(scope.view.reach),
            _ => None,
        })
        .collect();
    assert!(reaches.is_sorted() && reaches.last() == Some(&5), "{reaches:?}");
    walker.agrees(&mut builder).await;
    drop((builder, walker));
    server.end().await;
}

#[tokio::test]
async fn a_brane_has_the_cells_that_it_was_made_with_at_once() {
    let server = TestServer::start().await;
    let grid = Grid::of_metres(100.0).unwrap();
    let brane = server.brane_of(Visibility::Public, grid).await;
    let mut builder = Seer::join(&server, brane, 1, None).await;
    let post = builder.make(Kind::Block, Handle::ROOT, 150.0, Props::default()).await;
    let area = area(0.0, 10.0);
    let mut walker = Seer::join(&server, brane, 2, Some(area)).await;
    assert_eq!(walker.copy().scope(), Some(Scope { grid, view: grid.view(area) }));
    assert!(walker.has(post), "it is in the next cell");
    walker.agrees(&mut builder).await;
    drop((builder, walker));
    server.end().await;
}

#[tokio::test]
async fn objects_cross_into_a_view_out_of_it_and_within() {
    let (server, brane, mut builder) = begin().await;
    let post = builder.make(Kind::Group, Handle::ROOT, 0.0, Props::default()).await;
    let far = builder.make(Kind::Group, Handle::ROOT, 500.0, Props::default()).await;
    let lamp = builder.make(Kind::Block, post, 1.0, Props::default()).await;
    let mut walker = Seer::join(&server, brane, 2, Some(area(0.0, 20.0))).await;
    walker.sees(area(0.0, 20.0)).await;
    walker.agrees(&mut builder).await;
    walker.windows();

    builder.put(post, 20.0).await;
    walker.agrees(&mut builder).await;
    let windows = walker.windows();
    assert!(windows[0].left.is_empty() && windows[0].entered.is_empty(), "within: {windows:?}");

    builder.put(post, 300.0).await;
    walker.agrees(&mut builder).await;
    assert_eq!((walker.windows()[0].left.clone(), walker.has(lamp)), (vec![post], false));
    builder.put(lamp, 2.0).await;
    walker.agrees(&mut builder).await;
    assert_eq!(walker.windows().len(), 0, "what is far is not shown");

    builder.put(post, 0.0).await;
    walker.agrees(&mut builder).await;
    let entered: Vec<_> = walker.windows()[0].entered.iter().map(|new| new.handle).collect();
    assert_eq!(entered, [post, lamp], "whole, the parent first");

    let hang = |target, parent| {
        let (target, parent) = (Target::Handle(target), Target::Handle(parent));
        Operation::Reparent { target, parent, transform: None }
    };
    builder.edit(hang(lamp, far)).await;
    walker.agrees(&mut builder).await;
    assert_eq!(walker.windows()[0].left, [lamp]);
    builder.edit(hang(lamp, post)).await;
    walker.agrees(&mut builder).await;
    assert_eq!(walker.windows()[0].entered[0].handle, lamp);
    drop((builder, walker));
    server.end().await;
}

#[tokio::test]
async fn a_group_that_moves_costs_its_followers_one_record() {
    let (server, brane, mut builder) = begin().await;
    let train = builder.make(Kind::Group, Handle::ROOT, 0.0, Props::default()).await;
    for _ in 0..100 {
        builder.make(Kind::Block, train, 1.0, Props::default()).await;
    }
    let mut follower = Seer::join(&server, brane, 2, Some(area(0.0, 40.0))).await;
    let mut waiting = Seer::join(&server, brane, 3, Some(area(100.0, 20.0))).await;
    follower.sees(area(0.0, 40.0)).await;
    waiting.sees(area(100.0, 20.0)).await;
    for seer in [&mut follower, &mut waiting] {
        seer.agrees(&mut builder).await;
        seer.sizes.clear();
    }
    // Across the borders of two cells.
    for x_m in [8.0, 24.0, 40.0] {
        builder.put(train, x_m).await;
        follower.agrees(&mut builder).await;
    }
    let largest = *follower.sizes.iter().max().unwrap();
    assert!(largest < 200, "{largest} bytes for a move record");
    waiting.agrees(&mut builder).await;
    assert_eq!(waiting.copy().len(), 1, "it is not there yet");
    builder.put(train, 100.0).await;
    for seer in [&mut follower, &mut waiting] {
        seer.agrees(&mut builder).await;
    }
    assert_eq!((follower.copy().len(), waiting.copy().len()), (1, 102));
    assert!(*follower.sizes.last().unwrap() < 200 && waiting.sizes.iter().max() > Some(&10_000));
    drop((builder, follower, waiting));
    server.end().await;
}

#[tokio::test]
async fn who_walks_and_edits_has_what_his_view_shows() {
    let (server, brane, mut builder) = begin().await;
    let mut posts = Vec::new();
    for n in 0..10 {
        let x_m = f64::from(n) * 16.0;
        posts.push(builder.make(Kind::Group, Handle::ROOT, x_m, Props::default()).await);
    }
    let mut walker = Seer::join(&server, brane, 2, Some(area(0.0, 24.0))).await;
    let mut seen = BTreeSet::new();
    for (n, post) in posts.clone().into_iter().enumerate() {
        let here = n as f64 * 16.0;
        walker.look(Some(area(here, 24.0))).await;
        builder.put(posts[(n + 4) % 10], here).await;
        walker.sees(area(here, 24.0)).await;
        walker.agrees(&mut builder).await;
        seen.extend(walker.copy().handles());
        if walker.has(post) {
            walker.make(Kind::Block, post, 0.5, Props::default()).await;
        }
        builder.put(post, here + 30.0).await;
        walker.agrees(&mut builder).await;
    }
    assert!(posts.iter().all(|post| seen.contains(post)));
    walker.look(Some(area(5_000.0, 24.0))).await;
    walker.sees(area(5_000.0, 24.0)).await;
    walker.agrees(&mut builder).await;
    assert_eq!(walker.copy().len(), 1, "nothing but the root is there");
    drop((builder, walker));
    server.end().await;
}

#[tokio::test]
async fn a_part_becomes_the_whole_and_a_part_again() {
    let (server, brane, mut builder) = begin().await;
    builder.make(Kind::Block, Handle::ROOT, 0.0, Props::default()).await;
    builder.make(Kind::Block, Handle::ROOT, 600.0, Props::default()).await;
    let mut walker = Seer::join(&server, brane, 2, Some(area(0.0, 1.0))).await;
    walker.look(None).await;
    let is_whole = |seer: &Seer| seer.machine.replica(brane).is_some_and(|c| c.scope().is_none());
    walker.until(is_whole).await;
    builder.make(Kind::Block, Handle::ROOT, 800.0, Props::default()).await;
    walker.until(|seer| seer.at() == builder.at()).await;
    let theirs = builder.machine.replica_mut(brane).unwrap().state_hash();
    assert_eq!(walker.machine.replica_mut(brane).unwrap().state_hash(), theirs);
    walker.look(Some(area(600.0, 1.0))).await;
    walker.sees(area(600.0, 1.0)).await;
    walker.agrees(&mut builder).await;
    assert_eq!(walker.copy().len(), 2);
    drop((builder, walker));
    server.end().await;
}

#[tokio::test]
async fn an_area_is_resumed_by_replay_or_begun_anew() {
    let (server, brane, mut builder) = begin().await;
    let post = builder.make(Kind::Block, Handle::ROOT, 0.0, Props::default()).await;
    let other = builder.make(Kind::Block, Handle::ROOT, 300.0, Props::default()).await;
    let mut walker = Seer::join(&server, brane, 2, Some(area(0.0, 20.0))).await;
    // Windows are cut into parts as long as somebody sees one.
    let mut still = Seer::join(&server, brane, 3, Some(area(300.0, 20.0))).await;
    for seer in [&mut walker, &mut still] {
        let wanted = if seer.has(post) { area(0.0, 20.0) } else { area(300.0, 20.0) };
        seer.sees(wanted).await;
        seer.agrees(&mut builder).await;
    }
    walker.cut().await;
    builder.put(post, 5.0).await;
    builder.put(other, 10.0).await;
    builder.put(post, 300.0).await;
    walker.come_back(&server).await;
    assert_eq!(walker.catch_up(), Some(CatchUp::Replay));
    walker.agrees(&mut builder).await;
    assert_eq!((walker.has(post), walker.has(other)), (false, true));
    still.agrees(&mut builder).await;

    let disk = server.disk.clone();
    for seer in [&mut walker, &mut still, &mut builder] {
        seer.cut().await;
    }
    server.end().await;
    let server = TestServer::again(&disk).await;
    builder.come_back(&server).await;
    builder.put(post, 1.0).await;
    walker.come_back(&server).await;
    assert_eq!(walker.catch_up(), Some(CatchUp::Snapshot));
    walker.sees(area(0.0, 20.0)).await;
    walker.agrees(&mut builder).await;
    assert!(walker.has(post) && walker.has(other));
    drop((builder, walker, still));
    server.end().await;
}

#[tokio::test]
async fn a_lone_walker_is_replayed_what_it_missed() {
    let (server, brane, mut builder) = begin().await;
    let post = builder.make(Kind::Block, Handle::ROOT, 0.0, Props::default()).await;
    let mut walker = Seer::join(&server, brane, 2, Some(area(0.0, 20.0))).await;
    walker.sees(area(0.0, 20.0)).await;
    let mut out = Vec::new();
    walker.machine.leave(NOW_MS, brane, &mut out);
    walker.say(out).await;
    walker.until(|seer| seer.machine.channel(brane).is_none()).await;
    builder.put(post, 5.0).await;
    builder.put(post, 300.0).await;
    walker.notes.clear();
    let mut out = Vec::new();
    walker.machine.join(NOW_MS, brane, &mut out);
    walker.say(out).await;
    walker.until(|seer| seer.machine.is_live(brane)).await;
    walker.agrees(&mut builder).await;
    assert_eq!((walker.catch_up(), walker.has(post)), (Some(CatchUp::Replay), false));
    drop((builder, walker));
    server.end().await;
}
