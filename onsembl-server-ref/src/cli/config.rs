//! `onsembl-server config`: looks at a configuration file, and at what holds with it.

use super::configured::{self, Misuse};
use super::definition::ServerCommand;
use super::print;
use super::serve::Serve;
use super::table::{Cell, Column, Fit, Table};
use super::view::{Shape, View};
use anyhow::bail;
use clap::error::ErrorKind;
use clap::{Args, Subcommand};
use onsembl_protocol::shown::Causes;
use onsembl_transport::config::command_line::shown;
use onsembl_transport::config::{ConfigFile, Effective};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The file to begin with.
const EXAMPLE: &str = include_str!("../../deploy/server.toml");

const CHECK: &str = "\
Examples:
  onsembl-server config check /etc/onsembl/server.toml

Exit codes:
  0  valid
  1  invalid; each invalid line is on standard error
  2  the command line is wrong";

const SHOW: &str = "\
Examples:
  onsembl-server config show --config /etc/onsembl/server.toml
  onsembl-server config show --config /etc/onsembl/server.toml --connections 4000 --json

Exit codes:
  0  done
  1  it cannot be shown
  2  the command line or the configuration file is wrong";

const EXAMPLES: &str = "\
Examples:
  onsembl-server config example > /etc/onsembl/server.toml";

#[derive(Debug, Args)]
pub(super) struct Config {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Check a configuration file and name every invalid line.
    #[command(after_help = CHECK)]
    Check(Check),
    /// Show the settings of `serve`, and where each value comes from. Takes the flags of `serve`.
    #[command(after_help = SHOW)]
    Show(Box<Show>),
    /// Print an example configuration file.
    #[command(after_help = EXAMPLES)]
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
    // They are parsed for what comes of them, which is in `Effective`.
    #[command(flatten)]
    serve: Serve,
}

impl Config {
    pub(super) fn run(self, view: View, effective: &[Effective]) -> anyhow::Result<()> {
        match self.what {
            What::Check(check) => check.run(view),
            What::Show(_) => show(view, effective),
            What::Example => view.one(json!({ "text": EXAMPLE }), "server.toml", || {
                Ok(print::lines(EXAMPLE.lines())?)
            }),
        }
    }
}

impl Check {
    fn run(self, view: View) -> anyhow::Result<()> {
        let path = self.file;
        let file = match ConfigFile::read_checked(&path, &configured::settings()) {
            Ok(file) => file,
            Err(faults) => {
                faults.iter().try_for_each(print::note)?;
                bail!("{} cannot be used", path.display());
            }
        };
        let keys = file.keys().count();
        match together(&path) {
            Ok(None) => {}
            Ok(Some(missing)) => print::note(missing)?,
            Err(why) => bail!("{}: {why}", path.display()),
        }
        let name = path.display().to_string();
        let json = json!({ "file": path, "keys": keys, "good": true });
        view.done(&json, &name, format_args!("{name}: {keys} keys, all valid"))
    }
}

/// Whether the values go together; and what a start would need besides.
fn together(path: &Path) -> Result<Option<String>, String> {
    let words: [OsString; 4] =
        ["onsembl-server".into(), "serve".into(), "--config".into(), path.into()];
    match configured::parse_words(&words) {
        Ok(configured) => {
            let ServerCommand::Serve(serve) = configured.arguments.command else { return Ok(None) };
            let checked = serve.check().and_then(|_| serve.check_files());
            checked.map(|()| None).map_err(|error| Causes(error.as_ref()).to_string())
        }
        Err(Misuse::Words(error)) if error.kind() == ErrorKind::MissingRequiredArgument => {
            let data = "note: data is not set here, so --data or ONSEMBL_DATA must set it";
            match error.to_string().contains("--data") {
                true => Ok(Some(data.to_owned())),
                false => Err(first_line(&error)),
            }
        }
        Err(Misuse::Words(error)) => Err(first_line(&error)),
        Err(Misuse::File(faults)) => Err(faults.to_string()),
    }
}

fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}

fn show(view: View, effective: &[Effective]) -> anyhow::Result<()> {
    let entries: Vec<Value> = effective.iter().map(shown).collect();
    let named = |one: &Value| one.get("key").and_then(Value::as_str).unwrap_or_default().to_owned();
    view.list("settings", &entries, named, || {
        let mut table = Table::new([
            Column::new("KEY", Fit::Whole),
            Column::new("VALUE", Fit::Rest),
            Column::new("FROM", Fit::Rest),
        ]);
        for one in effective {
            table.row([Cell::new(&one.key), Cell::new(one.value()), Cell::new(&one.source)]);
        }
        Ok(Shape::Table(table))
    })
}
