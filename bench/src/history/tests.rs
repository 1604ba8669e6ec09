#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::draw::Draw;

fn at(epoch: u64, seq: u64) -> Position {
    Position { epoch: Epoch(epoch), seq: Seq(seq) }
}

fn object(nth: u64) -> ObjectId {
    ObjectId::new(Uuid::from_u128(u128::from(nth) + 1))
}

fn place(epoch: u64, seq: u64, tag: u64) -> Place {
    Place { at: at(epoch, seq), tag: Tag(tag), object: object(tag / 100) }
}

fn saw(epoch: u64, from: u64, durable: u64, tags: &[u64]) -> Fact {
    let edits = (from + 1..).map(Seq).zip(tags.iter().copied().map(Tag)).collect();
    let to = Seq(from + tags.len() as u64);
    Fact::Saw { epoch: Epoch(epoch), from: Seq(from), to, durable: Seq(durable), edits }
}

fn follows(epoch: u64, seq: u64, anew: bool) -> Fact {
    Fact::Follows { at: at(epoch, seq), anew }
}

/// Numbers the facts client by client.
fn history(clients: &[&[Fact]], journal: &[Place]) -> History {
    let mut nth = 0;
    let mut entry = |fact: &Fact| {
        nth += 1;
        Entry { nth, fact: fact.clone() }
    };
    let clients = clients.iter().map(|facts| facts.iter().map(&mut entry).collect()).collect();
    let state = journal.iter().map(|place| (place.object, place.tag)).collect();
    History { clients, journal: journal.to_vec(), state }
}

/// Two clients, a crash between the second and the third place that takes one
/// edit with it, which is sent again; one edit is refused, of one nothing is
/// known. Each test spoils one thing of it.
fn good() -> History {
    let writer = [
        follows(1, 0, false),
        Fact::Sent(Tag(100)),
        Fact::Sent(Tag(101)),
        saw(1, 0, 0, &[100, 101]),
        Fact::Durable(Tag(100), at(1, 1)),
        Fact::Sent(Tag(102)),
        saw(1, 2, 2, &[102]),
        Fact::Durable(Tag(101), at(1, 2)),
        Fact::Rewound(at(1, 2)),
        follows(2, 2, true),
        Fact::Sent(Tag(103)),
        Fact::Refused(Tag(103)),
        saw(2, 2, 3, &[102]),
        Fact::Durable(Tag(102), at(2, 3)),
    ];
    let other = [
        follows(2, 3, false),
        Fact::Sent(Tag(200)),
        Fact::Sent(Tag(201)),
        saw(2, 3, 4, &[200]),
        Fact::Durable(Tag(200), at(2, 4)),
        Fact::Unknown(Tag(201)),
        follows(2, 4, false),
    ];
    let journal = [place(1, 1, 100), place(1, 2, 101), place(2, 3, 102), place(2, 4, 200)];
    history(&[&writer, &other], &journal)
}

/// The rules that are broken once the history is spoilt so.
fn broken(spoil: impl FnOnce(&mut History)) -> Vec<Rule> {
    let mut history = good();
    spoil(&mut history);
    let mut rules: Vec<Rule> = check(&history).iter().map(|violation| violation.rule).collect();
    rules.dedup();
    rules
}

/// The facts of the first client.
fn fact(history: &mut History, nth: usize) -> &mut Fact {
    &mut history.clients[0][nth].fact
}

#[test]
fn a_good_history_is_good() {
    assert_eq!(check(&good()), []);
    assert_eq!(check(&History::default()), []);
}

#[test]
fn a_gap_and_a_step_back_in_the_journal_are_found() {
    // The second client's world ends one place later then.
    let gap = |history: &mut History| history.journal[3].at.seq = Seq(5);
    assert!(broken(gap).contains(&Rule::Dense));
    assert_eq!(broken(|history| history.journal[2].at.epoch = Epoch(0)), [Rule::Dense]);
}

#[test]
fn an_edit_that_is_applied_twice_is_found() {
    assert_eq!(broken(|history| history.journal.push(place(2, 5, 102))).first(), Some(&Rule::Once));
}

#[test]
fn an_edit_that_nobody_sent_is_found() {
    assert_eq!(
        broken(|history| {
            history.journal.push(place(2, 5, 300));
            history.state.insert(object(3), Tag(300));
        }),
        [Rule::Known]
    );
}

