//! Planted bugs must keep fitting the code that they are planted into; which
//! seed finds each is looked up by `cargo run -p avvy-sim --bin mutants`.

use std::path::Path;
use std::process::Command;

#[test]
fn every_patch_applies() {
    let sim = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = sim.parent().expect("the workspace is above");
    let patches = std::fs::read_dir(sim.join("mutants")).expect("the folder is there");
    let mut count = 0;
    for patch in patches {
        let patch = patch.expect("it can be read").path();
        if patch.extension().is_none_or(|extension| extension != "patch") {
            continue;
        }
        count += 1;
        let mut check = Command::new("git");
        check.args(["apply", "--check"]).arg(&patch).current_dir(root);
        let output = check.output().expect("git is there");
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {why}", patch.display());
    }
    assert!(count >= 20, "only {count} bugs are planted");
}
