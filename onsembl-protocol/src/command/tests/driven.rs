//! A [`CommandLifecycle`] in virtual time, driven by the tests of this folder.

use super::{now, secs};
use crate::command::{
    CommandAction, CommandEvent, CommandLifecycle, CommandOrigin, CommandStage, CommandTerms,
    CommandView, Exit, Returned,
};
use crate::model::{CommandAckStatus, CommandPhase, Dialect};
use crate::time::Deadline;
use std::prelude::rust_2024::*;
use std::time::Duration;

pub(super) struct Lifecycle {
    pub(super) machine: CommandLifecycle,
    pub(super) at: Duration,
    pub(super) log: Vec<CommandAction>,
}

impl Lifecycle {
    pub(super) fn new(dialect: Dialect) -> Self {
        let terms = CommandTerms { time_limit: Some(secs(60)), ..CommandTerms::default() };
        Self::of(CommandLifecycle::new(dialect, terms, true, now(Duration::ZERO)))
    }

    pub(super) fn of(machine: CommandLifecycle) -> Self {
        Self { machine, at: Duration::ZERO, log: Vec::new() }
    }

    /// One that an earlier run of the server left.
    pub(super) fn recovered(terms: CommandTerms, stage: CommandStage) -> Self {
        let at = now(Duration::ZERO);
        Self::of(CommandLifecycle::recovered(CommandOrigin::User, terms, stage, at))
    }

    pub(super) fn sent(dialect: Dialect) -> Self {
        let mut lifecycle = Self::new(dialect);
        lifecycle.feed(CommandEvent::Stored);
        lifecycle.feed(CommandEvent::SlotGranted);
        lifecycle
    }

    pub(super) fn running() -> Self {
        let mut lifecycle = Self::sent(Dialect::Extended);
        lifecycle.feed(CommandEvent::Acknowledged(CommandAckStatus::Executing));
        lifecycle
    }

    pub(super) fn feed(&mut self, event: CommandEvent) -> Vec<CommandAction> {
        let step = self.machine.handle(event, now(self.at));
        let actions: Vec<CommandAction> = step.actions.into_iter().collect();
        self.log.extend(&actions);
        actions
    }

    pub(super) fn run_until(&mut self, until: Duration) {
        while let Deadline::At(at) = self.machine.deadline()
            && at.since_origin() <= until
        {
            self.at = at.since_origin();
            self.feed(CommandEvent::Wake);
        }
        self.at = until;
    }

    pub(super) fn view(&self) -> CommandView {
        self.machine.view()
    }

    pub(super) fn stage(&self) -> CommandStage {
        self.view().status
    }

    pub(super) fn sendings(&self) -> usize {
        self.log.iter().filter(|a| **a == CommandAction::Send).count()
    }

    pub(super) fn cancels(&self) -> usize {
        self.log.iter().filter(|a| matches!(a, CommandAction::SendCancel { .. })).count()
    }

    pub(super) fn back(&mut self, same_process: bool, known: bool) {
        let dialect = Dialect::Extended;
        let back = Returned { dialect, same_process, remembers: false, known };
        self.feed(CommandEvent::LinkBack(back));
    }

    pub(super) fn legacy_back(&mut self) {
        let dialect = Dialect::Legacy;
        let back = Returned { dialect, same_process: true, remembers: false, known: false };
        self.feed(CommandEvent::LinkBack(back));
    }

    pub(super) fn remembers(&mut self, known: bool) {
        let dialect = Dialect::Extended;
        let back = Returned { dialect, same_process: false, remembers: true, known };
        self.feed(CommandEvent::LinkBack(back));
    }

    pub(super) fn complete(
        &mut self,
        phase: CommandPhase,
        exit: Option<Exit>,
    ) -> Vec<CommandAction> {
        self.feed(CommandEvent::Completed { phase, exit })
    }
}
