//! The hop tracker of the session that there is, and when it is looked at.

use crate::beats::LinkBeats;
use crate::pump::LinkHandle;
use onsembl_protocol::diagnosis::{BeatReport, BeatVerdict, End, HopTracker};
use onsembl_protocol::model::Dialect;
use onsembl_protocol::session::SessionTerms;
use onsembl_protocol::time::{Deadline, Now, Timestamp};
use std::time::Duration;

/// The hop tracker of a session; none with a legacy server, whose answers have no numbers.
#[derive(Debug)]
pub(super) struct SessionBeats {
    hops: Option<LinkBeats>,
    look_at: Deadline,
    interval: Duration,
}

impl SessionBeats {
    pub(super) const NONE: Self =
        Self { hops: None, look_at: Deadline::Never, interval: Duration::ZERO };

    /// A session began.
    pub(super) fn begin(&mut self, terms: SessionTerms, now: Now) {
        let interval = terms.timing.interval();
        if terms.dialect == Dialect::Extended {
            *self = Self {
                hops: Some(LinkBeats::new(End::Agent, interval, now)),
                look_at: LinkBeats::look_at(interval, now),
                interval,
            };
        }
    }

    /// The session has ended.
    pub(super) fn end(&mut self) {
        *self = Self::NONE;
    }

    /// When to look at it.
    pub(super) const fn deadline(&self) -> Deadline {
        self.look_at
    }

    /// It is looked at now.
    pub(super) fn looked(&mut self, now: Now) {
        self.look_at = match self.hops {
            Some(_) => LinkBeats::look_at(self.interval, now),
            None => Deadline::Never,
        };
    }

    /// Some frame of the server came.
    pub(super) fn heard(&mut self, now: Now) {
        if let Some(hops) = &mut self.hops {
            hops.heard(now);
        }
    }

    /// Notes what happened over this link. Gives what the hop tracker says, if that is something else than before.
    pub(super) fn note(
        &mut self,
        link: Option<&LinkHandle>,
        now: Now,
        what: impl FnOnce(&mut HopTracker, Timestamp),
    ) -> Option<BeatVerdict> {
        self.hops.as_mut()?.note(link?, now, what)
    }

    /// All that the hop tracker says.
    pub(super) fn report(&self, now: Now) -> Option<BeatReport> {
        Some(self.hops.as_ref()?.report(now))
    }
}
