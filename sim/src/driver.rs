//! What happens to the world, step by step, and how it is judged at the end.

use std::collections::BTreeSet;

use avvy_model::BraneId;

use crate::client::Person;
use crate::env::Event;
use crate::sim::Sim;

/// Virtual time that a run may take to become quiet, in microseconds.
const QUIET_US: u64 = 300_000_000;

/// How far the wall clock is set at most, in milliseconds.
const MAX_STEP_MS: u64 = 3_600_000;

/// Something that the driver does.
type Action = fn(&mut Sim);

impl Sim {
    /// One action of the driver, then some time.
    pub(crate) fn step(&mut self) {
        let w = self.env.setup.weights;
        let actions: [(u64, Action); 16] = [
            (w.edit, Self::do_edit),
            (w.mingle, Self::do_mingle),
            (w.roam, Self::do_roam),
            (w.cut, Self::do_cut),
            (w.storm, Self::do_storm),
            (w.pause, Self::do_pause),
            (w.wander, Self::do_wander),
            (w.replace, Self::do_replace),
            (w.absent, Self::do_absent),
            (w.hash, Self::do_hash),
            (w.brane_crash, Self::do_brane_crash),
            (w.crash, Self::do_crash),
            (w.compact, Self::do_compact),
            (w.stall, Self::do_stall),
            (w.supersede, Self::do_supersede),
            (w.clock, Self::do_set_clock),
        ];
        let total: u64 = actions.iter().map(|(weight, _)| weight).sum();
        let mut drawn = self.env.rng.below(total);
        for (weight, action) in actions {
            if drawn < weight {
                action(self);
                break;
            }
            drawn -= weight;
        }
        self.open_anew_for_cells();
        let mean_us = match self.env.rng.below(50) {
            0 => 2_000_000,
            1..=5 => 100_000,
            _ => 5_000,
        };
        let pause_us = self.env.rng.exponential(mean_us);
        self.run_until(self.env.now_us + pause_us);
    }

    /// Takes the faults away, waits until all is quiet, and compares everything.
    pub(crate) fn finish(&mut self) {
        self.calm_down();
        let until_us = self.env.now_us + QUIET_US;
        while self.env.failure().is_none() && !self.is_quiet() {
            if self.env.now_us > until_us {
                let people: Vec<String> = self.people.iter().map(|p| p.unrest()).collect();
                let server = self.process.as_ref().map(|process| process.unrest());
                let missed: Vec<_> =
                    self.wanted().iter().filter_map(|brane| self.missed(*brane)).collect();
                self.env.fail(|| {
                    format!("it does not become quiet: {people:#?}\n{server:#?}\n{missed:#?}")
                });
                return;
            }
            self.run_until(self.env.now_us + 50_000);
            self.want_everything();
        }
        if self.env.failure().is_none() {
            self.judge_the_end();
        }
    }

    fn calm_down(&mut self) {
        self.env.trace(|| "calm".to_owned());
        self.heal();
        let setup = &mut self.env.setup;
        (setup.spike_ppm, setup.slow_store_ppm, setup.store_late_ppm) = (0, 0, 0);
        (setup.weights.cut, setup.weights.brane_crash) = (0, 0);
        if setup.weights.clock > 0 {
            // As late as it ever was, so that every ban ends.
            self.env.wall_step_ms = MAX_STEP_MS as i64;
        }
        let setup = &mut self.env.setup;
        let is_too_small = (setup.brane.max_sessions as u64) < setup.clients;
        setup.brane.max_sessions = 4_096;
        if is_too_small {
            self.do_brane_crash();
        }
        self.with_process(|process, ctx| process.unstall(ctx.env));
        for index in 0..self.people.len() {
            self.people[index].absent_until_us = 0;
            self.people[index].trickle_us = 0;
            self.env.after(0, Event::Resume(index));
            self.env.after(0, Event::Connect(index));
            let (mut outside, people) = self.outside();
            people[index].follow_everywhere(&mut outside);
        }
        self.want_everything();
        // Whatever crashed is back by then, and nobody begins anew.
        self.run_until(self.env.now_us + 3_000_000);
    }

    /// Those who were sent away, too.
    fn want_everything(&mut self) {
        for index in 0..self.people.len() {
            let person = &self.people[index];
            let branes = person.branes.iter().filter(|brane| !person.wants.contains(brane));
            for brane in branes.copied().collect::<Vec<_>>() {
                self.want(index, brane);
            }
        }
    }

