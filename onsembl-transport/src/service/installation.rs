//! Where a unit is installed, and what `systemctl` is asked for.

use super::unit::{MARK, Unit};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use thiserror::Error;

/// Where the units of this machine's administrator are.
const SYSTEM_UNITS: &str = "/etc/systemd/system";

/// The longest name of a unit, without `.service`.
const NAME_BYTES: usize = 200;

/// Whose service it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The machine's: it is started with it.
    System,
    /// Of the user who installs it: it is started when that user logs in, or with the machine if the user lingers.
    User,
}

impl Scope {
    /// Where the configuration file of this name is looked for: in `/etc/onsembl`, or below the user's configuration
    /// folder.
    ///
    /// # Errors
    /// [`ServiceError::NoHome`].
    pub fn config_file(self, name: &str) -> Result<PathBuf, ServiceError> {
        let folder = match self {
            Self::System => PathBuf::from("/etc"),
            Self::User => user_config()?,
        };
        Ok(folder.join("onsembl").join(name))
    }

    /// What starts the services of this scope.
    #[must_use]
    pub const fn target(self) -> &'static str {
        match self {
            Self::System => "multi-user.target",
            Self::User => "default.target",
        }
    }
}

/// Why a service cannot be installed, removed or looked at.
#[derive(Debug, Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names say all")]
pub enum ServiceError {
    /// There is no place for a unit or a configuration of this user.
    #[error(
        "neither HOME nor XDG_CONFIG_HOME is set, so there is no directory for the units and the configuration of this user"
    )]
    NoHome,
    /// No unit can have this name.
    #[error("{name:?} cannot name a unit; use at most {NAME_BYTES} letters, digits and -_.:")]
    Name { name: String },
    /// A file cannot be read, written or removed.
    #[error("cannot use the unit {}: {error}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    /// A unit of this name was written by somebody else.
    #[error("{} was not written by this program; move it away, or replace it with --force", path.display())]
    Foreign { path: PathBuf },
    /// There is no unit of this name.
    #[error("there is no unit {}; `service install` writes one", path.display())]
    NotInstalled { path: PathBuf },
    /// The program `systemctl` cannot be run.
    #[error(
        "cannot run systemctl: {0}; this machine has no systemd? `service install --print` shows the unit"
    )]
    NoSystemctl(#[source] io::Error),
    /// It refused.
    #[error("`systemctl {words}` failed: {said}")]
    Refused { words: String, said: String },
}

/// What became of a unit that was to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrote {
    New,
    Changed,
    Unchanged,
}

impl fmt::Display for Wrote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "wrote",
            Self::Changed => "replaced",
            Self::Unchanged => "unchanged:",
        })
    }
}

/// A service under its name.
#[derive(Clone, Debug)]
pub struct Installation {
    scope: Scope,
    folder: PathBuf,
    /// Without `.service`.
    name: String,
}

impl Installation {
    /// The service of this name. Nothing is done yet.
    ///
    /// # Errors
    /// [`ServiceError::NoHome`], [`ServiceError::Name`].
    pub fn new(scope: Scope, name: &str) -> Result<Self, ServiceError> {
        let is_good = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        if name.is_empty() || name.len() > NAME_BYTES || !name.chars().all(is_good) {
            return Err(ServiceError::Name { name: name.to_owned() });
        }
        let folder = match scope {
            Scope::System => PathBuf::from(SYSTEM_UNITS),
            Scope::User => user_config()?.join("systemd/user"),
        };
        Ok(Self { scope, folder, name: name.to_owned() })
    }

