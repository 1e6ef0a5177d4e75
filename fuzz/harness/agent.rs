// The invariants of the agent's machine, for any events at any times.

use super::bytes::{Bytes, Clocks, MOST_EVENTS, earlier, early};
use core::time::Duration;
use onsembl_protocol::close::{Breakage, CloseCause, CloseCode, CloseReason};
use onsembl_protocol::id::{BeatSequence, Epoch, LinkId};
use onsembl_protocol::liveness::{HeartbeatTiming, OVERSLEEP_TOLERANCE};
use onsembl_protocol::session::{
    AGENT_EDGES, AgentAction, AgentCause, AgentConfig, AgentConnection, AgentEvent, AgentInbound,
    AgentReport, AgentStatus, DialFailure, Dialect, EndOrder, HelloRefusal, ServerBeat,
    SessionTerms,
};
use onsembl_protocol::step::MAX_ACTIONS;
use onsembl_protocol::time::{Deadline, Now, Timestamp};

/// Any bytes, taken as events with their times.
pub fn agent(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let mut observer = Observer::new(bytes.short());
    for _ in 0..MOST_EVENTS {
        if bytes.is_empty() {
            return;
        }
        observer.step(&mut bytes);
    }
}

/// What is known to one who sees only events and actions.
struct Observer {
    machine: AgentConnection,
    clocks: Clocks,
    last: Now,
    deadline: Deadline,
    link: LinkId,
    timing: HeartbeatTiming,
    heard_at: Timestamp,
    stale_at: Option<Timestamp>,
    absent: Duration,
}

impl Observer {
    fn new(seed: u64) -> Self {
        let clocks = Clocks::default();
        let mut machine = AgentConnection::new(AgentConfig::DEFAULT, seed);
        let step = machine.handle(AgentEvent::Wake, clocks.now());
        assert!(step.actions.is_empty(), "an idle machine acts: {step:?}");
        Self {
            machine,
            clocks,
            last: clocks.now(),
            deadline: step.deadline,
            link: LinkId(0),
            timing: HeartbeatTiming::DEFAULT,
            heard_at: Timestamp::ORIGIN,
            stale_at: None,
            absent: Duration::ZERO,
        }
    }

    fn step(&mut self, bytes: &mut Bytes<'_>) {
        self.clocks.pass(bytes, self.deadline);
        let now = self.clocks.now();
        let fraction = bytes.byte();
        let event = event(bytes, self.link);
        self.an_early_wake_changes_nothing(fraction);
        self.a_clock_that_steps_back_stands_still(event, fraction);
        self.an_old_link_changes_nothing(event);

        let before = self.machine.status();
        let step = self.machine.handle(event, now);
        let after = self.machine.status();
        let at = self.last.monotonic.max(now.monotonic);
        let gap = at.saturating_since(self.last.monotonic);
        self.last = Now { monotonic: at, boot: self.last.boot.max(now.boot), wall: now.wall };
        self.deadline = step.deadline;
        let what = format!("{event:?} at {at}: {before:?} -> {after:?}, {step:?}");

        let over = matches!(after, AgentStatus::Idle | AgentStatus::Closed);
        assert_eq!(step.deadline == Deadline::Never, over, "the way out by time: {what}");
        assert!(!step.deadline.is_due(at), "a deadline in the past: {what}");
        assert!(step.actions.iter().count() <= MAX_ACTIONS, "too many actions: {what}");
        if before == AgentStatus::Closed {
            let orphan =
                |a: AgentAction| matches!(a, AgentAction::Close(_, CloseCause::Superseded));
            assert!(step.actions.iter().all(orphan), "acts after the end: {what}");
            assert_eq!(after, AgentStatus::Closed, "comes back after the end: {what}");
        }
        let mut report = None;
        for action in step.actions {
            match action {
                AgentAction::Report(new) => {
                    assert_eq!(report.replace(new), None, "two reports: {what}");
                }
                AgentAction::Dial(link) => {
                    assert!(link > self.link, "a link twice: {what}");
                    self.link = link;
                }
                AgentAction::Overslept(_) => self.absent += gap,
                _ => {}
            }
        }
        match report {
            Some(report) => {
                assert_eq!(report.status, after, "reports what is not: {what}");
                let edge = report.edge_from(&before);
                assert!(AGENT_EDGES.contains(&edge), "no such edge, {edge}: {what}");
            }
            None => assert_eq!(before.kind(), after.kind(), "unreported: {what}"),
        }
        self.liveness(event, at, report, &what);
    }

