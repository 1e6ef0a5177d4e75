//! Sessions: the machines that keep a connection alive: they watch a link, drop it when silent, and restore it.
//!
//! Tier 1 of the [crate](crate#what-is-public-in-tiers): the connection.

mod accepted;
mod agent;
mod agent_types;
mod answered_beats;
mod dial;
mod dial_fault;
mod edges;
pub mod frames;
mod greeting;
mod parked;
mod reason;
mod refusal;
mod server;
mod server_types;

pub use crate::model::Dialect;
pub use accepted::{
    AcceptedAction, AcceptedEvent, AcceptedLink, Complaint, Discarded, FrameForm, Opening, Reading,
    Unwanted,
};
pub use agent::{AgentConnection, AgentSnapshot};
pub use agent_types::{
    AgentAction, AgentCause, AgentConfig, AgentEvent, AgentInbound, AgentReport, AgentStatus,
    EchoBits, EndOrder, HelloRefusal, ServerBeat, SessionTerms, TokenUse,
};
pub use answered_beats::AnsweredBeats;
pub use dial::DialFailure;
pub use dial_fault::{DialFault, DialStage};
pub use edges::{
    ACCEPTED_EDGES, AGENT_EDGES, AcceptedCause, AcceptedEdge, AcceptedStatus, AgentCauseKind,
    AgentEdge, AgentStatusKind, DASHBOARD_EDGES, DashboardCause, DashboardEdge, DashboardStatus,
    Edge, PRESENCE_EDGES, PresenceCauseKind, PresenceEdge,
};
pub(crate) use greeting::{Greeting, GreetingEvent, GreetingVerdict, UndecodableQuota};
pub use reason::{Failure, LastFailure, StatusReason};
pub use refusal::{
    HttpRefusal, NONCE_HEADER, REFUSAL_HEADER, RefusalReason, TOKEN_FAULT_HEADER, TokenFault,
    nonce_to_repeat,
};
pub use server::{ServerCold, ServerConnection, ServerHot, ServerSnapshot, ServerView};
pub(crate) use server::{armed as server_deadline, handle as handle_server};
pub(crate) use server_types::Ground;
pub use server_types::{
    BeatOut, Claimant, Presence, PresenceCause, PresenceStatus, ServerAction, ServerConfig,
    ServerEvent, ServerInbound, StatusCause, StoreTrouble, VersionNumbering,
};
