//! What an execution says: what it writes, how it ends, and how a typing went.

use crate::process::{ProcessEvent, TypingError};
use bytes::Bytes;
use onsembl_protocol::id::CommandId;
use onsembl_protocol::model::{Exit, Stream};
use onsembl_protocol::worker::{RemoteOutcome, RemoteStroke, TypingOutcome, WorkerEvent};
use tokio::sync::mpsc;

/// The exit of a command whose end was not reported. No real exit code is negative.
const NOT_SAID: Exit = Exit::Code(-1);

/// The way of a last word to the agent: it is said once, and dropped only with the agent.
#[derive(Debug)]
struct LastWord<E> {
    /// `None` once it was said.
    entry: Option<mpsc::Sender<E>>,
}

impl<E: Send + 'static> LastWord<E> {
    const fn new(entry: mpsc::Sender<E>) -> Self {
        Self { entry: Some(entry) }
    }

    /// Waits while the agent takes nothing.
    async fn say(&mut self, event: E) {
        if let Some(entry) = self.entry.take()
            && entry.send(event).await.is_err()
        {
            tracing::debug!("the agent to be notified of this has ended");
        }
    }

    /// Says it from a place that cannot wait; if the agent takes nothing now, a task waits.
    fn say_at_once(&mut self, event: E) {
        let Some(entry) = self.entry.take() else { return };
        if let Err(mpsc::error::TrySendError::Full(event)) = entry.try_send(event) {
            match tokio::runtime::Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn(async move { entry.send(event).await })),
                Err(error) => {
                    tracing::error!(%error, "cannot report how something ended outside the agent's runtime");
                }
            }
        }
    }
}

/// Reports what one execution does. Dropped without [`ended`](Self::ended) it says that the command
/// failed, and that something of it may still run.
#[derive(Debug)]
pub struct ExecutionEvents {
    command: CommandId,
    last: LastWord<ProcessEvent<CommandId>>,
}

impl ExecutionEvents {
    pub(crate) fn new(command: CommandId, entry: mpsc::Sender<ProcessEvent<CommandId>>) -> Self {
        Self { command, last: LastWord::new(entry) }
    }

    /// The command.
    pub fn command(&self) -> &CommandId {
        &self.command
    }

    /// It wrote this. Waits while the agent takes nothing; pieces of some 16 KiB suit. Cancel-safe: then
    /// nothing was said.
    pub async fn output(&self, stream: Stream, bytes: impl Into<Bytes> + Send) {
        let (key, bytes) = (self.command.clone(), bytes.into());
        if let Some(entry) = &self.last.entry
            && entry.send(ProcessEvent::Output { key, stream, bytes }).await.is_err()
        {
            tracing::debug!(command = %self.command, "the agent that started this has ended");
        }
    }

    /// It ended, and nothing that it started survives.
    pub async fn ended(mut self, exit: Exit) {
        let (key, unclear, open) = (self.command.clone(), Vec::new(), Vec::new());
        let ended = ProcessEvent::Ended { key, exit, group_empty: true, unclear, open };
        self.last.say(ended).await;
    }

    /// It ended, and something that it started may still run. Its report says so, and no emergency stop is
    /// called verified.
    pub async fn ended_with_survivors(mut self, exit: Exit) {
        let key = self.command.clone();
        self.last.say(ProcessEvent::EndedUnwatched { key, exit }).await;
    }

    /// For a process, which says these things itself.
    pub(super) fn into_parts(
        mut self,
    ) -> (CommandId, Option<mpsc::Sender<ProcessEvent<CommandId>>>) {
        (self.command.clone(), self.last.entry.take())
    }
}

impl Drop for ExecutionEvents {
    fn drop(&mut self) {
        let (key, exit) = (self.command.clone(), NOT_SAID);
        self.last.say_at_once(ProcessEvent::EndedUnwatched { key, exit });
    }
}

/// Reports the result of typing one command. Dropped, it says that nothing was typed.
#[derive(Debug)]
pub struct TypingReply {
    command: CommandId,
    last: LastWord<WorkerEvent>,
}

impl TypingReply {
    pub(crate) fn new(command: CommandId, entry: mpsc::Sender<WorkerEvent>) -> Self {
        Self { command, last: LastWord::new(entry) }
    }

    /// What says of a paste in it that the program has read it.
    pub fn of_paste(&self) -> PasteReply {
        PasteReply { command: self.command.clone(), entry: self.last.entry.clone() }
    }

    /// It is over, and went so.
    pub async fn done(mut self, outcome: TypingOutcome) {
        let command = self.command.clone();
        self.last.say(WorkerEvent::Typed { command, outcome }).await;
    }

    pub(crate) async fn typed(self, typed: Result<(), TypingError>) {
        self.done(match typed {
            Ok(()) => TypingOutcome::Typed,
            Err(error) => TypingOutcome::Broken { much: error.typed(), why: error.to_string() },
        })
        .await;
    }

    /// Nothing is typed, for this reason.
    pub fn refuse(mut self, why: &str) {
        self.say(TypingOutcome::Refused(why.to_owned()));
    }

    /// Nothing is typed, because the terminal is in the other mode.
    pub fn other_mode(mut self) {
        self.say(TypingOutcome::OtherMode);
    }

    fn say(&mut self, outcome: TypingOutcome) {
        let command = self.command.clone();
        self.last.say_at_once(WorkerEvent::Typed { command, outcome });
    }
}

impl Drop for TypingReply {
    fn drop(&mut self) {
        self.say(TypingOutcome::program_ended());
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
        let Self { command, entry } = self;
        if let Some(entry) = entry
            && entry.send(WorkerEvent::PasteRead(command)).await.is_err()
        {
            tracing::debug!("the agent that asked for this to be typed has ended");
        }
    }
}

/// Reports what became of a piece that the holder of the keyboard typed. Dropped, it says that it is lost.
#[derive(Debug)]
pub struct RemoteReply {
    stroke: RemoteStroke,
    last: LastWord<WorkerEvent>,
}

impl RemoteReply {
    pub(crate) fn new(stroke: RemoteStroke, entry: mpsc::Sender<WorkerEvent>) -> Self {
        Self { stroke, last: LastWord::new(entry) }
    }

    /// What is to be typed.
    pub fn stroke(&self) -> &RemoteStroke {
        &self.stroke
    }

    pub(crate) async fn typed(mut self, typed: Result<(), TypingError>) {
        let outcome = match typed {
            Ok(()) => RemoteOutcome::Typed,
            Err(error) => RemoteOutcome::Lost(error.to_string()),
        };
        self.last.say(WorkerEvent::TypedRemotely { stroke: self.stroke.clone(), outcome }).await;
    }

    /// It went so, at once.
    pub fn say(mut self, outcome: RemoteOutcome) {
        self.tell(outcome);
    }

    fn tell(&mut self, outcome: RemoteOutcome) {
        let stroke = self.stroke.clone();
        self.last.say_at_once(WorkerEvent::TypedRemotely { stroke, outcome });
    }
}

impl Drop for RemoteReply {
    fn drop(&mut self) {
        self.tell(RemoteOutcome::Lost("the program in the terminal has ended".to_owned()));
    }
}
