//! A bare program in a process of its own, on the server's core. It is this
//! same binary; commands come in lines over its standard input.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use clap::ValueEnum;
use tokio::net::TcpListener;

use super::{hold, http, write};
use crate::machine;

/// What a bare program does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Role {
    /// Writes the same bytes to every socket, at a rate.
    Write,
    /// Holds sockets, each with a task and a buffer.
    Hold,
    /// Answers each request of HTTP with the same bytes.
    Http,
}

/// A running bare program. Killed when dropped.
pub struct BareProgram {
    child: Child,
    address: SocketAddr,
}

impl BareProgram {
    /// Starts one.
    ///
    /// # Errors
    /// When this program cannot start itself.
    pub fn start(role: Role, core: usize) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let name = role.to_possible_value().context("every role has a name")?;
        command.args(["bare", name.get_name()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = machine::on_core(core, || command.spawn())?;
        let output = child.stdout.take().context("standard output is piped")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let address = line.trim().parse().context("a bare program says where it listens")?;
        Ok(Self { child, address })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets it write so many bytes to each socket, so often a second; 0: stop.
    ///
    /// # Errors
    /// When it has ended.
    pub fn write(&mut self, bytes: usize, per_s: f64) -> Result<()> {
        self.tell(&format!("{bytes} {per_s}"))
    }

    /// Lets it answer with this body.
    ///
    /// # Errors
    /// When it has ended.
    pub fn answer(&mut self, body: &[u8]) -> Result<()> {
        let digits: Vec<String> = body.iter().map(|byte| format!("{byte:02x}")).collect();
        self.tell(&digits.concat())
    }

    fn tell(&mut self, command: &str) -> Result<()> {
        let input = self.child.stdin.as_mut().context("standard input is piped")?;
        writeln!(input, "{command}")?;
        Ok(input.flush()?)
    }
}

impl Drop for BareProgram {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The bare program itself. Ends with its standard input.
///
/// # Errors
/// When it cannot listen.
pub fn run(role: Role) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        let (commands, inbox) = tokio::sync::mpsc::channel(4);
        // Not a task: reading standard input blocks.
        std::thread::spawn(move || {
            for line in std::io::stdin().lines().map_while(Result::ok) {
                if commands.blocking_send(line).is_err() {
                    return;
                }
            }
        });
        match role {
            Role::Write => write::run(listener, inbox).await,
            Role::Hold => hold::run(listener, inbox).await,
            Role::Http => http::run(listener, inbox).await,
        }
    })
}
