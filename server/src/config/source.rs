//! Gathers the settings from where they are made, and remembers where that
//! was.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::DeTable;
use toml::{Table, Value};

use super::problem::{Origin, Problem, Problems};
use super::{Config, rules};

/// The file that is read when none is named.
const DEFAULT_FILE: &str = "config.toml";
/// What the names of settings in the environment begin with.
const PREFIX: &str = "AVVY_";

/// A setting made by a flag.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Argument {
    /// The flag, as it was written: `--bind`.
    pub flag: &'static str,
    /// The section.
    pub section: &'static str,
    /// The key.
    pub key: &'static str,
    /// The value, as text.
    pub value: String,
}

/// Everything that makes settings.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sources {
    /// A file's name and text.
    pub file: Option<(PathBuf, String)>,
    /// Variables and their values; those that are not ours are passed over.
    pub environment: Vec<(String, String)>,
    /// Flags.
    pub arguments: Vec<Argument>,
}

impl Sources {
    /// Reads the file (`config.toml` in the working directory if none is
    /// named and that one exists) and the environment.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn gather(file: Option<&Path>, arguments: Vec<Argument>) -> Result<Self, Problems> {
        let path = file.unwrap_or(Path::new(DEFAULT_FILE));
        let text = match std::fs::read_to_string(path) {
            Ok(text) => Some((path.to_owned(), text)),
            Err(error) if error.kind() == ErrorKind::NotFound && file.is_none() => None,
            Err(error) => {
                let reason = format!("cannot be read: {error}");
                let origin = Origin::File { path: path.to_owned(), line: 0 };
                return Err(Problems(vec![Problem { origin, key: None, reason }]));
            }
        };
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        });
        Ok(Self { file: text, environment: variables.collect(), arguments })
    }

    /// Puts the settings together and checks them.
    ///
    /// # Errors
    /// Every problem that there is, not only the first. Rules across settings
    /// are looked at when each of them alone is in order.
    pub fn load(&self) -> Result<Config, Problems> {
        let mut merge = Merge::new();
        if let Some((path, text)) = &self.file {
            merge.file(path, text);
        }
        for (name, value) in &self.environment {
            merge.variable(name, value);
        }
        for argument in &self.arguments {
            let origin = Origin::Argument(argument.flag);
            merge.text(argument.section, argument.key, &argument.value, origin);
        }
        merge.finish()
    }
}

/// The settings so far.
struct Merge {
    settings: Table,
    config: Config,
    origins: BTreeMap<String, Origin>,
    problems: Vec<Problem>,
}

impl Merge {
    fn new() -> Self {
        let config = Config::default();
        let settings = Table::try_from(&config).expect("every setting has a TOML form");
        Self { settings, config, origins: BTreeMap::new(), problems: Vec::new() }
    }

    fn file(&mut self, path: &Path, text: &str) {
        let at = |line| Origin::File { path: path.to_owned(), line };
        let (spans, values) = match (DeTable::parse(text), text.parse::<Table>()) {
            (Ok(spans), Ok(values)) => (spans, values),
            (Err(error), _) | (_, Err(error)) => {
                let line = line_of(text, &error.span().unwrap_or_default());
                return self.refuse(at(line), None, error.message());
            }
        };
        for (section, settings) in spans.get_ref() {
            let line = line_of(text, &section.span());
            let section = section.get_ref().as_ref();
            let Some(keys) = settings.get_ref().as_table() else {
                self.refuse(at(line), None, &self.not_a_section(section));
                continue;
            };
            if !self.settings.contains_key(section) {
                self.refuse(at(line), None, &self.not_a_section(section));
                continue;
            }
            for key in keys.keys() {
                let line = line_of(text, &key.span());
                let key = key.get_ref().as_ref();
                self.set(section, key, values[section][key].clone(), at(line));
            }
        }
    }

