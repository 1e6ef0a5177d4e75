//! One command of `exec` from its start to its result, and several at once.

use super::exec_sinks::{Dress, Kept, Line, LineSink, Rest, writer};
use super::print::{self, program};
use super::view::{Format, View};
use crate::client::{Canceller, Ends, Followed, Notes, Passing, RemoteCommand};
use onsembl_protocol::id::CommandId;
use onsembl_protocol::model::{Exit, Stream};
use onsembl_protocol::shown::{Causes, Shown};
use onsembl_protocol::terminal::viewed_line;
use serde::Serialize;
use serde_json::json;
use std::borrow::Cow;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc, watch};
use unicode_width::UnicodeWidthStr as _;

/// `exec` itself failed.
pub(super) const FAILED: u8 = 125;
/// `--timeout` ended the command.
pub(super) const TIMED_OUT: u8 = 124;
/// Columns of the name of an agent before its output.
const NAME: usize = 30;

/// What became of one command.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) command_id: String,
    /// The agent, as it was asked for.
    pub(super) agent: String,
    /// `exited`, `signalled`, `timed-out`, `interrupted`, `detached` or `failed`.
    pub(super) outcome: &'static str,
    pub(super) exit_code: Option<i32>,
    pub(super) signal: Option<i32>,
    /// Why it could not be run, or why how it ended is unknown.
    pub(super) error: Option<String>,
    #[serde(flatten)]
    pub(super) output: Option<Collected>,
    /// The terminal into which it was typed.
    #[serde(skip)]
    pub(super) typed_into: Option<CommandId>,
    /// The exit code of `exec`.
    #[serde(skip)]
    pub(super) code: u8,
}

/// What it wrote.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Collected {
    stdout: String,
    stderr: String,
    /// Whether something is missing: `output` has all of it.
    truncated: bool,
}

impl Outcome {
    fn of(id: String, agent: String, followed: anyhow::Result<Followed>) -> Self {
        // What does not fit into an exit code of this system is cut to it, as a shell does.
        let cut = |code: i32| (code & 0xff) as u8;
        let typed_into = match &followed {
            Ok(Followed::Typed(terminal)) => Some(terminal.clone()),
            Ok(Followed::Exited(_) | Followed::Cancelled { .. } | Followed::Taken) | Err(_) => None,
        };
        let (outcome, exit_code, signal, error, code) = match followed {
            Ok(Followed::Exited(exit)) => {
                let code = cut(exit.shell_code());
                match exit {
                    Exit::Code(exit) => ("exited", Some(exit), None, None, code),
                    Exit::Signal(signal) => ("signalled", None, Some(signal), None, code),
                }
            }
            Ok(Followed::Cancelled { by: Canceller::Timeout, .. }) => {
                ("timed-out", None, None, None, TIMED_OUT)
            }
            Ok(Followed::Cancelled { by: Canceller::Signal(signal), .. }) => {
                ("interrupted", None, None, None, cut(128 + signal))
            }
            Ok(Followed::Typed(_)) => ("exited", Some(0), None, None, 0),
            Ok(Followed::Taken) => ("detached", None, None, None, 0),
            Err(error) => ("failed", None, None, Some(Causes(error.as_ref()).to_string()), FAILED),
        };
        let output = None;
        Self { command_id: id, agent, outcome, exit_code, signal, error, output, typed_into, code }
    }
}

/// A signal that ends the wait, once there is one.
pub(super) type Interrupts = watch::Receiver<Option<i32>>;

async fn interrupted(mut interrupts: Interrupts) -> i32 {
    let signal = interrupts.wait_for(Option::is_some).await.ok().and_then(|signal| *signal);
    match signal {
        Some(signal) => signal,
        None => std::future::pending().await,
    }
}

