//! The core of Onsembl: how remote agents and their server stay connected, as pure functions over
//! events and time.
//!
//! The crate is sans-IO. It opens no socket, reads no clock, spawns nothing, logs nothing and draws
//! no random numbers. You tell a machine what happened and when; it answers what to do and when to
//! wake it. So the same machine runs under tokio, under threads, in a simulator and in a replay.
//!
//! # What is public, in tiers
//!
//! **0. The ground**, which everything else speaks: [`id`], [`time`], [`limits`], [`close`], [`step`] and
//! [`model`], the vocabulary that messages and machines share; and [`shared_pool`], which says whose entry goes when a bound
//! that many share is reached.
//!
//! **1. The connection.** All that an embedder of one agent or one server needs to stay connected:
//! - [`wire`]: every message of the protocol, read leniently and written in one form.
//! - [`liveness`]: the heartbeat monitor, the heartbeat numbers, the backoff.
//! - [`session`]: the machines of both ends, [`AgentConnection`] and [`ServerConnection`], and of a
//!   dashboard's link.
//! - [`supervisor`]: many machines behind one timer.
//!
//! **2. An agent's work and a server's fleet**, which build on the connection. [`worker`] is all that one
//! agent does in its sessions, [`fleet`] all agents of one user on a server, each as one machine. They are
//! composed of smaller machines (of a command, of output, of a terminal, of a stop), which are not public;
//! what of them an edge has to store, to show or to perform is in the module of the machine it performs.
//!
//! **3. Evidence.** [`replay`]: what went into a machine, kept, exported, and replayed to the byte.
//! [`diagnosis`]: what is told of it: why an agent is away, since when, and on what evidence.
//!
//! **4. The laboratory** (features `sim` and `testing`): `lab`, worlds in virtual time, the model that
//! judges them, and a kit that tests your own wrapper or server policy against the published
//! invariants.
//!
//! # Out of scope
//!
//! Sockets, TLS, WebSocket frames and clocks are in `onsembl-transport`. Databases, tokens and HTTP
//! are in `onsembl-server-ref`. Processes, signals and state directories are in `onsembl-agent-ref`.
//!
//! # The run loop
//!
//! 1. Wait for whichever comes first: something happened, or the deadline has come.
//! 2. Sample the clocks into a [`Now`]. Do it when the event is handed over, not when it was made.
//! 3. Call `handle(event, now)`. For a deadline the event is `Wake`; a `Wake` too early is harmless.
//! 4. Perform the actions of the [`Step`] in order. There are at most
//!    [`MAX_ACTIONS`](step::MAX_ACTIONS). An action that opens a link brings its outcome back as an
//!    event.
//! 5. Arm the deadline of the [`Step`] instead of the old one. It is always later than `now`.
//! 6. Begin again. What has arrived is handed over before a deadline that has come.
//!
//! That is the loop of a *reducer*, which the machines of connections and commands are: nothing is queued
//! inside, so nothing has to be drained, and the order of calls cannot be got wrong. A *queue machine*,
//! whose outputs own bytes, is drained by `poll_action` instead of step 4. [`step`] states both
//! contracts, and each machine says which it keeps. Each link has a [`LinkId`] of its own; an event that
//! names an old one changes nothing.
//!
//! # The states of an agent
//!
//! From which status which cause leads where, written by a test from
//! [`AGENT_EDGES`](session::AGENT_EDGES), which it compares with what the machine does:
//!
#![doc = include_str!("session/edges/agent.md")]
//!
//! # The states of an agent on its server
//!
//! The same of [`PRESENCE_EDGES`](session::PRESENCE_EDGES), by the API's names. A machine begins
//! as `offline` and ends there; `error` is an agent in session that said it cannot continue.
//!
#![doc = include_str!("session/edges/presence.md")]
//!
//! # The lifecycle of a connection
//!
//! ```
//! use onsembl_protocol::id::{BeatSequence, Epoch, LinkId};
//! use onsembl_protocol::liveness::HeartbeatTiming;
//! use onsembl_protocol::session::{
//!     AgentAction, AgentConfig, AgentConnection, AgentEvent, AgentInbound, Dialect, ServerBeat,
//!     SessionTerms,
//! };
//! use onsembl_protocol::time::{Deadline, Now};
//! use std::time::Duration;
//!
//! let at = |seconds| Now::from_origin(Duration::from_secs(seconds));
//! let mut agent = AgentConnection::new(AgentConfig::DEFAULT, 7);
//!
//! // It dials. The number of the link comes back with everything that happens to it.
//! let step = agent.handle(AgentEvent::Start, at(0));
//! assert!(step.actions.iter().any(|a| a == AgentAction::Dial(LinkId(1))));
//!
//! // The link is up: the hello goes first.
//! let step = agent.handle(AgentEvent::LinkUp(LinkId(1)), at(1));
//! assert!(step.actions.iter().any(|a| a == AgentAction::SendHello(LinkId(1))));
//!
//! // The server accepts and names the times: a beat each 30 s, stale after 45 s, timed out after
//! // 90 s. The first beat goes at once.
//! let terms = SessionTerms {
//!     dialect: Dialect::Extended,
//!     epoch: Epoch(1),
//!     timing: HeartbeatTiming::DEFAULT,
//!     end_orders: true,
//! };
//! let accepted = AgentEvent::Received(LinkId(1), AgentInbound::HelloAccepted(terms));
//! let step = agent.handle(accepted, at(1));
//! assert_eq!(agent.status().name(), "connected");
//! let beat = AgentAction::SendBeat { link: LinkId(1), sequence: BeatSequence(1), seen: None };
//! assert!(step.actions.iter().any(|a| a == beat));
//!
//! // The server answers: it saw the beat, and its database holds it.
//! let answer = AgentInbound::Heartbeat(ServerBeat {
//!     sequence: Some(BeatSequence(1)),
//!     seen: Some(BeatSequence(1)),
//!     recorded: Some(BeatSequence(1)),
//!     lagging: false,
//! });
//! let mut deadline = agent.handle(AgentEvent::Received(LinkId(1), answer), at(2)).deadline;
//!
//! // Silence from here on. A driver only ever sleeps to the deadline.
//! let mut story = Vec::new();
//! while agent.status().name() != "connecting" {
//!     let Deadline::At(wake) = deadline else { panic!("a live agent always has a deadline") };
//!     let step = agent.handle(AgentEvent::Wake, Now::from_origin(wake.since_origin()));
//!     for action in step.actions {
//!         match action {
//!             AgentAction::SendBeat { sequence, .. } => story.push(format!("beat {sequence}")),
//!             AgentAction::Report(report) => story.push(report.status.name().to_owned()),
//!             AgentAction::Dial(link) => story.push(format!("dial {link}")),
//!             _ => {}
//!         }
//!     }
//!     deadline = step.deadline;
//! }
//! assert_eq!(
//!     story,
//!     ["beat 2", "stale", "beat 3", "beat 4", "timed-out", "dial 2", "connecting"],
//! );
//! ```
//!
//! `examples/embed.rs` is a whole loop with real time.
//!
//! [`AgentConnection`]: session::AgentConnection
//! [`ServerConnection`]: session::ServerConnection
//! [`LinkId`]: id::LinkId
//! [`Now`]: time::Now
//! [`Step`]: step::Step
#![no_std]
#![deny(missing_docs)]
// With all features on, what is `pub` can be named by a user of the crate.
#![cfg_attr(all(feature = "sim", feature = "testing"), warn(unreachable_pub))]
#![cfg_attr(not(test), warn(clippy::wildcard_enum_match_arm))]

extern crate alloc;
#[cfg(any(test, feature = "testing"))]
extern crate std;

mod activity;
pub mod close;
mod command;
pub mod diagnosis;
pub mod fleet;
pub mod id;
#[cfg(any(feature = "sim", feature = "testing"))]
pub mod lab;
pub mod limits;
pub mod liveness;
pub mod model;
mod output;
pub mod replay;
pub mod session;
pub mod shared_pool;
pub mod shown;
pub mod step;
mod stop;
pub mod supervisor;
pub mod terminal;
mod text;
pub mod time;
pub mod wire;
pub mod worker;