#[test]
fn a_durable_edit_that_is_lost_or_elsewhere_is_found() {
    let lost = |history: &mut History| {
        history.journal.pop();
        history.state.remove(&object(2));
    };
    assert!(broken(lost).contains(&Rule::Durable));
    let elsewhere = |history: &mut History| {
        *fact(history, 13) = Fact::Durable(Tag(102), at(2, 4));
    };
    assert!(broken(elsewhere).contains(&Rule::Durable));
}

#[test]
fn a_refused_edit_that_was_applied_is_found() {
    let rules = broken(|history| {
        history.journal.push(place(2, 5, 103));
        history.state.insert(object(1), Tag(103));
    });
    assert_eq!(rules, [Rule::Refused]);
}

#[test]
fn an_edit_without_last_news_is_found() {
    assert_eq!(broken(|history| drop(history.clients[0].remove(11))), [Rule::Answered]);
}

#[test]
fn edits_in_another_order_than_they_were_sent_are_found() {
    let swapped = |history: &mut History| history.clients[0].swap(1, 2);
    assert_eq!(broken(swapped), [Rule::Order]);
}

#[test]
fn windows_that_do_not_join_are_found() {
    assert_eq!(broken(|history| drop(history.clients[0].remove(3))), [Rule::Joined]);
    // It went on without what it had to be shown, or in an older epoch.
    let further = |history: &mut History| history.clients[1][6].fact = follows(2, 5, false);
    assert_eq!(broken(further), [Rule::Joined]);
    let older = |history: &mut History| *fact(history, 12) = saw(1, 2, 3, &[102]);
    assert_eq!(broken(older), [Rule::Joined]);
}

#[test]
fn a_brane_with_two_owners_is_found() {
    let rules = broken(|history| {
        let Fact::Saw { edits, .. } = &mut history.clients[1][3].fact else { panic!() };
        edits.insert(0, (Seq(3), Tag(200)));
    });
    assert!(rules.contains(&Rule::OneLine), "{rules:?}");
}

#[test]
fn something_seen_that_is_lost_without_a_word_is_found() {
    let rules = broken(|history| {
        *fact(history, 6) = saw(1, 2, 2, &[103]);
        *fact(history, 8) = follows(1, 3, false);
        *fact(history, 12) = follows(2, 3, true);
    });
    assert_eq!(rules, [Rule::Seen]);
}

#[test]
fn something_durable_that_is_told_to_be_lost_is_found() {
    let rules = broken(|history| *fact(history, 8) = Fact::Rewound(at(1, 1)));
    assert!(rules.contains(&Rule::Kept), "{rules:?}");
}

#[test]
fn an_edit_before_what_its_client_had_seen_is_found() {
    let rules = broken(|history| {
        // It follows from the end on and has its edit before that.
        *fact(history, 0) = follows(1, 2, false);
        *fact(history, 3) = follows(1, 2, true);
    });
    assert_eq!(rules, [Rule::AfterSeen]);
}

#[test]
fn an_edit_before_what_was_durable_when_it_was_sent_is_found() {
    // The first sends only when what the other sent is durable.
    let rules = broken(|history| {
        for entry in &mut history.clients[0] {
            entry.nth += 100;
        }
    });
    assert_eq!(rules, [Rule::AfterDurable]);
}

#[test]
fn a_world_that_is_not_what_the_journal_makes_is_found() {
    assert_eq!(broken(|history| history.state.clear()), [Rule::State]);
    let older = |history: &mut History| {
        history.state.insert(object(1), Tag(101));
    };
    assert_eq!(broken(older), [Rule::State]);
}

/// A brane that keeps every rule, and clients that write down what they are
/// told of it.
struct Model {
    recorder: Recorder,
    epoch: u64,
    log: Vec<Place>,
    durable: usize,
    clients: Vec<ModelClient>,
}

struct ModelClient {
    clerk: Clerk,
    stands: usize,
    count: u64,
    /// Sent and not in the log.
    waiting: Vec<Tag>,
    /// In the log and not told to be durable.
    open: Vec<Tag>,
}

impl Model {
    fn new(clients: usize) -> Self {
        let recorder = Recorder::default();
        let client = |_| {
            let clerk = recorder.clerk();
            clerk.note(follows(1, 0, false));
            ModelClient { clerk, stands: 0, count: 0, waiting: Vec::new(), open: Vec::new() }
        };
        let clients = (0..clients).map(client).collect();
        Self { recorder, epoch: 1, log: Vec::new(), durable: 0, clients }
    }

