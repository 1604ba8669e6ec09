//! Holds histories against each other and against what is left.

use std::collections::{BTreeMap, HashMap, HashSet};

use avvy_model::{Epoch, Position, Seq};

use super::{Fact, History, Place, Rule, Tag, Violation};

/// What cannot be; empty if everything fits.
pub fn check(history: &History) -> Vec<Violation> {
    let mut check = Check {
        history,
        places: history.journal.iter().map(|place| (place.tag, *place)).collect(),
        line: history.journal.iter().map(|place| (place.at.seq, *place)).collect(),
        violations: Vec::new(),
    };
    check.journal();
    check.one_line();
    check.after_durable();
    for (client, entries) in history.clients.iter().enumerate() {
        check.edits(client, entries.iter().map(|entry| &entry.fact));
        let mut follower = Follower::default();
        for entry in entries {
            check.follow(client, &mut follower, &entry.fact);
        }
        check.stands(client, &follower);
    }
    check.state();
    check.violations
}

struct Check<'a> {
    history: &'a History,
    places: HashMap<Tag, Place>,
    line: BTreeMap<Seq, Place>,
    violations: Vec<Violation>,
}

/// A client on its way through its history.
#[derive(Default)]
struct Follower {
    /// Where its copy stands, once there is one.
    at: Option<Position>,
    /// What it was told to be durable.
    durable: Seq,
    /// What it has seen and was not told to be lost.
    seen: BTreeMap<Seq, Tag>,
    /// What it sent, each with the place that it had seen up to by then.
    sent: Vec<(Tag, Seq)>,
}

