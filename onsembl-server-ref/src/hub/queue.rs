//! Whose turn it is: performs what the queues of the agents decide.

use super::run::Hub;
use onsembl_protocol::command::{CommandEvent, CommandStage};
use onsembl_protocol::id::{AgentId, CommandId, UserId};
use onsembl_protocol::session::{Dialect, ServerView};

/// Places of an agent without a queue: what comes goes out at once.
const NO_QUEUE: usize = usize::MAX;

impl Hub {
    /// Where a command stands in the line of its agent follows from where it is in its life.
    pub(super) fn line_up(&mut self, key: &(UserId, CommandId)) {
        let Some(open) = self.commands.get(key) else { return };
        if open.request.is_of_terminal() {
            return;
        }
        let (agent, stage) = (open.agent.clone(), open.life.view().status);
        let priority = open.request.priority;
        let now = self.clock.now().monotonic;
        let queue = self.queues.entry(agent.clone()).or_default();
        match stage {
            CommandStage::Pending => return,
            CommandStage::Queued => queue.join(key.clone(), priority, now),
            CommandStage::Delivered | CommandStage::Running | CommandStage::Cancelling => {
                queue.hold(key);
            }
            CommandStage::Completed
            | CommandStage::Failed
            | CommandStage::Cancelled
            | CommandStage::Lost
            | CommandStage::Unknown => queue.leave(key),
        }
        let _ = self.lines_changed.insert(agent);
    }

    /// A command is over for this server.
    pub(super) fn leave_line(&mut self, agent: &AgentId, key: &(UserId, CommandId)) {
        if let Some(queue) = self.queues.get_mut(agent) {
            queue.leave(key);
            let _ = self.lines_changed.insert(agent.clone());
        }
    }

    /// Gives free places to those whose turn it is.
    pub(super) fn place_commands(&mut self) {
        while let Some(agent) = self.lines_changed.pop_first() {
            self.place_for(&agent);
        }
    }

    fn place_for(&mut self, agent: &AgentId) {
        let Some(known) = self.known.get(agent) else { return };
        let places = known.places;
        let machine = known.machine.and_then(|key| self.shard.machine(key));
        let session = machine.filter(|m| m.link().is_some()).and_then(ServerView::dialect);
        let Some(dialect) = session else { return };
        let now = self.clock.now().monotonic;
        loop {
            let Some(queue) = self.queues.get_mut(agent) else { return };
            queue.set_places(match dialect {
                Dialect::Extended => places,
                Dialect::Legacy => NO_QUEUE,
            });
            let Some(key) = queue.take_next(now) else { break };
            self.feed_command(&key, CommandEvent::Place);
        }
        if self.queues.get(agent).is_some_and(|queue| queue.waiting() + queue.held() == 0) {
            let _ = self.queues.remove(agent);
        }
    }
}
