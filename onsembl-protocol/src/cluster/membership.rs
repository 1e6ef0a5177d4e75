//! Whether this node is part of the cluster, and which other one is dead. Both are read from the database and from nothing
//! else: what the bus delivers says nothing about either.
//!
//! A node is registered by a row with a lease. It renews the lease, and reads the leases of all. A node whose renewals stop
//! keeps its agents and takes no new ones. A registration whose lease is over, and that is not renewed while another node
//! watches, is swept: its agents pass to that node. The database's clock decides when a lease is over; that it is not renewed is counted on the
//! clock of the node that watches, so that a jump of the database's clock ends nobody.

use crate::id::NodeRun;
use crate::step::{Actions, Step};
use crate::time::{Deadline, Now, Timestamp};
use alloc::collections::BTreeMap;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// How long a renewal holds, by the database's clock. A lease that ends later than that is as good as over: the clock was
/// set back since.
pub const LEASE: Duration = Duration::from_secs(8);
/// How often a node renews its lease.
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// How often it reads those of the others.
const READ_EVERY: Duration = Duration::from_secs(1);
/// How often it looks for work of its agents that no message told it of.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often it asks for a registration.
const REGISTER_EVERY: Duration = Duration::from_secs(2);
/// So long without a renewal, it takes no new agents: before its lease is over.
const ISLAND_AFTER: Duration = Duration::from_secs(6);
/// So long another registration is watched whose lease is over, before it is swept.
const WATCHED_FOR: Duration = Duration::from_secs(3);
/// How often sweeping is asked for again.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// The most registrations that are watched at a time. More are watched once some of these are swept.
const WATCHED: usize = 256;

/// Whether a lease is over, by the database's clock in the statement that read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Lease {
    /// It ends within [`LEASE`].
    Holds,
    /// It is over, or ends later than a lease can.
    Over,
}

/// Which process a registration is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say all")]
pub enum NodeProcess {
    /// An earlier process of this node, which ended before this one began.
    EarlierOfThis,
    /// Any other.
    Other,
}

/// What a node is to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names say all")]
pub enum Standing {
    /// It has no registration yet, or its last one is over.
    Joining,
    Member,
    /// The database does not answer. The node keeps the agents that it has.
    Island,
    /// It sends its agents to other nodes, and ends.
    Draining,
    Gone,
}

impl Standing {
    /// Whether new sessions are opened, and `/readyz` says so.
    #[must_use]
    pub const fn admits(self) -> bool {
        match self {
            Self::Member => true,
            Self::Joining | Self::Island | Self::Draining | Self::Gone => false,
        }
    }
}

/// Events of [`Membership`]. A request that fails is not reported: it is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say all")]
pub enum MembershipEvent {
    /// The registration that was asked for at that time is stored.
    Registered { run: NodeRun, asked_at: Timestamp },
    /// The renewal that was asked for at that time found the registration in force.
    Renewed { run: NodeRun, asked_at: Timestamp },
    /// This registration is over: a renewal or a claim found it so.
    Over(NodeRun),
    /// A row of the nodes, as it was read.
    Seen {
        run: NodeRun,
        /// How often it was renewed.
        renewals: u64,
        lease: Lease,
        process: NodeProcess,
    },
    /// All rows of a read were given.
    Read,
    /// The node is to end.
    Drain,
    /// Nothing is open on it any more.
    Drained,
    /// The deadline has passed; harmless at any other time.
    Wake,
}

/// Actions of [`Membership`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[allow(missing_docs, reason = "the names say all")]
pub enum MembershipAction {
    /// Store a registration of this process; answer with `Registered`.
    Register { asked_at: Timestamp },
    /// Renew the lease; answer with `Renewed` or `Over`.
    Renew { run: NodeRun, asked_at: Timestamp },
    /// Read the rows of all nodes; answer with `Seen` of each, and `Read`.
    Read,
    /// Read what no message may have told of: commands that wait for agents of this node, stops, owners, presences.
    Look,
    /// End this registration, unless it was renewed since, and take over its agents.
    Sweep { run: NodeRun, renewals: u64 },
    /// What was held under this registration is not this node's any more.
    Depose(NodeRun),
    /// Show this, and act by it.
    Show(Standing),
    /// End the node's own registration.
    Leave(NodeRun),
}

