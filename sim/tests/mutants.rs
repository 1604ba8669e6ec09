//! Planted bugs must keep fitting the code that they are planted into, and be
//! in the table; which seed finds each is looked up by `cargo xtask mutants`.

use std::path::{Path, PathBuf};
use std::process::Command;

fn sim() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn patches() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(sim().join("mutants")).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    let mut patches: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|e| e == "patch")).collect();
    patches.sort();
    patches
}

#[test]
fn every_patch_applies() {
    let root = sim().parent().expect("the workspace is above");
    let patches = patches();
    for patch in &patches {
        let mut check = Command::new("git");
        check.args(["apply", "--check"]).arg(patch).current_dir(root);
        let output = check.output().expect("git is there");
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {why}", patch.display());
    }
    assert!(patches.len() >= 20, "only {} bugs are planted", patches.len());
}

#[test]
fn the_table_has_a_row_for_every_patch() {
    let readme = std::fs::read_to_string(sim().join("README.md")).expect("it is there");
    let table = readme.lines().skip_while(|line| !line.starts_with("| name | bug |")).skip(2);
    let rows = table.take_while(|line| line.starts_with('|')).map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        (cells[1].to_owned(), cells[2].to_owned())
    });
    let patches = patches().into_iter().map(|patch| {
        let name = patch.file_stem().expect("it has a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&patch).expect("it can be read");
        let bug = text.lines().next().unwrap_or_default().trim_end_matches('.');
        (name, bug.to_owned())
    });
    assert_eq!(rows.collect::<Vec<_>>(), patches.collect::<Vec<_>>());
}
