//! The invariants of the agent's machine.

use super::walk::{Clocks, Passing, earlier, early, passing};
use crate::lifecycle::solo::TERMS;
use crate::support::{ms, secs};
use onsembl_protocol::close::{Breakage, CloseCause, CloseCode, CloseReason};
use onsembl_protocol::id::{BeatSequence, Epoch, LinkId};
use onsembl_protocol::liveness::{HeartbeatTiming, OVERSLEEP_TOLERANCE};
use onsembl_protocol::session::{
    AGENT_EDGES, AgentAction, AgentCause, AgentConfig, AgentConnection, AgentEvent, AgentInbound,
    AgentStatus, DialFailure, Dialect, EndOrder, HelloRefusal, ServerBeat, SessionTerms,
};
use onsembl_protocol::time::{Deadline, Now, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// An event whose link is still open.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Start,
    LinkUp,
    DialFailed(DialFailure),
    Received(AgentInbound),
    LinkDown(CloseReason),
    Wake,
    News,
    TokenChanged,
    Stop,
    EndOrdered(EndOrder),
}

#[derive(Clone, Copy, Debug)]
struct Move {
    passing: Passing,
    happening: Happening,
    /// 0: the current link; otherwise this many links before it.
    behind: u64,
    fraction: u8,
}

fn inbound() -> impl Strategy<Value = AgentInbound> {
    let timing = |(i, s, t)| HeartbeatTiming::new(ms(i), ms(s), ms(t)).unwrap();
    let terms = (
        any::<bool>(),
        select(vec![(30_000, 45_000, 90_000), (1_000, 2_500, 5_000), (10, 11, 12)]),
    )
        .prop_map(move |(legacy, times)| SessionTerms {
            dialect: if legacy { Dialect::Legacy } else { Dialect::Extended },
            epoch: Epoch(1),
            timing: timing(times),
            end_orders: !legacy,
        });
    let sequence = || prop::option::of((0u64..40).prop_map(BeatSequence));
    let beat = (sequence(), sequence(), sequence(), any::<bool>()).prop_map(
        |(sequence, seen, recorded, lagging)| {
            AgentInbound::Heartbeat(ServerBeat { sequence, seen, recorded, lagging })
        },
    );
    prop_oneof![
        4 => terms.prop_map(AgentInbound::HelloAccepted),
        1 => select(vec![HelloRefusal::Unauthorized, HelloRefusal::Other])
            .prop_map(AgentInbound::HelloRefused),
        3 => beat,
        1 => Just(AgentInbound::Ping { echo: Some(7.0.into()) }),
        2 => Just(AgentInbound::Other),
    ]
}

fn happening() -> impl Strategy<Value = Happening> {
    let failures = vec![
        DialFailure::Unreachable,
        DialFailure::TimedOut,
        DialFailure::Tls,
        DialFailure::NotAServer(502),
        DialFailure::Unauthorized,
        DialFailure::Busy { retry_after: None },
        DialFailure::Busy { retry_after: Some(secs(20)) },
    ];
    let mut reasons: Vec<CloseReason> = CloseCause::ALL
        .iter()
        .filter(|c| c.come_back() != onsembl_protocol::close::ComeBack::Never)
        .flat_map(|c| [CloseReason::peer(Some(c.code())), CloseReason::local(*c)])
        .collect();
    reasons.extend([
        CloseReason::peer(None),
        CloseReason::peer(Some(CloseCode(4321))),
        CloseReason::broken(Breakage::Reset),
    ]);
    let finals = vec![
        Happening::Stop,
        Happening::EndOrdered(EndOrder::Stop),
        Happening::EndOrdered(EndOrder::Restart),
        Happening::DialFailed(DialFailure::Forbidden),
        Happening::LinkDown(CloseReason::peer(Some(CloseCode::REPLACED))),
    ];
    prop_oneof![
        20 => Just(Happening::Start),
        60 => Just(Happening::LinkUp),
        10 => Just(Happening::News),
        10 => Just(Happening::TokenChanged),
        20 => select(failures).prop_map(Happening::DialFailed),
        120 => inbound().prop_map(Happening::Received),
        20 => select(reasons).prop_map(Happening::LinkDown),
        100 => Just(Happening::Wake),
        1 => select(finals),
    ]
}

fn walk() -> impl Strategy<Value = Vec<Move>> {
    let step =
        (passing(), happening(), prop_oneof![9 => Just(0u64), 1 => 1u64..4], any::<u8>()).prop_map(
            |(passing, happening, behind, fraction)| Move { passing, happening, behind, fraction },
        );
    vec(step, 1..400)
}

/// What an observer knows who sees only events and actions.
struct Observer {
    seed: u64,
    machine: AgentConnection,
    clocks: Clocks,
    last: Now,
    deadline: Deadline,
    link: LinkId,
    timing: HeartbeatTiming,
    heard_at: Timestamp,
    stale_at: Option<Timestamp>,
    absent: std::time::Duration,
    closed: bool,
    transcript: Vec<String>,
}

