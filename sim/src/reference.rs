//! A simple model of what one brane is and has promised, written apart from
//! the code that it judges: a list of events, a map of objects, and the
//! highest number that anyone was told is durable.
//!
//! It learns what is accepted from the journal's chunks, as they leave the
//! brane, and what is left after a restart from how the brane is opened.

mod door;
mod intent;
mod log;
mod part;
mod places;
mod prototypes;
mod reach;
mod rights;
mod world;

use std::collections::BTreeMap;
use std::rc::Rc;

use avvy_brane::{Admission, Clients, Outcome, World};
use avvy_client::replica::Replica;
use avvy_model::{
    BraneId, Code, Counter, Edit, EditId, Epoch, Event, ObjectId, Position, Role, Seq, StateHash,
    UserId,
};
use avvy_protocol::Flush;

use crate::env::Env;
pub(crate) use door::Door;
use part::Objects;
pub(crate) use rights::NaiveRights;
pub(crate) use world::NaiveWorld;

/// An event that was once in the log.
struct Entry {
    epoch: Epoch,
    event: Event,
    /// The world after it.
    hash: StateHash,
    objects: Rc<Objects>,
}

/// An event that the log has lost, with the epoch at whose beginning it did.
struct Lost {
    epoch: Epoch,
    edit: EditId,
    hash: StateHash,
    objects: Rc<Objects>,
    lost_in: Epoch,
}

/// The model of one brane.
pub(crate) struct Reference {
    brane: BraneId,
    owner: UserId,
    world: NaiveWorld,
    rights: NaiveRights,
    line: Vec<Entry>,
    lost: BTreeMap<Seq, Vec<Lost>>,
    /// The place of each edit in the line.
    places: BTreeMap<EditId, Seq>,
    /// What was asked for under which name.
    intents: BTreeMap<EditId, Edit>,
    /// Edits of which somebody was told that they were refused.
    refused: BTreeMap<EditId, ()>,
    /// Where each epoch began.
    epochs: Vec<(Epoch, Seq)>,
    /// The last edit that was shown to anyone.
    published: Seq,
    /// The last edit of which anyone was told that it is durable.
    promised: Seq,
    /// The last opening has ended because another process had opened it.
    superseded: bool,
    /// Where each window ends, by its epoch and where it begins.
    windows: BTreeMap<(Epoch, Seq), Seq>,
    /// The edge of a cell in each epoch, in units of 0.1 mm.
    cell_sizes: BTreeMap<Epoch, u32>,
}

impl Reference {
    pub(crate) fn new(brane: BraneId, owner: UserId, tokens: BTreeMap<UserId, Role>) -> Self {
        let root = ObjectId::new(brane.uuid());
        Self {
            brane,
            owner,
            world: NaiveWorld::new(brane, owner),
            rights: NaiveRights::new(owner, root, tokens),
            line: Vec::new(),
            lost: BTreeMap::new(),
            places: BTreeMap::new(),
            intents: BTreeMap::new(),
            refused: BTreeMap::new(),
            epochs: Vec::new(),
            published: Seq(0),
            promised: Seq(0),
            superseded: false,
            windows: BTreeMap::new(),
            cell_sizes: BTreeMap::new(),
        }
    }

    pub(crate) fn owner(&self) -> UserId {
        self.owner
    }

    pub(crate) fn rights(&self) -> &NaiveRights {
        &self.rights
    }

    pub(crate) fn head(&self) -> Seq {
        Seq(self.line.len() as u64)
    }

