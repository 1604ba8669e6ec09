//! The server on MongoDB, by its settings alone.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod network;

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use avvy_bench::crash::{self, Cut, Options};
use avvy_bench::draw::Draw;
use avvy_persistence::Store;
use avvy_persistence::records::{
    Collection, Commit, CommitId, Draft, Fields, Index, IndexKey, RecordKey, RecordWrite, Records,
    Value as Field,
};
use avvy_persistence::sqlite::{SqliteOptions, SqliteStore};
use avvy_persistence::testing::mongod::{MongoSet, fresh_database, shared, shown};
use common::Server;
use serde_json::Value;
use uuid::Uuid;

/// The binary of these tests: the release is built without MongoDB.
const BINARY: &str = env!("CARGO_BIN_EXE_avvyland");

/// Settings for a database of its own.
fn settings() -> Vec<(String, String)> {
    let database = fresh_database();
    let settings = [
        ("AVVY_STORE_KIND", "mongodb"),
        ("AVVY_STORE_URI", shared()),
        ("AVVY_STORE_DATABASE", &database),
        ("AVVY_STORE_OBJECTS_INTERVAL_S", "1"),
        // A busy machine is no reason to fail.
        ("AVVY_STORE_OPERATION_TIMEOUT_MS", "60000"),
        ("AVVY_SERVER_DRAIN_TIMEOUT_MS", "25000"),
    ];
    settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

fn avvyland(arguments: &[&str], data: &Path, settings: &[(String, String)]) -> Output {
    let mut command = Command::new(BINARY);
    command.args(arguments).arg("--data").arg(data).envs(settings.iter().cloned());
    command.output().unwrap()
}

fn inspected(data: &Path, settings: &[(String, String)]) -> Value {
    let output = avvyland(&["inspect", "--json"], data, settings);
    let found = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{found}{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&found).unwrap()
}

/// Builders at the server whose directory this is: nothing is lost, and all
/// agree in the end.
fn play(users: u32, seconds: u32, data: &Path) -> Value {
    let (users, seconds) = (users.to_string(), seconds.to_string());
    let line = ["demo", "--users", &users, "--seconds", &seconds, "--json"];
    let demo = avvyland(&line, data, &[]);
    let told =
        String::from_utf8_lossy(&[demo.stdout.as_slice(), &demo.stderr].concat()).into_owned();
    assert!(demo.status.success(), "{told}");
    let summary: Value = serde_json::from_slice(&demo.stdout).unwrap();
    assert_eq!((&summary["lost"], &summary["edits"]), (&0.into(), &summary["durable"]), "{told}");
    assert!(summary["edits"].as_u64() > Some(0), "{told}");
    summary
}

#[test]
fn serves_from_mongodb_and_goes_on_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings();
    let own: Vec<_> = settings.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let first = directory.path().join("first");
    let server = Server::start_program(BINARY.as_ref(), &first, &own);
    let town = server.demo_brane.clone();
    play(10, 2, &first);
    // Other programs find the objects, once a look or two have passed.
    let database = own.iter().find(|(name, _)| *name == "AVVY_STORE_DATABASE").unwrap().1;
    let path = format!("/api/v1/brane/{town}/objects?limit=1000");
    let count = |page: &Value| page["objects"].as_array().unwrap().len() as u64;
    let objects = count(&server.get(&path).1);
    let began = Instant::now();
    while shown(shared(), database, &town).0 != objects {
        assert!(began.elapsed() < Duration::from_secs(60), "the documents stay behind");
    }
    assert_eq!(server.drain().code(), Some(0));
    assert!(!first.join("avvyland.sqlite").exists());

    // Another directory, as another machine has: everything is in the database.
    let second = directory.path().join("second");
    let found = inspected(&second, &settings);
    let server = Server::start_program(BINARY.as_ref(), &second, &own);
    assert_eq!(server.demo_brane, town);
    let brane = found["branes"].as_array().unwrap().iter().find(|brane| brane["id"] == town);
    let objects = brane.unwrap()["objects"].as_u64().unwrap();
    let (status, page) = server.get(&path);
    assert_eq!((status, count(&page)), (200, objects));
    // It begins where the documents are, and they follow.
    let head = brane.unwrap()["head"].as_i64().unwrap();
    play(10, 2, &second);
    let began = Instant::now();
    while shown(shared(), database, &town).1 <= head {
        assert!(began.elapsed() < Duration::from_secs(60), "the documents stay behind");
    }
    assert_eq!(server.drain().code(), Some(0));
}

#[test]
fn the_death_of_a_primary_is_a_pause() {
    let mut set = MongoSet::start(3);
    let uri = set.uri();
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let database = fresh_database();
    let own = [
        ("AVVY_STORE_KIND", "mongodb"),
        ("AVVY_STORE_URI", &uri),
        ("AVVY_STORE_DATABASE", &database),
    ];
    let server = Server::start_program(BINARY.as_ref(), &data, &own);
    let objects = || {
        let path = format!("/api/v1/brane/{}/objects?limit=1000", server.demo_brane);
        server.get(&path).1["objects"].as_array().map_or(0, Vec::len)
    };
    let before = objects();
    std::thread::scope(|scope| {
        let demo = scope.spawn(|| play(10, 5, &data));
        // Under way.
        let began = Instant::now();
        while objects() == before {
            assert!(began.elapsed() < Duration::from_secs(60), "nobody builds");
        }
        let primary = set.primary();
        set.kill(primary);
        demo.join().unwrap()
    });
    assert_eq!(server.drain().code(), Some(0));
}