    fn is_quiet(&mut self) -> bool {
        let people = &self.people;
        let settled = people.iter().all(|person| {
            person.open() == 0
                && person.branes.iter().all(|brane| {
                    let head = self.references.get(brane).map(|r| r.head());
                    let sees = |r| person.sees_what_it_wants(*brane, r);
                    person.machine.is_live(*brane)
                        && person.machine.position(*brane).map(|at| at.seq) == head
                        && self.references.get(brane).is_some_and(sees)
                        && person.is_served_fully(*brane)
                })
        });
        let is_open = |brane: &BraneId| self.process.as_ref().is_some_and(|p| p.is_open(*brane));
        let mut branes = self.wanted();
        branes.extend(self.references.keys().copied().filter(is_open));
        settled
            && branes.iter().all(|brane| self.is_stored(*brane))
            && self.wanted().iter().all(|brane| self.missed(*brane).is_none())
    }

    fn is_stored(&self, brane: BraneId) -> bool {
        let head = self.references.get(&brane).map(|reference| reference.head());
        self.head_on_disk(brane) == head
    }

    fn wanted(&self) -> BTreeSet<BraneId> {
        self.people.iter().flat_map(|person| person.branes.iter().copied()).collect()
    }

    fn judge_the_end(&mut self) {
        for brane in self.wanted() {
            let Some(reference) = self.references.get(&brane) else { continue };
            let (head, expected) = (reference.head(), reference.hash());
            let server = self.process.as_mut().and_then(|process| process.state_of(brane));
            let server = server.map(|(at, hash)| (at.seq, hash));
            self.env.check(server == Some((head, expected)), || {
                format!("the server holds {server:?}, the log says {head} {expected}")
            });
            for person in &mut self.people {
                let Some(replica) = person.machine.replica_mut(brane) else { continue };
                if let Some(scope) = replica.scope() {
                    let index = person.index;
                    let outcome = reference.judge_part(replica, &scope);
                    self.env.check(outcome.is_ok(), || format!("client {index} ends: {outcome:?}"));
                    self.env.count("area: copy compared at the end");
                    continue;
                }
                let hash = replica.state_hash();
                self.env.check(hash == expected, || {
                    format!("client {} ends with {hash}, the log says {expected}", person.index)
                });
                self.env.count("copy compared at the end");
                self.env.count("people compared at the end");
            }
        }
        self.judge_the_disk();
    }

    fn do_edit(&mut self) {
        let index = self.env.rng.below(self.people.len() as u64) as usize;
        let (mut outside, people) = self.outside();
        people[index].edit(&mut outside);
    }

    fn do_mingle(&mut self) {
        let index = self.env.rng.below(self.people.len() as u64) as usize;
        let (mut outside, people) = self.outside();
        people[index].mingle(&mut outside);
    }

    /// Every other time somebody whose copy is under way.
    fn do_roam(&mut self) {
        let is_under_way = |index: &usize| self.people[*index].is_catching_up();
        let under_way: Vec<usize> = (0..self.people.len()).filter(is_under_way).collect();
        let any = self.env.rng.below(self.people.len() as u64) as usize;
        let index = match self.env.rng.pick(&under_way).copied() {
            Some(index) if self.env.rng.below(2) == 0 => index,
            _ => any,
        };
        let (mut outside, people) = self.outside();
        people[index].roam(&mut outside);
    }

    /// Cells count from the next opening on, which should not be too far away.
    fn open_anew_for_cells(&mut self) {
        let waiting = self.references.iter().filter(|(_, reference)| reference.awaits_cells());
        let waiting: Vec<BraneId> = waiting.map(|(brane, _)| *brane).collect();
        if let Some(brane) = self.env.rng.pick(&waiting).copied()
            && self.env.rng.below(10) == 0
            && self.with_process(|process, ctx| process.crash_brane(ctx, brane)) == Some(true)
        {
            self.env.count("brane opened anew for its cells");
        }
    }

    fn do_cut(&mut self) {
        // Every other cut is where it hurts: while a copy is being brought up to date.
        let is_under_way = |p: &&Person| p.is_catching_up() || p.waits_to_be_let_in();
        let catching_up = self.people.iter().filter(is_under_way);
        let mut conns: Vec<_> = catching_up.filter_map(|person| person.conn).collect();
        if conns.is_empty() || self.env.rng.below(2) == 0 {
            conns = self.net.conns.keys().copied().collect();
        } else {
            self.env.count("connection cut while catching up");
        }
        let Some(conn) = self.env.rng.pick(&conns).copied() else { return };
        // Some ends find out at once, others keep a dead connection for long.
        let notice_us = *self.env.rng.pick(&[1_000, 500_000, 40_000_000]).unwrap_or(&1_000);
        self.env.count("connection cut");
        self.env.trace(|| format!("{conn:?} is cut"));
        self.net.cut(&mut self.env, conn, notice_us);
    }

