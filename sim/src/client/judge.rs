//! What the server says and what the machine makes of it, held against the
//! reference.

use avvy_client::machine::{Notify, Ticket};
use avvy_client::replica::Replica;
use avvy_model::{BraneId, Code, Position};
use avvy_protocol::{CatchUp, Channel, Flush, FlushItem, Joined, Level, ServerMessage};

use super::viewer::Viewer;
use super::{Outside, Person, Submitted};
use crate::env::Env;
use crate::reference::Reference;

impl Person {
    /// A message before the machine gets it.
    pub(super) fn look_at(&mut self, outside: &mut Outside<'_>, message: &ServerMessage) {
        let seen = match message {
            ServerMessage::Joined(joined) => self.begin_viewer(outside, joined),
            ServerMessage::Left { channel, .. } => {
                self.part(*channel);
                self.viewers.retain(|_, viewer| viewer.channel != *channel);
                Ok(())
            }
            ServerMessage::Rewind { channel, to } => self.see_rewind(outside, *channel, *to),
            ServerMessage::Snapshot(part) => {
                self.viewer(part.channel).map_or(Ok(()), |(_, viewer)| viewer.part(part))
            }
            ServerMessage::Flush(flush) => self.see_flush(outside, flush),
            ServerMessage::AreaFlush(flush) => self.see_area_flush(outside, flush),
            ServerMessage::View(view) => self.see_view(outside, view),
            ServerMessage::VersionComplete { channel, version } => {
                self.viewer(*channel).map_or(Ok(()), |(_, viewer)| viewer.complete(*version))
            }
            ServerMessage::Level { channel, level, reason } => self
                .viewer(*channel)
                .map_or(Ok(()), |(_, viewer)| viewer.change_level(*level, *reason)),
            ServerMessage::Durable { channel, durable } => {
                if let Some((brane, _)) = self.viewer(*channel) {
                    self.promise(outside, brane, *durable);
                }
                Ok(())
            }
            _ => Ok(()),
        };
        if let Err(why) = seen {
            let index = self.index;
            outside.env.fail(|| format!("client {index} was shown what does not join: {why}"));
        }
    }

    fn begin_viewer(&mut self, outside: &mut Outside<'_>, joined: &Joined) -> Result<(), String> {
        let (brane, head) = (joined.brane, joined.head);
        let level = self.viewers.get(&brane).map(Viewer::level).unwrap_or_default();
        let has = match self.viewers.get(&brane) {
            // Started anew: from where it stands, whatever was sent at the join.
            Some(viewer) => {
                viewer.has().map(|(at, scope)| (Position { seq: at.seq, ..head }, scope))
            }
            None => self.resumes.get(&brane).copied().flatten(),
        };
        self.promise(outside, brane, Position { epoch: head.epoch, seq: joined.durable });
        self.count_join(outside.env, joined, has);
        if level >= Level::Near && joined.scope.is_some() {
            outside.env.count("level served: begun anew near");
        }
        let Some(reference) = outside.references.get(&brane) else { return Ok(()) };
        let fork = has.and_then(|(at, _)| reference.fork_behind(at, head.epoch));
        let wishes = self.wishes.entry(brane).or_default();
        let viewer = Viewer::begin(joined, has, fork, wishes, reference)?;
        self.viewers.insert(brane, viewer.at_level(level));
        Ok(())
    }

    fn see_rewind(
        &mut self,
        outside: &mut Outside<'_>,
        channel: Channel,
        to: Position,
    ) -> Result<(), String> {
        let Some((brane, viewer)) = self.viewer(channel) else { return Ok(()) };
        viewer.rewind(to.seq)?;
        let at = Position { epoch: viewer.epoch(), ..to };
        let given_in = outside.references.get(&brane).and_then(|r| r.given_in(at));
        match given_in {
            Some(epoch) if epoch != to.epoch => Err(format!("{to} was given in {epoch}")),
            _ => Ok(()),
        }
    }

    fn see_flush(&mut self, outside: &mut Outside<'_>, flush: &Flush) -> Result<(), String> {
        let viewers = self.viewers.iter_mut();
        let mut here = viewers.filter(|(_, viewer)| viewer.channel == flush.channel);
        let Some((&brane, viewer)) = here.next() else { return Ok(()) };
        let Some(reference) = outside.references.get(&brane) else { return Ok(()) };
        let outcome = viewer.flush(flush, reference).and_then(|()| reference.judge_log(flush));
        let skips = |item: &FlushItem| matches!(item, FlushItem::Skip(_));
        if flush.items.iter().any(skips) {
            outside.env.count("level served: moves left out");
        } else if !reference.is_window(flush.epoch, flush.from, flush.to) {
            outside.env.count("level served: several windows as one");
        }
        self.promise(outside, brane, Position { epoch: flush.epoch, seq: flush.durable });
        outcome
    }

