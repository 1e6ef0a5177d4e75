//! Contexts on the disk: a folder for each, in the user's configuration folder.
//!
//! Every file is replaced as a whole, so that two programs that write at once leave one of both, and nobody but the
//! user reads a token.

use anyhow::{Context as _, bail};
use onsembl_transport::private;
use onsembl_transport::secret::Secret;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const CONFIG_DIR: &str = "ONSEMBL_CONFIG_DIR";
const SETTINGS: &str = "context.toml";
const TOKEN: &str = "token";
const CURRENT: &str = "current";
/// Longest name, in bytes: names are names of folders.
const LONGEST_NAME: usize = 100;
/// Longest file of settings that is read, in bytes.
const LONGEST_SETTINGS: u64 = 64 * 1024;

/// The name of a context.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cli) struct ContextName(String);

impl ContextName {
    /// A name of letters, digits, dots, dashes and underscores, which does not begin with a dot.
    pub(in crate::cli) fn parse(text: &str) -> Result<Self, String> {
        let is_fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let fits = !text.is_empty() && text.len() <= LONGEST_NAME && text.chars().all(is_fit);
        if !fits || text.starts_with(['.', '-']) {
            return Err(format!(
                "the name of a context has letters, digits, dots, dashes and underscores, at most {LONGEST_NAME} of them"
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The name that follows from an address: its host, and its port if it names one.
    pub(in crate::cli) fn of_server(server: &str) -> Option<Self> {
        let (_, rest) = server.split_once("://").unwrap_or(("", server));
        let authority = rest.split(['/', '?']).next()?;
        let (_, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        let name: String = host
            .chars()
            .filter(|c| !matches!(c, '[' | ']'))
            .map(|c| if c == ':' { '-' } else { c })
            .collect();
        Self::parse(name.trim_start_matches('-')).ok()
    }
}

impl fmt::Display for ContextName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A server, and how to get there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(in crate::cli) struct Settings {
    pub(in crate::cli) server: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) tls_ca: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) proxy: Option<String>,
}

/// The contexts of a user.
#[derive(Clone, Debug)]
pub(in crate::cli) struct ContextStore {
    folder: PathBuf,
}

impl ContextStore {
    /// Those of this user.
    pub(in crate::cli) fn open() -> anyhow::Result<Self> {
        if let Some(folder) = std::env::var_os(CONFIG_DIR).filter(|folder| !folder.is_empty()) {
            return Ok(Self::at(PathBuf::from(folder)));
        }
        use etcetera::BaseStrategy as _;
        let folders = etcetera::base_strategy::Xdg::new();
        let folders = folders.with_context(|| {
            format!(
                "cannot find the configuration directory of this user; set HOME or {CONFIG_DIR}"
            )
        })?;
        Ok(Self::at(folders.config_dir().join("onsembl")))
    }

    pub(in crate::cli) const fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn folder_of(&self, name: &ContextName) -> PathBuf {
        self.folder.join("contexts").join(&name.0)
    }

    /// Where its token is.
    pub(in crate::cli) fn token_file(&self, name: &ContextName) -> PathBuf {
        self.folder_of(name).join(TOKEN)
    }

    /// All of them, in order.
    pub(in crate::cli) fn names(&self) -> anyhow::Result<Vec<ContextName>> {
        let folder = self.folder.join("contexts");
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| unreadable(&folder)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.with_context(|| unreadable(&folder))?;
            let name = entry.file_name().to_str().and_then(|name| ContextName::parse(name).ok());
            names.extend(name.filter(|_| entry.path().join(SETTINGS).is_file()));
        }
        names.sort();
        Ok(names)
    }

    /// The settings of one.
    pub(in crate::cli) fn settings(&self, name: &ContextName) -> anyhow::Result<Settings> {
        let path = self.folder_of(name).join(SETTINGS);
        match read(&path)? {
            Some(text) => {
                toml::from_str(&text).with_context(|| format!("{} is not valid", path.display()))
            }
            None => bail!("there is no context {name}; {}", self.remedy()?),
        }
    }

    /// Which ones there are, for somebody who named another.
    fn remedy(&self) -> anyhow::Result<String> {
        let names = self.names()?;
        Ok(match names.as_slice() {
            [] => "log in with `onsembl login URL`".to_owned(),
            names => {
                let names: Vec<_> = names.iter().map(ToString::to_string).collect();
                format!("there are: {}", names.join(", "))
            }
        })
    }

    /// The current one.
    pub(in crate::cli) fn current(&self) -> anyhow::Result<Option<ContextName>> {
        let path = self.folder.join(CURRENT);
        let Some(text) = read(&path)? else { return Ok(None) };
        let name = ContextName::parse(text.trim());
        name.map(Some).map_err(|why| anyhow::anyhow!("{}: {why}", path.display()))
    }

    /// Makes it the current one.
    pub(in crate::cli) fn use_context(&self, name: &ContextName) -> anyhow::Result<()> {
        let _known = self.settings(name)?;
        self.write(&self.folder.join(CURRENT), &format!("{name}\n"))
    }

    /// Stores one, with its token, and makes it the current one.
    pub(in crate::cli) fn keep(
        &self,
        name: &ContextName,
        settings: &Settings,
        token: &Secret,
    ) -> anyhow::Result<()> {
        let folder = self.folder_of(name);
        private::create_dir(&folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        // The token of another server must not meet the settings of this one.
        let _ = fs::remove_file(folder.join(SETTINGS));
        self.write(&folder.join(TOKEN), &format!("{}\n", token.expose()))?;
        self.write(&folder.join(SETTINGS), &toml::to_string(settings)?)?;
        self.use_context(name)
    }

    /// Forgets one, with its token. Whether there was one.
    pub(in crate::cli) fn remove(&self, name: &ContextName) -> anyhow::Result<bool> {
        let folder = self.folder_of(name);
        if self.current()?.as_ref() == Some(name) {
            let path = self.folder.join(CURRENT);
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        match fs::remove_dir_all(&folder) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).with_context(|| format!("cannot remove {}", folder.display())),
        }
    }

    fn write(&self, path: &Path, text: &str) -> anyhow::Result<()> {
        private::create_dir(&self.folder)
            .and_then(|()| private::replace(path, text.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

fn unreadable(path: &Path) -> String {
    format!("cannot read {}", path.display())
}

/// What is in a file; `None` if there is none.
fn read(path: &Path) -> anyhow::Result<Option<String>> {
    let is_long = |file: &fs::Metadata| file.len() > LONGEST_SETTINGS;
    match fs::metadata(path) {
        Ok(file) if is_long(&file) => bail!("{} is too long", path.display()),
        Ok(_) => fs::read_to_string(path).map(Some).with_context(|| unreadable(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| unreadable(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use onsembl_transport::private::Mode;

    fn name(text: &str) -> ContextName {
        ContextName::parse(text).unwrap()
    }

    fn settings(server: &str) -> Settings {
        Settings { server: server.to_owned(), tls_ca: None, proxy: None }
    }

    #[test]
    fn what_is_kept_is_private_and_comes_back_and_goes() {
        let top = tempfile::tempdir().unwrap();
        let store = ContextStore::at(top.path().join("onsembl"));
        assert_eq!((store.names().unwrap(), store.current().unwrap()), (Vec::new(), None));
        let (one, two) = (name("one"), name("two.example-8080"));
        store.keep(&one, &settings("http://one"), &Secret::new("t1")).unwrap();
        store.keep(&two, &settings("http://two"), &Secret::new("t2")).unwrap();
        assert_eq!(store.names().unwrap(), [one.clone(), two.clone()]);
        assert_eq!(store.current().unwrap(), Some(two.clone()));
        assert_eq!(store.settings(&one).unwrap(), settings("http://one"));
        assert_eq!(fs::read_to_string(store.token_file(&one)).unwrap(), "t1\n");
        for (path, mode) in [
            (top.path().join("onsembl"), "0700"),
            (store.folder_of(&one), "0700"),
            (store.token_file(&one), "0600"),
            (store.folder_of(&one).join(SETTINGS), "0600"),
        ] {
            assert_eq!(Mode::at(&path).unwrap().to_string(), mode, "{}", path.display());
        }
        store.use_context(&one).unwrap();
        assert!(store.remove(&one).unwrap() && !store.remove(&one).unwrap());
        assert_eq!((store.names().unwrap(), store.current().unwrap()), (vec![two], None));
        let missing = store.use_context(&one).unwrap_err().to_string();
        assert!(missing.contains("two.example-8080"), "{missing}");
    }

    #[test]
    fn a_name_is_the_name_of_a_folder_and_follows_from_an_address() {
        for bad in ["", ".", "..", "a/b", "-x", "a b", "ä", &"x".repeat(101)] {
            assert!(ContextName::parse(bad).is_err(), "{bad}");
        }
        for (server, expected) in [
            ("https://control.example", "control.example"),
            ("wss://control.example:8443/prefix?x", "control.example-8443"),
            ("http://127.0.0.1:8080", "127.0.0.1-8080"),
            ("http://[::1]:8080", "1-8080"),
            ("https://user@host", "host"),
        ] {
            assert_eq!(ContextName::of_server(server).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn a_file_that_is_not_valid_is_named() {
        let top = tempfile::tempdir().unwrap();
        let store = ContextStore::at(top.path().to_owned());
        store.keep(&name("one"), &settings("http://one"), &Secret::new("t")).unwrap();
        fs::write(store.folder_of(&name("one")).join(SETTINGS), "servr = 1").unwrap();
        let why = format!("{:#}", store.settings(&name("one")).unwrap_err());
        assert!(why.contains("one/context.toml") && why.contains("servr"), "{why}");
    }
}