    /// Stale only after silence; timed out only after a stale phase that was watched.
    fn liveness(
        &mut self,
        event: AgentEvent,
        at: Timestamp,
        report: Option<AgentReport>,
        what: &str,
    ) {
        if let AgentEvent::Received(link, frame) = event
            && link == self.link
        {
            self.heard_at = at;
            if let (
                AgentInbound::HelloAccepted(terms),
                Some(AgentReport { cause: AgentCause::HelloAccepted, .. }),
            ) = (frame, report)
            {
                self.timing = terms.timing;
            }
        }
        let silence = at.saturating_since(self.heard_at);
        match report.map(|report| report.status) {
            Some(AgentStatus::Stale { .. }) => {
                assert!(silence >= self.timing.stale_after(), "stale too early: {what}");
                self.stale_at = Some(at);
                self.absent = Duration::ZERO;
            }
            Some(AgentStatus::TimedOut { .. }) => {
                assert!(silence >= self.timing.timeout_after(), "timed out too early: {what}");
                let stale_at = self.stale_at.take();
                assert!(stale_at.is_some(), "timed out and never stale: {what}");
                let watched = at
                    .saturating_since(stale_at.unwrap_or(at))
                    .saturating_sub(self.absent)
                    .saturating_add(OVERSLEEP_TOLERANCE);
                let phase = self.timing.timeout_after() - self.timing.stale_after();
                assert!(watched >= phase, "watched for {watched:?} only: {what}");
            }
            Some(_) => self.stale_at = None,
            None => {}
        }
    }

    fn an_early_wake_changes_nothing(&self, fraction: u8) {
        let Some(moment) = early(self.last, self.deadline, fraction) else { return };
        let mut twin = self.machine.clone();
        let step = twin.handle(AgentEvent::Wake, moment);
        assert!(step.actions.is_empty(), "an early wake did {step:?}");
        assert_eq!(twin.status(), self.machine.status(), "an early wake changed the status");
        // A stale peer is watched in short steps, so there the deadline may move.
        if !matches!(twin.status(), AgentStatus::Stale { .. }) {
            assert_eq!(step.deadline, self.deadline, "an early wake moved the deadline");
        }
    }

    fn a_clock_that_steps_back_stands_still(&self, event: AgentEvent, fraction: u8) {
        let (mut on_time, mut back) = (self.machine.clone(), self.machine.clone());
        let by = Duration::from_millis(u64::from(fraction) * 997);
        let expected = on_time.handle(event, self.last);
        assert_eq!(back.handle(event, earlier(self.last, by)), expected, "{event:?} {by:?} back");
        assert_eq!(back.status(), on_time.status(), "{event:?} {by:?} back");
    }

    fn an_old_link_changes_nothing(&self, event: AgentEvent) {
        let Some(old) = self.link.0.checked_sub(1).map(LinkId) else { return };
        let event = match event {
            AgentEvent::LinkUp(_) => AgentEvent::LinkUp(old),
            AgentEvent::DialFailed(_, failure) => AgentEvent::DialFailed(old, failure),
            AgentEvent::Received(_, frame) => AgentEvent::Received(old, frame),
            AgentEvent::LinkDown(_, reason) => AgentEvent::LinkDown(old, reason),
            AgentEvent::Start
            | AgentEvent::Wake
            | AgentEvent::News
            | AgentEvent::TokenChanged
            | AgentEvent::Stop
            | AgentEvent::EndOrdered(_) => {
                return;
            }
        };
        let mut twin = self.machine.clone();
        for action in twin.handle(event, self.last).actions {
            let dropped = matches!((event, action),
                (AgentEvent::LinkUp(_), AgentAction::Close(link, _)) if link == old);
            assert!(dropped, "{event:?} of an old link did {action:?}");
        }
        assert_eq!(twin.status(), self.machine.status(), "{event:?} of an old link");
        assert_eq!(twin.deadline(), self.machine.deadline(), "{event:?} of an old link");
    }
}

