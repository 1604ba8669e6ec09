//! A real server in a process of its own.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use avvy_auth::{Claims, Issuer, KeyRing, Policy};
use avvy_model::{Role, UserId};

use crate::draw::Draw;
use crate::{http, machine};

/// How long a server may take until it answers.
const START: Duration = Duration::from_secs(30);
/// How long it may take to drain.
const STOP: Duration = Duration::from_secs(30);
/// The pause between two looks at a process.
const LOOK: Duration = Duration::from_millis(5);
/// Seconds for which the tokens of a run count.
const TOKEN_LIFETIME_S: u64 = 6 * 3_600;

/// Finds the server's program: as asked for, as `AVVYLAND_BINARY` says, or
/// beside this program.
///
/// # Errors
/// When it is in none of these places.
pub fn find_binary(asked: Option<&Path>) -> Result<PathBuf> {
    let named = asked.map(Path::to_owned);
    let named = named.or_else(|| std::env::var_os("AVVYLAND_BINARY").map(PathBuf::from));
    let own = std::env::current_exe().context("this program has a path")?;
    let beside = || own.parent().unwrap_or(Path::new(".")).join("avvyland");
    let path = named.unwrap_or_else(beside);
    ensure!(
        path.is_file(),
        "there is no server at {}: build it (`cargo build --release -p avvy-server`) or say where \
         it is with --server",
        path.display()
    );
    Ok(path)
}

/// How a server is started.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The program.
    pub binary: PathBuf,
    /// The data directory; may hold what an earlier server left.
    pub data: PathBuf,
    /// The core it runs on; `None`: all.
    pub core: Option<usize>,
    /// Settings as `AVVY_SECTION_KEY` or other variables of the environment.
    pub settings: Vec<(String, String)>,
}

impl ServerOptions {
    /// Without settings and on all cores.
    pub fn new(binary: &Path, data: &Path) -> Self {
        let (binary, data) = (binary.to_owned(), data.to_owned());
        Self { binary, data, core: None, settings: Vec::new() }
    }

    /// With one setting more.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }
}

/// A running server. Killed when dropped.
pub struct Server {
    child: Child,
    address: SocketAddr,
    options: ServerOptions,
    log: PathBuf,
}

impl Server {
    /// Starts a server on a free port and waits until it is ready.
    ///
    /// # Errors
    /// When it ends or is not ready in 30 seconds; with its log.
    pub fn start(options: &ServerOptions) -> Result<Self> {
        Self::start_at(options, free_port()?)
    }

    /// Starts a server at an address and waits until it is ready.
    ///
    /// # Errors
    /// When it ends or is not ready in 30 seconds; with its log.
    pub fn start_at(options: &ServerOptions, address: SocketAddr) -> Result<Self> {
        let mut server = Self::spawn(options, address)?;
        server.wait_until_ready()?;
        Ok(server)
    }

    /// Starts a server at an address and does not wait for it.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn spawn(options: &ServerOptions, address: SocketAddr) -> Result<Self> {
        fs::create_dir_all(&options.data)?;
        let log = options.data.with_extension("log");
        let file = File::options().create(true).append(true).open(&log)?;
        let mut command = Command::new(&options.binary);
        command
            .arg("serve")
            .arg("--data")
            .arg(&options.data)
            .args(["--bind", &address.to_string()])
            // No `config.toml` of wherever this runs.
            .current_dir(options.data.parent().unwrap_or(Path::new("/")))
            .env("AVVY_LOG_LEVEL", "warn")
            .envs(options.settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        let child = match options.core {
            Some(core) => machine::on_core(core, || command.spawn()),
            None => command.spawn(),
        };
        let child = child.with_context(|| format!("starting {}", options.binary.display()))?;
        Ok(Self { child, address, options: options.clone(), log })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        &self.options.data
    }

    /// Tokens for so many different users, made with the server's own key.
    ///
    /// # Errors
    /// When the key cannot be read.
    pub fn tokens(&self, draw: &mut Draw, count: usize, role: Role) -> Result<Vec<String>> {
        let file = self.options.data.join("auth-key.pem");
        let text = fs::read_to_string(&file).with_context(|| format!("{}", file.display()))?;
        let policy =
            Policy { issuer: "avvyland".to_owned(), audience: "avvyland".to_owned(), leeway_s: 5 };
        let issuer = Issuer::new(KeyRing::from_text(&text, 0)?, policy);
        let issued_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let claims = |draw: &mut Draw| Claims {
            user: UserId::new(draw.uuid()),
            role,
            name: None,
            branes: Vec::new(),
            session: None,
            token: draw.uuid(),
            issued_s,
            expires_s: issued_s + TOKEN_LIFETIME_S,
        };
        Ok((0..count).map(|_| issuer.issue(&claims(draw))).collect())
    }

    /// Ends it with SIGKILL, at this very moment.
    ///
    /// # Errors
    /// When the system does not let us.
    pub fn kill(mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Ends it with SIGTERM and waits until it has drained.
    ///
    /// # Errors
    /// When it takes more than 30 seconds or does not end with 0.
    pub fn stop(mut self) -> Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "the server ended with {status}{}", self.last_words());
                return Ok(());
            }
            ensure!(started.elapsed() < STOP, "the server does not end{}", self.last_words());
            pause();
        }
    }

    /// What it and the servers before it on this data directory have said.
    ///
    /// # Errors
    /// When the file is gone.
    pub fn log(&self) -> io::Result<String> {
        fs::read_to_string(&self.log)
    }

    /// The end of its log, for error messages.
    pub fn last_words(&self) -> String {
        let text = self.log().unwrap_or_default();
        if text.is_empty() {
            return String::new();
        }
        let lines: Vec<_> = text.lines().rev().take(20).collect();
        let lines: Vec<_> = lines.into_iter().rev().collect();
        format!("; the end of {}:\n{}", self.log.display(), lines.join("\n"))
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended at its start with {status}{}", self.last_words());
            }
            let answer = http::ask(self.address, "GET /readyz", b"");
            if answer.is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            ensure!(started.elapsed() < START, "the server is not ready{}", self.last_words());
            pause();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port of the loopback that nobody listens on.
///
/// # Errors
/// When there is none.
pub fn free_port() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// A free port of an address of the loopback that nobody else uses, so that
/// it stays free while a server is away: no other program is given it, and no
/// connection attempt can meet itself there.
///
/// # Errors
/// When there is none.
pub fn own_port(draw: &mut Draw) -> io::Result<SocketAddr> {
    let mut byte = || 1 + draw.below(250) as u8;
    TcpListener::bind((Ipv4Addr::new(127, byte(), byte(), byte()), 0))?.local_addr()
}

#[expect(clippy::disallowed_methods, reason = "no runtime here; this thread only waits")]
fn pause() {
    std::thread::sleep(LOOK);
}
