//! The events and actions of a dashboard's link. Plain values; nothing is decided here.

use super::super::action::{Answer, Token};
use super::super::dashboard_feed::Seek;
use super::super::event::Request;
use super::super::open_requests::TokenEnd;
use super::note::DashboardNote;
use super::token::DashboardToken;
use crate::close::CloseCause;
use crate::id::CommandId;
use crate::output::{Cursor, LogRecord};
use crate::session::RefusalReason;
use crate::wire::payload::TokenRefresh;
use crate::wire::{ServerToDashboard, StreamFrame};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

/// What happens to a dashboard's link.
#[derive(Clone, Debug)]
pub enum DashboardEvent<'a> {
    /// A text message came.
    Text(&'a str),
    /// A binary message came.
    Binary,
    /// A control frame of the link itself came.
    Control,
    /// The link, which was full, has room again.
    Room,
    /// Something that its user may see changed.
    Changed,
    /// The memory is reserved; see [`DashboardAction::Reserve`].
    Reserved,
    /// There is not enough memory.
    NoRoom {
        /// Slots that the server has for all dashboards.
        slots: usize,
        /// Slots that this one needs.
        needed: usize,
    },
    /// The fleet's answer to a request; none if the fleet has ended.
    Answered(Token, Option<Answer>),
    /// The token of a refresh was checked: it is this, or it was refused.
    Checked(Token, Result<DashboardToken, (RefusalReason, String)>),
    /// The token in force is valid no longer ([`OpenRequests`](super::super::OpenRequests)).
    TokenEnded(TokenEnd),
    /// The output of a command that the store has behind a cursor.
    Read(CommandId, Vec<LogRecord>),
    /// The position in the store that was looked up.
    Found(CommandId, Cursor),
    /// The store could not read or look it up, for this reason.
    NotRead(CommandId, String),
    /// The server is shutting down.
    ServerEnding,
    /// The link has ended.
    Ended,
    /// The deadline has passed; harmless at any other time.
    Wake,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum DashboardAction {
    /// Send this before everything that waits.
    Say(Box<ServerToDashboard>),
    /// Send this behind all earlier updates. Given only while the link has room.
    Tell(Box<ServerToDashboard>),
    /// Send this output as a binary message, behind all earlier updates. Given only while the link has room.
    Stream(Box<StreamFrame>),
    /// Reserve this many bytes, its total, and hand over [`DashboardEvent::Reserved`] or
    /// [`DashboardEvent::NoRoom`].
    Reserve(usize),
    /// Pass this request to the fleet of its user, and hand over the answer: [`DashboardEvent::Answered`].
    Ask(Token, Request),
    /// Check the token of a refresh: [`DashboardEvent::Checked`].
    CheckToken(Token, TokenRefresh),
    /// The token that was checked is in force from now on.
    UseToken,
    /// Read on in the store: [`DashboardEvent::Read`].
    Read {
        /// Of this command.
        command: CommandId,
        /// Behind this record.
        after: Cursor,
        /// At most this many bytes, except for a first record that is larger.
        max_bytes: usize,
    },
    /// Look up the position in the store to begin at: [`DashboardEvent::Found`].
    Seek(CommandId, Seek),
    /// Tell the fleet of its user that all output of an unstored command up to this record is taken:
    /// [`FleetEvent::Viewed`](super::super::FleetEvent::Viewed).
    Viewed(CommandId, Cursor),
    /// Log this, and count it.
    Note(DashboardNote),
    /// Close the link. Messages that arrived before no longer count.
    Close(CloseCause),
}
