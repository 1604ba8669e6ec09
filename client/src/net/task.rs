//! The one task of a [`super::Client`]: commands in, news out.

use std::ops::ControlFlow;

use avvy_model::{Area, BraneId, Edit, Object, Target};
use avvy_protocol::Channel;
use rustc_hash::FxHashMap;
use tokio::sync::{mpsc, oneshot, watch};

use super::client::{ClientError, EditError, HashCheck, Progress, WorldChange};
use super::links::Links;
use super::session::{Event, ReadAll, Session};
use super::transport::{ConnectError, Ended};
use crate::machine::{Notify, Say, Ticket};
use crate::people::Roster;
use crate::replica::Replica;

/// Looks at a copy, if there is one.
pub(super) type ReadCopy = Box<dyn FnOnce(Option<&mut Replica>) + Send>;

/// Looks at who is there, if that is followed.
pub(super) type ReadRoster = Box<dyn FnOnce(Option<&Roster>) + Send>;

/// What the handles ask for.
pub(super) enum Command {
    Look { brane: BraneId, area: Option<Area> },
    Join { brane: BraneId, reply: oneshot::Sender<Result<(), ClientError>> },
    Leave { brane: BraneId },
    Submit { brane: BraneId, edit: Edit, progress: watch::Sender<Progress> },
    Subscribe { brane: BraneId, sender: mpsc::Sender<WorldChange> },
    Read { brane: BraneId, read: ReadCopy },
    Predict { brane: BraneId, target: Target, reply: oneshot::Sender<Option<Object>> },
    Hash { brane: BraneId, reply: oneshot::Sender<HashCheck> },
    Follow { brane: BraneId },
    Say { brane: BraneId, say: Say },
    Roster { brane: BraneId, read: ReadRoster },
    Refresh { token: String },
    Close { reply: oneshot::Sender<()> },
}

/// Who waits for what.
struct Task {
    links: Links,
    expires: watch::Sender<Option<u64>>,
    ready: Option<oneshot::Sender<Result<(), ConnectError>>>,
    edits: FxHashMap<Ticket, watch::Sender<Progress>>,
    joins: Vec<(BraneId, oneshot::Sender<Result<(), ClientError>>)>,
    hashes: Vec<AskedHash>,
    subscribers: Vec<(BraneId, mpsc::Sender<WorldChange>)>,
}

/// Somebody who waits for a state hash. One question of a brane is under way
/// at a time: the server answers two that come close together once.
struct AskedHash {
    brane: BraneId,
    /// An answer comes on no other.
    channel: Channel,
    reply: oneshot::Sender<HashCheck>,
}

/// Runs until it is closed, all handles are gone, or the server says not to
/// come back.
pub(super) async fn run(
    session: Session<ReadAll>,
    mut commands: mpsc::Receiver<Command>,
    expires: watch::Sender<Option<u64>>,
    ready: oneshot::Sender<Result<(), ConnectError>>,
) {
    let mut task = Task {
        links: Links::new(session),
        expires,
        ready: Some(ready),
        edits: FxHashMap::default(),
        joins: Vec::new(),
        hashes: Vec::new(),
        subscribers: Vec::new(),
    };
    let mut events = Vec::new();
    let mut reply = None;
    loop {
        tokio::select! {
            turned = task.links.turn(&mut events) => {
                let flow = events.drain(..).try_for_each(|event| task.on_event(event));
                task.forget_hashes();
                if let Err(ended) = turned {
                    task.publish_down(&ended, |_| true);
                    task.refuse_connection(ended);
                    break;
                }
                if flow.is_break() {
                    break;
                }
            }
            command = commands.recv() => match command {
                None => break,
                Some(Command::Close { reply: closed }) => {
                    reply = Some(closed);
                    break;
                }
                Some(command) => task.on_command(command),
            }
        }
    }
    task.links.close().await;
    drop(task);
    if let Some(reply) = reply {
        // Nobody waits any more: fine.
        let _ = reply.send(());
    }
}

