//! The client as programs use it: handles to a task that owns the connection.

use std::sync::Arc;

use avvy_model::{Area, BraneId, Code, Edit, Object, Position, Refusal, Scope, Target};
use avvy_protocol::{AreaFlush, BraneChanged, Flush, Level, LevelReason, OwnRights, PeopleNews};
use tokio::sync::{mpsc, oneshot, watch};

use super::session::{ReadAll, Session};
use super::task::{Command, run};
use super::transport::{ConnectError, Ended};
use super::{ClientOptions, draw_client_id};
use crate::machine::{ClientMachine, Say, SubmitError};
use crate::people::Roster;
use crate::replica::Replica;

/// Commands that wait for the task. Beyond, callers wait.
const COMMANDS: usize = 256;

/// Why a call to a client failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// The client was closed, or the server said not to come back.
    #[error("the client is closed")]
    Closed,
    /// The brane cannot be joined.
    #[error("the brane cannot be joined: {0}")]
    Join(Code),
    /// The brane is at another node, to which the server gives this address
    /// without TLS, while the client came by TLS: it does not go there.
    #[error("the brane is at {0}, where what is said could be read on the way")]
    Downgrade(String),
    /// There is no copy of the brane that follows it, for now.
    #[error("there is no copy for now")]
    NoCopy,
}

/// Why an edit did not become durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The server refused it.
    #[error("refused: {}", .0.code)]
    Refused(Refusal),
    /// It may or may not be in the log: the server no longer knows, or the
    /// brane was left before it said.
    #[error("its outcome is not known")]
    Unknown,
    /// It was not taken.
    #[error(transparent)]
    NotTaken(#[from] SubmitError),
    /// The client was closed before the outcome came.
    #[error("the client is closed")]
    Closed,
}

/// How far an edit has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Waiting,
    Applied(Position),
    Durable(Position),
    Failed(EditError),
}

/// An edit on its way. Dropping this does not take the edit back.
#[derive(Debug)]
pub struct Pending {
    progress: watch::Receiver<Progress>,
}

impl Pending {
    /// Waits until the edit is in the log. After a rewind it may be in
    /// another place later.
    ///
    /// # Errors
    /// Any [`EditError`].
    pub async fn applied(&mut self) -> Result<Position, EditError> {
        let progress = self.progress.wait_for(|p| *p != Progress::Waiting).await;
        match progress.map(|progress| *progress) {
            Ok(Progress::Applied(at) | Progress::Durable(at)) => Ok(at),
            Ok(Progress::Failed(error)) => Err(error),
            Ok(Progress::Waiting) | Err(_) => Err(EditError::Closed),
        }
    }

    /// Waits until the edit survives a power cut.
    ///
    /// # Errors
    /// Any [`EditError`].
    pub async fn durable(mut self) -> Result<Position, EditError> {
        let last = |p: &Progress| matches!(p, Progress::Durable(_) | Progress::Failed(_));
        match self.progress.wait_for(last).await.map(|progress| *progress) {
            Ok(Progress::Durable(at)) => Ok(at),
            Ok(Progress::Failed(error)) => Err(error),
            Ok(Progress::Waiting | Progress::Applied(_)) | Err(_) => Err(EditError::Closed),
        }
    }
}

/// What a subscriber learns of a brane.
#[derive(Debug, Clone)]
pub enum WorldChange {
    /// The copy moved on by this window.
    Flushed(Arc<Flush>),
    /// The copy of a part moved on by this window.
    AreaFlushed(Arc<AreaFlush>),
    /// The copy is of another part: look at all of it again.
    Viewed {
        /// Where it stands.
        at: Position,
        /// What it is of.
        scope: Scope,
    },
    /// What the user may do, after each join and when it changes.
    Rights(Box<OwnRights>),
    /// What the brane is called, or who may see it, is another now.
    Changed(Box<BraneChanged>),
    /// The server sends so much from now on.
    Level {
        /// How much.
        level: Level,
        /// Why.
        reason: LevelReason,
    },
    /// The copy follows the log from here on. `resynced`: it was replaced or
    /// mended, so look at all of it again.
    Live {
        /// Where it stands.
        at: Position,
        /// Whether it was replaced or mended.
        resynced: bool,
    },
    /// The server lost everything after this position; `Live` follows.
    Rewound {
        /// What is left.
        to: Position,
    },
    /// News of the people who are there: see [`crate::people::Roster`].
    People(PeopleNews),
    /// The brane went to a node to which the server gives an address without
    /// TLS, while the client came by TLS: it does not follow. `Closed` follows.
    Downgrade {
        /// The node's URL.
        address: String,
    },
    /// The brane is left for good.
    Closed {
        /// Why, if it was not asked for.
        code: Option<Code>,
    },
    /// The connection is gone, or was not made. The next attempt comes by
    /// itself, unless the server said not to come back: then nothing follows.
    Down(Ended),
}

