//! Programs of other people that tests start for real: each is a child process
//! that ends with the test's process.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{LazyLock, mpsc};
use std::thread;
use std::time::Duration;

/// How long a program may take to start.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// How many of its last lines are shown of a program that does not start.
const LAST_WORDS: usize = 20;

/// A program that serves at a port. Dropped, it is killed.
pub(super) struct Program(Child);

impl Program {
    /// Starts a program, and waits until it says that it is `ready`.
    ///
    /// # Panics
    /// When it does not start.
    pub(super) fn start(command: &Command, ready: &'static str) -> Self {
        let name = command.get_program().display().to_string();
        let mut child = spawn(bound_to_us(command));
        let output = child.stdout.take().expect("its output is piped");
        // From here on it does not outlive a panic.
        let program = Self(child);
        match listen(output, ready).recv_timeout(PATIENCE) {
            Ok(Ok(())) => program,
            other => panic!("{name} does not start: {other:#?}"),
        }
    }

    /// The id of its process.
    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Has it hang: connections stay, and are not answered.
    pub(super) fn stop(&self) {
        self.signal("STOP");
    }

    /// Has it go on.
    pub(super) fn go_on(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let id = self.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status();
        assert!(status.is_ok_and(|status| status.success()), "kill -s {name} {id}");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that nobody has.
pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("it has an address").port()
}

/// A path below the house's cache, where `cargo xtask test` puts what it has
/// fetched.
pub(super) fn fetched(path: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a folder of the house");
    let program = root.join(".cache").join(path);
    assert!(program.exists(), "there is no {}; `cargo xtask test` fetches it", program.display());
    program
}

/// The same command, killed when its parent dies.
fn bound_to_us(command: &Command) -> Command {
    let mut bound = Command::new("setpriv");
    bound.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(name, value),
            None => bound.env_remove(name),
        };
    }
    bound.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    bound
}

/// Starts a child from a thread that lives as long as the process: the signal
/// at the parent's death is sent when the thread dies that started it.
fn spawn(command: Command) -> Child {
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
    let (answer, child) = mpsc::channel();
    STARTER.send((command, answer)).expect("the starter lives as long as the process");
    let child = child.recv().expect("the starter answers");
    child.expect("setpriv (of util-linux) can be started")
}

/// Tells when a program is ready, or its last words when it has ended. Later
/// lines are read so that it can go on writing.
fn listen(
    output: ChildStdout,
    ready: &'static str,
) -> mpsc::Receiver<Result<(), VecDeque<String>>> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let mut last = VecDeque::new();
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if line.contains(ready) {
                // Whoever waits has given up, or was told already.
                let _ = tell.send(Ok(()));
            }
            if last.len() == LAST_WORDS {
                last.pop_front();
            }
            last.push_back(line);
        }
        let _ = tell.send(Err(last));
    });
    told
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;
    use std::process::Command;

    use super::Program;

    #[test]
    fn who_does_not_start_is_heard_out() {
        let start = || {
            let mut shell = Command::new("sh");
            shell.args(["-c", "for n in $(seq 30); do echo line $n; done"]);
            Program::start(&shell, "ready")
        };
        let panic = catch_unwind(start).err().expect("it does not start");
        let said = panic.downcast::<String>().expect("it says why");
        assert!(said.contains("\"line 11\"") && said.contains("\"line 30\""), "{said}");
        assert!(!said.contains("\"line 10\""), "{said}");
    }
}
