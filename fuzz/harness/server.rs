// The invariants of the server's machine of one agent, for any events at any times.

use super::agent::reason;
use super::bytes::{Bytes, Clocks, MOST_EVENTS, earlier, early};
use core::time::Duration;
use onsembl_protocol::close::CloseCause;
use onsembl_protocol::id::{BeatSequence, Epoch, LinkId, PresenceVersion};
use onsembl_protocol::liveness::OVERSLEEP_TOLERANCE;
use onsembl_protocol::session::{
    Claimant, Dialect, PRESENCE_EDGES, Presence, PresenceStatus, ServerAction, ServerConfig,
    ServerConnection, ServerEvent, ServerInbound, StoreTrouble,
};
use onsembl_protocol::step::{MAX_ACTIONS, Step};
use onsembl_protocol::time::{Deadline, Now, Timestamp};

/// A link that no machine ever had.
const UNKNOWN: LinkId = LinkId(1);

/// Any bytes, taken as events with their times.
pub fn server(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let mut observer = Observer::new(bytes.byte() % 2 == 1);
    for _ in 0..MOST_EVENTS {
        if bytes.is_empty() {
            return;
        }
        observer.step(&mut bytes);
    }
}

/// What events a machine of this presence can be sent. Also used for a whole node.
pub fn event(bytes: &mut Bytes<'_>, machine: &ServerConnection, joined: LinkId) -> ServerEvent {
    let kind = bytes.byte();
    let session = machine.link().unwrap_or(UNKNOWN);
    let link = match kind >> 6 {
        0 | 1 => session,
        2 => joined,
        _ => UNKNOWN,
    };
    let cause = CloseCause::TryLater;
    match kind % 16 {
        0 | 1 => ServerEvent::Joined {
            link: joined.next(),
            dialect: bytes.pick(&[Dialect::Extended, Dialect::Legacy]),
            claimant: bytes.pick(&[Claimant::SameProcess, Claimant::OtherProcess]),
        },
        2 | 3 => ServerEvent::Admitted { link: joined, epoch: machine.presence().epoch.next() },
        4 => ServerEvent::Rejected { link: joined, cause },
        5..8 => ServerEvent::Received(link, frame(bytes)),
        8 => ServerEvent::Recorded {
            epoch: Epoch(machine.presence().epoch.0.saturating_sub(u64::from(kind >> 7))),
            sequence: BeatSequence(bytes.number().unwrap_or(0)),
            at: Now::without_suspend(Duration::ZERO).wall,
        },
        9 => ServerEvent::Store(bytes.pick(&[
            None,
            Some(StoreTrouble::Slow),
            Some(StoreTrouble::Busy),
            Some(StoreTrouble::Full),
            Some(StoreTrouble::Failed),
        ])),
        10 => ServerEvent::Faulted(link),
        11 => ServerEvent::LinkDown(link, reason(bytes)),
        12 if bytes.byte() % 8 == 7 => ServerEvent::Evict(bytes.pick(CloseCause::ALL)),
        _ => ServerEvent::Wake,
    }
}

fn frame(bytes: &mut Bytes<'_>) -> ServerInbound {
    match bytes.byte() % 4 {
        0 | 1 => ServerInbound::Heartbeat {
            sequence: bytes.number().map(BeatSequence),
            seen: bytes.number().map(BeatSequence),
        },
        2 => ServerInbound::Pong,
        _ => ServerInbound::Other,
    }
}

struct Observer {
    machine: ServerConnection,
    clocks: Clocks,
    last: Now,
    deadline: Deadline,
    joined: LinkId,
    heard_at: Timestamp,
    stale_at: Option<Timestamp>,
    absent: Duration,
    forgotten: bool,
}

impl Observer {
    fn new(recovered: bool) -> Self {
        let clocks = Clocks::default();
        let (version, epoch, now) = (PresenceVersion(3), Epoch(3), clocks.now());
        let config = ServerConfig::DEFAULT;
        let (machine, deadline) = if recovered {
            let (machine, step) = ServerConnection::recovered(config, version, epoch, now);
            assert!(machine.presence().version > version, "a version twice");
            (machine, step.deadline)
        } else {
            (ServerConnection::new(config, version, epoch, now), Deadline::Never)
        };
        Self {
            machine,
            clocks,
            last: now,
            deadline,
            joined: LinkId(10),
            heard_at: now.monotonic,
            stale_at: None,
            absent: Duration::ZERO,
            forgotten: false,
        }
    }

    fn step(&mut self, bytes: &mut Bytes<'_>) {
        self.clocks.pass(bytes, self.deadline);
        let now = self.clocks.now();
        let fraction = bytes.byte();
        let event = event(bytes, &self.machine, self.joined);
        self.an_early_wake_changes_nothing(fraction);
        self.a_clock_that_steps_back_stands_still(event, fraction);
        self.an_unknown_link_changes_nothing(event);
        if let ServerEvent::Joined { link, .. } = event {
            self.joined = link;
        }

        let before = self.machine.presence();
        let session = self.machine.link();
        let step = self.machine.handle(event, now);
        let after = self.machine.presence();
        let at = self.last.monotonic.max(now.monotonic);
        let gap = at.saturating_since(self.last.monotonic);
        self.last = Now { monotonic: at, boot: self.last.boot.max(now.boot), wall: now.wall };
        self.deadline = step.deadline;
        let what = format!("{event:?} at {at}: {before:?} -> {after:?}, {step:?}");

        let over = after.status == PresenceStatus::Offline;
        assert_eq!(step.deadline == Deadline::Never, over, "the way out by time: {what}");
        assert!(!step.deadline.is_due(at), "a deadline in the past: {what}");
        assert!(step.actions.iter().count() <= MAX_ACTIONS, "too many actions: {what}");
        if self.forgotten {
            assert!(step.actions.is_empty(), "acts after the end: {what}");
        }
        let reported = self.report(&before, &after, now, &step, &what);
        if step.actions.iter().any(|a| matches!(a, ServerAction::Overslept(_))) {
            self.absent += gap;
        }
        let spoke = match event {
            ServerEvent::Received(link, _) => Some(link) == session,
            _ => step.actions.iter().any(|a| matches!(a, ServerAction::Welcome { .. })),
        };
        if spoke {
            self.heard_at = at;
        }
        if reported {
            self.liveness(before.status, after.status, at, &what);
        }
    }