    /// That of the last opening.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epochs.last().map(|(epoch, _)| *epoch).unwrap_or_default()
    }

    pub(crate) fn promised(&self) -> Seq {
        self.promised
    }

    pub(crate) fn hash(&self) -> StateHash {
        self.world.hash()
    }

    /// The event at this number of the line.
    pub(crate) fn event(&self, seq: Seq) -> Option<&Event> {
        self.line.get(seq.0.checked_sub(1)? as usize).map(|entry| &entry.event)
    }

    /// Whether so many hidden edits of a window are its rulings. What the log
    /// has lost by now is not judged.
    pub(crate) fn hides_rulings_alone(&self, flush: &Flush, hidden: u64) -> bool {
        let Flush { epoch, from, to, .. } = *flush;
        let events = (from.0 + 1..=to.0).filter_map(|seq| self.event(Seq(seq)));
        let rulings = events.filter(|event| event.ruled().is_some()).count() as u64;
        hidden == rulings || self.fork_behind(Position { epoch, seq: to }, self.epoch()).is_some()
    }

    /// Where an edit is in the line.
    pub(crate) fn place(&self, edit: EditId) -> Option<Seq> {
        self.places.get(&edit).copied()
    }

    /// The brane was opened: what is beyond `head` is lost.
    pub(crate) fn opened(&mut self, env: &mut Env, epoch: Epoch, head: Seq, hash: StateHash) {
        let last = self.epoch();
        env.check(epoch > last, || format!("epoch {epoch} after {last}"));
        env.check(head <= self.head(), || format!("opened at {head}, beyond {}", self.head()));
        let promised = self.promised;
        env.check(head >= promised, || format!("opened at {head}, {promised} was durable"));
        if head < self.head() {
            env.count("fork: accepted edits lost");
            if self.published > head {
                env.count("fork: seen edits lost");
                if self.superseded {
                    env.count("fork: seen edits lost to another writer");
                }
            }
        }
        for entry in self.line.split_off(head.0 as usize) {
            let Entry { epoch: given_in, event, hash, objects } = entry;
            self.places.remove(&event.edit);
            let lost = Lost { epoch: given_in, edit: event.edit, hash, objects, lost_in: epoch };
            self.lost.entry(event.seq).or_default().push(lost);
            self.world = NaiveWorld::new(self.brane, self.owner);
        }
        if self.world.is_new() {
            self.rights = self.rights.anew();
            for entry in &self.line {
                // Every event was followed once.
                if let Some(intent) = self.intents.get(&entry.event.edit) {
                    let _ = self.rights.follow(&entry.event, intent, &self.world);
                }
                let _ = self.world.follow(&entry.event);
            }
        }
        self.superseded = false;
        self.set_cells(epoch);
        self.published = head;
        self.epochs.push((epoch, head));
        env.check(self.world.hash() == hash, || {
            format!("the world at {head} was opened differently")
        });
    }

    /// The opening ends because another process has opened the brane.
    pub(crate) fn superseded(&mut self) {
        self.superseded = true;
    }

    /// A chunk left the brane for the journal.
    pub(crate) fn journaled(
        &mut self,
        env: &mut Env,
        epoch: Epoch,
        from: Seq,
        to: Seq,
        events: Vec<Event>,
    ) {
        let head = self.head();
        let current = self.epoch();
        self.windows.insert((epoch, from), to);
        env.check(epoch == current, || format!("a chunk of epoch {epoch} in {current}"));
        env.check(from == head, || format!("a chunk from {from} at {head}"));
        env.check(to.0 == from.0 + events.len() as u64, || {
            format!("the chunk ({from}..{to}] holds {} events", events.len())
        });
        for event in events {
            self.accept(env, epoch, event);
        }
    }

    /// A window went to the viewers.
    pub(crate) fn published(&mut self, env: &mut Env, from: Seq, to: Seq) {
        let (published, head) = (self.published, self.head());
        env.check(from == published, || format!("published from {from} at {published}"));
        env.check(to <= head, || format!("published {to} before it was journaled ({head})"));
        self.published = to;
    }

    /// A client sends this under this name.
    pub(crate) fn intend(&mut self, env: &mut Env, id: EditId, edit: Edit) {
        let other = self.intents.insert(id, edit);
        env.check(other.is_none(), || format!("{id:?} names two edits"));
    }

    /// Somebody was told that everything up to here is durable.
    pub(crate) fn promise(&mut self, env: &mut Env, at: Position) {
        env.check(at.seq <= self.head() && self.is_on_line(at.epoch, at.seq), || {
            format!("{at} was called durable, and is not in the log")
        });
        self.promised = self.promised.max(at.seq);
    }

    /// Somebody was told that an edit was refused.
    pub(crate) fn refused(&mut self, env: &mut Env, edit: EditId) {
        let place = self.place(edit);
        env.check(place.is_none(), || {
            format!("{edit:?} was refused, and is in the log at {place:?}")
        });
        self.refused.insert(edit, ());
    }

    /// Whether an edit is at this place of the line that led to this epoch.
    pub(crate) fn was_applied(&self, edit: EditId, at: Position) -> bool {
        let now = self.event(at.seq).is_some_and(|event| event.edit == edit)
            && self.is_on_line(at.epoch, at.seq);
        now || self.lost_on(at).is_some_and(|lost| lost.edit == edit)
    }

    /// The world's hash at a position, if it ever existed.
    pub(crate) fn hash_at(&self, at: Position) -> Option<StateHash> {
        if at.seq == Seq(0) {
            return Some(NaiveWorld::new(self.brane, self.owner).hash());
        }
        if self.is_on_line(at.epoch, at.seq) {
            return self.line.get(at.seq.0 as usize - 1).map(|entry| entry.hash);
        }
        self.lost_on(at).map(|lost| lost.hash)
    }

    /// Where a copy at the head differs, for people.
    pub(crate) fn differences(&self, replica: &Replica) -> Vec<String> {
        self.world.differences(replica)
    }

    /// The indexes of a brane that is open, if the log has all that it has
    /// accepted.
    pub(crate) fn judge_indexes(&self, env: &mut Env, world: &World) {
        if world.seq() != self.head() {
            return;
        }
        if let Err(why) = self.world.compare_indexes(world) {
            env.fail(|| format!("at {}: {why}", self.head()));
        }
    }

    /// A recovered world is what the line makes of an empty one.
    pub(crate) fn judge_world(&self, world: &mut World) -> Result<(), String> {
        self.world.compare(world)
    }

    /// What a recovered brane remembers of the edits of the line: each has its
    /// place, or has been forgotten by the rules, but is never new.
    pub(crate) fn judge_memory(&self, env: &Env, clients: &Clients) -> Result<(), String> {
        for (edit, seq) in &self.places {
            let admission = clients.check(*edit);
            let fits = match admission {
                Admission::Known(Outcome::Applied(at)) => at == *seq,
                Admission::Refused(Code::OutcomeUnknown | Code::ClientUnknown) => {
                    self.may_be_forgotten(env, *edit)
                }
                Admission::New | Admission::Known(_) | Admission::Refused(_) => false,
            };
            if !fits {
                return Err(format!("{edit:?} is at {seq}, and remembered as {admission:?}"));
            }
        }
        Ok(())
    }

    /// Whether the client has sent as many edits since as are remembered, or
    /// was silent for as long.
    fn may_be_forgotten(&self, env: &Env, edit: EditId) -> bool {
        let limits = &env.setup.brane.limits;
        let since = edit..=EditId { counter: Counter(u64::MAX), ..edit };
        let sent = self.intents.range(since.clone()).count();
        let seqs = self.places.range(since).map(|(_, seq)| *seq);
        let mut heard: Vec<u64> =
            seqs.filter_map(|seq| self.event(seq)).map(|event| event.at_ms).collect();
        heard.push(env.unix_ms());
        let was_silent =
            heard.windows(2).any(|pair| pair[1].saturating_sub(pair[0]) >= limits.client_memory_ms);
        sent > limits.outcomes_per_client || was_silent
    }

    /// Where a copy at `at` has to go back to when it joins the opening of
    /// this epoch; `None` if it is on the line that this goes on with.
    pub(crate) fn fork_behind(&self, at: Position, epoch: Epoch) -> Option<Seq> {
        let between = self.epochs.iter().filter(|(later, _)| at.epoch < *later && *later <= epoch);
        between.map(|(_, start)| *start).min().filter(|fork| *fork < at.seq)
    }

    /// The epoch in which the edit was given that was at this place in this
    /// epoch.
    pub(crate) fn given_in(&self, at: Position) -> Option<Epoch> {
        let on_line = self.is_on_line(at.epoch, at.seq);
        let entry = self.line.get(at.seq.0.checked_sub(1)? as usize).filter(|_| on_line);
        entry.map(|entry| entry.epoch).or_else(|| self.lost_on(at).map(|lost| lost.epoch))
    }

    /// Whether the line's edit at `seq` was already there in `epoch`.
    fn is_on_line(&self, epoch: Epoch, seq: Seq) -> bool {
        if seq == Seq(0) {
            return true;
        }
        self.line.get(seq.0 as usize - 1).is_some_and(|entry| entry.epoch <= epoch)
    }

    /// The edit that was at this place in this epoch, and was lost later.
    fn lost_on(&self, at: Position) -> Option<&Lost> {
        let there = |lost: &&Lost| lost.epoch <= at.epoch && lost.lost_in > at.epoch;
        self.lost.get(&at.seq)?.iter().find(there)
    }

    fn accept(&mut self, env: &mut Env, epoch: Epoch, event: Event) {
        let seq = self.head().next();
        let edit = event.edit;
        env.check(event.seq == seq, || format!("event {} at {seq}", event.seq));
        let before = self.places.insert(edit, seq);
        env.check(before.is_none(), || format!("{edit:?} was applied twice: {before:?}, {seq}"));
        env.check(!self.refused.contains_key(&edit), || format!("{edit:?} was refused before"));
        let same_client = EditId { counter: Counter(u64::MAX), ..edit };
        let later = self.places.range(edit..=same_client).nth(1);
        env.check(later.is_none(), || format!("{edit:?} comes after {later:?}"));
        let intent = self.intents.get(&edit).ok_or("nobody asked for it".to_owned());
        if let Err(why) = intent.clone().and_then(|intent| intent::check(intent, &event.changes)) {
            env.fail(|| format!("event {seq} is not what was asked for: {why}"));
        }
        let banned = self.rights.check_ban(&event).err().filter(|_| env.setup.weights.clock == 0);
        env.check(banned.is_none(), || format!("event {seq} was not allowed: {banned:?}"));
        match intent.and_then(|intent| self.rights.follow(&event, intent, &self.world)) {
            Ok(how) => env.count(how),
            Err(why) => env.fail(|| format!("event {seq} was not allowed: {why}")),
        }
        let followed = self
            .intents
            .get(&edit)
            .map(|intent| prototypes::check(&event, intent, self.world.objects()));
        match followed.unwrap_or(Ok(None)) {
            Ok(how) => how.into_iter().for_each(|how| env.count(how)),
            Err(why) => env.fail(|| format!("event {seq}: {why}")),
        }
        if let Err(why) = self.world.follow(&event) {
            env.fail(|| format!("event {seq}: {why}"));
        }
        match places::check(self.world.objects()) {
            Ok(seen) => seen.into_iter().for_each(|what| env.count(what)),
            Err(why) => env.fail(|| format!("event {seq}: {why}")),
        }
        let hash = self.world.hash();
        let objects = Rc::new(self.world.objects().clone());
        self.line.push(Entry { epoch, event, hash, objects });
    }
}
