//! A real MongoDB for tests: processes of their own, on free ports, in a
//! directory of their own, which end with the test's process.
//!
//! `AVVY_TEST_MONGODB_URI` has the tests that need no more than a database use
//! another server. `AVVYLAND_MONGOD` names the program; without it that which
//! `cargo xtask test` has fetched is taken. None is a failure.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{fs, thread};

use mongodb::Client;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, Document, doc};
use mongodb::options::{ClientOptions, CollectionOptions, WriteConcern};

use super::program::{PATIENCE, Program, fetched, free_port};
use super::proxy::Proxy;

/// What a server says when it can be connected to.
const READY: &str = "Waiting for connections";

/// The address of a server that all tests of this process share: a set of one.
/// Each of them takes a database of its own, see [`fresh_database`].
pub fn shared() -> &'static str {
    static SHARED: OnceLock<(String, Option<MongoSet>)> = OnceLock::new();
    let (uri, _) = SHARED.get_or_init(|| match std::env::var("AVVY_TEST_MONGODB_URI") {
        Ok(uri) => (uri, None),
        Err(_) => {
            let set = MongoSet::start(1);
            (set.uri(), Some(set))
        }
    });
    uri
}

/// The name of a database that nobody has used.
pub fn fresh_database() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let nth = NEXT.fetch_add(1, Ordering::Relaxed);
    // A server that outlives the tests keeps the databases of earlier runs.
    let started = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis());
    format!("avvy-{started:x}-{}-{nth}", std::process::id())
}

/// A replica set of this machine.
pub struct MongoSet {
    members: Vec<Member>,
}

struct Member {
    port: u16,
    /// What stands before it: then everybody, the other members included,
    /// knows it by this address.
    proxy: Option<Proxy>,
    directory: PathBuf,
    /// `None` while it is dead.
    process: Option<Program>,
}

impl MongoSet {
    /// Starts a set, and waits until it has a primary.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(members: usize) -> Self {
        Self::initiate((0..members).map(|_| Member::new()).collect())
    }

    /// The same, with a [`Proxy`] before each member, through which clients and
    /// the other members reach it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_behind_proxies(members: usize) -> Self {
        let member = |_| {
            let mut member = Member::new();
            member.proxy = Some(Proxy::start(SocketAddr::from(([127, 0, 0, 1], member.port))));
            member
        };
        Self::initiate((0..members).map(member).collect())
    }

    fn initiate(members: Vec<Member>) -> Self {
        let set = Self { members };
        let seed = format!("mongodb://127.0.0.1:{}/?directConnection=true", set.members[0].port);
        let hosts = set.members.iter().zip(0..);
        let hosts: Vec<Document> =
            hosts.map(|(member, nth)| doc! {"_id": nth, "host": member.host()}).collect();
        // Quick elections: a test waits for them.
        let settings = doc! {"electionTimeoutMillis": 1_000, "heartbeatIntervalMillis": 200};
        let config = doc! {"_id": "rs0", "version": 1, "members": hosts, "settings": settings};
        command(&seed, doc! {"replSetInitiate": config});
        // Once there is a primary, which the driver waits for.
        set.catch_up();
        set
    }

    /// Has no member stand for election for some minutes, and the primary stay
    /// it, however long they hear nothing of each other.
    ///
    /// # Panics
    /// When they cannot agree on it.
    pub fn elect_no_more(&self) {
        let uri = self.uri();
        let answer = command(&uri, doc! {"replSetGetConfig": 1});
        let mut config = answer.get_document("config").expect("it has a configuration").clone();
        let version = config.get_i32("version").expect("it has a version");
        config.insert("version", version + 1);
        let settings = config.get_document_mut("settings").expect("it has settings");
        settings.insert("electionTimeoutMillis", 300_000);
        command(&uri, doc! {"replSetReconfig": config});
    }

    /// Waits until every member has all that was written so far: then each
    /// could be the next primary.
    ///
    /// # Panics
    /// When one does not catch up.
    pub fn catch_up(&self) {
        let all = doc! {"w": self.members.len() as i32, "wtimeout": PATIENCE.as_millis() as i64};
        let note = doc! {"appendOplogNote": 1, "data": {}, "writeConcern": all};
        command(&self.uri(), note);
    }

    /// The address of the whole set.
    pub fn uri(&self) -> String {
        let hosts = self.members.iter().map(Member::host);
        format!("mongodb://{}/?replicaSet=rs0", hosts.collect::<Vec<_>>().join(","))
    }

    /// Which member is the primary.
    pub fn primary(&self) -> usize {
        let answer = command(&self.uri(), doc! {"hello": 1});
        let me = answer.get_str("me").unwrap_or_default();
        self.members.iter().position(|member| member.host() == me).expect("the primary is a member")
    }

    /// Has the primary give its place to another member.
    ///
    /// # Panics
    /// When no other can take it.
    pub fn step_down(&self) {
        // For so many seconds it is not elected again.
        command(&self.uri(), doc! {"replSetStepDown": 60, "secondaryCatchUpPeriodSecs": 30});
    }

    /// Has a member take the primary's place.
    ///
    /// # Panics
    /// When the others do not elect it.
    pub fn step_up(&self, nth: usize) {
        command(&self.members[nth].uri(), doc! {"replSetStepUp": 1});
    }

    /// Has a member stop at one of the points that its program has for tests,
    /// each time that it comes there. Returns how often it has been there.
    ///
    /// # Panics
    /// When it knows no such point.
    pub fn hold(&self, nth: usize, point: &str) -> i64 {
        self.set_point(nth, point, "alwaysOn")
    }

    /// Waits until a member has been at such a point so often.
    ///
    /// # Panics
    /// When it does not come there.
    pub fn wait_at(&self, nth: usize, point: &str, times: i64) {
        let max_ms = PATIENCE.as_millis() as i64;
        let wait = doc! {"waitForFailPoint": point, "timesEntered": times, "maxTimeMS": max_ms};
        command(&self.members[nth].uri(), wait);
    }

    /// Has a member go on.
    ///
    /// # Panics
    /// When it knows no such point.
    pub fn let_go(&self, nth: usize, point: &str) {
        self.set_point(nth, point, "off");
    }

    fn set_point(&self, nth: usize, point: &str, mode: &str) -> i64 {
        let set = doc! {"configureFailPoint": point, "mode": mode};
        let answer = command(&self.members[nth].uri(), set);
        answer.get_i64("count").or_else(|_| answer.get_i32("count").map(i64::from)).unwrap_or(0)
    }

    /// Kills a member, as a crash of its machine would.
    pub fn kill(&mut self, nth: usize) {
        self.members[nth].process = None;
    }

    /// Starts a member again on what it left.
    pub fn restart(&mut self, nth: usize) {
        let member = &mut self.members[nth];
        member.process = Some(launch(member.port, &member.directory));
    }

    /// Has a member stand still, as a machine without time would.
    ///
    /// # Panics
    /// When it is dead.
    pub fn pause(&self, nth: usize) {
        self.members[nth].process().stop();
    }

    /// Has a member go on after a pause.
    ///
    /// # Panics
    /// When it is dead.
    pub fn resume(&self, nth: usize) {
        self.members[nth].process().go_on();
    }

    /// What stands before a member of a set that was started so.
    ///
    /// # Panics
    /// When it was not.
    pub fn proxy(&self, nth: usize) -> &Proxy {
        self.members[nth].proxy.as_ref().expect("the set was started behind proxies")
    }

    /// The ports of the members.
    pub fn ports(&self) -> Vec<u16> {
        self.members.iter().map(|member| member.port).collect()
    }
}

