//! What a service manager says of a service.

use super::installation::{Installation, ServiceError};

/// What is asked for, in this order.
const PROPERTIES: [&str; 7] =
    ["ActiveState", "SubState", "MainPID", "StatusText", "NRestarts", "Result", "ExecMainStatus"];

/// How a service is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceStatus {
    /// As systemd has it: `active`, `activating`, `failed` and others.
    pub active: String,
    /// In more detail: `running`, `auto-restart` and others.
    pub sub: String,
    /// Its process, if it has one.
    pub pid: Option<u32>,
    /// What the program says of itself; empty if it says nothing.
    pub says: String,
    /// How often it was started again by itself.
    pub restarts: u32,
    /// Why it ended last: `success`, `exit-code`, `watchdog` and others.
    pub result: String,
    /// The exit code of the last process that ended.
    pub exit_status: Option<i32>,
}

impl ServiceStatus {
    fn of(values: &[String]) -> Self {
        let text = |at: usize| values.get(at).cloned().unwrap_or_default();
        Self {
            active: text(0),
            sub: text(1),
            pid: text(2).parse().ok().filter(|pid| *pid != 0),
            says: text(3),
            restarts: text(4).parse().unwrap_or(0),
            result: text(5),
            exit_status: text(6).parse().ok(),
        }
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_active(&self) -> bool {
        matches!(self.active.as_str(), "active" | "reloading")
    }

    /// Lines for people, the name of the unit first.
    #[must_use]
    pub fn lines(&self, unit: &str) -> Vec<String> {
        let pid = self.pid.map(|pid| format!(", process {pid}")).unwrap_or_default();
        let mut lines = vec![format!("{unit}: {} ({}){pid}", self.active, self.sub)];
        if !self.says.is_empty() {
            lines.push(format!("  {}", self.says));
        }
        if self.restarts > 0 {
            lines.push(format!("  restarted {} times since its start", self.restarts));
        }
        if !self.is_active() && self.result != "success" {
            let code =
                self.exit_status.map(|code| format!(", exit code {code}")).unwrap_or_default();
            lines.push(format!("  ended by {}{code}", self.result));
        }
        lines
    }
}

impl Installation {
    /// How the service is.
    ///
    /// # Errors
    /// There is no such unit, or the service manager does not answer.
    pub fn status(&self) -> Result<ServiceStatus, ServiceError> {
        self.properties(&PROPERTIES).map(|values| ServiceStatus::of(&values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: [&str; 7]) -> ServiceStatus {
        ServiceStatus::of(&values.map(str::to_owned))
    }

    #[test]
    fn a_service_that_runs_says_how_it_is() {
        let status = of(["active", "running", "77", "3 agents", "2", "success", "0"]);
        assert!(status.is_active());
        assert_eq!(
            status.lines("x.service"),
            [
                "x.service: active (running), process 77",
                "  3 agents",
                "  restarted 2 times since its start"
            ]
        );
    }

    #[test]
    fn one_that_ended_says_by_what() {
        let status = of(["failed", "failed", "0", "", "0", "exit-code", "5"]);
        assert!(!status.is_active());
        assert_eq!(
            status.lines("x.service"),
            ["x.service: failed (failed)", "  ended by exit-code, exit code 5"]
        );
        let stopped = of(["inactive", "dead", "0", "", "0", "success", "0"]);
        assert_eq!(stopped.lines("x.service"), ["x.service: inactive (dead)"]);
    }
}
