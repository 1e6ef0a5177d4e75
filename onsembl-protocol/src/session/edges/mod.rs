//! The published graphs of the machines, as data: which cause leads from which status to which.
//!
//! [`AGENT_EDGES`], [`PRESENCE_EDGES`], [`ACCEPTED_EDGES`] and [`DASHBOARD_EDGES`] hold exactly the edges that
//! exist. A test explores the machines and compares; the diagrams in the documents are generated from the same data.
//! The machines themselves never read it.

mod accepted;
mod agent;
mod dashboard;
mod presence;

pub use accepted::{ACCEPTED_EDGES, AcceptedCause, AcceptedEdge, AcceptedStatus};
pub use agent::{AGENT_EDGES, AgentCauseKind, AgentEdge, AgentStatusKind};
pub use dashboard::{DASHBOARD_EDGES, DashboardCause, DashboardEdge, DashboardStatus};
pub use presence::{PRESENCE_EDGES, PresenceCauseKind, PresenceEdge};

use core::fmt;

/// One edge of a graph: a report moved a machine from one status to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Edge<S, C> {
    /// The status before the report.
    pub from: S,
    /// What caused the report.
    pub cause: C,
    /// The status that was reported.
    pub to: S,
}

impl<S: fmt::Display, C: fmt::Display> fmt::Display for Edge<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} --{}--> {}", self.from, self.cause, self.to)
    }
}

/// Each line: from these statuses, by these causes, to this one. Expanded into edges.
macro_rules! edges {
    ($(#[$doc:meta])* pub const $name:ident: [$edge:ty] = $status:ident by $kind:ident {
        $([$($from:ident)|+] $cause:ident => $to:ident;)*
    }) => {
        $(#[$doc])*
        pub const $name: &[$edge] = &[$($(
            Edge { from: $status::$from, cause: $kind::$cause, to: $status::$to },
        )+)*];
    };
}
use edges;

/// A closed set of labels, each with a description for people.
macro_rules! labels {
    ($(#[$doc:meta])* pub enum $name:ident { $($variant:ident = $label:literal, $text:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $(#[doc = concat!("`", $label, "`: ", $text, ".")] $variant,)*
        }

        impl $name {
            /// Every one of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its label.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $label,)*
                }
            }

            /// Its description, for people.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
use labels;
