//! The command line with its configuration file: file under environment under flags.

use super::definition::{self, Server};
use clap::error::ErrorKind;
use clap::{ArgMatches, Command, FromArgMatches as _};
pub(super) use onsembl_transport::config::command_line::Misuse;
use onsembl_transport::config::command_line::{self, Parsed, Path};
use onsembl_transport::config::{Effective, Setting};
use std::ffi::OsString;
use std::path::PathBuf;

/// The subcommand that takes the settings of a file.
const SERVE: Path<'static> = &["serve"];

/// What the words and the file say.
pub(super) struct Configured {
    pub(super) arguments: Server,
    /// The file, if one is named.
    pub(super) file: Option<PathBuf>,
    /// Each setting of `serve` with its source; none for other commands.
    pub(super) effective: Vec<Effective>,
}

/// The command line of this process.
pub(super) fn parse() -> Result<Configured, Misuse> {
    parse_words(&std::env::args_os().collect::<Vec<_>>())
}

/// What `serve` would run with now.
pub(super) fn effective() -> Result<Vec<Effective>, Misuse> {
    parse().map(|configured| configured.effective)
}

/// The settings that a file may hold.
pub(super) fn settings() -> Vec<Setting> {
    command_line::settings(&definition::server(), SERVE)
}

/// The same for these words.
pub(super) fn parse_words(words: &[OsString]) -> Result<Configured, Misuse> {
    let parsed = command_line::parse(&definition::server(), SERVE, words)?;
    let Parsed { mut command, matches, file, effective } = parsed;
    if let Some(serve) = command_line::descend(&matches, SERVE) {
        together(&mut command, serve)?;
    }
    let arguments =
        Server::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    Ok(Configured { arguments, file, effective })
}

/// What clap cannot check, because a value of the file is a default to it.
fn together(command: &mut Command, serve: &ArgMatches) -> Result<(), clap::Error> {
    let is_given = |id: &str| serve.try_get_one::<PathBuf>(id).ok().flatten().is_some();
    let missing = match (is_given("tls_cert"), is_given("tls_key")) {
        (true, false) => "--tls-cert needs --tls-key: the private key of the certificate",
        (false, true) => "--tls-key needs --tls-cert: the certificate of the private key",
        (true, true) | (false, false) => return Ok(()),
    };
    Err(command.error(ErrorKind::MissingRequiredArgument, missing))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::definition::ServerCommand as Verb;
    use onsembl_transport::config::ValueSource;
    use std::fs;

    /// Flags of `serve` that are not meant for a file, and why: see `config::command_line`.
    const NOT_IN_A_FILE: [&str; 5] = ["config", "new-secret", "output", "json", "quiet"];

    fn words(file: &std::path::Path, more: &[&str]) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec!["onsembl-server".into(), "serve".into()];
        words.extend(["--config".into(), file.into()]);
        words.extend(more.iter().map(Into::into));
        words
    }

    fn with(text: &str, more: &[&str]) -> Result<Configured, Misuse> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("server.toml");
        fs::write(&file, text).unwrap();
        parse_words(&words(&file, more))
    }

    fn source(configured: &Configured, key: &str) -> ValueSource {
        configured.effective.iter().find(|setting| setting.key == key).unwrap().source.clone()
    }

    #[test]
    fn each_flag_of_serve_has_a_key_and_the_example_has_them_all() {
        let command = definition::server();
        let serve = command.find_subcommand("serve").unwrap();
        let flags = serve.get_arguments().chain(command.get_arguments());
        let flags: Vec<&str> = flags.filter_map(|arg| arg.get_long()).collect();
        let keys: Vec<String> = settings().iter().map(|setting| setting.key().to_owned()).collect();
        let example =
            fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/server.toml")).unwrap();
        for flag in flags {
            if NOT_IN_A_FILE.contains(&flag) {
                assert!(!keys.contains(&flag.to_owned()), "{flag}");
                continue;
            }
            assert!(keys.contains(&flag.to_owned()), "{flag} has no key");
            let is_shown = example.lines().any(|line| {
                line.trim_start_matches("#: ").split_once(" = ").is_some_and(|(key, _)| key == flag)
            });
            assert!(is_shown, "deploy/server.toml has no line for {flag}");
        }
    }

    /// Also what it has commented out: people take the mark away.
    #[test]
    fn the_example_is_good_as_it_is_and_with_all_that_it_proposes() {
        let example =
            fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/server.toml")).unwrap();
        let all = example.replace("#: ", "");
        for text in [&example, &all] {
            let configured = with(text, &[]).unwrap_or_else(|error| panic!("{error}"));
            assert!(matches!(configured.arguments.command, Verb::Serve(_)));
        }
        let configured = with(&all, &[]).unwrap();
        let of_file = |setting: &&Effective| matches!(setting.source, ValueSource::File { .. });
        assert_eq!(configured.effective.iter().filter(of_file).count(), settings().len());
    }

    #[test]
    fn flags_go_before_the_file_and_the_file_before_defaults() {
        let text = "data = '/srv/a'\nkeep-for = '2d'\nconnections = 7\nlog = 'debug'\ncors-origin = ['https://a.example', 'https://b.example']\n";
        let configured = with(text, &["--connections", "9"]).unwrap();
        assert_eq!(configured.arguments.globals.log.as_deref(), Some("debug"));
        assert_eq!(
            source(&configured, "connections"),
            ValueSource::Flag("--connections".to_owned())
        );
        assert!(matches!(source(&configured, "keep-for"), ValueSource::File { line: 2, .. }));
        assert_eq!(source(&configured, "keep-bytes"), ValueSource::Default);
        let value = |key: &str| {
            configured.effective.iter().find(|setting| setting.key == key).unwrap().value()
        };
        assert_eq!(value("connections"), "9");
        assert_eq!(value("cors-origin"), "https://a.example, https://b.example");
        assert_eq!(value("tls-cert"), "-");
        assert!(with("keep-for = '2d'", &[]).is_err(), "it has no data");
        assert!(with("keep-for = '2d'", &["--data", "/srv/a"]).is_ok());
    }

    #[test]
    fn a_certificate_and_its_key_belong_together_wherever_they_are_given() {
        let half = "data = '/srv/a'\ntls-cert = '/c.pem'\n";
        assert!(with(half, &[]).is_err());
        assert!(with(half, &["--tls-key", "/k.pem"]).is_ok());
        assert!(with("data = '/srv/a'", &["--tls-key", "/k.pem"]).is_err());
    }

    #[test]
    fn what_is_wrong_has_a_line_and_a_flag_that_is_wrong_is_still_a_flag() {
        let refused =
            with("data = '/srv/a'\nkeep-for = '2 fortnights'", &[]).err().unwrap().to_string();
        assert!(refused.contains("server.toml:2: keep-for: "), "{refused}");
        let refused = with("new-secret = true", &[]).err().unwrap().to_string();
        assert!(refused.contains("unknown key"), "{refused}");
        let refused = with("log-format = 'xml'", &[]).err().unwrap().to_string();
        assert!(refused.contains("expected text or json"), "{refused}");
        assert!(matches!(with("data = '/srv/a'", &["--what"]), Err(Misuse::Words(_))));
    }

    #[test]
    fn other_commands_read_no_file() {
        let words = ["onsembl-server", "agents", "--server", "http://h", "--token", "t"];
        let words: Vec<OsString> = words.iter().map(Into::into).collect();
        assert!(parse_words(&words).unwrap().file.is_none());
    }
}