static THINGS: Collection =
    Collection { name: "things", indexes: &[Index::unique("by_number"), Index::plain("by_kind")] };

/// Puts records into a data directory that no server has.
fn put_records(directory: &Path, count: u64) {
    let write = |nth: u64| {
        let body = Fields::new()
            .with("nth", nth.cast_signed())
            .with("at", Field::time(nth))
            .with("bytes", bytes::Bytes::from(nth.to_be_bytes().to_vec()));
        let draft = Draft::new(body)
            .until(nth + 1)
            .found_by("by_number", IndexKey::new().number(nth))
            .found_by("by_kind", IndexKey::new().number(nth % 7));
        RecordWrite::create(&THINGS, RecordKey::from(Uuid::from_u128(nth.into())), draft)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(&SqliteOptions::at(directory)).unwrap();
        for nths in (0..count).collect::<Vec<_>>().chunks(100) {
            let writes = nths.iter().map(|nth| write(*nth)).collect();
            let commit = Commit { id: CommitId(Uuid::from_u128(nths[0].into())), writes };
            store.commit(commit, 0).await.unwrap().unwrap();
        }
        store.close().await.unwrap();
    });
}

#[test]
fn moves_a_data_directory_into_mongodb_and_back() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (directory.path().join("first"), directory.path().join("second"));
    let short =
        [("AVVY_BRANE_SNAPSHOT_EVERY_EVENTS", "100"), ("AVVY_STORE_RETENTION_HOURS", "168")];
    // Twice, so that there is more than one opening, and a part of the journal
    // is covered by snapshots.
    for _ in 0..2 {
        let server = Server::start_program(BINARY.as_ref(), &first, &short);
        play(6, 1, &first);
        assert_eq!(server.drain().code(), Some(0));
    }
    // The server keeps some of its own.
    let records = inspected(&first, &[])["records"].as_u64().unwrap() + 300;
    put_records(&first, 300);
    let before = inspected(&first, &[]);
    assert_eq!(before["records"], records);
    let settings = settings();
    let migrate = |from: &Path, to: &Path| {
        let mut command = Command::new(BINARY);
        command.arg("migrate").arg("--from").arg(from).arg("--to").arg(to);
        command.envs(settings.iter().cloned()).output().unwrap()
    };
    let told = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let moved = migrate(&first, "mongodb".as_ref());
    assert!(moved.status.success(), "{}", told(&moved));
    let said = String::from_utf8_lossy(&moved.stdout);
    assert!(said.contains("its state hash is the same"), "{said}");
    assert!(said.contains(&format!("and {records} records.")), "{said}");
    let again = migrate(&first, "mongodb".as_ref());
    assert!(told(&again).contains("it has to be empty"), "{}", told(&again));
    let back = migrate("mongodb".as_ref(), &second);
    assert!(back.status.success(), "{}", told(&back));

    let after = [inspected(&first, &settings), inspected(&second, &[])];
    for after in after {
        assert_eq!(after["records"], records);
        let pairs =
            before["branes"].as_array().unwrap().iter().zip(after["branes"].as_array().unwrap());
        for (was, is) in pairs {
            for key in ["id", "name", "owner", "head", "oldest", "chunks", "objects", "state_hash"]
            {
                assert_eq!(was[key], is[key], "{key}");
            }
            // Each move opened it once where it came from.
            assert!(is["epoch"].as_u64() > was["epoch"].as_u64());
        }
    }
    // A server goes on where the one before stood.
    let server = Server::start_program(BINARY.as_ref(), &second, &[]);
    play(6, 1, &second);
    assert_eq!(server.drain().code(), Some(0));
}

#[test]
fn killed_six_times_it_keeps_its_promises() {
    let directory = tempfile::tempdir().unwrap();
    let seed = Draw::of_now().number();
    eprintln!("seed {seed}");
    let options = Options {
        binary: BINARY.into(),
        data: directory.path().join("data"),
        rounds: 6,
        cut: Cut::Process,
        seed,
        settings: settings(),
    };
    let summary = crash::run(&options, |_| {}).unwrap();
    eprintln!("{summary}");
    assert_eq!(summary.rounds, 6);
}

#[test]
fn says_what_is_missing_and_not_the_password() {
    let directory = tempfile::tempdir().unwrap();
    let wrong = |name: &str, value: &str| {
        let mut settings = settings();
        settings.push((name.to_owned(), value.to_owned()));
        settings.push(("AVVY_STORE_OPERATION_TIMEOUT_MS".to_owned(), "300".to_owned()));
        let output = avvyland(&["serve"], &directory.path().join("data"), &settings);
        assert!(!output.status.success());
        let told = [output.stdout, output.stderr].concat();
        String::from_utf8(told).unwrap()
    };
    let told = wrong("AVVY_STORE_URI", "");
    assert!(told.contains("store.uri: must be set"), "{told}");
    let told = wrong("AVVY_STORE_URI", "mongodb://user:sesame@127.0.0.1:1/?replicaSet=rs0");
    assert!(told.contains("no primary can be reached"), "{told}");
    assert!(!told.contains("sesame"), "{told}");
}