impl Task {
    fn on_command(&mut self, command: Command) {
        match command {
            Command::Look { brane, area } => {
                self.links
                    .act(brane, |machine, now_ms, out| machine.look(now_ms, brane, area, out));
            }
            Command::Join { brane, reply } => {
                self.links.act(brane, |machine, now_ms, out| machine.join(now_ms, brane, out));
                if self.links.machine(brane).is_live(brane) {
                    // Whoever asked may be gone.
                    let _ = reply.send(Ok(()));
                } else {
                    self.joins.push((brane, reply));
                }
            }
            Command::Leave { brane } => {
                self.links.act(brane, |machine, now_ms, out| machine.leave(now_ms, brane, out));
            }
            Command::Submit { brane, edit, progress } => {
                let taken = self
                    .links
                    .act(brane, |machine, now_ms, out| machine.submit(now_ms, brane, edit, out));
                match taken {
                    Ok(ticket) => {
                        self.edits.insert(ticket, progress);
                    }
                    Err(error) => {
                        progress.send_replace(Progress::Failed(EditError::NotTaken(error)));
                    }
                }
            }
            Command::Subscribe { brane, sender } => self.subscribers.push((brane, sender)),
            Command::Read { brane, read } => read(self.links.machine(brane).replica_mut(brane)),
            Command::Predict { brane, target, reply } => {
                // Whoever asked may be gone.
                let _ = reply.send(self.links.machine(brane).predicted(brane, target));
            }
            Command::Hash { brane, reply } => {
                if let Some(channel) = self.links.machine(brane).channel(brane) {
                    let is_first = self.hashes.iter().all(|asked| asked.brane != brane);
                    self.hashes.push(AskedHash { brane, channel, reply });
                    if is_first {
                        self.ask_hash(brane);
                    }
                }
            }
            Command::Follow { brane } => {
                self.links.act(brane, |machine, _, out| machine.follow(brane, out));
            }
            Command::Say { brane, say } => {
                self.links.act(brane, |machine, _, out| machine.say(brane, say, out));
            }
            Command::Roster { brane, read } => read(self.links.machine(brane).roster(brane)),
            Command::Refresh { token } => {
                self.links.refresh(&token);
            }
            Command::Close { .. } => {}
        }
    }

    fn on_event(&mut self, event: Event) -> ControlFlow<()> {
        match event {
            Event::Notify(notify) => {
                self.on_notify(notify);
                ControlFlow::Continue(())
            }
            Event::Moving | Event::Part { .. } => ControlFlow::Continue(()),
            Event::Down(ended) => {
                self.publish_down(&ended, |is_up| !is_up);
                if self.ready.is_none() || !(ended.code.is_some() || self.links.has_tried_all()) {
                    return ControlFlow::Continue(());
                }
                self.refuse_connection(ended);
                ControlFlow::Break(())
            }
        }
    }

