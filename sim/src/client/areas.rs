//! People who see parts of a brane, and walk.

use avvy_client::machine::ClientMachine;
use avvy_model::{Area, BraneId, Handle, Position, Scope};
use avvy_protocol::{AreaFlush, CatchUp, Channel, FlushItem, Joined, Level, MoveRecord, ViewPart};

use super::judge::judge_instances;
use super::viewer::Has;
use super::{Outside, Person};
use crate::env::Env;
use crate::reference::Reference;

impl Person {
    /// Whether it sees a part of a brane, or wants to.
    pub(crate) fn has_areas(&self) -> bool {
        !self.areas.is_empty()
    }

    /// Looks at something else: near, far away, or the whole brane.
    pub(crate) fn roam(&mut self, outside: &mut Outside<'_>) {
        let Some(brane) = outside.env.rng.pick(&self.branes).copied() else { return };
        if !self.roams {
            return;
        }
        let area = draw_area(outside.env, self.areas.get(&brane).copied());
        outside.env.count(match (self.areas.get(&brane), area) {
            (_, None) => "area: the whole brane wanted",
            (None, Some(_)) => "area: wanted",
            (Some(_), Some(_)) => "area: walk",
        });
        if self.is_catching_up() {
            outside.env.count("area: walk while catching up");
        }
        outside.env.trace(|| format!("client {} looks at {area:?} of {brane}", self.index));
        match area {
            Some(area) => drop(self.areas.insert(brane, area)),
            None => drop(self.areas.remove(&brane)),
        }
        self.act(outside, |machine, now_ms, out| machine.look(now_ms, brane, area, out));
    }

    /// Whether the copy is of what is wanted.
    pub(crate) fn sees_what_it_wants(&self, brane: BraneId, reference: &Reference) -> bool {
        let Some(viewer) = self.viewers.get(&brane) else { return false };
        let (scope, epoch) = (viewer.scope(), reference.epoch());
        let wanted = self.areas.get(&brane).map(|area| reference.view(epoch, *area));
        wanted == scope.map(|scope| scope.view)
            && scope.is_none_or(|scope| reference.has_cells_of(epoch, &scope))
    }

    /// The server is told to show something else.
    pub(super) fn wish(&mut self, channel: Channel, area: Option<Area>) {
        let here = |brane: &&BraneId| self.machine.channel(**brane) == Some(channel);
        if let Some(brane) = self.branes.iter().find(here) {
            self.wishes.entry(*brane).or_default().add(area);
        }
    }

    /// Whether it is served everything, or not in a brane at all.
    pub(crate) fn is_served_fully(&self, brane: BraneId) -> bool {
        self.viewers.get(&brane).is_none_or(|viewer| viewer.level() == Level::Full)
    }

    pub(super) fn count_join(&self, env: &mut Env, joined: &Joined, has: Option<Has>) {
        let had = has.map(|(_, scope)| scope.is_some());
        match (joined.catch_up, had, joined.scope.is_some()) {
            (CatchUp::Replay, _, true) => env.count("area: resumed by replay"),
            (_, Some(true), true) => env.count("area: fresh start instead of another"),
            (_, None, true) => env.count("area: fresh start"),
            (_, Some(false), true) => env.count("area: from the whole brane"),
            (_, Some(true), false) => env.count("area: to the whole brane"),
            (_, _, false) => {}
        }
    }

    pub(super) fn see_area_flush(
        &mut self,
        outside: &mut Outside<'_>,
        flush: &AreaFlush,
    ) -> Result<(), String> {
        let Some((brane, viewer)) = self.viewer(flush.channel) else { return Ok(()) };
        let (outcome, scope) = (viewer.area_flush(flush), viewer.scope());
        let level = viewer.level();
        let AreaFlush { epoch, durable, cells, left, entered, .. } = flush;
        self.promise(outside, brane, Position { epoch: *epoch, seq: *durable });
        let mut kinds = Vec::new();
        if cells.is_empty() && left.is_empty() && entered.is_empty() {
            kinds.push("area: quiet view told late");
        }
        if level >= Level::Collapsed && !cells.is_empty() {
            kinds.push("level served: windows of an area");
        }
        if !left.is_empty() {
            kinds.push("area: objects left");
        }
        if !entered.is_empty() {
            kinds.push("area: objects entered");
        }
        if scope.is_some_and(|scope| has_followed(&self.machine, brane, &scope, flush)) {
            kinds.push("area: crossing followed");
        }
        kinds.into_iter().for_each(|kind| outside.env.count(kind));
        outcome
    }