/// Runs one, whose output comes out as it is unless a program or a terminal reads it.
pub(super) async fn run_one(
    command: RemoteCommand,
    agent: &str,
    view: View,
    interrupts: Interrupts,
) -> anyhow::Result<Outcome> {
    match view.format {
        Format::Table | Format::Wide => {
            let (id, agent) = (command.id.as_str().to_owned(), agent.to_owned());
            let (stdout, stderr) = print::raw_streams();
            let followed = command.run(stdout, stderr, interrupted(interrupts)).await;
            let outcome = Outcome::of(id, agent, followed);
            if outcome.outcome == "detached" {
                print::line(&outcome.command_id)?;
            }
            Ok(outcome)
        }
        Format::Json | Format::Name => {
            let outcome = collected(command, agent.to_owned(), interrupts).await;
            view.one(serde_json::to_string(&outcome)?, &outcome.command_id, || Ok(()))?;
            Ok(outcome)
        }
        Format::Jsonl => {
            let (lines, thread) = writer();
            let outcome = in_events(command, agent.to_owned(), lines, interrupts).await;
            let _ = thread.await;
            Ok(outcome)
        }
    }
}

/// Runs several, this many at a time, and says what became of each that did not end well.
pub(super) async fn run_many(
    commands: Vec<(String, RemoteCommand)>,
    at_once: usize,
    view: View,
    interrupts: Interrupts,
) -> anyhow::Result<Vec<Outcome>> {
    let places = Arc::new(Semaphore::new(at_once.max(1)));
    let shown = |name: &str| String::from(Shown::new(name).within(NAME));
    let width = commands.iter().map(|(name, _)| shown(name).width()).max().unwrap_or_default();
    let (lines, thread) = writer();
    let mut tasks = Vec::new();
    for (name, command) in commands {
        let (places, interrupts, lines) = (Arc::clone(&places), interrupts.clone(), lines.clone());
        let label = shown(&name);
        let label = format!("{label}{} | ", " ".repeat(width.saturating_sub(label.width())));
        tasks.push(tokio::spawn(async move {
            // It is closed by nobody.
            let _place = places.acquire_owned().await;
            if interrupts.borrow().is_some() {
                let id = command.id.as_str().to_owned();
                let none = Err(anyhow::anyhow!("not started: interrupted before"));
                return Outcome::of(id, name, none);
            }
            match view.format {
                Format::Table | Format::Wide => {
                    in_lines(command, name, &label, lines, interrupts).await
                }
                Format::Jsonl => in_events(command, name, lines, interrupts).await,
                Format::Json | Format::Name => collected(command, name, interrupts).await,
            }
        }));
    }
    drop(lines);
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(task.await?);
    }
    let _ = thread.await;
    match view.format {
        Format::Json => {
            print::json(json!({ "total": outcomes.len(), "results": outcomes }))?;
        }
        Format::Name => print::lines(outcomes.iter().map(|outcome| &outcome.command_id))?,
        Format::Jsonl => {}
        Format::Table | Format::Wide => {
            for outcome in &outcomes {
                let why = match (outcome.outcome, &outcome.error, outcome.exit_code) {
                    ("detached", ..) => {
                        print::line(format_args!("{} {}", outcome.agent, outcome.command_id))?;
                        continue;
                    }
                    (_, Some(error), _) => error.clone(),
                    ("exited", None, Some(0)) => continue,
                    ("exited", None, Some(code)) => format!("exit code {code}"),
                    (other, None, _) => other.to_owned(),
                };
                print::say(format_args!("{}: {why}", outcome.agent))?;
            }
        }
    }
    Ok(outcomes)
}

/// Sends what is behind the last line break.
async fn send_rest(rest: &Rest, stream: Stream, lines: &mpsc::Sender<Line>, dress: &Dress) {
    if let Some(rest) = rest.take() {
        // Who does not read does not want it.
        let _ = lines.send(dress(stream, &rest)).await;
    }
}

