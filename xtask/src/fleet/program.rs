//! A program that goes on when this one has ended, and is found again.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{PATIENCE, until};
use crate::shell;

/// How long a program may take to end by itself.
const END: Duration = Duration::from_secs(60);

/// Writes down its process and when that began, and becomes the program: so it
/// is known before it runs, and no other process is ever taken for it.
const BECOME: &str = "\
pid_file=$1; shift
read -r stat < /proc/$$/stat
began=$(set -- $stat; echo \"${22}\")
echo \"$$ $began\" > \"$pid_file.new\" && mv \"$pid_file.new\" \"$pid_file\" && exec \"$@\"";

/// One of the fleet's programs, running or not.
pub(super) struct Program {
    name: String,
    folder: PathBuf,
    pid_file: PathBuf,
    log: PathBuf,
}

impl Program {
    /// The program of this name, with all that is its own below `folder`.
    pub(super) fn new(folder: &Path, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            folder: folder.join(name),
            pid_file: folder.join(format!("{name}.pid")),
            log: folder.join(format!("{name}.log")),
        }
    }

    /// Its data.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its process, if it runs.
    fn process(&self) -> Option<String> {
        let text = fs::read_to_string(&self.pid_file).ok()?;
        let (process, began) = text.trim().split_once(' ')?;
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // Behind the name, which may hold anything: the third field and on.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        // One that has ended, and that nobody has asked about yet, is none.
        let runs = fields.get(19) == Some(&began) && fields.first() != Some(&"Z");
        runs.then(|| process.to_owned())
    }

    /// Starts it, unless it runs.
    pub(super) fn start(&self, command: &Command, address: SocketAddr) -> Result<()> {
        if self.process().is_some() {
            return Ok(());
        }
        let free = TcpListener::bind(address);
        free.with_context(|| {
            let name = &self.name;
            format!(
                "{name}: another program, perhaps another fleet, listens on {address}: give --port"
            )
        })?;
        fs::create_dir_all(&self.folder)?;
        let _ = fs::remove_file(&self.pid_file);
        let log = fs::File::options().create(true).append(true).open(&self.log)?;
        let mut shell = Command::new("sh");
        shell.args(["-c", BECOME, "sh"]).arg(&self.pid_file);
        shell.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            shell.env(name, value.context("nothing is taken from the environment")?);
        }
        // Ctrl-C in the terminal is not for it.
        shell.process_group(0).current_dir(&self.folder);
        shell.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut child = shell.spawn().with_context(|| format!("cannot start {}", self.name))?;
        let known = until(PATIENCE, || {
            let ended = child.try_wait()?;
            ensure!(ended.is_none(), "{} has ended{}", self.name, self.last_words());
            Ok(self.process().is_some())
        })?;
        ensure!(known, "{} does not start{}", self.name, self.last_words());
        Ok(())
    }

    /// Waits until it answers.
    pub(super) fn wait(&self, mut answers: impl FnMut() -> Result<bool>) -> Result<()> {
        let mut last = None;
        let ready = until(PATIENCE, || {
            ensure!(self.process().is_some(), "{} has ended{}", self.name, self.last_words());
            match answers() {
                Ok(answers) => Ok(answers),
                Err(error) => {
                    last = Some(error);
                    Ok(false)
                }
            }
        })?;
        let why = last.map_or_else(String::new, |error| format!(": {error:#}"));
        ensure!(ready, "{} does not answer{why}{}", self.name, self.last_words());
        println!("{} runs", self.name);
        Ok(())
    }

    /// Ends it; true if it ran.
    pub(super) fn end(&self) -> Result<bool> {
        let Some(process) = self.process() else {
            let _ = fs::remove_file(&self.pid_file);
            return Ok(false);
        };
        // It may end by itself meanwhile. One that was stopped ends, too.
        for signal in ["-TERM", "-CONT"] {
            shell::works(Command::new("kill").args([signal, &process]));
        }
        if !until(END, || Ok(self.process().is_none()))? {
            println!("{} does not end, and is killed", self.name);
            shell::works(Command::new("kill").args(["-KILL", &process]));
            ensure!(until(END, || Ok(self.process().is_none()))?, "{} stays", self.name);
        }
        let _ = fs::remove_file(&self.pid_file);
        Ok(true)
    }

    fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(10)..];
        format!("; the end of {}:\n{}", self.log.display(), last.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that only waits, in a folder of its own.
    fn sleeper(name: &str) -> (Program, PathBuf) {
        let folder = format!("avvy-xtask-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        fs::create_dir_all(&folder).expect("a folder can be made");
        (Program::new(&folder, "sleeper"), folder)
    }

    fn start(program: &Program) -> Result<()> {
        let mut command = Command::new("sleep");
        program.start(command.arg("600"), SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    #[test]
    fn what_was_started_is_found_and_ended_once() {
        let (program, folder) = sleeper("once");
        assert!(!program.end().expect("nothing runs"));
        start(&program).expect("it starts");
        let process = program.process().expect("it runs");
        start(&program).expect("it runs already");
        assert_eq!(program.process().as_ref(), Some(&process));
        // As after a crash of the one that started it: all that is left is the file.
        let found = Program::new(&folder, "sleeper");
        assert!(found.end().expect("it ends"));
        assert!(program.process().is_none() && !program.end().expect("it has ended"));
        fs::remove_dir_all(folder).expect("the folder is there");
    }

    #[test]
    fn one_that_ends_at_once_says_why() {
        let (program, folder) = sleeper("broken");
        let mut command = Command::new("sh");
        command.args(["-c", "echo it is broken; exit 1"]);
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        // It is found out when it starts, or by the first look after that.
        let outcome = program.start(&command, nowhere).and_then(|()| program.wait(|| Ok(false)));
        let error = outcome.expect_err("it ends").to_string();
        assert!(error.contains("has ended") && error.contains("it is broken"), "{error}");
        fs::remove_dir_all(folder).expect("the folder is there");
    }

    #[test]
    fn one_that_stands_still_is_ended_too() {
        let (program, folder) = sleeper("stopped");
        start(&program).expect("it starts");
        let process = program.process().expect("it runs");
        assert!(shell::works(Command::new("kill").args(["-STOP", &process])));
        assert!(program.end().expect("it ends"));
        fs::remove_dir_all(folder).expect("the folder is there");
    }

    #[test]
    fn another_process_of_the_same_number_is_left_alone() {
        let (program, folder) = sleeper("another");
        let own = std::process::id();
        fs::write(&program.pid_file, format!("{own} 1\n")).expect("it can be written");
        assert!(program.process().is_none() && !program.end().expect("nothing runs"));
        assert!(!program.pid_file.exists());
        fs::remove_dir_all(folder).expect("the folder is there");
    }
}
