//! `output`: the stored output of a command, byte for byte, then what comes.
//!
//! Where the connection breaks while it follows, it continues behind the last byte that it wrote.

use super::connect::ServerArgs;
use super::print;
use super::remote::{NOT_OURS, PATIENCE, Remote, escape};
use super::view::{Format, View};
use crate::http::OutputLine;
use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use onsembl_protocol::id::{ByteOffset, ChunkSequence, Incarnation};
use onsembl_protocol::model::{Stream, gap_notice};
use onsembl_protocol::shown::Shown;
use onsembl_protocol::terminal::Viewing;
use onsembl_protocol::wire::payload::StreamContent;
use serde_json::json;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// How long a server that is away is awaited while its output is followed.
const AWAITED: Duration = Duration::from_secs(300);
/// Between two attempts to reach it.
const RETRY: Duration = Duration::from_millis(500);
/// How often it is looked whether what is being written is written, when a signal ends this.
const LOOKS: u32 = 50;
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Said of output that is relayed and not stored.
const NOT_KEPT: &str = "not kept, as asked";

const EXAMPLES: &str = "\
Examples:
  onsembl output ffff0001                 its output so far
  onsembl output ffff0001 --follow        and new output, until it ends
  onsembl output ffff0001 --stream stderr > errors.log
  onsembl output ffff0001 -o jsonl        records with offsets, gaps included";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Output {
    #[command(flatten)]
    server: ServerArgs,
    /// The command, by its id; see `onsembl commands`.
    command: String,
    /// Only this stream, on standard output. By default the command's standard error goes to standard error.
    #[arg(long, env = "ONSEMBL_STREAM", value_name = "STREAM")]
    stream: Option<Which>,
    /// On a terminal too, print every byte unchanged. By default, sequences that make a terminal reply or change
    /// state beyond its screen are omitted on a terminal, and its modes are restored at the end. Pipes and files
    /// always get every byte unchanged.
    #[arg(long, env = "ONSEMBL_RAW")]
    raw: bool,
    /// Keep printing new output until the command ends.
    #[arg(long, env = "ONSEMBL_FOLLOW")]
    follow: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Which {
    Stdout,
    Stderr,
    Terminal,
}

impl Which {
    const fn stream(self) -> Stream {
        match self {
            Self::Stdout => Stream::Stdout,
            Self::Stderr => Stream::Stderr,
            Self::Terminal => Stream::Terminal,
        }
    }
}

/// How far it is.
#[derive(Default)]
struct Progress {
    last: Option<(Incarnation, ChunkSequence)>,
    next: BTreeMap<(Incarnation, Stream), ByteOffset>,
}

/// How one answer of the server ended.
enum Answered {
    Whole,
    BrokeOff,
}

impl Output {
    pub(super) async fn run(self, view: View) -> anyhow::Result<()> {
        let remote = self.server.clone().connect()?;
        let wanted = self.command.clone();
        let asked = remote.clone();
        let command =
            tokio::task::spawn_blocking(move || asked.find_command(&wanted)).await??.to_string();
        let source = Source { remote, command, stream: self.stream, follow: self.follow };
        match view.format {
            Format::Name => return Ok(print::line(&source.command)?),
            Format::Json | Format::Jsonl => {
                return tokio::task::spawn_blocking(move || source.records(view.format)).await?;
            }
            Format::Table | Format::Wide => {}
        }
        let viewer = Arc::new(Mutex::new(Viewer::new(self.raw)));
        let is_shown = lock(&viewer).is_shown();
        let copied = Arc::clone(&viewer);
        let copy = tokio::task::spawn_blocking(move || source.copy(&copied));
        let outcome = match is_shown {
            false => copy.await?,
            true => tokio::select! {
                copied = copy => copied?,
                code = interrupted() => leave(&viewer, code).await,
            },
        };
        outcome.and(lock(&viewer).restore().context("cannot restore the terminal"))
    }
}

/// What is asked for.
struct Source {
    remote: Remote,
    command: String,
    stream: Option<Which>,
    follow: bool,
}