    pub(super) fn see_view(
        &mut self,
        outside: &mut Outside<'_>,
        view: &ViewPart,
    ) -> Result<(), String> {
        let viewers = self.viewers.iter_mut();
        let mut here = viewers.filter(|(_, viewer)| viewer.channel == view.part.channel);
        let Some((brane, viewer)) = here.next() else { return Ok(()) };
        let Some(reference) = outside.references.get(brane) else { return Ok(()) };
        if viewer.level() > Level::Full {
            outside.env.count("level served: step of one that recovers");
        }
        if !view.part.gone.is_empty() {
            outside.env.count("area: step away from objects");
        }
        viewer.view(view, self.wishes.entry(*brane).or_default(), reference)
    }

    /// After every window and step: the copy is what the log says, as far as
    /// it goes.
    pub(super) fn compare_part(&self, outside: &mut Outside<'_>, brane: BraneId, scope: Scope) {
        let index = self.index;
        let Some(replica) = self.machine.replica(brane) else { return };
        let Some(reference) = outside.references.get(&brane) else { return };
        let told = self.viewers.get(&brane).map(|viewer| viewer.scope());
        outside.env.check(told == Some(Some(scope)), || {
            format!("client {index} was told of {told:?}, its copy is of {scope:?}")
        });
        match reference.judge_part(replica, &scope) {
            Err(why) => {
                let at = replica.position();
                outside.env.fail(|| format!("client {index} sees at {at}, {scope:?}: {why}"));
            }
            Ok(in_layer) => {
                judge_instances(outside.env, replica);
                outside.env.count("area: copy compared");
                if in_layer > 0 {
                    outside.env.count("area: objects of the layer seen");
                }
                if replica.len() as u64 > 1 + in_layer {
                    outside.env.count("area: objects of cells seen");
                }
            }
        }
    }
}

/// Whether a window moves an object of the copy to another cell and neither
/// takes it away nor brings it anew.
fn has_followed(machine: &ClientMachine, brane: BraneId, scope: &Scope, flush: &AreaFlush) -> bool {
    let Some(replica) = machine.replica(brane) else { return false };
    let crosses = |one: &MoveRecord| {
        let object = replica.get(one.handle).filter(|object| object.parent == Handle::ROOT);
        object.is_some_and(|object| {
            let to = one.patch.apply(&object.transform).position;
            scope.grid.cell(object.transform.position) != scope.grid.cell(to)
        })
    };
    let is_new = |handle: Handle| flush.entered.iter().any(|at| at.handle == handle);
    flush.cells.iter().flatten().any(|item| match item {
        FlushItem::Moves(moves) => moves.iter().any(|one| {
            one.handle != Handle::ROOT
                && crosses(one)
                && !flush.left.contains(&one.handle)
                && !is_new(one.handle)
        }),
        FlushItem::Event(_) | FlushItem::Skip(_) => false,
    })
}

/// Where somebody looks next: a step further, with another radius, far away, or
/// at everything.
fn draw_area(env: &mut Env, now: Option<Area>) -> Option<Area> {
    let spread = env.setup.spread;
    let rng = &mut env.rng;
    let around = |rng: &mut crate::rng::Rng, middle: [i32; 3], far: u64| {
        let mut at = middle.map(|p| p.saturating_add(rng.below(2 * far + 1) as i32 - far as i32));
        at[1] /= 8;
        at
    };
    let center = match (rng.below(10), now) {
        (0, _) => return None,
        (1, _) => around(rng, [0; 3], 20 * spread),
        (2..=6, Some(area)) => around(rng, area.center, spread / 4),
        _ => around(rng, [0; 3], spread),
    };
    let radius = match (rng.below(4), now) {
        (0, None) | (1, _) => rng.below(4 * spread),
        (0, Some(area)) => u64::from(area.radius),
        _ => rng.below(spread / 2),
    };
    Some(Area { center, radius: radius as u32 })
}
