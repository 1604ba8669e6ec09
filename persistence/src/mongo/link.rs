//! The database at the other end: sessions, bounds in time, transactions.
//!
//! Everything is written with `majority`, but parts of snapshots, and read with
//! `majority`. A read comes after whatever this store has seen done: sessions
//! are causally consistent, and each begins where the last one ended. Without
//! that a server that has become the primary meanwhile would show what was
//! before: it has all that was acknowledged, but does not know at once that a
//! majority has it. And a part, which the primary acknowledges alone, would not
//! be found before a majority has it. What others have seen done is not known
//! here: who has to see that does it in a transaction.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mongodb::bson::{Document, Timestamp, doc};
use mongodb::error::UNKNOWN_TRANSACTION_COMMIT_RESULT;
use mongodb::options::{ClientOptions, ReadConcern, ReadPreference, WriteConcern};
use mongodb::{Client, ClientSession, Collection, Database, SessionCursor};
use tokio::runtime::Handle;
use tokio::sync::{RwLock, RwLockReadGuard};
use tokio::time::{Instant, timeout_at};

use super::fault::{self, Failure};
use super::options::MongoOptions;
use super::pack;
use super::writes::{Writes, length};
use crate::error::StoreError;

/// The first pause before a transaction that met another is tried again; each
/// further one is twice as long, up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LAST_PAUSE: Duration = Duration::from_millis(100);

/// How long a transaction may be idle, or something may be held up by others,
/// before somebody is taken for dead.
pub(super) const LONG_IDLE: Duration = Duration::from_secs(1);

/// The way to the database.
pub(super) struct Link {
    client: Client,
    /// Where the client works: what goes on by itself ends with it.
    runtime: Handle,
    db: Database,
    app_name: String,
    timeout: Duration,
    /// The latest operation that a session of this store has seen.
    seen: Mutex<Option<Timestamp>>,
    writes: Writes,
    /// Held by every operation; closing waits for them.
    gate: RwLock<()>,
    is_closed: AtomicBool,
}

/// What a query asks for, besides its filter.
#[derive(Default)]
pub(super) struct Query {
    pub(super) filter: Document,
    pub(super) sort: Document,
    /// The fields to be read; empty: all.
    pub(super) fields: Document,
    /// The most documents; 0: all.
    pub(super) limit: u32,
    /// Bytes of bodies after which no more documents are read; 0: no bound.
    pub(super) max_bytes: usize,
    /// Documents that come at once; 0: as the server likes.
    pub(super) batch: u32,
}

/// Documents that are found in one search, some at a time.
pub(super) struct Batches<'a> {
    link: &'a Link,
    session: ClientSession,
    cursor: SessionCursor<Document>,
    batch: usize,
}

impl Batches<'_> {
    /// The next ones, within the time that one operation has; none: that was
    /// all. Whoever rests for minutes between two of them begins anew.
    pub(super) async fn next(&mut self) -> Result<Vec<Document>, StoreError> {
        let Self { link, session, cursor, batch } = self;
        let next = async {
            let mut found = Vec::new();
            while found.len() < *batch {
                let Some(next) = cursor.next(session).await else { break };
                found.push(next?);
            }
            link.learn(session);
            Ok(found)
        };
        link.step(next).await
    }
}

/// Work that is done in one transaction. It may be done several times, until
/// one of them is committed.
pub(super) trait Work: Sync {
    /// Whether it writes; a transaction that only reads is none to count.
    const WRITES: bool = true;

    /// What it finds.
    type Answer: Send;

    /// Does it within the session's transaction.
    fn run(
        &self,
        link: &Link,
        session: &mut ClientSession,
    ) -> impl Future<Output = Result<Self::Answer, Failure>> + Send;
}

