//! The facts about a dashboard's link that a server logs and counts, each with a text, a counter and a severity. The
//! edge does the logging and the counting.

use super::super::open_requests::TokenEnd;
use crate::id::CommandId;
use crate::model::Severity;
use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

/// One fact to log and to count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DashboardNote {
    /// Its hello came.
    Connected,
    /// The link of a connected dashboard ended.
    Gone,
    /// No hello arrived in time, or too many other messages came first.
    NoHello,
    /// A message cannot be decoded, for this reason.
    Undecodable(String),
    /// A message has a type that this version does not know.
    UnknownType(Box<str>),
    /// There is no memory for another dashboard.
    NoRoom,
    /// No frame was received from it for too long.
    Silent,
    /// Its token is valid no longer.
    TokenEnded(TokenEnd),
    /// Stored output cannot be read, for this reason.
    OutputNotRead(CommandId, String),
}

impl DashboardNote {
    /// The counter that it increments, if it is counted.
    pub const fn counter(&self) -> Option<&'static str> {
        match self {
            Self::NoHello => Some("no_hello"),
            Self::Undecodable(_) => Some("undecodable"),
            Self::UnknownType(_) => Some("unknown_types"),
            Self::NoRoom => Some("dashboards_over_share"),
            Self::Silent => Some("dashboards_silent"),
            Self::OutputNotRead(..) => Some("output_not_read"),
            // Ends of tokens are counted where they are found.
            Self::Connected | Self::Gone | Self::TokenEnded(_) => None,
        }
    }

    /// Its severity.
    pub const fn severity(&self) -> Severity {
        match self {
            // A peer can cause these at will, or they are part of the normal course.
            Self::NoHello
            | Self::Undecodable(_)
            | Self::UnknownType(_)
            | Self::NoRoom
            | Self::Silent
            | Self::TokenEnded(_) => Severity::Debug,
            Self::Connected | Self::Gone => Severity::Info,
            Self::OutputNotRead(..) => Severity::Warn,
        }
    }
}

/// For people. Command, reason and type are separate fields.
impl fmt::Display for DashboardNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connected => "dashboard connected",
            Self::Gone => "dashboard gone",
            Self::NoHello => "no hello from a dashboard in time; closing its link",
            Self::Undecodable(_) => "a dashboard sent a message that cannot be decoded",
            Self::UnknownType(_) => "a dashboard sent a message of an unknown type",
            Self::NoRoom => "too many dashboards are open; closing the link of this one",
            Self::Silent => "a dashboard is silent; closing its link",
            Self::TokenEnded(TokenEnd::Expired) => {
                "the token of a dashboard has expired; closing its link"
            }
            Self::TokenEnded(TokenEnd::Revoked) => {
                "the token of a dashboard was revoked; closing its link"
            }
            Self::OutputNotRead(..) => {
                "stored output cannot be read; closing the link, so that the dashboard reconnects"
            }
        })
    }
}
