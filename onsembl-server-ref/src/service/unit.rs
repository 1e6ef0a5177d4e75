//! The unit of a server. It needs its data folder and its sockets, and everything else of the machine is taken from it.

use onsembl_transport::service::{ProgramUnit, Scope, Unit, quoted};
use std::path::Path;

/// Where the data folder of a service of the machine is unless its configuration names another place.
const STATE: &str = "/var/lib";

/// What no server needs.
const HARDENING: [(&str, &str); 22] = [
    ("UMask", "0077"),
    ("LimitCORE", "0"),
    ("NoNewPrivileges", "yes"),
    ("CapabilityBoundingSet", ""),
    ("ProtectSystem", "strict"),
    ("ProtectHome", "yes"),
    ("PrivateTmp", "yes"),
    ("PrivateDevices", "yes"),
    ("ProtectClock", "yes"),
    ("ProtectHostname", "yes"),
    ("ProtectKernelLogs", "yes"),
    ("ProtectKernelModules", "yes"),
    ("ProtectKernelTunables", "yes"),
    ("ProtectControlGroups", "yes"),
    ("ProtectProc", "invisible"),
    ("RemoveIPC", "yes"),
    ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX AF_NETLINK"),
    ("RestrictNamespaces", "yes"),
    ("RestrictRealtime", "yes"),
    ("RestrictSUIDSGID", "yes"),
    ("LockPersonality", "yes"),
    ("SystemCallArchitectures", "native"),
];
/// The part of it for which a service manager of a user needs no privileges.
const USER_HARDENING: [(&str, &str); 7] = [
    ("UMask", "0077"),
    ("LimitCORE", "0"),
    ("NoNewPrivileges", "yes"),
    ("RestrictRealtime", "yes"),
    ("RestrictSUIDSGID", "yes"),
    ("LockPersonality", "yes"),
    ("SystemCallArchitectures", "native"),
];

/// What the unit is made of.
#[derive(Clone, Debug)]
pub(crate) struct ServerUnit<'a> {
    pub(crate) scope: Scope,
    pub(crate) program: &'a Path,
    pub(crate) config: &'a Path,
    /// The data folder of the configuration.
    pub(crate) data: &'a Path,
    /// As whom a service of the machine runs, if not as a user that exists as long as it does.
    pub(crate) run_as: Option<&'a str>,
}

