//! What an execution says: what it writes, how it ends, and how a typing went.

use crate::process::TypingError;
use bytes::Bytes;
use onsembl_protocol::id::CommandId;
use onsembl_protocol::model::{Exit, Stream};
use onsembl_protocol::worker::{RemoteOutcome, RemoteStroke, Rest, TypingOutcome, WorkerEvent};
use tokio::sync::mpsc;

/// The exit of a command whose end was not reported. No real exit code is negative.
const NOT_SAID: Exit = Exit::Code(-1);

/// The way of a last word to the agent, which comes once: what is said, or, dropped before that, what it was made with.
#[derive(Debug)]
struct LastWord(Option<(mpsc::Sender<WorkerEvent>, WorkerEvent)>);

impl LastWord {
    const fn new(entry: mpsc::Sender<WorkerEvent>, unsaid: WorkerEvent) -> Self {
        Self(Some((entry, unsaid)))
    }

    /// Waits while the agent takes nothing.
    async fn say(mut self, event: WorkerEvent) {
        if let Some((entry, _)) = self.0.take() {
            send(&entry, event).await;
        }
    }

    /// Says it from a place that cannot wait.
    fn say_at_once(mut self, event: WorkerEvent) {
        if let Some((_, unsaid)) = &mut self.0 {
            *unsaid = event;
        }
    }
}

impl Drop for LastWord {
    /// If the agent takes nothing now, a task waits.
    fn drop(&mut self) {
        let Some((entry, unsaid)) = self.0.take() else { return };
        if let Err(mpsc::error::TrySendError::Full(event)) = entry.try_send(unsaid) {
            match tokio::runtime::Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn(async move { send(&entry, event).await })),
                Err(error) => {
                    tracing::error!(%error, "cannot report how something ended outside the agent's runtime");
                }
            }
        }
    }
}

async fn send(entry: &mpsc::Sender<WorkerEvent>, event: WorkerEvent) {
    if entry.send(event).await.is_err() {
        tracing::debug!("the agent to be notified of this has ended");
    }
}

/// Reports what one execution does. Dropped without [`ended`](Self::ended) it says that the command
/// failed, and that something of it may still run.
#[derive(Debug)]
pub struct ExecutionEvents {
    command: CommandId,
    last: LastWord,
}

impl ExecutionEvents {
    pub(crate) fn new(command: CommandId, entry: mpsc::Sender<WorkerEvent>) -> Self {
        let unsaid = ended(command.clone(), NOT_SAID, Rest::Unwatched);
        Self { command, last: LastWord::new(entry, unsaid) }
    }

    /// The command.
    pub fn command(&self) -> &CommandId {
        &self.command
    }

    /// It wrote this. Waits while the agent takes nothing; pieces of some 16 KiB suit. Cancel-safe: then
    /// nothing was said.
    pub async fn output(&self, stream: Stream, bytes: impl Into<Bytes> + Send) {
        let (command, bytes) = (self.command.clone(), bytes.into());
        if let Some((entry, _)) = &self.last.0 {
            send(entry, WorkerEvent::Output { command, stream, bytes }).await;
        }
    }

    /// It ended, and nothing that it started survives.
    pub async fn ended(self, exit: Exit) {
        self.last.say(ended(self.command, exit, Rest::Ended)).await;
    }

    /// It ended, and something that it started may still run. Its report says so, and no emergency stop is
    /// called verified.
    pub async fn ended_with_survivors(self, exit: Exit) {
        self.last.say(ended(self.command, exit, Rest::Unwatched)).await;
    }

    /// For a process, which says these things itself.
    pub(super) fn into_parts(mut self) -> (CommandId, Option<mpsc::Sender<WorkerEvent>>) {
        (self.command, self.last.0.take().map(|(entry, _)| entry))
    }
}

fn ended(command: CommandId, exit: Exit, rest: Rest) -> WorkerEvent {
    WorkerEvent::Ended { command, exit, rest, open: Vec::new() }
}

/// Reports the result of typing one command. Dropped, it says that nothing was typed.
#[derive(Debug)]
pub struct TypingReply {
    command: CommandId,
    last: LastWord,
}

impl TypingReply {
    pub(crate) fn new(command: CommandId, entry: mpsc::Sender<WorkerEvent>) -> Self {
        let outcome = TypingOutcome::program_ended();
        let unsaid = WorkerEvent::Typed { command: command.clone(), outcome };
        Self { command, last: LastWord::new(entry, unsaid) }
    }

    /// What says of a paste in it that the program has read it.
    pub fn of_paste(&self) -> PasteReply {
        let entry = self.last.0.as_ref().map(|(entry, _)| entry.clone());
        PasteReply { command: self.command.clone(), entry }
    }

    /// It is over, and went so.
    pub async fn done(self, outcome: TypingOutcome) {
        self.last.say(WorkerEvent::Typed { command: self.command, outcome }).await;
    }

    pub(crate) async fn typed(self, typed: Result<(), TypingError>) {
        self.done(match typed {
            Ok(()) => TypingOutcome::Typed,
            Err(error) => TypingOutcome::Broken { much: error.typed(), why: error.to_string() },
        })
        .await;
    }

    /// Nothing is typed, for this reason.
    pub fn refuse(self, why: &str) {
        self.say(TypingOutcome::Refused(why.to_owned()));
    }

    /// Nothing is typed, because the terminal is in the other mode.
    pub fn other_mode(self) {
        self.say(TypingOutcome::OtherMode);
    }

    fn say(self, outcome: TypingOutcome) {
        self.last.say_at_once(WorkerEvent::Typed { command: self.command, outcome });
    }
}

/// Reports that the program has read a paste that is typed for a command.
#[derive(Clone, Debug)]
pub struct PasteReply {
    command: CommandId,
    entry: Option<mpsc::Sender<WorkerEvent>>,
}

impl PasteReply {
    /// It has read it; what stands behind it waits for [`end_paste`](super::Execution::end_paste).
    pub async fn read(self) {
        if let Some(entry) = self.entry {
            send(&entry, WorkerEvent::PasteRead(self.command)).await;
        }
    }
}

/// Reports what became of a piece that the holder of the keyboard typed. Dropped, it says that it is lost.
#[derive(Debug)]
pub struct RemoteReply {
    stroke: RemoteStroke,
    last: LastWord,
}

impl RemoteReply {
    pub(crate) fn new(stroke: RemoteStroke, entry: mpsc::Sender<WorkerEvent>) -> Self {
        let outcome = RemoteOutcome::Lost("the program in the terminal has ended".to_owned());
        let unsaid = WorkerEvent::TypedRemotely { stroke: stroke.clone(), outcome };
        Self { stroke, last: LastWord::new(entry, unsaid) }
    }

    /// What is to be typed.
    pub fn stroke(&self) -> &RemoteStroke {
        &self.stroke
    }

    pub(crate) async fn typed(self, typed: Result<(), TypingError>) {
        let outcome = match typed {
            Ok(()) => RemoteOutcome::Typed,
            Err(error) => RemoteOutcome::Lost(error.to_string()),
        };
        self.last.say(WorkerEvent::TypedRemotely { stroke: self.stroke, outcome }).await;
    }

    /// It went so, at once.
    pub fn say(self, outcome: RemoteOutcome) {
        self.last.say_at_once(WorkerEvent::TypedRemotely { stroke: self.stroke, outcome });
    }
}