impl Link {
    /// Finds the way. The servers are looked for from now on; nothing is asked
    /// of them yet.
    pub(super) async fn new(options: &MongoOptions) -> Result<Self, StoreError> {
        let refused = |_| StoreError::Invalid("the address of MongoDB cannot be read");
        let timeout = Duration::from_millis(options.timeout_ms);
        let mut client = ClientOptions::parse(&options.uri).await.map_err(refused)?;
        client.app_name = Some(options.app_name.clone());
        client.max_pool_size = Some(options.max_connections);
        // Before the operation's time is over, so that the reason is told.
        client.server_selection_timeout = Some(timeout / 10 * 9);
        client.connect_timeout = Some(timeout);
        client.read_concern = Some(ReadConcern::majority());
        client.write_concern = Some(WriteConcern::majority());
        client.selection_criteria = Some(ReadPreference::Primary.into());
        let client = Client::with_options(client).map_err(refused)?;
        let db = client.database(&options.database);
        Ok(Self {
            client,
            runtime: Handle::current(),
            db,
            app_name: options.app_name.clone(),
            timeout,
            seen: Mutex::new(None),
            writes: Writes::default(),
            gate: RwLock::new(()),
            is_closed: AtomicBool::new(false),
        })
    }

    /// A collection.
    pub(super) fn collection(&self, name: &str) -> Collection<Document> {
        self.db.collection(name)
    }

