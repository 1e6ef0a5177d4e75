//! An agent's own end. It demands: one link at a time; the hello first; probes answered; heartbeats
//! counted; links given up for a reason; never given up permanently but by an order that says so, and
//! then really.

use super::dialling::Wait;
use super::host::Host;
use super::links::{
    AGENT_STOPPED, NO_ANSWER, NORMAL, SILENT, TOKEN_EXPIRED, TOLD_TO_RESTART, TOLD_TO_STOP,
    keeps_away, own_code,
};
use super::recording::Open;
use super::rules::Rules;
use super::runner::{Joined, Phase, Runner};
use super::silence::Silence;
use super::violation::{Checked, demand};
use crate::lab::Invariant;
use crate::lab::fact::{
    AgentStatus, Code, DialOutcome, Down, End, EndedBy, Epoch, LocalNanos, Order, Up, Wire,
};
use alloc::format;

/// The published graph. Staying is no report.
const fn edge(from: AgentStatus, to: AgentStatus) -> bool {
    use AgentStatus::{
        Closed, Connected, Connecting, Idle, Joining, Reconnecting, Stale, TimedOut,
    };
    match from {
        Idle | TimedOut => matches!(to, Connecting | Closed),
        // A sleep may turn one wait into another.
        Reconnecting => matches!(to, Connecting | Closed),
        Connecting => matches!(to, Joining | Reconnecting | Closed),
        Joining => matches!(to, Connected | Reconnecting | Closed),
        Connected => matches!(to, Stale | Reconnecting | Closed),
        Stale => matches!(to, Connected | TimedOut | Reconnecting | Closed),
        Closed => false,
    }
}

impl Runner {
    pub(super) fn dials(&mut self, wire: Wire, now: LocalNanos, rules: &Rules) -> Checked {
        self.does()?;
        demand(
            self.last_wire.is_none_or(|last| wire > last),
            Invariant::OneLinkAtATime,
            "a new wire for each dial",
            || format!("{wire:?} after {:?}", self.last_wire),
        )?;
        match &self.phase {
            Phase::Idle => {}
            Phase::Waiting(wait) => wait.ends(now, &self.host, rules)?,
            Phase::Dialling(..)
            | Phase::Joining(..)
            | Phase::InSession(..)
            | Phase::Leaving { .. }
            | Phase::Closed => {
                demand(false, Invariant::OneLinkAtATime, "no dial beside a link", || {
                    format!("{wire:?} dialled beside {:?}", self.wire())
                })?;
            }
        }
        self.last_wire = Some(wire);
        self.phase = Phase::Dialling(wire, now);
        Ok(())
    }

    pub(super) fn dial_ended(
        &mut self,
        wire: Wire,
        outcome: DialOutcome,
        now: LocalNanos,
        rules: &Rules,
    ) {
        if !matches!(self.phase, Phase::Dialling(current, _) if current == wire) {
            self.step.foreign = true;
            if outcome == DialOutcome::Up && self.wire() != Some(wire) {
                self.step.foreign = false;
                self.step.close = Some(wire);
            }
            return;
        }
        self.phase = match outcome {
            DialOutcome::Up => {
                self.step.hello = true;
                Phase::Joining(wire, now)
            }
            DialOutcome::Failed | DialOutcome::Busy(None) => {
                Phase::Waiting(self.windows.next(now, rules))
            }
            DialOutcome::Busy(Some(asked)) => Phase::Waiting(self.windows.after(asked, now, rules)),
            DialOutcome::Unauthorised => Phase::Waiting(self.windows.refused(now, rules)),
            DialOutcome::Forbidden => Phase::Leaving { must: true, otherwise: None },
        };
    }

    #[inline]
    pub(super) fn hears(
        &mut self,
        wire: Wire,
        frame: Down,
        server: Option<Epoch>,
        now: LocalNanos,
        rules: &Rules,
    ) -> Checked {
        if self.wire() != Some(wire) {
            self.step.foreign = true;
            return Ok(());
        }
        match (&mut self.phase, frame) {
            (Phase::Joining(..), Down::Welcome(epoch)) => {
                demand(
                    server.is_none_or(|says| says == epoch),
                    Invariant::BothEndsAgree,
                    "the epoch that the server's end has for this wire",
                    || format!("{epoch}, the server: {server:?}"),
                )?;
                self.step.beat = true;
                let mut silence = Silence::default();
                silence.heard(now);
                let joined = Joined {
                    epoch,
                    since: now,
                    silence,
                    sent: 0,
                    sent_at: now,
                    hurried: 0,
                    unrecorded: Open::default(),
                    unseen: Open::default(),
                    heard: 0,
                    lagging: false,
                };
                self.phase = Phase::InSession(wire, joined);
                self.ailment = None;
            }
            (Phase::Joining(..), Down::Refused) => {
                self.step.close = Some(wire);
                let otherwise = Some(self.windows.either(now, rules));
                self.phase = Phase::Leaving { must: false, otherwise };
            }
            (Phase::Joining(..), Down::Ping) => self.step.pong = true,
            (Phase::InSession(_, s), frame) => {
                self.step.was_stale = s.silence.is_stale();
                self.step.frame = true;
                s.silence.heard(now);
                match frame {
                    Down::Ping => self.step.pong = true,
                    Down::Beat { sequence, seen, recorded, lagging } => {
                        self.step.beat_heard = true;
                        s.heard = sequence;
                        s.unseen.confirmed(seen);
                        s.unrecorded.confirmed(recorded);
                        s.lagging = lagging;
                    }
                    Down::Welcome(_) | Down::Refused | Down::Other => {}
                }
            }
            (Phase::Joining(..), Down::Beat { .. } | Down::Other)
            | (
                Phase::Idle
                | Phase::Dialling(..)
                | Phase::Waiting(_)
                | Phase::Leaving { .. }
                | Phase::Closed,
                Down::Welcome(_) | Down::Refused | Down::Ping | Down::Beat { .. } | Down::Other,
            ) => {}
        }
        Ok(())
    }

