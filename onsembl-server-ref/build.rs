//! Says in `ONSEMBL_VERSION` which version this is, with the commit that it was built from: as the environment says
//! (`ONSEMBL_COMMIT`), as the package says, as git says; or without.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Characters of a commit that are shown.
const SHOWN: usize = 12;

fn main() {
    println!("cargo::rerun-if-env-changed=ONSEMBL_COMMIT");
    println!("cargo::rerun-if-changed=build.rs");
    let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let given = std::env::var("ONSEMBL_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = given.or_else(|| of_package(&here)).or_else(|| of_git(&here));
    let commit = commit.map(|commit| commit.chars().take(SHOWN).collect::<String>());
    let version = match commit.filter(|commit| commit.bytes().all(|b| b.is_ascii_alphanumeric())) {
        Some(commit) => format!("{version} ({commit})"),
        None => version,
    };
    println!("cargo::rustc-env=ONSEMBL_VERSION={version}");
}

/// The commit that cargo wrote into a package.
fn of_package(here: &Path) -> Option<String> {
    let path = here.join(".cargo_vcs_info.json");
    let text = std::fs::read_to_string(&path).ok()?;
    println!("cargo::rerun-if-changed={}", path.display());
    let (_, rest) = text.split_once("\"sha1\"")?;
    rest.split('"').nth(1).map(str::to_owned)
}

/// The commit of the repository that this file is in: not of one that happens to be around a package. Only for what is
/// given to others, because all of the crate is built again when it changes.
fn of_git(here: &Path) -> Option<String> {
    if std::env::var("PROFILE").ok()? != "release" {
        return None;
    }
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(here).args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let _tracked = git(&["ls-files", "--error-unmatch", "build.rs"])?;
    let head = git(&["rev-parse", "--path-format=absolute", "--git-path", "HEAD"])?;
    println!("cargo::rerun-if-changed={head}");
    if let Some(branch) = git(&["symbolic-ref", "--quiet", "HEAD"]) {
        let path = git(&["rev-parse", "--path-format=absolute", "--git-path", &branch])?;
        // A branch that git has packed has no file of its own, and a path that is missing would build each time.
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "HEAD"])
}
