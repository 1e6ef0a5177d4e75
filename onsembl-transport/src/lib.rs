//! Every effect of a connection: sockets, TLS, clocks, and the tasks that drive them.
//!
//! The decisions (who is alive, when to dial again, what a message means) are in
//! [`onsembl_protocol`]; this crate turns sockets and clocks into its events and performs its
//! actions.
//!
//! # Links
//!
//! A [`Link`] carries text messages both ways and ends exactly once, with a reason that says who
//! ended it and why. There are three kinds, and drivers cannot tell them apart:
//!
//! - [`websocket`]: client, server, and streams that another HTTP service has upgraded; `ws` and
//!   `wss`.
//! - [`framed`]: length-prefixed frames over TCP, a Unix socket, or any other byte stream.
//! - [`memory`]: inside one process, with a cable that tests can cut and freeze.
//!
//! Another kind is one more implementation of [`LinkReader`] and [`LinkWriter`], and of [`Dialer`]
//! or [`Listener`] where links are opened or taken in. It owes its users what the traits say:
//! receiving is cancel-safe; a dropped send took the frame whole or not at all; pings are answered
//! without being asked; buffers are bounded by [`LinkLimits`]; a link that ends by a fault of the
//! peer has told the peer so with a close frame; and every end is mapped to a
//! [`CloseReason`](onsembl_protocol::close::CloseReason).
//!
//! # Dialling
//!
//! [`ServerUrl`] is the one parser of server URLs and [`ProxyRule`] the one rule for proxies.
//! [`websocket::WebSocketDialer`] opens links by them, and [`HttpClient`] asks for pages.
//!
//! # Drivers
//!
//! [`agent::AgentDriver`] keeps one agent connected; [`server::Shard`] serves many of them.
//!
//! # Rules for drivers
//!
//! - Hand each link to [`pump::spawn`] under a fresh [`LinkId`](onsembl_protocol::id::LinkId), and
//!   talk to it through its [`LinkHandle`] only. An event that names an older link changes nothing.
//! - [`LinkInput::Ended`] is the last word of a link, also after a close of our own. Until it came,
//!   the link counts as there.
//! - Whatever must not wait behind output (heartbeats, answers, errors) is
//!   [`control`](LinkHandle::control); what may wait is [`data`](LinkHandle::data).
//! - Sample the clocks ([`clock::SystemClock::now`]) when an event is handed to a machine, and arm
//!   the deadline that it returns.
//! - A [`Listener`] that fails is asked again after a pause, not dropped.
#![deny(missing_docs)]
#![cfg_attr(not(test), warn(clippy::wildcard_enum_match_arm))]

pub mod agent;
mod beats;
pub mod clock;
pub mod counters;
mod dial;
pub mod framed;
pub mod limits;
pub mod link;
pub mod log_limit;
#[cfg(feature = "logging")]
pub mod logging;
pub mod memory;
pub mod messages;
#[cfg(onsembl_faults)]
pub mod planted;
pub mod private;
pub mod pump;
pub mod screen;
pub mod secret;
pub mod server;
pub mod tls;
#[cfg(feature = "otel")]
pub mod traces;
mod waker;
pub mod websocket;

pub use dial::{
    Clocks, DialerError, HttpAnswer, HttpClient, InvalidProxy, InvalidUrl, ProxyRule, Repetition,
    ServerUrl,
};
pub use limits::{BufferSizes, LinkLimits};
pub use link::{
    BudgetShare, DialError, Dialer, Frame, Link, LinkEnd, LinkReader, LinkWriter, Listener,
    Received,
};
pub use pump::{LinkEvent, LinkHandle, LinkInput, PumpConfig};