    #[inline]
    pub(super) fn says(
        &mut self,
        wire: Wire,
        frame: Up,
        now: LocalNanos,
        rules: &Rules,
    ) -> Checked {
        self.does()?;
        demand(
            self.wire() == Some(wire),
            Invariant::SpeaksOverCurrentWire,
            "frames over the current wire only",
            || {
                let (current, slept) = (self.wire(), self.step.slept);
                format!("{frame:?} over {wire:?}, current: {current:?}, asleep before: {slept:?}")
            },
        )?;
        if frame == Up::Pong && self.step.pong {
            self.step.pong = false;
            return Ok(());
        }
        let hello = core::mem::take(&mut self.step.hello);
        let in_session = matches!(self.phase, Phase::InSession(..));
        demand(
            if frame == Up::Hello { hello } else { in_session },
            Invariant::HelloGoesFirst,
            "one hello, and nothing else before it is accepted",
            || format!("{frame:?}"),
        )?;
        let Phase::InSession(_, s) = &mut self.phase else { return Ok(()) };
        let Up::Beat { sequence, seen } = frame else {
            // To a legacy server a probe is what a heartbeat is to ours.
            if frame == Up::Other && s.sent == 0 {
                super::heartbeats::beats(s.sent_at, now, &self.host, rules)?;
                s.sent_at = now;
                self.step.beat = false;
                self.legacy = true;
            }
            return Ok(());
        };
        demand(sequence == s.sent + 1, Invariant::BeatsAreNumbered, "the next number", || {
            format!("{sequence} after {}", s.sent)
        })?;
        demand(seen == s.heard, Invariant::SeenIsHeard, "the latest beat heard", || {
            format!("{seen} instead of {}", s.heard)
        })?;
        let allowed = 1 + (now + rules.wobble - s.since) / rules.interval.max(1) + s.hurried;
        demand(
            sequence <= allowed,
            Invariant::BeatsEveryInterval,
            "one heartbeat an interval",
            || format!("{sequence} where {allowed} are due"),
        )?;
        super::heartbeats::beats(s.sent_at, now, &self.host, rules)?;
        s.sent = sequence;
        s.sent_at = now;
        s.unrecorded.happened(sequence, now);
        s.unseen.happened(sequence, now);
        self.step.beat = false;
        Ok(())
    }

    /// The program sends a frame of its own, as far as the machine let it.
    pub(super) fn forwards(&self, wire: Wire) -> Checked {
        demand(
            matches!(self.phase, Phase::InSession(current, _) if current == wire),
            Invariant::SpeaksOverCurrentWire,
            "the program's frames over the wire of the session only",
            || format!("one over {wire:?}, current: {:?}, {:?}", self.wire(), self.shown),
        )
    }