/// A node's part in the cluster. A [reducer](crate::step#two-contracts).
#[derive(Clone, Debug)]
pub struct Membership {
    state: State,
    intent: Intent,
    shown: Standing,
    /// Registrations whose lease is over.
    watched: BTreeMap<NodeRun, Watched>,
    /// The number of the read that comes next.
    reads: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Joining { register_at: Timestamp },
    Registered(Registered),
    Gone,
}

#[derive(Clone, Copy, Debug)]
struct Registered {
    run: NodeRun,
    /// When the latest renewal was asked for that was granted.
    renewed_at: Timestamp,
    renew_at: Timestamp,
    read_at: Timestamp,
    look_at: Timestamp,
}

/// What the node is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Intent {
    Serve,
    Leave,
}

#[derive(Clone, Copy, Debug)]
struct Watched {
    renewals: u64,
    since: Timestamp,
    read: u64,
    swept_at: Option<Timestamp>,
}

type Out = Actions<MembershipAction>;

impl Membership {
    /// A process that begins.
    pub fn start(now: Now) -> (Self, Step<MembershipAction>) {
        let mut this = Self {
            state: State::Joining { register_at: now.monotonic },
            intent: Intent::Serve,
            shown: Standing::Joining,
            watched: BTreeMap::new(),
            reads: 0,
        };
        let step = this.handle(MembershipEvent::Wake, now);
        (this, step)
    }

    /// What the node is to the cluster.
    pub const fn standing(&self) -> Standing {
        self.shown
    }

    /// The node's registration, if it has one: whose its claims are.
    pub const fn run(&self) -> Option<NodeRun> {
        match &self.state {
            State::Registered(own) => Some(own.run),
            State::Joining { .. } | State::Gone => None,
        }
    }

    /// Handles one event at one moment; returns the actions and the next deadline.
    pub fn handle(&mut self, event: MembershipEvent, now: Now) -> Step<MembershipAction> {
        let (mut out, at) = (Actions::none(), now.monotonic);
        match event {
            MembershipEvent::Registered { run, asked_at } => self.registered(run, asked_at, at),
            MembershipEvent::Renewed { run, asked_at } => {
                if let State::Registered(own) = &mut self.state
                    && own.run == run
                {
                    own.renewed_at = own.renewed_at.max(asked_at);
                }
            }
            MembershipEvent::Over(run) => self.over(run, at, &mut out),
            MembershipEvent::Seen { run, renewals, lease, process } => {
                self.seen(run, (renewals, lease, process), at, &mut out);
            }
            MembershipEvent::Read => self.read(),
            MembershipEvent::Drain => self.intent = Intent::Leave,
            MembershipEvent::Drained => {
                if self.intent == Intent::Leave {
                    if let Some(run) = self.run() {
                        out.push(MembershipAction::Leave(run));
                    }
                    self.state = State::Gone;
                    self.watched.clear();
                }
            }
            MembershipEvent::Wake => self.wake(at, &mut out),
        }
        self.show(at, &mut out);
        Step { actions: out, deadline: self.deadline().after(at) }
    }

    fn registered(&mut self, run: NodeRun, asked_at: Timestamp, at: Timestamp) {
        match self.state {
            State::Joining { .. } => {
                let (renew_at, look_at) = (asked_at.saturating_add(RENEW_EVERY), at);
                self.state = State::Registered(Registered {
                    run,
                    renewed_at: asked_at,
                    renew_at,
                    read_at: at,
                    look_at,
                });
            }
            // A second answer, of a request that was repeated: nothing is held under that one, and it lapses.
            State::Registered(_) | State::Gone => {}
        }
    }

