//! The judge of an agent: it follows what happens and says after each call what did not hold.
//!
//! It is a model of what must be true, told from the rules and not from the machine.

use super::super::beats::Beats;
use super::super::call::{Bench, Call, SLACK};
use super::super::invariant::{Invariant, Violation};
use super::super::reaction::Reaction;
use super::super::silence::Silence;
use super::rules::{Rules, Window, Windows};
use super::subject::Observation;
use crate::close::{CloseCause, CloseCode, CloseReason, ComeBack, Initiator};
use crate::id::LinkId;
use crate::session::{
    AGENT_EDGES, AgentEvent, AgentInbound, AgentStatusKind, EchoBits, HelloRefusal, SessionTerms,
};
use crate::time::{Deadline, Now, Timestamp};
use core::time::Duration;
use std::format;
use std::vec::Vec;

/// From this gain of the boot clock on the host counts as having slept (P-66).
const SLEPT: Duration = Duration::from_secs(1);

/// Judges one agent, call by call.
#[derive(Clone, Debug)]
pub struct Judge {
    rules: Rules,
    bench: Bench,
    windows: Windows,
    shown: AgentStatusKind,
    life: Life,
    held: Vec<LinkId>,
    newest: LinkId,
}

/// Where the agent must be.
#[derive(Clone, Copy, Debug)]
enum Life {
    Idle,
    Dialling { link: LinkId, by: Timestamp },
    Joining { link: LinkId, by: Timestamp },
    Session(Session),
    Waiting { window: Window, at_servers_wish: bool, timed_out: bool },
    Closed,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    link: LinkId,
    opened_at: Timestamp,
    silence: Silence,
    beats: Beats,
}

/// What a call owes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Owed {
    Dial,
    Hello(LinkId),
    Beat(LinkId),
    Pong(LinkId, Option<EchoBits>),
    Close(LinkId, Option<CloseCause>),
}

/// What one call must bring: what it owes, and why the status changes, if it may.
struct Expected {
    owed: Vec<(Owed, Invariant)>,
    change: Invariant,
}

impl Expected {
    fn owe(&mut self, owed: Owed, name: Invariant) {
        self.owed.push((owed, name));
    }
}

impl Life {
    const fn phase(&self) -> AgentStatusKind {
        match self {
            Self::Idle => AgentStatusKind::Idle,
            Self::Dialling { .. } => AgentStatusKind::Connecting,
            Self::Joining { .. } => AgentStatusKind::Joining,
            Self::Session(s) if s.silence.is_stale() => AgentStatusKind::Stale,
            Self::Session(_) => AgentStatusKind::Connected,
            Self::Waiting { timed_out: true, .. } => AgentStatusKind::TimedOut,
            Self::Waiting { timed_out: false, .. } => AgentStatusKind::Reconnecting,
            Self::Closed => AgentStatusKind::Closed,
        }
    }

    const fn link(&self) -> Option<LinkId> {
        match self {
            Self::Dialling { link, .. } | Self::Joining { link, .. } => Some(*link),
            Self::Session(s) => Some(s.link),
            Self::Idle | Self::Waiting { .. } | Self::Closed => None,
        }
    }
}