    /// Has something go on that nobody waits for.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(work);
    }

    /// The database.
    pub(super) const fn db(&self) -> &Database {
        &self.db
    }

    /// What is written.
    pub(super) const fn writes(&self) -> &Writes {
        &self.writes
    }

    /// Lets nothing new begin, and waits for what has.
    pub(super) async fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        let _all = self.gate.write().await;
        self.client.clone().shutdown().immediate(true).await;
    }

    async fn enter(&self) -> Result<RwLockReadGuard<'_, ()>, StoreError> {
        let entered = self.gate.read().await;
        if self.is_closed.load(Ordering::Acquire) {
            return Err(StoreError::Closed);
        }
        Ok(entered)
    }

    fn too_late(&self) -> StoreError {
        let after_ms = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX);
        StoreError::Timeout { after_ms }
    }

    /// The store's word for a failure. What the server had no time for came
    /// too late, as what is not waited for any longer.
    fn told(&self, failure: Failure) -> StoreError {
        match fault::is_too_late(&failure) {
            true => self.too_late(),
            false => failure.told(),
        }
    }

    /// Does something within the time that one operation has.
    pub(super) async fn step<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, StoreError> {
        let _entered = self.enter().await?;
        match tokio::time::timeout(self.timeout, work).await {
            Ok(done) => done.map_err(|failure| self.told(failure)),
            Err(_) => Err(self.too_late()),
        }
    }

    /// Does something in a session of its own, within the time that one
    /// operation has. Later sessions see what this one has seen.
    pub(super) async fn in_session<T>(
        &self,
        work: impl AsyncFnOnce(&mut ClientSession) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        self.step(async {
            let mut session = self.session().await?;
            let done = work(&mut session).await?;
            self.learn(&session);
            Ok(done)
        })
        .await
    }

    /// A session that sees everything that this store has seen.
    async fn session(&self) -> Result<ClientSession, Failure> {
        let mut session = self.client.start_session().causal_consistency(true).await?;
        if let Some(seen) = *self.seen.lock().unwrap_or_else(PoisonError::into_inner) {
            session.advance_operation_time(seen);
        }
        Ok(session)
    }

    /// Has later sessions see what this one has seen.
    fn learn(&self, session: &ClientSession) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = (*seen).max(session.operation_time());
    }

    /// A document, in a session of its own.
    pub(super) async fn one(
        &self,
        collection: &str,
        query: Query,
    ) -> Result<Option<Document>, StoreError> {
        let found = self.many(collection, Query { limit: 1, ..query }).await?;
        Ok(found.into_iter().next())
    }

    /// Documents, in a session of their own.
    pub(super) async fn many(
        &self,
        collection: &str,
        query: Query,
    ) -> Result<Vec<Document>, StoreError> {
        self.in_session(async |session| self.find(session, collection, query).await).await
    }

    /// Documents in batches, in a session of their own.
    pub(super) async fn batches(
        &self,
        collection: &str,
        query: Query,
    ) -> Result<Batches<'_>, StoreError> {
        let batch = query.batch.max(1) as usize;
        let begin = async {
            let mut session = self.session().await?;
            let cursor = self.cursor(&mut session, collection, query).await?;
            Ok(Batches { link: self, session, cursor, batch })
        };
        self.step(begin).await
    }

    /// Documents, in this session.
    pub(super) async fn find(
        &self,
        session: &mut ClientSession,
        collection: &str,
        query: Query,
    ) -> Result<Vec<Document>, Failure> {
        let max_bytes = query.max_bytes;
        let mut cursor = self.cursor(session, collection, query).await?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        while let Some(next) = cursor.next(session).await {
            let next = next?;
            bytes += pack::body_length(&next);
            found.push(next);
            if max_bytes > 0 && bytes >= max_bytes {
                break;
            }
        }
        Ok(found)
    }

    async fn cursor(
        &self,
        session: &mut ClientSession,
        collection: &str,
        query: Query,
    ) -> Result<SessionCursor<Document>, Failure> {
        let collection = self.collection(collection);
        let mut find = collection.find(query.filter).max_time(self.timeout);
        if !query.sort.is_empty() {
            find = find.sort(query.sort);
        }
        if !query.fields.is_empty() {
            find = find.projection(query.fields);
        }
        if query.limit > 0 {
            find = find.limit(i64::from(query.limit));
        }
        if query.batch > 0 {
            find = find.batch_size(query.batch);
        }
        Ok(find.session(session).await?)
    }

    /// Ends transactions that have been idle for long: those of processes that
    /// were killed within one. The server ends them only after a minute, and
    /// until then nobody else can write what they have written. One that is
    /// alive after all is told so, and does its transaction again.
    pub(super) async fn reap(&self) -> Result<(), Failure> {
        let admin = self.client.database("admin");
        let idle = LONG_IDLE.as_micros() as i64;
        let stages = [
            doc! {"$currentOp": {"idleSessions": true}},
            doc! {"$match": {
                "type": "idleSession",
                "appName": &self.app_name,
                "transaction.timeInactiveMicros": {"$gt": idle},
            }},
            doc! {"$project": {"lsid": 1}},
        ];
        // Another read concern is not for this.
        let mut found = admin.aggregate(stages).read_concern(ReadConcern::local()).await?;
        let mut sessions = Vec::new();
        while found.advance().await? {
            let session: Document = found.deserialize_current()?;
            let id = session.get_document("lsid").ok().and_then(|lsid| lsid.get("id").cloned());
            sessions.extend(id.map(|id| doc! {"id": id}));
        }
        if !sessions.is_empty() {
            tracing::warn!(count = sessions.len(), "transactions that nobody ends are ended");
            admin.run_command(doc! {"killSessions": sessions}).await?;
        }
        Ok(())
    }

    /// Runs an `update` command: each statement is a filter and a change, and
    /// has to find its document. False if one does not.
    pub(super) async fn update(
        &self,
        session: &mut ClientSession,
        collection: &str,
        statements: Vec<(Document, Document)>,
    ) -> Result<bool, Failure> {
        let more = doc! {"maxTimeMS": millis(self.timeout)};
        self.run_update(session, collection, statements, more).await
    }

    /// Runs an `update` command in no transaction: each statement is done or
    /// not, whatever becomes of the others. False if one was not, or if it is
    /// not known that a majority has all. It does not wait for long for a
    /// document that is in a transaction of others, who may be dead.
    pub(super) async fn update_each(
        &self,
        collection: &str,
        statements: Vec<(Document, Document)>,
    ) -> Result<bool, StoreError> {
        self.in_session(async |session| {
            let majority = doc! {"w": "majority", "wtimeout": millis(self.timeout)};
            let max_time = millis(LONG_IDLE.min(self.timeout / 4));
            let more = doc! {"ordered": false, "writeConcern": majority, "maxTimeMS": max_time};
            self.run_update(session, collection, statements, more).await
        })
        .await
    }

    async fn run_update(
        &self,
        session: &mut ClientSession,
        collection: &str,
        statements: Vec<(Document, Document)>,
        more: Document,
    ) -> Result<bool, Failure> {
        let expected = statements.len() as i64;
        let bytes = statements.iter().map(|(q, u)| length(q) + length(u)).sum();
        self.writes.command(statements.len(), bytes);
        let updates = statements.into_iter().map(|(q, u)| doc! {"q": q, "u": u});
        let updates: Vec<Document> = updates.collect();
        let mut command = doc! {"update": collection, "updates": updates};
        command.extend(more);
        let answer = self.db.run_command(command).session(session).await?;
        let count = match answer.get("n") {
            Some(mongodb::bson::Bson::Int32(n)) => i64::from(*n),
            Some(mongodb::bson::Bson::Int64(n)) => *n,
            _ => 0,
        };
        // A statement that failed is not counted.
        let is_told = ["writeErrors", "writeConcernError"];
        Ok(count == expected && !is_told.iter().any(|error| answer.contains_key(error)))
    }

    /// Does work in a transaction, again and again while it meets others, and
    /// commits it. Bounded by the time of one operation: then whether it was
    /// committed is unknown.
    pub(super) async fn transact<W: Work>(&self, work: &W) -> Result<W::Answer, StoreError> {
        self.transact_until(self.deadline(), work).await
    }

    /// When the time of an operation is over that begins now.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Whether of the time of an operation that began then half is over.
    pub(super) fn is_late(&self, began: Instant) -> bool {
        began.elapsed() > self.timeout / 2
    }

    /// Does work in a transaction as [`Link::transact`] does, until this time.
    pub(super) async fn transact_until<W: Work>(
        &self,
        deadline: Instant,
        work: &W,
    ) -> Result<W::Answer, StoreError> {
        let _entered = self.enter().await?;
        let mut pause = FIRST_PAUSE;
        let mut held_up = Instant::now();
        loop {
            if held_up.elapsed() > LONG_IDLE {
                held_up = Instant::now();
                // What comes of it is seen by what is held up.
                if let Ok(Err(failure)) = timeout_at(deadline, self.reap()).await {
                    tracing::warn!(error = %self.told(failure), "dead transactions cannot be ended");
                }
            }
            let session = timeout_at(deadline, self.session()).await;
            let session = session.map_err(|_| self.too_late())?;
            let mut session = session.map_err(|failure| self.told(failure))?;
            match timeout_at(deadline, self.attempt(&mut session, work)).await {
                Err(_) => {
                    self.give_up(session);
                    return Err(self.too_late());
                }
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(failure)) if !failure.is_passing() => return Err(self.told(failure)),
                Ok(Err(_)) if Instant::now() + pause >= deadline => return Err(self.too_late()),
                Ok(Err(_)) => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// Has the server end what a session is doing. Else a transaction whose
    /// commit was not answered would hold its documents for a minute, and
    /// whoever repeats it would wait for that.
    fn give_up(&self, session: ClientSession) {
        let (client, timeout) = (self.client.clone(), self.timeout);
        self.spawn(async move {
            let kill = doc! {"killSessions": [session.id().clone()]};
            let admin = client.database("admin");
            let killed = tokio::time::timeout(timeout, async { admin.run_command(kill).await });
            if !matches!(killed.await, Ok(Ok(_))) {
                tracing::warn!("a transaction that took too long could not be ended");
            }
        });
    }

    async fn attempt<W: Work>(
        &self,
        session: &mut ClientSession,
        work: &W,
    ) -> Result<W::Answer, Failure> {
        session
            .start_transaction()
            .read_concern(ReadConcern::snapshot())
            .write_concern(WriteConcern::majority())
            .max_commit_time(self.timeout)
            .await?;
        let answer = match work.run(self, session).await {
            Ok(answer) => answer,
            Err(failure) => {
                // One that cannot be ended is ended by the server.
                let _ = session.abort_transaction().await;
                return Err(failure);
            }
        };
        self.commit(session).await?;
        if W::WRITES {
            self.writes.commit();
        }
        self.learn(session);
        Ok(answer)
    }

    /// Commits until the server says what has become of it; the caller bounds
    /// it in time.
    async fn commit(&self, session: &mut ClientSession) -> Result<(), Failure> {
        let mut pause = FIRST_PAUSE;
        loop {
            match session.commit_transaction().await {
                Err(error) if error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT) => {
                    tracing::warn!(
                        error = %fault::translate(&error),
                        "whether a transaction was committed is unknown: it is committed again"
                    );
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LAST_PAUSE);
                }
                other => return other.map_err(Failure::from),
            }
        }
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
