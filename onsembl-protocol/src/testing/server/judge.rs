//! The judge of the server's end: it follows what happens to one agent and says after each call what
//! did not hold.

use super::super::beats::Beats;
use super::super::call::{Bench, Call};
use super::super::invariant::{Invariant, Violation};
use super::super::reaction::Reaction;
use super::super::silence::Silence;
use crate::close::{CloseCause, CloseCode, CloseReason, Initiator};
use crate::id::LinkId;
use crate::session::{
    Dialect, PRESENCE_EDGES, Presence, PresenceStatus, ServerAction, ServerConfig, ServerEvent,
    ServerInbound,
};
use crate::time::{Deadline, Now, Timestamp};
use std::format;
use std::vec::Vec;

/// Judges the server's end of one agent, call by call.
#[derive(Clone, Debug)]
pub struct Judge {
    config: ServerConfig,
    bench: Bench,
    presence: Presence,
    life: Life,
}

/// Where the agent must be.
#[derive(Clone, Copy, Debug)]
enum Life {
    New,
    Joining(Joining, Option<Away>),
    Session(Session, Option<Joining>),
    Away(Away),
    Gone,
}

#[derive(Clone, Copy, Debug)]
struct Joining {
    link: LinkId,
    dialect: Dialect,
    by: Timestamp,
}

#[derive(Clone, Copy, Debug)]
struct Away {
    timed_out: bool,
    until: Timestamp,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    link: LinkId,
    dialect: Dialect,
    silence: Silence,
    beats: Beats,
    faulted: bool,
    answer_by: Option<Timestamp>,
}

/// What one call must bring.
struct Expected {
    owed: Vec<(Owed, Invariant)>,
    change: Invariant,
    may_send_normal: bool,
}

#[derive(Clone, Copy, Debug)]
enum Owed {
    Admit(LinkId),
    Welcome(LinkId),
    Beat(LinkId),
    Answer(LinkId),
    Record,
    Close(LinkId),
    Forget,
}

impl Expected {
    fn owe(&mut self, owed: Owed, name: Invariant) {
        self.owed.push((owed, name));
    }
}

impl Life {
    const fn status(&self) -> PresenceStatus {
        match self {
            Self::New | Self::Gone => PresenceStatus::Offline,
            Self::Joining(..) => PresenceStatus::Connecting,
            Self::Session(s, _) if s.silence.is_stale() => PresenceStatus::Stale,
            Self::Session(s, _) if s.faulted => PresenceStatus::Error,
            Self::Session(..) => PresenceStatus::Online,
            Self::Away(Away { timed_out: true, .. }) => PresenceStatus::TimedOut,
            Self::Away(Away { timed_out: false, .. }) => PresenceStatus::Reconnecting,
        }
    }

    fn knows(&self, link: LinkId) -> bool {
        match self {
            Self::Joining(j, _) => j.link == link,
            Self::Session(s, other) => s.link == link || other.is_some_and(|j| j.link == link),
            Self::New | Self::Away(_) | Self::Gone => false,
        }
    }
}

impl Judge {
    /// A judge of a server's end that is told of no hello yet, and that shows this.
    pub fn new(config: ServerConfig, presence: Presence) -> Self {
        Self { config, bench: Bench::default(), presence, life: Life::New }
    }

    /// Without these invariants.
    #[must_use]
    pub fn waiving(mut self, invariants: &[Invariant]) -> Self {
        self.bench.waive(invariants);
        self
    }

    pub(super) const fn deadline(&self) -> Deadline {
        self.bench.deadline()
    }

    /// Judges one call: what came in, when, what was done, and what the world is told after it.
    /// After a violation the judge has lost the thread; begin with a new one.
    pub fn saw(
        &mut self,
        event: ServerEvent,
        now: Now,
        reaction: &Reaction<ServerAction>,
        presence: Presence,
    ) -> Result<(), Violation> {
        let mut bench = core::mem::take(&mut self.bench);
        let size = (reaction.actions.len(), reaction.deadline);
        let verdict = bench
            .open(&event, event == ServerEvent::Wake, now, &reaction.actions, size)
            .and_then(|call| self.judge(event, now, &call, &reaction.actions, presence));
        self.bench = bench;
        verdict
    }

