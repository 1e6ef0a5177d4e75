//! What an execution says: what it writes, how it ends, and how a typing went.

use crate::process::{ProcessEvent, TypingError};
use bytes::Bytes;
use onsembl_protocol::id::CommandId;
use onsembl_protocol::model::{Exit, Stream};
use onsembl_protocol::worker::{RemoteOutcome, RemoteStroke, TypingOutcome, WorkerEvent};
use tokio::sync::mpsc;

/// The exit of a command whose end was not reported. No real exit code is negative.
const NOT_SAID: Exit = Exit::Code(-1);

/// Reports what one execution does. Dropped without [`ended`](Self::ended) it says that the command
/// failed, and that something of it may still run.
#[derive(Debug)]
pub struct ExecutionEvents {
    command: CommandId,
    /// `None` once the end was said.
    entry: Option<mpsc::Sender<ProcessEvent<CommandId>>>,
}

impl ExecutionEvents {
    pub(crate) fn new(command: CommandId, entry: mpsc::Sender<ProcessEvent<CommandId>>) -> Self {
        Self { command, entry: Some(entry) }
    }

    /// The command.
    pub fn command(&self) -> &CommandId {
        &self.command
    }

    /// It wrote this. Waits while the agent takes nothing; pieces of some 16 KiB suit. Cancel-safe: then
    /// nothing was said.
    pub async fn output(&self, stream: Stream, bytes: impl Into<Bytes> + Send) {
        let (key, bytes) = (self.command.clone(), bytes.into());
        self.say(ProcessEvent::Output { key, stream, bytes }).await;
    }

    /// It ended, and nothing that it started survives.
    pub async fn ended(self, exit: Exit) {
        let (key, group_empty, open) = (self.command.clone(), true, Vec::new());
        self.end(ProcessEvent::Ended { key, exit, group_empty, open }).await;
    }

    /// It ended, and something that it started may still run. Its report says so, and no emergency stop is
    /// called verified.
    pub async fn ended_with_survivors(self, exit: Exit) {
        let key = self.command.clone();
        self.end(ProcessEvent::EndedUnwatched { key, exit }).await;
    }

    async fn end(mut self, end: ProcessEvent<CommandId>) {
        self.say(end).await;
        self.entry = None;
    }

    async fn say(&self, event: ProcessEvent<CommandId>) {
        if let Some(entry) = &self.entry
            && entry.send(event).await.is_err()
        {
            tracing::debug!(command = %self.command, "the agent that started this has ended");
        }
    }

    /// For a process, which says these things itself.
    pub(super) fn into_parts(
        mut self,
    ) -> (CommandId, Option<mpsc::Sender<ProcessEvent<CommandId>>>) {
        (self.command.clone(), self.entry.take())
    }
}

impl Drop for ExecutionEvents {
    fn drop(&mut self) {
        let Some(entry) = self.entry.take() else { return };
        let (key, exit) = (self.command.clone(), NOT_SAID);
        let end = ProcessEvent::EndedUnwatched { key, exit };
        if let Err(mpsc::error::TrySendError::Full(end)) = entry.try_send(end) {
            match tokio::runtime::Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn(async move { entry.send(end).await })),
                Err(error) => {
                    tracing::error!(command = %self.command, %error, "cannot report the end of a command outside the agent's runtime");
                }
            }
        }
    }
}

/// Reports the result of typing one command. Dropped, it says that nothing was typed.
#[derive(Debug)]
pub struct TypingReply {
    command: CommandId,
    entry: Option<mpsc::Sender<WorkerEvent>>,
}

impl TypingReply {
    pub(crate) fn new(command: CommandId, entry: mpsc::Sender<WorkerEvent>) -> Self {
        Self { command, entry: Some(entry) }
    }

    /// It is over, and went so.
    pub async fn done(mut self, outcome: TypingOutcome) {
        let command = self.command.clone();
        if let Some(entry) = self.entry.take()
            && entry.send(WorkerEvent::Typed { command, outcome }).await.is_err()
        {
            tracing::debug!("the agent that asked for this to be typed has ended");
        }
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
        let Some(entry) = self.entry.take() else { return };
        let event = WorkerEvent::Typed { command: self.command.clone(), outcome };
        if let Err(mpsc::error::TrySendError::Full(event)) = entry.try_send(event) {
            match tokio::runtime::Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn(async move { entry.send(event).await })),
                Err(error) => {
                    tracing::error!(command = %self.command, %error, "cannot report the result of typing outside the agent's runtime");
                }
            }
        }
    }
}

impl Drop for TypingReply {
    fn drop(&mut self) {
        self.say(TypingOutcome::Refused(
            "the program in the terminal has ended; ask again under a new id".to_owned(),
        ));
    }
}

/// Reports what became of a piece that the holder of the keyboard typed. Dropped, it says that it is lost.
#[derive(Debug)]
pub struct RemoteReply {
    stroke: RemoteStroke,
    entry: Option<mpsc::Sender<WorkerEvent>>,
}

impl RemoteReply {
    pub(crate) fn new(stroke: RemoteStroke, entry: mpsc::Sender<WorkerEvent>) -> Self {
        Self { stroke, entry: Some(entry) }
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
        let event = WorkerEvent::TypedRemotely { stroke: self.stroke.clone(), outcome };
        if let Some(entry) = self.entry.take()
            && entry.send(event).await.is_err()
        {
            tracing::debug!("the agent that asked for this to be typed has ended");
        }
    }

    /// It went so, at once.
    pub fn say(mut self, outcome: RemoteOutcome) {
        self.tell(outcome);
    }

    fn tell(&mut self, outcome: RemoteOutcome) {
        let Some(entry) = self.entry.take() else { return };
        let event = WorkerEvent::TypedRemotely { stroke: self.stroke.clone(), outcome };
        if let Err(mpsc::error::TrySendError::Full(event)) = entry.try_send(event) {
            match tokio::runtime::Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn(async move { entry.send(event).await })),
                Err(error) => {
                    tracing::error!(%error, "cannot report the result of typing outside the agent's runtime");
                }
            }
        }
    }
}

impl Drop for RemoteReply {
    fn drop(&mut self) {
        self.tell(RemoteOutcome::Lost("the program in the terminal has ended".to_owned()));
    }
}
