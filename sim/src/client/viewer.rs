//! What one copy is shown: written apart from the replica's own checks.

use avvy_model::{Area, Epoch, Position, Scope, Seq, View};
use avvy_protocol::{
    AreaFlush, CatchUp, Channel, Flush, FlushItem, Joined, Level, LevelReason, SnapshotPart,
    ViewPart,
};

use crate::reference::Reference;

/// A viewer of one brane on one connection.
#[derive(Clone, Debug)]
pub(super) struct Viewer {
    pub(super) channel: Channel,
    head: Position,
    /// Where the copy stands; `None` while it is being replaced.
    at: Option<Position>,
    /// What it is of; `None`: the whole brane.
    scope: Option<Scope>,
    parts: u32,
    wants_parts: bool,
    /// Where the copy has to go back to first.
    rewind: Option<Seq>,
    /// The step that has begun.
    step: Option<Step>,
    /// It is a copy of a part that goes on with what there was.
    resumes: bool,
    level: Level,
    /// Its level says that it begins anew before it is shown anything else.
    anew: bool,
}

/// A step to another view of which not all parts have come.
#[derive(Clone, Debug)]
struct Step {
    scope: Scope,
    at: Position,
    parts: u32,
}

/// What a client has.
pub(super) type Has = (Position, Option<Scope>);

/// What a client has asked to see on a connection, the oldest first; also with
/// joins that were answered late or not at all. The server does as it was
/// asked, in this order, and may pass some over.
#[derive(Clone, Debug, Default)]
pub(super) struct Wishes(Vec<Option<Area>>);

impl Wishes {
    pub(super) fn add(&mut self, area: Option<Area>) {
        self.0.push(area);
    }

    /// Whether something was done for one of them. Nothing more is done for
    /// those before it.
    fn has(&mut self, fits: impl Fn(Option<Area>) -> bool) -> bool {
        let found = self.0.iter().position(|wish| fits(*wish));
        self.0.drain(..found.unwrap_or(0));
        found.is_some()
    }

    fn has_area(&mut self, fits: impl Fn(Area) -> bool) -> bool {
        self.has(|wish| wish.is_some_and(&fits))
    }
}

impl Viewer {
    /// Begins at a join, with what the client said it has, and the fork that
    /// lies behind that.
    pub(super) fn begin(
        joined: &Joined,
        has: Option<Has>,
        fork: Option<Seq>,
        wishes: &mut Wishes,
        reference: &Reference,
    ) -> Result<Self, String> {
        let wants_parts = joined.catch_up != CatchUp::Replay;
        if has.is_none() && joined.catch_up != CatchUp::Snapshot {
            return Err(format!("{:?} for a client without a copy", joined.catch_up));
        }
        if !wants_parts && fork.is_some() {
            return Err(format!("a replay for a copy at {has:?}, past the fork at {fork:?}"));
        }
        let Joined { channel, head, scope, .. } = *joined;
        check_first_scope(joined, has, wishes, reference)?;
        let at = has.map(|(at, _)| at).filter(|_| !wants_parts);
        Ok(Self {
            channel,
            head,
            at,
            scope,
            parts: 0,
            wants_parts,
            rewind: fork,
            step: None,
            resumes: scope.is_some() && !wants_parts,
            level: Level::Full,
            anew: false,
        })
    }

    /// The level outlives a new start within the same join.
    pub(super) fn at_level(self, level: Level) -> Self {
        Self { level, ..self }
    }

    /// Whether a part is there that was replayed to, the first time.
    pub(super) fn was_resumed(&mut self) -> bool {
        std::mem::take(&mut self.resumes)
    }

    /// What it was told last.
    pub(super) fn level(&self) -> Level {
        self.level
    }

    /// A level rises as far as it has to and falls one by one.
    pub(super) fn change_level(&mut self, level: Level, reason: LevelReason) -> Result<(), String> {
        let before = std::mem::replace(&mut self.level, level);
        let falls = reason == LevelReason::Recovered;
        let fits =
            if falls { before != Level::Full && level == before.lower() } else { level > before };
        let is_wide = self.scope.is_some_and(|scope| scope.view.reach > 1);
        self.anew |= !falls && (level == Level::Resync || level == Level::Near && is_wide);
        if fits { Ok(()) } else { Err(format!("{level:?} after {before:?}, as {reason:?}")) }
    }

    fn goes_on(&self) -> Result<(), String> {
        if self.anew { Err(format!("no new start at {:?}", self.level)) } else { Ok(()) }
    }

    /// The copy is sent back: to the fork, no further, and only once.
    pub(super) fn rewind(&mut self, to: Seq) -> Result<(), String> {
        match self.rewind.take() {
            Some(fork) if fork == to && self.parts == 0 => Ok(()),
            due => Err(format!("a rewind to {to} where {due:?} was due")),
        }
    }

    /// A part of a snapshot.
    pub(super) fn part(&mut self, part: &SnapshotPart) -> Result<(), String> {
        self.goes_on()?;
        if !self.wants_parts || part.index != self.parts {
            return Err(format!("part {} where {} was due", part.index, self.parts));
        }
        if let Some(fork) = self.rewind {
            return Err(format!("a part without the rewind to {fork}"));
        }
        self.parts += 1;
        if part.last {
            self.wants_parts = false;
            self.at = Some(part.at);
        }
        Ok(())
    }