    fn judge(
        &mut self,
        event: ServerEvent,
        now: Now,
        call: &Call<'_>,
        did: &[ServerAction],
        presence: Presence,
    ) -> Result<(), Violation> {
        self.silent_calls(event, call)?;
        if matches!(self.life, Life::Gone) {
            return Ok(());
        }
        if call.is_late() {
            self.forgive(call);
        }
        let change = match self.life {
            Life::Away(_) => Invariant::ResumeWindowIsKept,
            Life::New | Life::Joining(..) | Life::Session(..) | Life::Gone => {
                Invariant::NoChangeWithoutReason
            }
        };
        let mut expected = Expected { owed: Vec::new(), change, may_send_normal: false };
        self.expect(event, call.at, &mut expected);
        self.chooses(call, did, &mut expected)?;
        self.one_report(now, call, did, presence)?;
        if self.life.status() != self.presence.status {
            let wanted = format!("{:?}, not {:?}", self.life.status(), self.presence.status);
            let online = |s| {
                matches!(s, PresenceStatus::Online | PresenceStatus::Stale | PresenceStatus::Error)
            };
            let session = matches!(self.life, Life::Session(..));
            let name = if online(self.presence.status) && !session {
                Invariant::OnlineNeedsASession
            } else {
                expected.change
            };
            call.blame(name, wanted, call.did())?;
        }
        self.performs(call, did, &expected)?;
        self.wakes_in_time(call)
    }

    fn silent_calls(&self, event: ServerEvent, call: &Call<'_>) -> Result<(), Violation> {
        if matches!(self.life, Life::Gone) {
            if call.actions > 0 || call.deadline != Deadline::Never {
                call.blame(Invariant::TerminalIsFinal, "nothing, and no wake-up", call.did())?;
            }
            return Ok(());
        }
        if call.is_late() {
            return Ok(());
        }
        if call.is_early() {
            let watched = matches!(self.life, Life::Session(s, _) if s.silence.is_stale());
            call.must_be_silent(Invariant::EarlyWakeIsSilent, !watched)?;
        }
        match event {
            ServerEvent::Admitted { link, .. }
            | ServerEvent::Rejected { link, .. }
            | ServerEvent::Received(link, _)
            | ServerEvent::Faulted(link)
            | ServerEvent::LinkDown(link, _)
                if !self.life.knows(link) =>
            {
                call.must_be_silent(Invariant::OldLinkChangesNothing, true)
            }
            ServerEvent::Joined { .. }
            | ServerEvent::Admitted { .. }
            | ServerEvent::Rejected { .. }
            | ServerEvent::Received(..)
            | ServerEvent::Recorded { .. }
            | ServerEvent::Store(_)
            | ServerEvent::Faulted(_)
            | ServerEvent::LinkDown(..)
            | ServerEvent::Evict(_)
            | ServerEvent::Wake => Ok(()),
        }
    }

    /// An absence of the server lengthens what it awaits.
    fn forgive(&mut self, call: &Call<'_>) {
        let lengthen = |until: &mut Timestamp| *until = until.saturating_add(call.gap);
        match &mut self.life {
            Life::Joining(joining, away) => {
                lengthen(&mut joining.by);
                if let Some(away) = away {
                    lengthen(&mut away.until);
                }
            }
            Life::Away(away) => lengthen(&mut away.until),
            Life::Session(_, Some(challenger)) => lengthen(&mut challenger.by),
            Life::Session(_, None) | Life::New | Life::Gone => {}
        }
    }

    fn expect(&mut self, event: ServerEvent, at: Timestamp, e: &mut Expected) {
        match event {
            ServerEvent::Joined { link, dialect, .. } => {
                let by = at.saturating_add(self.config.admission_timeout);
                let joining = Joining { link, dialect, by };
                e.owe(Owed::Admit(link), Invariant::HelloIsAnswered);
                e.change = Invariant::HelloIsAnswered;
                self.life = match self.life {
                    Life::Session(s, earlier) => {
                        if let Some(earlier) = earlier {
                            e.owe(Owed::Close(earlier.link), Invariant::NewestHelloCounts);
                        }
                        Life::Session(s, Some(joining))
                    }
                    Life::Joining(earlier, away) => {
                        e.owe(Owed::Close(earlier.link), Invariant::NewestHelloCounts);
                        Life::Joining(joining, away)
                    }
                    Life::Away(away) => Life::Joining(joining, Some(away)),
                    Life::New | Life::Gone => Life::Joining(joining, None),
                };
            }
            ServerEvent::Admitted { link, .. } => self.admitted(link, at, e),
            ServerEvent::Rejected { link, .. } => self.turned_away(link, at, e),
            ServerEvent::Received(link, frame) => self.hears(link, frame, at, e),
            ServerEvent::Faulted(link) => {
                if let Life::Session(s, _) = &mut self.life
                    && s.link == link
                {
                    s.faulted = true;
                }
            }
            ServerEvent::LinkDown(link, reason) => self.loses(link, reason, at, e),
            ServerEvent::Evict(_) => {
                match self.life {
                    Life::Joining(j, _) => e.owe(Owed::Close(j.link), Invariant::DeadLinkIsClosed),
                    Life::Session(s, other) => {
                        e.owe(Owed::Close(s.link), Invariant::DeadLinkIsClosed);
                        if let Some(j) = other {
                            e.owe(Owed::Close(j.link), Invariant::DeadLinkIsClosed);
                        }
                    }
                    Life::New | Life::Away(_) | Life::Gone => {}
                }
                self.goes(Invariant::StoppedIsOffline, e);
            }
            ServerEvent::Wake => self.wakes(at, e),
            ServerEvent::Recorded { .. } | ServerEvent::Store(_) => {}
        }
    }

