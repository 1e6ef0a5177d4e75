//! The life of a command on the server: pending, sent, queued, running, ended.
//!
//! It only goes forward, ends once, and ends for a reason that it names. A lost link ends nothing:
//! the process may well go on, and the agent will say so.

use super::outcome::Exit;
use crate::session::Dialect;
use crate::step::{Actions, Step};
use crate::time::{Deadline, Human, Now, Timestamp, WallTime};
use crate::wire::payload::{CommandAckStatus, CommandPhase};
use core::fmt;
use core::time::Duration;

/// How long the store may take to accept a command.
const STORE_WITHIN: Duration = Duration::from_secs(30);
/// How long to wait for an acknowledgement before sending again. The agent knows repetitions.
const RESEND_AFTER: Duration = Duration::from_secs(10);
/// How long an agent may say that a command waits for others. Ours starts at once; a day is longer
/// than any queue that somebody still wants.
const QUEUED_FOR: Duration = Duration::from_secs(24 * 3600);
/// How often a request is sent before an agent that lives but never answers is given up.
const SENDINGS: u8 = 6;
/// How long an agent may overrun a time limit before the server cancels by itself.
const LIMIT_GRACE: Duration = Duration::from_secs(5);
/// How often a cancel is repeated until the agent says that the process is gone.
const CANCEL_EVERY: Duration = Duration::from_secs(5);
/// After so long without output the end of a legacy command is unknown: its wrapper reports none.
const LEGACY_IDLE: Duration = Duration::from_secs(600);

/// One command, from its acceptance to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandLife {
    dialect: Dialect,
    time_limit: Option<Duration>,
    phase: Phase,
    linked: bool,
    cancel: Option<Cancel>,
    view: CommandView,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Pending { store_by: Timestamp },
    Sent { times: u8, again_at: Timestamp },
    Queued { until: Timestamp },
    Running { limit_at: Option<Timestamp>, idle_at: Option<Timestamp> },
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cancel {
    force: bool,
    again_at: Timestamp,
}

/// What happens to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandEvent {
    /// It is committed to the database.
    Stored,
    /// The store refused it.
    StoreRefused,
    /// The agent acknowledged it.
    Acknowledged(CommandAckStatus),
    /// Output of it came.
    Output,
    /// The agent reported its end.
    Completed {
        /// What the agent says it was.
        phase: CommandPhase,
        /// How the process ended, if there was one.
        exit: Option<Exit>,
    },
    /// Its user wants it gone.
    Cancel {
        /// Without grace.
        force: bool,
    },
    /// The agent has no link any more.
    LinkLost,
    /// The agent has a session again.
    LinkBack {
        /// Whether it is still the same process.
        same_process: bool,
        /// Whether it says that it knows the command.
        known: bool,
    },
    /// The agent is gone, and nobody waits for it any more.
    AgentGone,
    /// A legacy agent got its next command.
    NextCommand,
    /// The deadline came; harmless at any other time.
    Wake,
}

/// What to do for a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandAction {
    /// Send it to the agent.
    Send,
    /// Send its cancellation to the agent.
    SendCancel {
        /// Without grace.
        force: bool,
    },
    /// Store and publish where it is.
    Publish(CommandView),
}

/// Where a command is, as people see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandView {
    /// Where it is in its life.
    pub status: CommandStage,
    /// Why.
    pub because: CommandCause,
    /// How its process ended.
    pub exit: Option<Exit>,
    /// When it was first known to run.
    pub started_at: Option<WallTime>,
    /// When it ended.
    pub ended_at: Option<WallTime>,
}

/// The stages of a command, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CommandStage {
    /// Accepted, not acknowledged by the agent.
    Pending,
    /// The agent has it.
    Queued,
    /// Its process runs.
    Running,
    /// Exit code 0.
    Completed,
    /// Any other end.
    Failed,
    /// Cancelled, and confirmed to be gone.
    Cancelled,
    /// Over, and nobody can say how.
    Unknown,
}

