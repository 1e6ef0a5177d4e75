//! `onsembl-agent config`: looks at a configuration file, and at what holds with it.

use super::configured::{self, Misuse};
use super::view::View;
use super::{Command, OK, RunArgs, print, run};
use anyhow::{Result, bail};
use clap::error::ErrorKind;
use clap::{Args, Subcommand};
use onsembl_transport::config::command_line::shown;
use onsembl_transport::config::{ConfigFile, Effective, listed};
use onsembl_transport::private::Mode;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The file to begin with.
const EXAMPLE: &str = include_str!("agent.toml");

const CHECK: &str = "\
Examples:
  onsembl-agent config check /etc/onsembl/agent.toml

Exit codes:
  0  valid
  1  invalid; every fault is on standard error
  2  the command line is wrong";
const SHOW: &str = "\
Examples:
  onsembl-agent config show --config /etc/onsembl/agent.toml --log debug";
const PRINT: &str = "\
Examples:
  onsembl-agent config example > /etc/onsembl/agent.toml";

#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Check a configuration file and name every invalid line.
    #[command(after_help = CHECK)]
    Check(Check),
    /// Show the settings of `run`, and where each value comes from. Takes the flags of `run`.
    #[command(after_help = SHOW)]
    Show(Box<Show>),
    /// Print an example configuration file.
    #[command(after_help = PRINT)]
    Example,
}

#[derive(Debug, Args)]
struct Check {
    /// The file.
    #[arg(env = "ONSEMBL_CONFIG", value_name = "FILE")]
    file: PathBuf,
}

#[derive(Debug, Args)]
struct Show {
    #[command(flatten)]
    run: RunArgs,
    /// As JSON: a list of objects with key, values and source.
    #[arg(long, env = "ONSEMBL_JSON")]
    json: bool,
}

pub(super) fn config(args: ConfigArgs, effective: &[Effective], view: View) -> Result<u8> {
    match args.what {
        What::Check(check) => check.run(view)?,
        What::Show(show) => show.run(effective, view)?,
        What::Example => view.lines(EXAMPLE.lines(), || json!({ "text": EXAMPLE }))?,
    }
    Ok(OK)
}

/// Reads and checks a file; each fault is a line on standard error.
pub(super) fn checked(path: &Path) -> Result<ConfigFile> {
    match ConfigFile::read_checked(path, &configured::settings()) {
        Ok(file) => Ok(file),
        Err(faults) => {
            faults.iter().for_each(print::note);
            bail!("{} cannot be used", path.display());
        }
    }
}

impl Check {
    fn run(self, view: View) -> Result<()> {
        let path = self.file;
        let file = checked(&path)?;
        let is_open = Mode::at(&path).is_ok_and(Mode::is_open_to_others);
        if file.line("token").is_some() && is_open {
            bail!(file.fault("token", "every user of this machine can read it; run chmod 600 on the file, or use token-file"));
        }
        if let Some(missing) = together(&path)? {
            print::note(missing);
        }
        let keys = file.keys().count();
        let path = path.display().to_string();
        let json = || json!({ "file": path, "keys": keys });
        view.lines([format!("{path}: {keys} keys, all valid")], json)
    }
}

/// Whether the values go together; and what a start would need besides.
fn together(path: &Path) -> Result<Option<String>> {
    let words: [OsString; 4] =
        ["onsembl-agent".into(), "run".into(), "--config".into(), path.into()];
    match configured::parse_words(&words) {
        Ok(configured) => {
            let Command::Run(args) = configured.cli.command else { return Ok(None) };
            run::check(*args)?;
            Ok(None)
        }
        Err(Misuse::Words(error)) if error.kind() == ErrorKind::MissingRequiredArgument => {
            let text = error.to_string();
            let missing: Vec<&str> =
                text.lines().filter_map(|line| line.strip_prefix("  ")).map(str::trim).collect();
            let missing = missing.join(", ");
            Ok(Some(format!("note: not set here, so flags or the environment must set: {missing}")))
        }
        Err(error) => Err(error.into()),
    }
}

impl Show {
    fn run(&self, effective: &[Effective], view: View) -> Result<()> {
        let all = || Value::Array(effective.iter().map(shown).collect());
        view.or_json(self.json).lines(listed(effective), all)
    }
}
