//! The connections of a client: one to each node that serves a brane of it.
//!
//! There is one at first, and it goes where its branes are. When a brane turns
//! out to be at another node while others are served here, it is given, with
//! its copy and its edits, to a connection of its own there. Two that come to
//! be at one node become one again, and one that has nothing to do is closed.

use std::future::poll_fn;
use std::task::{Context, Poll};

use avvy_model::BraneId;
use rustc_hash::FxHashMap;

use super::draw_client_id;
use super::route::websocket;
use super::session::{Event, ReadAll, Session, now_ms};
use super::transport::Ended;
use crate::machine::{ClientMachine, Notify, Output};

/// Nodes that a brane is followed to, one after another, before it waits where
/// it is: nodes that send one to each other will agree in a moment.
const MAX_PARTINGS: u32 = 3;
/// Tickets of one connection.
const TICKETS: u64 = 1 << 40;

/// The connections. Never none.
pub(super) struct Links {
    links: Vec<Session<ReadAll>>,
    /// Which is looked at first, in turns.
    next: usize,
    /// How many there have been.
    opened: u64,
    /// How often each brane was followed since it was last live.
    partings: FxHashMap<BraneId, u32>,
}

impl Links {
    pub(super) fn new(first: Session<ReadAll>) -> Self {
        Self { links: vec![first], next: 0, opened: 1, partings: FxHashMap::default() }
    }

    /// The machine that has a brane; the first, if none has.
    pub(super) fn machine(&mut self, brane: BraneId) -> &mut ClientMachine {
        let at = self.at(brane);
        &mut self.links[at].machine
    }

    /// Lets that machine do something; what it has to say comes with the next
    /// [`Self::turn`].
    pub(super) fn act<T>(
        &mut self,
        brane: BraneId,
        act: impl FnOnce(&mut ClientMachine, u64, &mut Vec<Output>) -> T,
    ) -> T {
        let at = self.at(brane);
        self.links[at].act(act)
    }

    /// Goes on with another token, everywhere.
    pub(super) fn refresh(&mut self, token: &str) {
        for link in &mut self.links {
            link.act(|machine, now_ms, out| machine.refresh(now_ms, token.to_owned(), out));
        }
    }

    /// Whether no address that is known could be reached.
    pub(super) fn has_tried_all(&self) -> bool {
        self.links.iter().all(Session::has_tried_all)
    }

    /// Whether there is a connection to the node of a brane.
    pub(super) fn is_up(&self, brane: BraneId) -> bool {
        self.links[self.at(brane)].is_up()
    }

    /// Waits until there is news. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When a server said not to come back.
    pub(super) async fn turn(&mut self, events: &mut Vec<Event>) -> Result<(), Ended> {
        let at = poll_fn(|cx| self.poll(cx, events)).await?;
        let mut is_sent_on = false;
        for event in &*events {
            match event {
                Event::Notify(Notify::Live { brane, .. }) => drop(self.partings.remove(brane)),
                Event::Part { brane, address, retry_after_ms } => {
                    self.part(at, *brane, address, *retry_after_ms);
                }
                Event::Down(_) | Event::Moving => is_sent_on = true,
                Event::Notify(_) => {}
            }
        }
        if is_sent_on {
            self.gather(at);
        }
        self.close_idle();
        Ok(())
    }

    /// Closes all connections.
    pub(super) async fn close(&mut self) {
        for link in &mut self.links {
            link.close().await;
        }
    }

    fn at(&self, brane: BraneId) -> usize {
        let has = |link: &Session<ReadAll>| link.machine.branes().any(|of| of == brane);
        self.links.iter().position(has).unwrap_or_default()
    }

    /// Which of them has news.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        events: &mut Vec<Event>,
    ) -> Poll<Result<usize, Ended>> {
        let count = self.links.len();
        self.next = (self.next + 1) % count;
        for at in (0..count).map(|nth| (self.next + nth) % count) {
            if let Poll::Ready(turned) = self.links[at].poll_turn(cx, events) {
                return Poll::Ready(turned.map(|()| at));
            }
        }
        Poll::Pending
    }

    /// Has a brane served where it is, over a connection of its own.
    fn part(&mut self, from: usize, brane: BraneId, address: &str, retry_after_ms: Option<u64>) {
        let partings = self.partings.entry(brane).or_default();
        *partings += 1;
        if *partings > MAX_PARTINGS {
            // Here it is asked for again, a little later.
            *partings = 0;
            return;
        }
        // The brane may be left by now.
        let Some(parting) = self.links[from].machine.take_out(brane) else { return };
        let to = websocket(address);
        let there = self.links.iter().position(|link| link.is_up() && link.address() == to);
        let there = there.filter(|there| *there != from).unwrap_or_else(|| {
            tracing::debug!(%brane, address, "a connection to another node");
            let beside = &self.links[from];
            let (options, token) = (beside.machine_options().clone(), beside.machine.token());
            let machine = ClientMachine::new(options, token.to_owned(), Box::new(draw_client_id));
            let machine = machine.tickets_from(self.opened * TICKETS);
            let back_at_ms = retry_after_ms.map_or(0, |after_ms| now_ms().saturating_add(after_ms));
            let link = beside.beside(machine, ReadAll, address, back_at_ms);
            self.opened += 1;
            self.links.push(link);
            self.links.len() - 1
        });
        self.links[there].act(|machine, now_ms, out| machine.put_in(now_ms, 0, parting, out));
    }

    /// What is going to a node where another connection is joins that, when it
    /// would have got there.
    fn gather(&mut self, from: usize) {
        let (address, not_before_ms) = (self.links[from].address(), self.links[from].waits_until());
        let same = |(at, link): (usize, &Session<ReadAll>)| {
            (at != from && link.is_up() && link.address() == address).then_some(at)
        };
        if let Some(to) = self.links.iter().enumerate().find_map(same) {
            self.give_all(from, to, not_before_ms);
        }
    }

    fn give_all(&mut self, from: usize, to: usize, not_before_ms: u64) {
        let branes: Vec<BraneId> = self.links[from].machine.branes().collect();
        for brane in branes {
            if let Some(parting) = self.links[from].machine.take_out(brane) {
                self.links[to].act(|machine, now_ms, out| {
                    machine.put_in(now_ms, not_before_ms, parting, out);
                });
            }
        }
    }

    /// Branes that were left may be joined again: another one remembers them.
    fn close_idle(&mut self) {
        while self.links.len() > 1
            && let Some(idle) = self.links.iter().position(|link| link.machine.is_idle())
        {
            self.give_all(idle, usize::from(idle == 0), 0);
            let mut link = self.links.remove(idle);
            tokio::spawn(async move { link.close().await });
        }
    }
}