    fn admitted(&mut self, link: LinkId, at: Timestamp, e: &mut Expected) {
        let joining = match self.life {
            Life::Joining(j, _) if j.link == link => j,
            Life::Session(old, Some(j)) if j.link == link => {
                e.owe(Owed::Close(old.link), Invariant::OneSessionAtATime);
                e.may_send_normal = old.dialect == Dialect::Legacy;
                j
            }
            Life::New | Life::Joining(..) | Life::Session(..) | Life::Away(_) | Life::Gone => {
                return;
            }
        };
        let timing = self.config.timing;
        let session = Session {
            link,
            dialect: joining.dialect,
            silence: Silence::new(timing, at),
            beats: Beats::new(timing.interval(), at),
            faulted: false,
            answer_by: None,
        };
        self.life = Life::Session(session, None);
        e.owe(Owed::Welcome(link), Invariant::HelloIsAnswered);
        e.owe(Owed::Beat(link), Invariant::BeatsEveryInterval);
        e.change = Invariant::OnlineNeedsASession;
    }

    fn turned_away(&mut self, link: LinkId, at: Timestamp, e: &mut Expected) {
        match self.life {
            Life::Joining(j, away) if j.link == link => {
                e.owe(Owed::Close(link), Invariant::HelloIsAnswered);
                self.ends_joining(away, at, e);
            }
            Life::Session(s, Some(j)) if j.link == link => {
                e.owe(Owed::Close(link), Invariant::HelloIsAnswered);
                self.life = Life::Session(s, None);
            }
            Life::New | Life::Joining(..) | Life::Session(..) | Life::Away(_) | Life::Gone => {}
        }
    }

    fn ends_joining(&mut self, away: Option<Away>, at: Timestamp, e: &mut Expected) {
        match away {
            Some(away) if away.until > at => {
                self.life = Life::Away(away);
                e.change = Invariant::ResumeWindowIsKept;
            }
            Some(_) | None => self.goes(Invariant::ResumeWindowIsKept, e),
        }
    }

    fn hears(&mut self, link: LinkId, frame: ServerInbound, at: Timestamp, e: &mut Expected) {
        let Life::Session(s, _) = &mut self.life else { return };
        if s.link != link {
            return;
        }
        if s.silence.heard(at) {
            e.change = Invariant::AnyFrameProvesLife;
        }
        match (frame, s.dialect) {
            (ServerInbound::Heartbeat { .. }, _) => {
                let grace = self.config.timing.recording_grace();
                s.answer_by = s.answer_by.or(Some(at.saturating_add(grace)));
                e.owe(Owed::Record, Invariant::BeatIsRecorded);
            }
            (ServerInbound::Pong, Dialect::Legacy) => {
                e.owe(Owed::Record, Invariant::BeatIsRecorded);
            }
            (ServerInbound::Pong, Dialect::Extended) | (ServerInbound::Other, _) => {}
        }
    }

    fn loses(&mut self, link: LinkId, reason: CloseReason, at: Timestamp, e: &mut Expected) {
        let until = at.saturating_add(self.config.resume_window);
        let away = Away { timed_out: false, until };
        match self.life {
            Life::Session(s, other) if s.link == link => {
                let stopped = reason.initiator == Initiator::Peer
                    && matches!(reason.cause, CloseCause::AgentStopped | CloseCause::Normal);
                match other {
                    Some(j) => self.life = Life::Joining(j, Some(away)),
                    None if stopped => return self.goes(Invariant::StoppedIsOffline, e),
                    None => self.life = Life::Away(away),
                }
                e.change = Invariant::ResumeWindowIsKept;
            }
            Life::Session(s, Some(j)) if j.link == link => self.life = Life::Session(s, None),
            Life::Joining(j, away) if j.link == link => self.ends_joining(away, at, e),
            Life::New | Life::Joining(..) | Life::Session(..) | Life::Away(_) | Life::Gone => {}
        }
    }

