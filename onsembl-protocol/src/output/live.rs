//! How far the viewer of a terminal is behind it, by what it said it has shown: how much may be on its way, and when it is to
//! be shown the present instead of what it missed (P-398).
//!
//! What a link took proves nothing: the buffers of systems and proxies on the way hold megabytes, all of which a slow
//! viewer would have to be shown first.

use crate::id::{ByteOffset, Incarnation};
use crate::time::{Deadline, Timestamp};
use core::time::Duration;

/// A position in the output of a terminal: everything before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say all")]
pub(crate) struct Mark {
    pub(crate) incarnation: Incarnation,
    pub(crate) offset: ByteOffset,
}

impl Mark {
    /// Bytes from there to here; of another process, all before here.
    fn since(self, earlier: Self) -> u64 {
        match self.incarnation == earlier.incarnation {
            true => self.offset.0.saturating_sub(earlier.offset.0),
            false => self.offset.0,
        }
    }
}

/// The output of one terminal for one viewer that says what it has shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct LiveView {
    /// Everything before it is shown; the first thing that is sent begins there if nothing is said.
    taken: Option<Mark>,
    /// Everything before it was sent.
    sent: Option<Mark>,
    pace: Pace,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Pace {
    /// Output is sent as it comes.
    #[default]
    Follows,
    /// More waits than it is to be shown later, since then.
    Late(Timestamp),
    /// It is to be shown the present: nothing is sent until it asks again.
    Behind,
}

/// What to do about its output now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// More of it is sent.
    Send,
    /// Nothing, until more of what was sent is shown.
    Wait,
    /// It is told that it is behind, once; this is what was sent.
    Jump(Mark),
}

impl LiveView {
    /// Bytes that may be on their way when more is sent: 32 KiB. A program that redraws its screen writes some 4 KiB, and a
    /// viewer at a distance of 100 ms is still sent 320 KiB a second.
    pub(crate) const WINDOW: u64 = 32 * 1024;

    /// Bytes that are sent at once: 16 KiB, beyond the window at most.
    pub(crate) const BATCH: usize = 16 * 1024;

    /// Bytes by which a viewer may be behind what is written: 256 KiB. A terminal shows that in some 20 ms.
    pub(crate) const BEHIND: u64 = 256 * 1024;

    /// How long it may be so far behind: 200 ms. A link that is fast has caught up with a burst by then.
    pub(crate) const LATE_FOR: Duration = Duration::from_millis(200);

    /// A viewer that shows everything before this position.
    pub(crate) const fn from(shown: Option<Mark>) -> Self {
        Self { taken: shown, sent: shown, pace: Pace::Follows }
    }

    /// This is sent: what ends there, and has this many bytes.
    pub(crate) fn on_sent(&mut self, end: Mark, bytes: u64) {
        let begin = Mark { offset: ByteOffset(end.offset.0.saturating_sub(bytes)), ..end };
        // Of another process nothing is shown yet.
        if self.taken.is_none_or(|taken| taken.incarnation < end.incarnation) {
            self.taken = Some(begin);
        }
        self.sent = self.sent.max(Some(end));
    }

    /// The viewer has shown everything before this.
    pub(crate) fn on_taken(&mut self, shown: Mark) {
        // It cannot have shown what it was not sent.
        let shown = Some(shown).min(self.sent);
        self.taken = self.taken.max(shown);
    }

    /// What to do now, when everything before `written` is written, as far as that is known.
    pub(crate) fn turn(&mut self, written: Option<Mark>, now: Timestamp) -> Turn {
        if self.pace == Pace::Behind {
            return Turn::Wait;
        }
        let (Some(sent), Some(taken)) = (self.sent, self.taken) else { return Turn::Send };
        let behind = written.unwrap_or(sent).max(sent).since(taken);
        self.pace = match self.pace {
            Pace::Late(since) if behind > Self::BEHIND => Pace::Late(since),
            Pace::Follows | Pace::Late(_) if behind > Self::BEHIND => Pace::Late(now),
            Pace::Follows | Pace::Late(_) => Pace::Follows,
            Pace::Behind => Pace::Behind,
        };
        if self.deadline().is_due(now) {
            self.pace = Pace::Behind;
            return Turn::Jump(sent);
        }
        if sent.since(taken) < Self::WINDOW { Turn::Send } else { Turn::Wait }
    }

