//! What can happen to the server's end of one agent in a script.

use super::super::script::{self, Script};
use super::super::strategies;
use crate::close::{CloseCause, CloseReason};
use crate::model::Dialect;
use crate::session::{Claimant, ServerConfig, ServerInbound, StoreTrouble};
use core::fmt;
use core::time::Duration;
use proptest::prelude::*;
use proptest::sample::select;
use std::vec::Vec;

/// A link by its part in the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// The one that said hello last.
    Newest,
    /// The one that said hello before it.
    Previous,
    /// One that never said hello.
    Unknown,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Newest => "the newest link",
            Self::Previous => "the previous link",
            Self::Unknown => "a link without a hello",
        })
    }
}

/// What can happen to the server's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Happening {
    /// A hello comes over a new link, and its session is opened at once.
    Joins(Dialect, Claimant),
    /// A hello comes over a new link.
    Hello(Dialect, Claimant),
    /// The store opened the session.
    Admitted(Link),
    /// The session cannot be opened.
    Rejected(Link, CloseCause),
    Frame(Link, ServerInbound),
    /// The store holds the latest heartbeat that it was given.
    Recorded,
    /// The store says why it does not record.
    Store(Option<StoreTrouble>),
    /// The agent says that it cannot continue.
    Faulted(Link),
    LinkEnds(Link, CloseReason),
    /// The agent is evicted.
    Evicted(CloseCause),
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joins(dialect, who) => write!(f, "joins over a new link: {dialect:?}, {who:?}"),
            Self::Hello(dialect, who) => write!(f, "hello over a new link: {dialect:?}, {who:?}"),
            Self::Admitted(link) => write!(f, "the store opens the session of {link}"),
            Self::Rejected(link, cause) => write!(f, "no session for {link}: {cause}"),
            Self::Frame(link, ServerInbound::Heartbeat { .. }) => {
                write!(f, "heartbeat over {link}")
            }
            Self::Frame(link, ServerInbound::Pong) => write!(f, "pong over {link}"),
            Self::Frame(link, ServerInbound::Other) => write!(f, "frame over {link}"),
            Self::Recorded => f.write_str("the store holds the latest heartbeat"),
            Self::Store(Some(trouble)) => write!(f, "the store says: {trouble}"),
            Self::Store(None) => f.write_str("the store is well"),
            Self::Faulted(link) => write!(f, "fault reported over {link}"),
            Self::LinkEnds(link, reason) => write!(f, "{link} ends: {reason}"),
            Self::Evicted(cause) => write!(f, "sent away: {cause}"),
        }
    }
}

/// Scripts for servers of this configuration, of at most this many steps. Delays gather around its
/// times.
pub fn scripts(config: ServerConfig, longest: usize) -> BoxedStrategy<Script<Happening>> {
    let timing = config.timing;
    let (stale, end) = (timing.stale_after(), timing.timeout_after());
    let instants: Vec<Duration> = std::vec![
        timing.interval(),
        timing.recording_grace(),
        stale,
        end,
        end - stale,
        config.resume_window,
        config.admission_timeout,
    ];
    script::scripts(&instants, happening(), longest)
}

fn happening() -> impl Strategy<Value = Happening> {
    let who = || (strategies::dialect(), strategies::claimant());
    let sent: Vec<CloseCause> =
        CloseCause::ALL.iter().copied().filter(|cause| *cause != CloseCause::Normal).collect();
    let cause = move || select(sent.clone());
    prop_oneof![
        30 => who().prop_map(|(d, c)| Happening::Joins(d, c)),
        10 => who().prop_map(|(d, c)| Happening::Hello(d, c)),
        8 => link().prop_map(Happening::Admitted),
        4 => (link(), cause()).prop_map(|(l, c)| Happening::Rejected(l, c)),
        40 => (link(), strategies::frame_to_server()).prop_map(|(l, f)| Happening::Frame(l, f)),
        10 => Just(Happening::Recorded),
        4 => strategies::store_trouble().prop_map(Happening::Store),
        2 => link().prop_map(Happening::Faulted),
        15 => (link(), strategies::close_reason()).prop_map(|(l, r)| Happening::LinkEnds(l, r)),
        1 => cause().prop_map(Happening::Evicted),
    ]
}

fn link() -> impl Strategy<Value = Link> {
    prop_oneof![10 => Just(Link::Newest), 4 => Just(Link::Previous), 1 => Just(Link::Unknown)]
}