    /// One report at most, along a published edge; each has the next version; `since` moves with
    /// the status only; the end is said last and once.
    fn report(
        &mut self,
        before: &Presence,
        after: &Presence,
        now: Now,
        step: &Step<ServerAction>,
        what: &str,
    ) -> bool {
        let is_report = |a: &ServerAction| matches!(a, ServerAction::Report(_));
        let reports = step.actions.iter().filter(is_report).count();
        assert!(reports <= 1, "two reports: {what}");
        if reports == 0 {
            assert_eq!(before, after, "unreported: {what}");
        } else {
            let is_after = |a| a == ServerAction::Report(*after);
            assert!(step.actions.iter().any(is_after), "reports what is not: {what}");
            let next = before.version.next_in(after.epoch);
            assert_eq!(after.version, next, "not the next version: {what}");
            let edge = after.edge_from(before);
            assert!(PRESENCE_EDGES.contains(&edge), "no such edge, {edge}: {what}");
            let since = if after.status == before.status { before.since } else { now.wall };
            assert_eq!(after.since, since, "since moved with no change of status: {what}");
        }
        let forgets = step.actions.iter().filter(|a| *a == ServerAction::Forget).count();
        if forgets > 0 {
            assert_eq!(forgets, 1, "forgotten twice: {what}");
            let last = step.actions.iter().last();
            assert_eq!(last, Some(ServerAction::Forget), "something follows the end: {what}");
        }
        self.forgotten |= forgets > 0;
        reports > 0
    }

    fn liveness(
        &mut self,
        before: PresenceStatus,
        status: PresenceStatus,
        at: Timestamp,
        what: &str,
    ) {
        let timing = ServerConfig::DEFAULT.timing;
        let silence = at.saturating_since(self.heard_at);
        match status {
            PresenceStatus::Stale if before == PresenceStatus::Stale => {}
            PresenceStatus::Stale => {
                assert!(silence >= timing.stale_after(), "stale too early: {what}");
                self.stale_at = Some(at);
                self.absent = Duration::ZERO;
            }
            PresenceStatus::TimedOut if before == PresenceStatus::Stale => {
                assert!(silence >= timing.timeout_after(), "timed out too early: {what}");
                let stale_at = self.stale_at.take();
                assert!(stale_at.is_some(), "timed out and never stale: {what}");
                let watched = at
                    .saturating_since(stale_at.unwrap_or(at))
                    .saturating_sub(self.absent)
                    .saturating_add(OVERSLEEP_TOLERANCE);
                let phase = timing.timeout_after() - timing.stale_after();
                assert!(watched >= phase, "watched for {watched:?} only: {what}");
            }
            _ => self.stale_at = None,
        }
    }

    fn an_early_wake_changes_nothing(&self, fraction: u8) {
        let Some(moment) = early(self.last, self.deadline, fraction) else { return };
        let mut twin = self.machine.clone();
        let step = twin.handle(ServerEvent::Wake, moment);
        assert!(step.actions.is_empty(), "an early wake did {step:?}");
        assert_eq!(twin.presence(), self.machine.presence(), "an early wake changed it");
        // A stale peer is watched in short steps, so there the deadline may move.
        if twin.presence().status != PresenceStatus::Stale {
            assert_eq!(step.deadline, self.deadline, "an early wake moved the deadline");
        }
    }

    fn a_clock_that_steps_back_stands_still(&self, event: ServerEvent, fraction: u8) {
        let (mut on_time, mut back) = (self.machine.clone(), self.machine.clone());
        let by = Duration::from_millis(u64::from(fraction) * 997);
        let expected = on_time.handle(event, self.last);
        assert_eq!(back.handle(event, earlier(self.last, by)), expected, "{event:?} {by:?} back");
        assert_eq!(back.presence(), on_time.presence(), "{event:?} {by:?} back");
    }

    fn an_unknown_link_changes_nothing(&self, event: ServerEvent) {
        let link = UNKNOWN;
        let event = match event {
            ServerEvent::Admitted { epoch, .. } => ServerEvent::Admitted { link, epoch },
            ServerEvent::Rejected { cause, .. } => ServerEvent::Rejected { link, cause },
            ServerEvent::Received(_, frame) => ServerEvent::Received(link, frame),
            ServerEvent::Faulted(_) => ServerEvent::Faulted(link),
            ServerEvent::LinkDown(_, reason) => ServerEvent::LinkDown(link, reason),
            ServerEvent::Joined { .. }
            | ServerEvent::Recorded { .. }
            | ServerEvent::Store(_)
            | ServerEvent::Evict(_)
            | ServerEvent::Wake => return,
        };
        let mut twin = self.machine.clone();
        let step = twin.handle(event, self.last);
        assert!(step.actions.is_empty(), "{event:?} of an unknown link did {step:?}");
        assert_eq!(twin.presence(), self.machine.presence(), "{event:?} of an unknown link");
        assert_eq!(twin.deadline(), self.machine.deadline(), "{event:?} of an unknown link");
    }
}