/// The state hashes of server and copy at one position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashCheck {
    /// The position.
    pub at: Position,
    /// The server's.
    pub theirs: [u8; 16],
    /// The copy's; `None` when the copy had moved past that position.
    pub ours: Option<[u8; 16]>,
}

/// A connection that keeps itself up. In a fleet it goes where its branes are,
/// and there is one to each node that serves any of them. Cloning shares it; the task ends when
/// all clones and [`Brane`]s are dropped.
#[derive(Clone, Debug)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    expires: watch::Receiver<Option<u64>>,
    options: Arc<ClientOptions>,
}

impl Client {
    /// Connects and waits for the server's welcome. Later cuts are mended
    /// without being told.
    ///
    /// # Errors
    /// When no address that is known is that of a server which welcomes the
    /// client, or the server says not to come.
    pub async fn connect(
        address: &str,
        token: &str,
        options: ClientOptions,
    ) -> Result<Self, ConnectError> {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (expires_in, expires) = watch::channel(None);
        let (ready_in, ready) = oneshot::channel();
        let draw = Box::new(draw_client_id);
        let machine = ClientMachine::new(options.machine.clone(), token.to_owned(), draw);
        let options = Arc::new(options);
        let session =
            Session::new(machine, ReadAll, address.to_owned(), ClientOptions::clone(&options));
        tokio::spawn(run(session, inbox, expires_in, ready_in));
        let closed = || ConnectError::Closed(Ended { code: None, reason: "task ended".to_owned() });
        ready.await.unwrap_or_else(|_| Err(closed()))?;
        Ok(Self { commands, expires, options })
    }

    /// Joins a brane and waits until the copy follows the log.
    ///
    /// # Errors
    /// When the brane cannot be joined.
    pub async fn join(&self, brane: BraneId) -> Result<Brane, ClientError> {
        let (reply, joined) = oneshot::channel();
        self.command(Command::Join { brane, reply }).await?;
        joined.await.unwrap_or(Err(ClientError::Closed))?;
        Ok(Brane { brane, client: self.clone() })
    }

    /// Joins a brane to see an area of it, and waits until the copy holds what
    /// is nearest; it grows from there, as [`WorldChange::Viewed`] tells.
    ///
    /// # Errors
    /// When the brane cannot be joined.
    pub async fn join_area(&self, brane: BraneId, area: Area) -> Result<Brane, ClientError> {
        self.command(Command::Look { brane, area: Some(area) }).await?;
        self.join(brane).await
    }

    /// Every change of a brane's copy from now on, as [`Brane::subscribe`];
    /// also before it is joined, so that nothing is missed.
    ///
    /// # Errors
    /// When the client is closed.
    pub async fn subscribe(
        &self,
        brane: BraneId,
    ) -> Result<mpsc::Receiver<WorldChange>, ClientError> {
        let (sender, receiver) = mpsc::channel(self.options.subscriber_backlog.max(1));
        self.command(Command::Subscribe { brane, sender }).await?;
        Ok(receiver)
    }

    /// Goes on with another token of the same user.
    ///
    /// # Errors
    /// When the client is closed.
    pub async fn refresh(&self, token: String) -> Result<(), ClientError> {
        self.command(Command::Refresh { token }).await
    }

    /// Waits until the server warns that the token ends; gives the Unix
    /// seconds at which it does.
    ///
    /// # Errors
    /// When the client is closed.
    pub async fn expiring(&mut self) -> Result<u64, ClientError> {
        self.expires.changed().await.map_err(|_| ClientError::Closed)?;
        self.expires.borrow_and_update().ok_or(ClientError::Closed)
    }

    /// Closes the connection. Edits whose outcome has not come end as
    /// [`EditError::Closed`].
    pub async fn close(self) {
        let (reply, closed) = oneshot::channel();
        if self.command(Command::Close { reply }).await.is_ok() {
            // The task ends either way.
            let _ = closed.await;
        }
    }

    async fn command(&self, command: Command) -> Result<(), ClientError> {
        self.commands.send(command).await.map_err(|_| ClientError::Closed)
    }
}

