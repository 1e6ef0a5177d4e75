//! Where programs come from: what a case needs, whether it is there, and the folder that `.ci/programs` fills.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What a case needs besides the binaries.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// A program of the system's packages.
    System(&'static str),
    /// A program from the npm registry.
    Npm(&'static str),
    /// A Python module, by its name for `import`.
    Python(&'static str),
}

impl Need {
    /// Why it is not available here, if it is not.
    pub fn missing(self) -> Option<String> {
        let (there, name, how) = match self {
            Self::System(name) => (find(name).is_some(), name, "the system's packages"),
            Self::Npm(name) => (find(name).is_some(), name, "the npm registry"),
            Self::Python(name) => (imports(name), name, "PyPI"),
        };
        (!there).then(|| format!("{name} is not installed; .ci/programs gets it from {how}"))
    }
}

/// The folder that `.ci/programs` fills: `ONSEMBL_PROGRAMS`, or one in the user's cache.
pub fn folder() -> PathBuf {
    if let Some(said) = std::env::var_os("ONSEMBL_PROGRAMS") {
        return said.into();
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    cache.unwrap_or_else(|| home().join(".cache")).join("onsembl-programs")
}

/// Where the folders of cases are.
pub fn runs() -> PathBuf {
    let runs = folder().join("runs");
    std::fs::create_dir_all(&runs).expect("a folder");
    runs
}

/// Where programs are looked for.
pub fn path() -> String {
    let own = folder().join("node_modules/.bin");
    format!("{}:{}", own.display(), std::env::var("PATH").unwrap_or_default())
}

/// Where Python's modules are looked for, besides its own folders.
pub fn python_path() -> PathBuf {
    folder().join("python")
}

fn find(name: &str) -> Option<PathBuf> {
    let path = path();
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn imports(module: &str) -> bool {
    let tried = Command::new("python3")
        .args(["-c", &format!("import {module}")])
        .env("PYTHONPATH", python_path())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
}