    fn over(&mut self, run: NodeRun, at: Timestamp, out: &mut Out) {
        if self.run() != Some(run) {
            return;
        }
        out.push(MembershipAction::Depose(run));
        self.watched.clear();
        let register_at = at.saturating_add(REGISTER_EVERY);
        self.state = State::Joining { register_at };
        out.push(MembershipAction::Register { asked_at: at });
    }

    fn seen(
        &mut self,
        run: NodeRun,
        (renewals, lease, process): (u64, Lease, NodeProcess),
        at: Timestamp,
        out: &mut Out,
    ) {
        let State::Registered(own) = &self.state else { return };
        if run == own.run {
            return;
        }
        // Its own process is known to have ended. Only until the first read is over, so that two nodes which were given
        // one name do not end each other in turn.
        let has_ended = process == NodeProcess::EarlierOfThis && run < own.run && self.reads == 0;
        match lease {
            Lease::Holds if !has_ended => {
                let _ = self.watched.remove(&run);
                return;
            }
            Lease::Holds | Lease::Over => {}
        }
        if !self.watched.contains_key(&run) && self.watched.len() >= WATCHED {
            return;
        }
        let read = self.reads;
        let begin = Watched { renewals, since: at, read, swept_at: None };
        let watched = self.watched.entry(run).or_insert(begin);
        if watched.renewals != renewals {
            *watched = begin;
        }
        watched.read = read;
        let is_due = has_ended || at.saturating_since(watched.since) >= WATCHED_FOR;
        let is_asked =
            watched.swept_at.is_some_and(|asked| at.saturating_since(asked) < SWEEP_EVERY);
        if is_due && !is_asked && is_fresh(own, at) {
            watched.swept_at = Some(at);
            out.push(MembershipAction::Sweep { run, renewals });
        }
    }

    fn read(&mut self) {
        let read = self.reads;
        self.watched.retain(|_, watched| watched.read == read);
        self.reads = self.reads.saturating_add(1);
    }

    fn wake(&mut self, at: Timestamp, out: &mut Out) {
        match &mut self.state {
            State::Joining { register_at } => {
                if *register_at <= at {
                    *register_at = at.saturating_add(REGISTER_EVERY);
                    out.push(MembershipAction::Register { asked_at: at });
                }
            }
            State::Registered(own) => {
                if own.renew_at <= at {
                    own.renew_at = at.saturating_add(RENEW_EVERY);
                    out.push(MembershipAction::Renew { run: own.run, asked_at: at });
                }
                if own.read_at <= at {
                    own.read_at = at.saturating_add(READ_EVERY);
                    out.push(MembershipAction::Read);
                }
                if own.look_at <= at {
                    own.look_at = at.saturating_add(LOOK_EVERY);
                    out.push(MembershipAction::Look);
                }
            }
            State::Gone => {}
        }
    }

    fn show(&mut self, at: Timestamp, out: &mut Out) {
        let standing = match (&self.state, self.intent) {
            (State::Gone, _) => Standing::Gone,
            (_, Intent::Leave) => Standing::Draining,
            (State::Joining { .. }, Intent::Serve) => Standing::Joining,
            (State::Registered(own), Intent::Serve) if is_fresh(own, at) => Standing::Member,
            (State::Registered(_), Intent::Serve) => Standing::Island,
        };
        if standing != self.shown {
            self.shown = standing;
            out.push(MembershipAction::Show(standing));
        }
    }

    fn deadline(&self) -> Deadline {
        match &self.state {
            State::Joining { register_at } => Deadline::At(*register_at),
            State::Registered(own) => {
                let next = own.renew_at.min(own.read_at).min(own.look_at);
                match self.shown {
                    Standing::Member => Deadline::At(next.min(island_at(own))),
                    Standing::Joining | Standing::Island | Standing::Draining | Standing::Gone => {
                        Deadline::At(next)
                    }
                }
            }
            State::Gone => Deadline::Never,
        }
    }
}

