//! `onsembl-agent service`: the agent as a service of systemd.

use super::view::View;
use super::{NOT_RUNNING, OK, config, configured, print};
use crate::service::AgentUnit;
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use onsembl_transport::service::Scope;
use onsembl_transport::service::command_line::{HowInstalled, Uninstall, Which, status_json};
use serde_json::json;
use std::path::{Path, PathBuf};

/// The name of the unit, unless another one is given.
const UNIT: &str = "onsembl-agent";
/// Its configuration file, unless another one is given.
const CONFIG: &str = "agent.toml";
/// What a service cannot do without, and nobody else gives it.
const NEEDED: [&str; 2] = ["server", "name"];
/// One of these.
const TOKENS: [&str; 2] = ["token", "token-file"];

const INSTALL: &str = "\
Examples:
  onsembl-agent config example > ~/.config/onsembl/agent.toml
  onsembl-agent service install
  sudo onsembl-agent service install --run-as ann --config /etc/onsembl/agent.toml
  onsembl-agent service install --print";
const UNINSTALL: &str = "\
Examples:
  onsembl-agent service uninstall";
const STATUS: &str = "\
Examples:
  onsembl-agent service status

Exit codes:
  0  it runs
  1  it is not installed, or anything else; the reason is on standard error
  2  the command line is wrong
  3  it does not run";

#[derive(Debug, Args)]
pub(super) struct ServiceArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Write a unit for the agent, enable it and start it.
    #[command(after_help = INSTALL)]
    Install(Install),
    /// Stop the service and remove its unit. Its configuration and its state directory stay.
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
    /// The configuration file of the agent [default: /etc/onsembl/agent.toml, or ~/.config/onsembl/agent.toml for a
    /// service of a user].
    #[arg(long, env = "ONSEMBL_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The user that a system service runs as: commands of the agent have the permissions of this user.
    #[arg(long, value_name = "USER")]
    run_as: Option<String>,
    #[command(flatten)]
    how: HowInstalled,
}

#[derive(Debug, Args)]
struct Status {
    #[command(flatten)]
    which: Which,
    /// As JSON.
    #[arg(long, env = "ONSEMBL_JSON")]
    json: bool,
}

pub(super) fn service(args: ServiceArgs, view: View) -> Result<u8> {
    match args.what {
        What::Install(install) => install.run(view)?,
        What::Uninstall(uninstall) => {
            let service = uninstall.which.installation(UNIT)?;
            let done = uninstall.uninstall(&service)?;
            view.lines(&done, || json!({ "unit": service.unit(), "done": done }))?;
        }
        What::Status(status) => return status.run(view),
    }
    Ok(OK)
}

impl Install {
    fn run(self, view: View) -> Result<()> {
        let scope = self.which.scope();
        let service = self.which.installation(UNIT)?;
        let run_as = match (scope, &self.run_as) {
            (Scope::System, Some(user)) => Some(user.as_str()),
            (Scope::System, None) => bail!(
                "name the user it runs as with --run-as (its commands have that user's permissions), or install it for one user with --user"
            ),
            (Scope::User, Some(_)) => {
                bail!("a service of a user runs as that user; omit --run-as, or add --system")
            }
            (Scope::User, None) => None,
        };
        let config = self.config.map_or_else(|| scope.config_file(CONFIG), Ok)?;
        let config = std::path::absolute(&config)?;
        let program = std::env::current_exe().context("cannot find its own program")?;
        let path = std::env::var("PATH").ok();
        // Another user has other programs.
        let path = path.as_deref().filter(|path| scope == Scope::User && !path.contains('$'));
        let unit = AgentUnit { scope, program: &program, config: &config, run_as, path };
        let unit = unit.unit().with_context(|| {
            format!("no unit can hold {} or {}", program.display(), config.display())
        })?;
        if self.how.print {
            let text = unit.to_string();
            return view.lines(text.lines(), || json!({ "unit": service.unit(), "text": text }));
        }
        complete(&config)?;
        let done = self.how.install(&service, &unit)?;
        view.lines(&done, || json!({ "unit": service.unit(), "done": done }))?;
        if scope == Scope::User {
            print::note(
                "`loginctl enable-linger` keeps it running without a login and after a logout",
            );
        }
        Ok(())
    }
}

/// Whether a service can start with this file alone.
fn complete(config: &Path) -> Result<()> {
    if !config.exists() {
        bail!(
            "there is no configuration file {}; `onsembl-agent config example > {0}` makes one to fill in",
            config.display()
        );
    }
    let file = config::checked(config)?;
    let lacks = |keys: &[&str]| keys.iter().all(|key| file.line(key).is_none());
    for key in NEEDED {
        if lacks(&[key]) {
            bail!(file.fault(key, format!("a service needs `{key}` in its file")));
        }
    }
    if lacks(&TOKENS) {
        bail!(file.fault("token-file", "a service needs `token-file` in its file"));
    }
    let words = ["onsembl-agent".into(), "run".into(), "--config".into(), config.into()];
    let _ = configured::parse_words(&words)?;
    Ok(())
}

impl Status {
    fn run(self, view: View) -> Result<u8> {
        let service = self.which.installation(UNIT)?;
        let status = service.status()?;
        if view.or_json(self.json).is_json() {
            print::json(&status_json(&service.unit(), &status).to_string())?;
        } else {
            print::lines(status.lines(&service.unit()))?;
            if let Some(why) = status.exit_status.filter(|_| !status.is_active()).and_then(meaning)
            {
                print::lines([format_args!("  {why}")])?;
            }
        }
        Ok(if status.is_active() { OK } else { NOT_RUNNING })
    }
}

/// What an exit code of `run` means, where it is permanent.
fn meaning(code: i32) -> Option<&'static str> {
    match u8::try_from(code).ok()? {
        super::MISUSED => {
            Some("its configuration is wrong; `onsembl-agent config check` says where")
        }
        super::REPLACED => Some("another process of this agent took over; stop one of the two"),
        super::REVOKED => Some("the server refuses its token permanently; give it another"),
        super::DELETED => Some("the agent was deleted; it needs another token and state directory"),
        super::REFUSED => Some("the server refuses this agent permanently; see its log"),
        _ => None,
    }
}
