//! All that the hub waits for, and what of it comes next.

use super::perform::Edge;
use super::request::{QueuedRequest, Request};
use super::unread::ReadFleet;
use super::watchdog::Kind;
use super::write_queue::Done;
use crate::auth::{LinkEnd, OpenRequest};
use crate::store::{OutputReceipt, Receipts, Recorded, StoreHealth};
use onsembl_protocol::fleet::StoreAnswer;
use onsembl_protocol::id::UserId;
use onsembl_protocol::time::Deadline;
use onsembl_transport::clock::SystemClock;
use onsembl_transport::server::{Shard, ShardEvent};
use std::collections::VecDeque;
use std::future::ready;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::warn;

/// Recorded heartbeats that are handled in one go before input is looked at again: one commit may have those of all agents.
const RECORDED_AT_ONCE: usize = 256;

/// What the hub has to do next.
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
    /// A fleet that was not read yet was.
    Read(ReadFleet),
    /// Agents of such a fleet are to be recovered.
    Recover,
}

/// The next input, or that there is none any more.
pub(super) enum Next {
    Input(Input),
    /// The server ends: to be said when every link knows.
    Shutdown(oneshot::Sender<()>),
    /// Nobody can ask for anything any more.
    Abandoned,
}

impl Input {
    /// Of whose fleet this may be the first that is heard of. Everything else is about what a fleet knows already.
    pub(super) fn first_of<'a>(&'a self, shard: &'a Shard<OpenRequest>) -> Option<&'a UserId> {
        match self {
            Self::Link(ShardEvent::Hello(claim)) => Some(&claim.auth.identity().user),
            Self::Link(ShardEvent::Silent { link, .. }) => {
                shard.bearer(*link).map(|open| &open.identity().user)
            }
            Self::Request(request) => request.user(),
            Self::Link(
                ShardEvent::Parked { .. }
                | ShardEvent::Admit { .. }
                | ShardEvent::Welcomed { .. }
                | ShardEvent::Record { .. }
                | ShardEvent::Paused { .. }
                | ShardEvent::Presence { .. }
                | ShardEvent::Beats { .. }
                | ShardEvent::Message { .. }
                | ShardEvent::Heard { .. }
                | ShardEvent::LinkEnded { .. }
                | ShardEvent::Forgotten { .. }
                | ShardEvent::Overslept(_)
                | ShardEvent::Answered { .. },
            )
            | Self::Recorded(_)
            | Self::Stored(_)
            | Self::Answered(..)
            | Self::Health(_)
            | Self::Wake
            | Self::TokenEnded(_)
            | Self::Read(_)
            | Self::Recover => None,
        }
    }

    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Link(_) => Kind::LINKS,
            Self::Request(request) => match request {
                Request::AgentLink(_) => Kind::ACCEPT,
                Request::User { .. } => Kind::OF_FLEET,
                Request::Recording { .. } => Kind::RECORDING,
                Request::Beats { .. } => Kind::BEATS,
                Request::Command { .. } => Kind::COMMAND,
                Request::Read { .. } => Kind::RECOVERY,
                Request::Stats(_) | Request::Alive(_) | Request::Shutdown(_) => Kind::STATS,
            },
            Self::Recorded(_) => Kind::RECORDED,
            Self::Stored(_) => Kind::STORED,
            Self::Answered(..) => Kind::ANSWERED,
            Self::Health(_) => Kind::HEALTH,
            Self::Wake => Kind::WAKE,
            Self::TokenEnded(_) => Kind::TOKENS,
            Self::Read(_) | Self::Recover => Kind::RECOVERY,
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
    /// Cancel-safe.
    pub(super) async fn next(&mut self, edge: &mut Edge, wake: Deadline) -> Next {
        loop {
            return Next::Input(tokio::select! {
                request = self.requests.recv() => match request {
                    Some((Request::Shutdown(done), _)) => return Next::Shutdown(done),
                    Some((request, _turn)) => Input::Request(request),
                    None => return Next::Abandoned,
                },
                event = edge.shard.next() => Input::Link(event),
                Some(recorded) = self.receipts.recorded.recv(), if self.recorded.is_empty() => {
                    self.recorded.extend(recorded);
                    self.some_recorded()
                }
                () = ready(()), if !self.recorded.is_empty() => self.some_recorded(),
                Some(stored) = self.receipts.output.recv() => Input::Stored(stored),
                Some((user, answer)) = self.done.recv() => Input::Answered(user, answer),
                Some(outcome) = edge.outcomes.join_next(), if !edge.outcomes.is_empty() => {
                    match outcome {
                        Ok((user, answer)) => Input::Answered(user, answer),
                        Err(error) => {
                            edge.counters.count("tasks_lost");
                            warn!(%error, "a request to the database was lost");
                            continue;
                        }
                    }
                }
                Some(read) = edge.unread.next_read(), if edge.unread.is_reading() => match read {
                    Ok(Some(fleet)) => Input::Read(fleet),
                    // The store was closed, and the hub ends.
                    Ok(None) => continue,
                    Err(error) => {
                        edge.counters.count("tasks_lost");
                        warn!(%error, "a fleet that was being read was lost");
                        continue;
                    }
                },
                () = ready(()), if edge.unread.is_recovering() => Input::Recover,
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
