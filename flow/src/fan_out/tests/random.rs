//! Whatever happens, in whatever order: everybody is handed everything once,
//! in order, and hears of the head and of its outcomes in the end.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use avvy_model::{Cell, Epoch};
use proptest::prelude::*;

use super::*;

/// What is sent.
#[derive(Clone, Debug)]
enum Item {
    /// The windows of a range that a view shows, by their ends.
    Window {
        from: u64,
        to: u64,
        shown: Vec<u64>,
    },
    /// A part: how many follow, and where the copy is then, and of what. With
    /// `from` it is a step from that view.
    Part {
        left: u64,
        from: Option<View>,
        view: Option<View>,
        at: u64,
    },
    Outcome,
}

/// A window.
#[derive(Clone, Debug)]
struct Cut {
    from: u64,
    to: u64,
    is_unknown: bool,
    whole: Item,
}

fn shows(view: Option<&View>, to: u64) -> bool {
    view.is_none_or(|view| (to + view.center.0[0] as u64).is_multiple_of(u64::from(view.reach)))
}

impl Cut {
    fn new(from: u64, to: u64, is_unknown: bool) -> Self {
        Self { from, to, is_unknown, whole: Item::Window { from, to, shown: vec![to] } }
    }
}

impl Content<Item> for Cut {
    fn whole(&self) -> &Item {
        &self.whole
    }

    fn part(&self, view: &View, from: Seq) -> super::super::Part<Item> {
        if self.is_unknown {
            return super::super::Part::Unknown;
        }
        if !shows(Some(view), self.to) {
            return super::super::Part::Nothing;
        }
        let (from, to) = (from.0, self.to);
        super::super::Part::Shown(Item::Window { from, to, shown: vec![to] })
    }

    fn bytes(_frame: &Item) -> usize {
        1
    }

    fn nothing(&self, from: Seq) -> Item {
        Item::Window { from: from.0, to: self.to, shown: Vec::new() }
    }

    fn collapsed(
        windows: &[&Self],
        view: Option<&View>,
        from: Seq,
    ) -> (usize, super::super::Part<Item>) {
        let is_known = |cut: &&&Self| view.is_none() || !cut.is_unknown;
        let taken: Vec<_> = windows.iter().take(3).take_while(is_known).collect();
        let Some(last) = taken.last() else { return (1, super::super::Part::Unknown) };
        let shown: Vec<_> = taken.iter().map(|cut| cut.to).filter(|to| shows(view, *to)).collect();
        if shown.is_empty() {
            return (taken.len(), super::super::Part::Nothing);
        }
        let window = Item::Window { from: from.0, to: last.to, shown };
        (taken.len(), super::super::Part::Shown(window))
    }
}

/// An outbox with the copy of the client behind it, which checks what comes.
struct Client {
    log: Rc<RefCell<Vec<Cut>>>,
    at: u64,
    view: Option<View>,
    is_loading: bool,
    /// Frames that it takes until it is full.
    room: usize,
    held: usize,
}

impl Client {
    fn is_handed(&mut self, item: &Item) {
        match item {
            Item::Window { from, to, shown } => {
                assert_eq!((*from, self.is_loading), (self.at, false), "windows join");
                let log = self.log.borrow();
                let within = log.iter().filter(|cut| cut.from >= *from && cut.to <= *to);
                let ends: Vec<_> = within.map(|cut| cut.to).collect();
                assert_eq!(ends.last(), Some(to), "it ends with a window");
                let due = ends.into_iter().filter(|to| shows(self.view.as_ref(), *to));
                assert_eq!(*shown, due.collect::<Vec<_>>(), "all that its view shows");
                self.at = *to;
            }
            Item::Part { left, from, view, at } => {
                if from.is_some() && !self.is_loading {
                    assert_eq!((self.view, self.at), (*from, *at), "it steps at the head");
                }
                self.is_loading = *left > 0;
                if !self.is_loading {
                    (self.at, self.view) = (*at, *view);
                }
            }
            Item::Outcome => {}
        }
    }
}

impl Wire<Item> for Client {
    fn send(&mut self, frame: Frame<'_, Item>) -> Room {
        match &frame {
            Frame::Windows(windows) => {
                assert!(self.room > 0, "it is full");
                self.held = 0;
                windows.iter().for_each(|window| self.is_handed(window));
            }
            Frame::Part(part) => {
                assert!(self.room > 0, "it is full");
                self.is_handed(part);
            }
            Frame::Complete(at) => assert_eq!((at.seq.0, self.is_loading), (self.at, false)),
        }
        self.room = self.room.saturating_sub(1);
        if self.room == 0 { Room::Full } else { Room::More }
    }

