//! `cargo xtask up` and `down`: a fleet of two nodes on this machine.
//!
//! [`up`] starts what does not run yet, each program in a session of its own
//! with a log beside its data, and ends when all of them answer. Each writes
//! down its process before it becomes the program, so [`down`] finds it
//! whatever became of `up`. One of both is at work in a folder at a time.

mod mongo;
mod program;
mod turn;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::{mongod, python, redis, shell};
use program::Program;
use turn::Turn;

/// How long a program may take until it answers.
const PATIENCE: Duration = Duration::from_secs(120);
/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// The first of the ports: nodes, MongoDB, Redis.
const PORT: u16 = 7881;
/// The programs, in the order in which they are ended.
const NAMES: [&str; 4] = ["node-1", "node-2", "redis", "mongod"];

/// Where the fleet is, and what its nodes are.
struct Site {
    /// Data, logs and processes.
    folder: PathBuf,
    port: u16,
    /// The server's program, if it is not built here.
    server: Option<PathBuf>,
}

/// Starts what does not run, and says where to go.
pub fn up(arguments: &[String]) -> Result<ExitCode> {
    let mut site = Site::of(arguments, &["--folder", "--port", "--server"])?;
    fs::create_dir_all(&site.folder).context("cannot make the fleet's folder")?;
    // What is started must not depend on where this was called.
    site.folder = fs::canonicalize(&site.folder)?;
    let _turn = Turn::take(&site.folder)?;
    let server = match &site.server {
        Some(server) => fs::canonicalize(server).context("there is no such server")?,
        None => {
            build_server()?;
            shell::release_binary("avvyland")?
        }
    };
    python::set_up()?;
    site.start_mongod(&mongod::set_up()?)?;
    site.start_redis(&redis::set_up()?)?;
    for nth in [1, 2] {
        site.start_node(nth, &server)?;
    }
    println!("{}", site.hints(&server));
    Ok(ExitCode::SUCCESS)
}

