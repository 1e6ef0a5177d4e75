//! The lifecycle of a command on the server: pending, queued, delivered, running, cancelling, ended.
//!
//! It only goes forward, ends once, and ends for a reason that it names. A lost link ends nothing:
//! the process may well continue, and the agent will say so. When its turn comes is decided by the
//! [`CommandQueue`](super::CommandQueue) of its agent.

mod absence;
mod cancel;
mod event;
mod link;
mod terms;
mod view;

pub(crate) use event::{CommandAction, CommandEvent, Returned};
pub use terms::CommandOrigin;
pub(crate) use terms::CommandTerms;
pub use view::{CommandCause, CommandStage, CommandView};

use crate::model::{CommandAckStatus, CommandPhase, Dialect, Exit, Force};
use crate::step::{Actions, Step};
use crate::time::{Deadline, Now, Timestamp};
use cancel::{Cancel, Repetition};
use core::time::Duration;
use link::Link;

/// How long the store may take to accept a command.
const STORE_WITHIN: Duration = Duration::from_secs(30);
/// How long to wait for an acknowledgement before sending again. The agent knows repetitions.
const RESEND_AFTER: Duration = Duration::from_secs(10);
/// How long an agent may say that a command waits for others. Ours starts at once; a day is longer
/// than any useful queue.
const QUEUED_FOR: Duration = Duration::from_secs(24 * 3600);
/// How often a request is sent before an agent that lives but never answers is given up.
const SENDINGS: u8 = 6;
/// How long an agent may overrun a time limit before the server cancels by itself.
const LIMIT_GRACE: Duration = Duration::from_secs(5);
/// How long a legacy command may be without output before its end is unknown: its wrapper reports none.
const LEGACY_IDLE: Duration = Duration::from_secs(600);

/// One command, from its acceptance to its end. A [reducer](crate::step#two-contracts).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CommandLifecycle {
    dialect: Dialect,
    origin: CommandOrigin,
    terms: CommandTerms,
    phase: Phase,
    link: Link,
    cancel: Option<Cancel>,
    view: CommandView,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Pending { store_by: Timestamp },
    Queued { start_by: Timestamp, sending: Sending },
    Sent { times: u8, again_at: Timestamp },
    Delivered { until: Timestamp },
    Running { limit_at: Option<Timestamp>, idle_at: Option<Timestamp> },
    Ended,
}

/// Whether a command that waits may have been sent before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    /// It was not, so it can be sent without risk.
    Never,
    /// An earlier run of this server may have sent it.
    Maybe,
}

type Out = Actions<CommandAction>;

impl CommandLifecycle {
    /// A command that the server took now, for an agent of this dialect that has a session or is
    /// away.
    pub(crate) fn new(dialect: Dialect, terms: CommandTerms, linked: bool, now: Now) -> Self {
        Self {
            dialect,
            origin: CommandOrigin::User,
            terms,
            phase: Phase::Pending { store_by: now.monotonic.saturating_add(STORE_WITHIN) },
            link: if linked { Link::Up } else { Link::Down },
            cancel: None,
            view: CommandView {
                status: CommandStage::Pending,
                because: CommandCause::Accepted,
                exit: None,
                started_at: None,
                ended_at: None,
            },
        }
    }

    /// A command that its agent, which is in session, began by itself.
    pub(crate) fn opened(dialect: Dialect, now: Now) -> Self {
        let terms = CommandTerms::default();
        Self { origin: CommandOrigin::Agent, ..Self::new(dialect, terms, true, now) }
    }

    /// A command that its agent, which is in session, has and this server did not know.
    pub(crate) fn adopted(now: Now) -> Self {
        let terms = CommandTerms::default();
        let mut lifecycle = Self::new(Dialect::Extended, terms, true, now);
        lifecycle.origin = CommandOrigin::Adopted;
        lifecycle.phase = Phase::Delivered { until: now.monotonic.saturating_add(QUEUED_FOR) };
        lifecycle.view.status = CommandStage::Delivered;
        lifecycle.view.because = CommandCause::Adopted;
        lifecycle
    }