impl Source {
    /// Copies the records as the server has them: a line for each, or one document.
    fn records(&self, format: Format) -> anyhow::Result<()> {
        let (is_document, mut count) = (format == Format::Json, 0_usize);
        let mut is_unstored = false;
        if is_document {
            write!(print::raw(), "{{\"command_id\":{},\"records\":[", json!(self.command))?;
        }
        let mut each = |line: &str, kind: &OutputLine| {
            let is_end = match kind {
                OutputLine::End(command) => {
                    is_unstored = command.unstored && count == 0;
                    true
                }
                OutputLine::Output(_) | OutputLine::Gap(_) => false,
            };
            let line = Shown::json(line.trim_end());
            let mut out = print::raw();
            match (is_document, is_end) {
                (true, true) => {}
                (true, false) if count == 0 => write!(out, "\n{line}")?,
                (true, false) => write!(out, ",\n{line}")?,
                (false, _) => writeln!(out, "{line}")?,
            }
            count += 1;
            Ok(out.flush()?)
        };
        let copied = self.page(None, &mut each);
        if is_document {
            let kept = if is_unstored {
                format!(",\"output\":{}", json!(NOT_KEPT))
            } else {
                String::new()
            };
            writeln!(print::raw(), "]{kept}}}")?;
        }
        match copied {
            Ok(Answered::Whole) => Ok(()),
            Ok(Answered::BrokeOff) => bail!("the reply was cut off"),
            Err(Failure::Local(error) | Failure::Remote(error)) => Err(error),
        }
    }

    fn copy(&self, viewer: &Mutex<Viewer>) -> anyhow::Result<()> {
        let mut progress = Progress::default();
        let mut heard = Instant::now();
        loop {
            let before = progress.last;
            let mut shown = std::mem::take(&mut progress);
            let last = shown.last;
            let mut each =
                |_: &str, line: &OutputLine| self.show(line, &mut shown, &mut lock(viewer));
            let page = self.page(last, &mut each);
            progress = shown;
            let why = match page {
                Ok(Answered::Whole) => return Ok(()),
                Ok(Answered::BrokeOff) => anyhow::anyhow!("the reply was cut off"),
                Err(Failure::Local(error)) => return Err(error),
                Err(Failure::Remote(error)) => error,
            };
            if progress.last != before {
                heard = Instant::now();
            }
            if !self.follow || before.is_none() && progress.last.is_none() {
                return Err(why);
            }
            if heard.elapsed() > AWAITED {
                return Err(why.context("the server was not reachable for 5 minutes"));
            }
            tracing::warn!(%why, "resuming behind what was written");
            sleep(RETRY);
        }
    }

    /// One answer of the server, from behind what was shown last.
    fn page(
        &self,
        last: Option<(Incarnation, ChunkSequence)>,
        each: &mut dyn FnMut(&str, &OutputLine) -> anyhow::Result<()>,
    ) -> Result<Answered, Failure> {
        let mut path =
            format!("/api/commands/{}/output?follow={}", escape(&self.command), self.follow);
        if let Some(which) = self.stream {
            path.push_str(&format!("&stream={}", which.stream().as_str()));
        }
        if let Some((incarnation, sequence)) = last {
            // The last one again: it may be one of two records of its number.
            let before = sequence.0.saturating_sub(1);
            path.push_str(&format!("&after={}.{before}", incarnation.0));
        }
        let answer = self.remote.get(&path, PATIENCE).map_err(Failure::Remote)?;
        let mut lines = BufReader::new(answer);
        let mut line = String::new();
        loop {
            line.clear();
            match lines.read_line(&mut line) {
                Ok(0) => return Ok(Answered::BrokeOff),
                Ok(_) if !line.ends_with('\n') => return Ok(Answered::BrokeOff),
                Ok(_) if line.trim().is_empty() => continue,
                Ok(_) => {}
                Err(error) => return Err(Failure::Remote(error.into())),
            }
            let read: OutputLine =
                serde_json::from_str(&line).context(NOT_OURS).map_err(Failure::Local)?;
            each(&line, &read).map_err(Failure::Local)?;
            if matches!(read, OutputLine::End(_)) {
                return Ok(Answered::Whole);
            }
        }
    }