    fn hold(&mut self, _frame: Item) {
        self.held += 1;
    }

    fn release(&mut self) {
        self.held = 0;
    }
}

/// The machine with the brane and the driver around it.
struct World {
    machine: FanOut<Item, Cut, IntoIter<Item>, Client>,
    log: Rc<RefCell<Vec<Cut>>>,
    effects: Vec<FanOutEffect>,
    /// What the brane is asked for.
    asked: VecDeque<FanOutEffect>,
    sessions: Vec<SessionKey>,
    attached: u64,
    now_us: u64,
}

/// Something that happens, and two numbers for how.
type Event = (u8, u64, u64);

impl World {
    fn new(config: FanOutConfig) -> Self {
        Self {
            machine: FanOut::new(config, at(0)),
            log: Rc::default(),
            effects: Vec::new(),
            asked: VecDeque::new(),
            sessions: Vec::new(),
            attached: 0,
            now_us: 0,
        }
    }

    fn head(&self) -> u64 {
        self.machine.head().seq.0
    }

    fn session(&self, n: u64) -> Option<SessionKey> {
        let count = self.sessions.len() as u64;
        (count > 0).then(|| self.sessions[(n % count) as usize])
    }

    fn happens(&mut self, (what, a, b): Event) {
        let Some(session) = self.session(a).or(Some(SessionKey(0))) else { return };
        match what {
            0..=5 => self.publish(a, b),
            6..=8 => self.attach(a, b),
            9 => self.detach(session),
            10..=12 => {
                let goal = some_view(b);
                self.machine.aim(self.now_us, session, goal, &mut self.effects);
            }
            13..=16 => self.drained(session, b % 6 + 1),
            17..=19 => self.machine.work(self.now_us, &mut self.effects),
            20..=23 => self.answer(),
            24..=28 => {
                self.now_us += a % 3_000_000 * (b % 2) + b % 300;
                self.machine.expire(self.now_us, &mut self.effects);
            }
            _ => self.fill(session),
        }
        self.settle(b % 2_000);
    }

    /// What the driver does after whatever happened.
    fn settle(&mut self, took_us: u64) {
        for effect in self.effects.drain(..) {
            match effect {
                FanOutEffect::Ready { paced: true, .. }
                | FanOutEffect::Step { .. }
                | FanOutEffect::Resync { .. } => self.asked.push_back(effect),
                FanOutEffect::Close { session, .. } => {
                    self.sessions.retain(|key| *key != session);
                }
                FanOutEffect::Ready { paced: false, .. } | FanOutEffect::Level { .. } => {}
            }
        }
        if self.machine.is_turning() {
            self.now_us += took_us;
            self.machine.turned(self.now_us);
        }
        let status = self.machine.status();
        assert_eq!(status.live + status.lagging, self.sessions.len());
    }

    fn publish(&mut self, a: u64, b: u64) {
        let from = self.head();
        let to = from + 1 + a % 3;
        let is_unknown = b.is_multiple_of(19);
        let cut = Cut::new(from, to, is_unknown);
        self.log.borrow_mut().push(cut.clone());
        for session in [a, b].into_iter().filter_map(|n| self.session(n)).collect::<Vec<_>>() {
            self.machine.hold(session, Item::Outcome);
        }
        let (epoch, from, to) = (Epoch(1), Seq(from), Seq(to));
        let window = Published { epoch, from, to, bytes: 10, at_us: 0, payload: cut };
        self.machine.publish(self.now_us, window, &mut self.effects);
    }

    fn attach(&mut self, a: u64, b: u64) {
        let (view, goal) = (some_view(a), some_view(b));
        let log = Rc::clone(&self.log);
        let room = (b % 9 + 1) as usize;
        let client = Client { log, at: self.head(), view, is_loading: false, room, held: 0 };
        let (client, start) = match b % 3 {
            0 => (client, self.parts(a, None, view)),
            1 => (client, Start::Replay(self.machine.head())),
            _ => {
                let from = self.log.borrow().iter().rev().nth(a as usize % 12).map(|cut| cut.from);
                let from = from.unwrap_or(0);
                (Client { at: from, ..client }, Start::Replay(at(from)))
            }
        };
        let session = SessionKey(self.attached);
        self.attached += 1;
        self.sessions.push(session);
        let sight = Sight { view, goal };
        self.machine.attach(self.now_us, session, client, sight, start, &mut self.effects);
    }

