//! Python's surroundings: a virtual environment with the pinned packages of the
//! client in Python, and of what tries the REST API.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{debian, shell};

const CLIENT: &str = "client/python";
const REQUIREMENTS: [&str; 2] =
    ["client/python/requirements.txt", "net/tests/schemathesis/requirements.txt"];

/// The virtual environment. In `.cache/`, which outlives `cargo clean`.
fn venv() -> PathBuf {
    shell::root().join(".cache/venv")
}

/// Its Python.
pub fn interpreter() -> PathBuf {
    venv().join("bin/python")
}

/// What the tests are told of their surroundings. Not `AVVY_...`: those are
/// the server's settings, and it refuses strange ones.
pub fn environment() -> Result<[(&'static str, PathBuf); 2]> {
    Ok([
        ("AVVYLAND_PYTHON", interpreter()),
        ("AVVYLAND_BINARY", shell::release_binary("avvyland")?),
    ])
}

/// Makes the virtual environment, unless there is one of the same
/// requirements.
pub fn set_up() -> Result<PathBuf> {
    let venv = venv();
    let read =
        |file: &&str| fs::read_to_string(file).with_context(|| format!("cannot read {file}"));
    let wanted = REQUIREMENTS.iter().map(read).collect::<Result<String>>()?;
    let mark = venv.join("requirements.installed");
    if fs::read_to_string(&mark).is_ok_and(|installed| installed == wanted) {
        return Ok(venv);
    }
    if venv.exists() {
        fs::remove_dir_all(&venv).context("cannot remove the old virtual environment")?;
    }
    need_venv_module()?;
    shell::call(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    let mut pip = Command::new(venv.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]);
    let files = REQUIREMENTS.iter().flat_map(|file| ["--requirement", file]);
    shell::call(pip.args(files))?;
    fs::write(&mark, wanted).context("cannot mark the virtual environment as complete")?;
    Ok(venv)
}

/// Debian has `venv` in a package of its own.
fn need_venv_module() -> Result<()> {
    let packages = ["python3", "python3-venv", "python3-pip"];
    debian::need("Python 3 with its venv module", &packages, || {
        shell::works(Command::new("python3").args(["-c", "import venv, ensurepip"]))
    })
}

/// Runs the Python client's own tests. Its scenario against a real server is
/// run by the server's tests, in the surroundings of [`environment`].
pub fn test() -> Result<String> {
    let mut python = Command::new(interpreter());
    python.current_dir(CLIENT).envs(environment()?);
    python.args(["-B", "-m", "unittest", "discover", "--verbose", "--start-directory", "tests"]);
    shell::call(&mut python)?;
    Ok(String::new())
}