fn event(bytes: &mut Bytes<'_>, current: LinkId) -> AgentEvent {
    let kind = bytes.byte();
    let link = LinkId(current.0.saturating_sub(u64::from(kind >> 6 == 3)));
    match kind % 12 {
        0 => AgentEvent::Start,
        1 | 2 => AgentEvent::LinkUp(link),
        3 => {
            let failure = match bytes.pick(DialFailure::SAMPLES) {
                DialFailure::Busy { retry_after: Some(_) } => {
                    DialFailure::Busy { retry_after: Some(Duration::from_millis(bytes.short())) }
                }
                DialFailure::NotAServer(_) => DialFailure::NotAServer(bytes.short() as u16),
                other => other,
            };
            AgentEvent::DialFailed(link, failure)
        }
        4..8 => AgentEvent::Received(link, frame(bytes)),
        8 => AgentEvent::LinkDown(link, reason(bytes)),
        9 => match bytes.byte() % 16 {
            15 => AgentEvent::EndOrdered(bytes.pick(&EndOrder::ALL)),
            7 => AgentEvent::Stop,
            _ => AgentEvent::Wake,
        },
        10 if kind >= 200 => AgentEvent::News,
        11 if kind >= 200 => AgentEvent::TokenChanged,
        _ => AgentEvent::Wake,
    }
}

/// Any end of a link.
pub fn reason(bytes: &mut Bytes<'_>) -> CloseReason {
    match bytes.byte() % 4 {
        0 => CloseReason::broken(bytes.pick(Breakage::ALL)),
        1 => CloseReason::local(bytes.pick(CloseCause::ALL)),
        2 => CloseReason::peer(Some(bytes.pick(CloseCause::ALL).code())),
        _ => CloseReason::peer(bytes.number().map(|n| CloseCode(1000 + (n % 64) as u16))),
    }
}

fn frame(bytes: &mut Bytes<'_>) -> AgentInbound {
    let kind = bytes.byte();
    match kind % 8 {
        0..3 => AgentInbound::HelloAccepted(SessionTerms {
            dialect: if kind > 200 { Dialect::Legacy } else { Dialect::Extended },
            epoch: Epoch(bytes.number().unwrap_or(0)),
            timing: timing(bytes),
            end_orders: kind.is_multiple_of(2),
        }),
        3 => AgentInbound::HelloRefused(bytes.pick(&[
            HelloRefusal::Unauthorized,
            HelloRefusal::Forbidden,
            HelloRefusal::Other,
        ])),
        4 | 5 => AgentInbound::Heartbeat(ServerBeat {
            sequence: bytes.number().map(BeatSequence),
            seen: bytes.number().map(BeatSequence),
            recorded: bytes.number().map(BeatSequence),
            lagging: kind > 200,
        }),
        6 => AgentInbound::Ping { echo: bytes.number().map(|n| (n as f64).into()) },
        _ => AgentInbound::Other,
    }
}

/// Any times that go together.
fn timing(bytes: &mut Bytes<'_>) -> HeartbeatTiming {
    if bytes.byte().is_multiple_of(2) {
        return HeartbeatTiming::DEFAULT;
    }
    let ms = |n| Duration::from_millis(n);
    let interval = ms(10 + bytes.short());
    let stale = interval + ms(1 + bytes.short());
    HeartbeatTiming::new(interval, stale, stale + ms(1 + bytes.short()))
        .unwrap_or(HeartbeatTiming::DEFAULT)
}
