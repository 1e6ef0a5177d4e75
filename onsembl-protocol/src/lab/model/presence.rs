//! Presence. It demands: versions grow by one; `since` moves with the status; the status changes
//! along the published edges, is what links and sessions amount to, and the reason is what
//! happened; nothing is reported twice.

use super::dialling::Loss;
use super::host::Host;
use super::links::{AGENT_STOPPED, NORMAL, TOLD_TO_RESTART, TOLD_TO_STOP};
use super::rules::Rules;
use super::seat::{Came, Seat};
use super::violation::{Checked, demand};
use crate::lab::Invariant;
use crate::lab::fact::{Ailment, End, EndedBy, LocalNanos, Order, Presence, Status, When, Why};
use alloc::format;

/// The published graph: where a status may go. Staying is always allowed.
const fn edge(from: Status, to: Status) -> bool {
    match from {
        Status::Offline => matches!(to, Status::Connecting),
        Status::Connecting => {
            matches!(to, Status::Online | Status::TimedOut | Status::Reconnecting | Status::Offline)
        }
        Status::Online => matches!(
            to,
            Status::Stale
                | Status::Error
                | Status::Connecting
                | Status::Reconnecting
                | Status::Offline
        ),
        Status::Error => matches!(
            to,
            Status::Stale
                | Status::Online
                | Status::Connecting
                | Status::Reconnecting
                | Status::Offline
        ),
        Status::Stale => true,
        Status::TimedOut | Status::Reconnecting => {
            matches!(to, Status::Connecting | Status::Offline)
        }
    }
}

impl Seat {
    /// The machine publishes.
    pub(super) fn shows(
        &mut self,
        next: Presence,
        when: When,
        host: &Host,
        rules: &Rules,
    ) -> Checked {
        self.does()?;
        let before = self.shown;
        demand(!self.step.shown, Invariant::OneReportPerStep, "one report a step", || {
            format!("{:?} after {:?}", next.status, before.status)
        })?;
        demand(
            next.version == before.version + 1 && next.version > self.last_version,
            Invariant::VersionGrowsByOne,
            "the next version",
            || format!("{} after {}", next.version, before.version.max(self.last_version)),
        )?;
        demand(next.epoch >= before.epoch, Invariant::EpochsGrow, "no older epoch", || {
            format!("{} after {}", next.epoch, before.epoch)
        })?;
        let since = if next.status == before.status { before.since } else { when.wall };
        demand(
            next.since == since,
            Invariant::SinceMovesOnlyWithStatus,
            "since now if the status changes, else as it was",
            || format!("{} instead of {since}", next.since),
        )?;
        let recovered = (next.status, next.why) == (Status::Reconnecting, Why::ServerRestarted);
        demand(
            self.recovering == recovered,
            Invariant::RestartIsHonest,
            "reconnecting, because the server was restarted, first and only after a restart",
            || format!("{:?}, {:?}", next.status, next.why),
        )?;
        demand(
            recovered || next.status == before.status || edge(before.status, next.status),
            Invariant::StatusEdges,
            "a published edge",
            || format!("{:?} -> {:?}", before.status, next.status),
        )?;
        self.ailment_is_true(next, when.local, rules)?;
        let again =
            (next.status, next.why, next.epoch) == (before.status, before.why, before.epoch);
        if again {
            // What troubles the store may change; it is not among the facts.
            let differs =
                next.ailment != before.ailment || next.ailment == Some(Ailment::NotRecorded);
            demand(differs, Invariant::NoEmptyReport, "something new", || {
                format!("{:?} again", next.status)
            })?;
        } else if !recovered {
            self.because(next, when.local, host, rules)?;
        }
        self.shown = next;
        self.last_version = next.version;
        self.step.shown = true;
        self.recovering = false;
        Ok(())
    }