    /// A command that an earlier run of this server had not seen the end of. Its agent is away.
    /// What remains of its wait is in the terms.
    pub(crate) fn recovered(
        origin: CommandOrigin,
        terms: CommandTerms,
        stage: CommandStage,
        now: Now,
    ) -> Self {
        // What it speaks it says when it is back.
        let mut lifecycle = Self { origin, ..Self::new(Dialect::Extended, terms, false, now) };
        let stage = match origin {
            CommandOrigin::User => stage,
            CommandOrigin::Agent => stage.max(CommandStage::Running),
            CommandOrigin::Adopted => stage.max(CommandStage::Delivered),
        };
        let at = now.monotonic;
        lifecycle.phase = match stage {
            CommandStage::Pending | CommandStage::Queued => Phase::Queued {
                start_by: at.saturating_add(terms.start_within),
                sending: Sending::Maybe,
            },
            CommandStage::Delivered => Phase::Delivered { until: at.saturating_add(QUEUED_FOR) },
            // Whether silence counts is known when its agent is back and says what it speaks.
            CommandStage::Running => {
                // The whole of it: how long it ran before only the wall clock says, and nothing is killed on
                // one reading of that. The agent, which has seen it start, keeps the limit by itself.
                let limit = terms.time_limit;
                let limit_at = limit.map(|d| at.saturating_add(d).saturating_add(LIMIT_GRACE));
                Phase::Running { limit_at, idle_at: None }
            }
            CommandStage::Cancelling => {
                lifecycle.cancel = Some(Cancel::due(Force::Grace, at));
                Phase::Running { limit_at: None, idle_at: None }
            }
            CommandStage::Completed
            | CommandStage::Failed
            | CommandStage::Cancelled
            | CommandStage::Lost
            | CommandStage::Unknown => Phase::Ended,
        };
        // It is stored, or it would not be known.
        lifecycle.view.status = stage.max(CommandStage::Queued);
        lifecycle.view.because = CommandCause::ServerRestarted;
        lifecycle
    }

    /// Takes one event at one moment. Total; after the end nothing changes any more.
    pub(crate) fn handle(&mut self, event: CommandEvent, now: Now) -> Step<CommandAction> {
        let mut out = Out::none();
        if self.phase != Phase::Ended {
            self.live(event, now, &mut out);
        }
        Step { actions: out, deadline: self.deadline().after(now.monotonic) }
    }

    /// How the server came to it.
    pub(crate) const fn origin(&self) -> CommandOrigin {
        self.origin
    }

    /// Where it is.
    pub(crate) const fn view(&self) -> CommandView {
        self.view
    }

    /// Whether it was handed to its agent before, and is handed to it once more because nothing came back.
    pub(crate) const fn is_sent_again(&self) -> bool {
        matches!(self.phase, Phase::Sent { times: 2.., .. })
    }

    /// How often it was sent, and how long ago the last time, as long as nothing came back; `None` if an earlier
    /// run of this server may have sent it.
    pub(crate) fn sendings(&self, now: Now) -> Option<(u8, Duration)> {
        match self.phase {
            Phase::Queued { sending: Sending::Maybe, .. } => None,
            Phase::Sent { times, again_at } => {
                let to_go = again_at.saturating_since(now.monotonic);
                Some((times, self.resend_after().saturating_sub(to_go)))
            }
            Phase::Pending { .. }
            | Phase::Queued { sending: Sending::Never, .. }
            | Phase::Delivered { .. }
            | Phase::Running { .. }
            | Phase::Ended => Some((0, Duration::ZERO)),
        }
    }

