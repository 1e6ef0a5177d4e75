//! What a supervisor must know of a machine to own a million of them.

use crate::session::{ServerAction, ServerCold, ServerConfig, ServerConnection, ServerEvent};
use crate::session::{ServerHot, ServerView, handle_server, server_deadline};
use crate::step::Actions;
use crate::time::{Deadline, Now};

/// A machine that a [`Supervisor`](super::Supervisor) can own.
///
/// The supervisor keeps it in parts: its rules once for all machines, and of each machine a hot
/// part, which every event touches, apart from a cold part, which the frequent events do not touch.
/// A machine with nothing to part has `()` for rules and cold part.
pub trait Machine: Sized {
    /// What all machines of one supervisor have in common.
    type Rules;
    /// What every event touches. Smaller is faster.
    type Hot: Copy;
    /// What frequent events do not touch.
    type Cold: Copy;
    /// A look at the parts.
    type View<'a>;
    /// What happens to it.
    type Event: Copy;
    /// What it asks for.
    type Action: Copy;

    /// The event that says "your deadline came".
    const WAKE: Self::Event;

    /// Takes the machine apart. Its own rules are given up for those of the supervisor.
    fn into_parts(self) -> (Self::Hot, Self::Cold);

    /// Puts it together again.
    fn from_parts(rules: &Self::Rules, hot: Self::Hot, cold: Self::Cold) -> Self;

    /// Looks at the parts.
    fn view<'a>(hot: &'a Self::Hot, cold: &'a Self::Cold) -> Self::View<'a>;

    /// Takes one event at one moment, adds what is to be done to `out`, and says when to wake.
    fn handle_parts(
        rules: &Self::Rules,
        hot: &mut Self::Hot,
        cold: &mut Self::Cold,
        event: Self::Event,
        now: Now,
        out: &mut Actions<Self::Action>,
    ) -> Deadline;

    /// The deadline that the latest event left it with.
    fn deadline_of_parts(rules: &Self::Rules, hot: &Self::Hot, cold: &Self::Cold) -> Deadline;
}

impl Machine for ServerConnection {
    type Rules = ServerConfig;
    type Hot = ServerHot;
    type Cold = ServerCold;
    type View<'a> = ServerView<'a>;
    type Event = ServerEvent;
    type Action = ServerAction;

    const WAKE: ServerEvent = ServerEvent::Wake;

    fn into_parts(self) -> (ServerHot, ServerCold) {
        Self::into_parts(self)
    }

    fn from_parts(rules: &ServerConfig, hot: ServerHot, cold: ServerCold) -> Self {
        Self::from_parts(*rules, hot, cold)
    }

    fn view<'a>(hot: &'a ServerHot, cold: &'a ServerCold) -> ServerView<'a> {
        ServerView::new(hot, cold)
    }

    #[inline]
    fn handle_parts(
        rules: &ServerConfig,
        hot: &mut ServerHot,
        cold: &mut ServerCold,
        event: ServerEvent,
        now: Now,
        out: &mut Actions<ServerAction>,
    ) -> Deadline {
        handle_server(rules, hot, cold, event, now, out)
    }

    #[inline]
    fn deadline_of_parts(rules: &ServerConfig, hot: &ServerHot, cold: &ServerCold) -> Deadline {
        server_deadline(rules, hot, cold)
    }
}