impl ServerUnit<'_> {
    /// The name of the data folder if it is one that the service manager makes.
    pub(crate) fn state_directory(&self) -> Option<&str> {
        let name = self.data.strip_prefix(STATE).ok()?.to_str()?;
        (!name.is_empty() && !name.contains(['/', ' '])).then_some(name)
    }

    /// `None` if a path holds what no unit can hold.
    pub(crate) fn unit(&self) -> Option<Unit> {
        let begun = ProgramUnit {
            written_by: "onsembl-server service install",
            description: "Onsembl control server",
            scope: self.scope,
            program: self.program,
            command: "serve",
            config: self.config,
            restart_seconds: 2,
        };
        let mut unit = begun.begin()?
            .comment("Wrong configuration; a data folder that needs manual repair.")
            .set("RestartPreventExitStatus", "2 3")
            .comment("Watchdog: the server is restarted unless its hub reports in time; agents keep their commands running.")
            .set("WatchdogSec", 60)
            .comment("Migrating a large database takes time, and so does waiting for disk space.")
            .set("TimeoutStartSec", "infinity")
            .set("TimeoutStopSec", 60);
        match self.scope {
            Scope::System => unit = self.of_the_machine(unit)?,
            Scope::User => unit = unit.set_all(&USER_HARDENING),
        }
        Some(unit.started_with(self.scope))
    }

    fn of_the_machine(&self, unit: Unit) -> Option<Unit> {
        let unit = match self.run_as {
            Some(user) => unit.set("User", quoted(user)?),
            None => unit
                .comment(
                    "A user that exists as long as the service does, and owns its data folder.",
                )
                .set_all(&[("DynamicUser", "yes"), ("User", "onsembl")]),
        };
        let unit = match self.state_directory() {
            Some(name) => unit.set("StateDirectory", name).set("StateDirectoryMode", "0700"),
            None => unit.set("ReadWritePaths", quoted(self.data.to_str()?)?),
        };
        let unit = unit
            .set_all(&HARDENING)
            .set("SystemCallFilter", "@system-service")
            .set("SystemCallFilter", "~@privileged")
            // A call that a newer library makes is refused, and does not end the server.
            .set("SystemCallErrorNumber", "EPERM")
            .set("MemoryDenyWriteExecute", "yes")
            .comment("For a port below 1024, in a drop-in: AmbientCapabilities=CAP_NET_BIND_SERVICE and the same as")
            .comment("CapabilityBoundingSet. For a private key that only root can read: LoadCredential=key.pem:/path,")
            .comment("and in the configuration tls-key = \"/run/credentials/onsembl-server.service/key.pem\".");
        Some(unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn of<'a>(scope: Scope, data: &'a str, run_as: Option<&'a str>) -> ServerUnit<'a> {
        ServerUnit {
            scope,
            // It must be there to be verified.
            program: Path::new("/bin/true"),
            config: Path::new("/etc/onsembl/server.toml"),
            data: Path::new(data),
            run_as,
        }
    }

    #[test]
    fn the_data_folder_is_made_by_the_manager_or_named_to_it() {
        let text = |data, run_as| of(Scope::System, data, run_as).unit().unwrap().to_string();
        let own = text("/var/lib/onsembl", None);
        assert!(
            own.contains("\nDynamicUser=yes\n") && own.contains("\nStateDirectory=onsembl\n"),
            "{own}"
        );
        let elsewhere = text("/srv/on sembl", Some("ann"));
        assert!(elsewhere.contains("\nReadWritePaths=\"/srv/on sembl\"\n"), "{elsewhere}");
        assert!(
            elsewhere.contains("\nUser=ann\n") && !elsewhere.contains("StateDirectory"),
            "{elsewhere}"
        );
        for data in ["/var/lib", "/var/lib/a/b", "/srv/x"] {
            assert_eq!(of(Scope::System, data, None).state_directory(), None);
        }
    }

    #[test]
    fn what_is_committed_for_deployments_is_what_is_installed() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy");
        for (scope, data, name) in [
            (Scope::System, "/var/lib/onsembl", "onsembl-server.service"),
            (Scope::User, "/var/lib/onsembl", "onsembl-server-user.service"),
        ] {
            let unit = ServerUnit {
                program: Path::new("/usr/local/bin/onsembl-server"),
                ..of(scope, data, None)
            };
            let path = Path::new(folder).join(name);
            if std::env::var_os("ONSEMBL_BLESS").is_some() {
                std::fs::write(&path, unit.unit().unwrap().to_string()).unwrap();
            }
            let committed = std::fs::read_to_string(&path).unwrap();
            assert_eq!(committed, unit.unit().unwrap().to_string(), "{name}");
        }
    }

    /// Skipped where there is no systemd.
    #[test]
    fn systemd_takes_it_and_finds_it_confined() {
        for (scope, manager) in [(Scope::System, "--system"), (Scope::User, "--user")] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("onsembl-server.service");
            std::fs::write(&path, of(scope, "/var/lib/onsembl", None).unit().unwrap().to_string())
                .unwrap();
            let verify =
                Command::new("systemd-analyze").args(["verify", manager]).arg(&path).output();
            let Ok(verified) = verify else { return };
            let said = String::from_utf8_lossy(&verified.stderr);
            let ours: Vec<&str> =
                said.lines().filter(|line| line.contains("onsembl-server")).collect();
            assert!(ours.is_empty(), "{said}");
            if scope == Scope::System {
                let words = ["security", "--offline=true", "--threshold=25"];
                let judged =
                    Command::new("systemd-analyze").args(words).arg(&path).output().unwrap();
                let said = String::from_utf8_lossy(&judged.stdout).into_owned();
                assert!(judged.status.success(), "more exposed than 2.5 of 10: {said}");
            }
        }
    }
}
