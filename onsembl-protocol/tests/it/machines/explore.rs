//! Goes everywhere the machines can go: breadth first, over every event and wake-up, from the start
//! and from the representative states of the tables.
//!
//! States are told apart by their shape: all that they hold, but not the numbers in it. That bounds
//! the walk; what only numbers bring (silence, patience) comes with the wake-ups, which are obeyed
//! until the machine reports.

use super::samples::{agent_events, server_events};
use crate::support::{awake_and_asleep, secs};
use onsembl_protocol::id::LinkId;
use onsembl_protocol::session::{
    AgentAction, AgentConnection, AgentEdge, AgentEvent, PresenceEdge, ServerAction,
    ServerConnection, ServerEvent,
};
use onsembl_protocol::time::{Deadline, Now};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// More shapes than either machine has; a walk that meets more has lost its bound.
const MOST_SHAPES: usize = 20_000;

/// More wake-ups than lie between any two reports: a session beats until its peer is timed out.
const MOST_WAKES: usize = 300;

/// A machine, its clocks, and what its driver would know.
pub(super) trait Explored: Clone {
    type Event: Copy;
    type Edge: Copy + Ord;

    /// All that the machine holds and that can decide something.
    fn text(&self) -> String;
    fn clocks(&mut self) -> &mut Clocks;
    fn deadline(&self) -> Deadline;
    fn wake() -> Self::Event;
    fn events(&self) -> Vec<Self::Event>;
    /// Hands over an event; the edge of its report comes back.
    fn feed(&mut self, event: Self::Event) -> Option<Self::Edge>;
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clocks {
    awake: Duration,
    asleep: Duration,
}

impl Clocks {
    pub(super) fn now(self) -> Now {
        awake_and_asleep(self.awake, self.asleep)
    }

    pub(super) fn go_to(&mut self, deadline: Deadline) {
        if let Deadline::At(at) = deadline {
            self.awake = self.awake.max(at.since_origin());
        }
    }
}

/// Every edge that can be met from these starts.
pub(super) fn explore<M: Explored>(starts: impl IntoIterator<Item = M>) -> BTreeSet<M::Edge> {
    let mut walk = Walk { met: BTreeSet::new(), shapes: BTreeSet::new(), open: VecDeque::new() };
    starts.into_iter().for_each(|start| walk.arrive(start));
    while let Some(here) = walk.open.pop_front() {
        for event in here.events() {
            walk.go(here.clone(), event);
        }
        for (late, asleep) in [(0, 0), (600, 0), (0, 5), (0, 600)] {
            let mut there = here.clone();
            let deadline = there.deadline();
            let clocks = there.clocks();
            if asleep == 0 {
                clocks.go_to(deadline);
            }
            clocks.awake += secs(late);
            clocks.asleep += secs(asleep);
            walk.go(there, M::wake());
        }
        walk.obey(here);
        assert!(walk.shapes.len() < MOST_SHAPES, "lost in too many shapes");
    }
    walk.met
}

struct Walk<M: Explored> {
    met: BTreeSet<M::Edge>,
    shapes: BTreeSet<String>,
    open: VecDeque<M>,
}

impl<M: Explored> Walk<M> {
    fn go(&mut self, mut machine: M, event: M::Event) {
        self.met.extend(machine.feed(event));
        self.arrive(machine);
    }

    fn arrive(&mut self, machine: M) {
        let shape = machine.text().chars().filter(|c| !c.is_ascii_digit()).collect();
        if self.shapes.insert(shape) {
            self.open.push_back(machine);
        }
    }

