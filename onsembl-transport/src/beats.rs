//! The hop tracker beside one link: told of each hop by the driver that performs it. Decides nothing.

use crate::pump::LinkHandle;
use onsembl_protocol::diagnosis::{BeatReport, BeatVerdict, End, HopTracker};
use onsembl_protocol::id::LinkId;
use onsembl_protocol::time::{Deadline, Now, Timestamp};
use std::time::Duration;

/// The hop tracker of one session, on the link that carries it.
#[derive(Debug)]
pub(crate) struct LinkBeats(Box<HopTracker>);

impl LinkBeats {
    /// What it takes of memory for each connection: the hop tracker, the way to it, and what the pump notes of the latest
    /// heartbeat.
    pub(crate) const BYTES: usize =
        size_of::<HopTracker>() + size_of::<Self>() + LinkHandle::BEAT_BYTES;

    /// The hop tracker of a session that begins now.
    pub(crate) fn new(end: End, interval: Duration, now: Now) -> Self {
        Self(Box::new(HopTracker::new(end, interval, now.boot)))
    }

    /// Notes what happened, behind what was written meanwhile. Gives what the hop tracker says, if that is something else
    /// than before.
    pub(crate) fn note(
        &mut self,
        handle: &LinkHandle,
        now: Now,
        what: impl FnOnce(&mut HopTracker, Timestamp),
    ) -> Option<BeatVerdict> {
        let before = self.0.says();
        if self.0.awaits_written()
            && let Some(written) = handle.beat_written()
        {
            self.0.on_all_written(now.boot.saturating_sub(written.elapsed()));
        }
        what(&mut self.0, now.boot);
        (self.0.says() != before).then(|| self.0.verdict(now))
    }

    /// Some frame of the peer came. Done for each, so it does no more than that.
    pub(crate) fn heard(&mut self, now: Now) {
        self.0.on_heard(now.boot);
    }

    /// When to look next, if the last look was now.
    pub(crate) fn look_at(interval: Duration, now: Now) -> Deadline {
        Deadline::At(now.monotonic.saturating_add(interval / 4)).after(now.monotonic)
    }

    /// What the hop tracker says.
    pub(crate) fn verdict(&self, now: Now) -> BeatVerdict {
        self.0.verdict(now)
    }

    /// All that the hop tracker says.
    pub(crate) fn report(&self, now: Now) -> BeatReport {
        self.0.report(now)
    }
}

/// When the hop trackers of many links are looked at next, if there are any, and with which link that continues.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Looks {
    pub(crate) at: Deadline,
    pub(crate) from: LinkId,
}

impl Looks {
    pub(crate) const NONE: Self = Self { at: Deadline::Never, from: LinkId(0) };

    /// There is a hop tracker.
    pub(crate) fn begin(&mut self, interval: Duration, now: Now) {
        if self.at == Deadline::Never {
            self.at = LinkBeats::look_at(interval, now);
        }
    }

    /// Behind a look: it continues with a link, behind what has come meanwhile, or it was at all of them.
    pub(crate) fn next(continues: Option<LinkId>, any: bool, interval: Duration, now: Now) -> Self {
        match (continues, any) {
            (Some(from), _) => Self { at: Deadline::At(now.monotonic).after(now.monotonic), from },
            (None, true) => Self { at: LinkBeats::look_at(interval, now), from: LinkId(0) },
            (None, false) => Self::NONE,
        }
    }
}

/// A connection takes no more for its heartbeats than it may.
const _: () = assert!(LinkBeats::BYTES <= HopTracker::MOST_BYTES);
