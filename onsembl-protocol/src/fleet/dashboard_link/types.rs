//! What happens to a dashboard's link, and what is to be done about it. Plain values; nothing is decided here.

use super::super::action::{Answer, Token};
use super::super::dashboard_feed::Seek;
use super::super::event::Request;
use super::note::DashboardNote;
use super::token::DashboardToken;
use crate::close::CloseCause;
use crate::id::CommandId;
use crate::output::{Cursor, LogRecord};
use crate::session::RefusalReason;
use crate::wire::ServerToDashboard;
use crate::wire::payload::TokenRefresh;
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
    /// The link, which was full, took something.
    Room,
    /// Something changed of what its user may see.
    Changed,
    /// There is room for what it takes; see [`DashboardAction::Reserve`].
    Reserved,
    /// There is none: of so many slots in all it needs so many.
    NoRoom {
        /// What the server has for all dashboards.
        slots: usize,
        /// What this one needs.
        needed: usize,
    },
    /// The fleet's answer to a request; none if the fleet has ended.
    Answered(Token, Option<Answer>),
    /// The token of a refresh was checked: it is this, or it was refused.
    Checked(Token, Result<DashboardToken, (RefusalReason, String)>),
    /// The token that was looked up is revoked.
    Revoked,
    /// It is not.
    NotRevoked,
    /// It could not be looked up, for this reason.
    NotLookedUp(String),
    /// What the store has of a command's output behind a cursor.
    Read(CommandId, Vec<LogRecord>),
    /// Where the store has what was sought.
    Found(CommandId, Cursor),
    /// The store could not read or find it, for this reason.
    NotRead(CommandId, String),
    /// The server ends.
    ServerEnding,
    /// The link is over.
    Ended,
    /// The deadline came; harmless at any other time.
    Wake,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum DashboardAction {
    /// Say this in front of all that waits.
    Say(Box<ServerToDashboard>),
    /// Say this behind all that was told before. Given only while the link has room.
    Tell(Box<ServerToDashboard>),
    /// Find room for so many bytes that it takes in all, and say so: [`DashboardEvent::Reserved`] or
    /// [`DashboardEvent::NoRoom`].
    Reserve(usize),
    /// Put this to the fleet of its user, and hand over the answer: [`DashboardEvent::Answered`].
    Ask(Token, Request),
    /// Check the token of a refresh: [`DashboardEvent::Checked`].
    CheckToken(Token, TokenRefresh),
    /// The token that was checked is in force from now on.
    UseToken,
    /// Look up whether the token in force is revoked.
    LookUpToken,
    /// Read on in the store: [`DashboardEvent::Read`].
    Read {
        /// Of this command.
        command: CommandId,
        /// Behind this record.
        after: Cursor,
        /// At most so much, but for a first record that is larger.
        max_bytes: usize,
    },
    /// Look up where in the store to begin: [`DashboardEvent::Found`].
    Seek(CommandId, Seek),
    /// Log this, and count it.
    Note(DashboardNote),
    /// Close the link. What has arrived before it does not count any more.
    Close(CloseCause),
}
