//! What the world itself finds wrong: with a driver, with a machine that waits for nothing, and with what
//! the fleet takes for the truth.

use crate::lab::fact::{AgentStatus, Status};
use thiserror::Error;

/// What the simulator itself found wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Failure {
    /// A live agent's machine waits for nothing.
    #[error("agent-without-deadline: process {process} has no deadline and is not closed")]
    AgentWithoutDeadline { process: u32 },
    /// An agent's machine wants to be woken in the past: a driver would spin.
    #[error("agent-deadline-not-later: process {process} wants to be woken in the past")]
    AgentDeadlineNotLater { process: u32 },
    /// A worker wants to do or to send something, though it got no command.
    #[error(
        "worker-not-idle: the worker of process {process} was given no command and is not idle"
    )]
    WorkerNotIdle { process: u32 },
    /// A server's machine waits for nothing.
    #[error("server-without-deadline: the machine of agent {agent} has no deadline")]
    ServerWithoutDeadline { agent: u32 },
    /// The supervisor's next wake is later than the deadline of a machine it owns.
    #[error("supervisor-late: the next wake is later than the deadline of agent {agent}")]
    SupervisorLate { agent: u32 },
    /// Everything healed and an agent is not connected at both ends, under one epoch.
    #[error(
        "not-back: agent {agent} is {at_agent:?} (epoch {agent_epoch}) at its end and \
         {at_server:?} (epoch {server_epoch}) at the server's, long after everything healed"
    )]
    NotBack {
        agent: u32,
        /// Its status at its own end; `None` if no process runs.
        at_agent: Option<AgentStatus>,
        /// Its status at the server; `None` if there is no machine.
        at_server: Option<Status>,
        /// The epoch that it was given.
        agent_epoch: u64,
        /// The epoch of the server.
        server_epoch: u64,
    },
    /// The fleet named a seat after it was informed that its machine was removed.
    #[error("seat-gone: the fleet still names a machine that was removed")]
    SeatGone,
    /// The fleet put a machine in for an agent that has one.
    #[error("two-seats: the fleet put a second machine in for agent {agent}")]
    TwoSeats { agent: u32 },
    /// The fleet took what is one agent's for another's.
    #[error("other-agent: the fleet took agent {agent} for another one, or another one for it")]
    OtherAgent { agent: u32 },
    /// The fleet refused a hello, and there is room for each agent.
    #[error(
        "refused: the fleet has no room for agent {agent}, which is one of those it has room for"
    )]
    Refused { agent: u32 },
    /// The fleet let a peer pass for an agent whose lineage its token is not of.
    #[error("taken-over: a token of another lineage got what is agent {agent}'s")]
    TakenOver { agent: u32 },
    /// The fleet called a session over whose link is open.
    #[error("ended-while-open: the fleet ended a session of agent {agent} whose link is open")]
    EndedWhileOpen { agent: u32 },
    /// The fleet showed an older presence than before, or another one under the same version.
    #[error("readers-went-back: readers were shown an older presence of agent {agent} than before")]
    ReadersWentBack { agent: u32 },
    /// Everything healed and readers are not shown what is so, or the store does not have it.
    #[error("not-shown: readers or the store have another presence or session of agent {agent}")]
    NotShown { agent: u32 },
    /// The fleet wanted something done that nothing in this world can be a reason for.
    #[error("unasked: the fleet did what was not asked for")]
    Unasked,
    /// More happened in one simulated second than can.
    #[error("spinning: something happens without end at one moment")]
    Spinning,
    /// A packet came to the wrong end: a defect of the simulator.
    #[error("confused: a packet of process {process} came to the wrong end")]
    Confused { process: u32 },
    /// A message was read otherwise than it was written.
    #[error("codec-mismatch: a message of agent {agent} was read otherwise than written")]
    CodecMismatch { agent: u32 },
}