    pub(super) fn closes(
        &mut self,
        wire: Wire,
        code: Code,
        now: LocalNanos,
        rules: &Rules,
    ) -> Checked {
        self.does()?;
        own_code(code)?;
        demand(code != NORMAL, Invariant::NormalOnlyToLegacy, "1000 never from an agent", || {
            "1000".into()
        })?;
        if self.step.close == Some(wire) {
            self.step.close = None;
            return demand(
                self.step.stopped.is_none_or(|ordered| code == ordered),
                Invariant::StopIsObeyed,
                "the code that says who stopped it",
                || format!("{code} instead of {:?}", self.step.stopped),
            );
        }
        let (silent, slept) = (code == SILENT, self.slept_through(rules));
        // A sleep at the edge of the time-out may count first, the loss of the link after it.
        if slept && silent && self.step.lost.take() == Some(wire) {
            self.phase = Phase::Waiting(self.windows.at_once(now, rules));
            return Ok(());
        }
        if self.wire() != Some(wire) {
            return demand(false, REASON, "the current wire closed, once", || {
                format!("{wire:?} closed with {code}")
            });
        }
        let (holds, next): (bool, Wait) = match self.phase {
            Phase::Dialling(_, since) => {
                let over = code == NO_ANSWER && now + rules.wobble >= since + rules.dial_timeout;
                (over, self.windows.next(now, rules))
            }
            Phase::Joining(_, since) => {
                let over = code == NO_ANSWER && now + rules.wobble >= since + rules.hello_timeout;
                (over, self.windows.next(now, rules))
            }
            Phase::InSession(..) if slept && silent => {
                // What was heard in this step was heard too late.
                self.step.pong = false;
                self.ailment = None;
                (true, self.windows.at_once(now, rules))
            }
            Phase::InSession(_, s) => {
                demand(silent, REASON, "a live link kept", || format!("code {code}"))?;
                s.silence.called_dead(now, &self.host, rules)?;
                self.session_over(&s, now, rules);
                (true, self.windows.next(now, rules).after_silence())
            }
            Phase::Idle | Phase::Waiting(_) | Phase::Leaving { .. } | Phase::Closed => {
                return Ok(());
            }
        };
        self.phase = Phase::Waiting(next);
        demand(holds, REASON, "a wait that is over", || format!("code {code} before its time"))
    }

    /// After such a sleep the server has given the link up.
    fn slept_through(&self, rules: &Rules) -> bool {
        self.step.slept.is_some_and(|slept| slept + rules.tolerance >= rules.timeout_after)
    }

    fn session_over(&mut self, session: &Joined, now: LocalNanos, rules: &Rules) {
        if now >= session.since + rules.stable_after {
            self.windows.reset();
        }
        self.ailment = None;
    }

    pub(super) fn loses(&mut self, wire: Wire, end: End, now: LocalNanos, rules: &Rules) {
        if self.wire() != Some(wire) {
            self.step.foreign = true;
            return;
        }
        if let Phase::InSession(_, s) = self.phase {
            self.session_over(&s, now, rules);
            self.step.lost = Some(wire);
        }
        self.phase = match end {
            End { by: EndedBy::There, code: Some(code) } if keeps_away(code) => {
                Phase::Leaving { must: true, otherwise: None }
            }
            End { by: EndedBy::There, code: Some(TOKEN_EXPIRED) } => {
                Phase::Waiting(self.windows.refused(now, rules))
            }
            End { .. } => Phase::Waiting(self.windows.next(now, rules)),
        };
    }

    pub(super) fn ordered_to_stop(&mut self, order: Option<Order>) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        // Only in session, and from a server of ours, does it know that orders may be named.
        let ordered = matches!(self.phase, Phase::InSession(..)) && !self.legacy;
        self.step.stopped = Some(match order.filter(|_| ordered) {
            None => AGENT_STOPPED,
            Some(Order::Stop) => TOLD_TO_STOP,
            Some(Order::Restart) => TOLD_TO_RESTART,
        });
        self.host.forget_sleep();
        self.step.close = self.wire();
        self.phase = Phase::Leaving { must: true, otherwise: None };
    }

    pub(super) fn shows(&mut self, next: AgentStatus, now: LocalNanos, rules: &Rules) -> Checked {
        self.does()?;
        let before = self.shown;
        demand(!self.step.shown, Invariant::OneReportPerStep, "one report a step", || {
            format!("{next:?} after {before:?}")
        })?;
        demand(next != before, Invariant::NoEmptyReport, "another status", || {
            format!("{next:?} again")
        })?;
        demand(edge(before, next), Invariant::AgentStatusEdges, "a published edge", || {
            format!("{before:?} -> {next:?}")
        })?;
        let host: Host = self.host;
        match (&mut self.phase, next) {
            (Phase::InSession(_, s), AgentStatus::Stale) => {
                s.silence.called_stale(now, &host, rules)?;
            }
            (Phase::Leaving { .. }, AgentStatus::Closed) => self.phase = Phase::Closed,
            (Phase::Leaving { must: false, otherwise: Some(wait) }, AgentStatus::Reconnecting) => {
                self.phase = Phase::Waiting(*wait);
            }
            (
                Phase::Idle
                | Phase::Dialling(..)
                | Phase::Joining(..)
                | Phase::InSession(..)
                | Phase::Waiting(_)
                | Phase::Closed,
                AgentStatus::Closed,
            ) => {
                demand(false, Invariant::NeverGivesUp, "another attempt", || {
                    format!("closed after {before:?}")
                })?;
            }
            // What else may follow is in the published edges.
            (
                _,
                AgentStatus::Idle
                | AgentStatus::Connecting
                | AgentStatus::Joining
                | AgentStatus::Connected
                | AgentStatus::Stale
                | AgentStatus::TimedOut
                | AgentStatus::Reconnecting,
            ) => {}
        }
        self.shown = next;
        self.step.shown = true;
        Ok(())
    }
}

const REASON: Invariant = Invariant::GivenUpForAReason;
