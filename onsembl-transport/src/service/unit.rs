//! The text of a unit file.

use super::Scope;
use std::fmt;
use std::path::Path;

/// The first line of each unit that is written here: by it a unit that a person wrote is told from one of ours.
pub(super) const MARK: &str = "# Written by `";

/// A unit file. Settings stand in the order in which they are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    text: String,
}

/// What the unit of any program of this workspace is made of. Its program tells the service manager that it is ready,
/// takes SIGHUP for a reload, and is always started again but after exit codes that need a person.
#[derive(Clone, Copy, Debug)]
pub struct ProgramUnit<'a> {
    /// The command that writes it: `onsembl-agent service install`.
    pub written_by: &'a str,
    /// One line for people.
    pub description: &'a str,
    /// Whose service it is.
    pub scope: Scope,
    /// Where the program is.
    pub program: &'a Path,
    /// Its subcommand that stays: `run`.
    pub command: &'a str,
    /// Its configuration file.
    pub config: &'a Path,
    /// The pause before it is started again.
    pub restart_seconds: u32,
}

impl ProgramUnit<'_> {
    /// The sections up to this point, ending within `[Service]`; `None` if a path holds what no unit can hold.
    #[must_use]
    pub fn begin(&self) -> Option<Unit> {
        let program = quoted(self.program.to_str()?)?;
        let config = quoted(self.config.to_str()?)?;
        let mut unit =
            Unit::written_by(self.written_by).section("Unit").set("Description", self.description);
        if self.scope == Scope::System {
            let online = "network-online.target";
            unit = unit.set("Wants", online).set("After", online);
        }
        let unit = unit
            // Whatever happens, it is tried again, but for the exit codes that the program names.
            .set("StartLimitIntervalSec", 0)
            .section("Service")
            .set("Type", "notify")
            .set("ExecStart", format_args!("{program} {} --config {config}", self.command))
            .set("ExecReload", "/bin/kill -HUP $MAINPID")
            .set("Restart", "always")
            .set("RestartSec", self.restart_seconds);
        Some(unit)
    }
}

impl Unit {
    /// An empty unit that says which command wrote it.
    #[must_use]
    pub fn written_by(command: &str) -> Self {
        let text = format!(
            "{MARK}{command}`, which replaces it. Changes belong in a drop-in: `systemctl edit` makes one.\n"
        );
        Self { text }
    }

    /// What follows is of this section.
    #[must_use]
    pub fn section(self, name: &str) -> Self {
        self.line(format_args!("\n[{name}]"))
    }

    /// A setting, as it is to stand there.
    #[must_use]
    pub fn set(self, name: &str, value: impl fmt::Display) -> Self {
        self.line(format_args!("{name}={value}"))
    }

    /// The same for several settings.
    #[must_use]
    pub fn set_all(self, settings: &[(&str, &str)]) -> Self {
        settings.iter().fold(self, |unit, (name, value)| unit.set(name, value))
    }

    /// A line for who reads the file.
    #[must_use]
    pub fn comment(self, text: &str) -> Self {
        self.line(format_args!("# {text}"))
    }

    /// The last section: what starts the service.
    #[must_use]
    pub fn started_with(self, scope: Scope) -> Self {
        self.section("Install").set("WantedBy", scope.target())
    }

    fn line(mut self, line: fmt::Arguments<'_>) -> Self {
        use std::fmt::Write as _;
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{line}");
        self
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A word of a command line in a unit: whatever it holds reaches the program as it is.
///
/// `None` for what no unit can hold: control characters.
#[must_use]
pub fn quoted(word: &str) -> Option<String> {
    if word.chars().any(char::is_control) {
        return None;
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-=:,@+".contains(c);
    // `%` begins a specifier and `$` a variable, in quotes too.
    let escaped =
        word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    let is_plain = !word.is_empty()
        && word.chars().all(is_plain)
        && !word.starts_with(['-', '@', ':', '+', '=']);
    Some(if is_plain || is_flag(word) { escaped } else { format!("\"{escaped}\"") })
}

fn is_flag(word: &str) -> bool {
    word.starts_with("--") && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_reads_as_it_was_built() {
        let unit = Unit::written_by("x service install")
            .section("Service")
            .set("Type", "notify")
            .comment("why")
            .set_all(&[("A", "1"), ("B", "2")]);
        let text = unit.to_string();
        assert!(text.starts_with(MARK));
        assert!(text.ends_with("\n\n[Service]\nType=notify\n# why\nA=1\nB=2\n"), "{text}");
    }

    #[test]
    fn a_program_is_started_by_its_file_and_with_the_machine_or_the_user() {
        let program = ProgramUnit {
            written_by: "x service install",
            description: "X",
            scope: Scope::System,
            program: Path::new("/usr/bin/x"),
            command: "run",
            config: Path::new("/etc/my x.toml"),
            restart_seconds: 5,
        };
        let text = program.begin().unwrap().started_with(Scope::System).to_string();
        assert!(text.contains("\nAfter=network-online.target\n"), "{text}");
        assert!(
            text.contains("\nExecStart=/usr/bin/x run --config \"/etc/my x.toml\"\n"),
            "{text}"
        );
        assert!(
            text.ends_with("RestartSec=5\n\n[Install]\nWantedBy=multi-user.target\n"),
            "{text}"
        );
        let of_user = ProgramUnit { scope: Scope::User, ..program };
        let text = of_user.begin().unwrap().started_with(Scope::User).to_string();
        assert!(!text.contains("network-online") && text.ends_with("=default.target\n"), "{text}");
        assert!(ProgramUnit { config: Path::new("a\nb"), ..program }.begin().is_none());
    }

    #[test]
    fn words_survive_what_a_unit_makes_of_them() {
        for (word, written) in [
            ("/usr/bin/onsembl-agent", "/usr/bin/onsembl-agent"),
            ("--config", "--config"),
            ("/srv/my agent/a.toml", "\"/srv/my agent/a.toml\""),
            ("50%$HOME\"\\", "\"50%%$$HOME\\\"\\\\\""),
            ("", "\"\""),
            ("-x", "\"-x\""),
            ("ä", "\"ä\""),
        ] {
            assert_eq!(quoted(word).as_deref(), Some(written));
        }
        assert_eq!(quoted("a\nb"), None);
    }
}
