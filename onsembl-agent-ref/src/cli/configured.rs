//! The command line with its configuration file: file under environment under flags.

use super::{Cli, definition};
use clap::parser::ValueSource as ClapSource;
use clap::{ArgMatches, FromArgMatches as _};
pub(super) use onsembl_transport::config::command_line::Misuse;
use onsembl_transport::config::command_line::{self, Parsed, Path, SHOW};
use onsembl_transport::config::{Effective, Setting};
use std::ffi::OsString;
use std::path::PathBuf;

/// The subcommand that takes the settings of a file.
const RUN: Path<'static> = &["run"];

/// What the words and the file say.
pub(super) struct Configured {
    pub(super) cli: Cli,
    /// The file, if one is named.
    pub(super) file: Option<PathBuf>,
    /// Each setting of `run` with its source; none for other commands.
    pub(super) effective: Vec<Effective>,
    /// The token is given in another way than the file that the configuration names.
    pub(super) token_goes_before: bool,
}

/// The command line of this process.
pub(super) fn parse() -> Result<Configured, Misuse> {
    parse_words(&std::env::args_os().collect::<Vec<_>>())
}

/// What `run` would run with now.
pub(super) fn effective() -> Result<Vec<Effective>, Misuse> {
    parse().map(|configured| configured.effective)
}

/// The settings that a file may hold.
pub(super) fn settings() -> Vec<Setting> {
    command_line::settings(&definition::command(), RUN)
}

/// The same for these words.
pub(super) fn parse_words(words: &[OsString]) -> Result<Configured, Misuse> {
    let Parsed { matches, file, effective, .. } =
        command_line::parse(&definition::command(), RUN, words)?;
    let run = [RUN, SHOW].into_iter().find_map(|of| command_line::descend(&matches, of));
    let token_goes_before = run.is_some_and(token_goes_before);
    let cli = Cli::from_arg_matches(&matches)?;
    Ok(Configured { cli, file, effective, token_goes_before })
}

/// Of two ways to give the token, that of the environment or of a flag goes before that of the file, whichever it is.
fn token_goes_before(run: &ArgMatches) -> bool {
    let is_given = |id: &str| {
        matches!(run.value_source(id), Some(ClapSource::CommandLine | ClapSource::EnvVariable))
    };
    is_given("token") && !is_given("token_file")
}

#[cfg(test)]
mod tests {
    use super::super::Command as Verb;
    use super::*;
    use onsembl_transport::config::ValueSource;
    use std::fs;

    const EXAMPLE: &str = include_str!("agent.toml");

    fn with(text: &str, more: &[&str]) -> Result<Configured, Misuse> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("agent.toml");
        fs::write(&file, text).unwrap();
        let mut words: Vec<OsString> = vec!["onsembl-agent".into(), "run".into()];
        words.extend(["--config".into(), file.into()]);
        words.extend(more.iter().map(Into::into));
        parse_words(&words)
    }

    #[test]
    fn each_flag_of_run_has_a_key_and_the_example_has_them_all() {
        let command = definition::command();
        let run = command.find_subcommand("run").unwrap();
        let keys: Vec<String> = settings().iter().map(|setting| setting.key().to_owned()).collect();
        for flag in run.get_arguments().map(|arg| arg.get_long().unwrap_or("program")) {
            if flag == "config" {
                assert!(!keys.contains(&flag.to_owned()));
                continue;
            }
            assert!(keys.contains(&flag.to_owned()), "{flag} has no key");
            let is_shown = EXAMPLE.lines().any(|line| {
                line.trim_start_matches("#: ").split_once(" = ").is_some_and(|(key, _)| key == flag)
            });
            assert!(is_shown, "the example has no line for {flag}");
        }
    }

    #[test]
    fn the_example_is_good_as_it_is_and_with_all_that_it_proposes() {
        let all = EXAMPLE.replace("#: ", "");
        for text in [EXAMPLE, &all] {
            let configured = with(text, &[]).unwrap_or_else(|error| panic!("{error}"));
            assert!(matches!(configured.cli.command, Verb::Run(_)));
        }
        let configured = with(&all, &[]).unwrap();
        let of_file = |setting: &&Effective| matches!(setting.source, ValueSource::File { .. });
        assert_eq!(configured.effective.iter().filter(of_file).count(), settings().len());
        let shown = format!("{:?}", configured.effective);
        assert!(!shown.contains("swordfish") && !shown.contains("password"), "{shown}");
    }

    /// The copy beside the server's; a packaged crate has only its own.
    #[test]
    fn the_example_for_deployments_is_the_same() {
        let deployed =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../onsembl-server-ref/deploy/agent.toml");
        if let Ok(deployed) = fs::read_to_string(deployed) {
            assert_eq!(deployed, EXAMPLE, "copy onsembl-agent-ref/src/cli/agent.toml there");
        }
    }

    #[test]
    fn a_token_that_is_given_goes_before_the_file_that_the_configuration_names() {
        let text = "server = 'ws://h'\nname = 'n'\ntoken-file = '/t'\nallow-env = ['A', 'B']\n";
        let run = |more: &[&str]| {
            let Configured { cli, token_goes_before, .. } = with(text, more).unwrap();
            let Verb::Run(args) = cli.command else { panic!() };
            (args, token_goes_before)
        };
        let (args, goes_before) = run(&[]);
        assert_eq!(args.token.token_file.as_deref(), Some(std::path::Path::new("/t")));
        assert_eq!(
            (args.allow_env.as_slice(), goes_before),
            (&["A".to_owned(), "B".to_owned()][..], false)
        );
        assert!(run(&["--token", "x"]).1);
        let (args, goes_before) = run(&["--token-file", "/u", "--name", "m"]);
        assert_eq!(args.token.token_file.as_deref(), Some(std::path::Path::new("/u")));
        assert_eq!((args.name.as_str(), goes_before), ("m", false));
        assert!(with("server = 'ws://h'\nname = 'n'\n", &[]).is_err(), "it has no token");
    }

    #[test]
    fn a_program_of_the_file_is_there_unless_another_is_given() {
        let text = "server = 'ws://h'\nname = 'n'\ntoken = 'x'\nrunner = 'terminal'\nprogram = ['claude', '--continue']\n";
        let program = |more: &[&str]| match with(text, more).unwrap().cli.command {
            Verb::Run(args) => args.program,
            _ => panic!(),
        };
        assert_eq!(program(&[]), ["claude", "--continue"]);
        assert_eq!(program(&["--", "sh"]), ["sh"]);
        let refused = with("runner = 'shel'", &[]).err().unwrap().to_string();
        assert!(
            refused.contains("agent.toml:1: runner: ") && refused.contains("shell"),
            "{refused}"
        );
    }
}
