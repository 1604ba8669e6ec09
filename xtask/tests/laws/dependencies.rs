//! Laws over `cargo metadata` and `cargo tree`.
//!
//! Who names whom is in the metadata. What a crate really pulls in is not:
//! there cargo has unified the features of the whole workspace, so that one
//! room that asks for `uuid` with random ids gives `getrandom` to all of
//! them. `cargo tree --package` resolves a room as if it were built alone,
//! which is how the simulation and a stranger build it; in one build of the
//! whole workspace a pure room may well be linked with more.

use std::collections::BTreeSet;
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

use crate::rooms::{
    BEHIND_FEATURES, IMPURE, NOT_BY_DEFAULT, OWNED, PURE_BY_FEATURE, ROOMS, ROOMS_TO_COME,
};
use crate::root;

fn metadata() -> Metadata {
    let manifest = root().join("Cargo.toml");
    MetadataCommand::new().manifest_path(manifest).no_deps().exec().unwrap()
}

/// The folder's name: `avvy-model` lives in `model`.
fn room_of(package: &str) -> &str {
    package.strip_prefix("avvy-").unwrap_or(package)
}

/// What it depends on, but for its tests.
fn shipped(package: &Package) -> impl Iterator<Item = &cargo_metadata::Dependency> {
    package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development)
}

/// Names of all crates that this one is built with when it is built alone.
fn built_with(room: &str, more: &[&str]) -> BTreeSet<String> {
    let package = format!("avvy-{room}");
    let mut tree = Command::new(env!("CARGO"));
    tree.current_dir(root()).args(["tree", "--package", &package, "--prefix", "none"]);
    tree.args(["--edges", "normal,no-proc-macro", "--format", "{p}"]).args(more);
    let output = tree.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn every_member_has_its_law() {
    let members: BTreeSet<String> =
        metadata().workspace_packages().iter().map(|p| room_of(&p.name).to_owned()).collect();
    let known: BTreeSet<String> = ROOMS.iter().map(|room| room.name.to_owned()).collect();
    assert_eq!(
        members, known,
        "members of the workspace on the left, rooms of the law on the right"
    );
    assert_eq!(ROOMS.len(), known.len(), "a room is there twice");
    for name in ROOMS_TO_COME {
        assert!(!known.contains(*name), "{name} has come: take it off the list of rooms to come");
    }
}

#[test]
fn every_room_that_a_law_names_exists() {
    let exists =
        |name: &str| ROOMS.iter().any(|room| room.name == name) || ROOMS_TO_COME.contains(&name);
    let known = ROOMS.iter().flat_map(|room| room.may_know);
    let owners = OWNED.iter().flat_map(|(_, owners)| *owners);
    for name in known.chain(owners).chain(PURE_BY_FEATURE.iter().map(|(name, _)| name)) {
        assert!(exists(name), "{name}");
    }
}

#[test]
fn every_package_lives_in_the_folder_of_its_name() {
    for package in metadata().workspace_packages() {
        let folder = package.manifest_path.parent().unwrap().file_name().unwrap();
        assert_eq!(folder, room_of(&package.name));
    }
}

#[test]
fn rooms_know_only_what_they_may() {
    let metadata = metadata();
    for package in metadata.workspace_packages() {
        let room = ROOMS.iter().find(|room| room.name == room_of(&package.name)).unwrap();
        for dependency in shipped(package).filter(|dependency| dependency.path.is_some()) {
            let known = room_of(&dependency.name);
            assert!(room.may_know.contains(&known), "{} may not know {known}", room.name);
        }
    }
}

#[test]
fn pure_rooms_know_pure_rooms_only() {
    for room in ROOMS.iter().filter(|room| room.is_pure) {
        for known in room.may_know {
            let is_pure = ROOMS.iter().any(|other| other.name == *known && other.is_pure);
            assert!(is_pure, "{} is pure, {known} is not", room.name);
        }
    }
}

#[test]
fn crates_with_an_owner_are_used_by_it_alone() {
    for package in metadata().workspace_packages() {
        let room = room_of(&package.name);
        for dependency in shipped(package) {
            let name = dependency.name.as_str();
            if let Some((_, owners)) = OWNED.iter().find(|(owned, _)| *owned == name) {
                assert!(owners.contains(&room), "{name} belongs to {owners:?}, not to {room}");
            }
            if BEHIND_FEATURES.contains(&name) {
                assert!(dependency.optional, "{name} in {room} has to be optional");
            }
        }
    }
}

#[test]
fn no_crate_of_others_is_taken_in_any_version() {
    for package in metadata().workspace_packages() {
        for dependency in package.dependencies.iter().filter(|one| one.path.is_none()) {
            assert_ne!(dependency.req.to_string(), "*", "{} in {}", dependency.name, package.name);
        }
    }
}

#[test]
fn the_default_build_stays_light() {
    let built = built_with("server", &[]);
    assert!(built.contains("avvy-model"), "{built:?}");
    for heavy in NOT_BY_DEFAULT {
        assert!(!built.contains(*heavy), "{heavy} is in the default build");
    }
}

#[test]
fn pure_rooms_are_built_with_nothing_impure() {
    for room in ROOMS.iter().filter(|room| room.is_pure) {
        refuse_impure(room.name, &["--all-features"]);
    }
    for (room, _) in PURE_BY_FEATURE {
        refuse_impure(room, &["--no-default-features"]);
    }
}

fn refuse_impure(room: &str, features: &[&str]) {
    let built = built_with(room, features);
    assert!(built.contains(&format!("avvy-{room}")), "{built:?}");
    for impure in IMPURE {
        assert!(!built.contains(*impure), "{room} is pure and is built with {impure}");
    }
}

#[test]
fn what_is_impure_would_be_seen() {
    for (room, _) in PURE_BY_FEATURE {
        let built = built_with(room, &["--all-features"]);
        assert!(IMPURE.iter().any(|impure| built.contains(*impure)), "{room}: {built:?}");
    }
}

#[test]
fn the_simulation_takes_only_the_pure_part_of_the_client() {
    let metadata = metadata();
    let sim = metadata.workspace_packages().into_iter().find(|p| p.name == "avvy-sim").unwrap();
    for (room, _) in PURE_BY_FEATURE {
        let package = format!("avvy-{room}");
        for dependency in shipped(sim).filter(|dependency| dependency.name == package) {
            assert!(!dependency.uses_default_features, "{room} with default features");
            assert!(dependency.features.is_empty(), "{room} with {:?}", dependency.features);
        }
    }
}
