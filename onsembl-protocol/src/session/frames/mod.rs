//! Where frames and machines meet: what a received text is to the machine of its end, and what is
//! written for what a machine asks for.
//!
//! The only files of the rooms of machines that read messages. [`AgentFrames`] is the agent's end;
//! what the server's end needs are functions, because there a machine belongs to an agent and a text
//! to a link ([`AcceptedLink`](super::AcceptedLink)). Nothing here waits or sends.

mod agent;
mod profile;
mod server;

pub use agent::{AgentFrames, AgentRead, AgentSession, FromServer, hello_refusal, told_of_hop};
#[cfg(feature = "sim")]
pub(crate) use agent::{agent_heartbeat, agent_pong};
pub use profile::{AgentProfile, PROBE_FOR};
pub use server::{
    Admission, FromAgent, ServerRead, SessionRules, answer_to, binary_refused, heartbeat,
    hello_missing, not_admitted, probe, read, read_binary, told_hop, undecodable, welcome,
    welcome_again,
};