impl Observer {
    fn new(seed: u64) -> Self {
        let clocks = Clocks::new();
        let mut machine = AgentConnection::new(AgentConfig::DEFAULT, seed);
        assert!(machine.handle(AgentEvent::Wake, clocks.now()).actions.is_empty());
        Self {
            seed,
            machine,
            clocks,
            last: clocks.now(),
            deadline: Deadline::Never,
            link: LinkId(0),
            timing: TERMS.timing,
            heard_at: Timestamp::ORIGIN,
            stale_at: None,
            absent: ms(0),
            closed: false,
            transcript: Vec::new(),
        }
    }

    fn event(&self, step: &Move) -> AgentEvent {
        let link = LinkId(self.link.0.saturating_sub(step.behind));
        match step.happening {
            Happening::Start => AgentEvent::Start,
            Happening::LinkUp => AgentEvent::LinkUp(link),
            Happening::DialFailed(failure) => AgentEvent::DialFailed(link, failure),
            Happening::Received(frame) => AgentEvent::Received(link, frame),
            Happening::LinkDown(reason) => AgentEvent::LinkDown(link, reason),
            Happening::Wake => AgentEvent::Wake,
            Happening::News => AgentEvent::News,
            Happening::TokenChanged => AgentEvent::TokenChanged,
            Happening::Stop => AgentEvent::Stop,
            Happening::EndOrdered(order) => AgentEvent::EndOrdered(order),
        }
    }

    fn step(&mut self, step: &Move) -> Result<(), TestCaseError> {
        self.clocks.pass(step.passing, self.deadline);
        let now = self.clocks.now();
        self.an_early_wake_changes_nothing(step.fraction)?;
        self.an_earlier_time_is_the_last_time(step)?;
        self.an_old_link_changes_nothing(step)?;

        let before = self.machine.status();
        let event = self.event(step);
        let outcome = self.machine.handle(event, now);
        let at = self.last.monotonic.max(now.monotonic);
        let gap = at.saturating_since(self.last.monotonic);
        self.deadline = outcome.deadline;
        let actions: Vec<AgentAction> = outcome.actions.into_iter().collect();
        self.transcript.push(format!("{event:?} {actions:?} {:?}", outcome.deadline));
        let after = self.machine.status();
        let context = format!("{event:?} at {at}: {before:?} -> {after:?}, {actions:?}");

        // 1, 9: the deadline is ahead; few actions.
        match outcome.deadline {
            Deadline::At(due) => prop_assert!(due > at, "{}", context),
            Deadline::Never => prop_assert!(
                matches!(after, AgentStatus::Idle | AgentStatus::Closed),
                "a state without a way out: {}",
                context
            ),
        }
        prop_assert!(actions.len() <= 4, "{}", context);

        // 4: at most one report, it says what is, and the edge exists.
        let reports: Vec<_> = actions
            .iter()
            .filter_map(|a| match a {
                AgentAction::Report(report) => Some(*report),
                _ => None,
            })
            .collect();
        prop_assert!(reports.len() <= 1, "{}", context);
        match reports.first() {
            Some(report) => {
                prop_assert_eq!(report.status, after, "{}", context);
                let edge = report.edge_from(&before);
                prop_assert!(AGENT_EDGES.contains(&edge), "no such edge: {edge}: {}", context);
            }
            None => prop_assert_eq!(before.as_str(), after.as_str(), "unreported: {}", context),
        }

        // 5: timed-out only after a stale phase that was watched for long enough.
        for action in &actions {
            match action {
                AgentAction::Dial(link) => {
                    prop_assert!(*link > self.link, "{}", context);
                    self.link = *link;
                }
                AgentAction::Overslept(_) => self.absent += gap,
                _ => {}
            }
        }
        self.liveness(event, at, reports.first().map(|r| (r.status, r.cause)), &context)?;

        // 6: after the end nothing.
        if self.closed {
            let orphan =
                |a: &AgentAction| matches!(a, AgentAction::Close(_, CloseCause::Superseded));
            prop_assert!(actions.iter().all(orphan), "{}", context);
            prop_assert_eq!(outcome.deadline, Deadline::Never);
        }
        self.closed |= after == AgentStatus::Closed;
        self.last = Now { monotonic: at, boot: self.last.boot.max(now.boot), wall: now.wall };
        self.no_spinning()
    }

