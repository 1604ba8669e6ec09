//! A second process where one is already.

use std::path::Path;
use std::process::{Command, Output};

use avvy_persistence::testing::mongod::{fresh_database, shared};

use crate::BINARY;
use crate::common::Server;

/// A start that is refused.
fn second(data: &Path, settings: &[(&str, &str)]) -> Output {
    let mut command = Command::new(BINARY);
    command.args(["serve", "--bind", "127.0.0.1:0", "--data"]).arg(data);
    command.envs(settings.iter().copied()).current_dir(data.parent().unwrap()).output().unwrap()
}

/// It says whose the directory is, and does nobody any harm: not to what the
/// first one says of itself, nor to its lease.
#[test]
fn one_process_has_a_data_directory_whatever_its_store_is() {
    let directory = tempfile::tempdir().unwrap();
    let database = fresh_database();
    let mongodb = [
        ("AVVY_STORE_KIND", "mongodb"),
        ("AVVY_STORE_URI", shared()),
        ("AVVY_STORE_DATABASE", &database),
        ("AVVY_STORE_OPERATION_TIMEOUT_MS", "60000"),
        ("AVVY_STORE_LOCK_WAIT_MS", "0"),
    ];
    // The same address: were the first one dead, this would be its successor.
    let node = [&mongodb[..], &[("AVVY_FLEET_ADDRESS", "http://127.0.0.1:1")]].concat();
    let alone = [&mongodb[..], &[("AVVY_STORE_WHEN_AWAY", "refuse")]].concat();
    let memory = [("AVVY_STORE_KIND", "memory"), ("AVVY_STORE_LOCK_WAIT_MS", "0")];
    let kinds = [("node", &node[..]), ("alone", &alone[..]), ("memory", &memory[..])];
    for (name, settings) in kinds {
        let data = directory.path().join(name);
        let first = Server::start_program(BINARY.as_ref(), &data, settings);
        let says = std::fs::read(data.join("running.json")).unwrap();
        let refused = second(&data, settings);
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success(), "{name}: {told}");
        assert!(told.contains("is in use by another process"), "{name}: {told}");
        assert_eq!(std::fs::read(data.join("running.json")).unwrap(), says, "{name}");
        let objects = format!("/api/v1/brane/{}/objects?limit=1", first.demo_brane);
        assert_eq!(first.get(&objects).0, 200, "{name}");
        if name == "node" {
            assert!(first.text("/metrics").contains("\navvy_lease_provisional 0\n"), "{name}");
        }
        assert_eq!(first.drain().code(), Some(0), "{name}");
    }
}