    fn show(
        &self,
        line: &OutputLine,
        progress: &mut Progress,
        viewer: &mut Viewer,
    ) -> anyhow::Result<()> {
        match line {
            OutputLine::Output(output) => {
                let stream = output.stream.stream();
                let (
                    Some(incarnation),
                    Some(offset),
                    Some(sequence),
                    StreamContent::Bytes(content),
                ) = (output.incarnation, output.offset, output.sequence, &output.content)
                else {
                    bail!("the server sends output without its offset");
                };
                let bytes = content.as_bytes();
                let next = progress.next.entry((incarnation, stream)).or_default();
                let known = usize::try_from(next.0.saturating_sub(offset.0)).unwrap_or(usize::MAX);
                let new = bytes.get(known.min(bytes.len())..).unwrap_or_default();
                self.write(stream, new, viewer)
                    .with_context(|| format!("cannot write {stream}"))?;
                *next = (*next).max(ByteOffset(offset.0.saturating_add(bytes.len() as u64)));
                progress.last = Some((incarnation, sequence));
            }
            OutputLine::Gap(gap) => {
                let stream = gap.stream_type.stream();
                let end = ByteOffset(gap.offset.0.saturating_add(gap.length.unwrap_or(0)));
                let next = progress.next.entry((gap.incarnation, stream)).or_default();
                if end > *next || gap.length.is_none() {
                    let notice = gap_notice(gap.length, gap.because);
                    print::note(format_args!("{stream}: {notice}"))?;
                    *next = end.max(*next);
                }
                progress.last = Some((gap.incarnation, gap.sequence));
            }
            OutputLine::End(command) if command.unstored && progress.last.is_none() => {
                print::note(format_args!("the output of this command is {NOT_KEPT}"))?;
            }
            OutputLine::End(_) => {}
        }
        Ok(())
    }

    fn write(&self, stream: Stream, bytes: &[u8], viewer: &mut Viewer) -> std::io::Result<()> {
        if self.stream.is_none() && stream == Stream::Stderr {
            let mut out = print::raw_errors();
            out.write_all(&passed(&mut viewer.errors, bytes))?;
            return out.flush();
        }
        let mut out = print::raw();
        out.write_all(&passed(&mut viewer.output, bytes))?;
        out.flush()
    }
}

/// The terminal that this runs in, as far as output goes there.
struct Viewer {
    output: Option<Viewing>,
    errors: Option<Viewing>,
}

impl Viewer {
    fn new(raw: bool) -> Self {
        let viewing = |is_terminal: bool| (is_terminal && !raw).then(Viewing::default);
        Self {
            output: viewing(print::raw().is_terminal()),
            errors: viewing(print::raw_errors().is_terminal()),
        }
    }

    /// Whether anything goes to a terminal that is to be left as it was.
    fn is_shown(&self) -> bool {
        self.output.is_some() || self.errors.is_some()
    }

    /// Leaves the terminal as it was.
    fn restore(&mut self) -> std::io::Result<()> {
        if let Some(output) = self.output.take() {
            let mut out = print::raw();
            out.write_all(&output.restoring())?;
            out.flush()?;
        }
        if let Some(errors) = self.errors.take() {
            let mut out = print::raw_errors();
            out.write_all(&errors.restoring())?;
            out.flush()?;
        }
        Ok(())
    }
}

/// What of it is written.
fn passed<'a>(viewing: &mut Option<Viewing>, bytes: &'a [u8]) -> Cow<'a, [u8]> {
    match viewing {
        Some(viewing) => Cow::Owned(viewing.pass(bytes)),
        None => Cow::Borrowed(bytes),
    }
}

fn lock(viewer: &Mutex<Viewer>) -> MutexGuard<'_, Viewer> {
    viewer.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for a signal that ends this process. The exit code that it has by it.
async fn interrupted() -> i32 {
    let signals = [
        (SignalKind::hangup(), 129),
        (SignalKind::interrupt(), 130),
        (SignalKind::terminate(), 143),
    ];
    let waits: Vec<_> = signals
        .into_iter()
        .filter_map(|(kind, code)| Some((signal(kind).ok()?, code)))
        .map(|(mut signal, code)| {
            Box::pin(async move {
                let _got = signal.recv().await;
                code
            })
        })
        .collect();
    if waits.is_empty() {
        return std::future::pending().await;
    }
    futures::future::select_all(waits).await.0
}

/// Ends the process as the signal would have, but for the modes of its terminal.
async fn leave(viewer: &Mutex<Viewer>, code: i32) -> ! {
    // A terminal that takes nothing is not waited for.
    for _ in 0..LOOKS {
        if let Ok(mut viewer) = viewer.try_lock() {
            // It ends in any case.
            let _ = viewer.restore();
            std::process::exit(code);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    std::process::exit(code)
}

/// Who is at fault when an answer cannot be copied.
enum Failure {
    /// This end; there is no use in trying again.
    Local(anyhow::Error),
    /// The server, or the way to it.
    Remote(anyhow::Error),
}
