//! Every crate that is built in has a licence of the list in `deny.toml`, and
//! comes from crates.io.
//!
//! cargo-deny decides when it is installed. It is not fetched for this: it is
//! several hundred crates by itself. Otherwise the same list is held against
//! what `cargo tree` says, and `Cargo.lock` says where crates come from, without
//! a network.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{lint, shell, spdx};

/// Where crates may come from, as `[sources]` in `deny.toml` has it.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

pub fn check() -> Result<String> {
    if lint::has_cargo_deny() {
        shell::call(Command::new("cargo").args(["deny", "check", "licenses", "bans", "sources"]))?;
        return Ok("by cargo-deny".to_owned());
    }
    let rules = fs::read_to_string("deny.toml").context("cannot read deny.toml")?;
    let allowed = allowed(&rules)?;
    let mut tree = shell::cargo()?;
    tree.args(["tree", "--workspace", "--all-features", "--locked", "--edges", "normal,build"]);
    let tree = shell::read(tree.args(["--prefix", "none", "--no-dedupe", "--format", "{p}\t{l}"]))?;
    let crates: BTreeSet<&str> = tree.lines().filter(|line| !line.is_empty()).collect();
    let refused: Vec<String> = crates.iter().filter_map(|line| refusal(line, &allowed)).collect();
    if !refused.is_empty() {
        bail!("licences that deny.toml does not allow:\n  {}", refused.join("\n  "));
    }
    let lock = fs::read_to_string("Cargo.lock").context("cannot read Cargo.lock")?;
    let strange = strange_sources(&lock);
    if !strange.is_empty() {
        bail!("crates that do not come from crates.io:\n  {}", strange.join("\n  "));
    }
    Ok(format!("{} crates", crates.len()))
}

/// The packages of a lock file that come from elsewhere. Those of the
/// workspace have no source.
fn strange_sources(lock: &str) -> Vec<&str> {
    let packages = lock.split("\n[[package]]\n").skip(1);
    let is_strange = |package: &&str| {
        let source = package.lines().find_map(|line| line.strip_prefix("source = "));
        source.is_some_and(|source| source.trim_matches('"') != REGISTRY)
    };
    packages.filter(is_strange).filter_map(|package| package.lines().next()).collect()
}

fn refusal(line: &str, allowed: &[String]) -> Option<String> {
    let (package, licence) = line.split_once('\t').unwrap_or((line, ""));
    if spdx::is_allowed(licence, |id| allowed.iter().any(|one| one == id)) {
        return None;
    }
    let licence = if licence.is_empty() { "none stated" } else { licence };
    Some(format!("{package}: {licence}"))
}

/// The texts of `allow = [...]` under `[licenses]`: all of TOML that this
/// program has to understand.
fn allowed(rules: &str) -> Result<Vec<String>> {
    let section = rules.split_once("\n[licenses]").context("deny.toml has no [licenses]")?.1;
    let list = section.split_once("\nallow = [").context("[licenses] has no `allow`")?.1;
    let list = list.split_once("\n]").context("`allow` has no end")?.0;
    let lines = list.lines().map(|line| line.trim().trim_end_matches(','));
    Ok(lines
        .filter_map(|line| line.strip_prefix('"')?.strip_suffix('"').map(str::to_owned))
        .collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_the_list_of_the_repository() {
        let rules = fs::read_to_string(shell::root().join("deny.toml")).unwrap();
        let allowed = allowed(&rules).unwrap();
        assert!(allowed.contains(&"MIT".to_owned()), "{allowed:?}");
        assert!(!allowed.iter().any(|id| id.starts_with("GPL")), "{allowed:?}");
    }

    #[test]
    fn names_what_comes_from_elsewhere() {
        let lock = fs::read_to_string(shell::root().join("Cargo.lock")).unwrap();
        assert_eq!(strange_sources(&lock), [""; 0]);
        let git = lock.replacen(REGISTRY, "git+https://example.com/a", 1);
        assert_eq!(strange_sources(&git).len(), 1);
    }

    #[test]
    fn names_what_it_refuses() {
        let allowed = ["MIT".to_owned()];
        assert_eq!(refusal("a v1\tMIT OR GPL-3.0", &allowed), None);
        assert_eq!(refusal("a v1\tGPL-3.0", &allowed).unwrap(), "a v1: GPL-3.0");
        assert_eq!(refusal("a v1\t", &allowed).unwrap(), "a v1: none stated");
    }
}
