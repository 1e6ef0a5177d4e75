//! The worker alone, with an edge that performs each action at once: here the edge, in each file one theme.

mod activity;
mod background;
mod course;
mod ending;
mod findings;
mod long_texts;
mod output;
mod pastes;
mod recovery;
mod relayed;
mod remote_typing;
mod screens;
mod sessions;
mod stops;
mod terminals;

use super::*;
use crate::command::{Awaited, Exit};
use crate::id::{AgentId, ByteOffset, CommandId, Incarnation, StopId};
use crate::model::{AGENT_FEATURES, Capabilities, Dialect, PastFinding, Pausing, SERVER_FEATURES};
use crate::output::{SpoolBounds, Stream};
use crate::time::{Deadline, Now};
use crate::wire::payload::{CommandAckStatus, CommandCancel, CommandRequest, OutputAck};
use crate::wire::{AgentToServer, ServerToAgent};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

const CHUNK: usize = 16 * 1024;

fn at(seconds: u64) -> Now {
    Now::without_suspend(Duration::from_secs(1000 + seconds))
}

fn config() -> WorkerConfig {
    WorkerConfig {
        slots: 4,
        spool: SpoolBounds::MEMORY_ONLY,
        policy: None,
        journal: Journalling::Off,
        terminal: None,
        fence: Fence::open(),
        background: Default::default(),
        activity: Default::default(),
        unique: "u".into(),
    }
}

fn worker(config: WorkerConfig) -> Worker {
    Worker::new(config, Recovered::default(), at(0))
}

/// A server that does all that ours does.
fn session() -> WorkerSession {
    WorkerSession {
        agent: Some(AgentId::new("a")),
        capabilities: Capabilities::negotiate(AGENT_FEATURES, SERVER_FEATURES, Dialect::Extended),
        output_window: 256 * 1024,
        stopped: None,
    }
}

fn id(name: &str) -> CommandId {
    CommandId::new(name)
}

fn request(name: &str) -> WorkerEvent {
    let request = CommandRequest::new(id(name), AgentId::new("a"), "yes");
    WorkerEvent::Message(Box::new(ServerToAgent::CommandRequest(request)))
}

fn message(message: ServerToAgent) -> WorkerEvent {
    WorkerEvent::Message(Box::new(message))
}

fn stored(
    command: &CommandId,
    run: Incarnation,
    stream: Stream,
    offset: ByteOffset,
) -> WorkerEvent {
    message(ServerToAgent::OutputAck(OutputAck {
        command_id: command.clone(),
        incarnation: run,
        stream_type: stream.into(),
        offset,
        open_gap: false,
    }))
}

/// The actions but for notes, and for what is drawn of output.
fn actions(worker: &mut Worker) -> Vec<WorkerAction> {
    let next = || worker.poll_action();
    let is_counted = |a: &WorkerAction| !matches!(a, WorkerAction::Note(_) | WorkerAction::Draw(_));
    core::iter::from_fn(next).filter(is_counted).collect()
}

/// All that is said, handed to the link.
fn sent(worker: &mut Worker, now: Now) -> Vec<AgentToServer> {
    let mut sent = Vec::new();
    while let Some(message) = worker.next_message(now) {
        // What programs do is told whenever that changes; its own tests look at it.
        if let WorkerMessage::Text(message) = message
            && !matches!(*message, AgentToServer::Activity(_))
        {
            sent.push(*message);
        }
        worker.handle(WorkerEvent::Sent, now);
    }
    sent
}

fn started(worker: &mut Worker, name: &str, now: Now) {
    worker.handle(WorkerEvent::Started { command: id(name), process: None }, now);
}

fn ended(worker: &mut Worker, name: &str, exit: Exit, now: Now) {
    let rest = Rest::Ended;
    worker.handle(WorkerEvent::Ended { command: id(name), exit, rest, open: vec![] }, now);
}

fn journalled(worker: &mut Worker, awaited: Awaited, outcome: Result<(), String>) {
    worker.handle(WorkerEvent::Journalled { awaited, outcome }, at(0));
}

fn is_start(action: &WorkerAction) -> bool {
    matches!(action, WorkerAction::Start { .. })
}

fn write(worker: &mut Worker) {
    let bytes = Bytes::from(vec![b'y'; CHUNK]);
    worker.handle(WorkerEvent::Output { command: id("c"), stream: Stream::Stdout, bytes }, at(0));
}

fn cancel(name: &str, force: bool) -> WorkerEvent {
    let cancel = CommandCancel { command_id: id(name), agent_id: None, reason: None, force };
    message(ServerToAgent::CommandCancel(cancel))
}

fn is_ended(actions: &[WorkerAction]) -> bool {
    let ends = |a: &WorkerAction| matches!(a, WorkerAction::Kill(_) | WorkerAction::Cancel { .. });
    actions.iter().any(ends)
}

/// A command that runs and wrote something, and a session after that.
fn running_in(session: WorkerSession) -> Worker {
    let mut worker = worker(config());
    worker.handle(request("c"), at(0));
    let _ = actions(&mut worker);
    started(&mut worker, "c", at(0));
    write(&mut worker);
    worker.handle(WorkerEvent::Joined(session), at(1));
    let resume = crate::wire::payload::OutputResume { streams: vec![], more: false };
    worker.handle(message(ServerToAgent::OutputResume(resume)), at(1));
    let _ = actions(&mut worker);
    worker
}