async fn through(
    mut command: RemoteCommand,
    agent: String,
    lines: mpsc::Sender<Line>,
    dress: Dress,
    note: impl Fn(&str) -> Line + Send + Sync + 'static,
    interrupts: Interrupts,
) -> Outcome {
    let id = command.id.as_str().to_owned();
    let sender = lines.clone();
    match &command.notes {
        Notes::Unsaid => {}
        // It is no loss if there is no room for it.
        Notes::WithStderr | Notes::To(_) => {
            command.notes = Notes::To(Arc::new(move |text| drop(sender.try_send(note(text)))));
        }
    }
    let (out, err) = (Rest::default(), Rest::default());
    let sink = |stream, rest: &Rest| {
        LineSink::new(stream, lines.clone(), rest.clone(), Arc::clone(&dress))
    };
    let (stdout, stderr) = (sink(Stream::Stdout, &out), sink(Stream::Stderr, &err));
    // Lines are no stream for a terminal.
    command.ends = Ends::default();
    let followed = command.run(stdout, stderr, interrupted(interrupts)).await;
    send_rest(&out, Stream::Stdout, &lines, &dress).await;
    send_rest(&err, Stream::Stderr, &lines, &dress).await;
    Outcome::of(id, agent, followed)
}

/// Each line behind the name of its agent.
async fn in_lines(
    command: RemoteCommand,
    agent: String,
    label: &str,
    lines: mpsc::Sender<Line>,
    interrupts: Interrupts,
) -> Outcome {
    let (prefix, ends) = (label.as_bytes().to_vec(), command.ends);
    let dress: Dress = Arc::new(move |to, line| {
        let passing = match to {
            Stream::Stdout | Stream::Terminal => ends.stdout,
            Stream::Stderr => ends.stderr,
        };
        let line = match passing {
            Passing::Raw => Cow::Borrowed(line),
            Passing::Viewed => Cow::Owned(viewed_line(line)),
        };
        let bytes = [prefix.as_slice(), &*line, b"\n"].concat();
        Line { to, bytes }
    });
    let label = label.to_owned();
    let note = move |text: &str| Line {
        to: Stream::Stderr,
        bytes: format!("{label}{}: {text}\n", program()).into_bytes(),
    };
    through(command, agent, lines, dress, note, interrupts).await
}

/// Each line as a JSON object, and one for its end.
async fn in_events(
    command: RemoteCommand,
    agent: String,
    lines: mpsc::Sender<Line>,
    interrupts: Interrupts,
) -> Outcome {
    fn event(event: &serde_json::Value) -> Line {
        let bytes = format!("{}\n", Shown::json(event)).into_bytes();
        Line { to: Stream::Stdout, bytes }
    }
    let (id, name) = (command.id.as_str().to_owned(), agent.clone());
    let dress: Dress = Arc::new(move |stream, line| {
        let text = String::from_utf8_lossy(line);
        event(&json!({
            "event": "output", "command_id": id, "agent": name, "stream": stream.as_str(), "text": text,
        }))
    });
    let (id, name) = (command.id.as_str().to_owned(), agent.clone());
    let note = move |text: &str| {
        event(&json!({ "event": "note", "command_id": id, "agent": name, "text": text }))
    };
    let outcome = through(command, agent, lines.clone(), dress, note, interrupts).await;
    let mut end = json!(outcome);
    if let Some(fields) = end.as_object_mut() {
        let _ = fields.insert("event".to_owned(), json!("end"));
    }
    let _ = lines.send(event(&end)).await;
    outcome
}

/// All of it in the result.
async fn collected(command: RemoteCommand, agent: String, interrupts: Interrupts) -> Outcome {
    let id = command.id.as_str().to_owned();
    let mut command = command;
    command.ends = Ends::default();
    match &command.notes {
        Notes::Unsaid => {}
        Notes::WithStderr | Notes::To(_) => {
            // If standard error is closed, there is nobody to tell.
            command.notes = Notes::To(Arc::new(|text| drop(print::say(text))));
        }
    }
    let (out, err) = (Kept::default(), Kept::default());
    let followed = command.run(out.clone(), err.clone(), interrupted(interrupts)).await;
    let ((stdout, cut_out), (stderr, cut_err)) = (out.text(), err.text());
    let output = Collected { stdout, stderr, truncated: cut_out || cut_err };
    Outcome { output: Some(output), ..Outcome::of(id, agent, followed) }
}
