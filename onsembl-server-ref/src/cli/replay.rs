//! `onsembl-server replay`: whether the core still does what it did.

use super::view::View;
use super::why::{Judged, SHOWN};
use super::{complain, print};
use clap::Args;
use onsembl_protocol::replay::{self, MAX_LINE, ReplayError, Replayed};
use serde_json::json;
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use thiserror::Error;

/// The core does something else now.
const DIFFERS: u8 = 1;
/// A file is no whole recording.
const REFUSED: u8 = 2;

const EXAMPLES: &str = "\
Examples:
  onsembl export mine > mine.jsonl
  onsembl-server replay mine.jsonl

Exit codes:
  0  all recordings agree with this core
  1  this core decides differently; the first difference is on standard error
  2  a file is not a complete recording, or the command line is wrong";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Replay {
    /// Recordings, as `export` writes them; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// What became of one file.
#[derive(Debug, Error)]
enum Failure {
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

impl Replay {
    /// 0 if all agree; 1 if the core does something else now; 2 if a file is no whole recording. Ends
    /// at the first that does not agree.
    pub(super) fn run(self, view: View) -> ExitCode {
        let (mut entries, mut said) = (0, Vec::new());
        for file in &self.files {
            match replay(file) {
                Ok(replayed) => {
                    entries += replayed.entries;
                    said.extend(verdicts(file, &replayed));
                }
                Err(failure) => {
                    let code = match failure {
                        Failure::Replay(ReplayError::Differs(_)) => DIFFERS,
                        Failure::Io(_) | Failure::Replay(_) => REFUSED,
                    };
                    return complain(code, format_args!("{}: {failure}", file.display()));
                }
            }
        }
        let (files, agree) = match self.files.len() {
            1 => ("1 recording", "agrees"),
            _ => (&*format!("{} recordings", self.files.len()), "agree"),
        };
        let summary = format!("{files} {agree} with this core, {entries} entries");
        let json = json!({ "recordings": self.files.len(), "entries": entries, "agrees": true });
        let names: Vec<_> = self.files.iter().map(|file| file.display().to_string()).collect();
        match view
            .one(json, &names.join("\n"), || Ok(print::lines([summary].into_iter().chain(said))?))
        {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(REFUSED, format_args!("cannot write the summary: {error}")),
        }
    }
}

/// What the server said of the drops when it exported the recording. Nothing of it was replayed, so that what cannot
/// be read of it is left out.
fn verdicts(file: &Path, replayed: &Replayed) -> Vec<String> {
    let text = replayed.verdicts.as_deref();
    let Some(Ok(judged)) = text.map(serde_json::from_str::<Judged>) else { return Vec::new() };
    let about = format!("{}: its server said of {}:", file.display(), replayed.agent);
    [about]
        .into_iter()
        .chain(judged.lines(SHOWN).into_iter().map(|line| format!("  {line}")))
        .collect()
}

fn replay(file: &Path) -> Result<Replayed, Failure> {
    if file == Path::new("-") {
        replay_lines(std::io::stdin().lock())
    } else {
        replay_lines(BufReader::new(File::open(file)?))
    }
}

/// Never holds more than the longest line there may be.
fn replay_lines(mut from: impl BufRead) -> Result<Replayed, Failure> {
    let mut replay = replay::Replay::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        let most = MAX_LINE as u64 + 1;
        if from.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
            return Ok(replay.finish()?);
        }
        replay.line(line.strip_suffix(b"\n").unwrap_or(&line))?;
    }
}
