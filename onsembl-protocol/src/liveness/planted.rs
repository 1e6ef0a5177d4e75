//! Faults that are planted into a build of their own, to show that each is named: `.ci/planted-faults`.
//!
//! Exists under `--cfg onsembl_faults` only, which is no feature: a binary that people use has nothing of it.

use core::sync::atomic::{AtomicU8, Ordering};

/// A fault that keeps an agent's heartbeats from being recorded, of each kind that was met in the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlantedFault {
    /// The agent's timer of heartbeats is not started.
    TimerNeverStarted = 1,
    /// The agent's writer takes heartbeats for a connection that is not up, and keeps them.
    StaysQueued = 2,
    /// The server does not route the heartbeats of agents to their machines.
    NotRouted = 3,
    /// The server's update of its database fails, and the error is swallowed.
    RecordFails = 4,
}

static PLANTED: AtomicU8 = AtomicU8::new(0);

impl PlantedFault {
    /// Each of them.
    pub const ALL: [Self; 4] =
        [Self::TimerNeverStarted, Self::StaysQueued, Self::NotRouted, Self::RecordFails];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TimerNeverStarted => "planted-timer-never-started",
            Self::StaysQueued => "planted-stays-queued",
            Self::NotRouted => "planted-not-routed",
            Self::RecordFails => "planted-record-fails",
        }
    }

    /// Plants the fault of this name, for as long as the process lives; whether there is one.
    pub fn plant(name: &str) -> bool {
        let found = Self::ALL.into_iter().find(|fault| fault.as_str() == name);
        PLANTED.store(found.map_or(0, |fault| fault as u8), Ordering::Relaxed);
        found.is_some()
    }

    /// Whether it is planted.
    pub fn is_planted(self) -> bool {
        PLANTED.load(Ordering::Relaxed) == self as u8
    }
}
