//! What the absence of an agent, and its return, mean for a command. What cannot be proven is not
//! sent again.

use super::{
    Cancel, CommandAction, CommandCause, CommandLifecycle, CommandOrigin, CommandStage,
    LEGACY_IDLE, Link, Out, Phase, Returned, Sending,
};
use crate::model::Dialect;
use crate::time::Now;

impl CommandLifecycle {
    pub(super) fn link_back(&mut self, returned: Returned, now: Now, out: &mut Out) {
        let Returned { dialect, same_process, remembers, known } = returned;
        self.link = Link::Up;
        self.dialect = dialect;
        // A legacy wrapper never says what it knows, and proves nothing.
        let known = known && dialect == Dialect::Extended;
        let proves = dialect == Dialect::Extended && remembers;
        if known {
            return self.known(now, out);
        }
        let legacy = dialect == Dialect::Legacy;
        let unknown = match (self.phase, same_process) {
            (Phase::Queued { sending: Sending::Never, .. } | Phase::Ended, _) => {
                return self.waits_for_slot(out);
            }
            // A command of a user waits for its row; a terminal is there while its row is not.
            (Phase::Pending { .. }, _) if self.origin == CommandOrigin::User => return,
            // A legacy wrapper runs whatever comes, however often. If this server is not sure that
            // it never sent it, it must not send it.
            (Phase::Queued { .. } | Phase::Sent { .. }, true) if legacy => {
                CommandCause::NeverAcknowledged
            }
            (Phase::Queued { .. } | Phase::Sent { .. }, true) => return self.never_came(now, out),
            // That it is not named any more does not say that it never began: this server knows it from the
            // agent alone.
            (Phase::Delivered { .. }, same_process)
                if self.origin == CommandOrigin::Adopted && !legacy =>
            {
                if same_process {
                    CommandCause::Forgotten
                } else {
                    CommandCause::AgentRestarted
                }
            }
            // Also of one that the agent had acknowledged, died with, and was sent again.
            (Phase::Queued { .. } | Phase::Sent { .. } | Phase::Delivered { .. }, _) if proves => {
                return self.never_came(now, out);
            }
            (Phase::Pending { .. } | Phase::Delivered { .. } | Phase::Running { .. }, true)
                if legacy =>
            {
                return self.watch_silence(now, out);
            }
            (Phase::Pending { .. } | Phase::Delivered { .. } | Phase::Running { .. }, true) => {
                CommandCause::Forgotten
            }
            (
                Phase::Pending { .. }
                | Phase::Queued { .. }
                | Phase::Sent { .. }
                | Phase::Delivered { .. }
                | Phase::Running { .. },
                false,
            ) => CommandCause::AgentRestarted,
        };
        self.end(CommandStage::Unknown, unknown, None, now, out);
    }

    /// A legacy wrapper is back and will report no end. What an earlier run of this server left is not
    /// watched for silence yet, and would stay open.
    fn watch_silence(&mut self, now: Now, out: &mut Out) {
        if let (Phase::Running { idle_at, .. }, CommandOrigin::User) =
            (&mut self.phase, self.origin)
        {
            let _ = idle_at.get_or_insert(now.monotonic.saturating_add(LEGACY_IDLE));
        }
        if !self.was_away() {
            return;
        }
        let cause = match (self.origin, self.cancel) {
            (CommandOrigin::Agent, _) => CommandCause::OpenedByAgent,
            (CommandOrigin::User | CommandOrigin::Adopted, Some(_)) => {
                CommandCause::CancelNotConfirmable
            }
            (CommandOrigin::User | CommandOrigin::Adopted, None) => CommandCause::LegacyBack,
        };
        self.publish(cause, out);
    }

    /// Whether it is shown that its agent is away.
    const fn was_away(&self) -> bool {
        matches!(
            self.view.because,
            CommandCause::LinkLost | CommandCause::ServerRestarted | CommandCause::AgentAway
        )
    }

    /// Its agent is back. That one is away again is not published of all that wait for a slot: it stays true, and they
    /// may be a thousand.
    fn waits_for_slot(&mut self, out: &mut Out) {
        if self.view.because == CommandCause::WaitsForAgent {
            self.publish(CommandCause::Waits, out);
        }
    }

    /// The agent is back and has it.
    fn known(&mut self, now: Now, out: &mut Out) {
        if let Phase::Pending { .. }
        | Phase::Queued { sending: Sending::Never, .. }
        | Phase::Ended = self.phase
        {
            return;
        }
        if let Some(c) = &mut self.cancel {
            *c = Cancel::due(c.force, now.monotonic);
        }
        if let Phase::Queued { .. } | Phase::Sent { .. } = self.phase {
            return self.deliver(CommandCause::LinkBack, now, out);
        }
        if self.was_away() {
            self.publish(CommandCause::LinkBack, out);
        }
    }

    /// The agent is back and proves that it never began with it.
    fn never_came(&mut self, now: Now, out: &mut Out) {
        if self.cancel.is_some() {
            let cause = CommandCause::CancelledBeforeStart;
            return self.end(CommandStage::Cancelled, cause, None, now, out);
        }
        match self.phase {
            // It keeps its position in the queue.
            Phase::Queued { start_by, .. } => {
                self.phase = Phase::Queued { start_by, sending: Sending::Never };
            }
            Phase::Pending { .. }
            | Phase::Sent { .. }
            | Phase::Delivered { .. }
            | Phase::Running { .. }
            | Phase::Ended => {
                out.push(CommandAction::Send);
                self.sent(1, now);
            }
        }
    }

    pub(super) fn link_lost(&mut self) {
        self.link = self.link.lost();
    }

    /// Nothing is lost, and nothing is shown, unless the other link does not come.
    pub(super) fn link_handed_over(&mut self, now: Now) {
        self.link = self.link.handed_over(now.monotonic);
    }

    /// Says that the link is lost, of a command that its agent has.
    pub(super) fn publish_loss(&mut self, out: &mut Out) {
        if self.view.status.occupies_slot() {
            self.publish(CommandCause::LinkLost, out);
        }
    }

    /// From now on its agent is awaited, with a deadline.
    pub(super) fn await_agent(&mut self, now: Now) {
        self.link = Link::awaited(now.monotonic, self.origin.away_for());
    }

    pub(super) fn agent_lost(&mut self, journals: bool, now: Now, out: &mut Out) {
        self.link_lost();
        match self.phase {
            Phase::Pending { .. } | Phase::Queued { sending: Sending::Never, .. }
                if self.dialect == Dialect::Legacy =>
            {
                // Nothing waits for a wrapper: it could not prove later that it never got the command (P-195).
                self.end(CommandStage::Failed, CommandCause::NeverSent, None, now, out);
            }
            Phase::Pending { .. }
            | Phase::Queued { sending: Sending::Never, .. }
            | Phase::Ended => {}
            Phase::Queued { .. }
            | Phase::Sent { .. }
            | Phase::Delivered { .. }
            | Phase::Running { .. }
                if journals && self.dialect == Dialect::Extended =>
            {
                self.await_agent(now);
                self.publish(CommandCause::AgentAway, out);
            }
            Phase::Queued { .. }
            | Phase::Sent { .. }
            | Phase::Delivered { .. }
            | Phase::Running { .. } => {
                self.end(CommandStage::Unknown, CommandCause::AgentLost, None, now, out);
            }
        }
    }
}