/// A joined brane.
#[derive(Clone, Debug)]
pub struct Brane {
    brane: BraneId,
    client: Client,
}

impl Brane {
    /// Which it is.
    pub fn id(&self) -> BraneId {
        self.brane
    }

    /// Wants to see another area; `None`: the whole brane. Whoever walks says
    /// so as he goes, ten times a second at most.
    ///
    /// # Errors
    /// When the client is closed.
    pub async fn look(&self, area: Option<Area>) -> Result<(), ClientError> {
        self.client.command(Command::Look { brane: self.brane, area }).await
    }

    /// Submits an edit. Edits of one client are applied in the order in which
    /// they were submitted. Waits only while very many commands are queued.
    ///
    /// # Errors
    /// When the client is closed.
    pub async fn submit(&self, edit: Edit) -> Result<Pending, ClientError> {
        let (progress_in, progress) = watch::channel(Progress::Waiting);
        let brane = self.brane;
        self.client.command(Command::Submit { brane, edit, progress: progress_in }).await?;
        Ok(Pending { progress })
    }

    /// Reads the copy, between two windows.
    ///
    /// # Errors
    /// When the client is closed or there is no copy (right after a resync).
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Replica) -> T + Send + 'static,
    ) -> Result<T, ClientError> {
        let (reply, answer) = oneshot::channel();
        let read = Box::new(move |replica: Option<&mut Replica>| {
            // Nobody waits any more: fine.
            let _ = reply.send(replica.map(read));
        });
        self.client.command(Command::Read { brane: self.brane, read }).await?;
        answer.await.map_err(|_| ClientError::Closed)?.ok_or(ClientError::NoCopy)
    }

    /// How an object will look when the own edits on their way have been
    /// applied, if nothing comes between: for showing them at once.
    ///
    /// # Errors
    /// When the client is closed.
    pub async fn predicted(&self, target: Target) -> Result<Option<Object>, ClientError> {
        let (reply, answer) = oneshot::channel();
        self.client.command(Command::Predict { brane: self.brane, target, reply }).await?;
        answer.await.map_err(|_| ClientError::Closed)
    }

    /// Every change of the copy from now on. A subscriber that falls behind
    /// by more than [`ClientOptions::subscriber_backlog`] gets what is
    /// queued and then the end: read the copy anew and subscribe again.
    ///
    /// # Errors
    /// When the client is closed.
    pub async fn subscribe(&self) -> Result<mpsc::Receiver<WorldChange>, ClientError> {
        self.client.subscribe(self.brane).await
    }

    /// Follows who is there, over cuts, too: [`Self::people`], and each change
    /// as [`WorldChange::People`].
    ///
    /// # Errors
    /// When the client is closed.
    pub async fn follow(&self) -> Result<(), ClientError> {
        self.client.command(Command::Follow { brane: self.brane }).await
    }

    /// Says something to the people around. While the brane is not joined,
    /// nothing is said.
    ///
    /// # Errors
    /// When the client is closed.
    pub async fn say(&self, say: Say) -> Result<(), ClientError> {
        self.client.command(Command::Say { brane: self.brane, say }).await
    }

    /// Reads who is there and where; nothing without [`Self::follow`].
    ///
    /// # Errors
    /// When the client is closed.
    pub async fn people<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Roster) -> T + Send + 'static,
    ) -> Result<Option<T>, ClientError> {
        let (reply, answer) = oneshot::channel();
        let read = Box::new(move |roster: Option<&Roster>| {
            // Nobody waits any more: fine.
            let _ = reply.send(roster.map(read));
        });
        self.client.command(Command::Roster { brane: self.brane, read }).await?;
        answer.await.map_err(|_| ClientError::Closed)
    }

    /// Asks the server for its state hash and compares it with the copy's.
    ///
    /// # Errors
    /// [`ClientError::NoCopy`] when the connection was cut, or the brane left,
    /// paused or joined anew before the answer came; or when the client is closed.
    pub async fn check(&self) -> Result<HashCheck, ClientError> {
        let (reply, answer) = oneshot::channel();
        self.client.command(Command::Hash { brane: self.brane, reply }).await?;
        let is_closed = || self.client.commands.is_closed();
        let lost = |_| if is_closed() { ClientError::Closed } else { ClientError::NoCopy };
        answer.await.map_err(lost)
    }

    /// Leaves the brane.
    ///
    /// # Errors
    /// When the client is closed.
    pub async fn leave(self) -> Result<(), ClientError> {
        self.client.command(Command::Leave { brane: self.brane }).await
    }
}