    /// When to ask for its [`turn`](Self::turn) although nothing happened.
    pub(crate) fn deadline(&self) -> Deadline {
        match self.pace {
            Pace::Late(since) => Deadline::At(since.saturating_add(Self::LATE_FOR)),
            Pace::Follows | Pace::Behind => Deadline::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(run: u64, offset: u64) -> Mark {
        Mark { incarnation: Incarnation(run), offset: ByteOffset(offset) }
    }

    fn ms(n: u64) -> Timestamp {
        Timestamp::ORIGIN.saturating_add(Duration::from_millis(n))
    }

    #[test]
    fn no_more_is_on_its_way_than_the_window_and_what_is_shown_makes_room() {
        let mut view = LiveView::from(Some(at(1, 100)));
        assert_eq!(view.turn(Some(at(1, 100)), ms(0)), Turn::Send);
        let full = 100 + LiveView::WINDOW;
        view.on_sent(at(1, full), LiveView::WINDOW);
        assert_eq!(view.turn(Some(at(1, full)), ms(0)), Turn::Wait);
        view.on_taken(at(1, 101));
        assert_eq!(view.turn(Some(at(1, full)), ms(0)), Turn::Send);
        // What it says beyond what it was sent counts for no more.
        view.on_taken(at(9, u64::MAX));
        view.on_sent(at(1, full + LiveView::WINDOW), LiveView::WINDOW);
        assert_eq!(view.turn(Some(at(1, full)), ms(0)), Turn::Wait);
    }

    #[test]
    fn one_that_stays_far_behind_is_told_once_and_one_that_catches_up_is_not() {
        let mut view = LiveView::from(Some(at(1, 0)));
        view.on_sent(at(1, LiveView::WINDOW), LiveView::WINDOW);
        let far = Some(at(1, LiveView::BEHIND + 1));
        assert_eq!(view.turn(far, ms(0)), Turn::Wait);
        assert_eq!(view.deadline(), Deadline::At(ms(200)));
        view.on_taken(at(1, 10));
        assert_eq!(view.turn(far, ms(150)), Turn::Send, "a burst");
        assert_eq!(view.deadline(), Deadline::Never);
        let far = Some(at(1, 2 * LiveView::BEHIND));
        assert_eq!(view.turn(far, ms(300)), Turn::Send);
        assert_eq!(view.turn(far, ms(499)), Turn::Send);
        assert_eq!(view.turn(far, ms(500)), Turn::Jump(at(1, LiveView::WINDOW)));
        view.on_taken(at(1, LiveView::WINDOW));
        assert_eq!(view.turn(far, ms(900)), Turn::Wait, "it asks again, with a screen");
    }

    #[test]
    fn a_viewer_that_says_nothing_is_sent_the_window_and_then_told() {
        let mut view = LiveView::default();
        assert_eq!(view.turn(Some(at(3, 10)), ms(0)), Turn::Send);
        view.on_sent(at(3, LiveView::WINDOW), LiveView::WINDOW);
        assert_eq!(view.turn(Some(at(3, LiveView::WINDOW)), ms(9)), Turn::Wait);
        let far = Some(at(3, LiveView::BEHIND + 1));
        assert_eq!(view.turn(far, ms(10)), Turn::Wait);
        assert!(matches!(view.turn(far, ms(210)), Turn::Jump(_)));
    }

    proptest! {
        /// Whatever happens, a viewer is never sent more than the window and one batch beyond what it has shown, and
        /// one that is far behind for long is told.
        #[test]
        fn what_is_on_its_way_has_a_bound(
            steps in proptest::collection::vec((0..64_u64, 0..128_u64, 1..100_u64), 1..80),
        ) {
            const BATCH: u64 = LiveView::BATCH as u64;
            let mut view = LiveView::from(Some(at(1, 0)));
            let (mut written, mut sent, mut taken, mut now, mut late) = (0, 0, 0, 0, None);
            for (writes, shows, waits) in steps {
                written += writes * 1024;
                now += waits;
                taken = sent.min(taken + shows * 1024);
                view.on_taken(at(1, taken));
                if written - taken > LiveView::BEHIND { late.get_or_insert(now); } else { late = None; }
                match view.turn(Some(at(1, written)), ms(now)) {
                    Turn::Send => {
                        let end = written.min(sent + BATCH);
                        view.on_sent(at(1, end), end - sent);
                        sent = end;
                    }
                    Turn::Wait => {}
                    Turn::Jump(mark) => {
                        prop_assert!(late.is_some_and(|since| now - since >= 200));
                        prop_assert_eq!(mark, at(1, sent));
                        break;
                    }
                }
                prop_assert!(late.is_none_or(|since| now - since < 200), "it was told");
                prop_assert!(sent - taken < LiveView::WINDOW + BATCH);
            }
        }
    }
}