    /// For how long the store has been asked to take it, as long as it has not.
    pub(crate) fn unstored_for(&self, now: Now) -> Option<Duration> {
        let Phase::Pending { store_by } = self.phase else { return None };
        Some(STORE_WITHIN.saturating_sub(store_by.saturating_since(now.monotonic)))
    }

    /// Whether [`CommandEvent::Output`] says anything new: not of an agent that reports what it runs, once
    /// that runs.
    pub(crate) const fn heeds_output(&self) -> bool {
        match self.phase {
            Phase::Queued { .. } | Phase::Sent { .. } | Phase::Delivered { .. } => true,
            Phase::Running { idle_at, .. } => idle_at.is_some(),
            Phase::Pending { .. } | Phase::Ended => false,
        }
    }

    /// Whether its agent may have it, and it has not started as far as is known.
    pub(crate) const fn is_before_start(&self) -> bool {
        match self.phase {
            Phase::Queued { .. } | Phase::Sent { .. } | Phase::Delivered { .. } => true,
            Phase::Pending { .. } | Phase::Running { .. } | Phase::Ended => false,
        }
    }

    /// Whether it has started, as far as is known.
    pub(crate) const fn has_started(&self) -> bool {
        match self.phase {
            Phase::Pending { .. }
            | Phase::Queued { .. }
            | Phase::Sent { .. }
            | Phase::Delivered { .. } => false,
            Phase::Running { .. } | Phase::Ended => true,
        }
    }

    /// When to call with [`CommandEvent::Wake`].
    pub(crate) fn deadline(&self) -> Deadline {
        let at = |t: Option<Timestamp>| t.map_or(Deadline::Never, Deadline::At);
        let cancel = match self.cancel {
            Some(c) if self.link == Link::Up && self.dialect == Dialect::Extended => {
                Deadline::At(c.again_at)
            }
            Some(_) | None => Deadline::Never,
        };
        let phase = match self.phase {
            Phase::Pending { store_by } => return Deadline::At(store_by),
            Phase::Queued { start_by, .. } => Deadline::At(start_by),
            Phase::Sent { again_at, .. } if self.link == Link::Up => Deadline::At(again_at),
            Phase::Sent { .. } => Deadline::Never,
            Phase::Delivered { until } => Deadline::At(until),
            Phase::Running { limit_at, idle_at } => at(limit_at).min(at(idle_at)),
            Phase::Ended => return Deadline::Never,
        };
        phase.min(cancel).min(self.link.deadline())
    }

    fn live(&mut self, event: CommandEvent, now: Now, out: &mut Out) {
        match event {
            CommandEvent::Stored => self.stored(now, out),
            CommandEvent::SlotGranted => self.grant_slot(now, out),
            CommandEvent::Acknowledged(status) => self.acknowledged(&status, now, out),
            CommandEvent::Output => self.output(now, out),
            CommandEvent::Completed { phase, exit } => self.completed(&phase, exit, now, out),
            CommandEvent::Cancel { force } => {
                let cause = match self.dialect {
                    Dialect::Extended => CommandCause::CancelSent,
                    Dialect::Legacy => CommandCause::CancelNotConfirmable,
                };
                self.cancel(force, cause, now, out);
            }
            CommandEvent::LinkLost => {
                self.link_lost();
                self.publish_loss(out);
            }
            CommandEvent::LinkHandedOver => self.link_handed_over(now),
            CommandEvent::LinkBack(returned) => self.link_back(returned, now, out),
            CommandEvent::AgentLost { journals } => self.agent_lost(journals, now, out),
            CommandEvent::AgentDeleted => {
                let (stage, cause) = match self.phase {
                    // Never sent, so it never ran; of any other that is unknown.
                    Phase::Queued { sending: Sending::Never, .. } => {
                        (CommandStage::Failed, CommandCause::AgentDeleted)
                    }
                    Phase::Pending { .. }
                    | Phase::Queued { .. }
                    | Phase::Sent { .. }
                    | Phase::Delivered { .. }
                    | Phase::Running { .. }
                    | Phase::Ended => (CommandStage::Unknown, CommandCause::AgentLost),
                };
                self.end(stage, cause, None, now, out);
            }
            CommandEvent::NextCommand => {
                let may_be_it =
                    self.dialect == Dialect::Legacy && self.origin == CommandOrigin::User;
                if may_be_it && matches!(self.phase, Phase::Running { .. }) {
                    let cause = CommandCause::LegacyMovedOn;
                    self.end(CommandStage::Unknown, cause, None, now, out);
                }
            }
            CommandEvent::Wake => self.wake(now, out),
        }
    }