    fn wakes(&mut self, at: Timestamp, e: &mut Expected) {
        match self.life {
            Life::Joining(Joining { link, by, .. }, _) if by <= at => {
                self.turned_away(link, at, e);
            }
            Life::Session(_, Some(Joining { link, by, .. })) if by <= at => {
                self.turned_away(link, at, e);
            }
            Life::Away(away) if away.until <= at => self.goes(Invariant::ResumeWindowIsKept, e),
            Life::Session(..) | Life::New | Life::Joining(..) | Life::Away(_) | Life::Gone => {}
        }
        // Also when a challenger is given up, the session is looked at.
        match &mut self.life {
            Life::Session(s, _) => s.silence.woken(at),
            Life::New | Life::Joining(..) | Life::Away(_) | Life::Gone => {}
        }
    }

    fn goes(&mut self, why: Invariant, e: &mut Expected) {
        self.life = Life::Gone;
        e.owe(Owed::Forget, Invariant::ForgetIsLast);
        e.change = why;
    }

    /// What may be said of a silence within a range.
    fn chooses(
        &mut self,
        call: &Call<'_>,
        did: &[ServerAction],
        e: &mut Expected,
    ) -> Result<(), Violation> {
        let Life::Session(s, other) = &mut self.life else { return Ok(()) };
        let other = *other;
        let shown = did.iter().find_map(|action| report(*action)).map(|p| p.status);
        let closed =
            |link| did.iter().any(|a| matches!(a, ServerAction::Close(l, _) if *l == link));
        let mut overdue = e.owed.is_empty();
        if shown == Some(PresenceStatus::Stale) && !s.silence.is_stale() {
            s.silence.goes_stale(call)?;
        } else if shown == Some(PresenceStatus::TimedOut)
            || (shown == Some(PresenceStatus::Connecting) && other.is_some() && closed(s.link))
        {
            s.silence.times_out(call)?;
            e.owe(Owed::Close(s.link), Invariant::DeadLinkIsClosed);
            e.change = Invariant::SilentPeerTimesOutExactly;
            let until = call.at.saturating_add(self.config.resume_window);
            let away = Away { timed_out: true, until };
            self.life = match other {
                Some(j) => Life::Joining(j, Some(away)),
                None => Life::Away(away),
            };
            overdue = false;
        }
        let Life::Session(s, _) = &mut self.life else { return Ok(()) };
        if !overdue {
            return Ok(());
        }
        if call.is_overdue(s.silence.due()) {
            call.blame(s.silence.name(), s.silence.next_word(), call.did())?;
        }
        if call.is_overdue(s.beats.due()) {
            e.owe(Owed::Beat(s.link), Invariant::BeatsEveryInterval);
        }
        if s.answer_by.is_some_and(|by| call.is_overdue(by)) {
            e.owe(Owed::Answer(s.link), Invariant::BeatIsAnswered);
        }
        Ok(())
    }

    fn one_report(
        &mut self,
        now: Now,
        call: &Call<'_>,
        did: &[ServerAction],
        presence: Presence,
    ) -> Result<(), Violation> {
        let name = Invariant::OneReportPerStep;
        for (n, next) in did.iter().filter_map(|action| report(*action)).enumerate() {
            let before = core::mem::replace(&mut self.presence, next);
            if n > 0 {
                call.blame(name, "at most one status a step", call.did())?;
            }
            let edge = next.edge_from(&before);
            if !PRESENCE_EDGES.contains(&edge) {
                let happened = format!("{edge}");
                call.blame(name, "an edge of the published graph", happened)?;
            }
            if next.version != before.version.next() {
                let wanted = format!("version {}", before.version.next());
                let happened = format!("version {}", next.version);
                call.blame(Invariant::VersionGrowsByOne, wanted, happened)?;
            }
            let since = if next.status == before.status { before.since } else { now.wall };
            if next.since != since {
                let (wanted, happened) = (format!("since {since}"), format!("{}", next.since));
                call.blame(Invariant::SinceMovesOnlyWithStatus, wanted, happened)?;
            }
        }
        if presence == self.presence {
            return Ok(());
        }
        let (wanted, happened) = (format!("{:?}", self.presence), format!("{presence:?}"));
        call.blame(name, wanted, happened)
    }