impl CommandStage {
    /// The word of the wire for it.
    pub fn phase(self) -> CommandPhase {
        match self {
            Self::Pending => CommandPhase::Pending,
            Self::Queued => CommandPhase::Queued,
            Self::Running => CommandPhase::Running,
            Self::Completed => CommandPhase::Completed,
            Self::Failed => CommandPhase::Failed,
            Self::Cancelled => CommandPhase::Cancelled,
            Self::Unknown => CommandPhase::OutcomeUnknown,
        }
    }

    /// Whether it is over.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Pending | Self::Queued | Self::Running => false,
            Self::Completed | Self::Failed | Self::Cancelled | Self::Unknown => true,
        }
    }
}

/// Why a command is where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandCause {
    /// The server took it.
    Accepted,
    /// The agent acknowledged it.
    AgentHasIt,
    /// Its process runs.
    Started,
    /// A legacy agent got it; whether it runs is not reported.
    SentToLegacy,
    /// Its user cancelled it; the agent has not confirmed yet.
    CancelSent,
    /// Its user cancelled it before it went to the agent.
    CancelledBeforeSent,
    /// Its user cancelled it, but this kind of agent cannot confirm.
    CancelNotConfirmable,
    /// It ran longer than it may.
    TimeLimit(Duration),
    /// The agent reported the end.
    AgentReported(Option<Exit>),
    /// The link is lost; the process may go on.
    LinkLost,
    /// The link is back.
    LinkBack,
    /// The database could not take it.
    NotStored,
    /// The agent lives, but never acknowledged it.
    NeverAcknowledged,
    /// The agent had it wait for a day and never started it.
    NeverStarted,
    /// The agent process that had it is gone.
    AgentRestarted,
    /// The agent is gone: stopped, sent away, or not back in time.
    AgentGone,
    /// The agent is back and does not know it.
    Forgotten,
    /// A legacy agent reports no end; it got its next command.
    LegacyMovedOn,
    /// A legacy agent reports no end; it was silent for so long.
    LegacyIdle,
    /// The server restarted before it was done.
    ServerRestarted,
}

impl fmt::Display for CommandCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted => f.write_str("accepted"),
            Self::AgentHasIt => f.write_str("acknowledged by the agent"),
            Self::Started => f.write_str("its process runs"),
            Self::SentToLegacy => {
                f.write_str("sent to a legacy agent, which reports neither start nor end")
            }
            Self::CancelSent => f.write_str("cancel sent, not confirmed yet"),
            Self::CancelledBeforeSent => f.write_str("cancelled before it went to the agent"),
            Self::CancelNotConfirmable => {
                f.write_str("cancel not confirmed: this kind of agent cannot")
            }
            Self::TimeLimit(d) => write!(f, "it ran longer than its limit of {}", Human(*d)),
            Self::AgentReported(Some(exit)) => fmt::Display::fmt(exit, f),
            Self::AgentReported(None) => f.write_str("the agent could not run it"),
            Self::LinkLost => f.write_str("the link to the agent is lost; its process may go on"),
            Self::LinkBack => f.write_str("the agent is back and still has it"),
            Self::NotStored => f.write_str("the database could not take it; try again"),
            Self::NeverAcknowledged => {
                f.write_str("the agent lives but never acknowledged it; whether it ran is unknown")
            }
            Self::NeverStarted => {
                f.write_str("the agent had it wait for a day and never started it")
            }
            Self::AgentRestarted => {
                f.write_str("the agent process that had it is gone; how it ended is unknown")
            }
            Self::AgentGone => f.write_str("the agent is gone; how it ended is unknown"),
            Self::Forgotten => f.write_str("the agent is back and does not know it any more"),
            Self::LegacyMovedOn => {
                f.write_str("a legacy agent got its next command; how this one ended is unknown")
            }
            Self::LegacyIdle => {
                f.write_str("a legacy agent wrote nothing for 10m; how it ended is unknown")
            }
            Self::ServerRestarted => f.write_str("server restarted; the agent will say"),
        }
    }
}

type Did = Actions<CommandAction>;