    fn stored(&mut self, now: Now, out: &mut Out) {
        let Phase::Pending { .. } = self.phase else { return };
        // It runs already: nothing is sent, and its turn is not awaited.
        if self.origin == CommandOrigin::Agent {
            if self.link != Link::Up {
                self.await_agent(now);
            }
            self.run(CommandCause::OpenedByAgent, now, out);
            if let Some(Cancel { force, .. }) = self.cancel {
                self.cancel(force, CommandCause::CancelSent, now, out);
            }
            return;
        }
        if self.cancel.is_some() {
            let cause = CommandCause::CancelledBeforeSent;
            return self.end(CommandStage::Cancelled, cause, None, now, out);
        }
        let start_by = now.monotonic.saturating_add(self.terms.start_within);
        self.phase = Phase::Queued { start_by, sending: Sending::Never };
        self.view.status = CommandStage::Queued;
        self.publish(
            match self.link {
                Link::Up | Link::HandedOver { .. } => CommandCause::Waits,
                Link::Down | Link::Awaited { .. } => CommandCause::WaitsForAgent,
            },
            out,
        );
    }

    fn grant_slot(&mut self, now: Now, out: &mut Out) {
        let Phase::Queued { .. } = self.phase else { return };
        if self.link != Link::Up {
            return;
        }
        out.push(CommandAction::Send);
        match self.dialect {
            // A wrapper acknowledges nothing: what was sent counts as running.
            Dialect::Legacy => self.run(CommandCause::SentToLegacy, now, out),
            Dialect::Extended => self.sent(1, now),
        }
    }

    fn sent(&mut self, times: u8, now: Now) {
        let again_at = now.monotonic.saturating_add(self.resend_after());
        self.phase = Phase::Sent { times, again_at };
    }

    const fn resend_after(&self) -> Duration {
        RESEND_AFTER.saturating_add(self.terms.on_its_way)
    }

    fn acknowledged(&mut self, status: &CommandAckStatus, now: Now, out: &mut Out) {
        match (status, self.phase) {
            (
                CommandAckStatus::Executing,
                Phase::Queued { .. } | Phase::Sent { .. } | Phase::Delivered { .. },
            ) => self.run(CommandCause::Started, now, out),
            (
                CommandAckStatus::Received
                | CommandAckStatus::Queued
                | CommandAckStatus::Unknown(_),
                Phase::Queued { .. } | Phase::Sent { .. },
            ) => self.deliver(CommandCause::AgentHasIt, now, out),
            (
                CommandAckStatus::Executing
                | CommandAckStatus::Received
                | CommandAckStatus::Queued
                | CommandAckStatus::Unknown(_),
                Phase::Pending { .. }
                | Phase::Delivered { .. }
                | Phase::Running { .. }
                | Phase::Ended,
            ) => {}
        }
    }

    fn deliver(&mut self, cause: CommandCause, now: Now, out: &mut Out) {
        self.phase = Phase::Delivered { until: now.monotonic.saturating_add(QUEUED_FOR) };
        self.reach(CommandStage::Delivered, cause, out);
    }