    fn step(&mut self, draw: &mut Draw) {
        let nth = draw.below(self.clients.len() as u64) as usize;
        match draw.below(20) {
            0..6 => self.send(nth),
            6..12 => self.apply(nth),
            12..14 => {
                self.durable += draw.below((self.log.len() - self.durable) as u64 + 1) as usize;
            }
            14..19 => self.show(nth),
            _ => self.crash(),
        }
    }

    fn send(&mut self, nth: usize) {
        let client = &mut self.clients[nth];
        client.count += 1;
        let tag = Tag(nth as u64 * 1_000_000 + client.count);
        client.clerk.note(Fact::Sent(tag));
        client.waiting.push(tag);
    }

    fn apply(&mut self, nth: usize) {
        let client = &mut self.clients[nth];
        if !client.waiting.is_empty() {
            let tag = client.waiting.remove(0);
            client.open.push(tag);
            let at = at(self.epoch, self.log.len() as u64 + 1);
            self.log.push(Place { at, tag, object: object(tag.0 / 3) });
        }
    }

    fn show(&mut self, nth: usize) {
        let client = &mut self.clients[nth];
        // A window is of one epoch.
        while client.stands < self.log.len() {
            let rest = &self.log[client.stands..];
            let epoch = rest[0].at.epoch;
            let window: Vec<_> = rest.iter().take_while(|place| place.at.epoch == epoch).collect();
            let tags: Vec<u64> = window.iter().map(|place| place.tag.0).collect();
            let durable = (client.stands + tags.len()).min(self.durable) as u64;
            client.clerk.note(saw(epoch.0, client.stands as u64, durable, &tags));
            client.stands += tags.len();
        }
        for place in &self.log[..self.durable] {
            if let Some(nth) = client.open.iter().position(|tag| *tag == place.tag) {
                client.open.remove(nth);
                client.clerk.note(Fact::Durable(place.tag, place.at));
            }
        }
    }

    fn crash(&mut self) {
        let lost = self.log.split_off(self.durable);
        let to = self.log.last().map_or(at(1, 0), |place| place.at);
        self.epoch += 1;
        for client in &mut self.clients {
            let own = lost.iter().map(|place| place.tag).filter(|tag| client.open.contains(tag));
            let own: Vec<Tag> = own.collect();
            client.open.retain(|tag| !own.contains(tag));
            client.waiting.splice(..0, own);
            if client.stands > self.durable {
                client.stands = self.durable;
                client.clerk.note(Fact::Rewound(to));
                client.clerk.note(follows(self.epoch, to.seq.0, true));
            }
        }
    }

    fn end(mut self) -> History {
        for nth in 0..self.clients.len() {
            while !self.clients[nth].waiting.is_empty() {
                self.apply(nth);
            }
        }
        self.durable = self.log.len();
        (0..self.clients.len()).for_each(|nth| self.show(nth));
        drop(self.recorder);
        History {
            clients: self.clients.iter().map(|client| client.clerk.entries()).collect(),
            state: self.log.iter().map(|place| (place.object, place.tag)).collect(),
            journal: self.log,
        }
    }
}

proptest! {
    #[test]
    fn what_keeps_the_rules_passes_and_a_spoilt_journal_does_not(
        seed: u64,
        clients in 1_usize..5,
        steps in 0_usize..300,
    ) {
        let mut draw = Draw::new(seed);
        let mut model = Model::new(clients);
        (0..steps).for_each(|_| model.step(&mut draw));
        model.send(0);
        model.send(clients - 1);
        let history = model.end();
        prop_assert_eq!(check(&history), []);
        let any = draw.below(history.journal.len() as u64) as usize;
        let mut gone = history.clone();
        gone.journal.remove(any);
        prop_assert!(!check(&gone).is_empty());
        let mut twice = history.clone();
        twice.journal.insert(any, history.journal[any]);
        prop_assert!(!check(&twice).is_empty());
        let mut swapped = history.clone();
        let next = (any + 1) % history.journal.len();
        swapped.journal[any].tag = history.journal[next].tag;
        swapped.journal[next].tag = history.journal[any].tag;
        prop_assert!(!check(&swapped).is_empty());
    }
}
