//! What a machine must be to be recorded, and the two that are.

use crate::id::{Epoch, PresenceVersion};
use crate::session::{
    AgentAction, AgentConfig, AgentConnection, AgentEvent, AgentSnapshot, ServerAction,
    ServerConfig, ServerConnection, ServerEvent, ServerSnapshot,
};
use crate::step::{Actions, Step};
use crate::time::{Deadline, Now};
use core::fmt::Debug;
use core::hash::Hash;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A machine whose inputs can be kept and fed to it again.
pub trait Recordable: Sized + Debug {
    /// Its name in a recording.
    const NAME: &'static str;
    /// What happens to it.
    type Event: Copy + Debug + Serialize + DeserializeOwned;
    /// What it asks for.
    type Action: Copy + Debug + PartialEq + Hash + Serialize;
    /// The values it lives by.
    type Config: Copy + Debug + Serialize + DeserializeOwned;
    /// How it came into being.
    type Origin: Copy + Debug + Serialize + DeserializeOwned;
    /// All that it knows beside its configuration.
    type Snapshot: Copy + Debug + PartialEq + Serialize + DeserializeOwned;

    /// Makes one. `None` if it needs a seed and there is none.
    fn begin(
        config: Self::Config,
        seeds: &[u64],
        origin: Self::Origin,
        now: Now,
    ) -> Option<(Self, Step<Self::Action>)>;

    /// Takes one event at one moment.
    fn handle(&mut self, event: Self::Event, now: Now) -> Step<Self::Action>;

    /// The machine as it is.
    fn snapshot(&self) -> Self::Snapshot;

    /// The machine that this snapshot was taken of.
    fn restore(config: Self::Config, snapshot: Self::Snapshot) -> Self;

    /// Its deadline.
    fn deadline(&self) -> Deadline;

    /// Its status, by the API's names.
    fn status(&self) -> &'static str;
}

/// How a [`ServerConnection`] came into being.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerOrigin {
    /// By [`ServerConnection::new`].
    New {
        /// The latest version that the store held.
        version: PresenceVersion,
        /// The latest epoch that the store held.
        epoch: Epoch,
    },
    /// By [`ServerConnection::recovered`].
    Recovered {
        /// The latest version that the store held.
        version: PresenceVersion,
        /// The latest epoch that the store held.
        epoch: Epoch,
    },
}

/// How an [`AgentConnection`] came into being. Its seed is in the head of the recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AgentOrigin {
    /// By [`AgentConnection::new`].
    New,
}

impl Recordable for ServerConnection {
    const NAME: &'static str = "server";
    type Event = ServerEvent;
    type Action = ServerAction;
    type Config = ServerConfig;
    type Origin = ServerOrigin;
    type Snapshot = ServerSnapshot;

    fn begin(
        config: ServerConfig,
        _: &[u64],
        origin: ServerOrigin,
        now: Now,
    ) -> Option<(Self, Step<ServerAction>)> {
        Some(match origin {
            ServerOrigin::New { version, epoch } => {
                let machine = Self::new(config, version, epoch, now);
                let step = Step { actions: Actions::none(), deadline: machine.deadline() };
                (machine, step)
            }
            ServerOrigin::Recovered { version, epoch } => {
                Self::recovered(config, version, epoch, now)
            }
        })
    }

    fn handle(&mut self, event: ServerEvent, now: Now) -> Step<ServerAction> {
        Self::handle(self, event, now)
    }

    fn snapshot(&self) -> ServerSnapshot {
        Self::snapshot(self)
    }

    fn restore(config: ServerConfig, snapshot: ServerSnapshot) -> Self {
        Self::restore(config, snapshot)
    }

    fn deadline(&self) -> Deadline {
        Self::deadline(self)
    }

    fn status(&self) -> &'static str {
        self.presence().status.as_str()
    }
}

impl Recordable for AgentConnection {
    const NAME: &'static str = "agent";
    type Event = AgentEvent;
    type Action = AgentAction;
    type Config = AgentConfig;
    type Origin = AgentOrigin;
    type Snapshot = AgentSnapshot;

    fn begin(
        config: AgentConfig,
        seeds: &[u64],
        origin: AgentOrigin,
        _: Now,
    ) -> Option<(Self, Step<AgentAction>)> {
        let AgentOrigin::New = origin;
        let machine = Self::new(config, *seeds.first()?);
        let step = Step { actions: Actions::none(), deadline: machine.deadline() };
        Some((machine, step))
    }

    fn handle(&mut self, event: AgentEvent, now: Now) -> Step<AgentAction> {
        Self::handle(self, event, now)
    }

    fn snapshot(&self) -> AgentSnapshot {
        Self::snapshot(self)
    }

    fn restore(config: AgentConfig, snapshot: AgentSnapshot) -> Self {
        Self::restore(config, snapshot)
    }

    fn deadline(&self) -> Deadline {
        Self::deadline(self)
    }

    fn status(&self) -> &'static str {
        Self::status(self).as_str()
    }
}
