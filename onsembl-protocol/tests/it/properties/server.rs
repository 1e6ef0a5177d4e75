//! The invariants of the server's machine.

use super::walk::{Clocks, Passing, earlier, early, passing};
use crate::support::ms;
use onsembl_protocol::close::{Breakage, CloseCause, CloseReason};
use onsembl_protocol::id::{BeatSequence, Epoch, LinkId, PresenceVersion};
use onsembl_protocol::liveness::OVERSLEEP_TOLERANCE;
use onsembl_protocol::session::{
    Claimant, Dialect, PRESENCE_EDGES, Presence, PresenceStatus, ServerAction, ServerConfig,
    ServerConnection, ServerEvent, ServerInbound, StoreTrouble,
};
use onsembl_protocol::time::{Deadline, Now, Timestamp};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

/// Which of the links that there were an event is about.
#[derive(Clone, Copy, Debug)]
enum Which {
    Session,
    Joining,
    Old(u64),
}

#[derive(Clone, Copy, Debug)]
enum Happening {
    Joined(Dialect, Claimant),
    Admitted,
    Rejected(CloseCause),
    Received(ServerInbound),
    /// The epoch so much behind the present one.
    Recorded(u64, BeatSequence),
    Store(Option<StoreTrouble>),
    Faulted,
    LinkDown(CloseReason),
    Evict(CloseCause),
    Wake,
}

#[derive(Clone, Copy, Debug)]
struct Move {
    passing: Passing,
    happening: Happening,
    which: Which,
    fraction: u8,
}

fn happening() -> impl Strategy<Value = Happening> {
    let dialect = select(vec![Dialect::Extended, Dialect::Legacy]);
    let claimant = select(vec![Claimant::SameProcess, Claimant::OtherProcess]);
    let sequence = || (0u64..40).prop_map(BeatSequence);
    let frame = prop_oneof![
        (of(sequence()), of(sequence()))
            .prop_map(|(sequence, seen)| ServerInbound::Heartbeat { sequence, seen }),
        Just(ServerInbound::Pong),
        Just(ServerInbound::Other),
    ];
    let troubles =
        vec![None, Some(StoreTrouble::Busy), Some(StoreTrouble::Full), Some(StoreTrouble::Failed)];
    let reasons = vec![
        CloseReason::broken(Breakage::Reset),
        CloseReason::peer(None),
        CloseReason::local(CloseCause::NotReading),
        CloseReason::peer(Some(CloseCause::GoingAway.code())),
    ];
    let finals = vec![
        Happening::Evict(CloseCause::Deleted),
        Happening::LinkDown(CloseReason::peer(Some(CloseCause::AgentStopped.code()))),
        Happening::Rejected(CloseCause::TryLater),
    ];
    prop_oneof![
        20 => (dialect, claimant).prop_map(|(d, c)| Happening::Joined(d, c)),
        40 => Just(Happening::Admitted),
        100 => frame.prop_map(Happening::Received),
        40 => (0u64..2, sequence()).prop_map(|(behind, n)| Happening::Recorded(behind, n)),
        10 => select(troubles).prop_map(Happening::Store),
        2 => Just(Happening::Faulted),
        10 => select(reasons).prop_map(Happening::LinkDown),
        100 => Just(Happening::Wake),
        1 => select(finals),
    ]
}

fn walk() -> impl Strategy<Value = Vec<Move>> {
    let which = prop_oneof![
        8 => Just(Which::Session),
        4 => Just(Which::Joining),
        1 => (1u64..4).prop_map(Which::Old),
    ];
    let step = (passing(), happening(), which, any::<u8>()).prop_map(
        |(passing, happening, which, fraction)| Move { passing, happening, which, fraction },
    );
    vec(step, 1..400)
}

struct Observer {
    machine: ServerConnection,
    clocks: Clocks,
    last: Now,
    deadline: Deadline,
    newest: LinkId,
    joining: LinkId,
    epochs: u64,
    heard_at: Timestamp,
    stale_at: Option<Timestamp>,
    absent: std::time::Duration,
    evicted: bool,
    transcript: Vec<String>,
}

impl Observer {
    fn new(recovered: bool) -> Self {
        let clocks = Clocks::new();
        let (version, epoch, now) = (PresenceVersion(3), Epoch(3), clocks.now());
        let (machine, deadline) = if recovered {
            let (machine, step) =
                ServerConnection::recovered(ServerConfig::DEFAULT, version, epoch, now);
            (machine, step.deadline)
        } else {
            let machine = ServerConnection::new(ServerConfig::DEFAULT, version, epoch, now);
            (machine, Deadline::Never)
        };
        Self {
            machine,
            clocks,
            last: now,
            deadline,
            newest: LinkId(10),
            joining: LinkId(0),
            epochs: 3,
            heard_at: now.monotonic,
            stale_at: None,
            absent: ms(0),
            evicted: false,
            transcript: Vec::new(),
        }
    }