const fn island_at(own: &Registered) -> Timestamp {
    own.renewed_at.saturating_add(ISLAND_AFTER)
}

/// Whether the lease holds with certainty, and a while longer.
fn is_fresh(own: &Registered, at: Timestamp) -> bool {
    at < island_at(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use MembershipAction as A;
    use MembershipEvent as E;
    use alloc::vec::Vec;

    fn at(millis: u64) -> Now {
        Now::without_suspend(Duration::from_millis(millis))
    }

    fn stamp(millis: u64) -> Timestamp {
        at(millis).monotonic
    }

    struct Node(Membership);

    impl Node {
        fn member() -> Self {
            let (node, step) = Membership::start(at(0));
            assert!(step.actions.iter().eq([A::Register { asked_at: stamp(0) }]));
            let mut node = Self(node);
            let shown = node.feed(E::Registered { run: NodeRun(7), asked_at: stamp(0) }, 5);
            assert_eq!(shown, [A::Show(Standing::Member)]);
            node
        }

        fn feed(&mut self, event: MembershipEvent, millis: u64) -> Vec<MembershipAction> {
            let step = self.0.handle(event, at(millis));
            if let Deadline::At(deadline) = step.deadline {
                assert!(deadline > stamp(millis), "{event:?}");
            }
            step.actions.iter().collect()
        }

        fn sees(&mut self, run: u64, renewals: u64, lease: Lease, millis: u64) -> Vec<A> {
            let (run, process) = (NodeRun(run), NodeProcess::Other);
            let actions = self.feed(E::Seen { run, renewals, lease, process }, millis);
            let _ = self.feed(E::Read, millis);
            actions
        }

        fn renewed(&mut self, millis: u64) -> Vec<A> {
            self.feed(E::Renewed { run: NodeRun(7), asked_at: stamp(millis) }, millis + 5)
        }
    }

    #[test]
    fn a_node_without_renewals_keeps_what_it_has_and_takes_nothing_new() {
        let mut node = Node::member();
        let asked = node.feed(E::Wake, 2_000);
        assert_eq!(asked, [A::Renew { run: NodeRun(7), asked_at: stamp(2_000) }, A::Read, A::Look]);
        assert!(node.0.standing().admits());
        assert!(!node.feed(E::Wake, 5_999).contains(&A::Show(Standing::Island)));
        assert!(node.feed(E::Wake, 6_000).contains(&A::Show(Standing::Island)));
        assert!(!node.0.standing().admits());
        assert_eq!(node.0.run(), Some(NodeRun(7)), "it has not left");
        // An answer counts from when it was asked for.
        assert_eq!(node.feed(E::Renewed { run: NodeRun(7), asked_at: stamp(0) }, 6_001), []);
        assert_eq!(node.renewed(6_100), [A::Show(Standing::Member)]);
    }

    #[test]
    fn a_registration_that_is_over_ends_what_was_held_under_it_and_another_is_asked_for() {
        let mut node = Node::member();
        assert_eq!(node.feed(E::Over(NodeRun(3)), 10), [], "it is another's");
        let asked_at = stamp(20);
        assert_eq!(
            node.feed(E::Over(NodeRun(7)), 20),
            [A::Depose(NodeRun(7)), A::Register { asked_at }, A::Show(Standing::Joining)]
        );
        assert_eq!(node.feed(E::Wake, 2_020), [A::Register { asked_at: stamp(2_020) }]);
        let shown = node.feed(E::Registered { run: NodeRun(9), asked_at }, 2_030);
        assert_eq!(shown, [A::Show(Standing::Member)]);
        let again = E::Registered { run: NodeRun(10), asked_at: stamp(2_020) };
        assert_eq!(node.feed(again, 2_040), []);
        assert_eq!(node.0.run(), Some(NodeRun(9)));
    }

    #[test]
    fn only_who_is_watched_and_does_not_renew_is_swept() {
        let mut node = Node::member();
        for second in 1..10 {
            let _ = node.renewed(second * 1_000);
            assert_eq!(node.sees(4, second, Lease::Over, second * 1_000 + 10), [], "it renews");
        }
        for second in 10..13 {
            let _ = node.renewed(second * 1_000);
            assert_eq!(node.sees(4, 9, Lease::Over, second * 1_000), []);
        }
        let _ = node.renewed(12_900);
        // Since the ninth second.
        assert_eq!(node.sees(4, 9, Lease::Over, 13_000), []);
        let _ = node.renewed(13_000);
        assert_eq!(node.sees(4, 9, Lease::Over, 13_010), []);
        assert_eq!(node.sees(5, 1, Lease::Over, 13_020), []);
    }

    #[test]
    fn a_sweep_names_the_renewals_that_were_seen_and_is_repeated() {
        let mut node = Node::member();
        let sweep = A::Sweep { run: NodeRun(4), renewals: 2 };
        assert_eq!(node.sees(4, 2, Lease::Over, 1_000), []);
        let _ = node.renewed(2_000);
        assert_eq!(node.sees(4, 2, Lease::Over, 3_999), []);
        assert_eq!(node.sees(4, 2, Lease::Over, 4_000), [sweep]);
        assert_eq!(node.sees(4, 2, Lease::Over, 5_000), []);
        let _ = node.renewed(8_000);
        assert_eq!(node.sees(4, 2, Lease::Over, 9_000), [sweep]);
        // A lease that holds ends the watch, and so does a row that is gone.
        assert_eq!(node.sees(4, 3, Lease::Holds, 9_500), []);
        assert_eq!(node.sees(4, 3, Lease::Over, 10_000), []);
        let _ = node.feed(E::Read, 10_500);
        let _ = node.renewed(12_000);
        assert_eq!(node.sees(4, 3, Lease::Over, 13_500), [], "watched anew");
    }

    #[test]
    fn an_island_sweeps_nobody() {
        let mut node = Node::member();
        let _ = node.sees(4, 2, Lease::Over, 1_000);
        let _ = node.feed(E::Wake, 6_000);
        assert_eq!(node.sees(4, 2, Lease::Over, 6_500), []);
        let _ = node.renewed(7_000);
        assert_eq!(
            node.sees(4, 2, Lease::Over, 7_500),
            [A::Sweep { run: NodeRun(4), renewals: 2 }]
        );
    }

    #[test]
    fn a_node_that_was_started_again_takes_over_from_itself_at_once_and_only_then() {
        let mut node = Node::member();
        let earlier = |run| E::Seen {
            run: NodeRun(run),
            renewals: 3,
            lease: Lease::Holds,
            process: NodeProcess::EarlierOfThis,
        };
        assert_eq!(node.feed(earlier(4), 10), [A::Sweep { run: NodeRun(4), renewals: 3 }]);
        assert_eq!(node.feed(earlier(8), 10), [], "that one is later: another process of the name");
        let _ = node.feed(E::Read, 10);
        assert_eq!(node.feed(earlier(5), 1_000), []);
    }

    #[test]
    fn a_node_that_drains_admits_nobody_and_leaves_when_nothing_is_open() {
        let mut node = Node::member();
        assert_eq!(node.feed(E::Drained, 1), [], "nobody asked for it");
        assert_eq!(node.feed(E::Drain, 2), [A::Show(Standing::Draining)]);
        assert!(node.feed(E::Wake, 2_000).contains(&A::Read), "it is alive until then");
        assert_eq!(node.feed(E::Drained, 3_000), [A::Leave(NodeRun(7)), A::Show(Standing::Gone)]);
        assert_eq!(node.0.handle(E::Wake, at(4_000)).deadline, Deadline::Never);
    }
}