    fn liveness(
        &mut self,
        event: AgentEvent,
        at: Timestamp,
        report: Option<(AgentStatus, AgentCause)>,
        context: &str,
    ) -> Result<(), TestCaseError> {
        if let AgentEvent::Received(link, frame) = event
            && link == self.link
        {
            self.heard_at = at;
            if let (
                AgentInbound::HelloAccepted(terms),
                Some((AgentStatus::Connected { .. }, AgentCause::HelloAccepted)),
            ) = (frame, report)
            {
                self.timing = terms.timing;
            }
        }
        match report {
            Some((AgentStatus::Stale { .. }, _)) => {
                prop_assert!(
                    at.saturating_since(self.heard_at) >= self.timing.stale_after(),
                    "{}",
                    context
                );
                self.stale_at = Some(at);
                self.absent = ms(0);
            }
            Some((AgentStatus::TimedOut { .. }, _)) => {
                prop_assert!(
                    at.saturating_since(self.heard_at) >= self.timing.timeout_after(),
                    "{}",
                    context
                );
                let Some(stale_at) = self.stale_at.take() else {
                    return Err(TestCaseError::fail(format!("never stale: {context}")));
                };
                let watched = at.saturating_since(stale_at).saturating_sub(self.absent);
                let phase = self.timing.timeout_after() - self.timing.stale_after();
                prop_assert!(
                    watched + OVERSLEEP_TOLERANCE >= phase,
                    "watched for {:?}: {}",
                    watched,
                    context
                );
            }
            Some(_) => self.stale_at = None,
            None => {}
        }
        Ok(())
    }

    /// 2.
    fn an_early_wake_changes_nothing(&self, fraction: u8) -> Result<(), TestCaseError> {
        let Some(moment) = early(self.last, self.deadline, fraction) else { return Ok(()) };
        let mut twin = self.machine.clone();
        let step = twin.handle(AgentEvent::Wake, moment);
        prop_assert!(step.actions.is_empty(), "early wake: {:?}", step.actions);
        prop_assert_eq!(twin.status(), self.machine.status());
        if matches!(twin.status(), AgentStatus::Stale { .. }) {
            // A stale peer is watched in short steps; the verdict itself does not move.
            prop_assert!(step.deadline != Deadline::Never);
        } else {
            prop_assert_eq!(step.deadline, self.deadline);
        }
        Ok(())
    }

    /// 3.
    fn an_earlier_time_is_the_last_time(&self, step: &Move) -> Result<(), TestCaseError> {
        let event = self.event(step);
        let (mut on_time, mut stepped_back) = (self.machine.clone(), self.machine.clone());
        let a = on_time.handle(event, self.last);
        let back = earlier(self.last, ms(u64::from(step.fraction) * 997));
        let b = stepped_back.handle(event, back);
        prop_assert_eq!(a, b, "{:?} {:?} back", event, back);
        if step.fraction.is_multiple_of(8) {
            prop_assert_eq!(format!("{on_time:?}"), format!("{stepped_back:?}"));
        }
        Ok(())
    }

    /// 7.
    fn an_old_link_changes_nothing(&self, step: &Move) -> Result<(), TestCaseError> {
        let old = Move { behind: u64::from(step.fraction % 3) + 1, ..*step };
        let event = self.event(&old);
        if matches!(
            event,
            AgentEvent::Start
                | AgentEvent::Wake
                | AgentEvent::News
                | AgentEvent::TokenChanged
                | AgentEvent::Stop
                | AgentEvent::EndOrdered(_)
        ) || self.link.0 == 0
        {
            return Ok(());
        }
        let mut twin = self.machine.clone();
        let outcome = twin.handle(event, self.last);
        for action in outcome.actions {
            let dropped = matches!((event, action), (AgentEvent::LinkUp(l), AgentAction::Close(c, _)) if l == c);
            prop_assert!(dropped, "{:?} did {:?}", event, action);
        }
        prop_assert_eq!(twin.status(), self.machine.status());
        prop_assert_eq!(twin.deadline(), self.machine.deadline());
        Ok(())
    }

    /// A driver that does nothing but wake the machine when it asks is not kept busy for nothing.
    fn no_spinning(&self) -> Result<(), TestCaseError> {
        let Deadline::At(first) = self.deadline else { return Ok(()) };
        let (mut twin, mut due) = (self.machine.clone(), first);
        for _ in 0..8 {
            let by = due.saturating_since(self.last.monotonic);
            let boot = self.last.boot.saturating_add(by);
            let step = twin.handle(AgentEvent::Wake, Now { monotonic: due, boot, ..self.last });
            match step.deadline {
                Deadline::At(next) if step.actions.is_empty() => due = next,
                Deadline::At(_) | Deadline::Never => return Ok(()),
            }
        }
        prop_assert!(due.saturating_since(first) >= ms(1), "spins at {:?}", self.machine);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_invariants_of_the_agent_hold(seed: u64, moves in walk()) {
        let mut observer = Observer::new(seed);
        for step in &moves {
            observer.step(step)?;
        }
        // 8: the same again is the same again.
        let mut again = Observer::new(observer.seed);
        for step in &moves {
            again.step(step)?;
        }
        prop_assert_eq!(observer.transcript, again.transcript);
    }
}