    fn link(&self, which: Which) -> LinkId {
        match which {
            Which::Session => self.machine.link().unwrap_or(LinkId(1)),
            Which::Joining => self.joining,
            Which::Old(n) => LinkId(n),
        }
    }

    fn event(&self, step: &Move) -> ServerEvent {
        let link = self.link(step.which);
        match step.happening {
            // Each link says hello once.
            Happening::Joined(dialect, claimant) => {
                ServerEvent::Joined { link: self.newest.next(), dialect, claimant }
            }
            Happening::Admitted => ServerEvent::Admitted { link, epoch: Epoch(self.epochs + 1) },
            Happening::Rejected(cause) => ServerEvent::Rejected { link, cause },
            Happening::Received(frame) => ServerEvent::Received(link, frame),
            Happening::Recorded(behind, sequence) => ServerEvent::Recorded {
                epoch: Epoch(self.machine.presence().epoch.0.saturating_sub(behind)),
                sequence,
                at: self.last.wall,
            },
            Happening::Store(trouble) => ServerEvent::Store(trouble),
            Happening::Faulted => ServerEvent::Faulted(link),
            Happening::LinkDown(reason) => ServerEvent::LinkDown(link, reason),
            Happening::Evict(cause) => ServerEvent::Evict(cause),
            Happening::Wake => ServerEvent::Wake,
        }
    }

    fn step(&mut self, step: &Move) -> Result<(), TestCaseError> {
        self.clocks.pass(step.passing, self.deadline);
        let now = self.clocks.now();
        self.an_early_wake_changes_nothing(step.fraction)?;
        self.an_earlier_time_is_the_last_time(step)?;
        self.an_old_link_changes_nothing(step)?;

        let before = self.machine.presence();
        let event = self.event(step);
        if let ServerEvent::Joined { link, .. } = event {
            self.newest = link;
            self.joining = link;
        }
        if let ServerEvent::Admitted { .. } = event {
            self.epochs += 1;
        }
        let outcome = self.machine.handle(event, now);
        let at = self.last.monotonic.max(now.monotonic);
        let gap = at.saturating_since(self.last.monotonic);
        self.deadline = outcome.deadline;
        let actions: Vec<ServerAction> = outcome.actions.into_iter().collect();
        self.transcript.push(format!("{event:?} {actions:?} {:?}", outcome.deadline));
        let after = self.machine.presence();
        let context = format!("{event:?} at {at}: {before:?} -> {after:?}, {actions:?}");

        // 1, 9, and every state but the last has a deadline.
        match outcome.deadline {
            Deadline::At(due) => prop_assert!(due > at, "{}", context),
            Deadline::Never => {
                prop_assert_eq!(after.status, PresenceStatus::Offline, "{}", context);
            }
        }
        prop_assert!(actions.len() <= 4, "{}", context);

        // 4: at most one report; it says what is; versions grow; since moves with the status only.
        let reports: Vec<Presence> = actions
            .iter()
            .filter_map(|a| match a {
                ServerAction::Report(presence) => Some(*presence),
                _ => None,
            })
            .collect();
        prop_assert!(reports.len() <= 1, "{}", context);
        match reports.first() {
            Some(report) => {
                prop_assert_eq!(*report, after, "{}", context);
                prop_assert!(after.version > before.version, "{}", context);
                let edge = after.edge_from(&before);
                prop_assert!(PRESENCE_EDGES.contains(&edge), "no such edge: {edge}: {}", context);
                let since = if after.status == before.status { before.since } else { now.wall };
                prop_assert_eq!(after.since, since, "{}", context);
            }
            None => prop_assert_eq!(before, after, "unreported: {}", context),
        }

        for action in &actions {
            if let ServerAction::Overslept(_) = action {
                self.absent += gap;
            }
        }
        self.liveness(event, &actions, at, before.status, reports.first(), &context)?;

        // 6.
        if self.evicted {
            prop_assert!(actions.is_empty(), "{}", context);
            prop_assert_eq!(outcome.deadline, Deadline::Never);
        }
        self.evicted |= actions.contains(&ServerAction::Forget);
        self.last = Now { monotonic: at, boot: self.last.boot.max(now.boot), wall: now.wall };
        self.no_spinning()
    }

