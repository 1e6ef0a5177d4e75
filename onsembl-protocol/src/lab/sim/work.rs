//! The work of the agents' processes: a [`Worker`] each, informed of sessions as by a driver. No commands reach
//! these agents, so whatever their links do, a worker has nothing to do, and nothing to say but what it found.

use crate::limits::OUTPUT_WINDOW;
use crate::model::{AGENT_FEATURES, Capabilities, Dialect, SERVER_FEATURES};
use crate::output::SpoolBounds;
use crate::time::Now;
use crate::wire::AgentToServer;
use crate::worker::{
    DEFAULT_SLOTS, Fence, Journalling, Recovered, Worker, WorkerAction, WorkerConfig, WorkerEvent,
    WorkerMessage, WorkerSession,
};
use alloc::format;

/// The worker of a new process.
pub(super) fn worker(process: u32, now: Now) -> Worker {
    let config = WorkerConfig {
        slots: DEFAULT_SLOTS,
        spool: SpoolBounds::MEMORY_ONLY,
        policy: None,
        journal: Journalling::Kept,
        terminal: None,
        fence: Fence::open(),
        background: Default::default(),
        activity: Default::default(),
        unique: format!("process-{process}"),
    };
    Worker::new(config, Recovered::default(), now)
}

/// A session with a server of this version, in which nothing is stopped.
pub(super) fn session() -> WorkerSession {
    WorkerSession {
        agent: None,
        capabilities: Capabilities::negotiate(SERVER_FEATURES, AGENT_FEATURES, Dialect::Extended),
        output_window: OUTPUT_WINDOW,
        stopped: None,
    }
}

/// Hands an event to a worker. Whether it has nothing to do, as it should.
pub(super) fn feed(worker: &mut Worker, event: WorkerEvent, now: Now) -> bool {
    worker.handle(event, now);
    let is_idle = core::iter::from_fn(|| worker.poll_action())
        .all(|action| matches!(action, WorkerAction::Note(_) | WorkerAction::End(_)));
    // What it found by itself, such as a clock that was set, is no work.
    while let Some(WorkerMessage::Text(message)) = worker.next_message(now)
        && matches!(*message, AgentToServer::BlackBox(_))
    {
        worker.handle(WorkerEvent::Sent, now);
    }
    is_idle && worker.next_message(now).is_none()
}
