//! What is wrong with the settings, and where.

use std::fmt;
use std::path::PathBuf;

/// Where a setting was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Nowhere: it has its default.
    Default,
    /// In a file.
    File {
        /// Which.
        path: PathBuf,
        /// Counts from 1.
        line: usize,
    },
    /// In the environment, under this name.
    Environment(String),
    /// By this flag.
    Argument(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Argument(flag) => write!(f, "argument {flag}"),
        }
    }
}

/// One reason not to start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Where the setting was made.
    pub origin: Origin,
    /// `section.key`, if it is about one setting.
    pub key: Option<String>,
    /// The reason, for people.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{}: {key}: {}", self.origin, self.reason),
            None => write!(f, "{}: {}", self.origin, self.reason),
        }
    }
}

/// Every reason not to start, a line each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is refused:")?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for Problems {}
