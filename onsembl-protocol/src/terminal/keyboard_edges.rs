//! The graph of a keyboard, as data. A test drives the machine through everything that happens to it and compares;
//! STATES.md
//! is generated from the same data. The machine never reads it.

use core::fmt;

/// The status of the keyboard of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyboardStatus {
    /// Nobody types remotely.
    Free,
    /// One dashboard does.
    Held,
}

/// What moves a keyboard from one status to another, or from one hold to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "`text` says all")]
pub enum KeyboardCause {
    Taken,
    TakenOver,
    Released,
    LinkLost,
    Idle,
    AgentAway,
    TerminalEnded,
    Stopped,
    Refused,
    ServerEnded,
}

/// One edge of the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names say all")]
pub struct KeyboardEdge {
    pub from: KeyboardStatus,
    pub cause: KeyboardCause,
    pub to: KeyboardStatus,
}

/// Every edge of a keyboard: any other transition is a defect. None leaves `held` only by what somebody says:
/// `idle` does.
pub const KEYBOARD_EDGES: &[KeyboardEdge] = {
    use KeyboardCause as By;
    use KeyboardStatus::{Free, Held};
    &[
        KeyboardEdge { from: Free, cause: By::Taken, to: Held },
        KeyboardEdge { from: Held, cause: By::TakenOver, to: Held },
        KeyboardEdge { from: Held, cause: By::Released, to: Free },
        KeyboardEdge { from: Held, cause: By::LinkLost, to: Free },
        KeyboardEdge { from: Held, cause: By::Idle, to: Free },
        KeyboardEdge { from: Held, cause: By::AgentAway, to: Free },
        KeyboardEdge { from: Held, cause: By::TerminalEnded, to: Free },
        KeyboardEdge { from: Held, cause: By::Stopped, to: Free },
        KeyboardEdge { from: Held, cause: By::Refused, to: Free },
        KeyboardEdge { from: Held, cause: By::ServerEnded, to: Free },
    ]
};

impl KeyboardStatus {
    /// Each of them.
    pub const ALL: &'static [Self] = &[Self::Free, Self::Held];

    /// Its label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Held => "held",
        }
    }
}

impl KeyboardCause {
    /// Each of them.
    pub const ALL: &'static [Self] = &[
        Self::Taken,
        Self::TakenOver,
        Self::Released,
        Self::LinkLost,
        Self::Idle,
        Self::AgentAway,
        Self::TerminalEnded,
        Self::Stopped,
        Self::Refused,
        Self::ServerEnded,
    ];

    /// Its label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::TakenOver => "taken-over",
            Self::Released => "released",
            Self::LinkLost => "link-lost",
            Self::Idle => "idle",
            Self::AgentAway => "agent-away",
            Self::TerminalEnded => "terminal-ended",
            Self::Stopped => "stopped",
            Self::Refused => "refused",
            Self::ServerEnded => "server-ended",
        }
    }

    /// Its description, for people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Taken => "a dashboard takes it",
            Self::TakenOver => {
                "another dashboard takes it over: that hold ends, and another begins"
            }
            Self::Released => "its holder releases it",
            Self::LinkLost => "the link of its holder ended",
            Self::Idle => "nothing was typed for ten minutes",
            Self::AgentAway => "the session of its agent ended",
            Self::TerminalEnded => "the terminal ended",
            Self::Stopped => "a stop came into force",
            Self::Refused => "its agent refused an input",
            Self::ServerEnded => {
                "the server ended without notice; its next process starts with free keyboards, and ends the hold in the audit"
            }
        }
    }
}

impl fmt::Display for KeyboardEdge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, cause, to } = self;
        write!(f, "{} --{}--> {}", from.as_str(), cause.as_str(), to.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::super::hold::{Hold, HoldEnd};
    use super::super::keyboard::{Keyboard, TakeForce, Taken, Taker};
    use super::*;
    use crate::id::{DashboardId, HoldId};
    use crate::time::{Deadline, Now};
    use alloc::collections::BTreeSet;
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;
    use core::time::Duration;

    const START: Now = Now::without_suspend(Duration::ZERO);

    fn status(keyboard: &Keyboard) -> KeyboardStatus {
        keyboard.holder().map_or(KeyboardStatus::Free, |_| KeyboardStatus::Held)
    }

    /// A keyboard in each status.
    fn states() -> Vec<Keyboard> {
        let mut held = Keyboard::default();
        held.take(taker(1, TakeForce::IfFree), HoldId::new("a"), START).unwrap();
        Vec::from([Keyboard::default(), held])
    }

    fn taker(by: u64, force: TakeForce) -> Taker {
        Taker { by: DashboardId(by), name: String::new(), force }
    }

    /// Everything that may end a hold but time and people.
    fn ends() -> Vec<HoldEnd> {
        let all = [
            HoldEnd::Released,
            HoldEnd::LinkLost,
            HoldEnd::AgentAway,
            HoldEnd::TerminalEnded,
            HoldEnd::Stopped,
            HoldEnd::Refused(String::new()),
            HoldEnd::ServerEnded,
        ];
        Vec::from(all)
    }

    #[test]
    fn the_published_edges_are_those_there_are() {
        let mut met = BTreeSet::new();
        let mut see = |from, cause, to| {
            met.insert(KeyboardEdge { from, cause, to });
        };
        for at in 0..states().len() {
            let fresh = || states().swap_remove(at);
            let from = status(&fresh());
            for by in [1, 2] {
                for force in [TakeForce::IfFree, TakeForce::Over] {
                    let mut keyboard = fresh();
                    let taken = keyboard.take(taker(by, force), HoldId::new("b"), START);
                    match taken {
                        Ok(Taken::Anew(None)) => see(from, KeyboardCause::Taken, status(&keyboard)),
                        Ok(Taken::Anew(Some(ended))) => {
                            see(from, ended.ended.unwrap().1.cause(), status(&keyboard));
                        }
                        Ok(Taken::Kept) | Err(_) => assert_eq!(status(&keyboard), from),
                    }
                }
            }
            for why in ends() {
                let mut keyboard = fresh();
                if let Some(record) = keyboard.end(why, START.wall) {
                    see(from, record.ended.unwrap().1.cause(), status(&keyboard));
                }
                assert_eq!(status(&keyboard), KeyboardStatus::Free);
            }
            let mut keyboard = fresh();
            let late = Now::without_suspend(Hold::IDLE);
            if let Some(record) = keyboard.on_time(late) {
                see(from, record.ended.unwrap().1.cause(), status(&keyboard));
            }
            assert_eq!(keyboard.deadline(), Deadline::Never, "each status ends by time");
        }
        let published: BTreeSet<_> = KEYBOARD_EDGES.iter().copied().collect();
        let words = |edges: &BTreeSet<KeyboardEdge>| -> Vec<String> {
            edges.iter().map(ToString::to_string).collect()
        };
        assert_eq!(words(&published), words(&met));
        assert_eq!(published.len(), KEYBOARD_EDGES.len(), "an edge twice");
        let causes: BTreeSet<_> = published.iter().map(|edge| edge.cause).collect();
        assert_eq!(causes, KeyboardCause::ALL.iter().copied().collect());
    }
}
