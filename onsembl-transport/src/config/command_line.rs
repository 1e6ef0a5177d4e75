//! The configuration file as defaults of a command line of `clap`: its keys are the flags, its values are checked by
//! their parsers, and go under the environment and under flags because defaults do.
//!
//! For the two programs of this workspace. Not part of the interface: the types of another crate are in it.

use super::{
    ConfigFaults, ConfigFile, Effective, Setting, SettingKind, ValueSource, without_password,
};
use clap::builder::ValueRange;
use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource as ClapSource;
use clap::{Arg, ArgAction, ArgMatches, Command, Id};
use serde_json::{Value, json};
use std::error::Error as _;
use std::ffi::OsString;
use std::path::PathBuf;
use thiserror::Error;

/// Flags that no file can hold: the file itself, what is to be done once (a secret that was lost is not to be replaced
/// in silence ever after), how one call shows what came of it, and what clap brings.
const NO_KEYS: [&str; 7] = ["config", "new_secret", "output", "json", "quiet", "help", "version"];
/// Flags whose values are shown to nobody.
const SECRETS: [&str; 1] = ["token"];
/// Flags whose values are URLs that may hold a password.
const URLS: [&str; 1] = ["proxy"];

/// A subcommand, by the words that lead to it.
pub type Path<'a> = &'a [&'a str];

/// The subcommand that shows what the one with the settings would run with.
pub const SHOW: Path<'static> = &["config", "show"];

/// Why the words or the file cannot be used.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Misuse {
    #[error(transparent)]
    Words(#[from] clap::Error),
    #[error(transparent)]
    File(#[from] ConfigFaults),
}

/// What the words say, with the file that they or the environment name.
#[derive(Debug)]
pub struct Parsed {
    /// The command line with the values of the file as its defaults.
    pub command: Command,
    /// What came out.
    pub matches: ArgMatches,
    /// The file, if one is named.
    pub file: Option<PathBuf>,
    /// Each setting of the subcommand, or of [`SHOW`], with its source; none for other subcommands.
    pub effective: Vec<Effective>,
}

/// Parses `words`; the subcommand `of` and [`SHOW`] take the settings of a file.
///
/// # Errors
/// The words or the file are wrong.
pub fn parse(command: &Command, of: Path<'_>, words: &[OsString]) -> Result<Parsed, Misuse> {
    let named = named(command.clone(), &[of, SHOW], words);
    let file =
        named.map(|path| ConfigFile::read_checked(&path, &settings(command, of))).transpose()?;
    let command = command.clone();
    let mut command = match &file {
        Some(file) => filled(filled(command, of, file), SHOW, file),
        None => command,
    };
    let matches = command.try_get_matches_from_mut(words)?;
    let shown = if descend(&matches, SHOW).is_some() { SHOW } else { of };
    let effective = effective(&command, shown, &matches, file.as_ref());
    let file = file.map(|file| file.path().to_owned());
    Ok(Parsed { command, matches, file, effective })
}

/// What `config show` says of a setting to programs.
#[must_use]
pub fn shown(one: &Effective) -> Value {
    json!({ "key": one.key, "values": one.values, "source": one.source.to_string() })
}

/// What a file can set for this subcommand.
pub fn settings(command: &Command, of: Path<'_>) -> Vec<Setting> {
    args(command, of).into_iter().map(setting).collect()
}

/// The file that these words, or the environment, name for one of these subcommands.
pub fn named(command: Command, of: &[Path<'_>], words: &[OsString]) -> Option<PathBuf> {
    // What is wrong with the words is said when they are parsed with the file.
    let matches = command.ignore_errors(true).try_get_matches_from(words).ok()?;
    let matches = of.iter().find_map(|path| descend(&matches, path))?;
    matches.try_get_one::<PathBuf>("config").ok().flatten().cloned()
}

/// The same command line with the values of this file as its defaults.
pub fn filled(command: Command, of: Path<'_>, file: &ConfigFile) -> Command {
    let command = command.mut_args(|arg| filled_arg(arg, file));
    let Some((first, rest)) = of.split_first() else { return command };
    command.mut_subcommand(first, |command| {
        let groups: Vec<_> = command
            .get_groups()
            .filter(|group| group.get_args().any(|id| is_set(&command, id.as_str(), file)))
            .map(|group| group.get_id().clone())
            .collect();
        let command = groups.into_iter().fold(command, |command, id| {
            command.mut_group(id.as_str(), |group| group.required(false))
        });
        filled(command, rest, file)
    })
}

/// Every setting as it came out, with its source.
pub fn effective(
    command: &Command,
    of: Path<'_>,
    matches: &ArgMatches,
    file: Option<&ConfigFile>,
) -> Vec<Effective> {
    let Some(matches) = descend(matches, of) else { return Vec::new() };
    args(command, of).into_iter().map(|arg| effective_arg(arg, matches, file)).collect()
}

/// What came out for a subcommand that these words lead to.
pub fn descend<'a>(matches: &'a ArgMatches, of: Path<'_>) -> Option<&'a ArgMatches> {
    of.iter().try_fold(matches, |matches, word| matches.subcommand_matches(word))
}

fn args<'a>(command: &'a Command, of: Path<'_>) -> Vec<&'a Arg> {
    let sub = of.iter().try_fold(command, |command, word| command.find_subcommand(word));
    let own = sub.into_iter().flat_map(Command::get_arguments);
    // A command that was parsed has passed these on to its subcommands.
    let has = |id: &Id| sub.is_some_and(|sub| sub.get_arguments().any(|arg| arg.get_id() == id));
    let global = command.get_arguments().filter(|arg| arg.is_global_set() && !has(arg.get_id()));
    let mut args: Vec<&Arg> = own.chain(global).collect();
    args.retain(|arg| !NO_KEYS.contains(&arg.get_id().as_str()));
    args
}

fn key(arg: &Arg) -> String {
    arg.get_long().map_or_else(|| arg.get_id().as_str().replace('_', "-"), str::to_owned)
}

fn kind(arg: &Arg) -> SettingKind {
    let takes_many = arg.get_num_args().is_some_and(|range: ValueRange| range.max_values() > 1);
    let action = arg.get_action();
    if matches!(action, ArgAction::SetTrue | ArgAction::SetFalse) {
        SettingKind::Flag
    } else if takes_many || matches!(action, ArgAction::Append) {
        SettingKind::Many
    } else {
        SettingKind::One
    }
}

fn setting(arg: &Arg) -> Setting {
    let checked = arg.clone();
    Setting::new(key(arg), kind(arg), move |text| check(&checked, text))
        .divided_by(arg.get_value_delimiter())
}

/// By the parser of the flag itself, so that a file takes what a flag takes.
fn check(arg: &Arg, text: &str) -> Result<(), String> {
    let alone =
        Arg::new("value").long("value").num_args(1).value_parser(arg.get_value_parser().clone());
    let command = Command::new("value").no_binary_name(true).arg(alone);
    match command.try_get_matches_from([format!("--value={text}")]) {
        Ok(_) => Ok(()),
        Err(error) => Err(said(&error)),
    }
}

fn said(error: &clap::Error) -> String {
    if let Some(source) = error.source() {
        return source.to_string();
    }
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(words)) => format!("expected one of {}", words.join(", ")),
        _ => "it must not be empty".to_owned(),
    }
}

fn is_set(command: &Command, id: &str, file: &ConfigFile) -> bool {
    let arg = command.get_arguments().find(|arg| arg.get_id() == id);
    arg.is_some_and(|arg| file.line(&key(arg)).is_some())
}

fn filled_arg(arg: Arg, file: &ConfigFile) -> Arg {
    let has_key = !NO_KEYS.contains(&arg.get_id().as_str());
    let Some(values) = file.values(&key(&arg)).filter(|_| has_key) else { return arg };
    let is_flag = kind(&arg) == SettingKind::Flag;
    let arg = arg.required(false).default_values(values);
    // `--help` shows defaults, and this one may be a secret.
    if is_flag { arg } else { arg.hide_default_value(true) }
}

fn effective_arg(arg: &Arg, matches: &ArgMatches, file: Option<&ConfigFile>) -> Effective {
    let (id, key) = (arg.get_id().as_str(), key(arg));
    let raw = matches.try_get_raw(id).ok().flatten();
    let values: Vec<String> =
        raw.into_iter().flatten().map(|value| value.to_string_lossy().into_owned()).collect();
    let of_file = || {
        let file = file?;
        Some(ValueSource::File { path: file.path().to_owned(), line: file.line(&key)? })
    };
    let source = match matches.value_source(id) {
        Some(ClapSource::CommandLine) => ValueSource::Flag(
            arg.get_long().map_or_else(|| "--".to_owned(), |long| format!("--{long}")),
        ),
        Some(ClapSource::EnvVariable) => {
            let name = arg.get_env().unwrap_or_default();
            ValueSource::Variable(name.to_string_lossy().into_owned())
        }
        Some(_) => of_file().unwrap_or(ValueSource::Default),
        None => ValueSource::Default,
    };
    let effective = Effective { key, values, source };
    match id {
        _ if SECRETS.contains(&id) => effective.masked(),
        _ if URLS.contains(&id) => {
            let values = effective.values.iter().map(|url| without_password(url)).collect();
            Effective { values, ..effective }
        }
        _ => effective,
    }
}
