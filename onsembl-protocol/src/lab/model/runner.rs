//! What the model keeps of an agent's own end, one process of it, and the steps of that end.

use super::deadline;
use super::dialling::{Loss, Wait, Windows};
use super::heartbeats;
use super::host::Host;
use super::recording::Open;
use super::rules::Rules;
use super::silence::Silence;
use super::violation::{Checked, demand};
use crate::lab::Invariant;
use crate::lab::fact::{Agent, AgentStatus, Ailment, Code, Epoch, LocalNanos, Sequence, Wire};
use alloc::format;

/// The agent's end of a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Joined {
    pub(super) epoch: Epoch,
    pub(super) since: LocalNanos,
    pub(super) silence: Silence,
    pub(super) sent: Sequence,
    pub(super) sent_at: LocalNanos,
    /// Beats that a sleep of the host hurried.
    pub(super) hurried: u64,
    /// Own beats that the server does not call recorded.
    pub(super) unrecorded: Open,
    pub(super) unseen: Open,
    /// The server's latest beat.
    pub(super) heard: Sequence,
    pub(super) lagging: bool,
}

/// Where an agent's end is.
#[derive(Clone, Copy, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "in session is the usual case, and costs no allocation"
)]
pub(super) enum Phase {
    Idle,
    Dialling(Wire, LocalNanos),
    Joining(Wire, LocalNanos),
    InSession(Wire, Joined),
    Waiting(Wait),
    /// It may close permanently now, and if `must`, has to.
    Leaving {
        must: bool,
        otherwise: Option<Wait>,
    },
    Closed,
}

/// The step that is in progress.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Step {
    pub(super) foreign: bool,
    pub(super) shown: bool,
    pub(super) was_stale: bool,
    pub(super) frame: bool,
    pub(super) beat_heard: bool,
    /// It was ordered to stop, and closes its wire with this code.
    pub(super) stopped: Option<Code>,
    pub(super) hello: bool,
    pub(super) pong: bool,
    pub(super) beat: bool,
    pub(super) close: Option<Wire>,
    /// The host slept for this long before it.
    pub(super) slept: Option<u64>,
    /// The session's wire that was lost in it.
    pub(super) lost: Option<Wire>,
}

/// One process of an agent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Runner {
    pub(super) agent: Agent,
    pub(super) host: Host,
    /// Its servers name no times: it sends probes where others send heartbeats.
    pub(super) legacy: bool,
    pub(super) phase: Phase,
    pub(super) windows: Windows,
    pub(super) shown: AgentStatus,
    pub(super) ailment: Option<Ailment>,
    pub(super) last_wire: Option<Wire>,
    pub(super) step: Step,
    pub(super) deadline: Option<LocalNanos>,
}

impl Runner {
    pub(super) fn new(agent: Agent, host: Host) -> Self {
        Self {
            agent,
            host,
            legacy: false,
            phase: Phase::Idle,
            windows: Windows::default(),
            shown: AgentStatus::Idle,
            ailment: None,
            last_wire: None,
            step: Step::default(),
            deadline: None,
        }
    }

    /// The wire it has or dials.
    #[inline]
    pub(super) fn wire(&self) -> Option<Wire> {
        match self.phase {
            Phase::Dialling(wire, _) | Phase::Joining(wire, _) | Phase::InSession(wire, _) => {
                Some(wire)
            }
            Phase::Idle | Phase::Waiting(_) | Phase::Leaving { .. } | Phase::Closed => None,
        }
    }

    /// Anything of this process begins: after a sleep, that is noticed first.
    #[inline]
    pub(super) fn awake(&mut self, now: LocalNanos, rules: &Rules) {
        if let Some(slept) = self.host.take_sleep(rules) {
            self.step.slept = Some(slept);
            match &mut self.phase {
                // The server has given the link up; so does the agent, before anything else.
                Phase::InSession(wire, _) if slept >= rules.timeout_after => {
                    self.step.close = Some(*wire);
                    self.ailment = None;
                    self.phase = Phase::Waiting(self.windows.at_once(now, rules));
                }
                Phase::InSession(_, s) => s.hurried += 1,
                Phase::Waiting(wait) => wait.slept(slept, rules, &mut self.windows),
                Phase::Idle
                | Phase::Dialling(..)
                | Phase::Joining(..)
                | Phase::Leaving { .. }
                | Phase::Closed => {}
            }
        }
    }

