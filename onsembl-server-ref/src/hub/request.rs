//! What others ask of the hub.

use crate::auth::OpenRequest;
use crate::bounds::{Turn, TurnLimits, Turns};
use onsembl_protocol::diagnosis::BeatReport;
use onsembl_protocol::fleet::{self, Answer, OpenCommand};
use onsembl_protocol::id::{AgentId, BeatSequence, CommandId, UserId};
use onsembl_protocol::replay::Excerpt;
use onsembl_protocol::time::WallTime;
use onsembl_transport::server::LinkTicket;
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

/// What can be asked of the hub.
#[allow(missing_docs)] // fields: their names say all
#[derive(Debug)]
pub enum Request {
    /// An agent's link was accepted.
    AgentLink(LinkTicket<OpenRequest>),
    /// A user wants something of the user's fleet.
    User { user: UserId, request: fleet::Request, reply: oneshot::Sender<Answer> },
    /// A user wants what is recorded of an agent.
    Recording { user: UserId, agent: AgentId, reply: oneshot::Sender<Result<Excerpt, NoRecording>> },
    /// A user wants the hop tracker of an agent.
    Beats { user: UserId, agent: AgentId, reply: oneshot::Sender<Option<Box<BeatReport>>> },
    /// A user wants to know where a command stands that is not over.
    Command { user: UserId, command: CommandId, reply: oneshot::Sender<Option<OpenCommand>> },
    /// The fleet of this user is to be read, if it is not yet.
    Read { user: UserId, reply: oneshot::Sender<()> },
    /// Ask for statistics.
    Stats(oneshot::Sender<HubStats>),
    /// The same for the service manager, which ends a server that does not answer: strangers must not be in its way.
    Alive(oneshot::Sender<HubStats>),
    /// The server ends: say so to every agent, and stop.
    Shutdown(oneshot::Sender<()>),
}

/// Why there is no recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoRecording {
    /// The user has no such agent.
    #[error("no agent of yours has this id")]
    NoAgent,
    /// Nothing of it can be replayed.
    #[error(
        "no recording of this agent: it had no connection recently, or too many others share the ring"
    )]
    Nothing,
}

/// One hop of a heartbeat, for observers.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names say all")]
#[non_exhaustive]
pub struct BeatSeen {
    pub agent: AgentId,
    /// The beat's number; of our own beat for [`BeatHop::Answered`].
    pub sequence: BeatSequence,
    pub hop: BeatHop,
    pub at: WallTime,
}

/// The hops of a heartbeat on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum BeatHop {
    Received,
    /// It is committed to the database.
    Recorded,
    Answered,
}

/// Statistics of the hub.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct HubStats {
    /// Links of agents.
    pub links: usize,
    /// Links without a hello yet.
    pub greeting: usize,
    /// Agents with a machine: in session, joining or awaited.
    pub sessions: usize,
    /// Open commands.
    pub open_commands: usize,
    /// Pending writes to the database.
    pub unwritten: usize,
}

impl Request {
    /// Whose fleet it is about; `None` of what is about none.
    pub(super) fn user(&self) -> Option<&UserId> {
        match self {
            Self::User { user, .. }
            | Self::Recording { user, .. }
            | Self::Beats { user, .. }
            | Self::Command { user, .. }
            | Self::Read { user, .. } => Some(user),
            Self::AgentLink(_) | Self::Stats(_) | Self::Alive(_) | Self::Shutdown(_) => None,
        }
    }

    /// In whose line it waits; `None`: in none.
    fn line(&self) -> Option<Line> {
        match self {
            Self::AgentLink(ticket) => Some(Line::Of(ticket.auth.identity().user.clone())),
            Self::User { .. }
            | Self::Recording { .. }
            | Self::Beats { .. }
            | Self::Command { .. }
            | Self::Read { .. } => self.user().cloned().map(Line::Of),
            Self::Stats(_) => Some(Line::OfStrangers),
            Self::Alive(_) | Self::Shutdown(_) => None,
        }
    }
}

