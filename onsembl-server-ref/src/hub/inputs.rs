//! All that the hub waits for, and what of it comes next.

use super::perform::Edge;
use super::recovery::RECOVERY;
use super::request::{QueuedRequest, Request};
use super::unread::StoredAgent;
use super::watchdog::Kind;
use super::write_queue::Done;
use crate::auth::{LinkEnd, OpenRequest};
use crate::store::{OutputReceipt, Receipts, Recorded, StoreHealth};
use onsembl_protocol::fleet::StoreAnswer;
use onsembl_protocol::id::UserId;
use onsembl_protocol::time::Deadline;
use onsembl_transport::clock::SystemClock;
use onsembl_transport::server::ShardEvent;
use std::collections::VecDeque;
use std::future::ready;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinError;
use tracing::warn;

/// Recorded heartbeats that are handled in one go before input is looked at again: one commit may have those of all agents.
const RECORDED_AT_ONCE: usize = 256;

/// What events of links are to the watchdog.
pub(super) const LINKS: Kind = "links";

/// What the hub has to do next.
#[derive(Debug)]
pub(super) enum Input {
    Link(ShardEvent<OpenRequest>),
    Request(Request),
    /// Heartbeats that were committed.
    Recorded(Vec<Recorded>),
    Stored(Vec<OutputReceipt>),
    Answered(UserId, StoreAnswer),
    Health(StoreHealth),
    Wake,
    TokenEnded(LinkEnd),
    /// A fleet that was not read yet was: its agents.
    Read(UserId, Vec<StoredAgent>),
    /// Agents of such a fleet are to be recovered.
    Recover,
}

impl Input {
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Link(_) => LINKS,
            Self::Request(request) => request.kind(),
            Self::Recorded(_) => "recorded heartbeats",
            Self::Stored(_) => "stored output",
            Self::Answered(..) => "answer of the store",
            Self::Health(_) => "health of the store",
            Self::Wake => "wake-ups",
            Self::TokenEnded(_) => "ends of tokens",
            Self::Read(..) | Self::Recover => RECOVERY,
        }
    }
}

/// Where it comes from.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) clock: SystemClock,
    pub(super) requests: mpsc::Receiver<QueuedRequest>,
    /// What became of writes.
    pub(super) done: mpsc::UnboundedReceiver<Done>,
    pub(super) receipts: Receipts,
    pub(super) health: watch::Receiver<StoreHealth>,
    pub(super) link_ends: mpsc::UnboundedReceiver<LinkEnd>,
    /// Heartbeats of a commit that were not handled yet.
    pub(super) recorded: VecDeque<Recorded>,
}

impl Inputs {
    /// What comes first: whichever there is, each as likely as the others. Who floods one of them holds up no other.
    /// None if nobody can ask for anything any more. Cancel-safe.
    pub(super) async fn next(&mut self, edge: &mut Edge, wake: Deadline) -> Option<Input> {
        loop {
            return Some(tokio::select! {
                request = self.requests.recv() => {
                    let (request, _turn) = request?;
                    Input::Request(request)
                }
                event = edge.shard.next() => Input::Link(event),
                Some(recorded) = self.receipts.recorded.recv(), if self.recorded.is_empty() => {
                    self.recorded.extend(recorded);
                    self.some_recorded()
                }
                () = ready(()), if !self.recorded.is_empty() => self.some_recorded(),
                Some(stored) = self.receipts.output.recv() => Input::Stored(stored),
                Some((user, answer)) = self.done.recv() => Input::Answered(user, answer),
                Some(outcome) = edge.outcomes.join_next(), if !edge.outcomes.is_empty() => {
                    match kept(outcome, edge) {
                        Some((user, answer)) => Input::Answered(user, answer),
                        None => continue,
                    }
                }
                Some(read) = edge.unread.reads.join_next(), if !edge.unread.reads.is_empty() => {
                    match kept(read, edge).flatten() {
                        Some((user, agents)) => Input::Read(user, agents),
                        None => continue,
                    }
                }
                () = ready(()), if edge.unread.fleets.is_recovering() => Input::Recover,
                Ok(()) = self.health.changed() => Input::Health(*self.health.borrow_and_update()),
                () = self.clock.sleep_until(wake) => Input::Wake,
                Some(ended) = self.link_ends.recv() => Input::TokenEnded(ended),
            });
        }
    }

    fn some_recorded(&mut self) -> Input {
        let some = self.recorded.len().min(RECORDED_AT_ONCE);
        Input::Recorded(self.recorded.drain(..some).collect())
    }
}

/// What a task of the hub brings, unless it was lost.
fn kept<T>(outcome: Result<T, JoinError>, edge: &Edge) -> Option<T> {
    let lost = |error: &JoinError| {
        edge.counters.count("tasks_lost");
        warn!(%error, "a request to the database was lost");
    };
    outcome.inspect_err(lost).ok()
}