    /// The step is over.
    #[inline]
    pub(super) fn served(
        &mut self,
        deadline: Option<LocalNanos>,
        now: LocalNanos,
        rules: &Rules,
    ) -> Checked {
        self.nothing_owed()?;
        self.status_is_true()?;
        self.in_time(now, rules)?;
        deadline::kept(self.deadline, now, &self.host, rules)?;
        deadline::fits(deadline, self.due(rules), now, rules, || {
            format!("{:?}, asleep before: {:?} ns", self.shown, self.step.slept)
        })?;
        self.deadline = deadline;
        self.step = Step::default();
        Ok(())
    }

    #[inline]
    fn nothing_owed(&self) -> Checked {
        let step = &self.step;
        demand(
            step.close.is_none(),
            if step.stopped.is_some() {
                Invariant::StopIsObeyed
            } else {
                Invariant::DeadLinkIsClosed
            },
            "a wire that is given up closed in the same step",
            || {
                let (wire, slept) = (step.close, step.slept);
                format!("{wire:?} left open while {:?}, asleep before: {slept:?} ns", self.shown)
            },
        )?;
        demand(
            !step.hello,
            Invariant::HelloGoesFirst,
            "the hello as soon as the wire is up",
            || "none".into(),
        )?;
        demand(
            !step.pong,
            Invariant::PingIsAnswered,
            "an answer in the step of the probe",
            || "none".into(),
        )?;
        demand(
            !step.beat,
            Invariant::BeatsEveryInterval,
            "a heartbeat as soon as the hello is accepted",
            || "none".into(),
        )
    }

    #[inline]
    fn status_is_true(&self) -> Checked {
        let (is, invariant) = match &self.phase {
            Phase::Idle => (AgentStatus::Idle, Invariant::AgentStatusIsTrue),
            Phase::Dialling(..) => (AgentStatus::Connecting, Invariant::AgentStatusIsTrue),
            Phase::Joining(..) => (AgentStatus::Joining, Invariant::AgentStatusIsTrue),
            Phase::InSession(_, s) if s.silence.is_stale() => {
                (AgentStatus::Stale, Invariant::AgentStatusIsTrue)
            }
            Phase::InSession(..) if self.step.was_stale => {
                (AgentStatus::Connected, Invariant::AnyFrameProvesLife)
            }
            Phase::InSession(..) => (AgentStatus::Connected, Invariant::AgentStatusIsTrue),
            Phase::Waiting(w) if w.after == Loss::Silence => {
                (AgentStatus::TimedOut, Invariant::AgentStatusIsTrue)
            }
            Phase::Waiting(_) => (AgentStatus::Reconnecting, Invariant::AgentStatusIsTrue),
            Phase::Leaving { .. } if self.step.stopped.is_some() => {
                (AgentStatus::Closed, Invariant::StopIsObeyed)
            }
            Phase::Leaving { .. } => (AgentStatus::Closed, Invariant::NoDialAfterRefusal),
            Phase::Closed => (AgentStatus::Closed, Invariant::AgentStatusIsTrue),
        };
        demand(self.shown == is, invariant, "the status that it amounts to", || {
            format!("{:?} instead of {is:?}", self.shown)
        })
    }

    /// What had to be done by now is done.
    #[inline]
    fn in_time(&self, now: LocalNanos, rules: &Rules) -> Checked {
        let host = &self.host;
        match &self.phase {
            Phase::Idle | Phase::Leaving { .. } | Phase::Closed => Ok(()),
            Phase::Dialling(_, since) => waits(*since, rules.dial_timeout, now, host, rules),
            Phase::Joining(_, since) => waits(*since, rules.hello_timeout, now, host, rules),
            Phase::InSession(_, s) => {
                s.silence.unnamed(now, host, rules)?;
                heartbeats::beats(s.sent_at, now, host, rules)?;
                if self.step.beat_heard { self.lag_is_named(s, now, rules) } else { Ok(()) }
            }
            Phase::Waiting(wait) => wait.goes_on(now, host, rules),
        }
    }

