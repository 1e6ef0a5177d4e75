//! What can happen to an agent in a script.

use super::super::script::{self, Script};
use super::super::strategies;
use super::Rules;
use crate::close::CloseReason;
use crate::model::HeartbeatTiming;
use crate::session::{AgentInbound, DialFailure, EndOrder, HelloRefusal, SessionTerms};
use core::fmt;
use core::time::Duration;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

/// A link by its part in the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// The one that was dialled last.
    Current,
    /// The one that was dialled before it.
    Previous,
    /// One that was never dialled.
    Unknown,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Current => "the current link",
            Self::Previous => "the previous link",
            Self::Unknown => "a link that was never dialled",
        })
    }
}

/// What can happen to an agent.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum Happening {
    /// It is started. Every script begins with it.
    Start,
    /// As soon as it dials, its link opens and its hello is accepted with these terms.
    Joins(SessionTerms),
    LinkUp(Link),
    DialFails(Link, DialFailure),
    /// The server accepts the hello.
    HelloAccepted(Link, SessionTerms),
    /// The server refuses the hello.
    HelloRefused(Link, HelloRefusal),
    Frame(Link, AgentInbound),
    LinkEnds(Link, CloseReason),
    /// What its heartbeat says is news.
    News,
    /// The source of tokens has another one.
    TokenChanged,
    Stop,
    /// It is stopped by a remote order.
    EndOrdered(EndOrder),
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("started"),
            Self::Joins(terms) => write!(f, "joins, {}", Terms(terms)),
            Self::LinkUp(link) => write!(f, "{link} opens"),
            Self::DialFails(link, failure) => write!(f, "the dial of {link} fails: {failure}"),
            Self::HelloAccepted(link, terms) => {
                write!(f, "hello accepted over {link}, {}", Terms(terms))
            }
            Self::HelloRefused(link, HelloRefusal::Unauthorized) => {
                write!(f, "hello refused over {link}: the token")
            }
            Self::HelloRefused(link, HelloRefusal::Forbidden) => {
                write!(f, "hello refused over {link}: for good")
            }
            Self::HelloRefused(link, HelloRefusal::Other) => {
                write!(f, "hello refused over {link}")
            }
            Self::Frame(link, AgentInbound::Ping { echo: Some(n) }) => {
                write!(f, "ping {} over {link}", f64::from(*n))
            }
            Self::Frame(link, AgentInbound::Ping { echo: None }) => write!(f, "ping over {link}"),
            Self::Frame(link, AgentInbound::Heartbeat(_)) => write!(f, "heartbeat over {link}"),
            Self::Frame(link, AgentInbound::Other) => write!(f, "frame over {link}"),
            Self::Frame(link, AgentInbound::HelloAccepted(terms)) => {
                write!(f, "hello accepted over {link}, {}", Terms(terms))
            }
            Self::Frame(link, AgentInbound::HelloRefused(_)) => {
                write!(f, "hello refused over {link}")
            }
            Self::LinkEnds(link, reason) => write!(f, "{link} ends: {reason}"),
            Self::News => f.write_str("has news"),
            Self::TokenChanged => f.write_str("has another token to show"),
            Self::Stop => f.write_str("stopped"),
            Self::EndOrdered(EndOrder::Stop) => f.write_str("told to end by an order"),
            Self::EndOrdered(EndOrder::Restart) => f.write_str("told to restart by an order"),
        }
    }
}

struct Terms<'a>(&'a SessionTerms);

impl fmt::Display for Terms<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = self.0.timing;
        let (beat, stale, end) = (t.interval(), t.stale_after(), t.timeout_after());
        write!(f, "{:?}: beats {beat:?}, stale {stale:?}, timed out {end:?}", self.0.dialect)?;
        if self.0.end_orders { f.write_str(", end-orders") } else { Ok(()) }
    }
}

/// Scripts for agents that keep to `rules`, of at most this many steps. In each script all servers
/// name the same times, and delays gather around these and around the numbers of the rules.
pub fn scripts(rules: Rules, longest: usize) -> BoxedStrategy<Script<Happening>> {
    strategies::timing()
        .prop_flat_map(move |timing| {
            script::scripts(&instants(rules, timing), happening(timing), longest)
        })
        .boxed()
}

/// The instants at which something may be decided.
fn instants(rules: Rules, timing: HeartbeatTiming) -> Vec<Duration> {
    let (stale, end) = (timing.stale_after(), timing.timeout_after());
    let mut out = std::vec![timing.interval(), stale, end, end - stale];
    out.extend([rules.dial_timeout, rules.hello_timeout, rules.stable_after]);
    out.extend([rules.refused_token, rules.refused_token * 2]);
    out.extend([1, 3, 7].map(|n| rules.first_window * n));
    out.push(rules.longest_window);
    out
}

fn happening(timing: HeartbeatTiming) -> impl Strategy<Value = Happening> {
    let terms = move || strategies::terms().prop_map(move |t| SessionTerms { timing, ..t });
    prop_oneof![
        30 => terms().prop_map(Happening::Joins),
        40 => (link(), strategies::frame_to_agent()).prop_map(|(l, f)| Happening::Frame(l, f)),
        20 => (link(), strategies::close_reason()).prop_map(|(l, r)| Happening::LinkEnds(l, r)),
        10 => link().prop_map(Happening::LinkUp),
        10 => (link(), strategies::dial_failure()).prop_map(|(l, d)| Happening::DialFails(l, d)),
        5 => (link(), terms()).prop_map(|(l, t)| Happening::HelloAccepted(l, t)),
        3 => (link(), strategies::hello_refusal()).prop_map(|(l, r)| Happening::HelloRefused(l, r)),
        1 => Just(Happening::Start),
        5 => Just(Happening::News),
        5 => Just(Happening::TokenChanged),
        2 => ends(),
    ]
}

fn ends() -> impl Strategy<Value = Happening> {
    let ordered = prop::sample::select(EndOrder::ALL.as_slice()).prop_map(Happening::EndOrdered);
    prop_oneof![Just(Happening::Stop), ordered]
}

fn link() -> impl Strategy<Value = Link> {
    prop_oneof![12 => Just(Link::Current), 3 => Just(Link::Previous), 1 => Just(Link::Unknown)]
}