    fn parts(&self, a: u64, from: Option<View>, view: Option<View>) -> Start<IntoIter<Item>> {
        let at = self.machine.head();
        let part = |left| Item::Part { left, from, view, at: at.seq.0 };
        Start::Load { parts: (0..=a % 4).rev().map(part).collect::<Vec<_>>().into_iter(), at }
    }

    fn detach(&mut self, session: SessionKey) {
        self.machine.detach(self.now_us, session);
        self.sessions.retain(|key| *key != session);
        let of_others = |asked: &FanOutEffect| match asked {
            FanOutEffect::Step { session: key, .. } | FanOutEffect::Resync { session: key, .. } => {
                *key != session
            }
            _ => true,
        };
        self.asked.retain(of_others);
    }

    /// The client has read what there was.
    fn drained(&mut self, session: SessionKey, room: u64) {
        let Some(client) = self.machine.wire_mut(session) else { return };
        let was_full = client.room == 0;
        client.room = room as usize;
        if was_full {
            self.machine.drained(self.now_us, session, &mut self.effects);
        }
    }

    /// The outbox is filled by something else.
    fn fill(&mut self, session: SessionKey) {
        let Some(client) = self.machine.wire_mut(session) else { return };
        client.room = 0;
        self.machine.full(self.now_us, session);
    }

    /// The brane does what it was asked for first.
    fn answer(&mut self) {
        let Some(asked) = self.asked.pop_front() else { return };
        match asked {
            FanOutEffect::Step { session, from, to } => {
                let Start::Load { parts, at } = self.parts(session.0, Some(from), Some(to)) else {
                    return;
                };
                let views = [from, to];
                self.machine.show(self.now_us, session, views, parts, at, &mut self.effects);
            }
            FanOutEffect::Resync { session, view, .. } => {
                let start = self.parts(session.0, None, view);
                if let Some(client) = self.machine.wire_mut(session) {
                    client.is_loading = false;
                }
                self.machine.restart(self.now_us, session, view, start, &mut self.effects);
            }
            FanOutEffect::Ready { .. } => self.machine.take_turn(self.now_us, &mut self.effects),
            FanOutEffect::Level { .. } | FanOutEffect::Close { .. } => {}
        }
    }

    /// Nothing happens any more but what has to.
    fn comes_to_rest(&mut self) {
        for round in 0.. {
            assert!(round < 10_000, "it never rests");
            for session in self.sessions.clone() {
                self.drained(session, u64::from(u16::MAX));
                self.settle(100);
            }
            if !self.asked.is_empty() {
                self.answer();
            } else if self.machine.has_work() {
                self.machine.work(self.now_us, &mut self.effects);
            } else if let Some(deadline_us) = self.machine.deadline() {
                self.now_us = self.now_us.max(deadline_us);
                self.machine.expire(self.now_us, &mut self.effects);
            } else {
                break;
            }
            self.settle(100);
        }
        let head = self.head();
        for session in self.sessions.clone() {
            assert!(self.machine.is_live(session), "{session:?} is not live");
            assert_eq!(self.machine.level(session), Level::Full);
            let client = self.machine.wire_mut(session).expect("attached");
            assert_eq!((client.at, client.held), (head, 0), "{session:?} has everything");
            let view = client.view;
            assert_eq!(self.machine.view(session), view, "and sees what is thought");
        }
    }
}

fn some_view(n: u64) -> Option<View> {
    let reach = [1, 2, 3, 5][n as usize % 4];
    let center = Cell([(n / 4 % 2) as i32, 0, 0]);
    (!n.is_multiple_of(7)).then_some(View { center, reach })
}

fn config() -> impl Strategy<Value = FanOutConfig> {
    let owed = prop_oneof![Just(usize::MAX), Just(30_usize)];
    (1..4_usize, 1..=90_u32, 1..5_usize, 3..20_usize, owed).prop_map(
        |(turn_sessions, turn_budget_percent, turn_bytes, ring_max_windows, owed)| {
            let step = |n: usize| Threshold { bytes: owed.saturating_mul(n), age_ms: u32::MAX };
            FanOutConfig {
                turn_sessions,
                turn_budget_percent,
                turn_bytes,
                ring_max_windows,
                bite_windows: 2,
                degrade: [step(1), step(2), step(3), step(4)],
                ..FanOutConfig::default()
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn everybody_is_handed_everything_once_and_hears_of_the_head(
        config in config(),
        events in prop::collection::vec((0..30_u8, 0..1_000_u64, 0..1_000_u64), 1..120),
    ) {
        let mut world = World::new(config);
        events.into_iter().for_each(|event| world.happens(event));
        world.comes_to_rest();
    }
}
