//! The server's end of one agent: offline, connecting, online, reconnecting, closed.
//!
//! [`ServerConnection`] outlives links: it is the session of an agent, and the only authority on
//! its presence. It never sees bytes and never touches the store: it asks, and gets the answer as an event.
//!
//! Here is the machine that stands by itself. `state.rs` has its states, parted into what hearing
//! a frame touches and the rest; `session.rs` judges a live session; `turn.rs` takes an event;
//! `links.rs` has what events do to links, `beats.rs` what they do to a live session.

mod beats;
mod links;
mod session;
mod state;
mod turn;

pub use state::{ServerCold, ServerHot, ServerSnapshot, ServerView};
pub(crate) use turn::{armed, handle};

use super::server_types::{Presence, PresenceCause, ServerAction, ServerConfig, ServerEvent};
use crate::id::{Epoch, LinkId, PresenceVersion};
use crate::model::Dialect;
use crate::step::{Actions, Step};
use crate::time::{Deadline, Now};

/// The server's end of one agent, over all its links. A [reducer](crate::step#two-contracts).
///
/// ```
/// use onsembl_protocol::id::{Epoch, LinkId, PresenceVersion};
/// use onsembl_protocol::session::{Claimant, Dialect, PresenceStatus, ServerAction};
/// use onsembl_protocol::session::{ServerConfig, ServerConnection, ServerEvent};
/// use onsembl_protocol::time::Now;
/// use std::time::Duration;
///
/// let now = Now::without_suspend(Duration::ZERO);
/// let (version, epoch) = (PresenceVersion(0), Epoch(0)); // what the store holds
/// let mut agent = ServerConnection::new(ServerConfig::DEFAULT, version, epoch, now);
///
/// let (link, dialect) = (LinkId(1), Dialect::Extended);
/// let joined = ServerEvent::Joined { link, dialect, claimant: Claimant::SameProcess };
/// let step = agent.handle(joined, now);
/// assert!(step.actions.iter().any(|a| a == ServerAction::Admit(link)));
///
/// // The store holds the session by now.
/// let _welcome = agent.handle(ServerEvent::Admitted { link, epoch: Epoch(1) }, now);
/// assert_eq!(agent.presence().status, PresenceStatus::Online);
/// ```
#[derive(Clone, Debug)]
pub struct ServerConnection {
    config: ServerConfig,
    hot: ServerHot,
    cold: ServerCold,
}

impl ServerConnection {
    /// A connection of an agent that is about to join; follow up with [`ServerEvent::Joined`].
    /// `version` and `epoch` are the latest that the store holds of this agent.
    pub fn new(config: ServerConfig, version: PresenceVersion, epoch: Epoch, now: Now) -> Self {
        let (hot, cold) = state::unknown(version, epoch, now);
        Self { config, hot, cold }
    }

    /// The connection of an agent that had a session with an earlier run of this server: nothing is
    /// online without a session, so its return is awaited.
    pub fn recovered(
        config: ServerConfig,
        version: PresenceVersion,
        epoch: Epoch,
        now: Now,
    ) -> (Self, Step<ServerAction>) {
        let mut this = Self::new(config, version, epoch, now);
        let mut actions = Actions::none();
        turn::await_return(
            &this.config,
            &mut this.hot,
            &mut this.cold,
            PresenceCause::ServerRestarted,
            now,
            &mut actions,
        );
        let deadline = this.deadline();
        (this, Step { actions, deadline })
    }

    /// Handles one event at one moment; returns the actions and the next deadline.
    ///
    /// Total: every event is allowed in every state. An event that names a link which is neither
    /// the current one nor the one that is joining changes nothing.
    pub fn handle(&mut self, event: ServerEvent, now: Now) -> Step<ServerAction> {
        let mut actions = Actions::none();
        let deadline =
            handle(&self.config, &mut self.hot, &mut self.cold, event, now, &mut actions);
        Step { actions, deadline }
    }

    /// What is published of the agent.
    pub fn presence(&self) -> Presence {
        self.view().presence()
    }

    /// The link of the session, if it has one.
    pub fn link(&self) -> Option<LinkId> {
        self.view().link()
    }

    /// What the agent of the live session speaks.
    pub fn dialect(&self) -> Option<Dialect> {
        self.view().dialect()
    }

    /// When to call with [`ServerEvent::Wake`] if nothing else comes first. `Never` only before the
    /// first hello and when closed.
    pub fn deadline(&self) -> Deadline {
        turn::deadline(&self.config, &self.hot, &self.cold)
    }

    /// A snapshot of the machine, without its configuration.
    pub fn snapshot(&self) -> ServerSnapshot {
        self.view().snapshot()
    }

    /// Restores the machine of a snapshot; `config` must be its configuration.
    pub const fn restore(config: ServerConfig, snapshot: ServerSnapshot) -> Self {
        Self { config, hot: snapshot.hot, cold: snapshot.cold }
    }

    fn view(&self) -> ServerView<'_> {
        ServerView::new(&self.hot, &self.cold)
    }

    pub(crate) fn into_parts(self) -> (ServerHot, ServerCold) {
        (self.hot, self.cold)
    }

    pub(crate) const fn from_parts(config: ServerConfig, hot: ServerHot, cold: ServerCold) -> Self {
        Self { config, hot, cold }
    }
}
