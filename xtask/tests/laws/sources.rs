//! Laws over the texts of the repository.

use std::fs;
use std::path::{Path, PathBuf};

use crate::rooms::{PURE_BY_FEATURE, ROOMS};
use crate::root;

/// What is made, fetched or kept beside the repository's own files.
const NOT_OURS: &[&str] =
    &[".git", "target", "data", ".cache", "node_modules", "__pycache__", ".venv"];

/// Every file under a folder, but for those that are not ours.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name();
            if NOT_OURS.iter().any(|other| *other == name) {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

/// The lines of code, with their numbers; comments are left out.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = (1..).zip(text.lines());
    numbered.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// The sources that have to be pure, tests in them included.
fn pure_sources() -> Vec<PathBuf> {
    let whole = ROOMS.iter().filter(|room| room.is_pure).map(|room| (room.name, &[][..]));
    let parts = PURE_BY_FEATURE.iter().map(|(room, impure)| (*room, *impure));
    let mut sources = Vec::new();
    for (room, impure) in whole.chain(parts) {
        let source = root().join(room).join("src");
        let is_impure =
            |file: &PathBuf| impure.iter().any(|part| file.starts_with(source.join(part)));
        sources.extend(files(&source).into_iter().filter(|file| !is_impure(file)));
    }
    assert!(sources.len() > ROOMS.len(), "{sources:?}");
    sources
}

#[test]
fn pure_rooms_name_no_clock_and_never_wait() {
    let forbidden = [
        "Instant::now",
        "SystemTime::now",
        "UNIX_EPOCH",
        "thread::sleep",
        "thread::spawn",
        "std::fs",
        "std::net",
        "std::env::",
        "std::process",
    ];
    let mut broken = Vec::new();
    for file in pure_sources() {
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in code(&text) {
            for name in forbidden.iter().filter(|name| line.contains(**name)) {
                broken.push(format!("{}:{number}: {name}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "pure rooms are given these as arguments:\n{}", broken.join("\n"));
}

#[test]
fn pure_rooms_share_one_clippy_toml() {
    let shared = fs::read_to_string(root().join("auth/clippy.toml")).unwrap();
    assert!(shared.contains("std::time::Instant::now"));
    for room in ROOMS.iter().filter(|room| room.is_pure) {
        let own =
            fs::read_to_string(root().join(room.name).join("clippy.toml")).unwrap_or_default();
        assert_eq!(own, shared, "{}/clippy.toml is not that of the other pure rooms", room.name);
    }
}

#[test]
fn no_file_names_a_place_on_somebodys_machine() {
    // Put together here, or this file would name them.
    let places =
        [["/ho", "me/"], ["/ro", "ot/"], ["/Us", "ers/"], ["/wo", "rk/main"], ["/wo", "rk/shared"]];
    let places = places.map(|parts| parts.concat());
    let mut broken = Vec::new();
    for file in files(&root()) {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        for (number, line) in (1..).zip(text.lines()) {
            for place in places.iter().filter(|place| line.contains(*place)) {
                broken.push(format!("{}:{number}: {place}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    for room in ROOMS {
        let manifest = fs::read_to_string(root().join(room.name).join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true\n"), "{}", room.name);
    }
}

#[test]
fn no_test_is_switched_off() {
    let switch = ["#[ig", "nore"].concat();
    for file in
        files(&root()).into_iter().filter(|file| file.extension().is_some_and(|e| e == "rs"))
    {
        let text = fs::read_to_string(&file).unwrap();
        let off = code(&text).find(|(_, line)| line.contains(&switch));
        assert!(off.is_none(), "{}:{}", file.display(), off.unwrap().0);
    }
}