    /// What the machine tells its user.
    pub(super) fn judge(&mut self, outside: &mut Outside<'_>, notify: Notify) {
        let index = self.index;
        outside.env.trace(|| format!("client {index}: {}", brief(&notify)));
        match notify {
            Notify::Ready { .. } => {}
            Notify::Joined { catch_up, .. } => outside.env.count(match catch_up {
                CatchUp::Snapshot => "catch-up by snapshot",
                CatchUp::Replay => "catch-up by replay",
                CatchUp::Diff => "catch-up by difference",
            }),
            Notify::People { brane, news } => self.take_people(outside, brane, &news),
            Notify::Live { brane, .. } => {
                self.backoff.worked();
                if self.viewers.get_mut(&brane).is_some_and(Viewer::was_resumed) {
                    outside.env.count("area: brought up by replay");
                }
                self.compare(outside, brane);
            }
            Notify::Flushed { brane, .. } | Notify::AreaFlushed { brane, .. } => {
                self.compare(outside, brane);
            }
            Notify::Viewed { brane, .. } => {
                outside.env.count("area: step to another view");
                self.compare(outside, brane);
            }
            Notify::Applied { brane, ticket, at } => self.judge_applied(outside, brane, ticket, at),
            Notify::Durable { brane, ticket, at } => {
                self.check_applied(outside, brane, ticket, at);
                self.promise(outside, brane, at);
                outside.env.count("edit durable");
                self.settle(outside, ticket);
            }
            Notify::Refused { brane, ticket, refusal } => {
                self.judge_refused(outside, brane, ticket, refusal.code);
            }
            Notify::Unknown { brane, ticket } => self.judge_unknown(outside, brane, ticket),
            Notify::Renamed { .. } => outside.env.count("client goes on under a new name"),
            Notify::Rewound { brane, to, lost } => self.judge_rewind(outside, brane, to, &lost),
            Notify::Broken { brane, error } => {
                outside.env.fail(|| format!("the copy of {brane} at client {index}: {error}"));
            }
            Notify::Hash { brane, at, theirs, ours } => {
                outside.env.count("state hash asked for");
                let expected = outside.references.get(&brane).and_then(|r| r.hash_at(at));
                let expected = expected.map(|hash| hash.to_bytes());
                outside
                    .env
                    .check(expected == Some(theirs), || format!("the server's hash at {at}"));
                let agrees = ours.is_none_or(|ours| ours == theirs);
                outside.env.check(agrees, || format!("client {index} has another hash at {at}"));
            }
            Notify::Rights { .. } | Notify::Changed { .. } => outside.env.count("own rights told"),
            Notify::Level { .. } => outside.env.count("level told"),
            Notify::Paused { .. } => outside.env.count("brane paused for a client"),
            Notify::Downgrade { address, .. } => {
                outside.env.fail(|| format!("client {index} is sent to {address}, without TLS"));
            }
            Notify::Closed { code: None, .. } => {}
            Notify::Closed { brane, code: Some(code) } => self.sent_away(outside, brane, code),
            Notify::Expiring { .. } | Notify::ServerError(_) => {}
        }
    }

    fn judge_applied(
        &mut self,
        outside: &mut Outside<'_>,
        brane: BraneId,
        ticket: Ticket,
        at: Position,
    ) {
        self.check_applied(outside, brane, ticket, at);
        if let Some(submitted) = self.open.get_mut(&ticket) {
            if submitted.applied {
                outside.env.count("edit applied anew after a fork");
            }
            submitted.applied = true;
        }
    }

    fn judge_refused(
        &mut self,
        outside: &mut Outside<'_>,
        brane: BraneId,
        ticket: Ticket,
        code: Code,
    ) {
        outside.env.count("edit refused");
        match code {
            Code::PropertyReserved => {
                outside.env.count("defaults made up by a client are refused");
            }
            Code::CellTaken => outside.env.count("cell taken"),
            Code::SlotTaken => outside.env.count("slot taken"),
            _ => {}
        }
        let settled = self.settle(outside, ticket);
        if let (Some(Submitted { id: Some(id), .. }), Some(reference)) =
            (settled, outside.references.get_mut(&brane))
        {
            reference.refused(outside.env, id);
        }
        let passing = matches!(code, Code::NotJoined | Code::OutcomeUnknown);
        outside
            .env
            .check(!passing || !self.wants.contains(&brane), || format!("{code} is no last word"));
    }

    /// After every window: the copy is what the log says.
    fn compare(&mut self, outside: &mut Outside<'_>, brane: BraneId) {
        let Some(replica) = self.machine.replica_mut(brane) else { return };
        if let Some(scope) = replica.scope() {
            return self.compare_part(outside, brane, scope);
        }
        let at = replica.position();
        let hash = replica.state_hash();
        self.check_presence(outside, brane, at);
        let Some(replica) = self.machine.replica_mut(brane) else { return };
        let Some(reference) = outside.references.get(&brane) else { return };
        let expected = reference.hash_at(at);
        let index = self.index;
        outside.env.check(expected == Some(hash), || {
            let differences = reference.differences(replica);
            format!("client {index} sees another world at {at}: {differences:?}")
        });
        judge_instances(outside.env, replica);
        outside.env.count("copy compared");
    }