    /// When a heartbeat of the server says what it saw and recorded, the lag is known.
    fn lag_is_named(&self, s: &Joined, now: LocalNanos, rules: &Rules) -> Checked {
        let overdue = |open: &Open| {
            open.oldest_at_latest()
                .is_some_and(|at| now > self.host.latest(at, 2 * rules.interval) + rules.tolerance)
        };
        let late = s.lagging || overdue(&s.unrecorded) || overdue(&s.unseen);
        demand(
            !late || self.ailment.is_some(),
            Invariant::LagNamedInTime,
            "a heartbeat that is not recorded or not seen named within two intervals",
            || "nothing said".into(),
        )?;
        let healed =
            !s.lagging && !waited(&s.unrecorded, now, rules) && !waited(&s.unseen, now, rules);
        demand(
            !healed || self.ailment.is_none(),
            Invariant::LagHeals,
            "no lag named when none is left",
            || format!("{:?}", self.ailment),
        )
    }

    /// The machine names the impairment of the session.
    pub(super) fn names(
        &mut self,
        ailment: Option<Ailment>,
        now: LocalNanos,
        rules: &Rules,
    ) -> Checked {
        self.does()?;
        self.ailment = ailment;
        let Some(ailment) = ailment else { return Ok(()) };
        let Phase::InSession(_, s) = &self.phase else {
            return demand(
                false,
                Invariant::AilmentOnlyInSession,
                "no ailment without a session",
                || format!("{ailment:?}"),
            );
        };
        let holds = match ailment {
            Ailment::NotRecorded => s.lagging || waited(&s.unrecorded, now, rules),
            Ailment::NotSeen => waited(&s.unseen, now, rules),
            Ailment::ProbeUnanswered => false,
        };
        demand(
            holds,
            Invariant::LagIsTrue,
            "a heartbeat that is not confirmed for an interval",
            || format!("{ailment:?} without one"),
        )
    }

    /// The latest time by which something must be done.
    #[inline]
    fn due(&self, rules: &Rules) -> Option<LocalNanos> {
        let host = &self.host;
        match &self.phase {
            Phase::Idle | Phase::Leaving { .. } | Phase::Closed => None,
            Phase::Dialling(_, since) => Some(host.latest(*since, rules.dial_timeout)),
            Phase::Joining(_, since) => Some(host.latest(*since, rules.hello_timeout)),
            Phase::InSession(_, s) => {
                Some(s.silence.due(host, rules).min(host.latest(s.sent_at, rules.interval)))
            }
            Phase::Waiting(wait) => Some(wait.due(host)),
        }
    }

    /// The machine does something.
    #[inline]
    pub(super) fn does(&self) -> Checked {
        demand(
            !matches!(self.phase, Phase::Closed),
            Invariant::TerminalIsFinal,
            "nothing from a machine that is closed",
            || "an action".into(),
        )?;
        demand(
            !self.step.foreign || self.step.slept.is_some(),
            Invariant::OldLinkChangesNothing,
            "no action upon a wire that is not the current one",
            || "an action".into(),
        )
    }
}

fn waited(open: &Open, now: LocalNanos, rules: &Rules) -> bool {
    open.oldest_at_earliest().is_some_and(|at| now + rules.tolerance >= at + rules.interval)
}

fn waits(since: LocalNanos, wait: u64, now: LocalNanos, host: &Host, rules: &Rules) -> Checked {
    demand(
        now <= host.latest(since, wait) + rules.tolerance,
        Invariant::GivesUpInTime,
        "a dial or a hello without an answer given up in time",
        || format!("a wait of {} ns", now - since),
    )
}