    /// A part of a step: the parts are in order and of one step, nothing comes
    /// between them, and the step leads to something that the client asked for.
    pub(super) fn view(
        &mut self,
        view: &ViewPart,
        wishes: &mut Wishes,
        reference: &Reference,
    ) -> Result<(), String> {
        self.goes_on()?;
        let ViewPart { scope, ref part } = *view;
        if self.level >= Level::Near && scope.view.reach > 1 {
            return Err(format!("a step to {scope:?} at {:?}", self.level));
        }
        let Some((at, old)) = self.at.zip(self.scope) else {
            return Err(format!("a step of a copy of {:?} at {:?}", self.scope, self.at));
        };
        if self.step.is_none() {
            let epoch = self.head.epoch;
            let leads_on = |area| is_step(old.view, scope.view, reference.view(epoch, area));
            if scope.grid != old.grid || !wishes.has_area(leads_on) {
                return Err(format!("a step from {old:?} to {scope:?}, wanted: {wishes:?}"));
            }
        }
        let is_on_line = self.joins(at, part.at.epoch) && part.at.seq >= at.seq;
        let step = self.step.get_or_insert(Step { scope, at: part.at, parts: 0 });
        let goes_on = step.scope == scope && step.at == part.at && step.parts == part.index;
        if !goes_on || !is_on_line {
            return Err(format!("part {} of {scope:?} at {} in {step:?}", part.index, part.at));
        }
        step.parts += 1;
        if part.last {
            (self.at, self.scope, self.step) = (Some(part.at), Some(scope), None);
        }
        Ok(())
    }

    /// A window: it must join.
    pub(super) fn flush(&mut self, flush: &Flush, reference: &Reference) -> Result<(), String> {
        let is_one = reference.is_window(flush.epoch, flush.from, flush.to);
        let hidden = flush.items.iter().map(|item| match item {
            FlushItem::Skip(edits) => *edits,
            FlushItem::Moves(_) | FlushItem::Event(_) => 0,
        });
        let is_whole = reference.hides_rulings_alone(flush, hidden.sum());
        if self.level < Level::Collapsed && !(is_one && is_whole) {
            return Err(format!("several windows as one at {:?}", self.level));
        }
        if self.scope.is_some() {
            return Err(format!("a whole window for a copy of {:?}", self.scope));
        }
        let Flush { epoch, from, to, durable, .. } = *flush;
        self.moves_on(epoch, [from, to], durable)
    }

    /// A window of an area, or several: they must join, too.
    pub(super) fn area_flush(&mut self, flush: &AreaFlush) -> Result<(), String> {
        if self.scope.is_none() {
            return Err("a window of an area for a copy of the whole brane".to_owned());
        }
        let AreaFlush { epoch, from, to, durable, .. } = *flush;
        self.moves_on(epoch, [from, to], durable)
    }

    fn moves_on(&mut self, epoch: Epoch, range: [Seq; 2], durable: Seq) -> Result<(), String> {
        self.goes_on()?;
        let [from, to] = range;
        let Some(at) = self.at else { return Err("a window before the snapshot".to_owned()) };
        let joins = self.joins(at, epoch) && from == at.seq && to > from && durable <= to;
        if !joins || self.step.is_some() {
            let step = &self.step;
            return Err(format!(
                "window {epoch}.({from}..{to}], durable {durable}, at {at} {step:?}"
            ));
        }
        self.at = Some(Position { epoch, seq: to });
        Ok(())
    }

    fn joins(&self, at: Position, epoch: Epoch) -> bool {
        (at.epoch..=self.head.epoch).contains(&epoch)
    }

    /// A replayed window was whole.
    pub(super) fn complete(&self, version: Position) -> Result<(), String> {
        if self.at == Some(version) && self.step.is_none() {
            Ok(())
        } else {
            Err(format!("{version} is complete, the copy is at {:?}", self.at))
        }
    }

    /// The opening that it joined.
    pub(super) fn epoch(&self) -> Epoch {
        self.head.epoch
    }

    /// What the copy is.
    pub(super) fn has(&self) -> Option<Has> {
        self.at.map(|at| (at, self.scope))
    }

    /// What the copy is of; `None`: the whole brane.
    pub(super) fn scope(&self) -> Option<Scope> {
        self.scope
    }
}

/// What is resumed stays as it is; what begins anew is what was asked for, from
/// near on.
fn check_first_scope(
    joined: &Joined,
    has: Option<Has>,
    wishes: &mut Wishes,
    reference: &Reference,
) -> Result<(), String> {
    let (scope, epoch) = (joined.scope, joined.head.epoch);
    let is_of_these_cells = scope.is_none_or(|scope| reference.has_cells_of(epoch, &scope));
    let is_of_the_same = has.is_some_and(|(_, old)| old == scope);
    let fits = match (joined.catch_up, scope) {
        (CatchUp::Snapshot, Some(Scope { view, .. })) => {
            let is_around = |area| reference.view(epoch, area).center == view.center;
            view.reach == 1 && wishes.has_area(is_around)
        }
        (CatchUp::Replay, Some(_)) => is_of_the_same && wishes.has_area(|_| true),
        (CatchUp::Replay, None) => is_of_the_same && wishes.has(|wish| wish.is_none()),
        (CatchUp::Diff, None) => is_of_the_same && wishes.has(|wish| wish.is_none()),
        (CatchUp::Diff, Some(_)) => false,
        (CatchUp::Snapshot, None) => wishes.has(|wish| wish.is_none()),
    };
    if fits && is_of_these_cells {
        Ok(())
    } else {
        Err(format!("{joined:?} for a client with {has:?} that asked for {wishes:?}"))
    }
}

/// Whether a step leads from one view on to another: first to its middle, with
/// no more around than before, then out to its reach.
fn is_step(from: View, to: View, goal: View) -> bool {
    let is_there = from.center == goal.center;
    let grows = is_there && from.reach < to.reach && to.reach <= goal.reach;
    let shrinks = is_there && from.reach > to.reach && to.reach == goal.reach;
    let moves = !is_there && to.reach <= from.reach && to.reach <= goal.reach;
    to.center == goal.center && (grows || shrinks || moves)
}