impl Judge {
    /// A judge of an agent that was not started yet.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            bench: Bench::default(),
            windows: Windows::new(rules),
            shown: AgentStatusKind::Idle,
            life: Life::Idle,
            held: Vec::new(),
            newest: LinkId(0),
        }
    }

    /// Without these invariants.
    #[must_use]
    pub fn waiving(mut self, invariants: &[Invariant]) -> Self {
        self.bench.waive(invariants);
        self
    }

    /// Where the agent must be now.
    pub const fn phase(&self) -> AgentStatusKind {
        self.life.phase()
    }

    pub(super) const fn deadline(&self) -> Deadline {
        self.bench.deadline()
    }

    /// Judges one call: what came in, when, and what the agent did. The first call is the start of
    /// all its clocks. After a violation the judge has lost the thread; begin with a new one.
    pub fn saw(
        &mut self,
        event: AgentEvent,
        now: Now,
        reaction: &Reaction<Observation>,
    ) -> Result<(), Violation> {
        self.saw_with_status(event, now, reaction, None)
    }

    pub(super) fn saw_with_status(
        &mut self,
        event: AgentEvent,
        now: Now,
        reaction: &Reaction<Observation>,
        status: Option<AgentStatusKind>,
    ) -> Result<(), Violation> {
        let mut bench = core::mem::take(&mut self.bench);
        let size = (reaction.actions.len(), reaction.deadline);
        let verdict = bench
            .open(&event, event == AgentEvent::Wake, now, &reaction.actions, size)
            .and_then(|call| self.judge(event, &call, &reaction.actions, status));
        self.bench = bench;
        verdict
    }

    fn judge(
        &mut self,
        event: AgentEvent,
        call: &Call<'_>,
        seen: &[Observation],
        status: Option<AgentStatusKind>,
    ) -> Result<(), Violation> {
        self.silent_calls(event, call, seen)?;
        let mut expected = Expected { owed: Vec::new(), change: Invariant::NoChangeWithoutReason };
        if event != AgentEvent::Stop && call.slept >= SLEPT {
            self.sleeps(call, &mut expected);
        }
        match event {
            AgentEvent::LinkUp(link) if !self.held.contains(&link) => self.held.push(link),
            AgentEvent::DialFailed(link, _) | AgentEvent::LinkDown(link, _) => {
                self.held.retain(|held| *held != link);
            }
            AgentEvent::Start
            | AgentEvent::LinkUp(_)
            | AgentEvent::Received(..)
            | AgentEvent::Wake
            | AgentEvent::Stop => {}
        }
        self.expect(event, call.at, &mut expected);
        self.chooses(call, seen, &mut expected)?;
        self.one_report(call, seen, status)?;
        self.performs(call, seen, &expected)?;
        if self.life.phase() != self.shown {
            let wanted = format!("{}, not {}", self.life.phase(), self.shown);
            call.blame(expected.change, wanted, call.did())?;
        }
        if self.life.link().is_none() && !self.held.is_empty() {
            let wanted = format!("no link while {}", self.life.phase());
            call.blame(Invariant::OneLinkAtATime, wanted, format!("still holds {:?}", self.held))?;
        }
        self.wakes_in_time(call, &expected)
    }

    /// Calls of which nothing may come.
    fn silent_calls(
        &self,
        event: AgentEvent,
        call: &Call<'_>,
        seen: &[Observation],
    ) -> Result<(), Violation> {
        let orphan = match event {
            AgentEvent::LinkUp(link) => Some(link),
            AgentEvent::Start
            | AgentEvent::DialFailed(..)
            | AgentEvent::Received(..)
            | AgentEvent::LinkDown(..)
            | AgentEvent::Wake
            | AgentEvent::Stop => None,
        };
        let drops = |o: &Observation| matches!(o, Observation::Closed(l, _) if Some(*l) == orphan);
        if matches!(self.life, Life::Closed) {
            if !seen.iter().all(drops) || call.deadline != Deadline::Never {
                call.blame(Invariant::TerminalIsFinal, "nothing, and no wake-up", call.did())?;
            }
            return Ok(());
        }
        if call.slept >= SLEPT {
            return Ok(());
        }
        if call.is_early() {
            let watched = matches!(self.life, Life::Session(s) if s.silence.is_stale());
            call.must_be_silent(Invariant::EarlyWakeIsSilent, !watched)?;
        }
        let named = match event {
            AgentEvent::LinkUp(link)
            | AgentEvent::DialFailed(link, _)
            | AgentEvent::Received(link, _)
            | AgentEvent::LinkDown(link, _) => Some(link),
            AgentEvent::Start | AgentEvent::Wake | AgentEvent::Stop => None,
        };
        if named.is_some() && named != self.life.link() {
            let name = Invariant::OldLinkChangesNothing;
            if !seen.iter().all(drops) {
                call.must_be_silent(name, true)?;
            }
            let overdue = call.asked.is_due(call.at.saturating_add(SLACK));
            if call.deadline != call.asked && !overdue {
                call.blame(name, "the deadline stays", call.did())?;
            }
        }
        Ok(())
    }

    fn sleeps(&mut self, call: &Call<'_>, expected: &mut Expected) {
        let at_once = Window { from: call.at, by: call.at };
        match &mut self.life {
            Life::Session(s) if call.slept >= s.silence.timing().timeout_after() => {
                expected
                    .owe(Owed::Close(s.link, Some(CloseCause::Silent)), Invariant::SleepIsNoticed);
                self.windows.begin_anew();
                self.wait(at_once, false, false, Invariant::SleepIsNoticed, expected);
            }
            Life::Session(s) => s.beats.hurry(call.at),
            Life::Waiting { window, at_servers_wish: true, .. } => {
                window.from = window.from.saturating_sub(call.slept).max(call.at);
                window.by = window.by.saturating_sub(call.slept).max(call.at);
            }
            Life::Waiting { window, at_servers_wish: false, .. } => {
                *window = at_once;
                self.windows.begin_anew();
                expected.change = Invariant::SleepIsNoticed;
            }
            Life::Idle | Life::Dialling { .. } | Life::Joining { .. } | Life::Closed => {}
        }
    }

    fn wait(
        &mut self,
        window: Window,
        at_servers_wish: bool,
        timed_out: bool,
        why: Invariant,
        expected: &mut Expected,
    ) {
        self.life = Life::Waiting { window, at_servers_wish, timed_out };
        expected.change = why;
    }

    /// A session that lasted makes the windows begin anew.
    fn notes_stability(&mut self, at: Timestamp) {
        if let Life::Session(s) = &self.life
            && s.opened_at.saturating_add(self.rules.stable_after) <= at
        {
            self.windows.begin_anew();
        }
    }

    fn back_off(&mut self, at: Timestamp, timed_out: bool, why: Invariant, e: &mut Expected) {
        self.notes_stability(at);
        let window = self.windows.next(at);
        self.wait(window, false, timed_out, why, e);
    }

    fn ends(&mut self, why: Invariant, expected: &mut Expected) {
        self.life = Life::Closed;
        expected.change = why;
    }

    /// What the event leads to.
    fn expect(&mut self, event: AgentEvent, at: Timestamp, e: &mut Expected) {
        match event {
            AgentEvent::Start => {
                if matches!(self.life, Life::Idle) {
                    e.owe(Owed::Dial, Invariant::ComesBack);
                }
            }
            AgentEvent::LinkUp(link) => match self.life {
                Life::Dialling { link: current, .. } if current == link => {
                    let by = at.saturating_add(self.rules.hello_timeout);
                    self.life = Life::Joining { link, by };
                    e.owe(Owed::Hello(link), Invariant::HelloGoesFirst);
                    e.change = Invariant::HelloGoesFirst;
                }
                Life::Idle
                | Life::Dialling { .. }
                | Life::Joining { .. }
                | Life::Session(_)
                | Life::Waiting { .. }
                | Life::Closed => {
                    if self.life.link() != Some(link) {
                        e.owe(Owed::Close(link, None), Invariant::OneLinkAtATime);
                    }
                }
            },
            AgentEvent::DialFailed(link, failure) => {
                if let Life::Dialling { link: current, .. } = self.life
                    && current == link
                {
                    match self.windows.after(failure, at) {
                        Some((w, wish)) => self.wait(w, wish, false, Invariant::ComesBack, e),
                        None => self.ends(Invariant::NoDialAfterRefusal, e),
                    }
                }
            }
            AgentEvent::Received(link, frame) if self.life.link() == Some(link) => {
                self.hears(link, frame, at, e);
            }
            AgentEvent::Received(..) => {}
            AgentEvent::LinkDown(link, reason) if self.life.link() == Some(link) => {
                self.loses(reason, at, e);
            }
            AgentEvent::LinkDown(..) => {}
            AgentEvent::Wake => self.wakes(at, e),
            AgentEvent::Stop => {
                if let Some(link) = self.life.link() {
                    let cause = Some(CloseCause::AgentStopped);
                    e.owe(Owed::Close(link, cause), Invariant::StopIsObeyed);
                }
                self.ends(Invariant::StopIsObeyed, e);
            }
        }
    }

    fn hears(&mut self, link: LinkId, frame: AgentInbound, at: Timestamp, e: &mut Expected) {
        match &mut self.life {
            Life::Joining { .. } => match frame {
                AgentInbound::HelloAccepted(terms) => self.joins(link, terms, at, e),
                AgentInbound::HelloRefused(refusal) => {
                    e.owe(Owed::Close(link, None), Invariant::OneLinkAtATime);
                    match refusal {
                        HelloRefusal::Forbidden => self.ends(Invariant::NoDialAfterRefusal, e),
                        HelloRefusal::Unauthorized => {
                            let window = self.windows.with_new_token(at);
                            self.wait(window, false, false, Invariant::ComesBack, e);
                        }
                        HelloRefusal::Other => self.back_off(at, false, Invariant::ComesBack, e),
                    }
                }
                AgentInbound::Ping { echo } => {
                    e.owe(Owed::Pong(link, echo), Invariant::PingIsAnswered);
                }
                AgentInbound::Heartbeat(_) | AgentInbound::Other => {}
            },
            Life::Session(s) => {
                if s.silence.heard(at) {
                    e.change = Invariant::AnyFrameProvesLife;
                }
                if let AgentInbound::Ping { echo } = frame {
                    e.owe(Owed::Pong(link, echo), Invariant::PingIsAnswered);
                }
            }
            Life::Idle | Life::Dialling { .. } | Life::Waiting { .. } | Life::Closed => {}
        }
    }

    fn joins(&mut self, link: LinkId, terms: SessionTerms, at: Timestamp, e: &mut Expected) {
        let silence = Silence::new(terms.timing, at);
        let beats = Beats::new(terms.timing.interval(), at);
        self.life = Life::Session(Session { link, opened_at: at, silence, beats });
        e.owe(Owed::Beat(link), Invariant::BeatsEveryInterval);
        e.change = Invariant::AcceptedIsConnected;
    }

    fn loses(&mut self, reason: CloseReason, at: Timestamp, e: &mut Expected) {
        let come_back = match reason.initiator {
            Initiator::Peer => reason.cause.come_back(),
            Initiator::Local | Initiator::Link => ComeBack::Backoff,
        };
        match come_back {
            ComeBack::Never => self.ends(Invariant::NoDialAfterRefusal, e),
            ComeBack::Backoff => self.back_off(at, false, Invariant::ComesBack, e),
            ComeBack::WithNewToken => {
                self.notes_stability(at);
                let window = self.windows.with_new_token(at);
                self.wait(window, false, false, Invariant::ComesBack, e);
            }
        }
    }

    fn wakes(&mut self, at: Timestamp, e: &mut Expected) {
        match &mut self.life {
            Life::Dialling { link, by } | Life::Joining { link, by } if *by <= at => {
                let link = *link;
                e.owe(Owed::Close(link, Some(CloseCause::NoAnswer)), Invariant::GivesUpInTime);
                self.back_off(at, false, Invariant::GivesUpInTime, e);
            }
            Life::Waiting { window, .. } if window.by.saturating_add(SLACK) <= at => {
                e.owe(Owed::Dial, Invariant::ComesBack);
            }
            Life::Session(s) => s.silence.woken(at),
            Life::Idle
            | Life::Dialling { .. }
            | Life::Joining { .. }
            | Life::Waiting { .. }
            | Life::Closed => {}
        }
    }

    /// What the agent may decide by itself within a range: when to dial, and what to say of a
    /// silence.
    fn chooses(
        &mut self,
        call: &Call<'_>,
        seen: &[Observation],
        e: &mut Expected,
    ) -> Result<(), Violation> {
        let shows = |phase| seen.contains(&Observation::Shown(phase));
        let dials = seen.iter().find_map(|o| match o {
            Observation::Dialled(link) => Some(*link),
            Observation::SentHello(_)
            | Observation::SentBeat(..)
            | Observation::SentPong(..)
            | Observation::Closed(..)
            | Observation::Shown(_)
            | Observation::Noted => None,
        });
        if let Some(link) = dials {
            let by = call.at.saturating_add(self.rules.dial_timeout);
            match self.life {
                Life::Idle if e.owed.iter().any(|(owed, _)| *owed == Owed::Dial) => {}
                Life::Waiting { window, .. } => {
                    if call.at < window.from {
                        let wait = window.from.saturating_since(call.at);
                        let expected = format!("no dial for another {wait:?}");
                        call.blame(Invariant::RedialsByBackoff, expected, call.did())?;
                    }
                }
                Life::Closed => {
                    return call.blame(e.change, "no dial any more", call.did());
                }
                Life::Idle | Life::Dialling { .. } | Life::Joining { .. } | Life::Session(_) => {
                    return call.blame(Invariant::OneLinkAtATime, "no dial", call.did());
                }
            }
            self.life = Life::Dialling { link, by };
            e.change = Invariant::ComesBack;
        }
        let Life::Session(s) = &mut self.life else { return Ok(()) };
        if shows(AgentStatusKind::Stale) && !s.silence.is_stale() {
            s.silence.goes_stale(call)?;
        } else if shows(AgentStatusKind::TimedOut) {
            s.silence.times_out(call)?;
            let owed = Owed::Close(s.link, Some(CloseCause::Silent));
            e.owe(owed, Invariant::OneLinkAtATime);
            self.back_off(call.at, true, Invariant::SilentPeerTimesOutExactly, e);
        } else if call.is_overdue(s.silence.due()) {
            call.blame(s.silence.name(), s.silence.next_word(), call.did())?;
        }
        if let Life::Session(s) = &mut self.life
            && call.is_overdue(s.beats.due())
        {
            e.owe(Owed::Beat(s.link), Invariant::BeatsEveryInterval);
        }
        Ok(())
    }

    fn one_report(
        &mut self,
        call: &Call<'_>,
        seen: &[Observation],
        status: Option<AgentStatusKind>,
    ) -> Result<(), Violation> {
        let name = Invariant::OneReportPerStep;
        let mut reports = 0;
        for observation in seen {
            let Observation::Shown(phase) = observation else { continue };
            reports += 1;
            if reports > 1 {
                call.blame(name, "at most one status a step", call.did())?;
            }
            if !AGENT_EDGES.iter().any(|edge| edge.from == self.shown && edge.to == *phase) {
                let edge = format!("from {} to {phase}", self.shown);
                call.blame(name, "an edge of the published graph", edge)?;
            }
            self.shown = *phase;
        }
        match status {
            Some(status) if status != self.shown => {
                let happened = format!("shown {}, but it is {status}", self.shown);
                call.blame(name, "the status shown is the true one", happened)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// What was done is owed or allowed, and what is owed was done.
    fn performs(
        &mut self,
        call: &Call<'_>,
        seen: &[Observation],
        expected: &Expected,
    ) -> Result<(), Violation> {
        let owes = |owed: Owed| expected.owed.iter().any(|(o, _)| *o == owed);
        for observation in seen {
            match *observation {
                Observation::Dialled(link) => {
                    if !self.held.is_empty() {
                        let holds = format!("dials {link} while it holds {:?}", self.held);
                        call.blame(Invariant::OneLinkAtATime, "one link at a time", holds)?;
                    }
                    if link <= self.newest {
                        let wanted = format!("a number above {}", self.newest);
                        call.blame(Invariant::EachDialANewLink, wanted, call.did())?;
                    }
                    self.newest = link;
                    self.held.push(link);
                }
                Observation::Closed(link, cause) => {
                    self.held.retain(|held| *held != link);
                    let code = cause.code();
                    if [CloseCode::NORMAL, CloseCode::NO_STATUS, CloseCode::ABNORMAL]
                        .contains(&code)
                    {
                        let wanted = "a code that an agent may send";
                        call.blame(Invariant::CloseHasACause, wanted, format!("code {code}"))?;
                    }
                }
                Observation::SentHello(link) if !owes(Owed::Hello(link)) => {
                    call.blame(Invariant::HelloGoesFirst, "no hello here", call.did())?;
                }
                Observation::SentPong(link, echo) if !owes(Owed::Pong(link, echo)) => {
                    call.blame(Invariant::PingIsAnswered, "no such pong", call.did())?;
                }
                Observation::SentHello(_) | Observation::SentPong(..) => {}
                Observation::SentBeat(link, number) => match &mut self.life {
                    Life::Session(s) if s.link == link => {
                        s.beats.no_burst(call)?;
                        s.beats.sent(call.at);
                        if let Some(number) = number {
                            s.beats.number(number, call)?;
                        }
                    }
                    Life::Joining { .. } => {
                        call.blame(Invariant::HelloGoesFirst, "no beat before", call.did())?;
                    }
                    Life::Idle
                    | Life::Dialling { .. }
                    | Life::Session(_)
                    | Life::Waiting { .. }
                    | Life::Closed => {
                        let wanted = "beats only over the link of the session";
                        call.blame(Invariant::BeatsEveryInterval, wanted, call.did())?;
                    }
                },
                Observation::Shown(_) | Observation::Noted => {}
            }
        }
        for (owed, name) in &expected.owed {
            let closed = |link| seen.iter().find_map(|o| closes(*o, link));
            let paid = match *owed {
                Owed::Dial => matches!(self.life, Life::Dialling { .. }),
                Owed::Hello(link) => seen.contains(&Observation::SentHello(link)),
                Owed::Beat(link) => {
                    seen.iter().any(|o| matches!(o, Observation::SentBeat(l, _) if *l == link))
                }
                Owed::Pong(link, echo) => seen.contains(&Observation::SentPong(link, echo)),
                Owed::Close(link, cause) => {
                    if let (Some(wanted), Some(given)) = (cause, closed(link))
                        && wanted != given
                    {
                        let (wanted, given) = (format!("{wanted}"), format!("{given}"));
                        call.blame(Invariant::CloseHasACause, wanted, given)?;
                    }
                    closed(link).is_some()
                }
            };
            if !paid {
                call.blame(*name, format!("{owed:?}"), call.did())?;
            }
        }
        Ok(())
    }

    /// The deadline comes no later than whatever is due next.
    fn wakes_in_time(&mut self, call: &Call<'_>, expected: &Expected) -> Result<(), Violation> {
        if !matches!(self.life, Life::Idle | Life::Closed) && call.deadline == Deadline::Never {
            let wanted = format!("a deadline while {}", self.life.phase());
            call.blame(Invariant::EveryWaitHasADeadline, wanted, "asks for no wake-up")?;
        }
        match &mut self.life {
            Life::Idle | Life::Closed => Ok(()),
            Life::Dialling { by, .. } => {
                call.wakes_by(*by, Invariant::GivesUpInTime, "the dial is given up")
            }
            Life::Joining { by, .. } => {
                call.wakes_by(*by, Invariant::GivesUpInTime, "the hello is given up")
            }
            Life::Waiting { window, .. } => {
                let slept = expected.change == Invariant::SleepIsNoticed;
                let name = if slept { Invariant::SleepIsNoticed } else { Invariant::ComesBack };
                call.wakes_by(window.by, name, "the next dial is due")
            }
            Life::Session(s) => {
                if s.silence.was_attended(call.at) {
                    s.silence.armed(call.deadline);
                }
                call.wakes_by(s.silence.due(), s.silence.name(), s.silence.next_word())?;
                let name = if call.slept >= SLEPT {
                    Invariant::SleepIsNoticed
                } else {
                    Invariant::BeatsEveryInterval
                };
                call.wakes_by(s.beats.due(), name, "a beat is due")
            }
        }
    }
}

fn closes(observation: Observation, link: LinkId) -> Option<CloseCause> {
    match observation {
        Observation::Closed(closed, cause) => (closed == link).then_some(cause),
        Observation::Dialled(_)
        | Observation::SentHello(_)
        | Observation::SentBeat(..)
        | Observation::SentPong(..)
        | Observation::Shown(_)
        | Observation::Noted => None,
    }
}
