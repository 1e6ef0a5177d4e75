//! What a feed gives its edge to do next.

use crate::id::{AgentId, CommandId};
use crate::output::{Cursor, LogRecord};
use crate::wire::ServerToDashboard;
use crate::wire::payload::Replay;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Where in the stored output to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seek {
    /// So many bytes before its end.
    Tail(usize),
    /// At a position.
    Position(Replay),
}

/// What comes next for a dashboard.
#[derive(Debug)]
#[allow(missing_docs, reason = "the names say all")]
pub enum FeedItem {
    /// Say this.
    Message(Box<ServerToDashboard>),
    /// Say that a command wrote this.
    Output {
        command: CommandId,
        /// The id that the dashboard knows it by.
        shown: CommandId,
        /// Where it runs.
        agent: AgentId,
        /// What it wrote.
        record: LogRecord,
        /// Grows when its output begins anew for this dashboard: what is left of a line is of before.
        generation: u32,
    },
    /// All that a command wrote is told. Say what is left of its last lines, then this.
    Ended {
        command: CommandId,
        /// The id that the dashboard knows it by.
        shown: CommandId,
        /// Where it ran.
        agent: AgentId,
        /// As in [`FeedItem::Output`].
        generation: u32,
        /// How it ended.
        end: Vec<ServerToDashboard>,
    },
    /// Read on in the store, and hand it to [`DashboardFeed::stored`](super::DashboardFeed::stored).
    Read(CommandId, Cursor),
    /// Look up where to begin, and hand it to [`DashboardFeed::located`](super::DashboardFeed::located).
    Seek(CommandId, Seek),
    /// Nothing new.
    Nothing,
}