/// Whose requests wait together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Line {
    /// A user's.
    Of(UserId),
    /// Those of whoever asks whether the server lives: anybody can, from as many addresses as there are.
    OfStrangers,
}

/// A request in the hub's inbox, and the slot that its line has there until the hub takes it.
pub(crate) type QueuedRequest = (Request, Option<Turn<Line>>);

/// How many answers of the store the fleets wait for, most of them for sessions that are being opened: written by the
/// hub.
#[derive(Clone, Debug, Default)]
pub(crate) struct Joining(Arc<AtomicUsize>);

impl Joining {
    pub(crate) fn set(&self, answers: usize) {
        self.0.store(answers, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// The way to the hub.
#[derive(Clone, Debug)]
pub struct HubHandle {
    requests: mpsc::Sender<QueuedRequest>,
    turns: Turns<Line>,
    joining: Joining,
}

/// The way to a hub that may have ended.
#[derive(Clone, Debug)]
pub struct WeakHubHandle {
    requests: mpsc::WeakSender<QueuedRequest>,
    turns: Turns<Line>,
    joining: Joining,
}

impl WeakHubHandle {
    /// The way to the hub; `None` if it has ended.
    pub fn upgrade(&self) -> Option<HubHandle> {
        let (turns, joining) = (self.turns.clone(), self.joining.clone());
        Some(HubHandle { requests: self.requests.upgrade()?, turns, joining })
    }
}

impl HubHandle {
    /// The way to a hub that takes requests from here, with a limit for each line in its inbox.
    pub(crate) fn new(requests: mpsc::Sender<QueuedRequest>, of_user: usize) -> Self {
        let turns = Turns::new(TurnLimits::each(of_user));
        Self { requests, turns, joining: Joining::default() }
    }

    /// How many sessions are being opened.
    pub(crate) fn joining(&self) -> &Joining {
        &self.joining
    }

    /// The same for somebody who must not keep the hub alive: it ends when nobody can ask it any more.
    pub fn downgrade(&self) -> WeakHubHandle {
        let (turns, joining) = (self.turns.clone(), self.joining.clone());
        WeakHubHandle { requests: self.requests.downgrade(), turns, joining }
    }

    /// Asks; waits for room. `false` if the hub has ended.
    pub async fn ask(&self, request: Request) -> bool {
        let turn = match request.line() {
            Some(line) => self.turns.take_one(&line).await,
            None => None,
        };
        self.requests.send((request, turn)).await.is_ok()
    }

    /// Waits until the fleet of a user is read; `false` if the hub has ended.
    pub(crate) async fn read(&self, user: &UserId) -> bool {
        let (reply, read) = oneshot::channel();
        self.ask(Request::Read { user: user.clone(), reply }).await && read.await.is_ok()
    }

    /// Asks for something of a user's fleet, and waits for the answer; `None` if the hub has ended.
    pub async fn ask_fleet(&self, user: UserId, request: fleet::Request) -> Option<Answer> {
        let (reply, answer) = oneshot::channel();
        if !self.ask(Request::User { user, request, reply }).await {
            return None;
        }
        answer.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn strangers_who_ask_whether_the_server_lives_leave_room_for_users() {
        let (requests, mut inbox) = mpsc::channel(64);
        let hub = HubHandle::new(requests, 4);
        let stats = || Request::Stats(oneshot::channel().0);
        for _ in 0..4 {
            assert!(hub.ask(stats()).await);
        }
        assert!(hub.ask(stats()).now_or_never().is_none(), "they have their line");
        let (user, agent) = (UserId::new("ann"), AgentId::new("a"));
        let asked = Request::Beats { user, agent, reply: oneshot::channel().0 };
        assert!(hub.ask(asked).await);
        drop(inbox.recv().await);
        assert!(hub.ask(stats()).await);
    }
}
