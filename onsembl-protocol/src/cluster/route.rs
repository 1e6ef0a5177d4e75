//! Where a request for an agent goes, and what its user is told: one machine for each request.
//!
//! What is stored (commands, cancels, stops) reaches its agent also if every message is lost, because the owner reads the
//! rows of its agents. So a message that is not answered delays it, and the user is told that it waits. What is not stored
//! (typing, orders to look) fails visibly, and is never repeated.

use crate::id::{Epoch, NodeRun};
use crate::step::{Actions, Step};
use crate::time::{Deadline, Now, Timestamp};
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// How long the node of an agent may take to answer, with one other node that it names.
const PATIENCE: Duration = Duration::from_millis(500);

/// Whether a request is in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Kept {
    /// It was stored before it was sent: it is found without a message.
    Stored,
    /// Only a message carries it.
    Unstored,
}

/// The node of an agent, as far as is known where the request is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Destination {
    /// This node itself.
    Here,
    There {
        run: NodeRun,
        epoch: Epoch,
    },
    /// Nobody has the agent.
    Nowhere,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Outcome {
    /// The agent's fleet took it, or refused it with a reason that its reply has.
    Handled,
    /// The agent is not that node's. Whose it is, if that node knows.
    NotMine(Option<(NodeRun, Epoch)>),
    /// Nobody listens there.
    Nobody,
}

/// Events of [`Route`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say all")]
pub enum RouteEvent {
    /// The message to this node had this outcome.
    Answered { by: NodeRun, outcome: Outcome },
    /// The deadline has passed; harmless at any other time.
    Wake,
}

/// Why a stored request waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names say all")]
pub enum WaitingFor {
    /// The node of the agent did not answer.
    Node,
    /// No node has the agent.
    Agent,
}

/// What the user is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say all")]
pub enum RouteReply {
    /// The node of the agent answered: its reply is the user's.
    Handled,
    /// It is stored, and reaches the agent later.
    Waits(WaitingFor),
    /// It was not delivered with certainty, and is not repeated.
    Unreachable(WaitingFor),
}

/// Actions of [`Route`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[allow(missing_docs, reason = "the names say all")]
pub enum RouteAction {
    /// Hand the request to the fleet of this node; nothing follows.
    Deliver,
    /// Send it to that node; answer with `Answered`.
    Send { run: NodeRun, epoch: Epoch },
    /// Tell the user; nothing follows.
    Reply(RouteReply),
}

/// A request on its way to the node of its agent. A [reducer](crate::step#two-contracts).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    kept: Kept,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Sent { run: NodeRun, epoch: Epoch, tries: Tries, until: Timestamp },
    Done,
}

/// How often it may be sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tries {
    First,
    /// The first node named this one.
    Second,
}

type Out = Actions<RouteAction>;

impl Route {
    /// A request that is made now.
    pub fn begin(kept: Kept, to: Destination, now: Now) -> (Self, Step<RouteAction>) {
        let mut out = Actions::none();
        let mut this = Self { kept, state: State::Done };
        match to {
            Destination::Here => out.push(RouteAction::Deliver),
            Destination::Nowhere => this.fail(WaitingFor::Agent, &mut out),
            Destination::There { run, epoch } => {
                let until = now.monotonic.saturating_add(PATIENCE);
                this.state = State::Sent { run, epoch, tries: Tries::First, until };
                out.push(RouteAction::Send { run, epoch });
            }
        }
        let deadline = this.deadline().after(now.monotonic);
        (this, Step { actions: out, deadline })
    }

    /// Handles one event at one moment; returns the actions and the next deadline.
    pub fn handle(&mut self, event: RouteEvent, now: Now) -> Step<RouteAction> {
        let mut out = Actions::none();
        if let State::Sent { run, epoch, tries, until } = self.state {
            match event {
                RouteEvent::Answered { by, outcome } if by == run => {
                    self.answered((epoch, tries, until), outcome, &mut out);
                }
                // Of a node that it was sent to before, or a repeated answer.
                RouteEvent::Answered { .. } => {}
                RouteEvent::Wake if until <= now.monotonic => self.fail(WaitingFor::Node, &mut out),
                RouteEvent::Wake => {}
            }
        }
        Step { actions: out, deadline: self.deadline().after(now.monotonic) }
    }

    fn answered(
        &mut self,
        (epoch, tries, until): (Epoch, Tries, Timestamp),
        outcome: Outcome,
        out: &mut Out,
    ) {
        match (outcome, tries) {
            (Outcome::Handled, _) => {
                self.state = State::Done;
                out.push(RouteAction::Reply(RouteReply::Handled));
            }
            // Only onward: an older owner would name this one again.
            (Outcome::NotMine(Some((run, newer))), Tries::First) if newer > epoch => {
                self.state = State::Sent { run, epoch: newer, tries: Tries::Second, until };
                out.push(RouteAction::Send { run, epoch: newer });
            }
            (Outcome::NotMine(_) | Outcome::Nobody, _) => self.fail(WaitingFor::Node, out),
        }
    }