    fn variable(&mut self, name: &str, value: &str) {
        let Some(rest) = name.strip_prefix(PREFIX) else { return };
        let origin = Origin::Environment(name.to_owned());
        let lower = rest.to_ascii_lowercase();
        let is_upper = rest == rest.to_ascii_uppercase();
        match lower.split_once('_') {
            Some((section, key)) if self.settings.contains_key(section) && is_upper => {
                self.text(section, key, value, origin);
            }
            _ => {
                let sections: Vec<_> =
                    self.settings.keys().map(|name| name.to_uppercase()).collect();
                let sections = sections.join(", ");
                let reason = format!(
                    "there is no such setting; names are AVVY_SECTION_KEY, sections are {sections}"
                );
                self.refuse(origin, None, &reason);
            }
        }
    }

    /// A value that is text, because its source knows nothing else.
    fn text(&mut self, section: &str, key: &str, text: &str, origin: Origin) {
        let default = self.settings.get(section).and_then(|settings| settings.get(key));
        let value = match default {
            Some(Value::Integer(_)) => {
                text.trim().replace('_', "").parse().map(Value::Integer).ok()
            }
            Some(Value::Boolean(_)) => text.trim().parse().map(Value::Boolean).ok(),
            // As it is written in the file.
            Some(Value::Array(_)) => {
                let line = format!("value = {}", text.trim()).parse::<Table>();
                line.ok().and_then(|mut table| table.remove("value"))
            }
            _ => None,
        };
        let value = value.unwrap_or_else(|| Value::String(text.to_owned()));
        self.set(section, key, value, origin);
    }

    /// Makes one setting, if the section is known and the value fits the key.
    fn set(&mut self, section: &str, key: &str, value: Value, origin: Origin) {
        let name = format!("{section}.{key}");
        let mut settings = self.settings.clone();
        let keys = settings.get_mut(section).and_then(Value::as_table_mut);
        let slot = keys.and_then(|keys| keys.get_mut(key));
        let Some(slot) = slot else {
            return self.refuse(origin, Some(name), &self.no_such_key(section, key));
        };
        // What is in a list may be secret.
        let written = if value.is_array() { "the list".to_owned() } else { value.to_string() };
        *slot = value;
        match settings.clone().try_into() {
            Ok(config) => {
                (self.settings, self.config) = (settings, config);
                self.origins.insert(name, origin);
            }
            Err(error) => {
                let error: toml::de::Error = error;
                let reason = format!("{written} does not fit: {}", error.message().trim());
                self.refuse(origin, Some(name), &reason);
            }
        }
    }

    fn finish(mut self) -> Result<Config, Problems> {
        if self.problems.is_empty() {
            for (key, reason) in rules::broken(&self.config, &self.settings) {
                let origin = self.origins.get(&key).cloned().unwrap_or(Origin::Default);
                self.refuse(origin, Some(key), &reason);
            }
        }
        if self.problems.is_empty() { Ok(self.config) } else { Err(Problems(self.problems)) }
    }

    fn not_a_section(&self, name: &str) -> String {
        let sections: Vec<_> = self.settings.keys().map(|name| format!("[{name}]")).collect();
        format!("there is no section [{name}]; there are {}", sections.join(", "))
    }

    fn no_such_key(&self, section: &str, key: &str) -> String {
        let keys = self.settings.get(section).and_then(Value::as_table);
        let keys = keys.into_iter().flat_map(Table::keys);
        let near = keys.min_by_key(|known| distance(known, key));
        let near = near.filter(|known| distance(known, key) <= key.len() / 2);
        let hint = near.map(|known| format!("; did you mean {known}?")).unwrap_or_default();
        format!("there is no such setting{hint}")
    }

    fn refuse(&mut self, origin: Origin, key: Option<String>, reason: &str) {
        self.problems.push(Problem { origin, key, reason: reason.to_owned() });
    }
}

/// The line, from 1, in which the span begins.
fn line_of(text: &str, span: &Range<usize>) -> usize {
    let before = text.as_bytes().get(..span.start).unwrap_or(text.as_bytes());
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

/// Levenshtein's distance, in bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