    fn on_notify(&mut self, notify: Notify) {
        match notify {
            Notify::Ready { .. } => {
                if let Some(ready) = self.ready.take() {
                    // Whoever connected may be gone.
                    let _ = ready.send(Ok(()));
                }
            }
            Notify::Expiring { expires } => {
                self.expires.send_replace(Some(expires));
            }
            Notify::Live { brane, at, resynced } => {
                self.answer_joins(brane, || Ok(()));
                self.publish(brane, || WorldChange::Live { at, resynced });
            }
            Notify::Flushed { brane, flush } => {
                self.publish(brane, || WorldChange::Flushed(flush.clone()));
            }
            Notify::People { brane, news } => {
                self.publish(brane, || WorldChange::People(news.clone()));
            }
            Notify::AreaFlushed { brane, flush } => {
                self.publish(brane, || WorldChange::AreaFlushed(flush.clone()));
            }
            Notify::Viewed { brane, at, scope } => {
                self.publish(brane, || WorldChange::Viewed { at, scope });
            }
            Notify::Level { brane, level, reason } => {
                self.publish(brane, || WorldChange::Level { level, reason });
            }
            Notify::Rights { brane, own } => {
                self.publish(brane, || WorldChange::Rights(own.clone()));
            }
            Notify::Changed { brane, changed } => {
                self.publish(brane, || WorldChange::Changed(changed.clone()));
            }
            Notify::Rewound { brane, to, .. } => {
                self.publish(brane, || WorldChange::Rewound { to });
            }
            Notify::Downgrade { brane, address } => {
                self.answer_joins(brane, || Err(ClientError::Downgrade(address.clone())));
                self.publish(brane, || WorldChange::Downgrade { address: address.clone() });
            }
            Notify::Closed { brane, code } => {
                let code_or = code.unwrap_or(avvy_model::Code::NotJoined);
                self.answer_joins(brane, || Err(ClientError::Join(code_or)));
                self.publish(brane, || WorldChange::Closed { code });
                self.subscribers.retain(|(of, _)| *of != brane);
            }
            Notify::Applied { ticket, at, .. } => {
                if let Some(progress) = self.edits.get(&ticket) {
                    progress.send_replace(Progress::Applied(at));
                }
            }
            Notify::Durable { ticket, at, .. } => self.settle(ticket, Progress::Durable(at)),
            Notify::Refused { ticket, refusal, .. } => {
                self.settle(ticket, Progress::Failed(EditError::Refused(refusal)));
            }
            Notify::Unknown { ticket, .. } => {
                self.settle(ticket, Progress::Failed(EditError::Unknown));
            }
            Notify::Hash { brane, at, theirs, ours } => {
                self.answer_hash(brane, HashCheck { at, theirs, ours });
            }
            Notify::Broken { brane, error } => {
                tracing::warn!(%brane, %error, "the copy does not fit and is fetched again");
            }
            Notify::ServerError(error) => {
                tracing::debug!(code = %error.code, trace = %error.trace, "server error");
            }
            Notify::Joined { .. } | Notify::Renamed { .. } | Notify::Paused { .. } => {}
        }
    }

    fn ask_hash(&mut self, brane: BraneId) {
        self.links.act(brane, |machine, now_ms, out| machine.ask_hash(now_ms, brane, out));
    }

    /// Answers who asked first, and asks again for the next.
    fn answer_hash(&mut self, brane: BraneId, check: HashCheck) {
        if let Some(index) = self.hashes.iter().position(|asked| asked.brane == brane) {
            // Whoever asked may be gone.
            let _ = self.hashes.remove(index).reply.send(check);
        }
        if self.hashes.iter().any(|asked| asked.brane == brane) {
            self.ask_hash(brane);
        }
    }

    /// Lets go of those whose answer will not come: the brane was left, is
    /// paused, or is joined anew.
    fn forget_hashes(&mut self) {
        let Self { links, hashes, .. } = self;
        hashes
            .retain(|asked| links.machine(asked.brane).channel(asked.brane) == Some(asked.channel));
    }

    fn settle(&mut self, ticket: Ticket, last: Progress) {
        if let Some(progress) = self.edits.remove(&ticket) {
            progress.send_replace(last);
        }
    }

    fn answer_joins(&mut self, brane: BraneId, answer: impl Fn() -> Result<(), ClientError>) {
        for (_, reply) in self.joins.extract_if(.., |(of, _)| *of == brane) {
            // Whoever asked may be gone.
            let _ = reply.send(answer());
        }
    }

    /// Tells the subscribers of a brane; the ones that are full are dropped.
    fn publish(&mut self, brane: BraneId, change: impl Fn() -> WorldChange) {
        self.subscribers.retain(|(of, sender)| *of != brane || sender.try_send(change()).is_ok());
    }

    /// Tells those of whose brane the connection is, or is not, up.
    fn publish_down(&mut self, ended: &Ended, concerns: impl Fn(bool) -> bool) {
        let Self { links, subscribers, .. } = self;
        subscribers.retain(|(brane, sender)| {
            !concerns(links.is_up(*brane))
                || sender.try_send(WorldChange::Down(ended.clone())).is_ok()
        });
    }

    fn refuse_connection(&mut self, ended: Ended) {
        if let Some(ready) = self.ready.take() {
            // Whoever connected may be gone.
            let _ = ready.send(Err(ConnectError::Closed(ended)));
        }
    }
}
