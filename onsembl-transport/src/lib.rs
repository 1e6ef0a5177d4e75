//! Every effect of a connection: sockets, TLS, clocks, and the tasks that drive them.
//!
//! The decisions (who is alive, when to dial again, what a message means) are in
//! [`onsembl_protocol`]; this crate turns sockets and clocks into its events and performs its
//! actions.
//!
//! # Links
//!
//! A [`Link`] carries text messages both ways and ends exactly once, with a reason that names who ended it and why.
//! There are three kinds, which are the same for drivers:
//!
//! - [`websocket`]: client, server, and streams that another HTTP service has upgraded; `ws` and
//!   `wss`.
//! - [`framed`]: length-prefixed frames over TCP, a Unix socket, or any other byte stream.
//! - [`memory`]: inside one process, with a cable that tests can cut and freeze.
//!
//! Another kind is one more implementation of [`LinkReader`] and [`LinkWriter`], and of [`Dialer`]
//! or [`Listener`] where links are opened or taken in. It must keep the contract of the traits: receiving is
//! cancel-safe; a dropped send took the whole frame or nothing; pings are answered automatically; buffers are
//! bounded by [`LinkLimits`]; a link that ends by a fault of the peer has sent it a close frame; and every end is
//! mapped to a
//! [`CloseReason`](onsembl_protocol::close::CloseReason).
//!
//! # Dialling
//!
//! [`ServerUrl`] is the one parser of server URLs and [`ProxyRule`] the one rule for proxies.
//! [`websocket::WebSocketDialer`] opens links by them, and [`HttpClient`] requests pages.
//!
//! # Drivers
//!
//! [`agent::AgentDriver`] keeps one agent connected; [`server::Shard`] serves many of them.
//!
//! # Rules for drivers
//!
//! - Hand each link to [`pump::spawn`] under a fresh [`LinkId`](onsembl_protocol::id::LinkId), and
//!   talk to it through its [`LinkHandle`] only. An event that names an older link changes nothing.
//! - [`LinkInput::Ended`] is the last event of a link, also after a close of our own. Until then,
//!   the link counts as open.
//! - Messages that must not wait behind output (heartbeats, answers, errors) are
//!   [`control`](LinkHandle::control); others are [`data`](LinkHandle::data).
//! - Sample the clocks ([`clock::SystemClock::now`]) when an event is handed to a machine, and arm
//!   the deadline that it returns.
//! - A [`Listener`] that fails is retried after a pause, not dropped.
//! # Features
//!
//! | feature | default | what it brings |
//! | --- | --- | --- |
//! | `websocket` | yes | [`websocket`], and [`HttpClient`], [`ServerUrl`], [`ProxyRule`] |
//! | `rustls` | yes | TLS for them: [`tls::ServerTls`], and dialling `wss` |
//! | `native-roots` | yes | [`tls::TlsConfig::native`] |
//! | `framed` | yes | [`framed`] |
//! | `screen` | no | [`screen`] |
//! | `logging` | no | [`logging`] |
//! | `otel` | no | [`traces`], with all that they are sent by |
//!
//! Without any of them the crate has the drivers, [`memory`], and the traits for links of your own.
//!
//! # Types of other crates
//!
//! The API has the core's types (the core itself is [`protocol`]), tokio's streams and listeners, and `bytes`;
//! behind the
//! feature `rustls` one function takes a configuration of [`tls::rustls`]. Errors are this crate's own.
#![deny(missing_docs)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), warn(clippy::wildcard_enum_match_arm))]

pub mod agent;
mod beats;
pub mod clock;
#[cfg(feature = "config")]
pub mod config;
pub mod counters;
#[cfg(feature = "websocket")]
mod dial;
#[cfg(feature = "framed")]
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
#[cfg(feature = "screen")]
pub mod screen;
pub mod secret;
pub mod server;
#[cfg(feature = "service")]
pub mod service;
#[cfg(any(feature = "websocket", feature = "framed"))]
mod sockets;
pub mod tls;
#[cfg(feature = "otel")]
pub mod traces;
#[cfg(any(feature = "websocket", feature = "framed"))]
mod waker;
#[cfg(feature = "websocket")]
pub mod websocket;

/// The core, in the version that this crate is built with.
pub use onsembl_protocol as protocol;

#[cfg(feature = "websocket")]
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

#[cfg(all(doctest, feature = "native-roots"))]
#[doc = include_str!("../README.md")]
struct Readme;
