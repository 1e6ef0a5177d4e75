//! What a server's log and counters are told of a dashboard's link. Facts with a text, a counter and a severity; who
//! logs and counts is the edge.

use crate::id::CommandId;
use crate::model::Severity;
use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

/// One thing to log and to count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DashboardNote {
    /// Its hello came.
    Connected,
    /// The link of a dashboard that was connected is over.
    Gone,
    /// No hello came in time, or too much else came before it.
    NoHello,
    /// A message cannot be decoded, for this reason.
    Undecodable(String),
    /// A message has a type that this version does not know.
    UnknownType(Box<str>),
    /// There is no room for one more dashboard.
    NoRoom,
    /// Nothing was heard of it for too long.
    Silent,
    /// Its token has run out.
    TokenExpired,
    /// Whether its token is revoked cannot be looked up, for this reason.
    TokenNotLookedUp(String),
    /// Stored output cannot be read, for this reason.
    OutputNotRead(CommandId, String),
}

impl DashboardNote {
    /// The counter that it adds one to, if it is counted.
    pub const fn counter(&self) -> Option<&'static str> {
        match self {
            Self::NoHello => Some("no_hello"),
            Self::Undecodable(_) => Some("undecodable"),
            Self::UnknownType(_) => Some("unknown_types"),
            Self::NoRoom => Some("dashboards_over_share"),
            Self::Silent => Some("dashboards_silent"),
            Self::TokenExpired => Some("tokens_expired_in_session"),
            Self::OutputNotRead(..) => Some("output_not_read"),
            Self::Connected | Self::Gone | Self::TokenNotLookedUp(_) => None,
        }
    }

    /// How much it matters.
    pub const fn severity(&self) -> Severity {
        match self {
            // A peer causes these as often as it likes, or they are an ordinary end.
            Self::NoHello
            | Self::Undecodable(_)
            | Self::UnknownType(_)
            | Self::NoRoom
            | Self::Silent
            | Self::TokenExpired => Severity::Debug,
            Self::Connected | Self::Gone => Severity::Info,
            Self::TokenNotLookedUp(_) | Self::OutputNotRead(..) => Severity::Warn,
        }
    }
}

/// For people. Command, reason and type are not in it.
impl fmt::Display for DashboardNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connected => "dashboard connected",
            Self::Gone => "dashboard gone",
            Self::NoHello => "a dashboard did not say hello in time; closing",
            Self::Undecodable(_) => "a dashboard sent what cannot be decoded",
            Self::UnknownType(_) => "a dashboard sent a type that this version does not know",
            Self::NoRoom => "too many dashboards are open; closing this one",
            Self::Silent => "a dashboard is silent; closing",
            Self::TokenExpired => "the token of a dashboard has run out; closing",
            Self::TokenNotLookedUp(_) => "cannot look up revoked tokens; trying again later",
            Self::OutputNotRead(..) => {
                "stored output cannot be read; closing, so that the dashboard starts anew"
            }
        })
    }
}