    fn because(&mut self, next: Presence, now: LocalNanos, host: &Host, rules: &Rules) -> Checked {
        let came = self.step.came;
        let by_agent = |code| came == Came::Lost(End { by: EndedBy::There, code: Some(code) });
        let holds = match next.why {
            Why::Hello => next.status == Status::Connecting && self.hello.is_some(),
            Why::Opened => next.status == Status::Online && came == Came::Opened,
            Why::TakenOver => {
                let took = came == Came::TakenOver || self.step.superseded;
                next.status == Status::Online && took
            }
            Why::Replaced => {
                next.status == Status::Online && came == Came::Replaced && !self.step.superseded
            }
            Why::NotAdmitted => {
                self.step.hello_ended && !matches!(came, Came::Lost(_)) && ended(next.status)
            }
            Why::Silence(d) if next.status == Status::Stale => {
                if let Some(s) = &mut self.session {
                    s.silence.called_stale(now, host, rules)?;
                }
                d == rules.stale_after
            }
            Why::Silence(d) => self.step.gave_up && d == rules.timeout_after,
            Why::HeardAgain => {
                self.step.was_stale
                    && matches!(came, Came::Frame | Came::Pong | Came::Beat(_))
                    && matches!(next.status, Status::Online | Status::Error)
            }
            Why::LinkEnded(end) => came == Came::Lost(end) && ended(next.status),
            Why::Stopped => {
                (by_agent(NORMAL) || by_agent(AGENT_STOPPED)) && next.status == Status::Offline
            }
            Why::Ordered(Order::Stop) => by_agent(TOLD_TO_STOP) && next.status == Status::Offline,
            Why::Ordered(Order::Restart) => {
                by_agent(TOLD_TO_RESTART) && next.status == Status::Offline
            }
            Why::WindowOver => next.status == Status::Offline && self.awaited.is_some(),
            Why::ServerRestarted => false,
            Why::Evicted => next.status == Status::Offline && came == Came::Evicted,
            Why::Faulted => came == Came::Faulted,
        };
        demand(holds, Invariant::ReasonIsTrue, "a reason that is what happened", || {
            format!("{:?} because {:?}, upon {came:?}", next.status, next.why)
        })?;
        if next.status == Status::Offline {
            self.goes_offline(next.why, now, host, rules)?;
        }
        Ok(())
    }

    /// Offline is what remains when nothing does; a window that is open keeps it away.
    fn goes_offline(&mut self, why: Why, now: LocalNanos, host: &Host, rules: &Rules) -> Checked {
        let Some(awaited) = self.awaited else { return Ok(()) };
        demand(
            now + rules.wobble >= awaited.counted_from + rules.resume_window,
            Invariant::ResumeWindowIsKept,
            "an agent awaited for the whole of the resume window",
            || format!("offline after {} ns", now - awaited.since),
        )?;
        let latest = host.latest(awaited.since, rules.resume_window) + rules.tolerance;
        demand(
            why != Why::WindowOver || now <= latest,
            Invariant::ResumeWindowIsKept,
            "offline when the resume window is over",
            || format!("offline after {} ns", now - awaited.since),
        )?;
        self.awaited = None;
        Ok(())
    }

    /// At the end of a step the status is what the model would say by itself.
    #[inline]
    pub(super) fn status_is_true(&self) -> Checked {
        if !self.installed {
            return Ok(());
        }
        let (is, invariant) = match (&self.session, &self.hello, &self.awaited) {
            (Some(s), _, _) => {
                let is = match (s.silence.is_stale(), s.faulted) {
                    (true, _) => Status::Stale,
                    (false, true) => Status::Error,
                    (false, false) => Status::Online,
                };
                let invariant = match (self.step.was_stale, s.faulted) {
                    (true, _) => Invariant::AnyFrameProvesLife,
                    (false, true) => Invariant::FaultIsShown,
                    (false, false) => Invariant::StatusIsTrue,
                };
                (is, invariant)
            }
            (None, Some(_), _) => (Status::Connecting, Invariant::StatusIsTrue),
            (None, None, Some(a)) if a.after == Loss::Silence => {
                (Status::TimedOut, Invariant::StatusIsTrue)
            }
            (None, None, Some(_)) => (Status::Reconnecting, Invariant::StatusIsTrue),
            (None, None, None) if self.step.came == Came::Evicted => {
                (Status::Offline, Invariant::EvictionIsObeyed)
            }
            (None, None, None) => (Status::Offline, Invariant::StatusIsTrue),
        };
        demand(self.shown.status == is, invariant, "the status that it amounts to", || {
            format!("{:?} instead of {is:?}", self.shown.status)
        })?;
        let epoch = self.session.map_or(self.shown.epoch, |s| s.epoch);
        demand(
            self.shown.epoch == epoch,
            Invariant::StatusIsTrue,
            "the epoch of the session",
            || format!("{} instead of {epoch}", self.shown.epoch),
        )?;
        demand(
            self.evicted || is != Status::Offline || !self.step.shown,
            Invariant::TerminalIsFinal,
            "an agent that is offline to be forgotten",
            || "its machine is kept".into(),
        )
    }

    /// The machine is done.
    pub(super) fn forgotten(&mut self) -> Checked {
        self.does()?;
        let over = self.session.is_none() && self.hello.is_none() && self.awaited.is_none();
        demand(over, Invariant::StatusIsTrue, "nothing forgotten that is not over", || {
            format!("forgotten while {:?}", self.shown.status)
        })?;
        self.evicted = true;
        Ok(())
    }
}

const fn ended(status: Status) -> bool {
    matches!(status, Status::Reconnecting | Status::TimedOut | Status::Offline)
}
