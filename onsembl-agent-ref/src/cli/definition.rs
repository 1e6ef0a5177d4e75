//! The commands of the agent as clap has them: what all of them have, such as exit codes in their help, is added here.

use super::Cli;
use clap::{Command, CommandFactory as _};

/// What the exit code of a command means where its help says nothing else.
const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed; the reason is on standard error
  2  the command line is wrong";

/// The whole command line.
pub(super) fn command() -> Command {
    finished(Cli::command())
}

fn finished(command: Command) -> Command {
    let command = command.mut_subcommands(finished);
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    if after.contains("Exit codes:") || command.is_subcommand_required_set() {
        return command;
    }
    let gap = if after.is_empty() { "" } else { "\n\n" };
    command.after_help(format!("{after}{gap}{EXIT_CODES}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Arg;
    use std::fs;
    use std::path::Path;

    const BEGIN: &str = "<!-- The commands of the agent: written by a test (ONSEMBL_BLESS=1 cargo test -p onsembl-agent-ref --lib definition). -->";
    const END: &str = "<!-- End of the commands of the agent. -->";

    fn leaves(command: &Command, path: &str, all: &mut Vec<(String, Command)>) {
        for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
            let path = format!("{path} {}", below.get_name());
            match below.has_subcommands() {
                true => leaves(below, &path, all),
                false => all.push((path, below.clone())),
            }
        }
    }

    fn all() -> Vec<(String, Command)> {
        let (mut command, mut all) = (command(), Vec::new());
        command.build();
        leaves(&command, command.get_name(), &mut all);
        all
    }

    #[test]
    fn the_command_line_holds_together() {
        command().debug_assert();
    }

    #[test]
    fn every_command_has_examples_exit_codes_and_json() {
        let all = all();
        assert!(all.len() > 10, "{}", all.len());
        for (path, command) in &all {
            let help = command.clone().render_long_help().to_string();
            for part in ["Examples:", "Exit codes:", "--output <FORMAT>"] {
                assert!(help.contains(part), "{path} lacks {part}: {help}");
            }
        }
    }

    #[test]
    fn every_command_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        clap_mangen::generate_to(command(), dir.path()).unwrap();
        for (path, _) in all() {
            let page = dir.path().join(path.replace(' ', "-") + ".1");
            assert!(page.is_file(), "{}", page.display());
        }
    }

    /// A row for each command, with what is its own of its flags.
    fn written() -> String {
        let mut text = "| command | what | its own arguments |\n| --- | --- | --- |\n".to_owned();
        for (path, command) in all() {
            let own = command.get_arguments().filter(|argument| {
                argument.get_help_heading() != Some("Output") && argument.get_id() != "help"
            });
            let own: Vec<String> = own.map(shown).collect();
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            text.push_str(&format!("| `{path}` | {about} | {} |\n", own.join(" ")));
        }
        text
    }

    fn shown(argument: &Arg) -> String {
        match argument.get_long() {
            Some(long) => format!("`--{long}`"),
            None => {
                let names = argument.get_value_names().unwrap_or_default();
                let names: Vec<&str> = names.iter().map(clap::builder::Str::as_str).collect();
                format!("`{}`", names.join(" ").replace('|', "\\|"))
            }
        }
    }

    /// As it is published the crate has no documents beside it.
    #[test]
    fn the_document_lists_every_command() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/CLI.md");
        let Ok(is) = fs::read_to_string(&path) else { return };
        let (before, rest) = is.split_once(BEGIN).expect("the mark where it begins");
        let (_, after) = rest.split_once(END).expect("the mark where it ends");
        let should = format!("{before}{BEGIN}\n\n{}\n{END}{after}", written());
        if std::env::var_os("ONSEMBL_BLESS").is_some() {
            fs::write(&path, should).unwrap();
        } else {
            assert!(is == should, "docs/CLI.md shows other commands; see {BEGIN}");
        }
    }
}
