//! What a server knows of its own faults: when it did not run, and when its database took nothing. It is not the
//! agents' fault what they suffer then, and the first that their users are told of.

use super::incident::OwnFault;
use super::record::between;
use crate::liveness::OVERSLEEP_TOLERANCE;
use crate::model::Cause;
use crate::time::{Now, WallTime};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// Stalls so close to each other are one: a machine that is starved runs for a moment now and then.
const ONE_STALL: Duration = Duration::from_secs(1);

/// The own faults of a server, the latest [`MOST`](Self::MOST).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnFaults {
    past: VecDeque<OwnFault>,
    /// Since when the database has taken nothing.
    failing: Option<WallTime>,
}

/// What the next run of a server is told by this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptFaults {
    /// When it was written: this run lived then.
    pub alive: WallTime,
    /// The faults that are known, the oldest first.
    pub faults: Vec<OwnFault>,
}

impl OwnFaults {
    /// Most faults that are kept: 64, so that one a minute is remembered for an hour. The oldest goes.
    pub const MOST: usize = 64;

    /// A server begins to run. What an earlier run kept says since when none ran, as well as that is known.
    #[must_use]
    pub fn resumed(kept: Option<KeptFaults>, now: WallTime) -> Self {
        let mut own = Self::default();
        if let Some(KeptFaults { alive, faults }) = kept {
            // A clock that was set back in between: then only that it restarted is known.
            let from = alive.min(now);
            let restart = OwnFault { from, until: now, cause: Cause::ServerRestarted };
            faults.into_iter().chain([restart]).for_each(|fault| own.push(fault));
        }
        own
    }

    /// Who watches whether this process runs looks again: it wanted to after so long. What it is late by more than
    /// timers are, this process, or its machine, did not run.
    pub fn looked(&mut self, before: Now, wanted: Duration, now: Now) {
        let late = now.boot.saturating_since(before.boot).saturating_sub(wanted);
        if late > OVERSLEEP_TOLERANCE {
            self.stalled(late, now.wall);
        }
    }

    /// This process did not run for so long, until now.
    pub fn stalled(&mut self, late: Duration, now: WallTime) {
        let millis = i64::try_from(late.as_millis()).unwrap_or(i64::MAX);
        let from = WallTime::from_unix_millis(now.unix_millis().saturating_sub(millis));
        let same = |last: &&mut OwnFault| {
            last.cause == Cause::ServerStalled && between(last.until, from) <= ONE_STALL
        };
        if let Some(last) = self.past.back_mut().filter(same) {
            last.from = last.from.min(from);
            last.until = last.until.max(now);
            return;
        }
        self.push(OwnFault { from, until: now, cause: Cause::ServerStalled });
    }

    /// Since when the database takes nothing, or that it takes what is written.
    pub fn store(&mut self, failing: Option<WallTime>, now: WallTime) {
        let before = core::mem::replace(&mut self.failing, failing);
        if let (Some(from), None) = (before, failing) {
            self.push(not_recorded(from, now));
        }
    }

    /// All that is known now, the oldest first.
    #[must_use]
    pub fn known(&self, now: WallTime) -> Vec<OwnFault> {
        let failing = self.failing.map(|from| not_recorded(from, now));
        self.past.iter().copied().chain(failing).collect()
    }

    /// What the next run is to be told.
    #[must_use]
    pub fn kept(&self, now: WallTime) -> KeptFaults {
        KeptFaults { alive: now, faults: self.known(now) }
    }

    fn push(&mut self, fault: OwnFault) {
        if self.past.len() >= Self::MOST {
            let _ = self.past.pop_front();
        }
        self.past.push_back(fault);
    }
}

const fn not_recorded(from: WallTime, until: WallTime) -> OwnFault {
    OwnFault { from, until, cause: Cause::HeartbeatNotRecorded }
}