    /// The unit file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.join(self.unit())
    }

    /// The name of the unit.
    #[must_use]
    pub fn unit(&self) -> String {
        format!("{}.service", self.name)
    }

    /// Writes the unit and enables it, and starts it (again) if `start`. Each step that was done, for people.
    ///
    /// # Errors
    /// What was done until then stays done.
    pub fn install(
        &self,
        unit: &Unit,
        force: bool,
        start: bool,
    ) -> Result<Vec<String>, ServiceError> {
        let wrote = self.write(unit, force)?;
        let mut done = vec![format!("{wrote} {}", self.path().display())];
        let _ = self.systemctl(&["daemon-reload"])?;
        let _ = self.systemctl(&["enable", &self.unit()])?;
        done.push(match self.scope {
            Scope::System => format!("enabled {}: it starts with the machine", self.unit()),
            Scope::User => format!("enabled {}: it starts when you log in", self.unit()),
        });
        if start {
            // A running one is to have what was just written.
            let _ = self.systemctl(&["restart", &self.unit()])?;
            done.push(format!("started {}", self.unit()));
        }
        Ok(done)
    }

    /// Stops the service and removes its unit. Each step that was done, for people.
    ///
    /// # Errors
    /// There is none, it is not ours, or something fails.
    pub fn uninstall(&self, force: bool) -> Result<Vec<String>, ServiceError> {
        let path = self.path();
        match self.found()? {
            None => return Err(ServiceError::NotInstalled { path }),
            Some(text) if !text.starts_with(MARK) && !force => {
                return Err(ServiceError::Foreign { path });
            }
            Some(_) => {}
        }
        let _ = self.systemctl(&["disable", "--now", &self.unit()])?;
        fs::remove_file(&path).map_err(|error| ServiceError::Io { path: path.clone(), error })?;
        let _ = self.systemctl(&["daemon-reload"])?;
        Ok(vec![format!("stopped {}", self.unit()), format!("removed {}", path.display())])
    }

    /// What the service manager says of it: a value for each of `properties`, empty where it says nothing.
    pub(super) fn properties(&self, properties: &[&str]) -> Result<Vec<String>, ServiceError> {
        if self.found()?.is_none() {
            return Err(ServiceError::NotInstalled { path: self.path() });
        }
        let list = format!("--property={}", properties.join(","));
        let shown = self.systemctl(&["show", &list, &self.unit()])?;
        let text = String::from_utf8_lossy(&shown.stdout).into_owned();
        let value = |name: &&str| {
            let values = text.lines().filter_map(|line| line.split_once('='));
            values.filter(|(key, _)| key == name).map(|(_, value)| value.to_owned()).next_back()
        };
        Ok(properties.iter().map(|name| value(name).unwrap_or_default()).collect())
    }

    fn found(&self) -> Result<Option<String>, ServiceError> {
        let path = self.path();
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ServiceError::Io { path, error }),
        }
    }

    fn write(&self, unit: &Unit, force: bool) -> Result<Wrote, ServiceError> {
        let (path, text) = (self.path(), unit.to_string());
        let wrote = match self.found()? {
            None => Wrote::New,
            Some(found) if found == text => return Ok(Wrote::Unchanged),
            Some(found) if found.starts_with(MARK) || force => Wrote::Changed,
            Some(_) => return Err(ServiceError::Foreign { path }),
        };
        let written = fs::create_dir_all(&self.folder).and_then(|()| replace(&path, &text));
        written.map_err(|error| ServiceError::Io { path, error })?;
        Ok(wrote)
    }

    fn systemctl(&self, words: &[&str]) -> Result<Output, ServiceError> {
        let mut all = match self.scope {
            Scope::System => Vec::new(),
            Scope::User => vec!["--user"],
        };
        all.extend(words);
        let run =
            Command::new("systemctl").args(&all).output().map_err(ServiceError::NoSystemctl)?;
        if run.status.success() {
            return Ok(run);
        }
        let said = String::from_utf8_lossy(&run.stderr).trim().to_owned();
        Err(ServiceError::Refused { words: all.join(" "), said })
    }
}

/// Everybody may read a unit; nothing secret is in it.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension(format!("service.new-{}", std::process::id()));
    let written = fs::write(&new, text).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        // Nothing is left of it if it can be helped; the failure is what counts.
        let _ = fs::remove_file(&new);
    }
    written
}

fn user_config() -> Result<PathBuf, ServiceError> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let config = variable("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| variable("HOME").map(|home| Path::new(&home).join(".config")));
    config.ok_or(ServiceError::NoHome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_of_somebody_else_is_not_replaced_by_accident() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("units");
        let installation = Installation { scope: Scope::User, folder, name: "x".to_owned() };
        let unit = Unit::written_by("test").section("Service");
        assert_eq!(installation.write(&unit, false).unwrap(), Wrote::New);
        assert_eq!(installation.write(&unit, false).unwrap(), Wrote::Unchanged);
        let other = unit.clone().set("A", 1);
        assert_eq!(installation.write(&other, false).unwrap(), Wrote::Changed);
        assert_eq!(fs::read_to_string(installation.path()).unwrap(), other.to_string());
        fs::write(installation.path(), "[Service]\n").unwrap();
        let refused = installation.write(&unit, false).unwrap_err();
        assert!(matches!(refused, ServiceError::Foreign { .. }), "{refused}");
        assert!(matches!(installation.uninstall(false), Err(ServiceError::Foreign { .. })));
        assert_eq!(installation.write(&unit, true).unwrap(), Wrote::Changed);
        assert_eq!(
            fs::read_dir(installation.folder).unwrap().count(),
            1,
            "nothing is left beside it"
        );
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        for name in ["", "a/b", "../x", "a b", &"x".repeat(201)] {
            assert!(matches!(
                Installation::new(Scope::System, name),
                Err(ServiceError::Name { .. })
            ));
        }
        let good = Installation::new(Scope::System, "onsembl-agent").unwrap();
        assert_eq!(good.path(), Path::new("/etc/systemd/system/onsembl-agent.service"));
    }

    #[test]
    fn what_is_not_installed_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().to_owned();
        let installation = Installation { scope: Scope::User, folder, name: "x".to_owned() };
        let refused = installation.uninstall(false).unwrap_err().to_string();
        assert!(refused.contains("x.service") && refused.contains("install"), "{refused}");
        assert!(installation.properties(&["ActiveState"]).is_err());
    }
}
