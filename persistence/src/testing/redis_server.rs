//! A real Redis for tests: a process of its own, on a free port, that keeps
//! nothing and ends with the test's process.
//!
//! `AVVYLAND_REDIS` names the program; without it that which `cargo xtask
//! test` has fetched is taken, with the libraries beside it. None is a failure.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::program::{Program, fetched, free_port};

/// What a server says when it can be connected to.
const READY: &str = "Ready to accept connections";

/// The address of a server that all tests of this process share. Each of them
/// takes a namespace of its own.
pub fn shared() -> String {
    static SHARED: OnceLock<RedisServer> = OnceLock::new();
    SHARED.get_or_init(RedisServer::start).url()
}

/// A server of this machine.
pub struct RedisServer {
    port: u16,
    setup: Vec<String>,
    /// `None` while it is dead.
    process: Option<Program>,
}

impl RedisServer {
    /// Starts a server.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start() -> Self {
        let plain = |port: u16| vec!["--port".to_owned(), port.to_string()];
        Self::set_up(plain)
    }

    /// Starts a server that speaks TLS alone, with the certificate and the key
    /// in these files, and these further arguments.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn with_tls(certificate: &Path, key: &Path, more: &[&str]) -> Self {
        Self::set_up(|port| {
            let (certificate, key) = (certificate.to_string_lossy(), key.to_string_lossy());
            let port = port.to_string();
            let tls = ["--port", "0", "--tls-port", &port, "--tls-auth-clients", "no"];
            let files = ["--tls-cert-file", &certificate, "--tls-key-file", &key];
            tls.iter().chain(&files).chain(more).map(|&word| word.to_owned()).collect()
        })
    }

    fn set_up(setup: impl Fn(u16) -> Vec<String>) -> Self {
        let port = free_port();
        let setup = setup(port);
        Self { port, process: Some(launch(&setup)), setup }
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Its port of this machine.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills it, as a crash of its machine would. What it held is gone.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again, empty, at the same address.
    pub fn restart(&mut self) {
        self.kill();
        self.process = Some(launch(&self.setup));
    }

    /// Has it hang: connections stay, and are not answered.
    ///
    /// # Panics
    /// While it is dead.
    pub fn stop(&self) {
        self.process().stop();
    }

    /// Has it go on.
    ///
    /// # Panics
    /// While it is dead.
    pub fn go_on(&self) {
        self.process().go_on();
    }

    /// Its process.
    ///
    /// # Panics
    /// While it is dead.
    pub fn id(&self) -> u32 {
        self.process().id()
    }

    fn process(&self) -> &Program {
        self.process.as_ref().expect("it lives")
    }
}

/// The program, and where its libraries lie.
fn program() -> (PathBuf, Vec<PathBuf>) {
    if let Some(program) = std::env::var_os("AVVYLAND_REDIS") {
        return (program.into(), Vec::new());
    }
    let folder = fetched("redis/7.0.15/usr");
    let libraries = std::fs::read_dir(folder.join("lib")).into_iter().flatten().flatten();
    (folder.join("bin/redis-server"), libraries.map(|entry| entry.path()).collect())
}

/// Starts a server, and waits until it can be connected to.
fn launch(setup: &[String]) -> Program {
    let (program, libraries) = program();
    let mut command = Command::new(program);
    command.args(["--bind", "127.0.0.1"]).args(setup);
    command.args(["--save", "", "--appendonly", "no", "--daemonize", "no", "--dir"]);
    command.arg(std::env::temp_dir());
    if let Ok(libraries) = std::env::join_paths(libraries) {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    Program::start(&command, READY)
}