impl CommandLife {
    /// A command that the server took now, for an agent of this dialect.
    pub fn new(dialect: Dialect, time_limit: Option<Duration>, now: Now) -> Self {
        Self {
            dialect,
            time_limit,
            phase: Phase::Pending { store_by: now.monotonic.saturating_add(STORE_WITHIN) },
            linked: true,
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

    /// A command that an earlier run of this server had not seen the end of. Its agent is away.
    pub fn recovered(dialect: Dialect, stage: CommandStage, now: Now) -> Self {
        let mut life = Self::new(dialect, None, now);
        life.linked = false;
        life.phase = match stage {
            CommandStage::Pending => {
                Phase::Sent { times: 0, again_at: now.monotonic.saturating_add(RESEND_AFTER) }
            }
            CommandStage::Queued => {
                Phase::Queued { until: now.monotonic.saturating_add(QUEUED_FOR) }
            }
            CommandStage::Running => Phase::Running { limit_at: None, idle_at: None },
            CommandStage::Completed
            | CommandStage::Failed
            | CommandStage::Cancelled
            | CommandStage::Unknown => Phase::Ended,
        };
        life.view.status = stage;
        life.view.because = CommandCause::ServerRestarted;
        life
    }

    /// Takes one event at one moment. Total; after the end nothing changes any more.
    pub fn handle(&mut self, event: CommandEvent, now: Now) -> Step<CommandAction> {
        let mut did = Did::none();
        if self.phase != Phase::Ended {
            self.live(event, now, &mut did);
        }
        Step { actions: did, deadline: self.deadline().after(now.monotonic) }
    }

    /// Where it is.
    pub const fn view(&self) -> CommandView {
        self.view
    }

    /// When to call with [`CommandEvent::Wake`].
    pub fn deadline(&self) -> Deadline {
        let cancel = match self.cancel {
            Some(c) if self.linked && self.dialect == Dialect::Extended => Deadline::At(c.again_at),
            Some(_) | None => Deadline::Never,
        };
        let phase = match self.phase {
            Phase::Pending { store_by } => Deadline::At(store_by),
            Phase::Sent { again_at, .. } if self.linked => Deadline::At(again_at),
            Phase::Sent { .. } => Deadline::Never,
            Phase::Queued { until } => Deadline::At(until),
            Phase::Running { limit_at, idle_at } => {
                let at = |t: Option<Timestamp>| t.map_or(Deadline::Never, Deadline::At);
                at(limit_at).min(at(idle_at))
            }
            Phase::Ended => return Deadline::Never,
        };
        phase.min(cancel)
    }

    fn live(&mut self, event: CommandEvent, now: Now, did: &mut Did) {
        let at = now.monotonic;
        match event {
            CommandEvent::Stored => self.stored(now, did),
            CommandEvent::StoreRefused => {
                self.end(CommandStage::Failed, CommandCause::NotStored, None, now, did);
            }
            CommandEvent::Acknowledged(status) => self.acknowledged(&status, now, did),
            CommandEvent::Output => self.output(now, did),
            CommandEvent::Completed { phase, exit } => self.completed(&phase, exit, now, did),
            CommandEvent::Cancel { force } => {
                let cause = match self.dialect {
                    Dialect::Extended => CommandCause::CancelSent,
                    Dialect::Legacy => CommandCause::CancelNotConfirmable,
                };
                self.cancel(force, cause, now, did);
            }
            CommandEvent::LinkLost => {
                self.linked = false;
                if self.view.status == CommandStage::Running {
                    self.publish(CommandCause::LinkLost, did);
                }
            }
            CommandEvent::LinkBack { same_process, known } => {
                self.link_back(same_process, known, now, did);
            }
            CommandEvent::AgentGone => {
                self.end(CommandStage::Unknown, CommandCause::AgentGone, None, now, did);
            }
            CommandEvent::NextCommand => {
                if self.dialect == Dialect::Legacy && self.view.status == CommandStage::Running {
                    let cause = CommandCause::LegacyMovedOn;
                    self.end(CommandStage::Unknown, cause, None, now, did);
                }
            }
            CommandEvent::Wake => self.wake(at, now, did),
        }
    }

    fn stored(&mut self, now: Now, did: &mut Did) {
        let Phase::Pending { .. } = self.phase else { return };
        if self.cancel.is_some() {
            let cause = CommandCause::CancelledBeforeSent;
            return self.end(CommandStage::Cancelled, cause, None, now, did);
        }
        let again_at = now.monotonic.saturating_add(RESEND_AFTER);
        self.phase = Phase::Sent { times: 1, again_at };
        if self.linked {
            did.push(CommandAction::Send);
            if self.dialect == Dialect::Legacy {
                self.run(CommandCause::SentToLegacy, now, did);
            }
        }
    }

    fn acknowledged(&mut self, status: &CommandAckStatus, now: Now, did: &mut Did) {
        match (status, self.phase) {
            (CommandAckStatus::Executing, Phase::Sent { .. } | Phase::Queued { .. }) => {
                self.run(CommandCause::Started, now, did);
            }
            (
                CommandAckStatus::Received
                | CommandAckStatus::Queued
                | CommandAckStatus::Unknown(_),
                Phase::Sent { .. },
            ) => {
                self.phase = Phase::Queued { until: now.monotonic.saturating_add(QUEUED_FOR) };
                self.view.status = CommandStage::Queued;
                self.publish(CommandCause::AgentHasIt, did);
            }
            (
                CommandAckStatus::Executing
                | CommandAckStatus::Received
                | CommandAckStatus::Queued
                | CommandAckStatus::Unknown(_),
                _,
            ) => {}
        }
    }

    fn output(&mut self, now: Now, did: &mut Did) {
        match &mut self.phase {
            Phase::Sent { .. } | Phase::Queued { .. } => self.run(CommandCause::Started, now, did),
            Phase::Running { idle_at, .. } => {
                if let Some(idle_at) = idle_at {
                    *idle_at = now.monotonic.saturating_add(LEGACY_IDLE);
                }
            }
            Phase::Pending { .. } | Phase::Ended => {}
        }
    }

    fn run(&mut self, cause: CommandCause, now: Now, did: &mut Did) {
        let at = now.monotonic;
        let idle = (self.dialect == Dialect::Legacy).then(|| at.saturating_add(LEGACY_IDLE));
        let limit = self.time_limit.map(|d| at.saturating_add(d).saturating_add(LIMIT_GRACE));
        self.phase = Phase::Running { limit_at: limit, idle_at: idle };
        self.view.status = CommandStage::Running;
        self.view.started_at = Some(now.wall);
        self.publish(cause, did);
    }

    fn completed(&mut self, phase: &CommandPhase, exit: Option<Exit>, now: Now, did: &mut Did) {
        let stage = match (phase, exit) {
            (CommandPhase::Cancelled, _) => CommandStage::Cancelled,
            (CommandPhase::OutcomeUnknown, _) => CommandStage::Unknown,
            (CommandPhase::Completed, None) => CommandStage::Completed,
            // A process that was ended at its time limit may still exit with 0.
            (CommandPhase::Failed, _) => CommandStage::Failed,
            (_, Some(exit)) if exit.success() => CommandStage::Completed,
            (_, Some(_) | None) => CommandStage::Failed,
        };
        self.end(stage, CommandCause::AgentReported(exit), exit, now, did);
    }

    fn cancel(&mut self, force: bool, cause: CommandCause, now: Now, did: &mut Did) {
        let again_at = now.monotonic.saturating_add(CANCEL_EVERY);
        let force = force || self.cancel.is_some_and(|c| c.force);
        self.cancel = Some(Cancel { force, again_at });
        if self.linked && !matches!(self.phase, Phase::Pending { .. }) {
            did.push(CommandAction::SendCancel { force });
        }
        self.publish(cause, did);
    }

    fn link_back(&mut self, same_process: bool, known: bool, now: Now, did: &mut Did) {
        self.linked = true;
        // A legacy wrapper never says what it knows.
        let known = known && self.dialect == Dialect::Extended;
        match (self.phase, same_process, known) {
            (Phase::Pending { .. } | Phase::Ended, _, _) => {}
            // A legacy wrapper runs whatever comes, however often. If this server is not sure that
            // it never sent it, it must not send it.
            (Phase::Sent { times: 0, .. }, true, false) if self.dialect == Dialect::Legacy => {
                let cause = CommandCause::NeverAcknowledged;
                self.end(CommandStage::Unknown, cause, None, now, did);
            }
            (Phase::Sent { .. }, true, false) if self.dialect == Dialect::Legacy => {
                did.push(CommandAction::Send);
                self.run(CommandCause::SentToLegacy, now, did);
            }
            (Phase::Sent { .. }, true, false) => {
                let again_at = now.monotonic.saturating_add(RESEND_AFTER);
                self.phase = Phase::Sent { times: 1, again_at };
                did.push(CommandAction::Send);
            }
            (Phase::Sent { .. } | Phase::Queued { .. } | Phase::Running { .. }, _, true) => {
                if let Some(c) = &mut self.cancel {
                    c.again_at = now.monotonic;
                }
                if self.view.because == CommandCause::LinkLost
                    || self.view.because == CommandCause::ServerRestarted
                {
                    self.publish(CommandCause::LinkBack, did);
                }
            }
            (Phase::Queued { .. } | Phase::Running { .. }, true, false) => {
                if self.dialect == Dialect::Extended {
                    self.end(CommandStage::Unknown, CommandCause::Forgotten, None, now, did);
                }
            }
            (Phase::Sent { .. } | Phase::Queued { .. } | Phase::Running { .. }, false, false) => {
                self.end(CommandStage::Unknown, CommandCause::AgentRestarted, None, now, did);
            }
        }
    }

    fn wake(&mut self, at: Timestamp, now: Now, did: &mut Did) {
        match self.phase {
            Phase::Pending { store_by } if store_by <= at => {
                let cause = CommandCause::NotStored;
                return self.end(CommandStage::Failed, cause, None, now, did);
            }
            Phase::Sent { times, again_at } if again_at <= at && self.linked => {
                if times >= SENDINGS {
                    let cause = CommandCause::NeverAcknowledged;
                    return self.end(CommandStage::Unknown, cause, None, now, did);
                }
                let again_at = at.saturating_add(RESEND_AFTER);
                self.phase = Phase::Sent { times: times + 1, again_at };
                did.push(CommandAction::Send);
            }
            Phase::Queued { until } if until <= at => {
                let cause = CommandCause::NeverStarted;
                return self.end(CommandStage::Unknown, cause, None, now, did);
            }
            Phase::Running { idle_at: Some(idle_at), .. } if idle_at <= at => {
                let cause = CommandCause::LegacyIdle;
                return self.end(CommandStage::Unknown, cause, None, now, did);
            }
            Phase::Running { limit_at: Some(limit_at), idle_at } if limit_at <= at => {
                self.phase = Phase::Running { limit_at: None, idle_at };
                let limit = self.time_limit.unwrap_or_default();
                self.cancel(true, CommandCause::TimeLimit(limit), now, did);
                return;
            }
            Phase::Pending { .. }
            | Phase::Sent { .. }
            | Phase::Queued { .. }
            | Phase::Running { .. }
            | Phase::Ended => {}
        }
        if let Some(cancel) = &mut self.cancel
            && cancel.again_at <= at
            && self.linked
            && self.dialect == Dialect::Extended
        {
            cancel.again_at = at.saturating_add(CANCEL_EVERY);
            did.push(CommandAction::SendCancel { force: cancel.force });
        }
    }

    fn publish(&mut self, because: CommandCause, did: &mut Did) {
        self.view.because = because;
        did.push(CommandAction::Publish(self.view));
    }

    fn end(
        &mut self,
        stage: CommandStage,
        cause: CommandCause,
        exit: Option<Exit>,
        now: Now,
        did: &mut Did,
    ) {
        self.phase = Phase::Ended;
        self.view.status = stage;
        self.view.exit = exit;
        self.view.ended_at = Some(now.wall);
        self.publish(cause, did);
    }
}
