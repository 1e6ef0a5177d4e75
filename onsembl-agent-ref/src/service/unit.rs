//! The unit of an agent. What an agent starts is people's tools, so that nothing is taken from it that those may need:
//! the unit says who it runs as, how it ends and when it is not started again.

use onsembl_transport::service::{ProgramUnit, Scope, Unit, quoted};
use std::path::Path;

/// What the unit is made of.
#[derive(Clone, Debug)]
pub(crate) struct AgentUnit<'a> {
    pub(crate) scope: Scope,
    pub(crate) program: &'a Path,
    pub(crate) config: &'a Path,
    /// As whom a service of the machine runs.
    pub(crate) run_as: Option<&'a str>,
    /// Where programs are looked for, if not where the service manager does.
    pub(crate) path: Option<&'a str>,
}

impl AgentUnit<'_> {
    /// `None` if a path holds what no unit can hold.
    pub(crate) fn unit(&self) -> Option<Unit> {
        let begun = ProgramUnit {
            written_by: "onsembl-agent service install",
            description: "Onsembl agent",
            scope: self.scope,
            program: self.program,
            command: "run",
            config: self.config,
            restart_seconds: 5,
        };
        let mut unit = begun.begin()?
            .comment("Wrong configuration; replaced by another process; token revoked; deleted; refused for good.")
            .set("RestartPreventExitStatus", "2 4 5 6 7")
            .comment("Watchdog: the agent is restarted unless its engine reports in time. The new process finds what still runs.")
            .set("WatchdogSec", 120)
            .comment("The agent ends its commands itself; processes left after that are killed.")
            .set_all(&[("KillMode", "mixed"), ("TimeoutStopSec", "45")])
            .comment("A command that exhausts memory must not take the agent down with it.")
            .set("OOMPolicy", "continue")
            .set_all(&[("UMask", "0077"), ("LimitCORE", "0")]);
        if let Some(user) = self.run_as {
            unit = unit.set("User", quoted(user)?).set("WorkingDirectory", "~");
        }
        if let Some(path) = self.path.and_then(|path| quoted(&format!("PATH={path}"))) {
            unit = unit
                .comment("Search path of programs: that of the shell in which this was installed.")
                .set("Environment", path);
        }
        unit = unit
            .comment("What commands may do is decided here. They use people's tools, so the default is what the")
            .comment("user may do; a drop-in with some of these lines restricts them further:")
            .comment("NoNewPrivileges=yes        no sudo")
            .comment("ProtectSystem=full         /usr, /boot and /etc are read-only")
            .comment("PrivateTmp=yes             a /tmp of its own")
            .comment("ProtectKernelTunables=yes, ProtectKernelModules=yes, ProtectControlGroups=yes")
            .comment("MemoryMax=8G, TasksMax=4096, CPUQuota=200%");
        Some(unit.started_with(self.scope))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn text(scope: Scope, run_as: Option<&str>) -> String {
        let unit = AgentUnit {
            scope,
            // It must be there to be verified.
            program: Path::new("/bin/true"),
            config: Path::new("/srv/my agent/agent.toml"),
            run_as,
            path: Some("/home/ann/.local/bin:/usr/bin"),
        };
        unit.unit().unwrap().to_string()
    }

    #[test]
    fn each_exit_code_that_is_for_good_is_one_that_it_is_not_started_after() {
        let unit = text(Scope::System, Some("ann"));
        assert!(unit.contains("\nRestartPreventExitStatus=2 4 5 6 7\n"), "{unit}");
        assert!(unit.contains("run --config \"/srv/my agent/agent.toml\"\n"), "{unit}");
        assert!(unit.contains("\nUser=ann\n") && unit.contains("multi-user.target"), "{unit}");
        let unit = text(Scope::User, None);
        assert!(!unit.contains("\nUser=") && unit.contains("default.target"), "{unit}");
    }

    /// The copies beside the server's; a packaged crate has none.
    #[test]
    fn what_is_committed_for_deployments_is_what_is_installed() {
        let folder =
            Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../onsembl-server-ref/deploy"));
        if !folder.is_dir() {
            return;
        }
        for (scope, config, run_as, name) in [
            (Scope::System, "/etc/onsembl/agent.toml", Some("ann"), "onsembl-agent.service"),
            (
                Scope::User,
                "/home/ann/.config/onsembl/agent.toml",
                None,
                "onsembl-agent-user.service",
            ),
        ] {
            let path = (scope == Scope::User)
                .then_some("/home/ann/.local/bin:/usr/local/bin:/usr/bin:/bin");
            let (program, config) = (Path::new("/usr/local/bin/onsembl-agent"), Path::new(config));
            let unit =
                AgentUnit { scope, program, config, run_as, path }.unit().unwrap().to_string();
            let path = folder.join(name);
            if std::env::var_os("ONSEMBL_BLESS").is_some() {
                std::fs::write(&path, &unit).unwrap();
            }
            assert_eq!(std::fs::read_to_string(&path).unwrap(), unit, "{name}");
        }
    }

    /// Skipped where there is no systemd.
    #[test]
    fn systemd_takes_it() {
        for (scope, manager, run_as) in
            [(Scope::System, "--system", Some("root")), (Scope::User, "--user", None)]
        {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("onsembl-agent.service");
            std::fs::write(&path, text(scope, run_as)).unwrap();
            let verify =
                Command::new("systemd-analyze").args(["verify", manager]).arg(&path).output();
            let Ok(verified) = verify else { return };
            let said = String::from_utf8_lossy(&verified.stderr);
            let ours: Vec<&str> =
                said.lines().filter(|line| line.contains("onsembl-agent")).collect();
            assert!(ours.is_empty(), "{said}");
        }
    }
}
