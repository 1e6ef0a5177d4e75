//! The terminals of which a dashboard is shown the present if it cannot keep up, and how far it is with each (P-398).

use super::super::collections::Map;
use crate::id::{AgentId, CommandId};
use crate::model::Capabilities;
use crate::output::{LiveView, LogRecord, Mark, Turn};
use crate::time::{Deadline, Timestamp};
use crate::wire::payload::{OutputBehind, OutputTaken, Replay, ViewMode};

/// One view for each terminal that is viewed live.
#[derive(Clone, Debug, Default)]
pub(super) struct LiveViews(Map<CommandId, LiveView>);

/// What of the output of a command may be sent now.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Allowed {
    /// Whatever there is: it is not viewed live.
    All,
    /// At most this many bytes at once.
    AtMost(usize),
    /// Nothing, until more of what was sent is shown.
    Nothing,
    /// The dashboard is told that it is behind, once.
    Behind(OutputBehind),
}

impl LiveViews {
    /// This command is viewed in this mode from now on, by a dashboard that shows everything before the position it named.
    /// Whether it is viewed live.
    pub(super) fn begin(
        &mut self,
        command: &CommandId,
        mode: Option<&ViewMode>,
        from: Option<&Replay>,
        capabilities: Capabilities,
    ) -> bool {
        let is_live = match mode {
            Some(ViewMode::Live) => capabilities.views_live() && command.is_terminal(),
            Some(ViewMode::Whole | ViewMode::Unknown(_)) | None => false,
        };
        if !is_live {
            self.end(command);
            return false;
        }
        let shown = from.and_then(|from| {
            let incarnation = from.incarnation?;
            Some(Mark { incarnation, offset: from.offset })
        });
        let _ = self.0.insert(command.clone(), LiveView::from(shown));
        true
    }

    /// This command is not viewed live any more.
    pub(super) fn end(&mut self, command: &CommandId) {
        let _ = self.0.remove(command);
    }

    /// The dashboard has shown this. Whether it views it live.
    pub(super) fn on_taken(&mut self, taken: &OutputTaken) -> bool {
        let OutputTaken { command_id, incarnation, offset } = taken;
        let Some(live) = self.0.get_mut(command_id) else { return false };
        live.on_taken(Mark { incarnation: *incarnation, offset: *offset });
        true
    }

    /// These records are sent.
    pub(super) fn on_sent(&mut self, command: &CommandId, records: &[LogRecord]) {
        if let Some(live) = self.0.get_mut(command) {
            records.iter().for_each(|record| live.on_sent(record.mark(), record.body.length()));
        }
    }

    /// What may be sent now of a command of this agent, when everything before `written` is written.
    pub(super) fn allow(
        &mut self,
        command: &CommandId,
        agent: &AgentId,
        written: Option<Mark>,
        now: Timestamp,
    ) -> Allowed {
        let Some(live) = self.0.get_mut(command) else { return Allowed::All };
        match live.turn(written, now) {
            Turn::Send => Allowed::AtMost(LiveView::BATCH),
            Turn::Wait => Allowed::Nothing,
            Turn::Jump(Mark { incarnation, offset }) => {
                let (command_id, agent_id) = (command.clone(), Some(agent.clone()));
                Allowed::Behind(OutputBehind { command_id, agent_id, incarnation, offset })
            }
        }
    }

    /// When one of them is late.
    pub(super) fn deadline(&self) -> Deadline {
        self.0.values().map(LiveView::deadline).fold(Deadline::Never, Deadline::min)
    }

    /// Those that are late.
    pub(super) fn late(&self, now: Timestamp) -> impl Iterator<Item = &CommandId> {
        let late = self.0.iter().filter(move |(_, live)| live.deadline().is_due(now));
        late.map(|(command, _)| command)
    }

    /// Forgets those that are gone.
    pub(super) fn keep(&mut self, is_there: impl Fn(&CommandId) -> bool) {
        self.0.retain(|command, _| is_there(command));
    }
}