impl Check<'_> {
    fn broken(&mut self, rule: Rule, client: impl Into<Option<usize>>, what: String) {
        self.violations.push(Violation { rule, client: client.into(), what });
    }

    fn journal(&mut self) {
        let facts = self.history.clients.iter().flatten().map(|entry| &entry.fact);
        let sent = |fact: &Fact| if let Fact::Sent(tag) = fact { Some(*tag) } else { None };
        let sent: HashSet<Tag> = facts.filter_map(sent).collect();
        let (mut last, mut found) = (Position::default(), HashSet::new());
        for place in &self.history.journal {
            if place.at.seq != last.seq.next() || place.at.epoch < last.epoch {
                self.broken(Rule::Dense, None, format!("{} comes after {last}", place.at));
            }
            if !found.insert(place.tag) {
                self.broken(Rule::Once, None, format!("{:?} is there twice", place.tag));
            }
            if !sent.contains(&place.tag) {
                self.broken(Rule::Known, None, format!("nobody sent {:?}", place.tag));
            }
            last = place.at;
        }
    }

    fn one_line(&mut self) {
        let mut seen: HashMap<(Epoch, Seq), Tag> = HashMap::new();
        for (client, entries) in self.history.clients.iter().enumerate() {
            for entry in entries {
                let Fact::Saw { epoch, edits, .. } = &entry.fact else { continue };
                for &(seq, tag) in edits {
                    let first = *seen.entry((*epoch, seq)).or_insert(tag);
                    if first != tag {
                        let what = format!("at {epoch}/{seq} it saw {tag:?}, another {first:?}");
                        self.broken(Rule::OneLine, client, what);
                    }
                }
            }
        }
    }

    /// All clients' facts in the order in which they were written down.
    fn after_durable(&mut self) {
        let clients = self.history.clients.iter().enumerate();
        let mut all: Vec<_> = clients
            .flat_map(|(client, entries)| entries.iter().map(move |entry| (client, entry)))
            .collect();
        all.sort_by_key(|(_, entry)| entry.nth);
        let mut durable = Seq(0);
        for (client, entry) in all {
            match &entry.fact {
                Fact::Durable(_, at) => durable = durable.max(at.seq),
                Fact::Saw { durable: told, .. } => durable = durable.max(*told),
                Fact::Sent(tag) => {
                    let Some(place) = self.places.get(tag) else { continue };
                    if place.at.seq <= durable {
                        let what = format!("{tag:?} at {} was sent after {durable}", place.at);
                        self.broken(Rule::AfterDurable, client, what);
                    }
                }
                _ => {}
            }
        }
    }

    /// What became of a client's edits.
    fn edits<'a>(&mut self, client: usize, facts: impl Iterator<Item = &'a Fact>) {
        let (mut sent, mut answered) = (Vec::new(), HashSet::new());
        for fact in facts {
            let tag = match *fact {
                Fact::Sent(tag) => {
                    sent.push(tag);
                    continue;
                }
                Fact::Durable(tag, at) => {
                    if self.line.get(&at.seq).is_none_or(|place| place.tag != tag) {
                        let found = self.places.get(&tag).map(|place| place.at);
                        let what = format!("{tag:?} was told to be at {at}, found at {found:?}");
                        self.broken(Rule::Durable, client, what);
                    }
                    tag
                }
                Fact::Refused(tag) => {
                    if let Some(place) = self.places.get(&tag) {
                        let what = format!("{tag:?} was refused and is at {}", place.at);
                        self.broken(Rule::Refused, client, what);
                    }
                    tag
                }
                Fact::Unknown(tag) => tag,
                Fact::Follows { .. } | Fact::Saw { .. } | Fact::Rewound(_) => continue,
            };
            answered.insert(tag);
        }
        for tag in sent.iter().filter(|tag| !answered.contains(tag)) {
            self.broken(Rule::Answered, client, format!("{tag:?} has no last news"));
        }
        let mut last = Seq(0);
        for tag in sent {
            let Some(place) = self.places.get(&tag).copied() else { continue };
            if place.at.seq <= last {
                self.broken(Rule::Order, client, format!("{tag:?} lies before one sent earlier"));
            }
            last = last.max(place.at.seq);
        }
    }

    fn follow(&mut self, client: usize, follower: &mut Follower, fact: &Fact) {
        match fact {
            Fact::Sent(tag) => {
                follower.sent.push((*tag, follower.at.unwrap_or_default().seq));
            }
            Fact::Follows { at, anew } => {
                let stood = follower.at.filter(|_| !anew);
                if let Some(stood) = stood.filter(|stood| stood.seq != at.seq) {
                    let what = format!("it stood at {stood} and follows from {at}");
                    self.broken(Rule::Joined, client, what);
                }
                follower.at = Some(*at);
            }
            Fact::Saw { epoch, from, to, durable, edits } => {
                let joins = |at: Position| at.seq == *from && at.epoch <= *epoch && from <= to;
                if follower.at.is_some_and(|at| !joins(at)) {
                    let what = format!("it stood at {:?} and saw {from} to {to}", follower.at);
                    self.broken(Rule::Joined, client, what);
                }
                follower.at = Some(Position { epoch: *epoch, seq: *to });
                follower.durable = follower.durable.max(*durable);
                follower.seen.extend(edits.iter().copied());
            }
            Fact::Rewound(to) => {
                if to.seq < follower.durable {
                    let what =
                        format!("{} was durable, and all after {to} is lost", follower.durable);
                    self.broken(Rule::Kept, client, what);
                }
                follower.at = Some(*to);
                follower.seen.retain(|seq, _| *seq <= to.seq);
                for (_, after) in &mut follower.sent {
                    *after = (*after).min(to.seq);
                }
            }
            Fact::Durable(..) | Fact::Refused(_) | Fact::Unknown(_) => {}
        }
    }

    /// At the end of its history.
    fn stands(&mut self, client: usize, follower: &Follower) {
        for (seq, tag) in &follower.seen {
            let found = self.line.get(seq).map(|place| place.tag);
            if found != Some(*tag) {
                let what = format!("it saw {tag:?} at {seq}, where {found:?} is");
                self.broken(Rule::Seen, client, what);
            }
        }
        for (tag, after) in &follower.sent {
            let Some(place) = self.places.get(tag) else { continue };
            if place.at.seq <= *after {
                let what = format!("{tag:?} at {} was sent by who had seen {after}", place.at);
                self.broken(Rule::AfterSeen, client, what);
            }
        }
    }

    fn state(&mut self) {
        let journal = self.history.journal.iter();
        let expected: BTreeMap<_, _> = journal.map(|place| (place.object, place.tag)).collect();
        let shown = &self.history.state;
        let objects = expected.keys().chain(shown.keys());
        let differing = objects.into_iter().find(|id| expected.get(id) != shown.get(id));
        if let Some(id) = differing {
            let what = format!("{id} shows {:?}, not {:?}", shown.get(id), expected.get(id));
            self.broken(Rule::State, None, what);
        }
    }
}
