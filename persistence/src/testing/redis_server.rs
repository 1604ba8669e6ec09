//! A real Redis for tests: a process of its own, on a free port, that keeps
//! nothing and ends with the test's process.
//!
//! `AVVYLAND_REDIS` names the program; without it that which `cargo xtask
//! test` has fetched is taken, with the libraries beside it. None is a failure.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

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
    process: Option<Child>,
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
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let port = listener.local_addr().expect("it has an address").port();
        drop(listener);
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
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Starts it again, empty, at the same address.
    pub fn restart(&mut self) {
        self.kill();
        self.process = Some(launch(&self.setup));
    }

    /// Has it hang: connections stay, and are not answered.
    pub fn stop(&self) {
        self.signal("STOP");
    }

    /// Has it go on.
    pub fn go_on(&self) {
        self.signal("CONT");
    }

    /// Its process.
    ///
    /// # Panics
    /// While it is dead.
    pub fn id(&self) -> u32 {
        self.process.as_ref().expect("it lives").id()
    }

    fn signal(&self, name: &str) {
        let id = self.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status();
        assert!(status.is_ok_and(|status| status.success()), "kill -s {name} {id}");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The program, and where its libraries lie.
fn program() -> (PathBuf, Vec<PathBuf>) {
    if let Some(program) = std::env::var_os("AVVYLAND_REDIS") {
        return (program.into(), Vec::new());
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a folder of the house");
    let folder = root.join(".cache/redis/7.0/usr");
    let program = folder.join("bin/redis-server");
    assert!(program.exists(), "there is no {}; `cargo xtask test` fetches it", program.display());
    let libraries = std::fs::read_dir(folder.join("lib")).into_iter().flatten().flatten();
    (program, libraries.map(|entry| entry.path()).collect())
}

/// Starts a server, and waits until it can be connected to.
fn launch(setup: &[String]) -> Child {
    // The signal at the parent's death is set for a thread's children, so all
    // are started by one that lives as long as the process.
    type Start = (Command, mpsc::Sender<std::io::Result<Child>>);
    static STARTER: LazyLock<mpsc::Sender<Start>> = LazyLock::new(|| {
        let (starter, starts) = mpsc::channel::<Start>();
        thread::spawn(move || {
            for (mut command, answer) in starts {
                // Whoever asked waits for it.
                let _ = answer.send(command.spawn());
            }
        });
        starter
    });
    let (program, libraries) = program();
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command.args(["--bind", "127.0.0.1"]).args(setup);
    command.args(["--save", "", "--appendonly", "no", "--daemonize", "no", "--dir"]);
    command.arg(std::env::temp_dir());
    if let Ok(libraries) = std::env::join_paths(libraries) {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let (answer, child) = mpsc::channel();
    STARTER.send((command, answer)).expect("the starter lives as long as the process");
    let child = child.recv().expect("the starter answers");
    let mut child = child.expect("setpriv (of util-linux) can be started");
    let output = child.stdout.take().expect("its output is piped");
    let (ready, is_ready) = mpsc::channel();
    thread::spawn(move || {
        let mut last = Vec::new();
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if line.contains(READY) {
                // Later lines are read so that the server can go on writing.
                let _ = ready.send(Ok(()));
            }
            last.push(line);
            last.drain(..last.len().saturating_sub(20));
        }
        let _ = ready.send(Err(last));
    });
    match is_ready.recv_timeout(PATIENCE) {
        Ok(Ok(())) => child,
        other => panic!("Redis does not start: {other:#?}"),
    }
}
