//! The time between the opening of a link and its hello, and the tolerance for undecodable messages.
//!
//! Before the hello a peer is unknown: nothing that it sends is obeyed or forwarded, and it has a
//! deadline (P-16, P-17).

use crate::close::CloseCause;
use crate::limits::Limits;
use crate::time::{Deadline, Now, Timestamp};
use core::time::Duration;

/// Longest wait for a hello. Existing wrappers and dashboards send theirs at once; their server
/// waits 30 s, which lets any caller keep a socket that long.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// How many other frames a peer may send before its hello. A legacy wrapper may first flush a few
/// older messages.
const FRAMES_BEFORE_HELLO: u32 = 64;

/// A link that waits for its hello. A [reducer](crate::step#two-contracts) with one output: a verdict.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Greeting {
    give_up_at: Timestamp,
    ignored: u32,
}

/// What happens to a link before its hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GreetingEvent {
    /// The hello came.
    Hello,
    /// Anything else came.
    Other,
    /// The deadline came.
    Wake,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a link that is not closed keeps its socket"]
pub(crate) enum GreetingVerdict {
    /// Keep waiting; the frame has no effect.
    Wait,
    /// Identify the peer.
    Identify,
    /// Close the link.
    Close(CloseCause),
}

impl Greeting {
    /// A link that was opened now.
    pub(crate) fn new(now: Now) -> Self {
        Self { give_up_at: now.monotonic.saturating_add(HELLO_TIMEOUT), ignored: 0 }
    }

    /// Takes one event.
    pub(crate) fn handle(&mut self, event: GreetingEvent, now: Now) -> GreetingVerdict {
        match event {
            // Input is read before deadlines are checked, so a hello that is late here was delayed on this side.
            GreetingEvent::Hello => GreetingVerdict::Identify,
            GreetingEvent::Other | GreetingEvent::Wake if self.give_up_at <= now.monotonic => {
                GreetingVerdict::Close(CloseCause::HelloTimeout)
            }
            GreetingEvent::Wake => GreetingVerdict::Wait,
            GreetingEvent::Other => {
                self.ignored = self.ignored.saturating_add(1);
                if self.ignored > FRAMES_BEFORE_HELLO {
                    GreetingVerdict::Close(CloseCause::HelloTimeout)
                } else {
                    GreetingVerdict::Wait
                }
            }
        }
    }

    /// Whether too many other frames came before the hello. If not, its deadline has passed.
    pub(crate) const fn is_overrun(&self) -> bool {
        self.ignored > FRAMES_BEFORE_HELLO
    }

    /// When to hand over [`GreetingEvent::Wake`].
    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::At(self.give_up_at)
    }
}

/// How many undecodable messages a link has sent lately: each is answered, and too many close the link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UndecodableQuota {
    window_from: Timestamp,
    count: u32,
}

impl UndecodableQuota {
    /// No undecodable messages yet.
    pub(crate) const fn new() -> Self {
        Self { window_from: Timestamp::ORIGIN, count: 0 }
    }

    /// Counts one more. Whether it may still be answered; if not, close the link for
    /// [`CloseCause::TooManyUndecodable`].
    #[must_use = "too many must close the link"]
    pub(crate) fn allow(&mut self, limits: &Limits, now: Timestamp) -> bool {
        if now.saturating_since(self.window_from) >= limits.undecodable_window {
            self.window_from = now;
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        self.count <= limits.undecodable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOSED: GreetingVerdict = GreetingVerdict::Close(CloseCause::HelloTimeout);

    fn secs(n: u64) -> Now {
        Now::without_suspend(Duration::from_secs(n))
    }

    fn ms(n: u64) -> Now {
        Now::without_suspend(Duration::from_millis(n))
    }

    #[test]
    fn a_link_that_says_hello_is_identified_and_one_that_does_not_is_closed() {
        let mut greeting = Greeting::new(secs(1));
        assert_eq!(greeting.deadline(), Deadline::At(secs(11).monotonic));
        assert_eq!(greeting.handle(GreetingEvent::Wake, ms(10_999)), GreetingVerdict::Wait);
        let mut silent = greeting;
        assert_eq!(silent.handle(GreetingEvent::Wake, secs(11)), CLOSED);
        assert_eq!(silent.handle(GreetingEvent::Other, secs(12)), CLOSED);
        assert_eq!(greeting.handle(GreetingEvent::Hello, ms(10_999)), GreetingVerdict::Identify);
    }

    #[test]
    fn a_hello_that_this_side_reads_late_is_accepted() {
        let mut greeting = Greeting::new(secs(1));
        assert_eq!(greeting.handle(GreetingEvent::Hello, secs(60)), GreetingVerdict::Identify);
    }

    #[test]
    fn a_link_may_send_sixty_four_other_frames_first() {
        let mut greeting = Greeting::new(secs(1));
        for _ in 0..64 {
            assert_eq!(greeting.handle(GreetingEvent::Other, secs(2)), GreetingVerdict::Wait);
        }
        let mut patient = greeting;
        assert_eq!(patient.handle(GreetingEvent::Hello, secs(2)), GreetingVerdict::Identify);
        assert_eq!(greeting.handle(GreetingEvent::Other, secs(2)), CLOSED);
    }

    #[test]
    fn twenty_undecodable_messages_a_minute_are_tolerated() {
        let limits = Limits::DEFAULT;
        let mut quota = UndecodableQuota::new();
        let at = |n: u64| ms(1_000_000 + n).monotonic;
        for n in 0..20 {
            assert!(quota.allow(&limits, at(n)), "{n}");
        }
        assert!(!quota.allow(&limits, at(59_999)));
        assert!(quota.allow(&limits, at(60_000)), "a new minute");
        // One every four seconds never exceeds the quota.
        let mut slow = UndecodableQuota::new();
        assert!((0..1000).all(|n| slow.allow(&limits, at(4000 * n))));
    }
}