    /// Wakes the machine as it asks until it reports.
    fn obey(&mut self, mut machine: M) {
        for _ in 0..MOST_WAKES {
            let deadline = machine.deadline();
            if deadline == Deadline::Never {
                return;
            }
            machine.clocks().go_to(deadline);
            let edge = machine.feed(M::wake());
            self.met.extend(edge);
            self.arrive(machine.clone());
            if edge.is_some() {
                return;
            }
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Agent {
    machine: AgentConnection,
    clocks: Clocks,
    link: LinkId,
}

impl Agent {
    pub(super) fn new(machine: AgentConnection, link: LinkId, awake: Duration) -> Self {
        Self { machine, clocks: Clocks { awake, ..Clocks::default() }, link }
    }
}

impl Explored for Agent {
    type Event = AgentEvent;
    type Edge = AgentEdge;

    fn text(&self) -> String {
        format!("{:?}", self.machine)
    }

    fn clocks(&mut self) -> &mut Clocks {
        &mut self.clocks
    }

    fn deadline(&self) -> Deadline {
        self.machine.deadline()
    }

    fn wake() -> AgentEvent {
        AgentEvent::Wake
    }

    fn events(&self) -> Vec<AgentEvent> {
        let old = LinkId(self.link.0.saturating_sub(1));
        let about = |link| agent_events(link).into_iter().map(|(_, event)| event);
        about(self.link).chain(about(old)).collect()
    }

    fn feed(&mut self, event: AgentEvent) -> Option<AgentEdge> {
        let before = self.machine.status();
        let step = self.machine.handle(event, self.clocks.now());
        let mut edge = None;
        for action in step.actions {
            match action {
                AgentAction::Dial(link) => self.link = link,
                AgentAction::Report(report) => edge = Some(report.edge_from(&before)),
                AgentAction::SendHello(_)
                | AgentAction::SendBeat { .. }
                | AgentAction::Probe(_)
                | AgentAction::SendPong { .. }
                | AgentAction::Close(..)
                | AgentAction::Impaired(_)
                | AgentAction::Overslept(_) => {}
            }
        }
        assert_eq!(edge.is_some(), before.kind() != self.machine.status().kind(), "{event:?}");
        edge
    }
}

#[derive(Clone, Debug)]
pub(super) struct Server {
    machine: ServerConnection,
    clocks: Clocks,
    joined: LinkId,
}

impl Server {
    pub(super) fn new(machine: ServerConnection, awake: Duration) -> Self {
        Self { machine, clocks: Clocks { awake, ..Clocks::default() }, joined: LinkId(2) }
    }
}

impl Explored for Server {
    type Event = ServerEvent;
    type Edge = PresenceEdge;

    /// Without the last cause: it is shown, and decides nothing.
    fn text(&self) -> String {
        let text = format!("{:?}", self.machine);
        let (before, cause) = text.split_once("cause: ").expect("a published cause");
        let (_, after) = cause.split_once("impairment: ").expect("what ails it");
        format!("{before}{after}")
    }

    fn clocks(&mut self) -> &mut Clocks {
        &mut self.clocks
    }

    fn deadline(&self) -> Deadline {
        self.machine.deadline()
    }

    fn wake() -> ServerEvent {
        ServerEvent::Wake
    }

    fn events(&self) -> Vec<ServerEvent> {
        let epoch = self.machine.presence().epoch;
        let links: BTreeSet<LinkId> =
            self.machine.link().into_iter().chain([self.joined]).collect();
        let about = |link| server_events(self.joined.next(), link, epoch);
        links.into_iter().flat_map(about).map(|(_, event)| event).collect()
    }

    fn feed(&mut self, mut event: ServerEvent) -> Option<PresenceEdge> {
        let before = self.machine.presence();
        if let ServerEvent::Joined { link, .. } = event {
            self.joined = link;
        }
        // A store gives each session an epoch of its own.
        if let ServerEvent::Admitted { epoch, .. } = &mut event {
            *epoch = before.epoch.next();
        }
        let step = self.machine.handle(event, self.clocks.now());
        let after = self.machine.presence();
        let reported = step.actions.into_iter().any(|a| a == ServerAction::Report(after));
        assert_eq!(reported, before != after, "{event:?}");
        reported.then(|| after.edge_from(&before))
    }
}
