//! Starts the real binary on a directory of its own, and ends it.

#![allow(clippy::unwrap_used, missing_docs, dead_code)]

pub mod copies;
pub mod lives;
pub mod revoked;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// The binary: the release if the tests are told where it is.
pub fn binary() -> PathBuf {
    std::env::var_os("AVVYLAND_BINARY")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_avvyland")), PathBuf::from)
}

pub fn avvyland(arguments: &[&str], data: &Path) -> Output {
    Command::new(binary())
        .args(arguments)
        .arg("--data")
        .arg(data)
        .current_dir(data.parent().unwrap())
        .output()
        .unwrap()
}

pub struct Server {
    child: Child,
    pub data: PathBuf,
    pub url: String,
    pub token: String,
    pub demo_brane: String,
    /// What it said when it had started.
    pub greeting: String,
}

impl Server {
    pub fn start(data: &Path) -> Self {
        Self::start_with(data, &[])
    }

    /// Starts on a free port and waits until it says where it is.
    pub fn start_with(data: &Path, settings: &[(&str, &str)]) -> Self {
        Self::start_by(Command::new(binary()), data, settings)
    }

    /// Starts where another one was.
    pub fn start_at(address: &str, data: &Path) -> Self {
        Self::start_bound(Command::new(binary()), address, data, &[])
    }

    /// Starts this program rather than the one that is tested otherwise.
    pub fn start_program(program: &Path, data: &Path, settings: &[(&str, &str)]) -> Self {
        Self::start_by(Command::new(program), data, settings)
    }

    /// Starts as `nohup` does.
    pub fn start_without_hangups(data: &Path) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]).arg(binary());
        Self::start_by(shell, data, &[])
    }

    fn start_by(command: Command, data: &Path, settings: &[(&str, &str)]) -> Self {
        Self::start_bound(command, "127.0.0.1:0", data, settings)
    }

    fn start_bound(
        mut command: Command,
        address: &str,
        data: &Path,
        settings: &[(&str, &str)],
    ) -> Self {
        let mut child = command
            .args(["serve", "--bind", address, "--data"])
            .arg(data)
            .envs(settings.iter().copied())
            .current_dir(data.parent().unwrap())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let greeting = read_until(&mut child, "Ctrl-C drains");
        Self::find(child, data, greeting)
    }

    /// Starts where nobody reads what it says and logs, and waits until its
    /// data directory says where it is.
    pub fn start_unheard(data: &Path, settings: &[(&str, &str)]) -> Self {
        let mut child = Command::new(binary())
            .args(["serve", "--bind", "127.0.0.1:0", "--data"])
            .arg(data)
            .envs(settings.iter().copied())
            .current_dir(data.parent().unwrap())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop((child.stdout.take(), child.stderr.take()));
        let deadline = Instant::now() + PATIENCE;
        while !data.join("running.json").exists() {
            assert_eq!(child.try_wait().unwrap(), None, "the server has ended");
            assert!(Instant::now() < deadline, "the server does not start");
            std::thread::park_timeout(Duration::from_millis(10));
        }
        Self::find(child, data, String::new())
    }

    fn find(child: Child, data: &Path, greeting: String) -> Self {
        let text = std::fs::read_to_string(data.join("running.json")).unwrap();
        let running: Value = serde_json::from_str(&text).unwrap();
        let text = |key: &str| running[key].as_str().unwrap_or_default().to_owned();
        Self {
            child,
            data: data.to_owned(),
            url: text("url"),
            token: text("token"),
            demo_brane: text("demo_brane"),
            greeting,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Ctrl-C, then the end.
    pub fn drain(mut self) -> ExitStatus {
        self.signal("-INT");
        self.wait()
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the server does not end");
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// A GET whose answer is JSON: status and body.
    pub fn get(&self, path: &str) -> (u16, Value) {
        let (status, body) = self.ask(path);
        (status, serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    /// The body of a GET.
    pub fn text(&self, path: &str) -> String {
        self.ask(path).1
    }

    fn ask(&self, path: &str) -> (u16, String) {
        self.request("GET", path, &self.token)
    }

    /// A request without a body by whoever has this token: status and body.
    pub fn request(&self, method: &str, path: &str, token: &str) -> (u16, String) {
        self.send(method, path, &format!("authorization: Bearer {token}\r\n"), "")
    }

    /// A request with JSON by whoever has no token: status and body.
    pub fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.post_with(path, body, "")
    }

    /// The same by whoever has this token.
    pub fn post_as(&self, path: &str, body: &Value, token: &str) -> (u16, Value) {
        self.post_with(path, body, &format!("authorization: Bearer {token}\r\n"))
    }

    fn post_with(&self, path: &str, body: &Value, headers: &str) -> (u16, Value) {
        let headers = format!("content-type: application/json\r\n{headers}");
        let (status, body) = self.send("POST", path, &headers, &body.to_string());
        (status, serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    /// A request with JSON by the server's own user: status and body.
    pub fn post_own(&self, path: &str, body: &Value) -> (u16, Value) {
        self.try_post_own(path, body).unwrap()
    }

    /// The same; `None` if the server ends before it has answered.
    pub fn try_post_own(&self, path: &str, body: &Value) -> Option<(u16, Value)> {
        let json = "content-type: application/json\r\nauthorization: Bearer";
        let headers = format!("{json} {}\r\n", self.token);
        let (status, body) = self.try_send("POST", path, &headers, &body.to_string()).ok()?;
        Some((status, serde_json::from_str(&body).unwrap_or(Value::Null)))
    }

    /// A request with JSON by the server's own user under this key; `None` if
    /// the server ends before it has answered.
    pub fn try_keyed(&self, path: &str, body: &Value, key: &str) -> Option<(u16, Value)> {
        self.try_keyed_as(path, body, key, &self.token)
    }

    /// The same by whoever has this token.
    pub fn try_keyed_as(
        &self,
        path: &str,
        body: &Value,
        key: &str,
        token: &str,
    ) -> Option<(u16, Value)> {
        let headers = format!(
            "content-type: application/json\r\nauthorization: Bearer {token}\r\nidempotency-key: {key}\r\n",
        );
        let (status, body) = self.try_send("POST", path, &headers, &body.to_string()).ok()?;
        Some((status, serde_json::from_str(&body).unwrap_or(Value::Null)))
    }

    /// A request with these lines of headers: status and body.
    pub fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
        self.try_send(method, path, headers, body).unwrap()
    }

    fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> std::io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(self.address())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\naccept: application/json\r\n\
             {headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8(answer).unwrap();
        let Some((head, body)) = answer.split_once("\r\n\r\n") else {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        };
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Ok((status, body.to_owned()))
    }

    pub fn address(&self) -> &str {
        self.url.rsplit('/').next().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already ended, unless a test failed halfway.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the server says until this line, and goes on reading after it.
fn read_until(child: &mut Child, wanted: &'static str) -> String {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (found, finding) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        for line in lines.map_while(Result::ok) {
            text += &format!("{line}\n");
            if line.contains(wanted) {
                let _ = found.send(std::mem::take(&mut text));
            }
        }
    });
    finding.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        let _ = child.kill();
        panic!("the server did not start: {:?}", child.wait());
    })
}