impl Member {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        static SWEPT: OnceLock<()> = OnceLock::new();
        SWEPT.get_or_init(sweep);
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("{PREFIX}{}-{nth}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory can be made for MongoDB");
        let port = free_port();
        let process = Some(launch(port, &directory));
        Self { port, proxy: None, directory, process }
    }

    /// Its name in the set.
    fn host(&self) -> String {
        let direct = SocketAddr::from(([127, 0, 0, 1], self.port));
        self.proxy.as_ref().map_or(direct, Proxy::address).to_string()
    }

    /// Its address, by itself.
    fn uri(&self) -> String {
        format!("mongodb://{}/?directConnection=true", self.host())
    }

    fn process(&self) -> &Program {
        self.process.as_ref().expect("it is alive")
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.process = None;
        // What stays is swept by a later run.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

const PREFIX: &str = "avvy-mongod-";

/// Removes the directories of processes that have ended: a server that all
/// tests share is never dropped.
fn sweep() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if process.is_some_and(|id| !Path::new("/proc").join(id).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Starts a server, and waits until it can be connected to.
fn launch(port: u16, directory: &Path) -> Program {
    let program = std::env::var_os("AVVYLAND_MONGOD");
    let program = program.map_or_else(|| fetched("mongod/mongod-6.0.5"), PathBuf::from);
    let mut command = Command::new(program);
    command.args(["--replSet", "rs0", "--bind_ip", "127.0.0.1", "--nounixsocket"]);
    command.args(["--oplogSize", "64", "--wiredTigerCacheSizeGB", "0.25"]);
    command.args(["--wiredTigerEngineConfigString", "log=(prealloc=false)"]);
    command.args(["--setParameter", "enableTestCommands=1"]);
    command.args(["--setParameter", "diagnosticDataCollectionEnabled=false"]);
    command.args(["--port", &port.to_string(), "--dbpath"]).arg(directory);
    Program::start(&command, READY)
}

/// What the documents of a brane show: how many objects, as of which edit.
///
/// # Panics
/// When the database does not answer.
pub fn shown(uri: &str, database: &str, brane: &str) -> (u64, i64) {
    let count = doc! {"count": "objects", "query": {"brane": brane}};
    let count = command_to(uri, database, count);
    let find = doc! {"find": "object_views", "filter": {"_id": brane}, "limit": 1};
    let found = command_to(uri, database, find);
    let batch = found.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
    let view = batch.ok().and_then(|batch| batch.first()?.as_document());
    let as_of = view.and_then(|view| view.get_i64("as_of").ok()).unwrap_or(-1);
    (count.get_i32("n").map_or(0, i64::from).cast_unsigned(), as_of)
}

/// How many chunks of a brane's journal a database has.
///
/// # Panics
/// When it does not answer.
pub fn journaled(uri: &str, database: &str, brane: &str) -> u64 {
    let find = doc! {"find": "branes", "filter": {"_id": brane}, "projection": {"tail": 1}};
    let found = command_to(uri, database, find);
    let batch = found.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
    let found = batch.ok().and_then(|batch| batch.first()?.as_document());
    let tail = found.and_then(|found| found.get_array("tail").ok()).map_or(0, Vec::len);
    let count = doc! {"$cond": [{"$isArray": "$pack"}, {"$size": "$pack"}, 1_i64]};
    let stages = vec![
        doc! {"$match": {"_id.brane": brane}},
        doc! {"$group": {"_id": 1, "chunks": {"$sum": count}}},
    ];
    let found = doc! {"aggregate": "chunks", "pipeline": stages, "cursor": {}};
    let found = command_to(uri, database, found);
    let batch = found.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
    let found = batch.ok().and_then(|batch| batch.first()?.as_document());
    let others = found.and_then(|found| found.get_i64("chunks").ok()).unwrap_or(0);
    tail as u64 + others.unsigned_abs()
}

/// Gives one command to the database `admin`, and returns the answer.
///
/// # Panics
/// When it fails.
pub fn command(uri: &str, command: Document) -> Document {
    command_to(uri, "admin", command)
}

fn command_to(uri: &str, database: &str, command: Document) -> Document {
    // A client belongs to the runtime it was made in, and callers have theirs.
    thread::scope(|scope| {
        let run = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be made").block_on(async {
                let mut options = ClientOptions::parse(uri).await?;
                options.server_selection_timeout = Some(PATIENCE);
                let client = Client::with_options(options)?;
                let answer = client.database(database).run_command(command.clone()).await;
                client.shutdown().immediate(true).await;
                answer
            })
        };
        let answer = scope.spawn(run).join().expect("the command does not panic");
        answer.unwrap_or_else(|error| panic!("{command}: {error}"))
    })
}