    fn output(&mut self, now: Now, out: &mut Out) {
        match &mut self.phase {
            Phase::Queued { .. } | Phase::Sent { .. } | Phase::Delivered { .. } => {
                self.run(CommandCause::Started, now, out);
            }
            Phase::Running { idle_at, .. } => {
                if let Some(idle_at) = idle_at {
                    *idle_at = now.monotonic.saturating_add(LEGACY_IDLE);
                    self.heard_of(out);
                }
            }
            Phase::Pending { .. } | Phase::Ended => {}
        }
    }

    /// Output of a command of a legacy agent came: why it is where it is says nothing of a lost link any
    /// more.
    fn heard_of(&mut self, out: &mut Out) {
        let was_away = matches!(
            self.view.because,
            CommandCause::LinkLost | CommandCause::ServerRestarted | CommandCause::LegacyBack
        );
        if was_away {
            let cause = match self.cancel {
                Some(_) => CommandCause::CancelNotConfirmable,
                None => CommandCause::SentToLegacy,
            };
            self.publish(cause, out);
        }
    }

    fn run(&mut self, cause: CommandCause, now: Now, out: &mut Out) {
        let at = now.monotonic;
        // A terminal is silent for as long as it is not used.
        let may_idle_out = self.dialect == Dialect::Legacy && self.origin == CommandOrigin::User;
        let idle = may_idle_out.then(|| at.saturating_add(LEGACY_IDLE));
        let limit = self.terms.time_limit.map(|d| at.saturating_add(d).saturating_add(LIMIT_GRACE));
        self.phase = Phase::Running { limit_at: limit, idle_at: idle };
        self.view.started_at = Some(now.wall);
        self.reach(CommandStage::Running, cause, out);
    }

    /// A stage that was reached; a cancelled command stays shown as cancelling.
    fn reach(&mut self, stage: CommandStage, cause: CommandCause, out: &mut Out) {
        if self.view.status < stage {
            self.view.status = stage;
            self.publish(cause, out);
        } else {
            self.publish(self.view.because, out);
        }
    }

    fn completed(&mut self, phase: &CommandPhase, exit: Option<Exit>, now: Now, out: &mut Out) {
        let reported = CommandCause::AgentReported(exit);
        let (stage, cause) = match (phase, exit) {
            // A process that was ended has an exit: without one there was no process.
            (CommandPhase::Cancelled, None) if self.dialect == Dialect::Extended => {
                (CommandStage::Cancelled, CommandCause::CancelledBeforeStart)
            }
            (CommandPhase::Cancelled, _) => (CommandStage::Cancelled, reported),
            (CommandPhase::Lost, _) => (CommandStage::Lost, CommandCause::AgentDied),
            (CommandPhase::OutcomeUnknown, _) => (CommandStage::Unknown, CommandCause::EndNotSeen),
            // Typed into a terminal: the program that read it continues.
            (CommandPhase::Completed, None) if self.dialect == Dialect::Extended => {
                (CommandStage::Completed, CommandCause::Typed)
            }
            (CommandPhase::Completed, None) => (CommandStage::Completed, reported),
            // A process that was ended at its time limit may still exit with 0.
            (CommandPhase::Failed, _) => (CommandStage::Failed, reported),
            (_, Some(exit)) if exit.success() => (CommandStage::Completed, reported),
            (_, Some(_) | None) => (CommandStage::Failed, reported),
        };
        self.end(stage, cause, exit, now, out);
    }

    fn cancel(&mut self, force: Force, cause: CommandCause, now: Now, out: &mut Out) {
        // Its agent never had it, so nothing has to be confirmed.
        if let Phase::Queued { sending: Sending::Never, .. } = self.phase {
            let cause = CommandCause::CancelledBeforeSent;
            return self.end(CommandStage::Cancelled, cause, None, now, out);
        }
        let at = now.monotonic;
        let cancel = Cancel::ordered(self.cancel, force, at);
        self.cancel = Some(cancel);
        // It ends when its row is stored, and is not sent.
        if let Phase::Pending { .. } = self.phase {
            return self.publish(cause, out);
        }
        if self.link == Link::Up {
            out.push(CommandAction::SendCancel { force: cancel.force });
        }
        self.view.status = CommandStage::Cancelling;
        self.publish(cause, out);
    }

