//! The terminal at the agent's own machine, as far as its program is shown there: what is said of stops, and how long the
//! program waits for it.

use super::event::Screen;
use crate::time::{Deadline, Timestamp};
use core::time::Duration;

/// How long the program waits for the agent's own terminal to show what it wrote. Then the server goes
/// first.
const WATCHED_FOR: Duration = Duration::from_secs(10);

/// Where the program is shown besides the server, and how far that is.
#[derive(Debug)]
pub(super) struct LocalScreen {
    screen: Screen,
    /// What was said last of stops.
    shown: Shown,
    /// Until when the program waits for it.
    watched_until: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Released,
    Stopped,
}

impl LocalScreen {
    pub(super) const fn new(screen: Screen) -> Self {
        Self { screen, shown: Shown::Released, watched_until: None }
    }

    pub(super) fn is_attached(&self) -> bool {
        self.screen == Screen::Attached
    }

    /// What is to be said of stops, if it is another thing than was said last.
    pub(super) fn take_notice(&mut self, stopped: bool) -> Option<&'static str> {
        let shown = if stopped { Shown::Stopped } else { Shown::Released };
        if !self.is_attached() || self.shown == shown {
            return None;
        }
        self.shown = shown;
        Some(match shown {
            Shown::Stopped => {
                "an emergency stop is in force; nothing starts until it is released. Ctrl-C ends this agent"
            }
            Shown::Released => "the emergency stop is released",
        })
    }

    /// Whether it says that a stop is in force.
    pub(super) fn shows_stop(&self) -> bool {
        self.shown == Shown::Stopped
    }

    /// Nobody sits before it any more: nothing is said or shown there, and nothing waits for it.
    pub(super) fn hang_up(&mut self) {
        *self = Self::new(Screen::Detached);
    }

    /// It is behind: the program waits for it, with a deadline.
    pub(super) fn on_behind(&mut self, now: Timestamp) {
        self.watched_until = Some(now.saturating_add(WATCHED_FOR));
    }

    /// Nothing waits for it any more.
    pub(super) fn on_caught_up(&mut self) {
        self.watched_until = None;
    }

    /// When the program is not to wait for it any longer.
    pub(super) fn deadline(&self) -> Deadline {
        self.watched_until.map_or(Deadline::Never, Deadline::At)
    }
}
