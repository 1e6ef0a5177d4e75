//! `onsembl-server service`: the server as a service of systemd.

use super::configured;
use super::view::View;
use super::{complain, finish, print};
use crate::service::ServerUnit;
use anyhow::{Context as _, anyhow, bail};
use clap::{Args, Subcommand};
use onsembl_protocol::shown::Causes;
use onsembl_transport::config::ConfigFile;
use onsembl_transport::service::Scope;
use onsembl_transport::service::command_line::{
    HowInstalled, NOT_RUNNING, Uninstall, Which, status_json,
};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The name of the unit, unless another one is given.
const UNIT: &str = "onsembl-server";
/// Its configuration file, unless another one is given.
const CONFIG: &str = "server.toml";
/// What a confined service of the machine does not see.
const HIDDEN: [&str; 4] = ["/home", "/root", "/run/user", "/tmp"];

const INSTALL: &str = "\
Examples:
  sudo onsembl-server service install --config /etc/onsembl/server.toml
  onsembl-server service install --user
  onsembl-server service install --system --print

Exit codes:
  0  done
  1  failed; completed steps are not undone
  2  the command line is wrong";

const UNINSTALL: &str = "\
Examples:
  sudo onsembl-server service uninstall
  onsembl-server service uninstall --user --unit onsembl-test

Exit codes:
  0  done
  1  not installed, not written by this program, or something failed
  2  the command line is wrong";

const STATUS: &str = "\
Examples:
  onsembl-server service status
  onsembl-server service status --user --json

Exit codes:
  0  running
  1  not installed, or systemd does not answer
  2  the command line is wrong
  3  not running";

#[derive(Debug, Args)]
pub(super) struct Service {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Write a unit for the server, enable it and start it.
    #[command(after_help = INSTALL)]
    Install(Install),
    /// Stop the service and remove its unit. Its configuration and its data stay.
    #[command(after_help = UNINSTALL)]
    Uninstall(Uninstall),
    /// Show the status of the service.
    #[command(after_help = STATUS)]
    Status(Status),
}

#[derive(Debug, Args)]
struct Install {
    #[command(flatten)]
    which: Which,
    /// The configuration file of the server [default: /etc/onsembl/server.toml, or ~/.config/onsembl/server.toml for a
    /// service of a user].
    #[arg(long, env = "ONSEMBL_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The user that a system service runs as [default: a dynamic user].
    #[arg(long, value_name = "USER")]
    run_as: Option<String>,
    #[command(flatten)]
    how: HowInstalled,
}

#[derive(Debug, Args)]
struct Status {
    #[command(flatten)]
    which: Which,
}

impl Service {
    pub(super) fn run(self, view: View) -> ExitCode {
        match self.what {
            What::Install(install) => finish(install.run(view)),
            What::Uninstall(uninstall) => finish(remove(&uninstall, view)),
            What::Status(status) => match status.run(view) {
                Ok(code) => ExitCode::from(code),
                Err(error) => complain(1, Causes(error.as_ref())),
            },
        }
    }
}

/// Says which steps were done.
fn steps(view: View, unit: &str, done: &[String]) -> anyhow::Result<()> {
    view.one(json!({ "unit": unit, "done": done }), unit, || match view.quiet {
        true => Ok(()),
        false => Ok(print::lines(done)?),
    })
}

impl Install {
    fn run(self, view: View) -> anyhow::Result<()> {
        let scope = self.which.scope();
        let service = self.which.installation(UNIT)?;
        if scope == Scope::User && self.run_as.is_some() {
            bail!("a service of a user runs as that user; omit --run-as, or add --system");
        }
        let config = self.config.map_or_else(|| scope.config_file(CONFIG), Ok)?;
        let config = std::path::absolute(&config)?;
        let program = std::env::current_exe().context("cannot find its own program")?;
        let data = match (data_of(&config), self.how.print) {
            (Ok(data), _) => data,
            // What would be installed with the configuration that is proposed.
            (Err(_), true) => PathBuf::from("/var/lib/onsembl"),
            (Err(error), false) => return Err(error),
        };
        let run_as = self.run_as.as_deref();
        let unit = ServerUnit { scope, program: &program, config: &config, data: &data, run_as };
        let text = unit.unit().with_context(|| {
            format!(
                "no unit can hold {}, {} or {}",
                program.display(),
                config.display(),
                data.display()
            )
        })?;
        if self.how.print {
            let (unit, text) = (service.unit(), text.to_string());
            let json = json!({ "unit": unit, "text": text });
            return view.one(json, &unit, || Ok(print::lines(text.lines())?));
        }
        if scope == Scope::System {
            is_seen(&unit)?;
        }
        let done = self.how.install(&service, &text)?;
        steps(view, &service.unit(), &done)?;
        if scope == Scope::User && !view.quiet {
            print::note(
                "`loginctl enable-linger` keeps it running without a login and after a logout",
            )?;
        }
        Ok(())
    }
}

/// Whether a confined service of the machine gets at what it needs.
fn is_seen(unit: &ServerUnit<'_>) -> anyhow::Result<()> {
    let is_hidden = |path: &Path| HIDDEN.iter().any(|hidden| path.starts_with(hidden));
    for (what, path) in [("program", unit.program), ("configuration", unit.config)] {
        if is_hidden(path) {
            bail!(
                "a service of the machine does not see {}; move the {what} elsewhere (/usr/local/bin, /etc/onsembl)",
                path.display()
            );
        }
    }
    if unit.run_as.is_none() && unit.state_directory().is_none() {
        bail!(
            "the data folder {} is not created by the service manager (/var/lib/NAME), so it needs an owner; name that user with --run-as",
            unit.data.display()
        );
    }
    Ok(())
}

/// The data folder that the configuration names, if it is good.
fn data_of(config: &Path) -> anyhow::Result<PathBuf> {
    if !config.exists() {
        bail!(
            "there is no configuration file {}; `onsembl-server config example > {0}` makes one to begin with",
            config.display()
        );
    }
    let file = ConfigFile::read_checked(config, &configured::settings())?;
    let data = file.values("data").and_then(|values| values.into_iter().next());
    let data =
        data.ok_or_else(|| anyhow!(file.fault("data", "a service needs `data` in its file")))?;
    let data = PathBuf::from(data);
    if data.is_relative() {
        bail!(file.fault("data", "a service needs an absolute path"));
    }
    Ok(data)
}

fn remove(uninstall: &Uninstall, view: View) -> anyhow::Result<()> {
    let service = uninstall.which.installation(UNIT)?;
    let done = uninstall.uninstall(&service)?;
    steps(view, &service.unit(), &done)
}

impl Status {
    fn run(self, view: View) -> anyhow::Result<u8> {
        let service = self.which.installation(UNIT)?;
        let (unit, status) = (service.unit(), service.status()?);
        view.one(status_json(&unit, &status), &unit, || {
            print::lines(status.lines(&unit))?;
            match status.exit_status.filter(|_| !status.is_active()) {
                Some(2) => print::line(
                    "  its configuration is wrong; `onsembl-server config check` says where",
                )?,
                Some(3) => print::line("  its data folder needs manual repair; see its log")?,
                Some(_) | None => {}
            }
            Ok(())
        })?;
        Ok(if status.is_active() { 0 } else { NOT_RUNNING })
    }
}
