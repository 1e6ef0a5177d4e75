//! The latest intervals of each agent, for people: fed by the hub with each heartbeat, read by the API. What a picture
//! shows is decided by the core ([`BeatStrip`]). In memory only: what was before this run is not recorded.

use onsembl_protocol::diagnosis::BeatStrip;
use onsembl_protocol::id::{AgentId, BeatSequence};
use onsembl_protocol::time::{Now, WallTime};
use onsembl_transport::clock::SystemClock;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Strips at which it is first looked for those of agents that are silent for longer than they show.
const FIRST_SWEEP: usize = 1024;

/// A handle to the strips.
#[derive(Clone, Debug)]
pub struct BeatStrips(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    interval: Duration,
    /// What is heard and what is asked are on one clock: times of two do not compare.
    clock: SystemClock,
    begun: Now,
    strips: Mutex<Strips>,
}

#[derive(Debug)]
struct Strips {
    of: HashMap<AgentId, BeatStrip>,
    /// With how many it is looked for silent ones again.
    sweep_at: usize,
}

/// What is shown of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShownBeats {
    pub(crate) interval: Duration,
    /// When the first cell begins, by the wall clock as it is now.
    pub(crate) from: WallTime,
    pub(crate) cells: String,
}

impl BeatStrips {
    /// Of a server that begins now, whose agents send a heartbeat each `interval`.
    pub(crate) fn new(interval: Duration) -> Self {
        let strips = Mutex::new(Strips { of: HashMap::new(), sweep_at: FIRST_SWEEP });
        let clock = SystemClock::new();
        Self(Arc::new(Shared { interval, clock, begun: clock.now(), strips }))
    }

    /// Now, by the clock of the strips.
    pub(crate) fn now(&self) -> Now {
        self.0.clock.now()
    }

    /// A heartbeat of an agent came.
    pub(crate) fn heard(&self, agent: &AgentId, seen: Option<BeatSequence>, now: Now) {
        let Shared { interval, .. } = *self.0;
        let mut strips = self.strips();
        if let Some(strip) = strips.of.get_mut(agent) {
            return strip.heard(interval, seen, now.boot);
        }
        if strips.of.len() >= strips.sweep_at {
            let shown = interval.saturating_mul(BeatStrip::CELLS);
            strips.of.retain(|_, strip| now.boot.saturating_since(strip.heard_at()) <= shown);
            strips.sweep_at = FIRST_SWEEP.max(2 * strips.of.len());
        }
        let mut strip = BeatStrip::new();
        strip.heard(interval, seen, now.boot);
        let _ = strips.of.insert(agent.clone(), strip);
    }

    /// The last whole intervals of an agent that fit into so much time.
    pub(crate) fn of(&self, agent: &AgentId, time: Duration, now: Now) -> ShownBeats {
        let Shared { interval, begun, .. } = *self.0;
        let wanted = time.as_nanos().checked_div(interval.as_nanos()).unwrap_or_default();
        let count = u32::try_from(wanted).unwrap_or(BeatStrip::CELLS).clamp(1, BeatStrip::CELLS);
        let letters = |strip: &BeatStrip| strip.letters(interval, count, begun.boot, now.boot);
        let cells = match self.strips().of.get(agent) {
            Some(strip) => letters(strip),
            None => letters(&BeatStrip::new()),
        };
        let since = now.boot.since_origin().as_nanos();
        let into = since.checked_rem(interval.as_nanos()).unwrap_or_default();
        let into = Duration::from_nanos(u64::try_from(into).unwrap_or_default());
        let back = interval.saturating_mul(count).saturating_add(into);
        let back = i64::try_from(back.as_millis()).unwrap_or(i64::MAX);
        let from = WallTime::from_unix_millis(now.wall.unix_millis().saturating_sub(back));
        ShownBeats { interval, from, cells }
    }

    fn strips(&self) -> MutexGuard<'_, Strips> {
        self.0.strips.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_is_shown_by_the_clock_that_it_was_heard_by() {
        let strips = BeatStrips::new(Duration::from_millis(1));
        let agent = AgentId::new("a");
        let now = strips.now();
        strips.heard(&agent, Some(BeatSequence(1)), now);
        let boot = now.boot.saturating_add(Duration::from_millis(5));
        let shown = strips.of(&agent, Duration::from_secs(1), Now { boot, ..now });
        assert!(shown.cells.contains(['b', 'u']), "{shown:?}");
    }

    #[test]
    fn agents_that_have_been_silent_for_longer_than_is_shown_are_forgotten() {
        let strips = BeatStrips::new(Duration::from_secs(30));
        let at = |secs| Now::without_suspend(Duration::from_secs(secs));
        for n in 0..FIRST_SWEEP {
            strips.heard(&AgentId::new(format!("a-{n}")), None, at(1));
        }
        strips.heard(&AgentId::new("b"), None, at(100));
        assert_eq!(strips.strips().of.len(), FIRST_SWEEP + 1);
        assert_eq!(strips.strips().sweep_at, 2 * FIRST_SWEEP);
        for n in 0..FIRST_SWEEP {
            strips.heard(&AgentId::new(format!("c-{n}")), None, at(30 * 129));
        }
        assert!(strips.strips().of.len() <= FIRST_SWEEP + 1, "{}", strips.strips().of.len());
    }
}