    fn wake(&mut self, now: Now, out: &mut Out) {
        let at = now.monotonic;
        if let Link::Awaited { until } = self.link
            && until <= at
        {
            let cause = CommandCause::NeverCameBack(self.origin.away_for());
            return self.end(CommandStage::Unknown, cause, None, now, out);
        }
        if let Link::HandedOver { until } = self.link
            && until <= at
        {
            self.link_lost();
            // What else is due follows at once.
            return self.publish_loss(out);
        }
        match self.phase {
            Phase::Pending { store_by } if store_by <= at => {
                let cause = CommandCause::NotStored;
                return self.end(CommandStage::Failed, cause, None, now, out);
            }
            Phase::Queued { start_by, sending } if start_by <= at => {
                let (stage, cause) = match sending {
                    Sending::Maybe => (CommandStage::Unknown, CommandCause::NeverAcknowledged),
                    Sending::Never => {
                        let waited = self.terms.start_within;
                        (CommandStage::Failed, CommandCause::NotStartedInTime(waited))
                    }
                };
                return self.end(stage, cause, None, now, out);
            }
            Phase::Sent { times, again_at } if again_at <= at && self.link == Link::Up => {
                // P-98.
                if times >= SENDINGS {
                    let cause = CommandCause::NeverAcknowledged;
                    return self.end(CommandStage::Unknown, cause, None, now, out);
                }
                self.sent(times + 1, now);
                out.push(CommandAction::Send);
            }
            Phase::Delivered { until } if until <= at => {
                let cause = CommandCause::NeverStarted;
                return self.end(CommandStage::Unknown, cause, None, now, out);
            }
            Phase::Running { idle_at: Some(idle_at), .. } if idle_at <= at => {
                let cause = CommandCause::LegacyIdle;
                return self.end(CommandStage::Unknown, cause, None, now, out);
            }
            Phase::Running { limit_at: Some(limit_at), idle_at } if limit_at <= at => {
                self.phase = Phase::Running { limit_at: None, idle_at };
                let limit = self.terms.time_limit.unwrap_or_default();
                let cause = match (self.dialect, self.cancel) {
                    (Dialect::Extended, _) => CommandCause::TimeLimit(limit),
                    // It is unknown whether it still ran.
                    (Dialect::Legacy, None) => CommandCause::LegacyTimeLimit(limit),
                    (Dialect::Legacy, Some(_)) => self.view.because,
                };
                self.cancel(Force::AtOnce, cause, now, out);
                return;
            }
            Phase::Pending { .. }
            | Phase::Queued { .. }
            | Phase::Sent { .. }
            | Phase::Delivered { .. }
            | Phase::Running { .. }
            | Phase::Ended => {}
        }
        if let Some(cancel) = &mut self.cancel
            && cancel.again_at <= at
            && self.link == Link::Up
            && self.dialect == Dialect::Extended
        {
            let repetition = cancel.repeat(at);
            out.push(CommandAction::SendCancel { force: cancel.force });
            if repetition == Repetition::Overdue && self.view.status == CommandStage::Cancelling {
                self.publish(CommandCause::CancelUnconfirmed, out);
            }
        }
    }

    fn publish(&mut self, because: CommandCause, out: &mut Out) {
        self.view.because = because;
        out.push(CommandAction::Publish(self.view));
    }

    fn end(
        &mut self,
        stage: CommandStage,
        cause: CommandCause,
        exit: Option<Exit>,
        now: Now,
        out: &mut Out,
    ) {
        self.phase = Phase::Ended;
        self.view.status = stage;
        self.view.exit = exit;
        self.view.ended_at = Some(now.wall);
        self.publish(cause, out);
    }
}
