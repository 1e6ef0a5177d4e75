//! What the two programs of this workspace have in common in their `service` commands.
//!
//! Not part of the interface: the types of another crate are in it.

use super::{Installation, Scope, ServiceError, ServiceStatus, Unit};
use clap::Args;
use serde_json::{Value, json};

/// For `service status`: the service does not run.
pub const NOT_RUNNING: u8 = 3;

/// Which service is meant.
#[derive(Clone, Debug, Args)]
pub struct Which {
    /// A system service, started at boot [default: for root].
    #[arg(long, conflicts_with = "user")]
    system: bool,
    /// A service of the calling user [default: for all others].
    #[arg(long)]
    user: bool,
    /// The name of the unit, one for each agent or server of a machine [default: the name of this program].
    #[arg(long, value_name = "NAME")]
    unit: Option<String>,
}

/// How a service is installed.
#[derive(Clone, Debug, Args)]
pub struct HowInstalled {
    /// Print the unit and change nothing.
    #[arg(long)]
    pub print: bool,
    /// Do not start it now.
    #[arg(long)]
    no_start: bool,
    /// Replace a unit that this program did not write.
    #[arg(long)]
    force: bool,
}

/// What is removed.
#[derive(Clone, Debug, Args)]
pub struct Uninstall {
    /// The service.
    #[command(flatten)]
    pub which: Which,
    /// Remove a unit that this program did not write.
    #[arg(long)]
    force: bool,
}

impl Which {
    /// Whose service it is.
    #[must_use]
    pub fn scope(&self) -> Scope {
        let is_root = rustix::process::geteuid().is_root();
        if self.system || (is_root && !self.user) { Scope::System } else { Scope::User }
    }

    /// The service; its unit has the name of this program unless another one is given.
    ///
    /// # Errors
    /// As [`Installation::new`].
    pub fn installation(&self, program: &str) -> Result<Installation, ServiceError> {
        Installation::new(self.scope(), self.unit.as_deref().unwrap_or(program))
    }
}

impl HowInstalled {
    /// Writes, enables and starts it. Each step that was done, for people.
    ///
    /// # Errors
    /// As [`Installation::install`].
    pub fn install(
        &self,
        service: &Installation,
        unit: &Unit,
    ) -> Result<Vec<String>, ServiceError> {
        service.install(unit, self.force, !self.no_start)
    }
}

impl Uninstall {
    /// Stops and removes it. Each step that was done, for people.
    ///
    /// # Errors
    /// As [`Installation::uninstall`].
    pub fn uninstall(&self, service: &Installation) -> Result<Vec<String>, ServiceError> {
        service.uninstall(self.force)
    }
}

/// What `service status` says to programs.
#[must_use]
pub fn status_json(unit: &str, status: &ServiceStatus) -> Value {
    json!({
        "unit": unit, "active": status.active, "sub": status.sub, "pid": status.pid,
        "says": status.says, "restarts": status.restarts, "result": status.result,
        "exit_status": status.exit_status,
    })
}
