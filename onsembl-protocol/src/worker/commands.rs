//! What is to be run and what runs: all commands, and what is kept of each command beside it.

use super::event::Task;
use crate::command::{AgentCommands, Remains};
use crate::id::{CommandId, RunMark};
use crate::model::{Force, IdMint, Keeping};
use crate::output::{PerStream, Utf8Cutter};
use crate::time::WallTime;
use crate::wire::payload::CommandRequest;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// The commands of this process. All maps are bounded by the slots and the bound of what waits.
#[derive(Debug)]
pub(super) struct Commands {
    pub(super) all: AgentCommands,
    /// What was asked for and has not left the line, or whose start is being written down.
    requests: BTreeMap<CommandId, CommandRequest>,
    /// What the processes of those will bear whose start is being written down.
    marks: BTreeMap<CommandId, RunMark>,
    /// Asked to start, without an answer.
    starting: BTreeMap<CommandId, Starting>,
    running: BTreeMap<CommandId, Running>,
    unique: String,
    ids: IdMint,
    minted: u64,
}

/// What was asked to start.
#[derive(Clone, Debug)]
pub(super) struct Starting {
    /// How long it may run.
    pub(super) limit: Option<Duration>,
    /// How it is to be ended as soon as it runs, if it was cancelled.
    pub(super) force: Force,
    /// What its processes bear.
    pub(super) mark: RunMark,
    /// Whether what it writes is to be stored.
    pub(super) keeping: Keeping,
}

#[derive(Debug)]
pub(super) struct Running {
    pub(super) cutters: PerStream<Utf8Cutter>,
    pub(super) output: Output,
    /// By what its processes are found.
    pub(super) processes: Remains,
}

/// Whether what a command writes is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Output {
    #[default]
    Taken,
    /// The server does not know the command.
    Muted,
}

impl Commands {
    pub(super) fn new(slots: usize, unique: String) -> Self {
        Self {
            all: AgentCommands::new(slots),
            requests: BTreeMap::new(),
            marks: BTreeMap::new(),
            starting: BTreeMap::new(),
            running: BTreeMap::new(),
            ids: IdMint::of_text(&unique),
            unique,
            minted: 0,
        }
    }

    /// A request whose turn is to come.
    pub(super) fn keep(&mut self, id: &CommandId, request: CommandRequest) {
        let _ = self.requests.insert(id.clone(), request);
    }

    /// The command whose turn it is, and what its processes will bear.
    pub(super) fn take_next(&mut self) -> Option<(CommandId, RunMark)> {
        let id = self.all.take_next()?;
        let mark = self.mark(&id);
        Some((id, mark))
    }

    /// The agent begins its terminal. Its id sorts behind those of all terminals that were opened before.
    pub(super) fn begin_terminal(&mut self, at: WallTime) -> (CommandId, RunMark) {
        let id = self.ids.terminal(at);
        self.all.begin_own(&id);
        let mark = self.mark(&id);
        (id, mark)
    }

    fn mark(&mut self, id: &CommandId) -> RunMark {
        self.minted += 1;
        let mark = RunMark::new(format!("{}-{}", self.unique, self.minted));
        let _ = self.marks.insert(id.clone(), mark.clone());
        mark
    }

    /// What was asked for under this id, once.
    pub(super) fn take_request(&mut self, id: &CommandId) -> Option<CommandRequest> {
        self.requests.remove(id)
    }

    /// What its processes will bear, once.
    pub(super) fn take_mark(&mut self, id: &CommandId) -> Option<RunMark> {
        self.marks.remove(id)
    }

    /// It will not be started.
    pub(super) fn forget(&mut self, id: &CommandId) {
        let _ = self.requests.remove(id);
        let _ = self.marks.remove(id);
    }

    /// It is being started.
    pub(super) fn starts(&mut self, id: &CommandId, task: &Task, mark: RunMark) {
        let (limit, keeping) = match task {
            Task::Command(request) => {
                let limit = request.constraints.time_limit_ms.map(Duration::from_millis);
                (limit, Keeping::of(request.unstored))
            }
            // Its screen is drawn from what is stored.
            Task::Terminal(_) => (None, Keeping::Stored),
        };
        let starting = Starting { limit, force: Force::Grace, mark, keeping };
        let _ = self.starting.insert(id.clone(), starting);
    }

    /// Whether it is being started; then it is ended in this way as soon as it runs.
    pub(super) fn cancel_start(&mut self, id: &CommandId, force: Force) -> bool {
        let Some(starting) = self.starting.get_mut(id) else { return false };
        // An order without grace is not taken back by one with it.
        if force == Force::AtOnce {
            starting.force = force;
        }
        true
    }

    /// The start was answered.
    pub(super) fn take_start(&mut self, id: &CommandId) -> Option<Starting> {
        self.starting.remove(id)
    }

    pub(super) fn runs(&mut self, id: &CommandId, processes: Remains) {
        let (cutters, output) = (PerStream::default(), Output::default());
        let _ = self.running.insert(id.clone(), Running { cutters, output, processes });
    }

    pub(super) fn running(&mut self, id: &CommandId) -> Option<&mut Running> {
        self.running.get_mut(id)
    }

    pub(super) fn is_running(&self, id: &CommandId) -> bool {
        self.running.contains_key(id)
    }

    /// Whether what it writes is thrown away.
    #[cfg(any(feature = "sim", feature = "testing"))]
    pub(super) fn is_muted(&self, id: &CommandId) -> bool {
        self.running.get(id).is_some_and(|running| running.output == Output::Muted)
    }

    pub(super) fn ended(&mut self, id: &CommandId) -> Option<Running> {
        self.running.remove(id)
    }

    /// How many run.
    pub(super) fn count(&self) -> usize {
        self.running.len()
    }

    /// Whether nothing runs, and nothing is being started.
    pub(super) fn are_none(&self) -> bool {
        self.running.is_empty() && self.starting.is_empty()
    }

    /// Those that have not ended, then those whose ends are not confirmed, at most this many.
    pub(super) fn open(&self, most: usize) -> Vec<CommandId> {
        let (running, open) = (self.all.unfinished(), self.all.open());
        let ended = open.into_iter().filter(|id| self.all.report(id).is_some());
        running.into_iter().chain(ended).take(most).collect()
    }
}