    /// Who was banned sees nothing of what came after that.
    fn check_presence(&self, outside: &mut Outside<'_>, brane: BraneId, at: Position) {
        let rights = outside.references.get(&brane).map(Reference::rights);
        let Some((since, ban)) = rights.and_then(|rights| rights.ban(self.user)) else { return };
        // Where somebody sets the clock, a ban may begin anew.
        if outside.env.setup.weights.clock == 0 && ban.counts(outside.env.unix_ms()) {
            outside.env.check(at.seq < since, || {
                format!("{} was banned at {since} and sees {at}", self.user)
            });
        }
    }

    fn check_applied(
        &self,
        outside: &mut Outside<'_>,
        brane: BraneId,
        ticket: Ticket,
        at: Position,
    ) {
        let id = self.open.get(&ticket).and_then(|submitted| submitted.id);
        let true_ =
            id.zip(outside.references.get(&brane)).is_some_and(|(id, r)| r.was_applied(id, at));
        outside.env.check(true_, || format!("{id:?} was never at {at}"));
    }

    fn judge_unknown(&mut self, outside: &mut Outside<'_>, brane: BraneId, ticket: Ticket) {
        outside.env.count("edit ended as unknown");
        let Some(submitted) = self.settle(outside, ticket) else { return };
        let Some(id) = submitted.id else {
            return outside.env.fail(|| "an edit that was never sent ended as unknown".to_owned());
        };
        let memory_us = outside.env.setup.brane.limits.client_memory_ms * 1_000;
        let is_old = outside.env.now_us - submitted.submitted_us > memory_us / 2;
        if is_old || self.shut_out || !self.wants.contains(&brane) {
            return;
        }
        // The server forgets nothing that is in its log, and no outcome within
        // the window that clients keep to.
        let place = outside.references.get(&brane).and_then(|r| r.place(id));
        outside.env.check(place.is_none(), || format!("{id:?} is at {place:?}, and was forgotten"));
    }

    fn judge_rewind(
        &mut self,
        outside: &mut Outside<'_>,
        brane: BraneId,
        to: Position,
        lost: &[Ticket],
    ) {
        outside.env.count("rewind seen by a client");
        // The worst moment to lose the connection: half mended.
        if outside.env.rng.below(4) == 0 {
            self.cut_soon(outside);
        }
        let Some(reference) = outside.references.get(&brane) else { return };
        for ticket in lost {
            let id = self.open.get(ticket).and_then(|submitted| submitted.id);
            let place = id.and_then(|id| reference.place(id));
            let still_there = place.is_some_and(|place| place <= to.seq);
            outside.env.check(!still_there, || format!("{id:?} is not lost, it is at {place:?}"));
        }
    }

    pub(super) fn promise(&self, outside: &mut Outside<'_>, brane: BraneId, at: Position) {
        if let Some(reference) = outside.references.get_mut(&brane) {
            reference.promise(outside.env, at);
        }
    }

    fn settle(&mut self, outside: &mut Outside<'_>, ticket: Ticket) -> Option<Submitted> {
        let settled = self.open.remove(&ticket);
        outside.env.check(settled.is_some(), || format!("{ticket:?} had its last word before"));
        settled
    }

    pub(super) fn viewer(&mut self, channel: Channel) -> Option<(BraneId, &mut Viewer)> {
        let viewers = self.viewers.iter_mut();
        viewers.map(|(brane, viewer)| (*brane, viewer)).find(|(_, v)| v.channel == channel)
    }
}

/// Instances have what they do not override.
pub(super) fn judge_instances(env: &mut Env, replica: &Replica) {
    match Reference::judge_instances(replica) {
        Ok(0) => {}
        Ok(_) => env.count("instances compared"),
        Err(why) => env.fail(|| format!("a copy at {}: {why}", replica.position())),
    }
}

fn brief(notify: &Notify) -> String {
    match notify {
        Notify::Flushed { flush, .. } => {
            format!(
                "Flushed {}.({}..{}] durable {}",
                flush.epoch, flush.from, flush.to, flush.durable
            )
        }
        Notify::AreaFlushed { flush, .. } => {
            format!(
                "AreaFlushed {}.({}..{}] durable {}, {} cells, left {:?}, entered {:?}",
                flush.epoch,
                flush.from,
                flush.to,
                flush.durable,
                flush.cells.len(),
                flush.left,
                flush.entered.iter().map(|at| at.handle).collect::<Vec<_>>()
            )
        }
        other => format!("{other:?}"),
    }
}
