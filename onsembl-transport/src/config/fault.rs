//! What is wrong in a configuration file, and where.

use std::fmt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// One thing that is wrong in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFault {
    path: PathBuf,
    line: Option<usize>,
    key: Option<String>,
    what: String,
}

impl ConfigFault {
    pub(super) fn of_file(path: &Path, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: None, key: None, what: what.into() }
    }

    pub(super) fn of_line(path: &Path, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: Some(line), key: None, what: what.into() }
    }

    pub(super) fn of_key(path: &Path, line: usize, key: &str, what: impl Into<String>) -> Self {
        let (path, key) = (path.to_owned(), Some(key.to_owned()));
        Self { path, line: Some(line), key, what: what.into() }
    }

    /// The line, from 1, if it is about one.
    #[must_use]
    pub const fn line(&self) -> Option<usize> {
        self.line
    }

    /// The key, if it is about one.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }
}

/// As compilers do it, so that an editor finds the line: `server.toml:3: keep-for: …`.
impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ": {key}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// Everything that is wrong in a configuration file, in the order of its lines; at least one thing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct ConfigFaults(pub(super) Vec<ConfigFault>);

impl ConfigFaults {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigFault> {
        self.0.iter()
    }
}

impl fmt::Display for ConfigFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join("\n"))
    }
}

impl From<ConfigFault> for ConfigFaults {
    fn from(fault: ConfigFault) -> Self {
        Self(vec![fault])
    }
}