    /// Everybody is cut off, and is back at about the same time.
    fn do_storm(&mut self) {
        self.env.count("storm of connections");
        let conns: Vec<_> = self.net.conns.keys().copied().collect();
        for conn in conns {
            self.net.cut(&mut self.env, conn, 1_000);
        }
    }

    fn do_pause(&mut self) {
        let index = self.env.rng.below(self.people.len() as u64) as usize;
        let person = &mut self.people[index];
        if person.trickle_us > 0 {
            person.trickle_us = 0;
        } else if self.env.rng.below(4) == 0 {
            person.trickle_us = *self.env.rng.pick(&[2_000, 20_000, 100_000]).unwrap_or(&1);
            self.env.count("reader message by message");
        }
        if !self.people[index].paused {
            self.people[index].paused = true;
            self.env.count("slow reader");
            if self.people[index].has_areas() {
                self.env.count("slow reader of an area");
            }
            let pause_us = *self.env.rng.pick(&[20_000, 500_000, 8_000_000]).unwrap_or(&1);
            self.env.after(pause_us, Event::Resume(index));
        }
    }

    fn do_wander(&mut self) {
        let index = self.env.rng.below(self.people.len() as u64) as usize;
        let branes = self.people[index].branes.clone();
        let Some(brane) = self.env.rng.pick(&branes).copied() else { return };
        if self.people[index].wants.remove(&brane) {
            self.env.count("client leaves a brane");
            let (mut outside, people) = self.outside();
            people[index].act(&mut outside, |machine, now_ms, out| {
                machine.leave(now_ms, brane, out);
            });
        } else {
            self.want(index, brane);
        }
    }

    fn want(&mut self, index: usize, brane: BraneId) {
        let (mut outside, people) = self.outside();
        people[index].wants.insert(brane);
        people[index].act(&mut outside, |machine, now_ms, out| machine.join(now_ms, brane, out));
    }

    fn do_replace(&mut self) {
        let index = self.env.rng.below(self.people.len() as u64) as usize;
        self.env.count("client goes for good");
        if let Some(conn) = self.people[index].conn {
            self.net.client_lets_go(&mut self.env, conn);
        }
        self.people[index] = self.draw_person(index);
        self.env.after(1_000, Event::Connect(index));
    }

    fn do_absent(&mut self) {
        let index = self.env.rng.below(self.people.len() as u64) as usize;
        let away_us = self.env.rng.range(1_000_000, 60_000_000);
        self.people[index].absent_until_us = self.env.now_us + away_us;
        self.env.count("client stays away for long");
        if let Some(conn) = self.people[index].conn {
            self.net.cut(&mut self.env, conn, 1_000);
        }
    }

    fn do_hash(&mut self) {
        let index = self.env.rng.below(self.people.len() as u64) as usize;
        let branes = self.people[index].branes.clone();
        let Some(brane) = self.env.rng.pick(&branes).copied() else { return };
        let (mut outside, people) = self.outside();
        people[index].act(&mut outside, |machine, now_ms, out| {
            machine.ask_hash(now_ms, brane, out);
        });
    }

    fn do_brane_crash(&mut self) {
        let branes: Vec<BraneId> = self.references.keys().copied().collect();
        for brane in branes {
            if self.env.rng.below(2) == 0 || self.env.setup.brane.max_sessions == 4_096 {
                self.with_process(|process, ctx| process.crash_brane(ctx, brane));
            }
        }
    }

    fn do_crash(&mut self) {
        if self.process.is_some() {
            self.env.count("crash of the process");
            self.crash();
        }
    }

    fn do_compact(&mut self) {
        self.with_process(|process, ctx| process.compact(ctx));
    }

    fn do_stall(&mut self) {
        self.with_process(|process, ctx| process.stall(ctx.env));
    }

    fn do_supersede(&mut self) {
        let branes: Vec<BraneId> = self.references.keys().copied().collect();
        let Some(brane) = self.env.rng.pick(&branes).copied() else { return };
        self.with_process(|process, ctx| process.supersede(ctx, brane));
    }

    fn do_set_clock(&mut self) {
        let before_ms = self.env.wall_step_ms;
        self.env.wall_step_ms = self.env.rng.below(2 * MAX_STEP_MS) as i64 - MAX_STEP_MS as i64;
        let is_forth = self.env.wall_step_ms > before_ms;
        self.env.count(if is_forth { "wall clock set forth" } else { "wall clock set back" });
    }
}