    /// 5.
    fn liveness(
        &mut self,
        event: ServerEvent,
        actions: &[ServerAction],
        at: Timestamp,
        before: PresenceStatus,
        report: Option<&Presence>,
        context: &str,
    ) -> Result<(), TestCaseError> {
        let timing = ServerConfig::DEFAULT.timing;
        let spoke = match event {
            ServerEvent::Received(link, _) => Some(link) == self.machine.link(),
            ServerEvent::Admitted { link, .. } => actions
                .iter()
                .any(|a| matches!(a, ServerAction::Welcome { link: l, .. } if *l == link)),
            _ => false,
        };
        if spoke {
            self.heard_at = at;
        }
        let Some(presence) = report else { return Ok(()) };
        match presence.status {
            PresenceStatus::Stale if before != PresenceStatus::Stale => {
                let silence = at.saturating_since(self.heard_at);
                prop_assert!(silence >= timing.stale_after(), "{}", context);
                self.stale_at = Some(at);
                self.absent = ms(0);
            }
            PresenceStatus::TimedOut => {
                let silence = at.saturating_since(self.heard_at);
                prop_assert!(silence >= timing.timeout_after(), "{}", context);
                let Some(stale_at) = self.stale_at.take() else {
                    return Err(TestCaseError::fail(format!("never stale: {context}")));
                };
                let watched = at.saturating_since(stale_at).saturating_sub(self.absent);
                let phase = timing.timeout_after() - timing.stale_after();
                prop_assert!(watched + OVERSLEEP_TOLERANCE >= phase, "{:?}: {}", watched, context);
            }
            PresenceStatus::Stale => {}
            _ => self.stale_at = None,
        }
        Ok(())
    }

    /// 2.
    fn an_early_wake_changes_nothing(&self, fraction: u8) -> Result<(), TestCaseError> {
        let Some(moment) = early(self.last, self.deadline, fraction) else { return Ok(()) };
        let mut twin = self.machine.clone();
        let step = twin.handle(ServerEvent::Wake, moment);
        prop_assert!(step.actions.is_empty(), "early wake: {:?}", step.actions);
        prop_assert_eq!(twin.presence(), self.machine.presence());
        if twin.presence().status == PresenceStatus::Stale {
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
        let b = stepped_back.handle(event, earlier(self.last, ms(u64::from(step.fraction) * 997)));
        prop_assert_eq!(a, b, "{:?}", event);
        if step.fraction.is_multiple_of(8) {
            prop_assert_eq!(format!("{on_time:?}"), format!("{stepped_back:?}"));
        }
        Ok(())
    }

    /// 7.
    fn an_old_link_changes_nothing(&self, step: &Move) -> Result<(), TestCaseError> {
        let old = Move { which: Which::Old(u64::from(step.fraction % 3) + 2), ..*step };
        let event = self.event(&old);
        match event {
            ServerEvent::Joined { .. }
            | ServerEvent::Recorded { .. }
            | ServerEvent::Store(_)
            | ServerEvent::Evict(_)
            | ServerEvent::Wake => return Ok(()),
            ServerEvent::Admitted { .. }
            | ServerEvent::Rejected { .. }
            | ServerEvent::Received(..)
            | ServerEvent::Faulted(_)
            | ServerEvent::LinkDown(..) => {}
        }
        let mut twin = self.machine.clone();
        let outcome = twin.handle(event, self.last);
        prop_assert!(outcome.actions.is_empty(), "{:?} did {:?}", event, outcome.actions);
        prop_assert_eq!(twin.presence(), self.machine.presence());
        prop_assert_eq!(twin.deadline(), self.machine.deadline());
        if step.fraction % 8 == 1 {
            prop_assert_eq!(format!("{twin:?}"), format!("{:?}", self.machine), "{:?}", event);
        }
        Ok(())
    }

    /// A driver that does nothing but wake the machine when it asks is not kept busy for nothing.
    fn no_spinning(&self) -> Result<(), TestCaseError> {
        let Deadline::At(first) = self.deadline else { return Ok(()) };
        let (mut twin, mut due) = (self.machine.clone(), first);
        for _ in 0..8 {
            let step = twin.handle(ServerEvent::Wake, Now { monotonic: due, ..self.last });
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
    fn the_invariants_of_the_server_hold(recovered: bool, moves in walk()) {
        let mut observer = Observer::new(recovered);
        for step in &moves {
            observer.step(step)?;
        }
        // 8.
        let mut again = Observer::new(recovered);
        for step in &moves {
            again.step(step)?;
        }
        prop_assert_eq!(observer.transcript, again.transcript);
    }
}