/// What a server was asked to write since it started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Writes {
    /// Commands that write, whatever number of documents; a commit is one.
    pub operations: u64,
    /// Documents inserted, updated and deleted, the oplog's left out.
    pub documents: u64,
    /// Bytes of the storage engine's log, as they were handed to it.
    pub bytes: u64,
}

impl std::ops::Sub for Writes {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            operations: self.operations - before.operations,
            documents: self.documents - before.documents,
            bytes: self.bytes - before.bytes,
        }
    }
}

impl MongoSet {
    /// What the primary was asked to write so far.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn writes(&self) -> Writes {
        let status = command(&self.uri(), doc! {"serverStatus": 1});
        let number = |path: &[&str]| {
            let (last, folders) = path.split_last().expect("a path has an end");
            let folder = folders.iter().try_fold(&status, |at, name| at.get_document(name));
            match folder.map(|folder| folder.get(last)) {
                Ok(Some(Bson::Int32(n))) => u64::from(n.unsigned_abs()),
                Ok(Some(Bson::Int64(n))) => n.unsigned_abs(),
                other => panic!("the status has no {path:?}: {other:?}"),
            }
        };
        let commands = ["insert", "update", "delete", "findAndModify", "commitTransaction"];
        let documents = ["inserted", "updated", "deleted"];
        let counts = |name: &&str| number(&["metrics", "commands", name, "total"]);
        Writes {
            operations: commands.iter().map(counts).sum(),
            documents: documents.iter().map(|name| number(&["metrics", "document", name])).sum(),
            bytes: number(&["wiredTiger", "log", "log bytes of payload data"]),
        }
    }
}

/// Inserts documents of so many bytes, so often for so long, each acknowledged
/// by a majority. Gives how long each took.
///
/// # Panics
/// When one fails.
pub fn insert(uri: &str, bytes: usize, per_s: f64, time: Duration) -> Vec<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be made").block_on(async {
        let client = Client::with_uri_str(uri).await.expect("the address can be read");
        let majority = WriteConcern::majority();
        let options = CollectionOptions::builder().write_concern(majority).build();
        let database = client.database(&fresh_database());
        let collection = database.collection_with_options::<Document>("bare", options);
        let body = Binary { subtype: BinarySubtype::Generic, bytes: vec![0x5a; bytes] };
        let document = doc! {"body": body};
        // Makes the collection and a connection.
        collection.insert_one(&document).await.expect("a document can be inserted");
        let started = tokio::time::Instant::now();
        let mut inserts = tokio::task::JoinSet::new();
        for nth in 0.. {
            let due = started + Duration::from_secs_f64(f64::from(nth) / per_s);
            if due > started + time {
                break;
            }
            tokio::time::sleep_until(due).await;
            let (collection, document) = (collection.clone(), document.clone());
            inserts.spawn(async move {
                let begun = tokio::time::Instant::now();
                collection.insert_one(document).await.expect("a document can be inserted");
                begun.elapsed()
            });
        }
        let took = inserts.join_all().await;
        client.shutdown().immediate(true).await;
        took
    })
}