    fn performs(
        &mut self,
        call: &Call<'_>,
        did: &[ServerAction],
        expected: &Expected,
    ) -> Result<(), Violation> {
        for action in did {
            match *action {
                ServerAction::SendBeat { link, .. } | ServerAction::SendPing(link) => {
                    let Life::Session(s, _) = &mut self.life else {
                        let wanted = "beats only in a session";
                        call.blame(Invariant::BeatsEveryInterval, wanted, call.did())?;
                        continue;
                    };
                    if s.link != link {
                        let wanted = format!("beats over link {}", s.link);
                        call.blame(Invariant::BeatsEveryInterval, wanted, call.did())?;
                    }
                    s.beats.sent(call.at);
                    if let ServerAction::SendBeat { beat, .. } = action {
                        s.answer_by = None;
                        if s.dialect == Dialect::Extended {
                            s.beats.number(beat.sequence, call)?;
                        }
                    }
                }
                ServerAction::Close(_, cause) => {
                    let code = cause.code();
                    let normal = code == CloseCode::NORMAL && !expected.may_send_normal;
                    if normal || [CloseCode::NO_STATUS, CloseCode::ABNORMAL].contains(&code) {
                        let wanted = "a code that a server may send here";
                        call.blame(Invariant::CloseHasACause, wanted, format!("code {code}"))?;
                    }
                }
                ServerAction::Admit(_)
                | ServerAction::Welcome { .. }
                | ServerAction::Record { .. }
                | ServerAction::Report(_)
                | ServerAction::Overslept(_)
                | ServerAction::Forget => {}
            }
        }
        let forgets = did.contains(&ServerAction::Forget);
        if forgets && !matches!(self.life, Life::Gone) {
            call.blame(Invariant::ForgetIsLast, "no Forget while it may return", call.did())?;
        }
        for (owed, name) in &expected.owed {
            if !paid(*owed, did) {
                call.blame(*name, format!("{owed:?}"), call.did())?;
            }
        }
        Ok(())
    }

    fn wakes_in_time(&mut self, call: &Call<'_>) -> Result<(), Violation> {
        let over = matches!(self.life, Life::New | Life::Gone);
        if !over && call.deadline == Deadline::Never {
            let name = Invariant::EveryWaitHasADeadline;
            call.blame(name, "a deadline until the end", "asks for no wake-up")?;
        }
        match &mut self.life {
            Life::New => Ok(()),
            Life::Gone if call.deadline == Deadline::Never => Ok(()),
            Life::Gone => call.blame(Invariant::TerminalIsFinal, "no wake-up", call.did()),
            Life::Joining(j, _) => {
                call.wakes_by(j.by, Invariant::HelloIsAnswered, "the hello is given up")
            }
            Life::Away(away) => {
                call.wakes_by(away.until, Invariant::ResumeWindowIsKept, "the window is over")
            }
            Life::Session(s, other) => {
                if s.silence.was_attended(call.at) {
                    s.silence.armed(call.deadline);
                }
                call.wakes_by(s.silence.due(), s.silence.name(), s.silence.next_word())?;
                call.wakes_by(s.beats.due(), Invariant::BeatsEveryInterval, "a beat is due")?;
                if let Some(by) = s.answer_by {
                    call.wakes_by(by, Invariant::BeatIsAnswered, "the answer is due")?;
                }
                if let Some(j) = other {
                    call.wakes_by(j.by, Invariant::HelloIsAnswered, "the hello is given up")?;
                }
                Ok(())
            }
        }
    }
}

fn paid(owed: Owed, did: &[ServerAction]) -> bool {
    match owed {
        Owed::Forget => did.last() == Some(&ServerAction::Forget),
        Owed::Admit(link) => did.contains(&ServerAction::Admit(link)),
        Owed::Welcome(link) => {
            did.iter().any(|a| matches!(a, ServerAction::Welcome { link: l, .. } if *l == link))
        }
        Owed::Beat(link) => did.iter().any(|a| {
            matches!(a, ServerAction::SendBeat { link: l, .. } | ServerAction::SendPing(l) if *l == link)
        }),
        Owed::Answer(link) => {
            did.iter().any(|a| matches!(a, ServerAction::SendBeat { link: l, .. } if *l == link))
        }
        Owed::Record => did.iter().any(|a| matches!(a, ServerAction::Record { .. })),
        Owed::Close(link) => {
            did.iter().any(|a| matches!(a, ServerAction::Close(l, _) if *l == link))
        }
    }
}

const fn report(action: ServerAction) -> Option<Presence> {
    match action {
        ServerAction::Report(presence) => Some(presence),
        ServerAction::Admit(_)
        | ServerAction::Welcome { .. }
        | ServerAction::Record { .. }
        | ServerAction::SendBeat { .. }
        | ServerAction::SendPing(_)
        | ServerAction::Close(..)
        | ServerAction::Overslept(_)
        | ServerAction::Forget => None,
    }
}
