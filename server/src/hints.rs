//! What to try on a server that has just started: lines that work as they are
//! when they are pasted into another terminal in the same directory.

use std::fmt::Write;
use std::path::Path;

use uuid::Uuid;

/// What the lines depend on.
pub struct Hints<'a> {
    /// The running program.
    pub program: &'a Path,
    /// The directory in which it was started.
    pub directory: &'a Path,
    /// The file of settings that it was given.
    pub config: Option<&'a Path>,
    /// Where its data are.
    pub data: &'a Path,
    /// Where it serves.
    pub url: &'a str,
    /// Whether it has left a token in its data directory.
    pub has_token: bool,
    /// The demo brane, if there is one.
    pub demo_brane: Option<Uuid>,
}

impl Hints<'_> {
    /// The lines.
    pub fn text(&self) -> String {
        let Self { url, .. } = self;
        let mut text = "Try next, in another terminal:\n".to_owned();
        // Neither speaks TLS.
        if self.demo_brane.is_some() && url.starts_with("http://") {
            text += &format!("  {}\n  {}\n", self.demo(), self.watch());
        }
        text += &format!("  curl -s {url}/healthz -H 'Accept: application/json'\n");
        if let Some(brane) = self.demo_brane {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "  curl -s '{url}/api/v1/brane/{brane}/objects?limit=3' \\\n    \
                 -H 'Accept: application/json' -H \"Authorization: Bearer $({})\"",
                self.token("visitor")
            );
        }
        text
    }

    fn demo(&self) -> String {
        let (command, data) = (self.command("demo"), self.data());
        format!("{command}{data} --users 200{}", self.token_flag("builder"))
    }

    fn watch(&self) -> String {
        format!("{}{}{}", self.command("watch"), self.data(), self.token_flag("visitor"))
    }

    /// The flag for a token, unless one is found in the data directory.
    fn token_flag(&self, role: &str) -> String {
        if self.has_token {
            return String::new();
        }
        format!(" --token \"$({})\"", self.token(role))
    }

    fn token(&self, role: &str) -> String {
        let config = self.config.map(|file| format!(" --config {}", self.path(file)));
        let (command, data) = (self.command("token"), self.data());
        format!("{command}{}{data} --role {role}", config.unwrap_or_default())
    }

    fn command(&self, name: &str) -> String {
        let program = self.path(self.program);
        // A shell looks for a bare name elsewhere.
        let here = if program.contains('/') { "" } else { "./" };
        format!("{here}{program} {name}")
    }

    /// The flag for the data directory, unless it is where everyone looks.
    fn data(&self) -> String {
        match self.path(self.data).as_str() {
            "data" => String::new(),
            data => format!(" --data {data}"),
        }
    }

    /// A path as a shell takes it; from where the server was started, if it is below.
    fn path(&self, path: &Path) -> String {
        let path = path.strip_prefix(self.directory).unwrap_or(path);
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let text = path.to_string_lossy();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%:,=".contains(c);
        if !text.is_empty() && text.chars().all(is_plain) {
            text.into_owned()
        } else {
            format!("'{}'", text.replace('\'', r"'\''"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hints<'a>(program: &'a str, data: &'a str) -> Hints<'a> {
        Hints {
            program: Path::new(program),
            directory: Path::new("/srv/avvyland"),
            config: None,
            data: Path::new(data),
            url: "http://127.0.0.1:7878",
            has_token: true,
            demo_brane: Some(Uuid::from_u128(7)),
        }
    }

    #[test]
    fn where_it_was_started_has_a_name() {
        let text = hints("/usr/bin/avvyland", "/srv/avvyland").text();
        assert!(text.contains("  /usr/bin/avvyland demo --data . --users 200\n"), "{text}");
    }

    #[test]
    fn what_is_near_is_named_from_here() {
        let text = hints("/srv/avvyland/target/release/avvyland", "data").text();
        let expected = "\
Try next, in another terminal:
  target/release/avvyland demo --users 200
  target/release/avvyland watch
  curl -s http://127.0.0.1:7878/healthz -H 'Accept: application/json'
  curl -s 'http://127.0.0.1:7878/api/v1/brane/00000000-0000-0000-0000-000000000007/objects?limit=3' \\
    -H 'Accept: application/json' -H \"Authorization: Bearer $(target/release/avvyland token --role visitor)\"
";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_is_elsewhere_is_said() {
        let config = Some(Path::new("/etc/avvyland.toml"));
        let hints =
            Hints { config, has_token: false, ..hints("/usr/bin/avvyland", "/var/my data") };
        let token = "/usr/bin/avvyland token --config /etc/avvyland.toml --data '/var/my data'";
        let demo = "/usr/bin/avvyland demo --data '/var/my data' --users 200";
        let demo = format!("  {demo} --token \"$({token} --role builder)\"\n");
        assert!(hints.text().contains(&demo), "{}", hints.text());
        let watch = "/usr/bin/avvyland watch --data '/var/my data'";
        let watch = format!("  {watch} --token \"$({token} --role visitor)\"\n");
        assert!(hints.text().contains(&watch), "{}", hints.text());
    }

    #[test]
    fn a_shell_finds_the_program_and_every_path() {
        let here = hints("/srv/avvyland/avvyland", "data");
        assert!(here.text().contains("\n  ./avvyland demo"), "{}", here.text());
        assert_eq!(here.path(Path::new("it's")), r"'it'\''s'");
        assert_eq!(here.path(Path::new("$HOME")), "'$HOME'");
    }

    #[test]
    fn nothing_is_offered_that_is_not_there() {
        let bare = Hints { demo_brane: None, ..hints("/a", "data") };
        assert_eq!(bare.text().lines().count(), 2);
        let tls = Hints { url: "https://127.0.0.1:7878", ..hints("/a", "data") };
        assert!(!tls.text().contains("demo --users"), "{}", tls.text());
        assert!(!tls.text().contains(" watch"), "{}", tls.text());
    }
}
