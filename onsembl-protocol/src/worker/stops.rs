//! What is to end without its user having asked for it: by an emergency stop, with the agent, or because it outlived the
//! command that started it.

use super::background::{Background, GRACE};
use super::emergency::EmergencyStop;
use super::event::WorkerAction;
use super::outputs::Outputs;
use super::report::LeftRunning;
use super::run_stop::RunSignal;
use super::shutdown::Shutdown;
use crate::command::Remains;
use crate::id::CommandId;
use crate::model::Force;
use crate::time::{Deadline, Timestamp};

/// The orders to end that are in force, and what they still have to end.
#[derive(Debug)]
pub(super) struct Stops {
    pub(super) emergency: EmergencyStop,
    pub(super) background: Background,
    pub(super) shutdown: Option<Shutdown>,
}

impl Stops {
    /// Whether the agent ends.
    pub(super) const fn is_ending(&self) -> bool {
        self.shutdown.is_some()
    }

    /// Something of a command lives that has ended itself. What becomes of that.
    pub(super) fn leave(
        &mut self,
        id: &CommandId,
        processes: Remains,
        out: &mut Outputs,
    ) -> LeftRunning {
        let force = match self.background.leave(id, processes) {
            // It may have been born while the others were killed.
            _ if self.emergency.is_latched() || self.background.is_being_killed() => {
                Some(Force::AtOnce)
            }
            force => force,
        };
        match force {
            None => LeftRunning::Kept,
            Some(force) => {
                out.act(end_process(id, force));
                LeftRunning::BeingEnded
            }
        }
    }

    /// Ends what commands left that have ended.
    pub(super) fn stop_background(&self, force: Force, out: &mut Outputs) {
        self.background.ids().for_each(|id| out.act(end_process(id, force)));
    }

    /// The agent ends, and everything that lives in its tree with it, within one grace from now on. Commands and what
    /// they left are ended beside this; here it is what belongs to one of several, whichever.
    pub(super) fn begin_leaving(
        &mut self,
        force: Force,
        runs: bool,
        now: Timestamp,
        out: &mut Outputs,
    ) {
        self.background.begin_leaving(force, now);
        // Killing comes by its own deadline.
        match force {
            Force::Grace if runs || !self.background.is_empty() => {
                out.act(WorkerAction::Sweep(RunSignal::End));
            }
            Force::Grace | Force::AtOnce => {}
        }
    }

    /// Ends what is due to be ended. `runs`: whether a command does.
    pub(super) fn look_after_background(&mut self, runs: bool, now: Timestamp, out: &mut Outputs) {
        if !runs
            && !self.background.is_empty()
            && let Some(shutdown) = self.shutdown.as_mut().filter(|shutdown| shutdown.is_patient())
        {
            // Only now: what still ran may have started more.
            shutdown.on_only_background(now);
            self.stop_background(Force::Grace, out);
            self.begin_leaving(Force::Grace, runs, now, out);
        }
        if (runs || !self.background.is_empty()) && self.background.take_killing(now) {
            self.stop_background(Force::AtOnce, out);
            out.act(WorkerAction::Sweep(RunSignal::Kill));
        }
        // What is asked to end may still start what it was about to.
        if !runs && self.emergency.is_latched() && self.background.take_sweep(now) {
            out.act(WorkerAction::Sweep(RunSignal::Kill));
        }
    }

    /// When something is due to be ended.
    pub(super) fn deadline(&self, runs: bool) -> Deadline {
        let killing = match runs || !self.background.is_empty() {
            true => self.background.killing_at(),
            false => Deadline::Never,
        };
        // Before, nothing is swept.
        let sweep = if runs { Deadline::Never } else { self.background.deadline() };
        killing.min(sweep)
    }
}

/// Ends what runs under this id, with a grace or without.
pub(super) fn end_process(id: &CommandId, force: Force) -> WorkerAction {
    match force {
        Force::Grace => WorkerAction::Cancel { command: id.clone(), grace: GRACE },
        Force::AtOnce => WorkerAction::Kill(id.clone()),
    }
}