/// Ends all that runs; what does not run is no error.
pub fn down(arguments: &[String]) -> Result<ExitCode> {
    let mut site = Site::of(arguments, &["--folder"])?;
    let mut turn = None;
    if site.folder.exists() {
        site.folder = fs::canonicalize(&site.folder)?;
        turn = Some(Turn::take(&site.folder)?);
    }
    let mut ended = Vec::new();
    for name in NAMES {
        if site.program(name).end()? {
            ended.push(name);
        }
    }
    drop(turn);
    match ended.as_slice() {
        [] => println!("no fleet runs in {}", site.folder.display()),
        names => {
            println!("ended: {}; the data stay in {}", names.join(", "), site.folder.display())
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds `avvyland` with what a fleet needs.
pub fn build_server() -> Result<()> {
    let line = ["build", "--release", "--locked", "--package", "avvy-server"];
    shell::call(shell::cargo()?.args(line).args(["--features", "mongodb,redis"]))
}

impl Site {
    fn of(arguments: &[String], known: &[&str]) -> Result<Self> {
        let folder = shell::target_dir()?.join("fleet");
        let mut site = Self { folder, port: PORT, server: None };
        let mut rest = arguments.iter();
        while let Some(name) = rest.next() {
            ensure!(known.contains(&name.as_str()), "{name}: known are {}", known.join(", "));
            let value = rest.next().with_context(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--folder" => site.folder = value.into(),
                "--port" => site.port = value.parse().context("--port needs a number")?,
                "--server" => site.server = Some(value.into()),
                _ => bail!("{name} is not known"),
            }
        }
        ensure!(site.port > 0 && site.port < u16::MAX - 3, "--port is the first of four ports");
        Ok(site)
    }

    fn program(&self, name: &str) -> Program {
        Program::new(&self.folder, name)
    }

    fn address(&self, nth: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port + nth))
    }

    fn mongod(&self) -> SocketAddr {
        self.address(2)
    }

    fn redis(&self) -> SocketAddr {
        self.address(3)
    }

    /// A replica set of one: transactions need one.
    fn start_mongod(&self, path: &Path) -> Result<()> {
        let (program, address) = (self.program("mongod"), self.mongod());
        let mut command = Command::new(path);
        command.args(["--replSet", "rs0", "--bind_ip", "127.0.0.1", "--nounixsocket"]);
        command.args(["--wiredTigerCacheSizeGB", "0.25", "--port", &address.port().to_string()]);
        command.arg("--dbpath").arg(program.folder());
        program.start(&command, address)?;
        program.wait(|| {
            mongo::initiate(address)?;
            mongo::is_primary(address)
        })
    }

    fn start_redis(&self, path: &Path) -> Result<()> {
        let (program, address) = (self.program("redis"), self.redis());
        let mut command = Command::new(path);
        command.env("LD_LIBRARY_PATH", redis::libraries()?);
        command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string()]);
        // What it holds can be had again from MongoDB.
        command.args(["--save", "", "--appendonly", "no", "--dir"]).arg(program.folder());
        program.start(&command, address)?;
        program.wait(|| Ok(ask(address, "PING\r\n")?.starts_with("+PONG")))
    }

    fn start_node(&self, nth: u16, server: &Path) -> Result<()> {
        let (program, address) = (self.program(&format!("node-{nth}")), self.address(nth - 1));
        let mut command = Command::new(server);
        command.args(["serve", "--bind", &address.to_string(), "--data"]).arg(program.folder());
        command.env("AVVY_STORE_KIND", "mongodb");
        command.env("AVVY_STORE_URI", format!("mongodb://{}/?replicaSet=rs0", self.mongod()));
        command.env("AVVY_FLEET_ADDRESS", format!("http://{address}"));
        command.env("AVVY_REDIS_URL", format!("redis://{}/", self.redis()));
        // A token of one node is good at the other.
        command.env("AVVY_AUTH_KEY_FILE", self.folder.join("auth-key.pem"));
        program.start(&command, address)?;
        let ready = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        program.wait(|| Ok(ask(address, &ready)?.starts_with("HTTP/1.1 200")))
    }

    fn hints(&self, server: &Path) -> String {
        let (server, folder) = (server.display(), self.folder.display());
        let [one, two] = [self.address(0), self.address(1)];
        format!(
            "\nTwo nodes run on MongoDB ({}) and Redis ({}).\n\
             \x20 http://{one}   {folder}/node-1, its log is node-1.log\n\
             \x20 http://{two}   {folder}/node-2, its log is node-2.log\n\
             Try\n\
             \x20 {server} demo --data {folder}/node-1 --users 200\n\
             \x20 {server} demo --data {folder}/node-2 --users 200\n\
             and meanwhile end the node that serves them:\n\
             \x20 kill $(cut -d' ' -f1 {folder}/node-1.pid)     # or kill -9\n\
             \x20 cargo xtask up                     # starts what does not run\n\
             \x20 cargo xtask down                   # ends all of it",
            self.mongod(),
            self.redis(),
        )
    }
}

/// Says something to a server, and gives the beginning of what it answers.
fn ask(address: SocketAddr, text: &str) -> Result<String> {
    let mut stream = connect(address)?;
    stream.write_all(text.as_bytes())?;
    let mut answer = [0; 256];
    let count = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..count]).into_owned())
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let limit = Duration::from_secs(5);
    let stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    Ok(stream)
}

/// Looks again and again until it is so; false when the time is over.
fn until(limit: Duration, mut is_so: impl FnMut() -> Result<bool>) -> Result<bool> {
    let began = Instant::now();
    while !is_so()? {
        if began.elapsed() >= limit {
            return Ok(false);
        }
        std::thread::park_timeout(LOOK);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Site> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Site::of(&words, &["--folder", "--port", "--server"])
    }

    #[test]
    fn arguments_are_taken_or_refused() {
        let site = of("--folder /tmp/x --port 9000").expect("it is a good line");
        assert_eq!(site.folder, Path::new("/tmp/x"));
        assert_eq!(site.mongod().to_string(), "127.0.0.1:9002");
        assert_eq!(of("").expect("nothing is needed").address(1).port(), PORT + 1);
        for line in ["--port", "--port x", "--port 0", "--port 65535", "--nodes 3", "up"] {
            assert!(of(line).is_err(), "{line}");
        }
        assert!(Site::of(&["--port".to_owned(), "1".to_owned()], &["--folder"]).is_err());
    }
}