    fn fail(&mut self, waits_for: WaitingFor, out: &mut Out) {
        self.state = State::Done;
        out.push(RouteAction::Reply(match self.kept {
            Kept::Stored => RouteReply::Waits(waits_for),
            Kept::Unstored => RouteReply::Unreachable(waits_for),
        }));
    }

    fn deadline(&self) -> Deadline {
        match self.state {
            State::Sent { until, .. } => Deadline::At(until),
            State::Done => Deadline::Never,
        }
    }

    /// Whether the user has been told.
    pub const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RouteAction as A;
    use alloc::vec::Vec;

    const THERE: Destination = Destination::There { run: NodeRun(2), epoch: Epoch(5) };

    fn at(millis: u64) -> Now {
        Now::without_suspend(Duration::from_millis(millis))
    }

    fn begin(kept: Kept, to: Destination) -> (Route, Vec<RouteAction>) {
        let (route, step) = Route::begin(kept, to, at(0));
        (route, step.actions.iter().collect())
    }

    fn feed(route: &mut Route, event: RouteEvent, millis: u64) -> Vec<RouteAction> {
        route.handle(event, at(millis)).actions.iter().collect()
    }

    fn answered(by: u64, outcome: Outcome) -> RouteEvent {
        RouteEvent::Answered { by: NodeRun(by), outcome }
    }

    #[test]
    fn each_request_is_answered_once_and_in_time() {
        let handled = A::Reply(RouteReply::Handled);
        let (route, actions) = begin(Kept::Stored, Destination::Here);
        assert_eq!((actions.as_slice(), route.is_done()), ([A::Deliver].as_slice(), true));
        let (mut route, actions) = begin(Kept::Stored, THERE);
        assert_eq!(actions, [A::Send { run: NodeRun(2), epoch: Epoch(5) }]);
        assert_eq!(feed(&mut route, RouteEvent::Wake, 499), []);
        assert_eq!(feed(&mut route, answered(9, Outcome::Handled), 499), []);
        assert_eq!(feed(&mut route, answered(2, Outcome::Handled), 499), [handled]);
        assert_eq!(feed(&mut route, answered(2, Outcome::Handled), 500), []);
        assert_eq!(feed(&mut route, RouteEvent::Wake, 500), []);
    }

    #[test]
    fn what_is_stored_waits_and_what_is_not_fails() {
        for (kept, reply) in [
            (Kept::Stored, RouteReply::Waits as fn(WaitingFor) -> RouteReply),
            (Kept::Unstored, RouteReply::Unreachable),
        ] {
            let (_, actions) = begin(kept, Destination::Nowhere);
            assert_eq!(actions, [A::Reply(reply(WaitingFor::Agent))]);
            let of_node = [A::Reply(reply(WaitingFor::Node))];
            let (mut route, _) = begin(kept, THERE);
            assert_eq!(feed(&mut route, answered(2, Outcome::Nobody), 1), of_node);
            let (mut route, _) = begin(kept, THERE);
            assert_eq!(feed(&mut route, RouteEvent::Wake, 500), of_node);
            assert_eq!(feed(&mut route, answered(2, Outcome::Handled), 501), [], "it was told");
        }
    }

    #[test]
    fn it_is_sent_on_once_and_only_to_a_newer_owner() {
        let named = |run, epoch| Outcome::NotMine(Some((NodeRun(run), Epoch(epoch))));
        let fails = [A::Reply(RouteReply::Waits(WaitingFor::Node))];
        let (mut route, _) = begin(Kept::Stored, THERE);
        assert_eq!(feed(&mut route, answered(2, named(3, 5)), 1), fails, "not newer");
        let (mut route, _) = begin(Kept::Stored, THERE);
        let sent = feed(&mut route, answered(2, named(3, 6)), 400);
        assert_eq!(sent, [A::Send { run: NodeRun(3), epoch: Epoch(6) }]);
        assert_eq!(feed(&mut route, answered(2, Outcome::Handled), 401), [], "of the node before");
        assert_eq!(feed(&mut route, answered(3, named(4, 7)), 402), fails);
        let (mut route, _) = begin(Kept::Stored, THERE);
        let _ = feed(&mut route, answered(2, named(3, 6)), 400);
        assert_eq!(feed(&mut route, RouteEvent::Wake, 500), fails, "in the same time");
    }
}
